//! One terraform process: started in an environment of our own making and in a process group of its own, listened to,
//! stopped when told to, and gone with all of its group when [`Terraform::run`] returns.
//!
//! It decides nothing: what to run comes from [`crate::command`], what happened goes into an [`Exit`].

mod environment;
pub(crate) mod group;
mod listener;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::watch;

use crate::command::Command;
use crate::engine::Engine;
use crate::events::{Event, RunSummary};

pub use environment::Environment;
pub(crate) use environment::SEARCH;
use group::{Ended, Launch, Running};
use listener::Listener;

/// How long output may still come when the process has ended: whoever holds the pipe then has left the group.
const DRAIN: Duration = Duration::from_secs(2);

const CHUNK: usize = 16 << 10;

/// How to run terraform.
#[derive(Debug, Clone)]
pub struct Terraform {
    /// Which one it is.
    pub engine: Engine,
    /// The program.
    pub binary: PathBuf,
    /// Its CLI configuration; see [`crate::mirror::cli_config`].
    pub cli_config: PathBuf,
    /// What else its environment holds.
    pub environment: Environment,
}

/// What the runner is told, from mild to hard; it never becomes milder again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Control {
    /// Go on.
    #[default]
    Run,
    /// One SIGTERM to terraform, not to its group: it stores its state, starts nothing new, releases its lock.
    Terminate,
    /// SIGKILL to the whole group: up to 20 s of state are lost, and the lock stays.
    Kill,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Exit {
    /// How it ended.
    pub status: Status,
    /// What its events add up to.
    pub summary: RunSummary,
    /// The last 64 KiB of its error output. May hold secrets: mask it.
    pub stderr: String,
    /// Its output, where the command does not speak in events. May hold secrets.
    pub stdout: Output,
    /// How far it was told to stop.
    pub stopped: Control,
}

/// A command's output. [`std::fmt::Debug`] shows its size only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Output(pub Vec<u8>);

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Output({} bytes)", self.0.len())
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Well.
    Succeeded,
    /// Well, and a plan has something to change.
    Changes,
    /// With this exit code.
    Failed(i32),
    /// By this signal.
    Signalled(i32),
}

/// Why a process could not be run to its end.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("`{binary}` could not be started")]
    Start {
        /// The program.
        binary: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Its end could not be seen.
    #[error("terraform's end could not be awaited")]
    Wait(#[source] io::Error),
    /// Processes of its group live on although they were killed: end this process too.
    #[error("processes of terraform's group live on after SIGKILL: {pids:?}")]
    ProcessLeft {
        /// Their ids.
        pids: Vec<i32>,
    },
}

impl Terraform {
    /// Runs `command` in `work` until it has ended, calling `on_event` for each of its events. Dropping the future kills
    /// the process group, without waiting for it.
    pub async fn run(
        &self,
        command: &Command,
        work: &Path,
        control: &mut watch::Receiver<Control>,
        on_event: impl FnMut(&Event),
    ) -> Result<Exit, ProcessError> {
        let launch = Launch {
            binary: self.binary.clone(),
            argv: command.argv(),
            variables: self.environment.variables(work, &self.cli_config),
            work: work.to_owned(),
        };
        let failed = |source| ProcessError::Start { binary: self.binary.display().to_string(), source };
        tracing::debug!(binary = %self.binary.display(), argv = ?launch.argv, "starting");
        let Running { group, stdout, stderr, mut ended } = group::start(launch).await.map_err(failed)?;
        let mut stdout = ChildStdout::from_std(stdout).map_err(failed)?;
        let mut stderr = ChildStderr::from_std(stderr).map_err(failed)?;
        let mut listener = Listener::new(command.speaks_events(), on_event);
        let (mut out, mut err) = (vec![0; CHUNK], vec![0; CHUNK]);
        let (mut out_open, mut err_open, mut told) = (true, true, true);
        let mut stopped = Control::Run;

        let end = loop {
            let wanted = *control.borrow_and_update();
            if wanted > stopped {
                stopped = wanted;
                listener.stopping();
                match wanted {
                    Control::Run => {}
                    Control::Terminate => group.terminate(),
                    Control::Kill => group.kill(),
                }
            }
            tokio::select! {
                read = stdout.read(&mut out), if out_open => out_open = listener.stdout(read, &out),
                read = stderr.read(&mut err), if err_open => err_open = listener.stderr(read, &err),
                changed = control.changed(), if told => told = changed.is_ok(),
                end = &mut ended => break end,
            }
        };

        let drain = async {
            while out_open || err_open {
                tokio::select! {
                    read = stdout.read(&mut out), if out_open => out_open = listener.stdout(read, &out),
                    read = stderr.read(&mut err), if err_open => err_open = listener.stderr(read, &err),
                }
            }
        };
        if tokio::time::timeout(DRAIN, drain).await.is_err() {
            tracing::warn!("something outside of terraform's process group holds its output open");
        }
        let Ended { status, left } =
            end.map_err(|_| ProcessError::Wait(io::Error::other("the thread that awaits terraform has died")))?;
        if !left.is_empty() {
            return Err(ProcessError::ProcessLeft { pids: left });
        }
        let status = status_of(status.map_err(ProcessError::Wait)?, command);
        Ok(listener.finish(status, stopped))
    }
}

fn status_of(status: std::process::ExitStatus, command: &Command) -> Status {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => Status::Succeeded,
        (Some(code), _) if command.changes_code() == Some(code) => Status::Changes,
        (Some(code), _) => Status::Failed(code),
        (None, signal) => Status::Signalled(signal.unwrap_or(0)),
    }
}

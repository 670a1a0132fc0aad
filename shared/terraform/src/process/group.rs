//! Starts a process in a group of its own and sees it, and all of its group, to the end.
//!
//! A thread of its own does both, for two reasons. The kernel sends `PR_SET_PDEATHSIG` when the *thread* that forked
//! ends, and a thread of the async runtime may end at any time; this one lives for as long as the child. And it can wait
//! without reaping: until the group is cleared, the dead leader keeps the group's id from being used again.
//!
//! Terraform is started here, and a provider that is kept ([`crate::provider`]).
#![allow(clippy::disallowed_methods, reason = "the one place that starts processes, and waits against the clock")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getppid};
use tokio::sync::oneshot;

/// How long the group may take to die after SIGKILL.
const CLEARING: Duration = Duration::from_secs(5);

/// How often that is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A program that is just being written by somebody (a fork between its writing and its closing suffices) cannot be
/// started; it can in a moment. Waits of 5, 10, … 640 ms.
const BUSY_RETRIES: u32 = 8;

/// What to start.
pub(crate) struct Launch {
    pub(crate) binary: PathBuf,
    pub(crate) argv: Vec<OsString>,
    pub(crate) variables: BTreeMap<OsString, OsString>,
    pub(crate) work: PathBuf,
}

/// A process that was started. Dropping `group` kills it.
pub(crate) struct Running {
    pub(crate) group: Group,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
    pub(crate) ended: oneshot::Receiver<Ended>,
}

/// A process that has ended.
pub(crate) struct Ended {
    pub(crate) status: io::Result<ExitStatus>,
    /// Processes of its group that live although they were killed.
    pub(crate) left: Vec<i32>,
}

/// A process group, for as long as its id is its own.
pub(crate) struct Group(Arc<Leader>);

struct Leader {
    pid: Pid,
    reaped: Mutex<bool>,
}

impl Group {
    /// SIGTERM to the leader alone.
    pub(crate) fn terminate(&self) {
        self.0.unless_reaped(|pid| kill(pid, Signal::SIGTERM));
    }

    /// SIGKILL to all.
    pub(crate) fn kill(&self) {
        self.0.kill();
    }

    /// What kills it from elsewhere, for as long as its id is its own.
    pub(crate) fn killer(&self) -> Killer {
        Killer(Arc::clone(&self.0))
    }

    /// The leader's id. Where the leader has died, it may be somebody else's by now.
    pub(crate) fn id(&self) -> i32 {
        self.0.pid.as_raw()
    }

    /// Whether the leader runs.
    pub(crate) fn is_alive(&self) -> bool {
        let reaped = self.0.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        !*reaped && waitid(Id::Pid(self.0.pid), flags) == Ok(WaitStatus::StillAlive)
    }
}

/// Kills a group when told to, not when it is let go.
pub(crate) struct Killer(Arc<Leader>);

impl Killer {
    /// SIGKILL to all.
    pub(crate) fn kill(&self) {
        self.0.kill();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Leader {
    fn kill(&self) {
        self.unless_reaped(|pid| killpg(pid, Signal::SIGKILL));
    }

    fn unless_reaped(&self, send: impl FnOnce(Pid) -> nix::Result<()>) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped && let Err(error) = send(self.pid) {
            tracing::warn!(%error, pid = self.pid.as_raw(), "a signal was not sent");
        }
    }

    fn reap(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let mut reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        let status = child.wait();
        *reaped = true;
        status
    }
}

/// Starts it, on a thread that stays with it.
pub(crate) async fn start(launch: Launch) -> io::Result<Running> {
    let (started, starting) = oneshot::channel();
    thread::Builder::new().name("terraform".to_owned()).spawn(move || supervise(&launch, started))?;
    starting.await.map_err(|_| io::Error::other("the thread that starts terraform has died"))?
}

fn supervise(launch: &Launch, started: oneshot::Sender<io::Result<Running>>) {
    let mut child = match spawn(launch) {
        Ok(child) => child,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let (Ok(id), Some(stdout), Some(stderr)) = (i32::try_from(child.id()), child.stdout.take(), child.stderr.take())
    else {
        // Neither happens: ids are positive i32, and both pipes were asked for.
        let _ = child.kill().and_then(|()| child.wait());
        let _ = started.send(Err(io::Error::other("the process has no id or no pipes")));
        return;
    };
    let leader = Arc::new(Leader { pid: Pid::from_raw(id), reaped: Mutex::new(false) });
    let (ended, ending) = oneshot::channel();
    // If nobody waits any more, dropping what was sent kills the group.
    drop(started.send(Ok(Running { group: Group(Arc::clone(&leader)), stdout, stderr, ended: ending })));
    wait_without_reaping(leader.pid);
    let left = clear(leader.pid);
    let status = leader.reap(&mut child);
    reap_adopted(leader.pid);
    drop(ended.send(Ended { status, left }));
}

fn spawn(launch: &Launch) -> io::Result<Child> {
    let mut tries = 0;
    loop {
        match command(launch).spawn() {
            Err(error) if error.raw_os_error() == Some(Errno::ETXTBSY as i32) && tries < BUSY_RETRIES => {
                thread::sleep(POLL * 2_u32.pow(tries));
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

fn command(launch: &Launch) -> Command {
    let mut command = Command::new(&launch.binary);
    command
        .args(&launch.argv)
        .env_clear()
        .envs(&launch.variables)
        .current_dir(&launch.work)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    die_with_this_process(&mut command);
    command
}

/// Without this, terraform would outlive a crashed worker, and nothing would fence it.
#[allow(unsafe_code, reason = "the standard library has no other way to do this between fork and exec")]
fn die_with_this_process(command: &mut Command) {
    let parent = std::process::id();
    let ask = move || -> io::Result<()> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before that was asked for.
        if u32::try_from(getppid().as_raw()) != Ok(parent) {
            return Err(io::Error::from_raw_os_error(Errno::ESRCH as i32));
        }
        Ok(())
    };
    // SAFETY: between fork and exec `ask` makes two system calls, takes no lock and allocates nothing.
    unsafe { command.pre_exec(ask) };
}

fn wait_without_reaping(leader: Pid) {
    while waitid(Id::Pid(leader), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
}

/// Kills whatever is left of the group; gives what could not be killed.
fn clear(group: Pid) -> Vec<i32> {
    let since = Instant::now();
    let _ = killpg(group, Signal::SIGKILL);
    loop {
        let living = living_members(group);
        if living.is_empty() || since.elapsed() > CLEARING {
            return living;
        }
        let _ = killpg(group, Signal::SIGKILL);
        thread::sleep(POLL);
    }
}

/// Members of the group that are not dead. The leader, waiting to be reaped, is dead.
fn living_members(group: Pid) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/stat")).is_ok_and(|stat| lives_in(&String::from_utf8_lossy(&stat), group))
        })
        .collect()
}

/// `<pid> (<name>) <state> <parent> <group> …`; the name may hold anything, also `)`.
fn lives_in(stat: &str, group: Pid) -> bool {
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let mut fields = rest.split(' ');
    let (state, number) = (fields.next(), fields.nth(1));
    !matches!(state, Some("Z" | "X")) && number == Some(group.as_raw().to_string().as_str())
}

/// Where this process is the one that orphans are given to, those of the group are its to reap.
fn reap_adopted(group: Pid) {
    let any = Pid::from_raw(-group.as_raw());
    while matches!(
        waitpid(any, Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::EINTR)
    ) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_from_stat() {
        let check = |stat: &str, expect: bool| assert_eq!(lives_in(stat, Pid::from_raw(42)), expect, "{stat}");
        check("43 (terraform) S 1 42 42 0 -1", true);
        check("43 (a) Z 7 b) R 1 42 42 0 -1", true);
        check("42 (terraform) Z 1 42 42 0 -1", false);
        check("43 (terraform) S 42 43 42 0 -1", false);
        check("", false);
    }
}

//! Lambda for one function on this machine: its real program as a process, with a Runtime API that hands it events and
//! takes its answers as they come, streamed ones too.
//!
//! As on Lambda an instance works on one event at a time, and an answer is taken to its end whether or not somebody
//! still reads it. Nothing happens at a deadline: the function is only told it.

mod events;
mod response;
mod server;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use events::{Event, Events};
pub use response::{Chunk, Head, Response};
use server::{Invocation, Shared};

/// What Lambda says to every function.
const OWN: [(&str, &str); 3] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "emulated"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
];
/// Where functions log, in the checkout.
const LOG: &str = "../../.local/runtime.log";

/// An instance of a function; it is killed, with all that it started, when it is let go of.
pub struct Function {
    /// Its process, which leads a group of its own.
    process: Pid,
    shared: Arc<Shared>,
    invocations: mpsc::UnboundedSender<Invocation>,
    server: JoinHandle<()>,
}

impl Function {
    /// Starts a program with these environment variables, and with Lambda's own.
    pub async fn start(program: &Path, variables: &BTreeMap<String, String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (invocations, waiting) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(waiting));
        let server = tokio::spawn(server::serve(listener, shared.clone()));
        let mut child = launch(program, variables, &address);
        let id = child.id().and_then(|id| i32::try_from(id).ok()).expect("a process id");
        let watched = shared.clone();
        tokio::spawn(async move {
            let status = child.wait().await;
            watched.lose(format!("its process has ended: {status:?}"));
        });
        Self { process: Pid::from_raw(id), shared, invocations, server }
    }

    /// How long it took from the start of the process until it asked for its first event: the cold start.
    pub async fn first_poll(&self) -> Duration {
        tokio::select! {
            took = self.shared.first_poll() => took,
            reason = self.shared.gone() => panic!("the function never asked for an event: {reason}"),
        }
    }

    /// Hands it an event, and answers as soon as its answer begins. The deadline is so long after it took the event.
    pub async fn invoke(&self, event: Vec<u8>, deadline: Duration) -> Response {
        let (sender, answer) = oneshot::channel();
        let invocation = Invocation { id: Uuid::new_v4().to_string(), event, deadline, answer: sender };
        self.invocations.send(invocation).unwrap_or_else(|_| panic!("nobody hands out events"));
        tokio::select! {
            biased;
            answer = answer => match answer.expect("an event is answered") {
                Ok(answer) => Response::of(answer).await,
                Err(error) => panic!("the function failed: {error}"),
            },
            reason = self.shared.gone() => panic!("the function is gone: {reason}"),
        }
    }

    /// The id of its process.
    pub fn process_id(&self) -> i32 {
        self.process.as_raw()
    }

    /// The memory that its process has, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process)).expect("the process lives");
        let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        size.and_then(|size| size.parse::<u64>().ok()).expect("a size in kB") * 1024
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // A group that is gone needs no signal.
        let _ = killpg(self.process, Signal::SIGKILL);
        self.server.abort();
    }
}

/// Where all functions log.
pub fn log_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(LOG)
}

#[expect(clippy::disallowed_methods, reason = "a function is a process")]
fn launch(program: &Path, variables: &BTreeMap<String, String>, address: &str) -> Child {
    let log = File::options().create(true).append(true).open(log_file()).expect("the functions' log can be written");
    let output = log.try_clone().expect("the functions' log can be written");
    let mut command = Command::new(program);
    command.env_clear().envs(OWN).envs(variables).env("AWS_LAMBDA_RUNTIME_API", address);
    command.process_group(0).kill_on_drop(true).stdin(Stdio::null()).stdout(output).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()))
}

//! Workers: the provisioner's real program as a plain process, with a queue of the test's own, so that nobody else's
//! operations come to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use conductor_acceptance::Deployment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::wait::has_ended;
use crate::{Faults, Gate, ORGANISATION, Proxy, Running, shows};

/// After so long the same wake-up is sent again.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a worker that is told to stop may take.
const STOPS: Duration = Duration::from_secs(60);

/// A queue, and what its workers need.
pub struct Workers<'f> {
    faults: &'f Faults,
    queue: String,
    variables: BTreeMap<String, String>,
    sent: Mutex<BTreeMap<String, Instant>>,
}

/// A worker; it is killed when it is let go of.
pub struct Worker(Child);

/// A wake-up, as it stands in a message.
pub fn wake(deployment: &str, operation: Option<usize>, executor: &str) -> String {
    let mut wake = json!({"organisation": ORGANISATION, "deploymentId": deployment, "executor": executor});
    if let Some(number) = operation {
        wake["operation"] = json!(number);
    }
    wake.to_string()
}

impl<'f> Workers<'f> {
    /// A fresh queue.
    pub async fn of(faults: &'f Faults) -> Self {
        let queue = faults.cloud.make_queue().await;
        let mut variables = faults.functions.variables(faults.function("provisioner")).await;
        variables.extend(faults.cloud.session(faults.value("workerRoleArn")).await);
        let folder = checkout().join(".local/tmp");
        let own = [
            ("AWS_REGION", faults.value("region")),
            ("AWS_ENDPOINT_URL", faults.value("awsEndpointUrl")),
            ("WORKER_QUEUE_URL", queue.as_str()),
            ("TMPDIR", folder.to_str().expect("a path that is text")),
        ];
        variables.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self { faults, queue, variables, sent: Mutex::default() }
    }

    /// Starts one.
    pub fn start(&self) -> Worker {
        self.launch(&["--worker"], None)
    }

    /// Starts one that works one message.
    pub fn start_once(&self) -> Worker {
        self.launch(&["--worker", "--once"], None)
    }

    /// Starts one that reaches AWS over a proxy, and whose terraform does.
    pub fn start_behind(&self, proxy: &Proxy) -> Worker {
        self.launch(&["--worker"], Some(proxy))
    }

    #[expect(clippy::disallowed_methods, reason = "a worker is a process")]
    fn launch(&self, arguments: &[&str], proxy: Option<&Proxy>) -> Worker {
        let log = File::options().create(true).append(true).open(checkout().join(".local/faults-workers.log"));
        let log = log.expect("the workers' log can be written");
        let mut command = Command::new(checkout().join("target/lambda/provisioner/bootstrap"));
        command.args(arguments).env_clear().envs(&self.variables).kill_on_drop(true);
        if let Some(proxy) = proxy {
            command.env("AWS_ENDPOINT_URL", proxy.url());
        }
        let output = log.try_clone().expect("the workers' log can be written");
        command.stdin(Stdio::null()).stdout(output).stderr(log);
        Worker(command.spawn().expect("a worker starts"))
    }

    /// Sends a message to the queue.
    pub async fn send(&self, body: &str) {
        self.faults.cloud.send_to(&self.queue, body).await;
    }

    /// A deployment once a condition holds for it. Meanwhile its operations that wait for a worker are told to ours, as
    /// the stack's own queue has none.
    pub async fn until(&self, id: &str, what: &str, holds: impl Fn(&Deployment) -> bool) -> Deployment {
        let look = async |deployment: &Deployment| {
            self.tell(deployment).await;
            holds(deployment).then(|| deployment.clone())
        };
        self.faults.watch(id, what, look).await
    }

    /// A deployment once it has ended.
    pub async fn ended(&self, id: &str) -> Deployment {
        self.until(id, "ended", has_ended).await
    }

    /// Waits until a worker's terraform is at an object of a gate, and the lease says so.
    pub async fn are_at(&self, id: &str, resource: &str, gate: &Gate, name: &str) -> Running {
        self.until(id, "with a worker", |it| is_with_worker(it, resource)).await;
        self.faults.is_at(id, resource, gate, name).await
    }

    /// Tears an application down.
    pub async fn torn_down(&self, application: &str, environment: &str) -> Deployment {
        let path = format!("/v1/applications/{application}/environments/{environment}");
        let id = self.faults.delete(&path).await.expect(202).text("id");
        self.ended(&id).await.succeeded()
    }

    /// Ends the queue.
    pub async fn close(self) {
        self.faults.cloud.delete_queue(&self.queue).await;
    }

    async fn tell(&self, deployment: &Deployment) {
        for (index, operation) in deployment.operations().iter().enumerate() {
            let waits = operation["status"] == "Ready" && operation["executor"] == "worker";
            if waits && self.is_news(operation) {
                self.send(&wake(deployment.id(), Some(index + 1), "worker")).await;
            }
        }
    }

    fn is_news(&self, operation: &Value) -> bool {
        let key = format!("{} {}", operation["id"], operation["attempts"]);
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let news = sent.get(&key).is_none_or(|at| at.elapsed() >= AGAIN);
        if news {
            sent.insert(key, Instant::now());
        }
        news
    }
}

impl Worker {
    /// SIGKILL.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGTERM, and how it ended then.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    /// How it ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(STOPS, self.0.wait()).await;
        ended.unwrap_or_else(|_| panic!("the worker has not ended after {STOPS:?}")).expect("its end can be awaited")
    }

    fn signal(&self, signal: Signal) {
        let id = self.0.id().expect("the worker has not ended");
        let pid = Pid::from_raw(i32::try_from(id).expect("a process id"));
        kill(pid, signal).expect("the signal is sent");
    }
}

/// True where a worker, and not the function that hands over, has the operation of a name.
pub fn is_with_worker(deployment: &Deployment, resource: &str) -> bool {
    shows(deployment, resource, "executor", "worker") && shows(deployment, resource, "status", "Running")
}

/// The checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout is there")
}

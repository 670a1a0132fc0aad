//! Runs terraform for the engine: [`prepare`] fetches what a run needs and writes its work folder, [`attempt`] runs it and
//! sees to what the run before left and to what this one leaves.

mod attempt;
mod lines;
mod prepare;
mod words;

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use conductor_domain::log::Level;
use conductor_domain::operation::ExecutorKind;
use conductor_engine::port::{Clock, Meter};
use conductor_engine::{Control, Executor, Job, JobOutcome, Log, Ran, Stop};
use conductor_store::{AwsConfig, Bucket, SystemClock};
use conductor_terraform::process::Control as Signal;
use conductor_terraform::toolchain::Toolchain;
use tokio::sync::watch;

use crate::artifacts::Artifacts;
use crate::backend::Backends;
use crate::config::Config;
use crate::credentials::Sessions;
use crate::errored::ErroredStates;
use attempt::Attempt;
use lines::Lines;
use prepare::Ready;

/// Room for unpacked toolchains: the AWS provider takes 707 MB (5.100.0, measured); the function has 4 GiB.
const TOOLCHAIN_BYTES: u64 = 2_500_000_000;
/// Terraform is killed no sooner than this after it was told to stop: a person may ask for it 30 seconds after that.
const SHORTEST_GRACE: Duration = Duration::from_secs(45);
/// How long terraform waits for a state's lock. Nobody else should have it: the reservation is ours.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs terraform in this process.
pub struct Terraforming {
    worker: String,
    kind: ExecutorKind,
    aws: AwsConfig,
    artifacts: Artifacts,
    vault: Bucket,
    errored: ErroredStates,
    sessions: Sessions,
    backends: Backends,
    toolchain: Toolchain,
    clock: SystemClock,
    /// How long terraform may take to stop before it is killed.
    grace: Duration,
    root: PathBuf,
    region: String,
    endpoint_url: Option<String>,
}

impl Terraforming {
    /// Clients and folders, made once. `kind` says whether this process is a function or a plain worker.
    pub fn new(config: &Config, aws: &AwsConfig, kind: ExecutorKind, meter: &Meter) -> Result<Self, std::io::Error> {
        let s3 = aws_sdk_s3::config::Builder::from(aws).force_path_style(config.endpoint_url.is_some());
        let s3 = aws_sdk_s3::Client::from_conf(s3.build());
        for folder in ["toolchain", "work", "prepared", "mirror"] {
            fs::create_dir_all(config.root.join(folder))?;
        }
        Ok(Self {
            worker: uuid::Uuid::now_v7().to_string(),
            kind,
            aws: aws.clone(),
            artifacts: Artifacts::new(s3.clone(), config.names.artifact_bucket.clone(), meter.clone()),
            vault: Bucket::new(s3.clone(), config.names.vault_bucket.clone(), meter.clone()),
            errored: ErroredStates::new(s3, config.names.state_bucket.clone()),
            sessions: Sessions::new(config, aws, kind)?,
            backends: Backends::new(config, aws_sdk_secretsmanager::Client::new(aws)),
            toolchain: Toolchain::new(config.root.join("toolchain"), TOOLCHAIN_BYTES),
            clock: SystemClock::new(),
            grace: SHORTEST_GRACE.max(config.timings.stop_before_deadline.unsigned_abs() * 2 / 3),
            root: config.root.clone(),
            region: config.region.clone(),
            endpoint_url: config.endpoint_url.clone(),
        })
    }
}

impl Terraforming {
    /// The time since then, by the monotonic clock.
    fn millis_since(&self, began: Duration) -> u64 {
        millis(self.clock.monotonic().saturating_sub(began))
    }
}

/// A time as logs and metrics have it.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Executor for Terraforming {
    type Prepared = Ready;

    fn worker(&self) -> &str {
        &self.worker
    }

    fn kind(&self) -> ExecutorKind {
        self.kind
    }

    async fn prepare(&self, job: &Job, log: &Log) -> Result<Ready, JobOutcome> {
        let lines = Lines::new(log, &words::masker(job), &self.clock);
        self.ready(job, &lines).await.map_err(JobOutcome::from)
    }

    async fn run(&self, job: &Job, ready: Ready, control: Control) -> Ran {
        let (signals, signal) = watch::channel(Signal::Run);
        let mut stops = control.clone();
        let lines = Lines::new(control.log(), &ready.masker, &self.clock);
        // One channel for all that is run, so that a stop reaches whatever step it is at.
        let relay = async {
            stops.reached(Stop::Terminate).await;
            lines.say(Level::Warn, "terraform is told to stop");
            signals.send_replace(Signal::Terminate);
            // What waits for a server's answer does not heed SIGTERM.
            let killed = tokio::time::timeout(self.grace, stops.reached(Stop::Kill)).await;
            let late = if killed.is_err() { ": it has not stopped in time" } else { "" };
            lines.say(Level::Warn, format!("terraform is killed{late}"));
            signals.send_replace(Signal::Kill);
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            ran = Attempt::new(self, job, &ready, &control, &lines, signal).run() => ran,
            never = relay => match never {},
            never = self.sessions.renew(job, &ready.keyring, &control) => match never {},
        }
    }
}

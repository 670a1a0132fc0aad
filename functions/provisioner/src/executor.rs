//! Runs terraform for the engine: [`prepare`] fetches what a run needs and writes its work folder, [`attempt`] runs it and
//! sees to what the run before left and to what this one leaves.

mod attempt;
mod lines;
mod prepare;
mod words;

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conductor_domain::log::Level;
use conductor_domain::operation::ExecutorKind;
use conductor_engine::port::{Clock, Meter};
use conductor_engine::{Control, Executor, Job, JobOutcome, Log, Ran, Stop};
use conductor_store::{AwsConfig, Bucket, SystemClock};
use conductor_terraform::process::Control as Signal;
use conductor_terraform::provider::{Limits, Providers};
use conductor_terraform::toolchain::Toolchain;
use tokio::sync::watch;

use crate::artifacts::Artifacts;
use crate::backend::Backends;
use crate::config::Config;
use crate::credentials::Sessions;
use crate::errored::ErroredStates;
use crate::fault;
use crate::scratch::Scratch;
use crate::secrets::Secrets;
use crate::strays::Strays;
use attempt::Attempt;
use lines::Lines;
use prepare::{Kept, Ready};

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
    secrets: Secrets,
    toolchain: Toolchain,
    /// Prepared folders for later runs.
    kept: Kept,
    /// The provider that runs on between runs.
    providers: Providers,
    clock: SystemClock,
    /// How long terraform may take to stop before it is killed.
    grace: Duration,
    region: String,
    endpoint_url: Option<String>,
    strays: Strays,
    /// True once a template has run here that is not trusted.
    spent: AtomicBool,
    /// The work folder is always the same one, because a kept provider works in it. Goes last.
    scratch: Scratch,
}

impl Terraforming {
    /// Clients and folders, made once. `kind` says whether this process is a function or a plain worker. What processes
    /// that are gone left is removed first.
    pub async fn new(config: &Config, aws: &AwsConfig, kind: ExecutorKind, meter: &Meter) -> io::Result<Self> {
        // An execution environment of Lambda has one process at a time; emulated ones share a disk, as workers may.
        let alone = kind == ExecutorKind::Lambda && config.endpoint_url.is_none();
        let scratch = Scratch::take(&config.root, alone).await?;
        let secrets = Secrets::new(aws_sdk_secretsmanager::Client::new(aws));
        let s3 = aws_sdk_s3::config::Builder::from(aws).force_path_style(config.endpoint_url.is_some());
        let s3 = aws_sdk_s3::Client::from_conf(s3.build());
        Ok(Self {
            worker: uuid::Uuid::now_v7().to_string(),
            kind,
            aws: aws.clone(),
            artifacts: Artifacts::new(s3.clone(), config.names.artifact_bucket.clone(), meter.clone()),
            vault: Bucket::new(s3.clone(), config.names.vault_bucket.clone(), meter.clone()),
            errored: ErroredStates::new(s3, config.names.state_bucket.clone()),
            sessions: Sessions::new(config, aws, kind)?,
            backends: Backends::new(config, secrets.clone()),
            secrets,
            toolchain: Toolchain::new(config.root.join("toolchain"), TOOLCHAIN_BYTES),
            kept: Kept::new(scratch.kept()),
            providers: Providers::new(scratch.providers(), Limits::default()),
            clock: SystemClock::new(),
            grace: SHORTEST_GRACE.max(config.timings.stop_before_deadline.unsigned_abs() * 2 / 3),
            region: config.region.clone(),
            endpoint_url: config.endpoint_url.clone(),
            strays: Strays::default(),
            spent: AtomicBool::new(false),
            scratch,
        })
    }
}

impl Terraforming {
    /// Whether this process has run what is not trusted. It must not run anything else then.
    pub fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    /// Before a run: nothing is left of others, of this process's or of one that is gone. Where something cannot be
    /// removed, this process ends.
    async fn clear(&self) {
        self.end_strays().await;
        if let Err(error) = self.scratch.clear().await {
            fault::not_cleared(&error);
        }
    }

    /// What a run started and left is gone when this returns.
    async fn end_strays(&self) {
        if let Err(error) = self.strays.end().await {
            fault::not_cleared(&error);
        }
    }

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
        self.strays.spare_present();
        self.spent.fetch_or(job.template.untrusted, Ordering::Relaxed);
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
        let ran = tokio::select! {
            ran = Attempt::new(self, job, &ready, &control, &lines, signal).run() => ran,
            never = relay => match never {},
            never = self.sessions.renew(job, &ready.keyring, &control) => match never {},
        };
        self.end_strays().await;
        ran
    }
}

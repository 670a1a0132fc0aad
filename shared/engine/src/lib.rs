//! What to do about what is true: submit, plan, claim, acquire, release, report, settle, sweep.
//!
//! Decisions are pure functions; everything else reads a snapshot over the ports, asks one of them, and commits the
//! answer against the versions that were read. A lost race is read and decided again. This crate knows no AWS, no HTTP
//! and no terraform.

mod acquire;
mod cancel;
mod claim;
mod commit;
mod dry_run;
mod environments;
mod error;
mod file;
mod graph;
mod hints;
mod idempotency;
pub mod imagine;
pub mod layout;
mod lease;
mod log;
#[cfg(feature = "mutants")]
pub mod mutant;
#[cfg(not(feature = "mutants"))]
mod mutant;
pub mod outcome;
mod overview;
mod pace;
mod plan;
mod pools;
pub mod port;
mod query;
mod record;
mod release;
mod report;
mod reservation;
mod resolve;
mod resources;
mod secrets;
mod settle;
mod start;
mod submit;
mod sweep;
mod templates;
mod tokens;
mod work;
mod workload;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::SignedDuration;

pub use cancel::CancelRequest;
pub use commit::Precondition;
pub use dry_run::{DryRun, Foreseen};
pub use environments::PutOutcome;
pub use error::{Causes, Error};
pub use file::ShownFile;
pub use graph::{Affected, Dependent, Edge, EdgeKind, Graph, Impact, Node, NodeKind};
pub use idempotency::IdempotencyKey;
pub use lease::{Control, Stop};
pub use log::{Log, LogFilter, LogLine, LogPosition, LogPositionError, LogRead, LogReader};
pub use overview::{Due, Overview, Running};
pub use pools::{PoolSpec, PoolView};
pub use query::{AuditFilter, DeploymentFilter, DeploymentView, List, ResourceFilter, ResourceView};
pub use record::*;
pub use resources::{NewConsumer, NewExternal, ResourceChange};
pub use submit::{DeploymentRequest, Submitted, TeardownRequest, read_file};
pub use sweep::Swept;
pub use templates::{NewVersion, TemplateChange};
pub use tokens::NewToken;
pub use work::{Executor, Interruption, Job, JobOutcome, Produced, Ran};
pub use workload::Workload;

use port::{Meter, Ports};

/// What a deployment of this stack decides for the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bucket of terraform states, as it stands in a resource's state location.
    pub state_bucket: String,
    /// True where there is a queue for workers that are plain processes.
    pub workers: bool,
    /// How long things take.
    pub timings: Timings,
    /// What the ports count their requests with.
    pub meter: Meter,
}

/// Times that depend on the machine that runs terraform, and on its credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// How long before its deadline a worker stops terraform, so that the state can be stored and the end reported.
    pub stop_before_deadline: SignedDuration,
    /// Less time than this before that moment is not worth a start.
    pub worth_starting: SignedDuration,
    /// How long terraform's credentials live.
    pub session: SignedDuration,
    /// How much longer than `dead_after` a left-behind terraform is waited for: clocks of two machines differ by less.
    pub quarantine: SignedDuration,
}

impl Default for Timings {
    /// For Lambda's 15 minutes and the shortest session that STS gives.
    fn default() -> Self {
        Self {
            stop_before_deadline: SignedDuration::from_secs(90),
            worth_starting: SignedDuration::from_secs(30),
            session: SignedDuration::from_mins(15),
            quarantine: SignedDuration::from_secs(60),
        }
    }
}

/// The engine, over its ports.
pub struct Engine<P: Ports> {
    /// See [`Ports::Records`].
    pub records: P::Records,
    /// See [`Ports::Vault`].
    pub vault: P::Vault,
    /// See [`Ports::Artifacts`].
    pub artifacts: P::Artifacts,
    /// See [`Ports::Queue`].
    pub queue: P::Queue,
    /// See [`Ports::Clock`].
    pub clock: P::Clock,
    settings: Settings,
    stopping: Arc<AtomicBool>,
    hash_key: OnceLock<Vec<u8>>,
    paces: pace::Paces,
    hints: Arc<hints::Hints>,
    /// True in a dry run: what somebody else will do is taken to succeed, and what is not known yet is marked.
    imagining: bool,
}

impl<P: Ports> Engine<P> {
    /// An engine over these ports.
    pub fn new(
        records: P::Records,
        vault: P::Vault,
        artifacts: P::Artifacts,
        queue: P::Queue,
        clock: P::Clock,
        settings: Settings,
    ) -> Self {
        Self {
            records,
            vault,
            artifacts,
            queue,
            clock,
            settings,
            stopping: Arc::default(),
            hash_key: OnceLock::new(),
            paces: Default::default(),
            hints: Arc::default(),
            imagining: false,
        }
    }

    /// What this engine's ports count their requests with.
    pub fn meter(&self) -> &Meter {
        &self.settings.meter
    }

    /// The process is about to end: what runs is stopped as at a deadline, and nothing more is started.
    pub fn stop_working(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

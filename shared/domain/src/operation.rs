//! Operations: one deployment's work on one resource.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::ids::{DeploymentId, OperationId, ResourceId};
use crate::log::Step;

mod limits;
mod reason;
mod request;
mod usage;
pub use limits::{ExecutorKind, Limits};
pub use reason::{ParameterChange, Prospect, Reason, Weighed};
pub use request::{AcquireRequest, Dependency, ReleaseRequest, Request, Source};
pub use usage::{Requests, Usage};

/// The most operations in a deployment.
pub const MAX_OPERATIONS: usize = 500;

/// How long it may wait for what is planned before it.
pub const PLANNED_TIME: SignedDuration = SignedDuration::from_hours(24);

/// How long a step that somebody is about to take may stay undone before the sweeper takes it: lost wake-ups are sent
/// again within 90 seconds, of which the sweeper's own schedule takes up to 60.
pub const PATIENCE: SignedDuration = SignedDuration::from_secs(25);

/// Where an operation stands.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OperationStatus {
    /// For what [`WaitingFor`] says.
    Waiting,
    /// A worker may claim it.
    Ready,
    /// A worker has it.
    Running,
    /// It did its work.
    Succeeded,
    /// It did not.
    Failed,
    /// It was stopped.
    Cancelled,
    /// Its time was over.
    TimedOut,
    /// Something that it depends on did not succeed.
    Skipped,
}

/// What a waiting operation waits for.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WaitingFor {
    /// Operations of its own deployment.
    Dependencies,
    /// A resource that another operation has reserved.
    Resource,
    /// A terraform that its last worker left behind.
    Lock,
}

/// What can happen to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationEvent {
    /// What it waited for is there.
    Unblocked,
    /// A worker took it.
    Claimed,
    /// Another operation has the resource, or a left-behind terraform its state.
    Blocked,
    /// Its worker gave it back, or is gone.
    Returned,
    /// It did its work.
    Succeeded,
    /// It did not.
    Failed,
    /// Something that it depends on did not succeed.
    Orphaned,
    /// It was stopped.
    Cancelled,
    /// Its time is over.
    Expired,
}

impl OperationStatus {
    /// All statuses, in the order of the table.
    pub const ALL: [OperationStatus; 8] = [
        Self::Waiting,
        Self::Ready,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
        Self::Skipped,
    ];

    /// The status after an event, or `None` where the event cannot happen.
    pub fn after(self, event: OperationEvent) -> Option<OperationStatus> {
        use OperationEvent as E;
        use OperationStatus as S;
        match self {
            S::Waiting => match event {
                E::Unblocked => Some(S::Ready),
                E::Succeeded => Some(S::Succeeded),
                E::Failed => Some(S::Failed),
                E::Orphaned => Some(S::Skipped),
                E::Cancelled => Some(S::Cancelled),
                E::Expired => Some(S::TimedOut),
                E::Claimed | E::Blocked | E::Returned => None,
            },
            S::Ready => match event {
                E::Claimed => Some(S::Running),
                E::Orphaned => Some(S::Skipped),
                E::Cancelled => Some(S::Cancelled),
                E::Expired => Some(S::TimedOut),
                E::Unblocked | E::Blocked | E::Returned | E::Succeeded | E::Failed => None,
            },
            S::Running => match event {
                E::Blocked => Some(S::Waiting),
                E::Returned => Some(S::Ready),
                E::Succeeded => Some(S::Succeeded),
                E::Failed => Some(S::Failed),
                E::Cancelled => Some(S::Cancelled),
                E::Expired => Some(S::TimedOut),
                E::Unblocked | E::Claimed | E::Orphaned => None,
            },
            S::Succeeded | S::Failed | S::Cancelled | S::TimedOut | S::Skipped => match event {
                E::Unblocked
                | E::Claimed
                | E::Blocked
                | E::Returned
                | E::Succeeded
                | E::Failed
                | E::Orphaned
                | E::Cancelled
                | E::Expired => None,
            },
        }
    }

    /// True for a status that never changes again.
    pub fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Ready | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut | Self::Skipped => true,
        }
    }
}

impl OperationEvent {
    /// All events, in the order of the table.
    pub const ALL: [OperationEvent; 9] = [
        Self::Unblocked,
        Self::Claimed,
        Self::Blocked,
        Self::Returned,
        Self::Succeeded,
        Self::Failed,
        Self::Orphaned,
        Self::Cancelled,
        Self::Expired,
    ];
}

/// How a successful operation ended.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// The resource was made.
    Created,
    /// An existing resource was taken.
    Linked,
    /// The resource was changed in place.
    Updated,
    /// Nothing was to do.
    Unchanged,
    /// Others still use the resource.
    Released,
    /// The resource is gone.
    Destroyed,
    /// The last consumer left, and the resource stays.
    Retained,
}

/// What an operation does.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Take a resource: make it, link to it, or change it.
    Acquire,
    /// Let go of a resource; destroy it if nobody else uses it.
    Release,
}

/// How many objects a terraform run added, changed and destroyed.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Objects made.
    pub add: u32,
    /// Objects changed in place.
    pub change: u32,
    /// Objects destroyed.
    pub destroy: u32,
}

/// What terraform was doing when it failed.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum During {
    /// Making the resource.
    Create,
    /// Changing it.
    Update,
    /// Destroying it.
    Destroy,
}

/// One of terraform's own diagnostics, secrets masked.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// One line.
    pub summary: String,
    /// The rest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The object, where terraform names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Why an operation did not succeed.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Which rule.
    pub code: Code,
    /// For a person; never holds a secret.
    pub detail: String,
    /// What terraform was doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<During>,
    /// What terraform said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

impl Failure {
    /// A failure by one of our own rules.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), during: None, diagnostics: Vec::new() }
    }
}

impl From<crate::Refusal> for Failure {
    fn from(refusal: crate::Refusal) -> Self {
        Self::new(refusal.code, refusal.detail)
    }
}

/// An object of a module that terraform had begun with and not finished when it was stopped.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InFlight {
    /// Its address.
    pub address: String,
    /// For how long, in seconds.
    pub seconds: u64,
}

/// What has to be looked at, although the operation went on.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// Which rule.
    pub code: Code,
    /// For a person; never holds a secret.
    pub detail: String,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// Its deployment.
    pub deployment: DeploymentId,
    /// Its number in the deployment, from 1.
    pub number: u32,
    /// The resource's name in the file, or of the resource itself.
    pub resource: String,
    /// The resource's type, without class.
    #[serde(rename = "type")]
    pub kind: String,
    /// What to do.
    pub request: Request,
    /// Where it stands.
    pub status: OperationStatus,
    /// For what, while it is Waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// For which resource, while it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<ResourceId>,
    /// When it got that status.
    pub entered_at: Timestamp,
    /// How it ended, if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The resource, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<ResourceId>,
    /// Numbers of the operations that must have succeeded before it.
    pub depends_on: BTreeSet<u32>,
    /// Numbers of the operations that wait for it.
    pub dependents: BTreeSet<u32>,
    /// True where it also waits until every acquire of the deployment has succeeded.
    #[serde(default)]
    pub after_acquires: bool,
    /// Raised by each claim; who does not have the newest may change nothing.
    pub epoch: u64,
    /// Who carries it out.
    #[serde(default)]
    pub executor: ExecutorKind,
    /// How often and how long it may be tried.
    #[serde(default)]
    pub limits: Limits,
    /// Claims that reserved the resource to run terraform.
    pub attempts: u32,
    /// For how long it ran in the claims before this one, in seconds.
    #[serde(default)]
    pub ran_seconds: u64,
    /// A Ready one may not be claimed before this; one that waits for a left-behind terraform is readied then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// What was in flight when its last attempt was stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_flight: Vec<InFlight>,
    /// What has to be looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// When it was first claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// After this the sweeper ends it whatever its status.
    pub expires_at: Timestamp,
    /// What terraform did.
    #[serde(default)]
    pub changes: Changes,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What became of it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// What it used.
    #[serde(default, skip_serializing_if = "Usage::is_none")]
    pub usage: Usage,
    /// True once its end has been told to the operations that wait for it.
    #[serde(default)]
    pub settled: bool,
    /// Vault objects that its last commit names, to be kept for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_objects: Vec<String>,
}

/// An event that a status does not allow; it means a bug or a lost race, and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {status} {noun} cannot take the event {event}")]
pub struct IllegalTransition {
    pub(crate) noun: &'static str,
    pub(crate) status: String,
    pub(crate) event: String,
}

impl Operation {
    /// Takes an event: the new status, the time it was entered, and what hangs on it.
    pub fn take(&mut self, event: OperationEvent, now: Timestamp) -> Result<(), IllegalTransition> {
        let next = self.status.after(event).ok_or_else(|| IllegalTransition {
            noun: "operation",
            status: format!("{:?}", self.status),
            event: format!("{event:?}"),
        })?;
        if self.status == OperationStatus::Running
            && let Some(claimed_at) = self.claimed_at()
        {
            let ran = now.duration_since(claimed_at);
            self.ran_seconds += u64::try_from(ran.as_secs()).unwrap_or(0);
            if self.executor == ExecutorKind::Lambda {
                self.usage.invocations += 1;
                self.usage.function_millis += u64::try_from(ran.as_millis()).unwrap_or(0);
            }
        }
        if self.waiting_for == Some(WaitingFor::Dependencies) && next == OperationStatus::Ready {
            self.expires_at = now + self.limits.all();
        }
        self.status = next;
        self.entered_at = now;
        self.waiting_for = None;
        self.awaits = None;
        self.not_before = None;
        if next == OperationStatus::Running && self.started_at.is_none() {
            self.started_at = Some(now);
        }
        if next.is_final() {
            self.completed_at = Some(now);
        }
        Ok(())
    }

    /// Since when it has been Running.
    pub fn claimed_at(&self) -> Option<Timestamp> {
        (self.status == OperationStatus::Running).then_some(self.entered_at)
    }

    /// When its time is over, given how it stands: that of waiting for a resource or a lock ends sooner than all of it.
    pub fn ends_at(&self) -> Timestamp {
        match (self.status, self.waiting_for) {
            (OperationStatus::Waiting, Some(WaitingFor::Resource | WaitingFor::Lock)) => {
                self.expires_at.min(self.entered_at + self.limits.waiting())
            }
            (OperationStatus::Ready, _) if self.executor == ExecutorKind::Worker => {
                self.expires_at.min(self.entered_at + self.limits.waiting())
            }
            _ => self.expires_at,
        }
    }

    /// When the sweeper looks at it. A Ready one should have been claimed, an ended one settled, by then.
    pub fn due_at(&self) -> Option<Timestamp> {
        match self.status {
            OperationStatus::Ready => {
                Some((self.entered_at.max(self.not_before.unwrap_or(self.entered_at)) + PATIENCE).min(self.ends_at()))
            }
            OperationStatus::Waiting | OperationStatus::Running => {
                Some(self.not_before.map_or(self.ends_at(), |at| at.min(self.ends_at())))
            }
            OperationStatus::Succeeded
            | OperationStatus::Failed
            | OperationStatus::Cancelled
            | OperationStatus::TimedOut
            | OperationStatus::Skipped => (!self.settled).then_some(self.entered_at + PATIENCE),
        }
    }

    /// True for a dependency that must have succeeded, false for one that only orders.
    pub fn needs(&self, number: u32) -> bool {
        match &self.request {
            Request::Acquire(request) => !request.dependencies.iter().any(|d| d.operation == number && d.weak),
            Request::Release(_) => true,
        }
    }

    /// What it does.
    pub fn action(&self) -> Action {
        match self.request {
            Request::Acquire(_) => Action::Acquire,
            Request::Release(_) => Action::Release,
        }
    }
}

/// The proof that a worker has an operation: only heartbeats write it while the operation runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The operation's number.
    pub operation: u32,
    /// The claim that it belongs to.
    pub epoch: u64,
    /// The worker.
    pub worker: String,
    /// When it was last extended.
    pub heartbeat_at: Timestamp,
    /// When it ends, if it is not extended.
    pub expires_at: Timestamp,
    /// When terraform was about to start, in this claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terraform_started_at: Option<Timestamp>,
    /// When terraform had been reaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terraform_ended_at: Option<Timestamp>,
    /// After this no terraform of this claim can do anything, where its credentials are renewed while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_after: Option<Timestamp>,
    /// Addresses that terraform has lately begun to make: they may exist without being in the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begun: Vec<String>,
    /// Those among `begun` whose address the state had before: it does not tell whether the new object is in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<String>,
    /// What the run before had begun to make and the state did not have when this one began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstored: Vec<String>,
    /// What the worker is told from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopOrder>,
}

/// What a worker is told from outside, from mild to hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopOrder {
    /// Terraform gets SIGTERM: it stores its state.
    Terminate,
    /// Terraform is killed.
    Kill,
}

impl Lease {
    /// One that a worker takes now, for its claim of an operation; nothing has been run under it.
    pub fn new(
        deployment: DeploymentId,
        operation: u32,
        epoch: u64,
        worker: &str,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            deployment,
            operation,
            epoch,
            worker: worker.to_owned(),
            heartbeat_at: now,
            expires_at,
            terraform_started_at: None,
            terraform_ended_at: None,
            dead_after: None,
            begun: Vec::new(),
            replaced: Vec::new(),
            unstored: Vec::new(),
            stop: None,
        }
    }

    /// True where a terraform of this claim may still live.
    pub fn may_have_left_terraform(&self) -> bool {
        self.terraform_started_at.is_some() && self.terraform_ended_at.is_none()
    }
}

//! Operations: one deployment's work on one resource.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::ids::{DeploymentId, OperationId, ResourceId};

mod reason;
mod request;
pub use reason::{ParameterChange, Prospect, Reason, Weighed};
pub use request::{AcquireRequest, Dependency, ReleaseRequest, Request, Source};

/// The most operations in a deployment.
pub const MAX_OPERATIONS: usize = 500;

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
    /// Claims that started terraform.
    pub attempts: u32,
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
        self.status = next;
        self.entered_at = now;
        self.waiting_for = None;
        if next == OperationStatus::Running && self.started_at.is_none() {
            self.started_at = Some(now);
        }
        if next.is_final() {
            self.completed_at = Some(now);
        }
        Ok(())
    }

    /// When the sweeper looks at it. A Ready one should have been claimed, an ended one settled, by then.
    pub fn due_at(&self) -> Option<Timestamp> {
        match self.status {
            OperationStatus::Ready => Some((self.entered_at + PATIENCE).min(self.expires_at)),
            OperationStatus::Waiting | OperationStatus::Running => Some(self.expires_at),
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
}

impl Lease {
    /// True where a terraform of this claim may still live.
    pub fn may_have_left_terraform(&self) -> bool {
        self.terraform_started_at.is_some() && self.terraform_ended_at.is_none()
    }
}

//! Deployments: the wish that a workload should have exactly these resources.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{DeploymentId, ResourceId};
use crate::lane::LaneKey;
use crate::log::{Archive, Step};
use crate::name::{EnvironmentName, WorkloadName};
use crate::operation::{Failure, IllegalTransition, OperationStatus, PATIENCE, ReleaseRequest, Usage};

/// The most that a deployment keeps of its request and of its file, as JSON: its record also has to hold what becomes
/// of it, and an item of the table has 400 KB.
pub const MAX_KEPT: usize = 128 * 1024;

/// What a deployment is for.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeploymentKind {
    /// A Score file becomes resources.
    Apply,
    /// A workload, or all of an application, lets go of everything.
    Teardown,
    /// One resource is let go over the API.
    Release,
    /// A pool makes members, or lets go of them.
    Pool,
}

/// Where a deployment stands.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DeploymentStatus {
    /// An earlier one of its lane is unfinished, or it is not planned yet.
    Pending,
    /// Its operations are planned.
    InProgress,
    /// All operations succeeded.
    Succeeded,
    /// One failed.
    Failed,
    /// It was stopped.
    Cancelled,
    /// One was not in time.
    TimedOut,
}

/// What can happen to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeploymentEvent {
    /// Its operations are planned.
    Planned,
    /// It could not be planned.
    Unplannable,
    /// All its operations have ended, like this.
    Ended(Ending),
    /// It was stopped before it was planned.
    Cancelled,
}

/// How the operations of a deployment ended, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// All succeeded.
    Succeeded,
    /// One failed.
    Failed,
    /// One was stopped, none failed.
    Cancelled,
    /// One was not in time.
    TimedOut,
}

impl DeploymentStatus {
    /// All statuses, in the order of the table.
    pub const ALL: [DeploymentStatus; 6] =
        [Self::Pending, Self::InProgress, Self::Succeeded, Self::Failed, Self::Cancelled, Self::TimedOut];

    /// The status after an event, or `None` where the event cannot happen.
    pub fn after(self, event: DeploymentEvent) -> Option<DeploymentStatus> {
        use DeploymentEvent as E;
        use DeploymentStatus as S;
        match self {
            S::Pending => match event {
                E::Planned => Some(S::InProgress),
                E::Unplannable => Some(S::Failed),
                E::Cancelled => Some(S::Cancelled),
                E::Ended(_) => None,
            },
            S::InProgress => match event {
                E::Ended(Ending::Succeeded) => Some(S::Succeeded),
                E::Ended(Ending::Failed) => Some(S::Failed),
                E::Ended(Ending::Cancelled) => Some(S::Cancelled),
                E::Ended(Ending::TimedOut) => Some(S::TimedOut),
                E::Planned | E::Unplannable | E::Cancelled => None,
            },
            S::Succeeded | S::Failed | S::Cancelled | S::TimedOut => match event {
                E::Planned | E::Unplannable | E::Ended(_) | E::Cancelled => None,
            },
        }
    }

    /// True for a status that never changes again.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::InProgress => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut => true,
        }
    }
}

impl DeploymentEvent {
    /// All events, in the order of the table.
    pub const ALL: [DeploymentEvent; 7] = [
        Self::Planned,
        Self::Unplannable,
        Self::Ended(Ending::Succeeded),
        Self::Ended(Ending::Failed),
        Self::Ended(Ending::Cancelled),
        Self::Ended(Ending::TimedOut),
        Self::Cancelled,
    ];
}

/// How the final operations of a deployment add up: TimedOut, else Failed, else Cancelled, else Succeeded.
pub fn ending(statuses: impl IntoIterator<Item = OperationStatus>) -> Ending {
    use OperationStatus as S;
    statuses.into_iter().fold(Ending::Succeeded, |so_far, status| match (so_far, status) {
        (Ending::TimedOut, _) | (_, S::TimedOut) => Ending::TimedOut,
        (Ending::Failed, _) | (_, S::Failed) => Ending::Failed,
        (Ending::Cancelled, _) | (_, S::Cancelled) => Ending::Cancelled,
        (Ending::Succeeded, S::Succeeded | S::Skipped | S::Waiting | S::Ready | S::Running) => Ending::Succeeded,
    })
}

/// What the request said beside the file.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// Release what the workload held and the file no longer names.
    pub prune: bool,
    /// Run terraform also where nothing seems to have changed.
    pub refresh: bool,
    /// Move existing resources to the newest template version.
    pub upgrade: bool,
    /// Names of resources that a plan may delete from or replace.
    pub allow_replace: Vec<String>,
    /// Names of resources that may be destroyed although the environment is protected.
    #[serde(default)]
    pub allow_destroy: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { prune: true, refresh: false, upgrade: false, allow_replace: Vec::new(), allow_destroy: Vec::new() }
    }
}

/// What a cancel does about what the deployment made.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rollback {
    /// What the deployment created or linked is let go of.
    #[default]
    Created,
    /// Nothing.
    None,
}

/// What came of a cancel.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CancelOutcome {
    /// Nothing of it is left.
    Clean,
    /// Something is left.
    Partial,
    /// Everything had succeeded before anything was stopped.
    TooLate,
}

/// Something that a cancelled deployment leaves.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leftover {
    /// The name in the file.
    pub resource: String,
    /// The resource's id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub resource_id: ResourceId,
    /// Why it is left.
    pub detail: String,
}

/// A request to stop a deployment.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancel {
    /// When it was made.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub requested_at: Timestamp,
    /// By whom.
    pub requested_by: String,
    /// What is to become of what the deployment made.
    pub rollback: Rollback,
    /// When it was made again with `force`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub forced_at: Option<Timestamp>,
    /// How many operations there were when the rollback began; those after are its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back_after: Option<u32>,
    /// What came of it; none while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<CancelOutcome>,
    /// What is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Leftover>,
}

/// Whether the releases of a deployment may start: they wait for all acquires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Releases {
    /// Acquires are open.
    Undecided,
    /// All acquires succeeded.
    Go,
    /// One did not: nothing is let go.
    Skip,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// What it is for.
    pub kind: DeploymentKind,
    /// Where it stands.
    pub status: DeploymentStatus,
    /// When it got that status.
    pub entered_at: Timestamp,
    /// The environment, and the application, pool or resource.
    pub lane: LaneKey,
    /// Its number in the lane.
    pub number: u64,
    /// The workload; none for a teardown of all, a release, a pool.
    pub workload: Option<WorkloadName>,
    /// What a deployment of kind [`DeploymentKind::Release`] lets go of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lets_go: Option<ReleaseRequest>,
    /// The deployment of the same file that this one tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<DeploymentId>,
    /// What the request said beside the file.
    pub options: Options,
    /// The commit that the user says the file is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_id: Option<String>,
    /// What the user wants to find again.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// The principal.
    pub requested_by: String,
    /// The environments in which the principal may deploy; none where it may everywhere. What lives in another one is used
    /// as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<BTreeSet<EnvironmentName>>,
    /// The request.
    pub request_id: String,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When its operations were planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The vault object with the Score file as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// The vault object with the plan, while the operations are being written in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The vault object with the sensitive parameters of the file, by resource name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<String>,
    /// How many operations it has; the next one appended gets the number after this.
    pub operations: u32,
    /// The first so many are acquires.
    pub acquires: u32,
    /// Whether its releases may start.
    pub releases: Releases,
    /// What the file's `service` resources are, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Value>,
    /// The file's metadata, which its placeholders may name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub file_metadata: Map<String, Value>,
    /// Operations by status, when it started and when it ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operation_counts: BTreeMap<OperationStatus, u32>,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// That it is to stop, and what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Cancel>,
    /// What became of it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// What its operations used, once it has ended.
    #[serde(default, skip_serializing_if = "Usage::is_none")]
    pub usage: Usage,
    /// Where the lines of its runs are archived, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Archive>,
}

impl Deployment {
    /// Whether its operations may change what lives in an environment.
    pub fn may_change_in(&self, environment: &EnvironmentName) -> bool {
        self.lane.environment == *environment || self.reach.as_ref().is_none_or(|reach| reach.contains(environment))
    }

    /// When the sweeper looks at it.
    pub fn due_at(&self) -> Option<Timestamp> {
        (!self.status.is_final() || self.log.is_none()).then_some(self.entered_at + PATIENCE)
    }

    /// Takes an event: the new status, the time it was entered, and what hangs on it.
    pub fn take(&mut self, event: DeploymentEvent, now: Timestamp) -> Result<(), IllegalTransition> {
        let next = self.status.after(event).ok_or_else(|| IllegalTransition {
            noun: "deployment",
            status: format!("{:?}", self.status),
            event: format!("{event:?}"),
        })?;
        self.status = next;
        self.entered_at = now;
        if next == DeploymentStatus::InProgress {
            self.started_at = Some(now);
        }
        if next.is_final() {
            self.completed_at = Some(now);
        }
        Ok(())
    }
}

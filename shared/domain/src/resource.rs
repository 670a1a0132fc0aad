//! Resources: what operations make, change, share and destroy.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::candidate::{CandidateKey, Scope};
use crate::code::{Code, Refusal};
use crate::identity::{IdentityKey, Mode};
use crate::ids::{DeploymentId, OperationId, ResourceId};
use crate::name::{ApplicationName, EnvironmentName};
use crate::operation::{During, IllegalTransition};
use crate::pool::PoolKey;
use crate::template::TemplateName;

/// The most dependencies of a resource.
pub const MAX_DEPENDENCIES: usize = 20;
/// The most consumers of a resource.
pub const MAX_CONSUMERS: u32 = 1_000;
/// The longest output, as JSON.
pub const MAX_OUTPUT: usize = 64 * 1024;
/// The longest outputs of a resource together, as JSON.
pub const MAX_OUTPUTS: usize = 256 * 1024;
/// The most objects that a lease, or a resource, names which no state has: a record has 400 KB, an address up to 1 KB.
pub const MAX_OBJECTS: usize = 200;

/// Where a resource stands.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ResourceStatus {
    /// It is being made.
    Provisioning,
    /// It can be used.
    Active,
    /// It is being changed.
    Updating,
    /// It is being destroyed.
    Deleting,
    /// Its last work failed; a later deployment may go on.
    Failed,
    /// It is gone.
    Deleted,
}

/// What can happen to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceEvent {
    /// An operation goes on to make it.
    CreateBegun,
    /// An operation begins to change it.
    UpdateBegun,
    /// An operation begins to destroy it.
    DestroyBegun,
    /// The work succeeded: it is as asked.
    Settled,
    /// The work succeeded: it is gone.
    Destroyed,
    /// The work was not begun after all: it is as it was.
    Kept,
    /// The work failed.
    Failed,
}

impl ResourceStatus {
    /// All statuses, in the order of the table.
    pub const ALL: [ResourceStatus; 6] =
        [Self::Provisioning, Self::Active, Self::Updating, Self::Deleting, Self::Failed, Self::Deleted];

    /// The status after an event, or `None` where the event cannot happen. The same work may begin again: that is what
    /// a second attempt does.
    pub fn after(self, event: ResourceEvent) -> Option<ResourceStatus> {
        use ResourceEvent as E;
        use ResourceStatus as S;
        match self {
            S::Provisioning => match event {
                E::CreateBegun => Some(S::Provisioning),
                E::Settled => Some(S::Active),
                E::Failed => Some(S::Failed),
                E::DestroyBegun => Some(S::Deleting),
                E::UpdateBegun | E::Destroyed | E::Kept => None,
            },
            S::Active => match event {
                E::UpdateBegun => Some(S::Updating),
                E::DestroyBegun => Some(S::Deleting),
                E::CreateBegun | E::Settled | E::Destroyed | E::Kept | E::Failed => None,
            },
            S::Updating => match event {
                E::UpdateBegun => Some(S::Updating),
                E::Settled | E::Kept => Some(S::Active),
                E::Failed => Some(S::Failed),
                E::DestroyBegun => Some(S::Deleting),
                E::CreateBegun | E::Destroyed => None,
            },
            S::Deleting => match event {
                E::DestroyBegun => Some(S::Deleting),
                E::Destroyed => Some(S::Deleted),
                E::Failed => Some(S::Failed),
                E::Kept => Some(S::Active),
                E::CreateBegun | E::UpdateBegun | E::Settled => None,
            },
            S::Failed => match event {
                E::CreateBegun => Some(S::Provisioning),
                E::UpdateBegun => Some(S::Updating),
                E::DestroyBegun => Some(S::Deleting),
                E::Settled | E::Destroyed | E::Kept | E::Failed => None,
            },
            S::Deleted => match event {
                E::CreateBegun | E::UpdateBegun | E::DestroyBegun | E::Settled | E::Destroyed | E::Kept | E::Failed => {
                    None
                }
            },
        }
    }
}

impl ResourceEvent {
    /// All events, in the order of the table.
    pub const ALL: [ResourceEvent; 7] = [
        Self::CreateBegun,
        Self::UpdateBegun,
        Self::DestroyBegun,
        Self::Settled,
        Self::Destroyed,
        Self::Kept,
        Self::Failed,
    ];

    /// The event with which work of a kind begins.
    pub fn begun(during: During) -> Self {
        match during {
            During::Create => Self::CreateBegun,
            During::Update => Self::UpdateBegun,
            During::Destroy => Self::DestroyBegun,
        }
    }
}

/// The operation that alone may run terraform for a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// The operation's deployment.
    pub deployment: DeploymentId,
    /// Its number there.
    pub number: u32,
    /// Its id.
    pub operation: OperationId,
    /// The claim.
    pub epoch: u64,
    /// After this no terraform of that claim can do anything: its machine is gone, its credentials have ended, and clocks
    /// differ by less than what is added.
    pub dead_after: Timestamp,
    /// True where the resource was in order before, and no terraform has run since.
    #[serde(default)]
    pub untouched: bool,
}

/// A terraform that was not reaped: its lock may still be there, and not everything that it made is in the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftBehind {
    /// The operation.
    pub operation: OperationId,
    /// The claim.
    pub epoch: u64,
    /// When it was taken over.
    pub at: Timestamp,
    /// What it had lately begun to make, by address.
    #[serde(default)]
    pub begun: Vec<String>,
}

/// Objects that may exist although no state has them.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unstored {
    /// The deployment that began to make them.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub deployment: DeploymentId,
    /// When they were missed.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Their addresses in the module.
    pub objects: Vec<String>,
}

/// Where terraform keeps a resource's state.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateLocation {
    /// Such as `s3`.
    pub backend: String,
    /// Such as `s3://<bucket>/<key>`.
    pub location: String,
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Its id.
    pub id: ResourceId,
    /// Its name, for people.
    pub name: String,
    /// The template.
    pub template: TemplateName,
    /// The template's version; none for what Conductor did not make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<semver::Version>,
    /// Where it lives.
    pub environment: EnvironmentName,
    /// The application that it was made for; none for a pool's, and for what Conductor did not make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_for: Option<ApplicationName>,
    /// How it is found.
    pub mode: Mode,
    /// By which key; freed when it is gone.
    pub identity: IdentityKey,
    /// Where it stands.
    pub status: ResourceStatus,
    /// When it got that status.
    pub entered_at: Timestamp,
    /// Who works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Reservation>,
    /// What the last run left, until a run has seen to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<LeftBehind>,
    /// A state that terraform could not store, in the state bucket; the next run pushes it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errored_state: Option<String>,
    /// What a person has to look for, until one says that it has been seen to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unstored: Option<Unstored>,
    /// How many consumers it has.
    pub consumers: u32,
    /// How many of them are resources that depend on it.
    #[serde(default)]
    pub dependents: u32,
    /// How many operations wait for its reservation to end.
    pub waiters: u32,
    /// How many consumers it may have beside its dependents, where whoever made it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_consumers: Option<u32>,
    /// Where matching finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Scope>,
    /// True where matching with the scope `global` finds it, and every environment may name it.
    #[serde(default)]
    pub published: bool,
    /// The pool that it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolKey>,
    /// Its id where it lives, for what Conductor did not make: it is used, never changed and never destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
    /// What it depends on.
    #[serde(default)]
    pub depends_on: Vec<ResourceId>,
    /// Where its state is.
    pub state_location: StateLocation,
    /// True where it stays when its last consumer leaves.
    #[serde(default)]
    pub retain: bool,
    /// The deployment that made it; none for what Conductor did not make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<DeploymentId>,
    /// The deployment that last changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<DeploymentId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Resource {
    /// When the sweeper looks at it: when a reservation has outlived its worker, or waiters were left behind.
    pub fn due_at(&self) -> Option<Timestamp> {
        match &self.reservation {
            Some(reservation) => Some(reservation.dead_after),
            None if self.waiters > 0 => Some(self.updated_at),
            None => None,
        }
    }

    /// Where matching finds it.
    pub fn candidacies(&self) -> impl Iterator<Item = CandidateKey> {
        let published = self.published.then_some(Scope::Global).filter(|scope| self.candidate.as_ref() != Some(scope));
        let scopes = self.candidate.iter().cloned().chain(published);
        scopes.map(|scope| CandidateKey { scope, template: self.template.clone() })
    }

    /// True where one more consumer may come; `most` is what the one who asks allows, ourselves included.
    pub fn has_room(&self, most: Option<u32>) -> bool {
        let most = [most, self.max_consumers].into_iter().flatten().min();
        most.is_none_or(|most| self.users() + self.waiters < most)
    }

    /// How many consumers it has beside its dependents: those that a limit counts.
    pub fn users(&self) -> u32 {
        self.consumers.saturating_sub(self.dependents)
    }

    /// Refuses one more consumer where a limit is reached; whoever waits for it has been counted before.
    pub fn refuse_more(&self) -> Result<(), Refusal> {
        let full = self.consumers >= MAX_CONSUMERS || self.max_consumers.is_some_and(|most| self.users() >= most);
        if !full {
            return Ok(());
        }
        let most = self.max_consumers.unwrap_or(MAX_CONSUMERS).min(MAX_CONSUMERS);
        let detail = format!("{} has {} consumers; {most} are allowed", self.name, self.users());
        Err(Refusal::new(Code::TooManyConsumers, detail))
    }

    /// Adds objects that may exist although no state has them, and answers with those that were not known. It keeps
    /// [`MAX_OBJECTS`].
    pub fn miss(&mut self, objects: &[String], deployment: DeploymentId, at: Timestamp) -> Vec<String> {
        let mut known = self.unstored.as_ref().map(|unstored| unstored.objects.clone()).unwrap_or_default();
        let mut new: Vec<String> = objects.iter().filter(|object| !known.contains(object)).cloned().collect();
        new.sort_unstable();
        new.dedup();
        if !new.is_empty() {
            known.extend(new.iter().cloned());
            known.truncate(MAX_OBJECTS);
            self.unstored = Some(Unstored { deployment, at, objects: known });
        }
        new
    }

    /// Takes an event: the new status and the time it was entered.
    pub fn take(&mut self, event: ResourceEvent, now: Timestamp) -> Result<(), IllegalTransition> {
        let next = self.status.after(event).ok_or_else(|| IllegalTransition {
            noun: "resource",
            status: format!("{:?}", self.status),
            event: format!("{event:?}"),
        })?;
        self.status = next;
        self.entered_at = now;
        self.updated_at = now;
        Ok(())
    }
}

/// The resolved parameters of a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameters {
    /// Of which resource.
    pub resource: ResourceId,
    /// Those that may be shown.
    pub values: Map<String, Value>,
    /// Names of those that lie in the vault.
    pub sensitive: Vec<String>,
    /// The vault object with the sensitive ones, a JSON object by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Keyed hash over all of them, hex.
    pub hash: String,
}

/// The outputs of a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outputs {
    /// Of which resource.
    pub resource: ResourceId,
    /// Those that may be shown.
    pub values: BTreeMap<String, Value>,
    /// Names of those that lie in the vault.
    pub sensitive: Vec<String>,
    /// The vault object with the sensitive ones, a JSON object by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// An operation that waits until a resource's reservation has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiter {
    /// For which resource.
    pub resource: ResourceId,
    /// The operation's deployment.
    pub deployment: DeploymentId,
    /// Its number there.
    pub number: u32,
    /// Since when.
    pub since: Timestamp,
}

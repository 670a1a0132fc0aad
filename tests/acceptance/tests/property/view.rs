//! The answers of the API, as far as the model asks for them, and what they are in its words.

use std::collections::BTreeMap;

use conductor_domain::Code;
use conductor_domain::deployment::{DeploymentKind, DeploymentStatus};
use conductor_domain::identity::Mode;
use conductor_domain::operation::{Action, Effect, OperationStatus, Prospect};
use conductor_domain::resource::ResourceStatus;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::foresight::{Foresight, Told};
use crate::model::{Consumer, Deployment, Operation, Resource, Workload};
use crate::names::Names;

/// An answer, or a part of one.
pub fn parsed<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| format!("{error}: {value:#}"))
}

/// A problem, or why something failed.
#[derive(Debug, Deserialize)]
pub struct Problem {
    /// The code.
    pub code: Code,
}

/// A list.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    /// All of it, where it has no pages.
    pub items: Vec<T>,
}

/// A deployment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    id: String,
    kind: DeploymentKind,
    status: DeploymentStatus,
    application: Option<String>,
    workload: Option<String>,
    environment: String,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    error: Option<Problem>,
    operations: Vec<OperationView>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OperationView {
    id: String,
    resource: String,
    action: Action,
    status: OperationStatus,
    effect: Option<Effect>,
    resource_id: Option<String>,
    depends_on: Vec<String>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    error: Option<Problem>,
}

impl DeploymentView {
    /// In the model's words.
    pub fn told(self, names: &Names) -> Deployment {
        let numbers: BTreeMap<String, u32> = self.operations.iter().map(|o| o.id.clone()).zip(1..).collect();
        let operations = self.operations.into_iter().map(|operation| operation.told(&numbers)).collect();
        // The API does not show the number in the lane. In a lane each one begins, or fails to, after the one before.
        let turn = self.started_at.or(self.completed_at).unwrap_or(self.created_at);
        Deployment {
            id: self.id,
            kind: self.kind,
            environment: names.plain(&self.environment),
            application: self.application.map(|name| names.plain(&name)),
            workload: self.workload,
            number: u64::try_from(turn.as_microsecond()).unwrap_or_default(),
            status: self.status,
            error: self.error.map(|problem| problem.code),
            operations,
        }
    }
}

impl OperationView {
    fn told(self, numbers: &BTreeMap<String, u32>) -> Operation {
        Operation {
            number: numbers.get(&self.id).copied().unwrap_or_default(),
            name: self.resource,
            action: self.action,
            status: self.status,
            effect: self.effect,
            error: self.error.map(|problem| problem.code),
            resource: self.resource_id,
            depends_on: self.depends_on.iter().filter_map(|id| numbers.get(id).copied()).collect(),
            started_at: self.started_at,
            completed_at: self.completed_at,
        }
    }
}

/// A dry run.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRunView {
    waits_for: Vec<String>,
    error: Option<Problem>,
    operations: Vec<ForeseenView>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForeseenView {
    resource: String,
    action: Action,
    effects: Vec<Prospect>,
    decided_by: Vec<String>,
}

impl DryRunView {
    /// In the model's words.
    pub fn told(self) -> Foresight {
        let told = |seen: ForeseenView| Told {
            name: seen.resource,
            action: seen.action,
            prospects: seen.effects,
            decided_by: seen.decided_by,
        };
        Foresight::Told {
            operations: self.operations.into_iter().map(told).collect(),
            error: self.error.map(|problem| problem.code),
            waits: !self.waits_for.is_empty(),
        }
    }
}

/// A resource.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceView {
    /// Its id.
    pub id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    template_version: Option<String>,
    /// Where it lives.
    pub environment: String,
    mode: Mode,
    /// Where it stands.
    pub status: ResourceStatus,
    existing_resource_id: Option<String>,
    /// The pool that it was made for.
    pub pool: Option<String>,
    retain: bool,
    /// Where its state is.
    pub state_location: StateLocation,
    /// Ids of what it depends on.
    pub depends_on: Vec<String>,
    parameters: Map<String, Value>,
    /// Who uses it.
    pub consumers: Vec<ConsumerView>,
}

/// Where the state of a resource is.
#[derive(Debug, Clone, Deserialize)]
pub struct StateLocation {
    /// `s3://<bucket>/<key>`
    pub location: String,
}

/// A consumer.
#[derive(Debug, Clone, Deserialize)]
pub struct ConsumerView {
    id: String,
    /// True while its last release has not succeeded.
    pub leaving: bool,
    /// Who.
    #[serde(flatten)]
    pub user: User,
}

/// Who uses a resource.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum User {
    /// A workload, by its file.
    Workload { environment: String, application: String, workload: String, resource: String },
    /// A resource that depends on it.
    Resource { resource: String },
    /// An application, or one of its workloads, by the API.
    Application { environment: String, application: String, workload: Option<String> },
    /// The pool whose free member it is.
    Pool { environment: String, pool: String },
}

impl ResourceView {
    /// In the model's words.
    pub fn told(&self, names: &Names) -> Resource {
        let (hidden, shown): (Map<String, Value>, Map<String, Value>) =
            self.parameters.clone().into_iter().partition(|(_, value)| value.is_null());
        Resource {
            id: self.id.clone(),
            name: self.name.clone(),
            kind: names.plain(&self.kind),
            environment: names.plain(&self.environment),
            mode: self.mode,
            status: self.status,
            version: self.template_version.clone(),
            parameters: (shown, hidden.into_iter().map(|(name, _)| name).collect()),
            retain: self.retain,
            external: self.is_external(),
            depends_on: self.depends_on.clone(),
            consumers: self.consumers.iter().map(|one| (one.id.clone(), one.user.told(names))).collect(),
            // The API shows no count beside the consumers themselves.
            counted: self.consumers.len(),
        }
    }

    /// True where Conductor did not make it.
    pub fn is_external(&self) -> bool {
        self.existing_resource_id.is_some()
    }

    /// True for a free member of a pool.
    pub fn is_free_in(&self, pool: &PoolView) -> bool {
        self.consumers.iter().any(|consumer| match &consumer.user {
            User::Pool { environment, pool: name } => *environment == pool.environment && *name == pool.name,
            User::Workload { .. } | User::Resource { .. } | User::Application { .. } => false,
        })
    }
}

impl User {
    fn told(&self, names: &Names) -> Consumer {
        match self.clone() {
            User::Workload { environment, application, workload, resource } => {
                let (environment, application) = (names.plain(&environment), names.plain(&application));
                Consumer::File(Workload { environment, application, name: workload }, resource)
            }
            User::Resource { resource } => Consumer::Resource(resource),
            User::Application { environment, application, workload } => {
                let (environment, application) = (names.plain(&environment), names.plain(&application));
                Consumer::Api { environment, application, workload }
            }
            User::Pool { environment, pool } => Consumer::Pool(names.plain(&environment), pool),
        }
    }
}

/// A pool.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// How many free members were asked for.
    pub size: u32,
    /// True while it is being deleted.
    pub closing: bool,
    desired: u32,
    /// Members that can be had.
    pub free: u32,
    provisioning: u32,
    failed: u32,
}

impl PoolView {
    /// True where nothing is to be made, and nothing to be let go of.
    pub fn is_settled(&self) -> bool {
        !self.closing && self.free == self.desired && self.provisioning == 0 && self.failed == 0
    }
}

/// The graph of an environment.
#[derive(Debug, Deserialize)]
pub struct GraphView {
    /// Resources, and who uses them.
    pub nodes: Vec<NodeView>,
    /// Between them.
    pub edges: Vec<EdgeView>,
    /// True where there is more.
    pub truncated: bool,
}

/// A node of a graph.
#[derive(Debug, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub id: String,
    /// `resource`, or who uses one.
    pub kind: String,
    /// Where it lives.
    pub environment: String,
    /// Of a resource.
    pub status: Option<ResourceStatus>,
}

/// An edge of a graph.
#[derive(Debug, Deserialize)]
pub struct EdgeView {
    /// Who needs the other.
    pub from: String,
    /// The other.
    pub to: String,
    /// `uses` or `dependsOn`.
    pub kind: String,
}

//! Resources, as users see them.

use std::collections::BTreeMap;

use conductor_domain::audit::AuditEvent;
use conductor_domain::consumer::{Consumer, ConsumerKey, Origin};
use conductor_domain::identity::Mode;
use conductor_domain::resource::{Outputs, Parameters, Resource, ResourceStatus, StateLocation, Unstored};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A resource as it stands in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceItem {
    id: String,
    name: String,
    /// The type, without class.
    #[serde(rename = "type")]
    kind: String,
    class: String,
    /// `null` for what Conductor did not make.
    template_version: Option<String>,
    environment: String,
    mode: Mode,
    status: ResourceStatus,
    /// Its id where it lives, for what Conductor did not make.
    existing_resource_id: Option<String>,
    /// Whether every environment may name it, and matching with the scope `global` finds it.
    published: bool,
    /// The name of the pool that it was made for.
    pool: Option<String>,
    /// How many consumers it may have, where whoever made it said so.
    max_consumers: Option<u32>,
    /// Whether it stays when its last consumer leaves.
    retain: bool,
    state_location: StateLocation,
    /// Ids of the resources that it depends on.
    depends_on: Vec<String>,
    /// The deployment that made it; `null` for what Conductor did not make.
    created_by: Option<String>,
    /// The deployment that last changed it.
    updated_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A resource.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceView {
    #[serde(flatten)]
    item: ResourceItem,
    /// Its parameters; sensitive ones are `null`.
    parameters: BTreeMap<String, Value>,
    /// Its outputs; sensitive values are `null`.
    outputs: BTreeMap<String, OutputValue>,
    consumers: Vec<ConsumerView>,
    /// Objects that may exist although no state has them, until somebody says `reconciled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    unstored: Option<Unstored>,
    /// What deployments did to it, the newest first; at most the last 50.
    lineage: Vec<LineageView>,
}

/// One thing that a deployment did to a resource.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LineageView {
    /// Its id.
    deployment: String,
    /// What, such as `resource.created`.
    action: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who.
    principal: String,
    /// From which request; of a worker: deployment and operation.
    request_id: String,
}

/// An output.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutputValue {
    /// `null` in a resource where it is sensitive.
    pub value: Option<Value>,
    /// Whether it is kept from sight.
    pub sensitive: bool,
}

/// A consumer of a resource.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerView {
    id: String,
    #[serde(flatten)]
    user: User,
    origin: Origin,
    /// True while the last release of it has not succeeded.
    leaving: bool,
    #[schema(value_type = String, format = DateTime)]
    added_at: Timestamp,
}

/// Who uses a resource.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    /// `workload`, by its file; `resource`, that depends on it; `application`, by the API; `pool`, whose free member it is.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    /// The name of the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    /// The name in the workload's file, or the id of the resource that depends on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
}

impl From<Resource> for ResourceItem {
    fn from(resource: Resource) -> Self {
        Self {
            id: resource.id.to_string(),
            name: resource.name,
            kind: resource.template.kind().to_owned(),
            class: resource.template.class().to_owned(),
            template_version: resource.version.map(|version| version.to_string()),
            environment: resource.environment.into(),
            mode: resource.mode,
            status: resource.status,
            existing_resource_id: resource.external,
            published: resource.published,
            pool: resource.pool.map(|pool| pool.name.into()),
            max_consumers: resource.max_consumers,
            retain: resource.retain,
            state_location: resource.state_location,
            depends_on: resource.depends_on.iter().map(ToString::to_string).collect(),
            created_by: resource.created_by.map(|id| id.to_string()),
            updated_by: resource.updated_by.map(|id| id.to_string()),
            created_at: resource.created_at,
            updated_at: resource.updated_at,
        }
    }
}

impl From<conductor_engine::ResourceView> for ResourceView {
    fn from(view: conductor_engine::ResourceView) -> Self {
        let unstored = view.resource.unstored.clone();
        Self {
            item: view.resource.value.into(),
            parameters: view.parameters.map(parameters).unwrap_or_default(),
            outputs: view.outputs.map(outputs).unwrap_or_default(),
            unstored,
            consumers: view.consumers.into_iter().map(ConsumerView::from).collect(),
            lineage: view.lineage.into_iter().filter_map(lineage).collect(),
        }
    }
}

fn parameters(parameters: Parameters) -> BTreeMap<String, Value> {
    let hidden = parameters.sensitive.into_iter().map(|name| (name, Value::Null));
    parameters.values.into_iter().chain(hidden).collect()
}

fn outputs(outputs: Outputs) -> BTreeMap<String, OutputValue> {
    let shown =
        outputs.values.into_iter().map(|(name, value)| (name, OutputValue { value: Some(value), sensitive: false }));
    let hidden = outputs.sensitive.into_iter().map(|name| (name, OutputValue { value: None, sensitive: true }));
    shown.chain(hidden).collect()
}

/// None for an event that names no deployment.
fn lineage(event: AuditEvent) -> Option<LineageView> {
    let AuditEvent { at, principal, request_id, action, deployment, .. } = event;
    Some(LineageView { deployment: deployment?.to_string(), action, at, principal, request_id })
}

impl From<Consumer> for ConsumerView {
    fn from(consumer: Consumer) -> Self {
        Self {
            id: consumer.key.id(),
            origin: consumer.key.origin(),
            user: consumer.key.into(),
            leaving: consumer.leaving.is_some(),
            added_at: consumer.added_at,
        }
    }
}

impl From<ConsumerKey> for User {
    fn from(key: ConsumerKey) -> Self {
        let nobody =
            Self { kind: "", application: None, workload: None, environment: None, pool: None, resource: None };
        match key {
            ConsumerKey::Workload(key) => Self {
                kind: "workload",
                application: Some(key.application.into()),
                workload: Some(key.workload.into()),
                environment: Some(key.environment.into()),
                resource: Some(key.resource),
                ..nobody
            },
            ConsumerKey::Resource { resource } => {
                Self { kind: "resource", resource: Some(resource.to_string()), ..nobody }
            }
            ConsumerKey::Api { environment, application, workload } => Self {
                kind: "application",
                application: Some(application.into()),
                workload: workload.map(String::from),
                environment: Some(environment.into()),
                ..nobody
            },
            ConsumerKey::Pool(key) => {
                Self { kind: "pool", environment: Some(key.environment.into()), pool: Some(key.name.into()), ..nobody }
            }
        }
    }
}

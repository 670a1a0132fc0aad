//! Resources, as users see them.

use std::collections::BTreeMap;

use conductor_domain::consumer::{Consumer, ConsumerKey, Origin};
use conductor_domain::identity::Mode;
use conductor_domain::resource::{Outputs, Parameters, Resource, ResourceStatus, StateLocation};
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
    template_version: String,
    environment: String,
    mode: Mode,
    status: ResourceStatus,
    state_location: StateLocation,
    /// Ids of the resources that it depends on.
    depends_on: Vec<String>,
    /// The deployment that made it.
    created_by: String,
    /// The deployment that last changed it.
    updated_by: String,
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
    #[schema(value_type = BTreeMap<String, Object>)]
    parameters: BTreeMap<String, Value>,
    /// Its outputs; sensitive values are `null`.
    outputs: BTreeMap<String, OutputValue>,
    consumers: Vec<ConsumerView>,
}

/// An output.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutputValue {
    /// `null` in a resource where it is sensitive.
    #[schema(value_type = Object)]
    pub value: Option<Value>,
    /// Whether it is kept from sight.
    pub sensitive: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ConsumerView {
    id: String,
    /// `workload`, or `resource` for one that depends on it.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    /// The name in the workload's file, or the id of the resource that depends on it.
    resource: String,
    origin: Origin,
    /// True while the last release of it has not succeeded.
    leaving: bool,
    #[schema(value_type = String, format = DateTime)]
    added_at: Timestamp,
}

impl From<Resource> for ResourceItem {
    fn from(resource: Resource) -> Self {
        Self {
            id: resource.id.to_string(),
            name: resource.name,
            kind: resource.template.kind().to_owned(),
            class: resource.template.class().to_owned(),
            template_version: resource.version.to_string(),
            environment: resource.environment.into(),
            mode: resource.mode,
            status: resource.status,
            state_location: resource.state_location,
            depends_on: resource.depends_on.iter().map(ToString::to_string).collect(),
            created_by: resource.created_by.to_string(),
            updated_by: resource.updated_by.to_string(),
            created_at: resource.created_at,
            updated_at: resource.updated_at,
        }
    }
}

impl From<conductor_engine::ResourceView> for ResourceView {
    fn from(view: conductor_engine::ResourceView) -> Self {
        Self {
            item: view.resource.value.into(),
            parameters: view.parameters.map(parameters).unwrap_or_default(),
            outputs: view.outputs.map(outputs).unwrap_or_default(),
            consumers: view.consumers.into_iter().map(ConsumerView::from).collect(),
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

impl From<Consumer> for ConsumerView {
    fn from(consumer: Consumer) -> Self {
        let id = consumer.key.id();
        let (kind, application, workload, environment, resource) = match consumer.key {
            ConsumerKey::Workload(key) => (
                "workload",
                Some(key.application.into()),
                Some(key.workload.into()),
                Some(key.environment.into()),
                key.resource,
            ),
            ConsumerKey::Resource { resource } => ("resource", None, None, None, resource.to_string()),
        };
        Self {
            id,
            kind,
            application,
            workload,
            environment,
            resource,
            origin: consumer.origin,
            leaving: consumer.leaving.is_some(),
            added_at: consumer.added_at,
        }
    }
}

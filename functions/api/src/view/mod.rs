//! What the API shows of a record: the JSON that users see, apart from what is stored.

mod deployment;
mod dry_run;
mod graph;
mod log;
mod pool;
mod resource;
mod template;
mod workload;

pub use deployment::{DeploymentItem, DeploymentView};
pub use dry_run::DryRunView;
pub use graph::{GraphView, ImpactView};
pub use log::{LogLineView, LogPage};
pub use pool::PoolView;
pub use resource::{ConsumerView, OutputValue, ResourceItem, ResourceView};
pub use template::{TemplateVersionView, TemplateView};
pub use workload::WorkloadView;

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::application::Application;
use conductor_domain::audit::AuditEvent;
use conductor_domain::environment::{Environment, EnvironmentSpec};
use conductor_domain::score::Port;
use conductor_engine::port::Versioned;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// An environment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentView {
    /// Its name.
    name: String,
    /// What was said of it.
    #[serde(flatten)]
    spec: EnvironmentSpec,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Versioned<Environment>> for EnvironmentView {
    fn from(read: Versioned<Environment>) -> Self {
        let Environment { name, spec, created_at, updated_at } = read.value;
        Self { name: name.into(), spec, created_at, updated_at }
    }
}

/// An application.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationView {
    /// Its name.
    name: String,
    /// The environments that it was ever deployed to.
    environments: BTreeSet<String>,
    /// Its workloads, each with the ports that its last Score file publishes.
    workloads: BTreeMap<String, BTreeMap<String, Port>>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Application> for ApplicationView {
    fn from(application: Application) -> Self {
        Self {
            name: application.name.into(),
            environments: application.environments.into_iter().map(String::from).collect(),
            workloads: application.workloads.into_iter().map(|(name, ports)| (name.into(), ports)).collect(),
            created_at: application.created_at,
        }
    }
}

/// An audit event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who.
    principal: String,
    /// From which request; of a worker: deployment and operation.
    request_id: String,
    /// What, such as `resource.created`.
    action: String,
    /// The kind of record.
    noun: String,
    /// Its id or name.
    subject: String,
    /// For which deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl From<AuditEvent> for AuditView {
    fn from(event: AuditEvent) -> Self {
        Self {
            id: event.id.to_string(),
            at: event.at,
            principal: event.principal,
            request_id: event.request_id,
            action: event.action,
            noun: event.noun,
            subject: event.subject,
            deployment: event.deployment.map(|id| id.to_string()),
            detail: event.detail,
        }
    }
}

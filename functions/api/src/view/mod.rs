//! What the API shows of a record: the JSON that users see, apart from what is stored.

mod deployment;
mod dry_run;
mod graph;
mod log;
mod pool;
mod resource;
mod template;
mod token;
mod workload;

pub use deployment::{DeploymentItem, DeploymentView};
pub use dry_run::DryRunView;
pub use graph::{GraphView, ImpactView};
pub use log::{LogLineView, LogPage};
pub use pool::PoolView;
pub use resource::{ConsumerView, OutputValue, ResourceItem, ResourceView};
pub use template::{TemplateVersionView, TemplateView};
pub use token::{NewTokenView, PrincipalView, TokenView};
pub use workload::WorkloadView;

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::application::Application;
use conductor_domain::audit::AuditEvent;
use conductor_domain::backend::BackendSpec;
use conductor_domain::environment::{Credentials, Environment, EnvironmentSpec, TypeDefaults};
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
    /// Such as `production`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The cloud region; the stack's own where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// With what its resources are made; the stack's default role where nothing is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<Credentials>,
    /// Where the states of its resources are; the stack's own bucket where nothing is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<BackendSpec>,
    /// Whether it destroys nothing that a request does not allow by name.
    protected: bool,
    /// When it ends. Kept, and not yet enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// For each resource type: template version and parameters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    defaults: BTreeMap<String, TypeDefaults>,
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
        let EnvironmentSpec { kind, region, credentials, backend, protected, expires_at, defaults } = spec;
        let name = name.into();
        Self { name, kind, region, credentials, backend, protected, expires_at, defaults, created_at, updated_at }
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

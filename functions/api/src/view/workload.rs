//! Workloads, as users see them.

use std::collections::BTreeMap;

use conductor_domain::score::Port;
use conductor_engine::Workload;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A workload with a value for every placeholder in its containers.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkloadView {
    /// The id of the deployment.
    deployment: String,
    application: String,
    workload: String,
    environment: String,
    /// The containers of its Score file, by name; what is sensitive is `(sensitive)`.
    #[schema(value_type = Object)]
    containers: Value,
    service: ServiceView,
    /// JSON pointers to what is masked, such as `/containers/main/variables/PASSWORD`.
    masked: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ServiceView {
    /// What the workload publishes, by name.
    ports: BTreeMap<String, Port>,
}

impl From<Workload> for WorkloadView {
    fn from(workload: Workload) -> Self {
        Self {
            deployment: workload.deployment.to_string(),
            application: workload.application.into(),
            workload: workload.workload.into(),
            environment: workload.environment.into(),
            containers: workload.containers,
            service: ServiceView { ports: workload.ports },
            masked: workload.masked,
        }
    }
}

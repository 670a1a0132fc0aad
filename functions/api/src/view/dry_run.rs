//! Dry runs, as users see them.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::deployment::{DeploymentKind, DeploymentStatus};
use conductor_domain::operation::{AcquireRequest, Action, Failure, Operation, Prospect, Reason, Request, Source};
use conductor_engine::{DryRun, Foreseen};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// What a deployment would do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DryRunView {
    kind: DeploymentKind,
    /// The status that it would end with, as far as that can be told.
    outcome: DeploymentStatus,
    application: Option<String>,
    /// None for a teardown of all workloads.
    workload: Option<String>,
    environment: String,
    /// Ids of the deployments that would have to end before it starts.
    waits_for: Vec<String>,
    /// Why it would not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    /// What it would do, in order.
    operations: Vec<ForeseenView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ForeseenView {
    /// The resource's name in the file.
    resource: String,
    #[serde(rename = "type")]
    kind: String,
    action: Action,
    /// How it would end, where nothing unknown decides.
    effect: Option<Prospect>,
    /// All the ways in which it may end.
    effects: Vec<Prospect>,
    /// What decides between them.
    decided_by: Vec<String>,
    /// The resource, where it is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<String>,
    /// The version that a new resource would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    template_version: Option<String>,
    /// Names of the resources whose operations must have ended before it.
    depends_on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// Of an acquire: what it asks for, and where that comes from.
    parameters: Vec<ParameterView>,
    /// Why it would not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ParameterView {
    name: String,
    /// With placeholders unresolved; `null` where it is sensitive.
    value: Value,
    source: Source,
}

impl From<DryRun> for DryRunView {
    fn from(run: DryRun) -> Self {
        let DryRun { deployment, operations, waits_for } = run;
        let names: BTreeMap<u32, String> =
            operations.iter().map(|seen| (seen.operation.number, seen.operation.resource.clone())).collect();
        Self {
            kind: deployment.kind,
            outcome: deployment.status,
            application: deployment.lane.application_name().map(ToString::to_string),
            workload: deployment.workload.map(String::from),
            environment: deployment.lane.environment.into(),
            waits_for: waits_for.iter().map(ToString::to_string).collect(),
            error: deployment.error,
            operations: operations.into_iter().map(|seen| ForeseenView::new(seen, &names)).collect(),
        }
    }
}

impl ForeseenView {
    fn new(seen: Foreseen, names: &BTreeMap<u32, String>) -> Self {
        let Foreseen { operation, prospects, decided_by } = seen;
        let Operation { resource, kind, request, resource_id, depends_on, reason, error, .. } = operation;
        let (action, template_version, parameters) = match request {
            Request::Acquire(request) => {
                (Action::Acquire, request.version.as_ref().map(ToString::to_string), parameters(*request))
            }
            Request::Release(_) => (Action::Release, None, Vec::new()),
        };
        Self {
            resource,
            kind,
            action,
            effect: match prospects.as_slice() {
                [only] => Some(*only),
                _ => None,
            },
            effects: prospects,
            decided_by,
            resource_id: resource_id.map(|id| id.to_string()),
            template_version,
            depends_on: depends_on.iter().filter_map(|number| names.get(number).cloned()).collect(),
            reason,
            parameters,
            error,
        }
    }
}

/// What is asked for. A name without a value is one whose value lies in the vault.
fn parameters(request: AcquireRequest) -> Vec<ParameterView> {
    let AcquireRequest { parameters, sources, .. } = request;
    let mut values = parameters.unwrap_or_default();
    let names: BTreeSet<String> = values.keys().chain(sources.keys()).cloned().collect();
    names
        .into_iter()
        .map(|name| ParameterView {
            value: values.remove(&name).unwrap_or_default(),
            source: sources.get(&name).copied().unwrap_or(Source::File),
            name,
        })
        .collect()
}

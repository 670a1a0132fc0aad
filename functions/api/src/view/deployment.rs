//! Deployments and their operations, as users see them.

use std::collections::BTreeMap;

use conductor_domain::deployment::{
    Cancel, CancelOutcome, Deployment, DeploymentKind, DeploymentStatus, Leftover, Options, Rollback,
};
use conductor_domain::lane::LaneOf;
use conductor_domain::log::Step;
use conductor_domain::operation::{
    Action, Changes, Effect, ExecutorKind, Failure, InFlight, Operation, OperationStatus, Reason, Usage, WaitingFor,
    Warning,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::price::{Prices, UsageView};

/// A deployment as it stands in a list: its operations are counted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentItem {
    #[serde(flatten)]
    head: DeploymentHead,
    /// Operations by status, when it started and when it ended.
    #[schema(value_type = BTreeMap<String, u32>)]
    operation_counts: BTreeMap<OperationStatus, u32>,
}

/// A deployment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    #[serde(flatten)]
    head: DeploymentHead,
    /// Its operations, by number; none before it is planned.
    operations: Vec<OperationView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeploymentHead {
    id: String,
    kind: DeploymentKind,
    status: DeploymentStatus,
    /// None for kind `pool` or `release`.
    application: Option<String>,
    /// None for kind `pool` or `release`, and for a teardown of all workloads.
    workload: Option<String>,
    environment: String,
    /// The name of the pool, for kind `pool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    /// The id of the resource, for kind `release`.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    /// The id of the deployment that it tries again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<String>,
    commit_id: Option<String>,
    /// The principal.
    requested_by: String,
    /// The request, as it stands in logs and audit events.
    request_id: String,
    options: Options,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    completed_at: Option<Timestamp>,
    /// Why it did not succeed: the first operation's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    /// That it is to stop, and what came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<CancelView>,
    /// What became of it, oldest first.
    steps: Vec<Step>,
    /// What its operations used, and what that costs; in a list, once it has ended.
    usage: UsageView,
}

/// A cancel.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CancelView {
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    /// The principal.
    requested_by: String,
    rollback: Rollback,
    /// When it was forced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    forced_at: Option<Timestamp>,
    /// `null` while it is under way.
    outcome: Option<CancelOutcome>,
    /// What the deployment leaves, where the outcome is `partial`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<Leftover>,
}

impl From<Cancel> for CancelView {
    fn from(cancel: Cancel) -> Self {
        let Cancel { requested_at, requested_by, rollback, forced_at, outcome, left, .. } = cancel;
        Self { requested_at, requested_by, rollback, forced_at, outcome, left }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OperationView {
    id: String,
    /// The resource's name in the file.
    resource: String,
    #[serde(rename = "type")]
    kind: String,
    action: Action,
    status: OperationStatus,
    /// What a Waiting one waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<WaitingFor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<Effect>,
    /// Why it ended with this effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<String>,
    /// Ids of the operations that must have ended before it.
    depends_on: Vec<String>,
    /// Claims that were to run terraform.
    attempts: u32,
    /// Who carries it out.
    executor: ExecutorKind,
    /// A Ready one is not tried again before this; one that waits for a lock goes on then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    /// What its last run had begun and not finished when it was stopped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    in_flight: Vec<InFlight>,
    /// What has to be looked at, although it went on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    completed_at: Option<Timestamp>,
    /// The last sign of life of the worker that has it.
    #[schema(value_type = Option<String>, format = DateTime)]
    heartbeat_at: Option<Timestamp>,
    changes: Changes,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    /// What became of it, oldest first; the lines of a run come after the step that has its `epoch`.
    steps: Vec<Step>,
    /// How long it should take, in seconds, by earlier runs of the same template version; none once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_seconds: Option<u32>,
    /// What it used, and what that costs.
    usage: UsageView,
}

impl DeploymentHead {
    fn new(deployment: Deployment, usage: UsageView) -> Self {
        let (application, pool, resource) = match deployment.lane.of {
            LaneOf::Application(name) => (Some(name.into()), None, None),
            LaneOf::Pool(name) => (None, Some(name.into()), None),
            LaneOf::Resource(id) => (None, None, Some(id.to_string())),
        };
        Self {
            id: deployment.id.to_string(),
            kind: deployment.kind,
            status: deployment.status,
            application,
            workload: deployment.workload.map(String::from),
            environment: deployment.lane.environment.into(),
            pool,
            resource,
            retry_of: deployment.retry_of.map(|id| id.to_string()),
            commit_id: deployment.commit_id,
            requested_by: deployment.requested_by,
            request_id: deployment.request_id,
            options: deployment.options,
            metadata: deployment.metadata,
            created_at: deployment.created_at,
            started_at: deployment.started_at,
            completed_at: deployment.completed_at,
            error: deployment.error,
            cancel: deployment.cancel.map(CancelView::from),
            steps: deployment.steps,
            usage,
        }
    }
}

impl DeploymentItem {
    /// Of a deployment in a list.
    pub fn new(deployment: Deployment, prices: &Prices) -> Self {
        let usage = prices.of(&deployment.usage);
        Self { operation_counts: deployment.operation_counts.clone(), head: DeploymentHead::new(deployment, usage) }
    }
}

impl DeploymentView {
    /// Of a deployment with its operations.
    pub fn new(view: conductor_engine::DeploymentView, prices: &Prices) -> Self {
        let mut used = Usage::default();
        view.operations.iter().for_each(|operation| used += operation.usage);
        let ids: BTreeMap<u32, String> =
            view.operations.iter().map(|operation| (operation.number, operation.id.to_string())).collect();
        let operations = view
            .operations
            .into_iter()
            .map(|operation| {
                let heartbeat_at = view.leases.get(&operation.number).map(|lease| lease.heartbeat_at);
                let expected_seconds = view.expected.get(&operation.number).copied();
                let usage = prices.of(&operation.usage);
                OperationView { heartbeat_at, expected_seconds, ..OperationView::new(operation, &ids, usage) }
            })
            .collect();
        Self { head: DeploymentHead::new(view.deployment.value, prices.of(&used)), operations }
    }
}

impl OperationView {
    fn new(operation: Operation, ids: &BTreeMap<u32, String>, usage: UsageView) -> Self {
        Self {
            id: operation.id.to_string(),
            action: operation.action(),
            resource: operation.resource,
            kind: operation.kind,
            status: operation.status,
            waiting_for: operation.waiting_for,
            effect: operation.effect,
            reason: operation.reason,
            resource_id: operation.resource_id.map(|id| id.to_string()),
            depends_on: operation.depends_on.iter().filter_map(|number| ids.get(number).cloned()).collect(),
            attempts: operation.attempts,
            executor: operation.executor,
            not_before: operation.not_before,
            in_flight: operation.in_flight,
            warnings: operation.warnings,
            started_at: operation.started_at,
            completed_at: operation.completed_at,
            heartbeat_at: None,
            changes: operation.changes,
            error: operation.error,
            steps: operation.steps,
            expected_seconds: None,
            usage,
        }
    }
}

//! Planning: from what a file wants and what its workload holds to operations. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use conductor_domain::consumer::{ConsumerKey, Holding};
use conductor_domain::deployment::{Deployment, Releases};
use conductor_domain::identity::mode;
use conductor_domain::ids::{GenericUuid, OperationId, ResourceId};
use conductor_domain::operation::{
    AcquireRequest, Dependency, ExecutorKind, Limits, Operation, OperationStatus, PLANNED_TIME, ReleaseRequest,
    Request, Source, WaitingFor,
};
use conductor_domain::score::{Dialect, EdgeKind, Sharing};
use conductor_domain::template::{TemplateName, TemplateVersion};

use crate::settle::removes_edge;

/// What a file asks for under one name, with everything that the environment adds to it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The name in the file.
    pub name: String,
    /// The template, with the class in force.
    pub template: TemplateName,
    /// The version for a new resource; none where there is one already that Conductor did not make.
    pub version: Option<TemplateVersion>,
    /// True where the file pins the version.
    pub pinned: bool,
    /// How the resource is found.
    pub sharing: Sharing,
    /// The dialect of the placeholders in its parameters.
    pub dialect: Dialect,
    /// Parameters of the environment and the file together; `None` where neither gives any.
    pub parameters: Option<Map<String, Value>>,
    /// True where the file itself gives parameters.
    pub given: bool,
    /// Whether it stays when its last consumer leaves, where the file says so.
    pub retain: Option<bool>,
    /// The name that it had in the file before.
    pub moved_from: Option<String>,
    /// Where parameters come from that the file does not give.
    pub sources: BTreeMap<String, Source>,
    /// Names in the file that it depends on.
    pub depends_on: BTreeMap<String, EdgeKind>,
    /// The resource to go on with, where it is known before.
    pub resource: Option<ResourceId>,
}

/// What is let go of.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    /// The operation's name.
    pub name: String,
    /// The resource's type, without class.
    pub kind: String,
    /// The resource, and the consumer that leaves.
    pub request: ReleaseRequest,
    /// What the resource depends on.
    pub depends_on: Vec<ResourceId>,
}

impl Leaving {
    /// A holding that a workload gives up.
    pub fn holding(holding: Holding, depends_on: Vec<ResourceId>) -> Self {
        Self {
            name: holding.key.resource.clone(),
            kind: holding.kind,
            request: ReleaseRequest { resource: holding.resource, consumer: Some(ConsumerKey::Workload(holding.key)) },
            depends_on,
        }
    }
}

/// Names in the last file that live on under another one in this: the new name is not held yet, and type and mode are
/// the same.
pub(crate) fn moved(wanted: &[Wanted], held: &[Holding]) -> BTreeSet<String> {
    let by_name = |name: &str| held.iter().find(|holding| holding.key.resource == name);
    wanted
        .iter()
        .filter_map(|want| {
            let old = want.moved_from.as_deref()?;
            let holding = by_name(old).filter(|_| by_name(&want.name).is_none())?;
            let same = holding.kind == want.template.kind() && holding.mode == mode(&want.sharing);
            same.then(|| old.to_owned())
        })
        .collect()
}

/// The operations of a deployment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Planned {
    /// By number, from 1; acquires first.
    pub operations: Vec<Operation>,
    /// How many are acquires.
    pub acquires: u32,
    /// Literal values of sensitive inputs, by name in the file: for the vault.
    pub secrets: BTreeMap<String, Map<String, Value>>,
}

/// Plans a deployment. `wanted` is in an order in which every name stands after those that it depends on.
pub(crate) fn plan(
    deployment: &Deployment,
    wanted: &[Wanted],
    leaving: &[Leaving],
    now: Timestamp,
    mut fresh_id: impl FnMut() -> Uuid,
) -> Planned {
    let mut planned = Planned { acquires: wanted.len() as u32, ..Planned::default() };
    let numbers: BTreeMap<&str, u32> = wanted.iter().zip(1..).map(|(w, number)| (w.name.as_str(), number)).collect();
    for (want, number) in wanted.iter().zip(1..) {
        let (parameters, secrets) = part_secrets(want);
        let dependencies: Vec<Dependency> = want
            .depends_on
            .iter()
            .filter_map(|(name, kind)| {
                let operation = *numbers.get(name.as_str())?;
                Some(Dependency { name: name.clone(), operation, weak: *kind == EdgeKind::Weak })
            })
            .collect();
        let request = Request::Acquire(Box::new(AcquireRequest {
            template: want.template.clone(),
            version: want.version.as_ref().map(|version| version.version.clone()),
            pinned: want.pinned,
            sharing: want.sharing.clone(),
            dialect: want.dialect,
            parameters,
            given: want.given,
            has_secrets: !secrets.is_empty(),
            retain: want.retain,
            moved_from: want.moved_from.clone(),
            // What lies in the vault is named here alone.
            sources: secrets.keys().map(|name| (name.clone(), Source::File)).chain(want.sources.clone()).collect(),
            dependencies: dependencies.clone(),
        }));
        let mut operation =
            operation(deployment, number, &want.name, want.template.kind(), request, now, &mut fresh_id);
        operation.depends_on = dependencies.iter().map(|dependency| dependency.operation).collect();
        operation.resource_id = want.resource;
        operation.limits = want.version.as_ref().map(|version| version.limits).unwrap_or_default();
        if !secrets.is_empty() {
            planned.secrets.insert(want.name.clone(), secrets);
        }
        planned.operations.push(operation);
    }
    let first_release = planned.acquires + 1;
    for (leaves, number) in leaving.iter().zip(first_release..) {
        let request = Request::Release(leaves.request.clone());
        let mut operation = operation(deployment, number, &leaves.name, &leaves.kind, request, now, &mut fresh_id);
        operation.resource_id = Some(leaves.request.resource);
        operation.after_acquires = true;
        operation.depends_on = dependents_of(leaves.request.resource, leaving, first_release);
        planned.operations.push(operation);
    }
    connect(&mut planned.operations, planned.acquires);
    planned
}

/// Numbers of the releases whose resource depends on this one: they go first.
fn dependents_of(resource: ResourceId, leaving: &[Leaving], first: u32) -> BTreeSet<u32> {
    let with_number = leaving.iter().zip(first..);
    with_number.filter(|(other, _)| other.depends_on.contains(&resource)).map(|(_, number)| number).collect()
}

/// Tells each operation who waits for it, and readies those that wait for nothing.
fn connect(operations: &mut [Operation], acquires: u32) {
    let edges: Vec<(u32, u32)> =
        operations.iter().flat_map(|o| o.depends_on.iter().map(|before| (*before, o.number))).collect();
    for (before, after) in edges {
        if let Some(operation) = operations.get_mut(before as usize - 1) {
            operation.dependents.insert(after);
        }
    }
    for operation in operations {
        let gated = operation.after_acquires && acquires > 0;
        if operation.depends_on.is_empty() && !gated {
            ready(operation);
        }
    }
}

fn ready(operation: &mut Operation) {
    operation.status = OperationStatus::Ready;
    operation.waiting_for = None;
    operation.expires_at = operation.entered_at + operation.limits.all();
}

/// An operation that waits for its dependencies.
fn operation(
    deployment: &Deployment,
    number: u32,
    resource: &str,
    kind: &str,
    request: Request,
    now: Timestamp,
    fresh_id: &mut impl FnMut() -> Uuid,
) -> Operation {
    Operation {
        id: OperationId::from_untyped_uuid(fresh_id()),
        deployment: deployment.id,
        number,
        resource: resource.to_owned(),
        kind: kind.to_owned(),
        request,
        status: OperationStatus::Waiting,
        waiting_for: Some(WaitingFor::Dependencies),
        awaits: None,
        entered_at: now,
        effect: None,
        reason: None,
        resource_id: None,
        depends_on: BTreeSet::new(),
        dependents: BTreeSet::new(),
        after_acquires: false,
        epoch: 0,
        attempts: 0,
        started_at: None,
        completed_at: None,
        executor: ExecutorKind::default(),
        limits: Limits::default(),
        ran_seconds: 0,
        not_before: None,
        in_flight: Vec::new(),
        warnings: Vec::new(),
        expires_at: now + PLANNED_TIME,
        changes: Default::default(),
        error: None,
        steps: Vec::new(),
        usage: Default::default(),
        settled: false,
        pending_objects: Vec::new(),
    }
}

/// A release that is appended to a deployment that has begun: it waits for nothing but the acquires.
pub(crate) fn appended_release(
    deployment: &Deployment,
    number: u32,
    name: &str,
    kind: &str,
    request: ReleaseRequest,
    now: Timestamp,
    id: Uuid,
) -> Operation {
    let resource = request.resource;
    let mut operation = operation(deployment, number, name, kind, Request::Release(request), now, &mut || id);
    operation.resource_id = Some(resource);
    operation.after_acquires = true;
    match deployment.releases {
        Releases::Undecided => {}
        Releases::Go => ready(&mut operation),
        Releases::Skip if removes_edge(&operation) => ready(&mut operation),
        Releases::Skip => {}
    }
    operation
}

/// A release by which a cancelled deployment lets go of what it made.
pub(crate) fn rollback_release(
    deployment: &Deployment,
    number: u32,
    holding: &Holding,
    now: Timestamp,
    id: Uuid,
) -> Operation {
    let request = Leaving::holding(holding.clone(), Vec::new()).request;
    let (name, resource) = (&holding.key.resource, request.resource);
    let request = Request::Release(request);
    let mut operation = operation(deployment, number, name, &holding.kind, request, now, &mut || id);
    operation.resource_id = Some(resource);
    ready(&mut operation);
    operation
}

/// Parts parameters into those that may enter the table and the values of sensitive inputs.
fn part_secrets(want: &Wanted) -> (Option<Map<String, Value>>, Map<String, Value>) {
    let inputs = want.version.as_ref().map(|version| &version.interface.inputs);
    let mut secrets = Map::new();
    let shown = want.parameters.as_ref().map(|parameters| {
        let mut shown = Map::new();
        for (name, value) in parameters {
            let sensitive = inputs.and_then(|inputs| inputs.get(name)).is_some_and(|input| input.sensitive);
            if sensitive { &mut secrets } else { &mut shown }.insert(name.clone(), value.clone());
        }
        shown
    });
    (shown, secrets)
}

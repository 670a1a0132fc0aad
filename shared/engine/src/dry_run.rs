//! Dry runs: the engine itself, run over ports that write to memory, with a terraform that always succeeds. So what is
//! foretold is what the same code would do; only what is not known yet is told as alternatives. The engine is compiled a
//! second time for this: nothing that a deployment runs through may start a dry run itself.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::Code;
use conductor_domain::access::Right;
use conductor_domain::deployment::Deployment;
use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_domain::lane::{Lane, LaneKey, LanePlace};
use conductor_domain::operation::{
    AcquireRequest, Action, ExecutorKind, Operation, OperationStatus, Prospect, Request,
};
use conductor_domain::principal::Caller;
use conductor_domain::score::Sharing;
use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use serde_json::Value;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use crate::imagine::Imagined;
use crate::lease::Control;
use crate::log::Log;
use crate::port::{Clock, Ports, Versioned};
use crate::record::{Item, Set};
use crate::settle::removes_edge;
use crate::submit::{DeploymentRequest, TeardownRequest};
use crate::work::{Executor, Job, JobOutcome, Produced, Ran};
use crate::{Engine, Error};

/// Operations that are imagined at a time.
const AT_ONCE: usize = 16;
/// Longer than any dry run.
const TIME: SignedDuration = SignedDuration::from_hours(1);

/// What a deployment would do.
#[derive(Debug, Clone)]
pub struct DryRun {
    /// The deployment as it would end.
    pub deployment: Deployment,
    /// Its operations, by number.
    pub operations: Vec<Foreseen>,
    /// Deployments of the same lane that have not ended: it would wait for them, and does not know what they will do.
    pub waits_for: Vec<DeploymentId>,
}

/// What an operation would do.
#[derive(Debug, Clone)]
pub struct Foreseen {
    /// The operation as it would end.
    pub operation: Operation,
    /// How it may end, the likeliest first; more than one where something is not known yet.
    pub prospects: Vec<Prospect>,
    /// What decides between them.
    pub decided_by: Vec<String>,
}

/// A terraform that always succeeds.
struct Imaginary;

impl Executor for Imaginary {
    type Prepared = ();

    fn worker(&self) -> &str {
        "dry-run"
    }

    fn kind(&self) -> ExecutorKind {
        ExecutorKind::default()
    }

    async fn prepare(&self, _: &Job, _: &Log) -> Result<(), JobOutcome> {
        Ok(())
    }

    async fn run(&self, job: &Job, (): (), _: Control) -> Ran {
        let outputs = job.template.interface.outputs.iter();
        let outputs = outputs.map(|(name, output)| (name.clone(), (Value::Null, output.sensitive))).collect();
        JobOutcome::Done(Produced { outputs, ..Produced::default() }).into()
    }
}

impl<P: Ports> Engine<P> {
    /// What a deployment would do. Nothing is written.
    pub async fn dry_run(&self, caller: &Caller, request: DeploymentRequest) -> Result<DryRun, Error> {
        caller.demand(Right::Deploy, Some(&request.environment))?;
        let application = request.application.clone();
        let file_name = crate::submit::read_file(&request.score)?.name;
        let application = application.or_else(|| file_name?.parse().ok());
        let lane = application.map(|application| LaneKey::application(request.environment.clone(), application));
        let imagined = Imagining::of(self, caller, lane).await?;
        let request = DeploymentRequest { idempotency: None, supersede: false, ..request };
        let submitted = imagined.engine.submit(caller, request).with_subscriber(NoSubscriber::default()).await?;
        imagined.foresee(caller, submitted.deployment).with_subscriber(NoSubscriber::default()).await
    }

    /// What a teardown would do. Nothing is written.
    pub async fn dry_run_teardown(&self, caller: &Caller, request: TeardownRequest) -> Result<DryRun, Error> {
        let lane = LaneKey::application(request.environment.clone(), request.application.clone());
        let imagined = Imagining::of(self, caller, Some(lane)).await?;
        let request = TeardownRequest { idempotency: None, ..request };
        let submitted = imagined.engine.teardown(caller, request).with_subscriber(NoSubscriber::default()).await?;
        imagined.foresee(caller, submitted.deployment).with_subscriber(NoSubscriber::default()).await
    }
}

struct Imagining<P: Ports> {
    engine: Engine<Imagined<P>>,
    waits_for: Vec<DeploymentId>,
}

impl<P: Ports> Imagining<P> {
    /// Over the real ports, with the lane free.
    async fn of(engine: &Engine<P>, caller: &Caller, lane: Option<LaneKey>) -> Result<Self, Error> {
        let mut imagining = Self { engine: engine.imagined(), waits_for: Vec::new() };
        let Some(lane) = lane else { return Ok(imagining) };
        let organisation = caller.organisation();
        let engine = &imagining.engine;
        let places: Vec<Versioned<LanePlace>> = engine.list_all(organisation, &Set::LanePlaces(lane.clone())).await?;
        if let Some(turn) = engine.read::<Lane>(organisation, Item::Lane(lane)).await? {
            // In parts: a long queue does not fit in one commit.
            for some in places.chunks(50) {
                let mut draft = engine.draft(caller, None);
                for place in some {
                    draft.delete(place);
                }
                draft.commit().await?;
            }
            let mut draft = engine.draft(caller, None);
            draft.update(&turn, Lane { current: None, ..turn.value.clone() });
            draft.commit().await?;
        }
        imagining.waits_for = places.into_iter().map(|place| place.value.deployment).collect();
        Ok(imagining)
    }

    async fn foresee(self, caller: &Caller, id: DeploymentId) -> Result<DryRun, Error> {
        let engine = &self.engine;
        let deadline = Some(engine.clock.now() + TIME);
        loop {
            let wakes = engine.queue.drain();
            if wakes.is_empty() {
                break;
            }
            let work = futures::stream::iter(wakes.into_iter().map(|wake| engine.work(wake, &Imaginary, deadline)));
            work.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        let view = engine.deployment(caller, id).await?;
        Ok(DryRun {
            operations: prospects(view.operations),
            deployment: view.deployment.value,
            waits_for: self.waits_for,
        })
    }
}

/// What each operation may come to. Pure; operations stand after those that they depend on.
fn prospects(operations: Vec<Operation>) -> Vec<Foreseen> {
    let mut foreseen: Vec<Foreseen> = operations
        .into_iter()
        .map(|mut operation| {
            let (otherwise, decided_by) = match &mut operation.reason {
                Some(reason) => (std::mem::take(&mut reason.otherwise), std::mem::take(&mut reason.decided_by)),
                None => Default::default(),
            };
            let prospects = std::iter::once(ended(&operation)).chain(otherwise).collect();
            Foreseen { operation, prospects, decided_by }
        })
        .collect();
    rivals(&mut foreseen);
    forget_made_up(&mut foreseen);
    risks(&mut foreseen);
    for one in &mut foreseen {
        let mut seen = BTreeSet::new();
        one.prospects.retain(|prospect| seen.insert(*prospect));
        if one.prospects.len() == 1 {
            one.decided_by.clear();
        }
        one.decided_by.sort();
        one.decided_by.dedup();
    }
    foreseen
}

fn ended(operation: &Operation) -> Prospect {
    match (operation.status, operation.effect, operation.error.as_ref().map(|error| error.code)) {
        (OperationStatus::Succeeded, Some(effect), _) => effect.into(),
        (OperationStatus::Skipped, _, _) => Prospect::Skipped,
        (_, _, Some(Code::ParametersConflict | Code::TypeConflict | Code::ResourceExternal)) => Prospect::Conflict,
        _ => Prospect::Failed,
    }
}

/// What makes two operations of a deployment work on the same thing.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rivalry {
    Resource(bool, ResourceId),
    Asked(String),
}

/// What other names of the file may ask for too.
fn asked(request: &AcquireRequest) -> Option<String> {
    let template = &request.template;
    match &request.sharing {
        Sharing::Dedicated | Sharing::Existing { .. } => None,
        Sharing::Pool { name } => Some(format!("pool {name}")),
        Sharing::Named { name } => Some(format!("name {name}")),
        Sharing::ScoreId { id } => Some(format!("id {template} {id}")),
        Sharing::Always => Some(format!("always {}", template.kind())),
        Sharing::ByParameters => Some(format!("parameters {template}")),
        Sharing::Matching(_) => Some(format!("matching {template}")),
    }
}

/// Operations of a deployment that work on the same resource go in any order, and the first of them makes it.
fn rivals(foreseen: &mut [Foreseen]) {
    let mut groups: BTreeMap<Rivalry, Vec<usize>> = BTreeMap::new();
    for (index, one) in foreseen.iter().enumerate() {
        let operation = &one.operation;
        if let Some(id) = operation.resource_id {
            let key = Rivalry::Resource(operation.action() == Action::Acquire, id);
            groups.entry(key).or_default().push(index);
        }
        if let Request::Acquire(request) = &operation.request
            && let Some(asked) = asked(request)
        {
            groups.entry(Rivalry::Asked(asked)).or_default().push(index);
        }
    }
    let ordered = |a: &usize, b: &usize| match (foreseen.get(*a), foreseen.get(*b)) {
        (Some(a), Some(b)) => {
            let (a, b) = (&a.operation, &b.operation);
            a.depends_on.contains(&b.number) || b.depends_on.contains(&a.number)
        }
        _ => true,
    };
    let open = |group: &Vec<usize>| {
        let pairs = group.iter().enumerate().flat_map(|(at, a)| group.iter().skip(at + 1).map(move |b| (a, b)));
        pairs.into_iter().any(|(a, b)| !ordered(a, b))
    };
    let groups: Vec<Vec<usize>> = groups.into_values().filter(open).collect();
    for group in groups {
        let mut all: BTreeSet<Prospect> =
            group.iter().filter_map(|index| foreseen.get(*index)).flat_map(|one| one.prospects.clone()).collect();
        // Whoever does not come first may find what it wants already made, by somebody who wants it otherwise.
        let made = all.contains(&Prospect::Created);
        if made {
            all.insert(Prospect::Linked);
        }
        let differ = made && differ(group.iter().filter_map(|index| Some(&foreseen.get(*index)?.operation)));
        for index in group {
            if let Some(one) = foreseen.get_mut(index) {
                one.prospects.extend(&all);
                if differ && matches!(&one.operation.request, Request::Acquire(wish) if wish.given || wish.pinned) {
                    one.prospects.push(Prospect::Updated);
                }
                one.decided_by.push("which of the operations on the same resource comes first".to_owned());
            }
        }
    }
}

/// Whether operations want a resource that is not the same. Of what lies in the vault that is not looked at.
fn differ<'a>(mut operations: impl Iterator<Item = &'a Operation>) -> bool {
    let wish = |operation: &'a Operation| match &operation.request {
        Request::Acquire(wish) => Some((&wish.parameters, &wish.version, wish.has_secrets)),
        Request::Release(_) => None,
    };
    let Some(first) = operations.next().map(wish) else { return false };
    let has_secrets = |wish: &Option<(_, _, bool)>| wish.as_ref().is_some_and(|(.., has_secrets)| *has_secrets);
    has_secrets(&first) || operations.any(|other| wish(other) != first)
}

/// A resource that would be made has no id yet.
fn forget_made_up(foreseen: &mut [Foreseen]) {
    let made = foreseen.iter().filter(|one| ended(&one.operation) == Prospect::Created);
    let made: BTreeSet<ResourceId> = made.filter_map(|one| one.operation.resource_id).collect();
    for one in foreseen {
        one.operation.resource_id = one.operation.resource_id.filter(|id| !made.contains(id));
    }
}

/// Whoever depends on something that may fail may be skipped. Appended releases stand after what waits for them, so this
/// goes over all operations until nothing is added.
fn risks(foreseen: &mut [Foreseen]) {
    let fails = |prospect: &Prospect| matches!(prospect, Prospect::Conflict | Prospect::Failed | Prospect::Skipped);
    let mut risky: BTreeSet<u32> = BTreeSet::new();
    loop {
        let known = risky.len();
        let acquires_risky =
            foreseen.iter().any(|one| one.operation.action() == Action::Acquire && one.prospects.iter().any(fails));
        for one in foreseen.iter_mut() {
            let operation = &one.operation;
            let mut needed = operation.depends_on.iter().filter(|number| operation.needs(**number));
            let lost = needed.any(|number| risky.contains(number));
            if !one.prospects.contains(&Prospect::Skipped)
                && (lost || (operation.after_acquires && acquires_risky && !removes_edge(operation)))
            {
                one.prospects.push(Prospect::Skipped);
                one.decided_by.push("whether what stands before it succeeds".to_owned());
            }
            if one.prospects.iter().any(fails) {
                risky.insert(one.operation.number);
            }
        }
        if risky.len() == known {
            return;
        }
    }
}

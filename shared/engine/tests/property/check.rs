//! What must be true of Conductor when it is at rest, whatever was asked of it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::Code;
use conductor_domain::deployment::{DeploymentKind, DeploymentStatus};
use conductor_domain::identity::Mode;
use conductor_domain::operation::{Action, Effect, OperationStatus};
use conductor_domain::resource::ResourceStatus;

use crate::catalog::{POOLS, matching};
use crate::model::{Consumer, Deployed, Deployment, History, Holding, Operation, Resource, Seen, Workload};
use crate::step::Asked;

/// Everything that is not as it must be.
pub fn all(seen: &Seen, history: &History) -> Vec<String> {
    let mut wrong = seen.wrong.clone();
    wrong.extend(history.wrong.iter().cloned());
    let checks: [fn(&Seen, &History, &mut Vec<String>); 14] = [
        deployments_have_ended,
        acquires_keep_their_order,
        names_are_there_once,
        consumers_are_counted,
        consumers_mirror_holdings,
        consumers_are_those_of_the_last_file,
        holders_have_what_they_were_told,
        what_the_api_added_is_there,
        nothing_is_left_and_nothing_is_gone,
        edges_have_two_ends,
        limits_hold,
        pools_are_filled,
        the_cloud_is_what_the_records_say,
        unchanged_files_change_nothing,
    ];
    for check in checks {
        check(seen, history, &mut wrong);
    }
    wrong
}

/// A failure by a rule that a user can meet; anything else is our own.
fn is_legal(code: Option<Code>) -> bool {
    code.is_some_and(|code| code.status() < 500 && code != Code::OutputMissing && code != Code::PreconditionFailed)
}

fn deployments_have_ended(seen: &Seen, _: &History, wrong: &mut Vec<String>) {
    for deployment in &seen.deployments {
        let Deployment { id, kind, status, error, operations, .. } = deployment;
        let legal = match status {
            DeploymentStatus::Succeeded => operations.iter().all(|o| o.status == OperationStatus::Succeeded),
            // Conflicts are legal, but only files can have them.
            DeploymentStatus::Failed => *kind == DeploymentKind::Apply && is_legal(*error),
            DeploymentStatus::Cancelled => *error == Some(Code::Superseded),
            DeploymentStatus::Pending | DeploymentStatus::InProgress | DeploymentStatus::TimedOut => false,
        };
        if !legal {
            wrong.push(format!("deployment {id} ({kind:?}) is {status:?}, {error:?}: {operations:#?}"));
        }
        for operation in operations {
            let legal = match operation.status {
                OperationStatus::Succeeded => operation.effect.is_some(),
                OperationStatus::Failed => is_legal(operation.error),
                OperationStatus::Skipped => *status == DeploymentStatus::Failed,
                OperationStatus::Waiting
                | OperationStatus::Ready
                | OperationStatus::Running
                | OperationStatus::Cancelled
                | OperationStatus::TimedOut => false,
            };
            if !legal {
                wrong.push(format!("in deployment {id}: {operation:?}"));
            }
        }
    }
}

fn acquires_keep_their_order(seen: &Seen, _: &History, wrong: &mut Vec<String>) {
    for deployment in &seen.deployments {
        let by_number: BTreeMap<u32, &Operation> = deployment.operations.iter().map(|o| (o.number, o)).collect();
        for operation in deployment.operations.iter().filter(|o| o.action == Action::Acquire) {
            let Some(started) = operation.started_at else { continue };
            for before in operation.depends_on.iter().filter_map(|number| by_number.get(number)) {
                if before.completed_at.is_none_or(|completed| completed > started) {
                    wrong.push(format!("{} started before {} in {}", operation.name, before.name, deployment.id));
                }
            }
        }
    }
}

fn names_are_there_once(seen: &Seen, _: &History, wrong: &mut Vec<String>) {
    let mut named: BTreeMap<(String, &str, &str), Vec<&str>> = BTreeMap::new();
    for resource in seen.live() {
        if matches!(resource.mode, Mode::Shared | Mode::ScoreId | Mode::Always | Mode::Parameters) {
            let key = (format!("{:?}", resource.mode), resource.environment.as_str(), resource.name.as_str());
            named.entry(key).or_default().push(&resource.id);
        }
    }
    for (name, ids) in named.iter().filter(|(_, ids)| ids.len() > 1) {
        wrong.push(format!("{name:?} is there {} times: {ids:?}", ids.len()));
    }
    let mut own: BTreeMap<&str, Vec<&Holding>> = BTreeMap::new();
    for holding in holdings(seen).filter(|h| h.mode == Mode::Dedicated && !h.name.contains('~')) {
        own.entry(&holding.resource).or_default().push(holding);
    }
    for (id, holders) in own.iter().filter(|(_, holders)| holders.len() > 1) {
        wrong.push(format!("{id} is dedicated to {holders:?}"));
    }
}

fn holdings(seen: &Seen) -> impl Iterator<Item = &Holding> {
    seen.holdings.iter().flatten()
}

fn consumers_are_counted(seen: &Seen, _: &History, wrong: &mut Vec<String>) {
    for resource in &seen.resources {
        if resource.counted != resource.consumers.len() {
            wrong.push(format!("{} counts {}, and has {:?}", told(resource), resource.counted, resource.consumers));
        }
    }
}

fn consumers_mirror_holdings(seen: &Seen, _: &History, wrong: &mut Vec<String>) {
    let Some(holdings) = &seen.holdings else { return };
    let held: BTreeSet<(&Workload, &str, &str)> =
        holdings.iter().map(|h| (&h.workload, h.name.as_str(), h.resource.as_str())).collect();
    let used: BTreeSet<(&Workload, &str, &str)> =
        files(seen).map(|(workload, name, resource)| (workload, name, resource.id.as_str())).collect();
    wrong.extend(held.difference(&used).map(|held| format!("held, and no consumer: {held:?}")));
    wrong.extend(used.difference(&held).map(|used| format!("a consumer, and not held: {used:?}")));
}

/// Consumers that files made: the workload, the name there, and the resource.
fn files(seen: &Seen) -> impl Iterator<Item = (&Workload, &str, &Resource)> {
    seen.resources.iter().flat_map(|resource| {
        resource.consumers.iter().filter_map(move |(_, consumer)| match consumer {
            Consumer::File(workload, name) => Some((workload, name.as_str(), resource)),
            Consumer::Resource(_) | Consumer::Api { .. } | Consumer::Pool(..) => None,
        })
    })
}

/// The names under which a workload must hold something, and may.
#[derive(Debug, Default)]
struct Holds<'a> {
    must: BTreeSet<&'a str>,
    may: BTreeSet<&'a str>,
    /// True while something may be left of a resource whose place another one took.
    displaced: bool,
    /// The last deployment of it that succeeded, while nothing came after it.
    last: Option<&'a Deployment>,
}

impl<'a> Holds<'a> {
    fn deployed(&mut self, deployment: &'a Deployment, deployed: Option<&'a Deployed>) {
        let operations = &deployment.operations;
        if deployment.status == DeploymentStatus::Cancelled || (is_failed(deployment) && operations.is_empty()) {
            return;
        }
        self.last = Some(deployment).filter(|_| !is_failed(deployment));
        for operation in operations {
            let name = operation.name.as_str();
            match (operation.action, operation.status) {
                (Action::Acquire, OperationStatus::Succeeded) => {
                    self.must.insert(name);
                    self.may.insert(name);
                }
                (Action::Acquire, OperationStatus::Failed) => {
                    self.may.insert(name);
                }
                (Action::Release, OperationStatus::Succeeded) => {
                    self.must.remove(name);
                    self.may.remove(name);
                }
                _ => {}
            }
        }
        for old in deployed.iter().flat_map(|deployed| &deployed.moved) {
            self.must.remove(old.as_str());
        }
        self.displaced |= is_failed(deployment);
        if let Some(deployed) = deployed.filter(|deployed| deployed.options.prune && !is_failed(deployment)) {
            self.must = deployed.names.iter().map(String::as_str).collect();
            self.may = self.must.clone();
            self.displaced = false;
        }
    }

    fn torn_down(&mut self, deployment: &Deployment) {
        match deployment.status {
            DeploymentStatus::Succeeded => *self = Self::default(),
            DeploymentStatus::Cancelled => {}
            _ => {
                self.must.clear();
                self.last = None;
            }
        }
    }
}

fn is_failed(deployment: &Deployment) -> bool {
    deployment.status != DeploymentStatus::Succeeded
}

/// The deployments of applications, each lane in its order.
fn in_order(seen: &Seen) -> Vec<&Deployment> {
    let mut all: Vec<&Deployment> = seen.deployments.iter().filter(|d| d.application.is_some()).collect();
    all.sort_by_key(|deployment| deployment.number);
    all
}

fn workload_of(deployment: &Deployment) -> Option<Workload> {
    Some(Workload {
        environment: deployment.environment.clone(),
        application: deployment.application.clone()?,
        name: deployment.workload.clone()?,
    })
}

fn is_torn_down(workload: &Workload, by: &Deployment) -> bool {
    by.kind == DeploymentKind::Teardown
        && workload.environment == by.environment
        && Some(&workload.application) == by.application.as_ref()
        && by.workload.as_ref().is_none_or(|name| *name == workload.name)
}

fn holds<'a>(seen: &'a Seen, history: &'a History) -> BTreeMap<Workload, Holds<'a>> {
    let mut all: BTreeMap<Workload, Holds<'a>> = BTreeMap::new();
    for deployment in in_order(seen) {
        if deployment.kind == DeploymentKind::Apply
            && let Some(workload) = workload_of(deployment)
        {
            all.entry(workload).or_default().deployed(deployment, history.deployed.get(&deployment.id));
        }
        for (_, holds) in all.iter_mut().filter(|(workload, _)| is_torn_down(workload, deployment)) {
            holds.torn_down(deployment);
        }
    }
    all
}

fn consumers_are_those_of_the_last_file(seen: &Seen, history: &History, wrong: &mut Vec<String>) {
    let mut used: BTreeMap<&Workload, BTreeSet<&str>> = BTreeMap::new();
    for (workload, name, _) in files(seen) {
        used.entry(workload).or_default().insert(name);
    }
    let expected = holds(seen, history);
    for (workload, names) in &used {
        if !expected.contains_key(*workload) {
            wrong.push(format!("{workload:?} was never deployed, and holds {names:?}"));
        }
    }
    for (workload, holds) in &expected {
        let names = used.remove(workload).unwrap_or_default();
        let (left, names): (BTreeSet<&str>, BTreeSet<&str>) = names.into_iter().partition(|name| name.contains('~'));
        let fits = holds.must.is_subset(&names) && names.is_subset(&holds.may) && (left.is_empty() || holds.displaced);
        if !fits {
            wrong.push(format!("{workload:?} holds {names:?} and {left:?}; expected: {holds:?}"));
        }
    }
}

fn holders_have_what_they_were_told(seen: &Seen, history: &History, wrong: &mut Vec<String>) {
    let used: BTreeSet<(&Workload, &str, &str)> = files(seen).map(|(w, name, r)| (w, name, r.id.as_str())).collect();
    for (workload, holds) in &holds(seen, history) {
        for operation in holds.last.iter().flat_map(|last| &last.operations) {
            let id = operation.resource.as_deref().unwrap_or_default();
            let there = used.contains(&(workload, operation.name.as_str(), id));
            if operation.action == Action::Acquire && !there {
                wrong.push(format!("{workload:?} was told that {} is {id}, and does not hold it", operation.name));
            }
        }
    }
}

fn what_the_api_added_is_there(seen: &Seen, history: &History, wrong: &mut Vec<String>) {
    for ((id, consumer), wanted) in &history.added {
        let there = seen
            .live()
            .any(|resource| resource.id == *id && resource.consumers.iter().any(|(_, other)| other == consumer));
        if there != *wanted {
            wrong.push(format!("{consumer:?} of {id}: there {there}, wanted {wanted}"));
        }
    }
}

fn nothing_is_left_and_nothing_is_gone(seen: &Seen, _: &History, wrong: &mut Vec<String>) {
    for resource in &seen.resources {
        let gone = resource.status == ResourceStatus::Deleted;
        let used = !resource.consumers.is_empty();
        if gone && used {
            wrong.push(format!("{} is gone, and has {:?}", told(resource), resource.consumers));
        }
        if !gone && !used && !resource.retain && !resource.external {
            wrong.push(format!("{} has no consumer, and is there", told(resource)));
        }
        if !gone && resource.status != ResourceStatus::Active {
            wrong.push(format!("{} is {:?}", told(resource), resource.status));
        }
    }
}

fn edges_have_two_ends(seen: &Seen, _: &History, wrong: &mut Vec<String>) {
    let mut down: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut up: BTreeSet<(&str, &str)> = BTreeSet::new();
    for resource in seen.live() {
        down.extend(resource.depends_on.iter().map(|dependency| (resource.id.as_str(), dependency.as_str())));
        up.extend(resource.consumers.iter().filter_map(|(_, consumer)| match consumer {
            Consumer::Resource(user) => Some((user.as_str(), resource.id.as_str())),
            Consumer::File(..) | Consumer::Api { .. } | Consumer::Pool(..) => None,
        }));
    }
    wrong.extend(down.difference(&up).map(|edge| format!("depends on what does not know it: {edge:?}")));
    wrong.extend(up.difference(&down).map(|edge| format!("is used by what does not depend on it: {edge:?}")));
}

fn limits_hold(seen: &Seen, _: &History, wrong: &mut Vec<String>) {
    let mut holders: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for holding in holdings(seen).filter(|h| matches!(h.mode, Mode::Matching | Mode::Pool)) {
        *holders.entry((holding.resource.as_str(), holding.mode == Mode::Pool)).or_default() += 1;
    }
    for ((id, pooled), count) in holders {
        let Some(resource) = seen.resource(id) else { continue };
        let most = if pooled {
            POOLS.iter().find(|pool| pool.kind == resource.kind).map(|pool| pool.most)
        } else {
            matching(&resource.kind).1
        };
        if most.is_some_and(|most| count > most) {
            wrong.push(format!("{} has {count} holders; {most:?} are allowed", told(resource)));
        }
    }
}

fn pools_are_filled(seen: &Seen, history: &History, wrong: &mut Vec<String>) {
    for ((environment, name), size) in &history.pools {
        let found = seen.pools.iter().find(|pool| pool.environment == *environment && pool.name == *name);
        if found.map(|pool| pool.size) != *size {
            wrong.push(format!("the pool {name} in {environment} shall have the size {size:?}: {found:?}"));
        }
    }
    for pool in &seen.pools {
        if pool.free.len() != pool.size as usize {
            wrong.push(format!("a pool is not filled: {pool:?}"));
        }
        let key = Consumer::Pool(pool.environment.clone(), pool.name.clone());
        let members = pool.free.iter().map(|id| (id, true)).chain(pool.taken.iter().map(|id| (id, false)));
        for (id, free) in members {
            let resource = seen.live().find(|resource| resource.id == *id);
            let held = resource.is_some_and(|r| r.consumers.iter().any(|(_, consumer)| *consumer == key));
            if resource.is_none() || held != free {
                wrong.push(format!("a member of {} in {}, free {free}: {resource:?}", pool.name, pool.environment));
            }
        }
    }
}

fn the_cloud_is_what_the_records_say(seen: &Seen, _: &History, wrong: &mut Vec<String>) {
    for id in seen.cloud.keys() {
        if seen.live().all(|resource| resource.id != *id) {
            wrong.push(format!("{id} is in the cloud, and nobody knows it"));
        }
    }
    for resource in seen.live().filter(|resource| !resource.external) {
        let Some(thing) = seen.cloud.get(&resource.id) else {
            wrong.push(format!("{} is not in the cloud", told(resource)));
            continue;
        };
        let (shown, sensitive) = &resource.parameters;
        let mut inputs = thing.inputs.clone();
        let hidden = sensitive.iter().all(|name| inputs.remove(name).is_some());
        let same = hidden && inputs == *shown && resource.version.as_ref() == Some(&thing.version);
        if !same {
            wrong.push(format!("{} is {resource:?} in the records, and {thing:?} in the cloud", told(resource)));
        }
    }
}

/// The same file once more, with nothing else said, finds everything as it was.
fn unchanged_files_change_nothing(seen: &Seen, history: &History, wrong: &mut Vec<String>) {
    let mut last: BTreeMap<Workload, (&Deployment, &Deployed)> = BTreeMap::new();
    for deployment in in_order(seen) {
        last.retain(|workload, _| !is_torn_down(workload, deployment));
        let deployed = history.deployed.get(&deployment.id);
        let (Some(workload), Some(deployed)) = (workload_of(deployment), deployed) else { continue };
        match deployment.status {
            DeploymentStatus::Succeeded => {
                let before = last.insert(workload, (deployment, deployed));
                let Some((before, _)) = before.filter(|(_, before)| before.text == deployed.text) else { continue };
                if (Asked { prune: true, supersede: false, ..deployed.options }) == Asked::PLAIN {
                    wrong.extend(moves(before, deployment));
                }
            }
            DeploymentStatus::Cancelled => {}
            _ => {
                last.remove(&workload);
            }
        }
    }
}

/// Acquires that did not leave everything as it was. A file that gives one resource two names may say two things of it,
/// and is never satisfied.
fn moves(before: &Deployment, after: &Deployment) -> Vec<String> {
    let acquires = |of: &Deployment| -> Vec<Operation> {
        of.operations.iter().filter(|operation| operation.action == Action::Acquire).cloned().collect()
    };
    let (before, again) = (acquires(before), acquires(after));
    let resources: BTreeSet<&Option<String>> = before.iter().map(|operation| &operation.resource).collect();
    if resources.len() < before.len() {
        return Vec::new();
    }
    let stays = |operation: &Operation| {
        let held = before.iter().find(|other| other.name == operation.name);
        operation.effect == Some(Effect::Unchanged) && held.is_some_and(|held| held.resource == operation.resource)
    };
    let moved = again.iter().filter(|operation| !stays(operation));
    moved
        .map(|operation| format!("the same file again, and {operation:?} in {}; before: {before:#?}", after.id))
        .collect()
}

fn told(resource: &Resource) -> String {
    format!("{} ({:?}, {})", resource.name, resource.mode, resource.id)
}

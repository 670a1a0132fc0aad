//! What must hold once everything is at rest: nobody waits for anything, and the cloud is what the states and the records
//! say together.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use conductor_domain::Code;
use conductor_domain::deployment::Deployment;
use conductor_domain::ids::ResourceId;
use conductor_domain::lane::{Lane, LanePlace};
use conductor_domain::operation::{Lease, Operation};
use conductor_domain::resource::{Parameters, Resource, ResourceStatus, Waiter};
use conductor_engine::{Item, Open};

use crate::catalog;
use crate::cloud::{Cloud, State, Thing};
use crate::memory::Memory;
use crate::trace::Violation;
use crate::world::Core;

/// Checks everything.
pub(crate) fn rest(core: &mut Core) -> Result<(), Violation> {
    nobody_acts(core)?;
    asked(core)?;
    let memory = &core.memory;
    ended(memory)?;
    for resource in memory.all::<Resource>() {
        unused(resource)?;
        whole(memory, &core.cloud, resource)?;
    }
    let mut unknowable = 0;
    for (number, thing) in &core.cloud.things {
        unknowable += accounted(memory, &core.cloud, *number, thing)?;
    }
    core.tally.unknowable = unknowable;
    Ok(())
}

fn left_over<T>(what: impl std::fmt::Debug) -> Result<T, Violation> {
    Err(Violation::new("nothing_is_left_over", format!("{what:?}")))
}

fn nobody_acts(core: &Core) -> Result<(), Violation> {
    match core.actors.iter().find(|actor| actor.live) {
        Some(actor) => left_over(format!("{} waits for something that never comes", actor.name)),
        None => Ok(()),
    }
}

fn asked(core: &Core) -> Result<(), Violation> {
    for ask in &core.asks {
        let made = ask.deployment.is_none_or(|id| core.memory.has(&Item::Deployment(id)));
        if !(ask.done && made) {
            let detail = format!("asked at {} s, and forgotten: {:?}", ask.at / 1_000_000_000, ask.what);
            return Err(Violation::new("every_request_is_a_deployment", detail));
        }
    }
    Ok(())
}

/// All deployments and operations have ended, and nothing is left of what they did meanwhile.
fn ended(memory: &Memory) -> Result<(), Violation> {
    for deployment in memory.all::<Deployment>() {
        if !deployment.status.is_final() || deployment.log.is_none() {
            let detail = format!("{} is {:?}, archived: {:?}", deployment.id, deployment.status, deployment.log);
            return Err(Violation::new("everything_comes_to_rest", detail));
        }
    }
    for operation in memory.all::<Operation>() {
        if !(operation.status.is_final() && operation.settled) {
            return left_over(operation);
        }
    }
    let (mut leases, mut markers) = (memory.all::<Lease>(), memory.all::<Open>());
    let (mut waiters, mut places) = (memory.all::<Waiter>(), memory.all::<LanePlace>());
    match (leases.next(), markers.next(), waiters.next(), places.next()) {
        (None, None, None, None) => {}
        left => return left_over(left),
    }
    if let Some(lane) = memory.all::<Lane>().find(|lane| lane.current.is_some()) {
        return left_over(lane);
    }
    match memory.all::<Resource>().find(|resource| resource.reservation.is_some() || resource.waiters > 0) {
        Some(resource) => left_over(resource),
        None => Ok(()),
    }
}

/// Nothing without a consumer is left, unless it is retained.
fn unused(resource: &Resource) -> Result<(), Violation> {
    let stays = resource.retain || resource.external.is_some() || resource.pool.is_some();
    if resource.status == ResourceStatus::Deleted || resource.consumers > 0 || stays {
        return Ok(());
    }
    let detail = format!("nobody uses {}, and it is {:?}", resource.name, resource.status);
    Err(Violation::new("unused_resources_are_gone", detail))
}

/// What is Active is there as its parameters say, all of it; of what is Deleted, the state has nothing.
fn whole(memory: &Memory, cloud: &Cloud, resource: &Resource) -> Result<(), Violation> {
    let nothing = State::default();
    let state = cloud.states.get(&resource.id).unwrap_or(&nothing);
    let wrong = |why: String| {
        let detail = format!("{} ({}) is {:?}: {why}; {state:?}", resource.name, resource.id, resource.status);
        Err(Violation::new("active_resources_are_whole", detail))
    };
    match resource.status {
        ResourceStatus::Deleted if state.objects.is_empty() => Ok(()),
        ResourceStatus::Deleted => wrong("its state has objects".to_owned()),
        ResourceStatus::Active => {
            let module: BTreeSet<&str> = catalog::module(resource.template.kind()).iter().copied().collect();
            let there: BTreeSet<&str> = state
                .objects
                .iter()
                .filter(|(_, held)| !held.tainted && cloud.things.contains_key(&held.thing))
                .map(|(address, _)| *address)
                .collect();
            if module != there {
                return wrong(format!("{there:?} of {module:?} are there"));
            }
            let stored = memory.peek::<Parameters>(&Item::Parameters(resource.id));
            match stored {
                Some(stored) if same(stored, &state.inputs) => Ok(()),
                stored => wrong(format!("its parameters are {stored:?}")),
            }
        }
        ResourceStatus::Provisioning | ResourceStatus::Updating | ResourceStatus::Deleting => {
            wrong("nobody works on it".to_owned())
        }
        ResourceStatus::Failed => Ok(()),
    }
}

/// Whether a state has the parameters of the records; the values of sensitive ones are not looked at.
fn same(stored: &Parameters, inputs: &Map<String, Value>) -> bool {
    let mut shown = inputs.clone();
    shown.retain(|name, _| !stored.sensitive.contains(name));
    shown == stored.values && stored.sensitive.iter().all(|name| inputs.contains_key(name))
}

/// Everything in the cloud is in its resource's state, or somebody is told to look for it. 1 for what nobody can know of:
/// a terraform made it after its worker had died, and had not stored it when it died itself.
fn accounted(memory: &Memory, cloud: &Cloud, number: u64, thing: &Thing) -> Result<u64, Violation> {
    let Thing { resource: id, address, told } = thing;
    let Some(resource) = memory.peek::<Resource>(&Item::Resource(*id)) else {
        return Err(Violation::new("the_cloud_is_what_the_records_say", format!("{thing:?} is of nobody")));
    };
    let aside = resource.errored_state.as_ref().and_then(|name| cloud.aside.get(name));
    let states = [cloud.states.get(id), aside];
    let has = |state: &State| state.objects.get(address).is_some_and(|held| held.thing == number);
    if states.into_iter().flatten().any(has) || reported(memory, resource, *id, address) {
        return Ok(0);
    }
    if !told {
        return Ok(1);
    }
    let detail = format!("{address} of {} is in no state, and nobody is told: {resource:?}", resource.name);
    Err(Violation::new("the_cloud_is_what_the_records_say", detail))
}

fn reported(memory: &Memory, resource: &Resource, id: ResourceId, address: &str) -> bool {
    let unstored = resource.unstored.as_ref().is_some_and(|unstored| unstored.objects.iter().any(|o| o == address));
    let left = resource.left_behind.as_ref().is_some_and(|left| left.begun.iter().any(|begun| begun == address));
    let warned = || {
        memory.all::<Operation>().filter(|operation| operation.resource_id == Some(id)).any(|operation| {
            let mut warnings = operation.warnings.iter().filter(|warning| warning.code == Code::StateMayBeIncomplete);
            warnings.any(|warning| warning.detail.contains(address))
        })
    };
    unstored || left || warned()
}

//! Deployments, with their lanes, the audit events of their ends, and what came of cancels.

use std::collections::hash_map::Entry;

use conductor_domain::consumer::Holding;
use conductor_domain::deployment::{CancelOutcome, Deployment, DeploymentStatus};
use conductor_domain::lane::{Lane, LaneKey, LanePlace};
use conductor_domain::resource::{Resource, ResourceStatus};
use conductor_engine::{Audited, Item, Set, Subject};

use super::{Change, Checker, Look, change};
use crate::catalog::organisation;
use crate::memory::{Kept, Written};
use crate::trace::Violation;

/// The audit events of ends.
const ENDS: [&str; 4] = ["deployment.succeeded", "deployment.failed", "deployment.cancelled", "deployment.timedOut"];

impl Checker {
    pub(super) fn deployment(&mut self, look: &Look<'_>, written: &Written) -> Result<(), Violation> {
        let Change { before, after } = change::<Deployment>(look, written);
        let Some(after) = after else {
            return Err(Violation::new("final_statuses_stay", format!("{:?} is gone", written.item)));
        };
        let was = before.map(|before| before.status);
        if was.is_some_and(DeploymentStatus::is_final) && was != Some(after.status) {
            let detail = format!("{} was {was:?} and is {:?}", after.id, after.status);
            return Err(Violation::new("final_statuses_stay", detail));
        }
        if was.is_none() {
            self.posted_once(after)?;
        }
        if after.status == DeploymentStatus::InProgress && was != Some(DeploymentStatus::InProgress) {
            self.begins(look, after)?;
        }
        let ends = after.status.is_final() && was.is_some_and(|was| !was.is_final());
        if ends {
            if self.running.get(&after.lane) == Some(&after.id) {
                self.running.remove(&after.lane);
            }
            one_event(look, after)?;
            cancelled(look, after)?;
        }
        Ok(())
    }

    fn posted_once(&mut self, deployment: &Deployment) -> Result<(), Violation> {
        let Some(ask) = deployment.metadata.get("ask").and_then(serde_json::Value::as_u64) else { return Ok(()) };
        // A retry has the file and the metadata of what it tries again.
        if deployment.retry_of.is_some() {
            return Ok(());
        }
        match self.posted.insert(ask, deployment.id) {
            None => Ok(()),
            Some(other) => {
                let detail = format!("request {ask} made {other} and {}", deployment.id);
                Err(Violation::new("posted_once", detail))
            }
        }
    }

    /// Nobody else of its lane is in progress, and nobody before it waits.
    fn begins(&mut self, look: &Look<'_>, deployment: &Deployment) -> Result<(), Violation> {
        match self.running.entry(deployment.lane.clone()) {
            Entry::Occupied(other) if *other.get() != deployment.id => {
                let detail = format!("{} begins while {} is in progress", deployment.id, other.get());
                return Err(Violation::new("one_deployment_at_a_time_in_a_lane", detail));
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(free) => {
                free.insert(deployment.id);
            }
        }
        let places: Vec<&LanePlace> = look.memory.listed(organisation(), &Set::LanePlaces(deployment.lane.clone()));
        match places.iter().find(|place| place.number < deployment.number) {
            None => Ok(()),
            Some(before) => {
                let detail = format!("{} begins before {}", deployment.id, before.deployment);
                Err(Violation::new("lanes_keep_their_order", detail))
            }
        }
    }

    /// A lane names a deployment that has not ended, and somebody where somebody waits.
    pub(super) fn lane(&self, look: &Look<'_>, key: &LaneKey) -> Result<(), Violation> {
        let lane = look.memory.peek::<Lane>(&Item::Lane(key.clone()));
        let current = lane.and_then(|lane| lane.current);
        let first = look.memory.listed::<LanePlace>(organisation(), &Set::LanePlaces(key.clone())).into_iter().next();
        let open = |id| look.memory.peek::<Deployment>(&Item::Deployment(id)).is_some_and(|d| !d.status.is_final());
        let right = match (current, first) {
            (Some(id), Some(first)) => open(id) && open(first.deployment),
            (Some(_), None) | (None, Some(_)) => false,
            (None, None) => true,
        };
        if right {
            return Ok(());
        }
        let detail = format!("{key:?} names {current:?}, and first in it is {first:?}");
        Err(Violation::new("lanes_name_whose_turn_it_is", detail))
    }

    /// An event of an end is written with the end.
    pub(super) fn audit(&self, look: &Look<'_>, written: &Written) -> Result<(), Violation> {
        let Some(event) =
            look.memory.peek::<Audited>(&written.item).filter(|a| ENDS.contains(&a.event.action.as_str()))
        else {
            return Ok(());
        };
        let ends = look.written.iter().any(|written| match &event.of {
            Subject::Deployment(id) => {
                let was = written.before.as_ref().and_then(Deployment::of);
                written.item == Item::Deployment(*id) && was.is_some_and(|was| !was.status.is_final())
            }
            _ => false,
        });
        if ends {
            return Ok(());
        }
        let detail = format!("{} of {:?} tells of no end", event.event.action, event.of);
        Err(Violation::new("one_audit_event_for_an_end", detail))
    }
}

fn one_event(look: &Look<'_>, deployment: &Deployment) -> Result<(), Violation> {
    let events = look.written.iter().filter_map(|written| look.memory.peek::<Audited>(&written.item));
    let own = events.filter(|event| event.of == Subject::Deployment(deployment.id));
    let count = own.filter(|event| ENDS.contains(&event.event.action.as_str())).count();
    if count == 1 {
        return Ok(());
    }
    let detail = format!("{} events tell of the end of {}", count, deployment.id);
    Err(Violation::new("one_audit_event_for_an_end", detail))
}

/// What a cancel says at its end is so.
fn cancelled(look: &Look<'_>, deployment: &Deployment) -> Result<(), Violation> {
    let Some(cancel) = &deployment.cancel else { return Ok(()) };
    let wrong = |why: String| Err(Violation::new("cancels_end_as_they_say", format!("{}: {why}", deployment.id)));
    let succeeded = deployment.status == DeploymentStatus::Succeeded;
    match cancel.outcome {
        None => wrong("it has ended without an outcome".to_owned()),
        Some(CancelOutcome::TooLate) if succeeded => Ok(()),
        Some(outcome) if succeeded || outcome == CancelOutcome::TooLate => {
            wrong(format!("{outcome:?}, and it is {:?}", deployment.status))
        }
        Some(CancelOutcome::Partial) if cancel.left.is_empty() => {
            wrong("nothing is left, and it is partial".to_owned())
        }
        Some(CancelOutcome::Partial | CancelOutcome::TooLate) => Ok(()),
        Some(CancelOutcome::Clean) => {
            let held = look.memory.all::<Holding>().find(|holding| holding.deployment == deployment.id);
            let left = look.memory.all::<Resource>().find(|resource| {
                let gone = resource.status == ResourceStatus::Deleted;
                resource.created_by == Some(deployment.id) && !gone && resource.consumers == 0 && !resource.retain
            });
            match (held, left) {
                (Some(held), _) => wrong(format!("it is clean, and {held:?} is left")),
                (_, Some(left)) => wrong(format!("it is clean, and {} is left: {:?}", left.name, left.status)),
                (None, None) => Ok(()),
            }
        }
    }
}

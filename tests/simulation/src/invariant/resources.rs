//! Resources, with their consumers, holdings, identities and places among the candidates.

use conductor_domain::candidate::{Candidate, CandidateGuard, CandidateKey};
use conductor_domain::consumer::{Consumer, ConsumerKey, Holding, HoldingKey};
use conductor_domain::ids::ResourceId;
use conductor_domain::resource::{Parameters, Resource, ResourceStatus};
use conductor_engine::{Identified, Item, Set};

use super::{Change, Checker, Look, change};
use crate::catalog::organisation;
use crate::memory::Written;
use crate::trace::Violation;

impl Checker {
    pub(super) fn resource(&mut self, look: &Look<'_>, written: &Written) -> Result<(), Violation> {
        let Change { before, after } = change::<Resource>(look, written);
        let Some(after) = after else {
            return Err(Violation::new("final_statuses_stay", format!("{:?} is gone", written.item)));
        };
        let was = before.map(|before| before.status);
        if was == Some(ResourceStatus::Deleted) && after.status != ResourceStatus::Deleted {
            let detail = format!("{} was Deleted and is {:?}", after.name, after.status);
            return Err(Violation::new("final_statuses_stay", detail));
        }
        match after.status {
            ResourceStatus::Failed | ResourceStatus::Deleting => {
                self.failed.insert(after.id);
            }
            ResourceStatus::Provisioning
            | ResourceStatus::Active
            | ResourceStatus::Updating
            | ResourceStatus::Deleted => {}
        }
        if after.status == ResourceStatus::Deleting && was != Some(ResourceStatus::Deleting) {
            let consumers: Vec<&Consumer> = look.memory.listed(organisation(), &Set::Consumers(after.id));
            if let Some(stays) = consumers.iter().find(|consumer| consumer.leaving.is_none()) {
                let detail = format!("{} is Deleting, and used by {:?}", after.name, stays.key);
                return Err(Violation::new("nothing_used_is_destroyed", detail));
            }
        }
        owned(look, after)
    }

    /// The numbers in a resource are the numbers of its records.
    pub(super) fn counted(&self, look: &Look<'_>, id: ResourceId) -> Result<(), Violation> {
        let Some(resource) = look.memory.peek::<Resource>(&Item::Resource(id)) else { return Ok(()) };
        let there = self.counts.get(&id).copied().unwrap_or_default();
        if (resource.consumers, resource.dependents) != (there.consumers, there.dependents) {
            let said = (resource.consumers, resource.dependents);
            let detail = format!("{} counts {said:?} consumers and dependents, and has {there:?}", resource.name);
            return Err(Violation::new("consumers_are_counted", detail));
        }
        if resource.waiters != there.waiters {
            let detail = format!("{} counts {} waiters, and has {there:?}", resource.name, resource.waiters);
            return Err(Violation::new("waiters_are_counted", detail));
        }
        Ok(())
    }

    /// Who uses a resource by a file holds it; who uses it as a resource depends on it. And nobody comes to what is being
    /// destroyed.
    pub(super) fn consumer(&self, look: &Look<'_>, id: ResourceId, key: &ConsumerKey) -> Result<(), Violation> {
        let consumer = look.memory.peek::<Consumer>(&Item::Consumer(id, key.clone()));
        let resource = look.memory.peek::<Resource>(&Item::Resource(id));
        let destroyed = resource.is_some_and(|r| r.status == ResourceStatus::Deleting && r.reservation.is_some());
        if destroyed && consumer.is_some_and(|consumer| consumer.leaving.is_none()) {
            let detail = format!("{key:?} comes to {id}, which is being destroyed");
            return Err(Violation::new("nothing_used_is_destroyed", detail));
        }
        match key {
            ConsumerKey::Workload(holder) => {
                let held = look.memory.peek::<Holding>(&Item::Holding(holder.clone()));
                mirrors(id, consumer, held.filter(|held| held.resource == id), holder)
            }
            ConsumerKey::Resource { resource: dependent } => {
                let dependent = look.memory.peek::<Resource>(&Item::Resource(*dependent));
                let edge = dependent.is_some_and(|dependent| dependent.depends_on.contains(&id));
                if edge == consumer.is_some() {
                    return Ok(());
                }
                let name = dependent.map(|dependent| dependent.name.as_str());
                let detail = format!("{name:?} depends on {id}: {edge}, and is its consumer: {}", consumer.is_some());
                Err(Violation::new("edges_have_two_ends", detail))
            }
            ConsumerKey::Api { .. } | ConsumerKey::Pool(_) => Ok(()),
        }
    }

    pub(super) fn holding(&self, look: &Look<'_>, written: &Written, key: &HoldingKey) -> Result<(), Violation> {
        let Change { before, after } = change::<Holding>(look, written);
        for id in [before, after].into_iter().flatten().map(|holding| holding.resource) {
            let consumer = Item::Consumer(id, ConsumerKey::Workload(key.clone()));
            let consumer = look.memory.peek::<Consumer>(&consumer);
            mirrors(id, consumer, after.filter(|held| held.resource == id), key)?;
        }
        Ok(())
    }

    /// An identity is freed when its resource is gone, and not before.
    pub(super) fn identity(&self, look: &Look<'_>, written: &Written) -> Result<(), Violation> {
        let Change { before, after } = change::<Identified>(look, written);
        for id in [before, after].into_iter().flatten().map(|identified| identified.resource) {
            match look.memory.peek::<Resource>(&Item::Resource(id)) {
                Some(resource) => owned(look, resource)?,
                None => {
                    let detail = format!("{:?} is of {id}, which is not there", written.item);
                    return Err(Violation::new("identities_have_one_resource", detail));
                }
            }
        }
        Ok(())
    }

    /// Whoever adds a candidate writes the guard.
    pub(super) fn guard(&self, look: &Look<'_>, key: &CandidateKey) -> Result<(), Violation> {
        let guard = look.memory.peek::<CandidateGuard>(&Item::CandidateGuard(key.clone()));
        let (said, added) = (guard.map_or(0, |guard| guard.added), self.added.get(key).copied().unwrap_or_default());
        if said == added {
            return Ok(());
        }
        let detail = format!("{added} candidates were added, and their guard says {said}");
        Err(Violation::new("candidates_are_guarded", detail))
    }

    /// Nobody makes a second one where the first would have matched all the time.
    pub(super) fn candidate(
        &self,
        look: &Look<'_>,
        written: &Written,
        key: &CandidateKey,
        id: ResourceId,
    ) -> Result<(), Violation> {
        self.guard(look, key)?;
        if written.before.is_some() || !look.memory.has(&written.item) {
            return Ok(());
        }
        let hash = |id: ResourceId| {
            look.memory.peek::<Parameters>(&Item::Parameters(id)).map(|parameters| parameters.hash.as_str())
        };
        let candidates: Vec<&Candidate> = look.memory.listed(organisation(), &Set::Candidates(key.clone()));
        let others = candidates.iter().map(|candidate| candidate.resource).filter(|other| *other != id);
        for other in others.filter(|other| !self.failed.contains(other) && hash(*other) == hash(id)) {
            let there = look.memory.peek::<Resource>(&Item::Resource(other));
            if let Some(there) = there.filter(|there| there.max_consumers.is_none()) {
                let detail = format!("{id} is made although {} matches and is {:?}", there.name, there.status);
                return Err(Violation::new("no_second_match", detail));
            }
        }
        Ok(())
    }
}

/// A resource that is not gone has its identity, and nobody else does.
fn owned(look: &Look<'_>, resource: &Resource) -> Result<(), Violation> {
    if resource.status == ResourceStatus::Deleted {
        return Ok(());
    }
    let identified = look.memory.peek::<Identified>(&Item::Identity(resource.identity.clone()));
    if identified.is_some_and(|identified| identified.resource == resource.id) {
        return Ok(());
    }
    let (name, status) = (&resource.name, resource.status);
    let detail = format!("{name} ({}) is {status:?}, and its identity is of {identified:?}", resource.id);
    Err(Violation::new("identities_have_one_resource", detail))
}

fn mirrors(
    id: ResourceId,
    consumer: Option<&Consumer>,
    held: Option<&Holding>,
    key: &HoldingKey,
) -> Result<(), Violation> {
    if consumer.is_some() == held.is_some() {
        return Ok(());
    }
    let detail = format!("{key:?} and {id}: consumer {consumer:?}, holding {held:?}");
    Err(Violation::new("consumers_mirror_holdings", detail))
}

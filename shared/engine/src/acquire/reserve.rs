//! Reserving: the commit after which terraform may run for a resource, and who may not have it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use conductor_domain::candidate::{Candidate, CandidateGuard, GraphGuard};
use conductor_domain::consumer::{Consumer, ConsumerKey};
use conductor_domain::environment::Environment;
use conductor_domain::ids::ResourceId;
use conductor_domain::operation::{During, Operation};
use conductor_domain::pool::Member;
use conductor_domain::principal::Caller;
use conductor_domain::resource::{
    MAX_CONSUMERS, MAX_DEPENDENCIES, Parameters, Resource, ResourceEvent, ResourceStatus,
};
use conductor_domain::score::Sharing;
use conductor_domain::{Code, Refusal};
use jiff::Timestamp;

use super::picture::{Me, Wish};
use super::{Scene, Users};
use crate::claim::Claimed;
use crate::commit::Draft;
use crate::mutant::Mutant;
use crate::port::{Clock, Ports, StoreError, Versioned};
use crate::record::{Identified, Item, Resident, Set, Subject};
use crate::work::{Job, Reserved, Step};
use crate::{Engine, Error};

/// A resource that is about to be made or changed.
pub(super) struct Change<'a> {
    pub scene: Scene<'a>,
    pub during: During,
    /// Resources that were looked at to know that nobody else minds; they must not have changed.
    pub walked: Vec<Versioned<Resource>>,
    pub deadline: Option<Timestamp>,
}

impl<P: Ports> Engine<P> {
    /// Who else uses a resource, directly or through what depends on it.
    pub(super) async fn users(&self, caller: &Caller, me: &Me, resource: &Versioned<Resource>) -> Result<Users, Error> {
        let mut users = Users::default();
        let mut seen = BTreeSet::from([resource.id]);
        let mut open = vec![resource.id];
        while let Some(id) = open.pop() {
            let consumers: Vec<Versioned<Consumer>> = self.list_all(caller.organisation(), &Set::Consumers(id)).await?;
            let mut dependents = Vec::new();
            for consumer in consumers {
                match &consumer.key {
                    ConsumerKey::Resource { resource } => {
                        dependents.extend(seen.insert(*resource).then_some(*resource))
                    }
                    key if is_mine(key, me) => {}
                    key => users.others.extend(key.label()),
                }
            }
            let items: Vec<Item> = dependents.iter().map(|id| Item::Resource(*id)).collect();
            users.walked.extend(self.read_all::<Resource>(caller.organisation(), &items).await?.into_iter().flatten());
            open.extend(dependents);
        }
        Ok(users)
    }

    /// Reserves the resource, making its record where there is none; from here the half-made thing has an owner.
    pub(super) async fn reserve(&self, caller: &Caller, claimed: &Claimed, change: Change<'_>) -> Result<Step, Error> {
        let Change { scene, during, walked, deadline } = change;
        let Scene { request, picture, target, wish, accepts, reason } = scene;
        let now = self.clock.now();
        let deployment = claimed.deployment.id;
        let template =
            target.version.clone().ok_or_else(|| StoreError::Unreadable("nothing to make it from".to_owned()))?;
        if self.hands_over(claimed, &template) {
            return self.hand_over(caller, claimed).await;
        }
        let mut operation = claimed.operation.value.clone();
        let found = target.found.as_ref();
        // What lives elsewhere is changed there: with that environment's role, region and backend.
        let elsewhere =
            found.map(|found| &found.resource.environment).filter(|name| **name != picture.environment.name);
        let environment = match elsewhere {
            None => picture.environment.clone(),
            Some(name) => {
                let read = self.read::<Environment>(caller.organisation(), Item::Environment(name.clone())).await?;
                read.ok_or_else(|| StoreError::Unreadable(format!("the environment {name} is gone")))?.value
            }
        };
        let stored = found.and_then(|found| found.stored.as_ref());
        let mut resource = match found {
            Some(found) => found.resource.value.clone(),
            None => {
                let location = self.state_location(caller, &picture.environment, target.id);
                Resource {
                    id: target.id,
                    name: target.identity.name.clone(),
                    template: request.template.clone(),
                    version: Some(template.version.clone()),
                    environment: picture.environment.name.clone(),
                    created_for: picture.me.application().cloned(),
                    mode: target.identity.mode,
                    identity: target.identity.key.clone(),
                    status: ResourceStatus::Provisioning,
                    entered_at: now,
                    reservation: None,
                    left_behind: None,
                    errored_state: None,
                    unstored: None,
                    consumers: 0,
                    dependents: 0,
                    waiters: 0,
                    max_consumers: None,
                    candidate: None,
                    published: false,
                    pool: None,
                    external: None,
                    depends_on: Vec::new(),
                    state_location: location,
                    retain: request.retain.unwrap_or(template.retain),
                    created_by: Some(deployment),
                    updated_by: Some(deployment),
                    created_at: now,
                    updated_at: now,
                }
            }
        };
        let id = resource.id;
        let resource_before = resource.clone();
        if found.is_some() {
            resource.take(ResourceEvent::begun(during), now)?;
        }
        resource.updated_by = Some(deployment);
        resource.retain = match request.retain {
            Some(retain) if retain || resource.consumers <= 1 => retain,
            Some(_) | None => resource.retain,
        };
        resource.reservation = Some(self.reservation(claimed, &resource_before, now, deadline));

        let mut draft = self.draft(caller, Some(deployment));
        // Only who replaces the parameters says what they need.
        let accepted = accepts && stored.is_some();
        let replaced = stored.is_none_or(|stored| !accepted && stored.hash != wish.hash);
        let wanted: Vec<&Versioned<Resource>> = picture.dependencies.iter().filter(|_| !accepted).collect();
        let mut depends_on: Vec<ResourceId> = wanted.iter().map(|dependency| dependency.id).collect();
        if !replaced {
            depends_on.extend(resource.depends_on.iter().filter(|id| !wanted.iter().any(|w| w.id == **id)));
        }
        self.depend(caller, &mut draft, &mut resource, &wanted, found.is_none()).await?;
        for other in walked.iter().filter(|other| picture.dependencies.iter().all(|d| d.id != other.id)) {
            draft.check(other);
        }

        let mut parameters = None;
        let asked = wish.hash.clone();
        let inputs = if accepted {
            self.stored_inputs(stored.map(|stored| &stored.value)).await?
        } else {
            let object = self.hide_parameters(claimed, id, &wish, &mut operation).await?;
            let shown = wish.values.iter().filter(|(name, _)| !wish.sensitive.contains(*name));
            let new = Parameters {
                resource: id,
                values: shown.map(|(name, value)| (name.clone(), value.clone())).collect(),
                sensitive: wish.sensitive.iter().cloned().collect(),
                object,
                hash: wish.hash,
            };
            // What is there keeps its parameters until the change has succeeded; what is not there yet needs them to be
            // destroyed, should it be made by half.
            if found.is_some_and(|found| found.made) {
                parameters = Some(new);
            } else {
                draft.put(stored, new);
                resource.version = Some(template.version.clone());
            }
            (wish.values, wish.sensitive)
        };

        operation.resource_id = Some(id);
        operation.reason = Some(reason);
        operation.attempts += 1;
        operation.limits = template.limits;
        operation.expires_at = operation.expires_at.max(now + template.limits.all());
        self.consume(&mut draft, claimed, &picture, &target, &mut resource)?;
        let reserved = match found {
            Some(found) => {
                self.hold(&mut draft, claimed, &picture, &resource, None);
                draft.update(&found.resource, resource.clone())
            }
            None => {
                self.hold(&mut draft, claimed, &picture, &resource, Some(&asked));
                draft.create(Identified { key: resource.identity.clone(), resource: id });
                draft.create(Resident { environment: resource.environment.clone(), resource: id });
                if let Some((key, guard)) = target.guard {
                    let added = guard.as_ref().map_or(0, |guard| guard.added) + 1;
                    if !Mutant::UncheckedGuard.lives() {
                        draft.put(guard.as_ref(), CandidateGuard { key: key.clone(), added });
                    }
                    draft.create(Candidate { key: key.clone(), created_at: now, resource: id });
                    resource.candidate = Some(key.scope);
                    resource.max_consumers = match &request.sharing {
                        Sharing::Matching(matching) => matching.max_consumers,
                        _ => None,
                    };
                }
                if let Some(pool) = &picture.pool
                    && matches!(request.sharing, Sharing::Pool { .. })
                {
                    let free = picture.me.holder().is_none();
                    draft.create(Member { pool: pool.key.clone(), free, resource: id, on_demand: !free });
                    resource.pool = Some(pool.key.clone());
                    resource.retain |= pool.retain;
                }
                draft.audit_resource(&resource, "resource.provisioning");
                draft.create(resource.clone())
            }
        };
        let operation = draft.update(&claimed.operation, operation);
        let lease = draft.create(claimed.new_lease(now));
        draft.commit().await?;
        let job = Job {
            organisation: caller.organisation().clone(),
            deployment,
            operation: claimed.operation.id,
            epoch: claimed.operation.epoch,
            allow_replace: claimed.deployment.options.allow_replace.contains(&claimed.operation.resource),
            depends_on,
            parameters,
            environment,
            template,
            fresh: target.found.is_none(),
            resource,
            during,
            inputs: inputs.0,
            sensitive: inputs.1,
            deadline,
        };
        Ok(Step::Run(Box::new(job), Box::new(Reserved { operation, lease, resource: reserved })))
    }

    /// Makes a resource depend on others. Nothing can depend yet on one that is `fresh`; for any other the organisation's
    /// graph guard is written, read before the graph is walked.
    pub(super) async fn depend(
        &self,
        caller: &Caller,
        draft: &mut Draft<'_, P>,
        resource: &mut Resource,
        wanted: &[&Versioned<Resource>],
        fresh: bool,
    ) -> Result<(), Error> {
        let (there, added): (Vec<_>, Vec<&Versioned<Resource>>) =
            wanted.iter().copied().partition(|dependency| resource.depends_on.contains(&dependency.id));
        // Those that are about to go count until they have gone: all of them are let go at once when the resource goes.
        if resource.depends_on.len() + added.len() > MAX_DEPENDENCIES {
            let detail = format!("{} would have over {MAX_DEPENDENCIES} dependencies at once", resource.name);
            return Err(Refusal::new(Code::TooManyDependencies, detail).into());
        }
        let key = ConsumerKey::Resource { resource: resource.id };
        let items: Vec<Item> = there.iter().map(|dependency| Item::Consumer(dependency.id, key.clone())).collect();
        for edge in self.read_all::<Consumer>(caller.organisation(), &items).await?.into_iter().flatten() {
            // It was about to go, and is wanted again.
            if edge.leaving.is_some() {
                draft.update(&edge, Consumer { leaving: None, ..edge.value.clone() });
            }
        }
        if !fresh && !added.is_empty() {
            let guard = self.read::<GraphGuard>(caller.organisation(), Item::GraphGuard).await?;
            let written = guard.as_ref().map_or(0, |guard| guard.added) + 1;
            self.refuse_cycle(caller, resource, wanted).await?;
            draft.put(guard.as_ref(), GraphGuard { added: written });
        }
        for dependency in added {
            if dependency.consumers >= MAX_CONSUMERS {
                let detail = format!("{} has {MAX_CONSUMERS} consumers; no more are allowed", dependency.name);
                return Err(Refusal::new(Code::TooManyConsumers, detail).into());
            }
            resource.depends_on.push(dependency.id);
            let added_at = draft.now();
            draft.create(Consumer { resource: dependency.id, key: key.clone(), added_at, leaving: None });
            let (consumers, dependents) = (dependency.consumers + 1, dependency.dependents + 1);
            let used = Resource { consumers, dependents, ..dependency.value.clone() };
            let detail = format!("{} depends on it", resource.name);
            draft.audit(Subject::Resource(dependency.id), "consumer.added", Some(detail));
            draft.update(dependency, used);
        }
        Ok(())
    }

    /// Refuses dependencies that depend on the resource itself, with the path.
    pub(super) async fn refuse_cycle(
        &self,
        caller: &Caller,
        resource: &Resource,
        dependencies: &[&Versioned<Resource>],
    ) -> Result<(), Error> {
        let mut open: Vec<(Resource, String)> = dependencies
            .iter()
            .map(|dependency| (dependency.value.clone(), format!("{} → {}", resource.name, dependency.name)))
            .collect();
        let mut seen = BTreeSet::new();
        while let Some((next, path)) = open.pop() {
            if next.id == resource.id {
                let detail = format!("the resources would depend on each other: {path}");
                return Err(Refusal::new(Code::DependencyCycle, detail).into());
            }
            if !seen.insert(next.id) {
                continue;
            }
            // An edge that is about to go does not count.
            let key = ConsumerKey::Resource { resource: next.id };
            let edges: Vec<Item> = next.depends_on.iter().map(|id| Item::Consumer(*id, key.clone())).collect();
            let edges = self.read_all::<Consumer>(caller.organisation(), &edges).await?;
            let stay = edges.into_iter().flatten().filter(|edge| edge.leaving.is_none());
            let items: Vec<Item> = stay.map(|edge| Item::Resource(edge.resource)).collect();
            for found in self.read_all::<Resource>(caller.organisation(), &items).await?.into_iter().flatten() {
                let path = format!("{path} → {}", found.name);
                open.push((found.value, path));
            }
        }
        Ok(())
    }

    async fn hide_parameters(
        &self,
        claimed: &Claimed,
        id: ResourceId,
        wish: &Wish,
        operation: &mut Operation,
    ) -> Result<Option<String>, Error> {
        let hidden: Map<String, Value> = wish
            .values
            .iter()
            .filter(|(name, _)| wish.sensitive.contains(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // Who loses the race for this claim has written one too.
        let object = format!("resources/{id}/parameters/{}-{}", claimed.operation.id, self.clock.fresh_id().simple());
        let object = self.hide(object, hidden).await?;
        operation.pending_objects.extend(object.clone());
        Ok(object)
    }

    /// The inputs that a resource was last given, and the names of the sensitive ones.
    pub(crate) async fn stored_inputs(
        &self,
        stored: Option<&Parameters>,
    ) -> Result<(Map<String, Value>, BTreeSet<String>), Error> {
        let Some(stored) = stored else { return Ok(Default::default()) };
        let mut inputs = stored.values.clone();
        inputs.extend(self.sensitive(stored.object.as_deref()).await?);
        Ok((inputs, stored.sensitive.iter().cloned().collect()))
    }
}

/// True for a consumer that is the workload itself, or the pool.
fn is_mine(key: &ConsumerKey, me: &Me) -> bool {
    match (key, me) {
        (ConsumerKey::Workload(key), Me::Workload(me)) => {
            (&key.environment, &key.application, &key.workload) == (&me.environment, &me.application, &me.workload)
        }
        (ConsumerKey::Api { environment, application, workload }, Me::Workload(me)) => {
            (environment, application) == (&me.environment, &me.application)
                && workload.as_ref().is_none_or(|workload| *workload == me.workload)
        }
        (ConsumerKey::Pool(key), Me::Pool(me)) => key == me,
        (ConsumerKey::Workload(_) | ConsumerKey::Api { .. }, Me::Pool(_))
        | (ConsumerKey::Pool(_), Me::Workload(_))
        | (ConsumerKey::Resource { .. }, _) => false,
    }
}

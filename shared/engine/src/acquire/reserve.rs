//! Reserving: the commit after which terraform may run for a resource, and who may not have it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use conductor_domain::consumer::{Consumer, ConsumerKey, Origin};
use conductor_domain::ids::{GenericUuid, ResourceId};
use conductor_domain::operation::{AcquireRequest, During, Operation};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{
    MAX_CONSUMERS, MAX_DEPENDENCIES, Parameters, Reservation, Resource, ResourceEvent, ResourceStatus, StateLocation,
};
use conductor_domain::{Code, Refusal};
use jiff::{SignedDuration, Timestamp};

use super::picture::{Picture, Wish};
use crate::claim::Claimed;
use crate::port::{Clock, Objects, Ports, Versioned};
use crate::record::{Identified, Item, Resident, Set};
use crate::work::{Job, Step};
use crate::{Engine, Error};

/// STS gives sessions of at least this long; terraform's credentials may live for so long after it began.
const SESSION_TIME: SignedDuration = SignedDuration::from_mins(15);

/// A resource that is about to be made or changed.
pub(super) struct Change<'a> {
    pub request: &'a AcquireRequest,
    pub picture: Picture,
    pub wish: Wish,
    pub during: During,
    /// Resources that were looked at to know that nobody else minds; they must not have changed.
    pub walked: Vec<Versioned<Resource>>,
    pub deadline: Timestamp,
}

impl<P: Ports> Engine<P> {
    /// Refuses a change of a resource that somebody else uses; otherwise the resources that were walked to know it.
    pub(super) async fn sole(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        resource: &Versioned<Resource>,
        picture: &Picture,
        wish: &Wish,
    ) -> Result<Vec<Versioned<Resource>>, Error> {
        let own = (&picture.holder.environment, &picture.holder.application, &picture.holder.workload);
        let mut others = BTreeSet::new();
        let mut walked = Vec::new();
        let mut seen = BTreeSet::from([resource.id.to_string()]);
        let mut open = vec![resource.id];
        while let Some(id) = open.pop() {
            let consumers: Vec<Versioned<Consumer>> = self.list_all(caller.organisation(), &Set::Consumers(id)).await?;
            for consumer in consumers {
                match &consumer.key {
                    ConsumerKey::Workload(holder) if consumer.key.workload() != Some(own) => {
                        others.insert(format!("{}/{} in {}", holder.application, holder.workload, holder.environment));
                    }
                    ConsumerKey::Workload(_) => {}
                    ConsumerKey::Resource { resource } => {
                        if seen.insert(resource.to_string()) {
                            let item = Item::Resource(*resource);
                            walked.extend(self.read::<Resource>(caller.organisation(), item).await?);
                            open.push(*resource);
                        }
                    }
                }
            }
        }
        if others.is_empty() {
            return Ok(walked);
        }
        let empty = Map::new();
        let there = picture.stored.as_ref().map_or(&empty, |stored| &stored.values);
        let difference = difference(there, wish, picture);
        let users: Vec<String> = others.into_iter().collect();
        let detail = format!(
            "{} is used by {}, so {} cannot change it: {difference}",
            resource.name,
            users.join(", "),
            claimed.operation.resource
        );
        Err(Refusal::new(Code::ParametersConflict, detail).into())
    }

    /// Reserves the resource, making its record where there is none; from here the half-made thing has an owner.
    pub(super) async fn reserve(&self, caller: &Caller, claimed: &Claimed, change: Change<'_>) -> Result<Step, Error> {
        let Change { request, picture, wish, during, walked, deadline } = change;
        let now = self.clock.now();
        let deployment = claimed.deployment.id;
        let mut operation = claimed.operation.value.clone();
        let fresh = picture.found.is_none();
        let mut resource = match &picture.found {
            Some(found) => found.value.clone(),
            None => self.new_resource(caller, claimed, request, &picture),
        };
        let id = resource.id;
        let was_active = resource.status == ResourceStatus::Active;
        if !fresh {
            resource.take(ResourceEvent::begun(during), now)?;
        }
        resource.updated_by = deployment;
        resource.retain |= request.retain;
        resource.reservation = Some(reservation(claimed, now, deadline));

        let mut draft = self.draft(caller, Some(deployment));
        // Only who replaces the parameters says what they need.
        let accepted = wish.accepts && picture.stored.is_some();
        let replaced = picture.stored.as_ref().is_none_or(|stored| !accepted && stored.hash != wish.hash);
        let wanted: Vec<&Versioned<Resource>> = picture.dependencies.iter().filter(|_| !accepted).collect();
        let mut depends_on: Vec<ResourceId> = wanted.iter().map(|dependency| dependency.id).collect();
        if !replaced {
            depends_on.extend(resource.depends_on.iter().filter(|id| !wanted.iter().any(|w| w.id == **id)));
        }
        self.refuse_cycle(caller, &resource, &wanted).await?;
        for dependency in wanted {
            if resource.depends_on.contains(&dependency.id) {
                continue;
            }
            if dependency.consumers >= MAX_CONSUMERS {
                let detail = format!("{} has {MAX_CONSUMERS} consumers; no more are allowed", dependency.name);
                return Err(Refusal::new(Code::TooManyConsumers, detail).into());
            }
            resource.depends_on.push(dependency.id);
            let key = ConsumerKey::Resource { resource: id };
            let (resource, origin) = (dependency.id, Origin::Dependency);
            draft.create(Consumer { resource, key, origin, added_at: now, leaving: None });
            let used = Resource { consumers: dependency.consumers + 1, ..dependency.value.clone() };
            draft.update(dependency, used);
        }
        for other in walked.iter().filter(|other| picture.dependencies.iter().all(|d| d.id != other.id)) {
            draft.check(other);
        }

        if resource.depends_on.len() > MAX_DEPENDENCIES {
            let detail = format!("{} would have over {MAX_DEPENDENCIES} dependencies", resource.name);
            return Err(Refusal::new(Code::TooManyDependencies, detail).into());
        }

        let mut parameters = None;
        let inputs = if accepted {
            self.stored_inputs(picture.stored.as_deref()).await?
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
            if picture.made {
                parameters = Some(new);
            } else {
                draft.put(picture.stored.as_ref(), new);
                resource.version = picture.version.version.clone();
            }
            (wish.values, wish.sensitive)
        };

        operation.resource_id = Some(id);
        operation.attempts += 1;
        self.consume(&mut draft, claimed, &picture, &mut resource)?;
        match &picture.found {
            Some(found) => {
                draft.update(found, resource.clone());
            }
            None => {
                draft.create(Identified { key: picture.identity.key.clone(), resource: id });
                draft.create(Resident { environment: resource.environment.clone(), resource: id });
                draft.audit_resource(&resource, "resource.provisioning");
                draft.create(resource.clone());
            }
        }
        draft.update(&claimed.operation, operation);
        draft.commit().await?;
        Ok(Step::Run(Box::new(Job {
            organisation: caller.organisation().clone(),
            deployment,
            operation: claimed.operation.id,
            epoch: claimed.operation.epoch,
            allow_replace: claimed.deployment.options.allow_replace.contains(&claimed.operation.resource),
            depends_on,
            parameters,
            was_active,
            environment: picture.environment,
            template: picture.version,
            resource,
            during,
            fresh,
            inputs: inputs.0,
            sensitive: inputs.1,
            deadline,
        })))
    }

    /// Refuses dependencies that depend on the resource itself, with the path.
    async fn refuse_cycle(
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
            if !seen.insert(next.id.to_string()) {
                continue;
            }
            let items: Vec<Item> = next.depends_on.iter().map(|id| Item::Resource(*id)).collect();
            for found in self.read_all::<Resource>(caller.organisation(), &items).await?.into_iter().flatten() {
                let path = format!("{path} → {}", found.name);
                open.push((found.value, path));
            }
        }
        Ok(())
    }

    fn new_resource(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        picture: &Picture,
    ) -> Resource {
        let id = ResourceId::from_untyped_uuid(self.clock.fresh_id());
        let now = self.clock.now();
        let environment = picture.holder.environment.clone();
        let location =
            format!("s3://{}/{}/{environment}/{id}.tfstate", self.settings.state_bucket, caller.organisation());
        Resource {
            id,
            name: picture.identity.name.clone(),
            template: request.template.clone(),
            version: picture.version.version.clone(),
            environment,
            created_for: picture.holder.application.clone(),
            mode: picture.identity.mode,
            identity: picture.identity.key.clone(),
            status: ResourceStatus::Provisioning,
            entered_at: now,
            reservation: None,
            consumers: 0,
            waiters: 0,
            depends_on: Vec::new(),
            state_location: StateLocation { backend: "s3".to_owned(), location },
            retain: request.retain,
            created_by: claimed.deployment.id,
            updated_by: claimed.deployment.id,
            created_at: now,
            updated_at: now,
        }
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
        if hidden.is_empty() {
            return Ok(None);
        }
        let object = format!("resources/{id}/parameters/{}-{}", claimed.operation.id, claimed.operation.epoch);
        self.vault.put(&object, Value::Object(hidden).to_string().into_bytes()).await?;
        operation.pending_objects.push(object.clone());
        Ok(Some(object))
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

/// The reservation of a claim.
pub(crate) fn reservation(claimed: &Claimed, now: Timestamp, deadline: Timestamp) -> Reservation {
    Reservation {
        deployment: claimed.deployment.id,
        number: claimed.operation.number,
        operation: claimed.operation.id,
        epoch: claimed.operation.epoch,
        // Credentials are taken within a minute of this.
        dead_after: deadline.max(now + SESSION_TIME + SignedDuration::from_mins(1)),
    }
}

/// How the wished parameters differ from those that are there; sensitive values are masked.
fn difference(there: &Map<String, Value>, wish: &Wish, picture: &Picture) -> String {
    let hidden = picture.stored.as_ref().map(|stored| stored.sensitive.as_slice()).unwrap_or_default();
    let names: BTreeSet<&String> = there.keys().chain(wish.values.keys()).chain(hidden).collect();
    let show = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    let lines: Vec<String> = names
        .into_iter()
        .filter(|name| there.get(*name) != wish.values.get(*name))
        .map(|name| {
            if wish.sensitive.contains(name) || hidden.contains(name) {
                format!("{name} (sensitive) may differ")
            } else {
                format!("{name} is {}, wanted {}", show(there.get(name)), show(wish.values.get(name)))
            }
        })
        .collect();
    match (lines.is_empty(), picture.found.as_ref()) {
        (true, Some(found)) => {
            format!("its template version is {}, wanted {}", found.value.version, picture.version.version)
        }
        _ => lines.join("; "),
    }
}

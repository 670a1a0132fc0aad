//! Releasing: a consumer leaves a resource; the last one takes it along, unless it is retained.

use conductor_domain::consumer::{Consumer, ConsumerKey, Holding};
use conductor_domain::deployment::Deployment;
use conductor_domain::environment::Environment;
use conductor_domain::ids::{OperationId, ResourceId};
use conductor_domain::operation::{During, Effect, Operation, Prospect, Reason, ReleaseRequest};
use conductor_domain::pool::Member;
use conductor_domain::principal::Caller;
use conductor_domain::resource::{Parameters, Resource, ResourceEvent, ResourceStatus};
use conductor_domain::template::TemplateVersion;
use conductor_domain::{Code, Refusal};
use jiff::Timestamp;

use crate::claim::Claimed;
use crate::mutant::Mutant;
use crate::port::{Ports, StoreError, Versioned};
use crate::record::{Identified, Item, Set};
use crate::work::{Job, Reserved, Step};
use crate::{Engine, Error};

/// Consumers that a reason names.
const MAX_TOLD: usize = 20;

/// What to do about a consumer that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is gone already.
    Gone,
    /// Somebody works on the resource.
    Wait,
    /// Others still use it.
    Leave,
    /// It was the last, and the resource stays.
    Retain,
    /// It is the last.
    Destroy,
}

/// The last consumer takes the resource along, unless it is retained; what nobody ever had is not. Where no consumer is
/// named, the resource itself is to go, and goes if nobody uses it. Pure.
pub(crate) fn decide(resource: &Resource, request: &ReleaseRequest, is_consumer: bool, claimed: &Claimed) -> Decision {
    let itself = request.consumer.is_none();
    let unused = matches!(request.consumer, Some(ConsumerKey::Pool(_)));
    let reserved = resource.reservation.as_ref();
    let ignored = if Mutant::ReleaseIgnoresDependents.lives() { resource.dependents } else { 0 };
    if resource.status == ResourceStatus::Deleted || !(is_consumer || itself) {
        Decision::Gone
    } else if reserved.is_some_and(|reservation| reservation.operation != claimed.operation.id) {
        Decision::Wait
    } else if resource.consumers > ignored + u32::from(is_consumer) {
        Decision::Leave
    } else if resource.external.is_some() || (resource.retain && !itself && !unused) || !may_change(claimed, resource) {
        Decision::Retain
    } else {
        Decision::Destroy
    }
}

fn may_change(claimed: &Claimed, resource: &Resource) -> bool {
    claimed.deployment.may_change_in(&resource.environment)
}

/// What one try to release reads.
struct Scene {
    resource: Versioned<Resource>,
    consumer: Option<Versioned<Consumer>>,
    parameters: Option<Versioned<Parameters>>,
    holding: Option<Versioned<Holding>>,
    /// A pool's free member.
    member: Option<Versioned<Member>>,
    /// What depended on it.
    dependent: Option<Versioned<Resource>>,
}

impl Scene {
    /// True where the consumer that the request names is there and still wants to leave.
    fn leaves(&self) -> bool {
        self.consumer.as_ref().is_some_and(|consumer| match &consumer.key {
            ConsumerKey::Workload(_) | ConsumerKey::Pool(_) => true,
            ConsumerKey::Resource { .. } | ConsumerKey::Api { .. } => consumer.leaving.is_some(),
        })
    }
}

impl<P: Ports> Engine<P> {
    /// One try to release; [`Error::Conflict`] means try again.
    pub(crate) async fn release(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &ReleaseRequest,
        deadline: Option<Timestamp>,
    ) -> Result<Step, Error> {
        let mut scene = self.look_at_release(caller, request).await?;
        let mut reason = Reason::default();
        if self.imagining && imagine_settled(claimed, &mut scene.resource.value) {
            reason.decided_by.push("how the deployment ends that works on it".to_owned());
            reason.otherwise = vec![Prospect::Released, Prospect::Destroyed, Prospect::Retained, Prospect::Failed];
        }
        let decision = decide(&scene.resource, request, scene.leaves(), claimed);
        let name = &scene.resource.name;
        reason.text = match decision {
            Decision::Gone => format!("{name} was let go already"),
            Decision::Wait => String::new(),
            Decision::Leave => format!("others still use {name}"),
            Decision::Retain if !may_change(claimed, &scene.resource) => {
                let environment = &scene.resource.environment;
                format!("nobody uses {name} any more, and it stays: who asked may not deploy in {environment}")
            }
            Decision::Retain => format!("nobody uses {name} any more, and it is retained"),
            Decision::Destroy => format!("nobody else uses {name}"),
        };
        if decision == Decision::Leave {
            reason.users = self.who_stays(caller, &scene.resource, request).await?;
        }
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let effect = match decision {
            Decision::Wait => {
                self.wait_for(&mut draft, claimed, &scene.resource)?;
                draft.commit().await?;
                return Ok(Step::Waits);
            }
            Decision::Destroy => return self.reserve_destroy(caller, claimed, scene, reason, deadline).await,
            Decision::Leave | Decision::Retain => {
                if let Some(consumer) = &scene.consumer {
                    draft.delete(consumer);
                    let consumers = scene.resource.consumers.saturating_sub(1);
                    let edge = u32::from(matches!(consumer.key, ConsumerKey::Resource { .. }));
                    let dependents = scene.resource.dependents.saturating_sub(edge);
                    let left = Resource { consumers, dependents, ..scene.resource.value.clone() };
                    draft.audit_resource(&left, "resource.released");
                    draft.update(&scene.resource, left);
                }
                if let Some(dependent) = &scene.dependent {
                    draft.update(dependent, without(dependent, scene.resource.id));
                }
                if let Some(member) = &scene.member {
                    draft.delete(member);
                    draft.create(Member { free: false, ..member.value.clone() });
                }
                if decision == Decision::Leave { Effect::Released } else { Effect::Retained }
            }
            Decision::Gone => Effect::Released,
        };
        if let Some(holding) = &scene.holding {
            draft.delete(holding);
        }
        let operation = Operation { reason: Some(reason), ..claimed.operation.value.clone() };
        let operation = draft.succeed(claimed, operation, effect)?;
        draft.commit().await?;
        Ok(Step::Ended(Box::new(claimed.ended(operation))))
    }

    async fn look_at_release(&self, caller: &Caller, request: &ReleaseRequest) -> Result<Scene, Error> {
        let id = request.resource;
        let (resource, parameters) = (Item::Resource(id), Item::Parameters(id));
        let consumer = request.consumer.clone().map(|key| Item::Consumer(id, key));
        let (mut holding, mut member, mut dependent) = (None, None, None);
        match &request.consumer {
            Some(ConsumerKey::Workload(key)) => holding = Some(Item::Holding(key.clone())),
            Some(ConsumerKey::Pool(key)) => member = Some(Item::Member(key.clone(), true, id)),
            Some(ConsumerKey::Resource { resource }) => dependent = Some(Item::Resource(*resource)),
            Some(ConsumerKey::Api { .. }) | None => {}
        }
        let mut items = vec![resource.clone(), parameters.clone()];
        items.extend([&consumer, &holding, &member, &dependent].into_iter().flatten().cloned());
        let mut batch = self.batch(caller.organisation(), items).await?;
        let gone = || StoreError::Unreadable(format!("the resource {id} is gone without a trace"));
        let holding: Option<Versioned<Holding>> = batch.take_if(holding.as_ref())?;
        Ok(Scene {
            resource: batch.take(&resource)?.ok_or_else(gone)?,
            consumer: batch.take_if(consumer.as_ref())?,
            parameters: batch.take(&parameters)?,
            holding: holding.filter(|holding| holding.resource == id),
            member: batch.take_if(member.as_ref())?,
            dependent: batch.take_if(dependent.as_ref())?,
        })
    }

    /// Who uses a resource beside the one that leaves.
    async fn who_stays(
        &self,
        caller: &Caller,
        resource: &Resource,
        request: &ReleaseRequest,
    ) -> Result<Vec<String>, Error> {
        let set = Set::Consumers(resource.id);
        let consumers: Vec<Versioned<Consumer>> =
            self.list_first(caller.organisation(), &set, MAX_TOLD as u32 + 1).await?;
        let others = consumers.iter().filter(|consumer| Some(&consumer.key) != request.consumer.as_ref());
        self.labels(caller, others.take(MAX_TOLD).map(|consumer| &consumer.key)).await
    }

    /// Consumers as people know them.
    pub(crate) async fn labels<'k>(
        &self,
        caller: &Caller,
        keys: impl Iterator<Item = &'k ConsumerKey>,
    ) -> Result<Vec<String>, Error> {
        let mut labels = Vec::new();
        let mut items = Vec::new();
        for key in keys {
            match key {
                ConsumerKey::Resource { resource } => items.push(Item::Resource(*resource)),
                key => labels.extend(key.label()),
            }
        }
        let dependents = self.read_all::<Resource>(caller.organisation(), &items).await?;
        labels.extend(dependents.into_iter().flatten().map(|dependent| format!("{} depends on it", dependent.name)));
        Ok(labels)
    }

    async fn reserve_destroy(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        scene: Scene,
        reason: Reason,
        deadline: Option<Timestamp>,
    ) -> Result<Step, Error> {
        let organisation = caller.organisation();
        let Scene { resource: read, consumer, parameters, .. } = scene;
        let gone = |what: &str| StoreError::Unreadable(format!("{what} of the resource {} is gone", read.id));
        let version = read.value.version.clone().ok_or_else(|| gone("the template version"))?;
        let environment_item = Item::Environment(read.environment.clone());
        let version_item = Item::TemplateVersion(read.template.clone(), version);
        let mut batch = self.batch(organisation, vec![environment_item.clone(), version_item.clone()]).await?;
        let environment: Versioned<Environment> =
            batch.take(&environment_item)?.ok_or_else(|| gone("the environment"))?;
        let template: Versioned<TemplateVersion> =
            batch.take(&version_item)?.ok_or_else(|| gone("the template version"))?;
        if self.hands_over(claimed, &template) {
            return self.hand_over(caller, claimed).await;
        }
        if environment.spec.protected && !may_go(claimed, &read) {
            let detail = format!(
                "{} would be destroyed, and the environment {} is protected; say allowDestroy: [{:?}] to let it",
                read.name, environment.name, claimed.operation.resource
            );
            return Err(Refusal::new(Code::EnvironmentProtected, detail).into());
        }
        let (inputs, sensitive) = self.stored_inputs(parameters.as_deref()).await?;

        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        draft.check(&environment);
        let now = draft.now();
        let mut resource = read.value.clone();
        resource.take(ResourceEvent::DestroyBegun, now)?;
        resource.updated_by = Some(claimed.deployment.id);
        resource.reservation = Some(self.reservation(claimed, &read, now, deadline));
        let reserved = draft.update(&read, resource.clone());
        if let Some(consumer) = &consumer {
            draft.update(consumer, Consumer { leaving: Some(claimed.operation.id), ..consumer.value.clone() });
        }
        if Mutant::IdentityFreedEarly.lives() {
            let identity: Option<Versioned<Identified>> =
                self.read(organisation, Item::Identity(resource.identity.clone())).await?;
            identity.iter().for_each(|identity| draft.delete(identity));
        }
        let operation = claimed.operation.value.clone();
        let attempts = operation.attempts + 1;
        let limits = template.limits;
        let expires_at = operation.expires_at.max(now + limits.all());
        let reason = Some(reason);
        let operation = Operation { attempts, limits, expires_at, reason, ..operation };
        let operation = draft.update(&claimed.operation, operation);
        let lease = draft.create(claimed.new_lease(now));
        draft.commit().await?;
        let job = Job {
            organisation: organisation.clone(),
            deployment: claimed.deployment.id,
            operation: claimed.operation.id,
            epoch: claimed.operation.epoch,
            allow_replace: true,
            depends_on: Vec::new(),
            parameters: None,
            environment: environment.value,
            template: template.value,
            resource,
            during: During::Destroy,
            fresh: false,
            inputs,
            sensitive,
            deadline,
        };
        Ok(Step::Run(Box::new(job), Box::new(Reserved { operation, lease, resource: reserved })))
    }
}

/// A resource that does not depend on another any more.
pub(crate) fn without(dependent: &Resource, id: ResourceId) -> Resource {
    let mut freed = dependent.clone();
    freed.depends_on.retain(|dependency| *dependency != id);
    freed
}

/// True where a resource of a protected environment may be destroyed: the request names it, or nobody ever had it. An
/// id names one resource; a name in a file, that of every workload.
fn may_go(claimed: &Claimed, resource: &Resource) -> bool {
    let operation = claimed.operation.resource.as_str();
    // What another one took the place of goes by the name that it had.
    let before = operation.rsplit_once('~').filter(|(_, id)| id.parse::<OperationId>().is_ok()).map(|(name, _)| name);
    let id = resource.id.to_string();
    let known = [Some(operation), before, Some(resource.name.as_str()), Some(id.as_str())];
    let Deployment { lane, options, .. } = &claimed.deployment.value;
    lane.pool().is_some() || options.allow_destroy.iter().any(|name| known.contains(&Some(name.as_str())))
}

/// In a dry run: takes it that whoever works on a resource will succeed. True where somebody does.
fn imagine_settled(claimed: &Claimed, resource: &mut Resource) -> bool {
    let others = resource.reservation.as_ref().is_some_and(|r| r.deployment != claimed.deployment.id);
    if others {
        resource.reservation = None;
        resource.status = match resource.status {
            ResourceStatus::Provisioning | ResourceStatus::Updating => ResourceStatus::Active,
            ResourceStatus::Deleting => ResourceStatus::Deleted,
            status => status,
        };
    }
    others
}

#[cfg(test)]
mod tests {
    use conductor_domain::deployment::Options;
    use conductor_domain::ids::GenericUuid;
    use conductor_domain::operation::Requests;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::outcome::tests::pending;
    use crate::port::Version;
    use crate::record::Open;
    use crate::settle::tests::waiting;

    fn read<T>(value: T) -> Versioned<T> {
        Versioned { value, version: Version("v1".to_owned()) }
    }

    /// The release of `db`, where the request names these.
    fn claimed(allowed: &[&str]) -> Claimed {
        let allow_destroy = allowed.iter().map(|name| (*name).to_owned()).collect();
        let options = Options { allow_destroy, ..Options::default() };
        let deployment = Deployment { options, ..pending() };
        let operation = Operation { resource: "db".to_owned(), ..waiting(&[], false) };
        let marker = read(Open { deployment: deployment.id, number: operation.number });
        let (deployment, operation, worker) = (read(deployment), read(operation), "w".to_owned());
        Claimed { deployment, operation, lease: None, worker, marker, metered: Requests::default() }
    }

    fn resource(number: u128, name: &str) -> Resource {
        serde_json::from_value(json!({
            "id": ResourceId::from_untyped_uuid(Uuid::from_u128(number)), "name": name, "template": "postgres",
            "version": "1.0.0", "environment": "prod", "mode": "dedicated", "identity": "x", "status": "Active",
            "enteredAt": "2026-11-22T12:00:00Z", "consumers": 1, "waiters": 0,
            "stateLocation": {"backend": "s3", "location": "s3://states/x"},
            "createdAt": "2026-11-22T12:00:00Z", "updatedAt": "2026-11-22T12:00:00Z"
        }))
        .expect("a resource")
    }

    #[test]
    fn what_lives_where_its_user_may_not_deploy_stays() {
        let (db, mut claimed) = (resource(1, "orders.web.db"), claimed(&["db"]));
        let key = json!({"environment": "staging", "application": "orders", "workload": "web", "resource": "db"});
        let consumer = ConsumerKey::Workload(serde_json::from_value(key).expect("a key"));
        let request = ReleaseRequest { resource: db.id, consumer: Some(consumer) };
        let mut check = |environment: &str, reach: Option<&[&str]>, expect: Decision| {
            claimed.deployment.value.lane.environment = environment.parse().expect("a name");
            let names = reach.map(|names| names.iter().map(|name| name.parse().expect("a name")).collect());
            claimed.deployment.value.reach = names;
            assert_eq!(decide(&db, &request, true, &claimed), expect, "{environment} {reach:?}");
        };
        check("prod", None, Decision::Destroy);
        check("staging", None, Decision::Destroy);
        check("staging", Some(&["staging"]), Decision::Retain);
        check("staging", Some(&["staging", "prod"]), Decision::Destroy);
        check("prod", Some(&[]), Decision::Destroy);
    }

    #[test]
    fn an_id_lets_one_resource_go_and_a_name_in_the_file_that_of_every_workload() {
        let (web, worker) = (resource(1, "orders.web.db"), resource(2, "orders.worker.db"));
        let check = |allowed: &[&str], expect: (bool, bool)| {
            let claimed = claimed(allowed);
            assert_eq!((may_go(&claimed, &web), may_go(&claimed, &worker)), expect, "{allowed:?}");
        };
        check(&[], (false, false));
        check(&["cache"], (false, false));
        check(&["db"], (true, true));
        check(&["orders.web.db"], (true, false));
        check(&[worker.id.to_string().as_str()], (false, true));
    }
}

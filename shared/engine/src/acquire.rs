//! Acquiring: finds the resource that a file asks for, links to it, or reserves it to be made or changed.

mod decide;
mod picture;
mod reserve;

use conductor_domain::consumer::{Consumer, ConsumerKey, Holding, HoldingKey, Origin};
use conductor_domain::operation::{AcquireRequest, During, Effect, Operation, ReleaseRequest, WaitingFor};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{MAX_CONSUMERS, Resource, Waiter};
use conductor_domain::{Code, Refusal};
use jiff::Timestamp;

use crate::claim::{Appended, Claimed};
use crate::commit::Draft;
use crate::port::{Clock, Ports, Versioned};
use crate::work::Step;
use crate::{Engine, Error};
use decide::{Ask, Decision, Found, decide};
use picture::Picture;
use reserve::Change;
pub(crate) use reserve::reservation;

impl<P: Ports> Engine<P> {
    /// One try to acquire; [`Error::Conflict`] means try again.
    pub(crate) async fn acquire(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        deadline: Timestamp,
    ) -> Result<Step, Error> {
        let picture = self.look(caller, claimed, request).await?;
        let wish = self.wish(claimed, request, &picture).await?;
        let ask = Ask {
            operation: claimed.operation.id,
            template: &request.template,
            version: &picture.version,
            accepts: wish.accepts,
            hash: &wish.hash,
            refresh: claimed.deployment.options.refresh,
        };
        let found = picture.found.as_ref().map(|resource| Found {
            resource,
            hash: picture.stored.as_ref().map(|stored| stored.hash.as_str()),
            made: picture.made,
            mine: picture.consumer.is_some() && picture.holding.as_ref().is_some_and(|h| h.resource == resource.id),
        });
        let mut walked = Vec::new();
        let during = match (decide(found, ask), &picture.found) {
            (Decision::Refuse(refusal), _) => return Err(refusal.into()),
            (Decision::Stale, _) => return Err(Error::Conflict),
            (Decision::Wait, Some(resource)) => return self.wait(caller, claimed, resource).await,
            (Decision::Unchanged, Some(resource)) => return self.unchanged(caller, claimed, request, resource).await,
            (Decision::Link, Some(resource)) => {
                return self.link(caller, claimed, request, &picture, resource).await;
            }
            (Decision::ChangeIfSole(during), Some(resource)) => {
                walked = self.sole(caller, claimed, resource, &picture, &wish).await?;
                during
            }
            (Decision::Change(during), _) => during,
            (Decision::Create, _) | (_, None) => During::Create,
        };
        let change = Change { request, picture, wish, during, walked, deadline };
        self.reserve(caller, claimed, change).await
    }

    async fn wait(&self, caller: &Caller, claimed: &Claimed, resource: &Versioned<Resource>) -> Result<Step, Error> {
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        self.wait_for(&mut draft, claimed, resource)?;
        draft.commit().await?;
        Ok(Step::Waits)
    }

    /// Queues an operation for a resource that another one has reserved.
    pub(crate) fn wait_for(
        &self,
        draft: &mut Draft<'_, P>,
        claimed: &Claimed,
        resource: &Versioned<Resource>,
    ) -> Result<(), Error> {
        let (deployment, number) = (claimed.deployment.id, claimed.operation.number);
        draft.create(Waiter { resource: resource.id, deployment, number, since: self.clock.now() });
        draft.update(resource, Resource { waiters: resource.waiters + 1, ..resource.value.clone() });
        draft.block(claimed, WaitingFor::Resource)
    }

    async fn unchanged(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        resource: &Versioned<Resource>,
    ) -> Result<Step, Error> {
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        draft.check(resource);
        if request.retain && !resource.retain {
            let retained = Resource { retain: true, ..resource.value.clone() };
            draft.audit_resource(&retained, "resource.retained");
            draft.update(resource, retained);
        }
        let operation = Operation { resource_id: Some(resource.id), ..claimed.operation.value.clone() };
        draft.succeed(claimed, operation, Effect::Unchanged)?;
        draft.commit().await?;
        Ok(Step::Ended)
    }

    async fn link(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        request: &AcquireRequest,
        picture: &Picture,
        resource: &Versioned<Resource>,
    ) -> Result<Step, Error> {
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let mut linked = resource.value.clone();
        linked.retain |= request.retain;
        self.consume(&mut draft, claimed, picture, &mut linked)?;
        draft.audit_resource(&linked, "resource.linked");
        draft.update(resource, linked);
        let operation = Operation { resource_id: Some(resource.id), ..claimed.operation.value.clone() };
        draft.succeed(claimed, operation, Effect::Linked)?;
        draft.commit().await?;
        Ok(Step::Ended)
    }

    /// Makes the workload a consumer and holder of a resource, in place of what it held under that name.
    fn consume(
        &self,
        draft: &mut Draft<'_, P>,
        claimed: &Claimed,
        picture: &Picture,
        resource: &mut Resource,
    ) -> Result<(), Error> {
        let key = ConsumerKey::Workload(picture.holder.clone());
        let now = self.clock.now();
        let consumer = Consumer { resource: resource.id, key, origin: Origin::File, added_at: now, leaving: None };
        match &picture.consumer {
            Some(read) if read.leaving.is_some() => {
                draft.update(read, Consumer { leaving: None, ..read.value.clone() });
            }
            Some(_) => {}
            None => {
                if resource.consumers >= MAX_CONSUMERS {
                    let detail = format!("{} has {MAX_CONSUMERS} consumers; no more are allowed", resource.name);
                    return Err(Refusal::new(Code::TooManyConsumers, detail).into());
                }
                draft.create(consumer);
                resource.consumers += 1;
            }
        }
        let holding = Holding {
            key: picture.holder.clone(),
            resource: resource.id,
            kind: resource.template.kind().to_owned(),
            mode: picture.identity.mode,
            deployment: claimed.deployment.id,
        };
        match &picture.holding {
            Some(read) if read.resource == resource.id => {}
            read => {
                draft.put(read.as_ref(), holding);
            }
        }
        if let (Some((old, consumer)), Some(holding)) = (&picture.displaced, &picture.holding) {
            let name = format!("{}~{}", picture.holder.resource, claimed.operation.id);
            let moved = HoldingKey { resource: name.clone(), ..picture.holder.clone() };
            let key = ConsumerKey::Workload(moved.clone());
            draft.delete(consumer);
            draft.create(Consumer { key: key.clone(), ..consumer.value.clone() });
            draft.create(Holding { key: moved, ..holding.value.clone() });
            draft.check(old);
            let release = ReleaseRequest { resource: old.id, consumer: key };
            let kind = old.template.kind().to_owned();
            draft.append(claimed, vec![Appended { name, kind, request: release, before: None }]);
        }
        Ok(())
    }
}

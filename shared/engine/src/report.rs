//! Reporting: what terraform did becomes the truth, in one commit.

use std::collections::BTreeMap;

use serde_json::Value;

use conductor_domain::Code;
use conductor_domain::consumer::{Consumer, ConsumerKey};
use conductor_domain::ids::ResourceId;
use conductor_domain::operation::{
    During, Effect, Failure, Operation, OperationEvent, OperationStatus, ReleaseRequest, Request,
};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{MAX_OUTPUT, MAX_OUTPUTS, Outputs, Parameters, Resource, ResourceEvent};

use crate::claim::{Appended, Claimed};
use crate::commit::Draft;
use crate::port::{Ports, Records, StoreError, Versioned};
use crate::record::{Item, Record, Set};
use crate::release::without;
use crate::work::{Job, JobOutcome, Produced};
use crate::{Engine, Error};

impl<P: Ports> Engine<P> {
    /// Commits the outcome of a job. [`Error::Conflict`]: read again; the outcome stays what it is.
    pub(crate) async fn report(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        job: &Job,
        outcome: &JobOutcome,
    ) -> Result<(), Error> {
        let item = Item::Resource(job.resource.id);
        let read: Versioned<Resource> = self
            .read(caller.organisation(), item)
            .await?
            .ok_or_else(|| StoreError::Unreadable(format!("the resource {} is gone", job.resource.id)))?;
        let ours = read
            .reservation
            .as_ref()
            .is_some_and(|reservation| reservation.operation == job.operation && reservation.epoch == job.epoch);
        if !ours {
            return Err(StoreError::Unreadable(format!("the reservation of {} is not ours", read.id)).into());
        }
        match outcome {
            JobOutcome::Done(produced) if job.during == During::Destroy => {
                self.report_destroyed(caller, claimed, read, produced).await
            }
            JobOutcome::Done(produced) => match refuse_large(&produced.outputs) {
                None => self.report_made(caller, claimed, job, read, produced).await,
                Some(failure) => self.report_failed(caller, claimed, job, read, failure, ResourceEvent::Failed).await,
            },
            JobOutcome::WouldReplace(objects) => {
                let detail = format!(
                    "the plan for {} deletes or replaces {}; say allowReplace: [{:?}] to let it",
                    read.name,
                    objects.join(", "),
                    claimed.operation.resource
                );
                let failure = Failure { during: Some(job.during), ..Failure::new(Code::WouldReplace, detail) };
                let event = if job.was_active { ResourceEvent::Kept } else { ResourceEvent::Failed };
                self.report_failed(caller, claimed, job, read, failure, event).await
            }
            JobOutcome::Failed(failure) => {
                let failure = Failure { during: Some(job.during), ..failure.clone() };
                self.report_failed(caller, claimed, job, read, failure, ResourceEvent::Failed).await
            }
            JobOutcome::Interrupted => self.report_interrupted(caller, claimed).await,
        }
    }

    async fn report_made(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        job: &Job,
        read: Versioned<Resource>,
        produced: &Produced,
    ) -> Result<(), Error> {
        let id = read.id;
        let mut operation = Operation { changes: produced.changes, ..claimed.operation.value.clone() };
        let (shown, hidden): (BTreeMap<_, _>, BTreeMap<_, _>) =
            produced.outputs.iter().partition(|(_, (_, sensitive))| !sensitive);
        let values = hidden.iter().map(|(name, (value, _))| ((*name).clone(), value.clone())).collect();
        let object = self.hide(format!("resources/{id}/outputs/{}-{}", job.operation, job.epoch), values).await?;
        operation.pending_objects.extend(object.clone());
        let outputs = Outputs {
            resource: id,
            values: shown.into_iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect(),
            sensitive: hidden.into_keys().cloned().collect(),
            object,
        };
        let items = [Item::Outputs(id), Item::Parameters(id)];
        let mut batch = self.batch(caller.organisation(), items.to_vec()).await?;
        let before: Option<Versioned<Outputs>> = batch.take(&items[0])?;
        let stored: Option<Versioned<Parameters>> = batch.take(&items[1])?;

        let dropped: Vec<ResourceId> =
            read.depends_on.iter().filter(|id| !job.depends_on.contains(id)).copied().collect();
        let mut draft = self.draft(caller, Some(job.deployment));
        let edges = self.edges(caller, claimed, &mut draft, &read, &dropped).await?;
        draft.put(before.as_ref(), outputs);
        if let Some(parameters) = &job.parameters {
            draft.put(stored.as_ref(), parameters.clone());
        }
        let mut resource = read.value.clone();
        resource.take(ResourceEvent::Settled, draft.now())?;
        resource.version = Some(job.template.version.clone());
        resource.reservation = None;
        draft.append(claimed, edges);
        let (effect, action) = match job.during {
            During::Create => (Effect::Created, "resource.created"),
            During::Update | During::Destroy => (Effect::Updated, "resource.updated"),
        };
        draft.audit_resource(&resource, action);
        draft.update(&read, resource);
        draft.succeed(claimed, operation, effect)?;
        draft.commit().await
    }

    async fn report_destroyed(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        read: Versioned<Resource>,
        produced: &Produced,
    ) -> Result<(), Error> {
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let edges = self.edges(caller, claimed, &mut draft, &read, &read.depends_on).await?;
        self.erase(caller, &mut draft, &read).await?;
        draft.append(claimed, edges);
        let operation = Operation { changes: produced.changes, ..claimed.operation.value.clone() };
        draft.succeed(claimed, operation, Effect::Destroyed)?;
        draft.commit().await
    }

    /// Writes that a resource is gone, and removes everything that belongs to it.
    pub(crate) async fn erase(
        &self,
        caller: &Caller,
        draft: &mut Draft<'_, P>,
        read: &Versioned<Resource>,
    ) -> Result<(), Error> {
        let organisation = caller.organisation();
        let id = read.id;
        let consumers: Vec<Versioned<Consumer>> = self.list_all(organisation, &Set::Consumers(id)).await?;
        let mut items = vec![
            Item::Identity(read.identity.clone()),
            Item::Resident(read.environment.clone(), id),
            Item::Outputs(id),
            Item::Parameters(id),
        ];
        items.extend(read.candidacies().map(|key| Item::Candidate(key, read.created_at, id)));
        for pool in read.pool.iter() {
            items.extend([true, false].map(|free| Item::Member(pool.clone(), free, id)));
        }
        items.extend(consumers.iter().filter_map(|consumer| match &consumer.key {
            ConsumerKey::Workload(key) => Some(Item::Holding(key.clone())),
            ConsumerKey::Resource { .. } | ConsumerKey::Api { .. } | ConsumerKey::Pool(_) => None,
        }));
        let found = self.records.get_many(organisation, &items).await?;
        for one in found.into_iter().flatten() {
            let of_another = match &one.value {
                Record::Identified(identified) => identified.resource != id,
                Record::Holding(holding) => holding.resource != id,
                _ => false,
            };
            if !of_another {
                draft.remove(&one);
            }
        }
        for consumer in &consumers {
            draft.delete(consumer);
            if let ConsumerKey::Resource { resource } = &consumer.key
                && let Some(dependent) = self.read::<Resource>(organisation, Item::Resource(*resource)).await?
            {
                draft.update(&dependent, without(&dependent, id));
            }
        }
        let mut resource = read.value.clone();
        resource.take(ResourceEvent::Destroyed, draft.now())?;
        resource.reservation = None;
        (resource.consumers, resource.dependents) = (0, 0);
        draft.audit_resource(&resource, "resource.destroyed");
        draft.update(read, resource);
        Ok(())
    }

    async fn report_failed(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        job: &Job,
        read: Versioned<Resource>,
        failure: Failure,
        event: ResourceEvent,
    ) -> Result<(), Error> {
        let mut draft = self.draft(caller, Some(job.deployment));
        let mut resource = read.value.clone();
        resource.take(event, draft.now())?;
        resource.reservation = None;
        if event == ResourceEvent::Failed {
            draft.audit_resource(&resource, "resource.failed");
        }
        draft.update(&read, resource);
        draft.fail(claimed, claimed.operation.value.clone(), failure)?;
        draft.commit().await
    }

    /// The releases that remove a resource's edges to what it depends on no more. Until they have run the edges stay, marked
    /// as leaving. Where the deployment itself is about to release one of those, that waits for the edge.
    pub(crate) async fn edges(
        &self,
        caller: &Caller,
        claimed: &Claimed,
        draft: &mut Draft<'_, P>,
        resource: &Resource,
        dropped: &[ResourceId],
    ) -> Result<Vec<Appended>, Error> {
        let organisation = caller.organisation();
        let waiting: Vec<Item> =
            claimed.operation.dependents.iter().map(|number| Item::Operation(claimed.deployment.id, *number)).collect();
        let waiting = self.read_all::<Operation>(organisation, &waiting).await?;
        let mut waiting: Vec<Versioned<Operation>> =
            waiting.into_iter().flatten().filter(|operation| operation.status == OperationStatus::Waiting).collect();
        let key = ConsumerKey::Resource { resource: resource.id };
        let items: Vec<Item> = dropped.iter().map(|id| Item::Consumer(*id, key.clone())).collect();
        for edge in self.read_all::<Consumer>(organisation, &items).await?.into_iter().flatten() {
            draft.update(&edge, Consumer { leaving: Some(claimed.operation.id), ..edge.value.clone() });
        }
        let items: Vec<Item> = dropped.iter().map(|id| Item::Resource(*id)).collect();
        let dependencies = self.read_all::<Resource>(organisation, &items).await?;
        Ok(dependencies
            .into_iter()
            .flatten()
            .map(|dependency| {
                let same = |operation: &Versioned<Operation>| match &operation.request {
                    Request::Release(request) => request.resource == dependency.id,
                    Request::Acquire(_) => false,
                };
                let before = waiting.iter().position(same).map(|index| waiting.swap_remove(index));
                Appended {
                    name: dependency.name.clone(),
                    kind: dependency.template.kind().to_owned(),
                    request: ReleaseRequest { resource: dependency.id, consumer: Some(key.clone()) },
                    before,
                }
            })
            .collect())
    }

    /// Gives the operation back; the next claim goes on from the stored state.
    async fn report_interrupted(&self, caller: &Caller, claimed: &Claimed) -> Result<(), Error> {
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let mut operation = claimed.operation.value.clone();
        operation.take(OperationEvent::Returned, draft.now())?;
        draft.wake(operation.deployment, operation.number);
        draft.delete(&claimed.lease);
        draft.update(&claimed.operation, operation);
        draft.commit().await
    }
}

fn refuse_large(outputs: &BTreeMap<String, (Value, bool)>) -> Option<Failure> {
    let sizes: Vec<(&String, usize)> =
        outputs.iter().map(|(name, (value, _))| (name, value.to_string().len())).collect();
    if let Some((name, size)) = sizes.iter().find(|(_, size)| *size > MAX_OUTPUT) {
        return Some(Failure::new(
            Code::OutputTooLarge,
            format!("the output {name} has {size} bytes; {MAX_OUTPUT} are allowed"),
        ));
    }
    let total: usize = sizes.iter().map(|(_, size)| size).sum();
    (total > MAX_OUTPUTS).then(|| {
        Failure::new(Code::OutputTooLarge, format!("the outputs have {total} bytes; {MAX_OUTPUTS} are allowed"))
    })
}

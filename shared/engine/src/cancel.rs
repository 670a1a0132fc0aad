//! Cancelling: nothing that waits is started, what runs is stopped, and what the deployment made is let go of.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::access::Right;
use conductor_domain::consumer::{Consumer, ConsumerKey, Holding, HoldingKey};
use conductor_domain::deployment::{
    Cancel, CancelOutcome, Deployment, DeploymentEvent, DeploymentKind, DeploymentStatus, Ending, Leftover, Releases,
    Rollback, ending,
};
use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_domain::log::Archive;
use conductor_domain::operation::{
    Action, Effect, Failure, Lease, Operation, OperationEvent, OperationStatus, ReleaseRequest, Request, StopOrder,
};
use conductor_domain::principal::Caller;
use conductor_domain::resource::Resource;
use conductor_domain::{Code, Refusal};
use jiff::SignedDuration;

use crate::log::{nothing_said, shorten};
use crate::plan::rollback_release;
use crate::port::{Clock, Ports, Versioned, Wake};
use crate::record::{Item, Open, Set, Subject};
use crate::settle::removes_edge;
use crate::start::{counts, used};
use crate::{Engine, Error};

/// How long after the first request a cancel may be forced: terraform stores its state within this, as a rule.
const FORCE_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// Operations that are ended in one commit: each is itself, its marker and its audit event.
const STOPPED_AT_ONCE: usize = 30;
/// Releases that are appended in one commit: each is an operation and its marker.
const APPENDED_AT_ONCE: usize = 40;
/// The longest that is said of one thing that a cancel leaves, in bytes: there may be hundreds in one record.
const MAX_LEFTOVER: usize = 200;

/// A request to stop a deployment.
#[derive(Debug, Clone, Copy, Default)]
pub struct CancelRequest {
    /// What is to become of what the deployment made.
    pub rollback: Rollback,
    /// Kills what does not stop.
    pub force: bool,
}

/// Whether a cancel leaves an operation alone: the rollback's own, and what removes an edge of a thing that is no more.
pub(crate) fn goes_on(cancel: &Cancel, operation: &Operation) -> bool {
    cancel.rolls_back_after.is_some_and(|planned| operation.number > planned) || removes_edge(operation)
}

/// True where a cancelled deployment wants this operation stopped.
pub(crate) fn is_stopped(deployment: &Deployment, operation: &Operation) -> bool {
    deployment.cancel.as_ref().is_some_and(|cancel| !goes_on(cancel, operation))
}

/// Why an operation was stopped.
pub(crate) fn stopped() -> Failure {
    Failure::new(Code::Cancelled, Code::Cancelled.title())
}

impl<P: Ports> Engine<P> {
    /// Stops a deployment. The second request may force it; the same request again changes nothing.
    pub async fn cancel(&self, caller: &Caller, id: DeploymentId, request: CancelRequest) -> Result<(), Error> {
        let mut tries = self.tries();
        loop {
            match self.try_cancel(caller, id, request).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                Err(error) => return Err(error),
                Ok(wakes) => {
                    self.send(&wakes).await;
                    return Ok(());
                }
            }
        }
    }

    async fn try_cancel(&self, caller: &Caller, id: DeploymentId, request: CancelRequest) -> Result<Vec<Wake>, Error> {
        let read = self.read::<Deployment>(caller.organisation(), Item::Deployment(id)).await?;
        let read =
            read.ok_or_else(|| Refusal::new(Code::DeploymentNotFound, format!("there is no deployment {id}")))?;
        caller.demand(Right::Deploy, Some(&read.lane.environment))?;
        if read.status.is_final() {
            let detail = format!("the deployment has ended: {:?}", read.status);
            return Err(Refusal::new(Code::DeploymentFinished, detail).into());
        }
        let now = self.clock.now();
        let mut deployment = read.value.clone();
        let forced_early = match &mut deployment.cancel {
            Some(cancel) if request.force => {
                cancel.forced_at.get_or_insert(now);
                now < cancel.requested_at + FORCE_AFTER
            }
            Some(_) => false,
            None => {
                deployment.cancel = Some(Cancel {
                    requested_at: now,
                    requested_by: caller.principal.id.clone(),
                    rollback: request.rollback,
                    forced_at: None,
                    rolls_back_after: None,
                    outcome: None,
                    left: Vec::new(),
                });
                request.force
            }
        };
        if forced_early {
            let detail =
                "force is possible 30 seconds after the first request; what runs is given time to store its state";
            return Err(Refusal::new(Code::ForceTooSoon, detail).into());
        }
        if deployment.status == DeploymentStatus::Pending && deployment.plan.is_none() {
            if let Some(cancel) = &mut deployment.cancel {
                cancel.outcome = Some(CancelOutcome::Clean);
            }
            deployment.take(DeploymentEvent::Cancelled, now)?;
            deployment.error = Some(stopped());
            deployment.log = Some(Archive::default());
            return self.end(caller, &read, deployment).await;
        }
        if deployment != read.value {
            if deployment.releases == Releases::Undecided && deployment.status == DeploymentStatus::InProgress {
                deployment.releases = Releases::Skip;
            }
            let mut draft = self.draft(caller, Some(id));
            let action = if request.force { "deployment.cancelForced" } else { "deployment.cancelRequested" };
            draft.audit(Subject::Deployment(id), action, None);
            draft.update(&read, deployment);
            draft.commit().await?;
        }
        self.settle_whole(caller, id).await
    }

    /// Moves a cancelled deployment on. `whole`: looks at every operation.
    pub(crate) async fn settle_cancelled(
        &self,
        caller: &Caller,
        mut deployment: Versioned<Deployment>,
        cancel: &Cancel,
        whole: bool,
    ) -> Result<Vec<Wake>, Error> {
        let (organisation, id) = (caller.organisation(), deployment.id);
        let open: Vec<Versioned<Open>> = self.list_all(organisation, &Set::Open(id)).await?;
        if !open.is_empty() && !whole {
            return Ok(Vec::new());
        }
        if deployment.releases == Releases::Undecided {
            let mut draft = self.draft(caller, Some(id));
            deployment = draft.update(&deployment, Deployment { releases: Releases::Skip, ..deployment.value.clone() });
            draft.commit().await?;
        }
        if !open.is_empty() {
            return self.stop_operations(caller, &deployment, cancel, open).await;
        }
        let operations: Vec<Versioned<Operation>> = self.list_all(organisation, &Set::Operations(id)).await?;
        let made = self.made_by(caller, &deployment).await?;
        let planned = cancel.rolls_back_after.unwrap_or(deployment.operations);
        let end = ending(operations.iter().filter(|o| o.number <= planned).map(|o| o.status));
        if end != Ending::Succeeded && cancel.rollback == Rollback::Created {
            let missing = without_release(&operations, planned, &made);
            if !missing.is_empty() {
                self.roll_back(caller, &deployment, planned, missing).await?;
                return Ok(Vec::new());
            }
        }
        if end != Ending::Succeeded {
            self.restore_names(caller, &deployment, &operations).await?;
        }
        let left = leftovers(&operations, planned, &made, cancel.rollback);
        let outcome = match (end, left.is_empty()) {
            (Ending::Succeeded, _) => CancelOutcome::TooLate,
            (_, true) => CancelOutcome::Clean,
            (_, false) => CancelOutcome::Partial,
        };
        let left = if outcome == CancelOutcome::TooLate { Vec::new() } else { left };
        let mut ended = deployment.value.clone();
        ended.cancel = Some(Cancel { outcome: Some(outcome), left, ..cancel.clone() });
        ended.take(DeploymentEvent::Ended(end), self.clock.now())?;
        ended.operation_counts = counts(operations.iter().map(|operation| &operation.value));
        ended.usage = used(operations.iter().map(|operation| &operation.value));
        ended.log = nothing_said(&operations);
        ended.error = match end {
            Ending::Succeeded => None,
            Ending::Cancelled => Some(stopped()),
            Ending::Failed | Ending::TimedOut => operations
                .iter()
                .filter_map(|operation| operation.error.clone())
                .find(|error| error.code != Code::Cancelled),
        };
        self.end(caller, &deployment, ended).await
    }

    /// Ends what has not started, and tells the workers of what runs to stop.
    async fn stop_operations(
        &self,
        caller: &Caller,
        deployment: &Versioned<Deployment>,
        cancel: &Cancel,
        open: Vec<Versioned<Open>>,
    ) -> Result<Vec<Wake>, Error> {
        let (organisation, id) = (caller.organisation(), deployment.id);
        let order = if cancel.forced_at.is_some() { StopOrder::Kill } else { StopOrder::Terminate };
        let items: Vec<Item> = open.iter().map(|open| Item::Operation(id, open.number)).collect();
        let operations = self.read_all::<Operation>(organisation, &items).await?;
        let mut wakes = Vec::new();
        let (mut fresh, mut begun) = (Vec::new(), Vec::new());
        let mut waits = false;
        for (marker, read) in open.iter().zip(operations) {
            let Some(read) = read else { continue };
            if goes_on(cancel, &read) {
                waits |= read.status == OperationStatus::Waiting;
                continue;
            }
            match read.status {
                OperationStatus::Running => {
                    let lease: Option<Versioned<Lease>> = self.read(organisation, Item::Lease(id, read.number)).await?;
                    // Without its lease it is not Running any more.
                    let lease = lease.filter(|lease| lease.epoch == read.epoch).ok_or(Error::Conflict)?;
                    if lease.stop < Some(order) {
                        let mut draft = self.draft(caller, Some(id));
                        draft.update(&lease, Lease { stop: Some(order), ..lease.value.clone() });
                        draft.commit().await?;
                    }
                }
                OperationStatus::Waiting | OperationStatus::Ready if read.epoch > 0 => begun.push(read),
                OperationStatus::Waiting | OperationStatus::Ready => fresh.push((marker, read)),
                OperationStatus::Succeeded
                | OperationStatus::Failed
                | OperationStatus::Cancelled
                | OperationStatus::TimedOut
                | OperationStatus::Skipped => {}
            }
        }
        for some in fresh.chunks(STOPPED_AT_ONCE) {
            let mut draft = self.draft(caller, Some(id));
            for (marker, read) in some {
                // Those that wait for it are stopped with it.
                let mut operation = Operation { settled: true, ..read.value.clone() };
                draft.end_badly(&mut operation, OperationEvent::Cancelled, stopped())?;
                draft.delete(*marker);
                draft.update(read, operation);
            }
            draft.commit().await?;
        }
        for read in begun {
            let event = OperationEvent::Cancelled;
            wakes.extend(Box::pin(self.end_outside(caller, &read, None, event, stopped())).await?);
        }
        if waits {
            let all: Vec<Versioned<Operation>> = self.list_all(organisation, &Set::Operations(id)).await?;
            wakes.extend(Box::pin(self.advance_all(caller, deployment, &all)).await?);
        }
        if !fresh.is_empty() {
            wakes.extend(Box::pin(self.settle_deployment(caller, id)).await?);
        }
        Ok(wakes)
    }

    /// Appends releases for what the deployment made; some at a time.
    async fn roll_back(
        &self,
        caller: &Caller,
        deployment: &Versioned<Deployment>,
        planned: u32,
        missing: Vec<&Holding>,
    ) -> Result<(), Error> {
        let mut current = deployment.clone();
        for some in missing.chunks(APPENDED_AT_ONCE) {
            let mut draft = self.draft(caller, Some(deployment.id));
            let mut changed = current.value.clone();
            if let Some(Cancel { rolls_back_after: after @ None, .. }) = &mut changed.cancel {
                *after = Some(planned);
                let detail = format!("{} resources", missing.len());
                draft.audit(Subject::Deployment(deployment.id), "deployment.rollback", Some(detail));
            }
            for holding in some {
                changed.operations += 1;
                let (now, fresh) = (draft.now(), draft.fresh_id());
                let operation = rollback_release(&changed, changed.operations, holding, now, fresh);
                draft.wake(&operation);
                draft.create(Open { deployment: deployment.id, number: operation.number });
                draft.create(operation);
            }
            current = draft.update(&current, changed);
            draft.commit().await?;
        }
        Ok(())
    }

    /// Gives what was held before its name again, where what took its place under that name is gone.
    async fn restore_names(
        &self,
        caller: &Caller,
        deployment: &Deployment,
        operations: &[Versioned<Operation>],
    ) -> Result<(), Error> {
        let held = self.held_by(caller, deployment).await?;
        for from in &held {
            let displaced = from.key.resource.rsplit_once('~').filter(|(name, by)| {
                let ours = operations.iter().any(|operation| operation.id.to_string() == *by);
                ours && held.iter().all(|other| other.key.resource != *name)
            });
            let Some((name, _)) = displaced else { continue };
            let key = HoldingKey { resource: name.to_owned(), ..from.key.clone() };
            let consumer = Item::Consumer(from.resource, ConsumerKey::Workload(from.key.clone()));
            let resource = Item::Resource(from.resource);
            let mut batch = self.batch(caller.organisation(), vec![consumer.clone(), resource.clone()]).await?;
            let (Some(consumer), Some(resource)) =
                (batch.take::<Consumer>(&consumer)?, batch.take::<Resource>(&resource)?)
            else {
                continue;
            };
            let mut draft = self.draft(caller, Some(deployment.id));
            draft.delete(from);
            draft.create(Holding { key: key.clone(), ..from.value.clone() });
            draft.delete(&consumer);
            let key = ConsumerKey::Workload(key);
            draft.create(Consumer { key, leaving: None, ..consumer.value.clone() });
            draft.audit_resource(&resource, "resource.moved");
            draft.touch(&resource);
            draft.commit().await?;
        }
        Ok(())
    }

    /// What the workload holds because of this deployment: what a rollback lets go of.
    pub async fn made_by(&self, caller: &Caller, deployment: &Deployment) -> Result<Vec<Holding>, Error> {
        let held = self.held_by(caller, deployment).await?;
        Ok(held.into_iter().map(|held| held.value).filter(|held| held.deployment == deployment.id).collect())
    }

    /// What the workload of a file holds.
    async fn held_by(&self, caller: &Caller, deployment: &Deployment) -> Result<Vec<Versioned<Holding>>, Error> {
        let Some(application) = deployment.lane.application_name().filter(|_| deployment.kind == DeploymentKind::Apply)
        else {
            return Ok(Vec::new());
        };
        let environment = deployment.lane.environment.clone();
        let set = Set::Holdings(environment, application.clone(), deployment.workload.clone());
        Ok(self.list_all(caller.organisation(), &set).await?)
    }
}

/// The consumers that an operation of the rollback lets go of.
fn rolled_back(operations: &[Versioned<Operation>], planned: u32) -> BTreeMap<&HoldingKey, &Operation> {
    let own = operations.iter().filter(|operation| operation.number > planned);
    own.filter_map(|operation| match &operation.request {
        Request::Release(ReleaseRequest { consumer: Some(ConsumerKey::Workload(key)), .. }) => {
            Some((key, &operation.value))
        }
        _ => None,
    })
    .collect()
}

/// What has to be let go of yet. What the deployment has let go of under another name was there before it, and stays.
fn without_release<'h>(operations: &[Versioned<Operation>], planned: u32, made: &'h [Holding]) -> Vec<&'h Holding> {
    let known = rolled_back(operations, planned);
    let there = had_before(operations, planned);
    made.iter().filter(|held| !known.contains_key(&held.key) && !there.contains(&held.resource)).collect()
}

/// Resources that the workload had under another name.
fn had_before(operations: &[Versioned<Operation>], planned: u32) -> BTreeSet<ResourceId> {
    let done = operations.iter().filter(|o| o.number <= planned && o.status == OperationStatus::Succeeded);
    done.filter_map(|operation| match &operation.request {
        Request::Release(ReleaseRequest { resource, consumer: Some(ConsumerKey::Workload(_)) }) => Some(*resource),
        Request::Release(_) | Request::Acquire(_) => None,
    })
    .collect()
}

/// What a cancelled deployment leaves of what it made or was at.
fn leftovers(operations: &[Versioned<Operation>], planned: u32, made: &[Holding], rollback: Rollback) -> Vec<Leftover> {
    let known = rolled_back(operations, planned);
    let there = had_before(operations, planned);
    let mut left: Vec<Leftover> = made
        .iter()
        .map(|holding| {
            let detail = match (known.get(&holding.key).and_then(|operation| operation.error.as_ref()), rollback) {
                (Some(error), _) => {
                    let mut detail = format!("its release did not succeed: {}", error.detail);
                    shorten(&mut detail, MAX_LEFTOVER);
                    detail
                }
                (None, Rollback::None) => "no rollback was asked for".to_owned(),
                (None, Rollback::Created) if there.contains(&holding.resource) => {
                    "it was there before, under another name".to_owned()
                }
                (None, Rollback::Created) => "its release did not succeed".to_owned(),
            };
            Leftover { resource: holding.key.resource.clone(), resource_id: holding.resource, detail }
        })
        .collect();
    let seen: BTreeSet<_> = made.iter().map(|holding| holding.resource).collect();
    let interrupted = operations.iter().filter(|operation| {
        let begun = operation.attempts > 0 && operation.status != OperationStatus::Succeeded;
        operation.number <= planned && begun
    });
    let gone = known.values().filter(|operation| operation.effect != Some(Effect::Retained));
    let rolled_back: BTreeSet<_> = gone.filter_map(|operation| operation.resource_id).collect();
    left.extend(interrupted.filter_map(|operation| {
        let resource_id = operation.resource_id.filter(|id| !seen.contains(id) && !rolled_back.contains(id))?;
        let what = match operation.action() {
            Action::Acquire => "its change was interrupted",
            Action::Release => "its destruction was interrupted",
        };
        Some(Leftover { resource: operation.resource.clone(), resource_id, detail: what.to_owned() })
    }));
    left
}

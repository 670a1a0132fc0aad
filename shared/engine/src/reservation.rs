//! Reservations: which operation alone may run terraform for a resource, until when a terraform of it may live, and how
//! they end where the operation does not end them itself.

use std::collections::BTreeSet;

use conductor_domain::operation::{ExecutorKind, Failure, Lease, Operation, OperationEvent, WaitingFor, Warning};
use conductor_domain::principal::Caller;
use conductor_domain::resource::{
    LeftBehind, MAX_OBJECTS, Reservation, Resource, ResourceEvent, ResourceStatus, Waiter,
};
use conductor_domain::template::TemplateVersion;
use conductor_domain::{Code, Refusal};
use jiff::{SignedDuration, Timestamp};

use crate::claim::Claimed;
use crate::commit::Draft;
use crate::mutant::Mutant;
use crate::port::{Ports, Versioned, Wake};
use crate::record::{Item, Open, Subject};
use crate::work::Step;
use crate::{Engine, Error};

/// Credentials are taken within this after a reservation; later ones are not used.
const UNTIL_CREDENTIALS: SignedDuration = SignedDuration::from_secs(20);

/// What a reservation of an operation that is not carried on by its worker becomes.
pub(crate) enum Left {
    /// It had none.
    Nothing,
    /// Nobody has the resource any more.
    Free(Resource),
    /// A terraform of it may live: nobody may have the resource before then.
    Quarantined(Resource, Timestamp),
}

impl<P: Ports> Engine<P> {
    /// The reservation of a claim; `before` is the resource as it stood.
    pub(crate) fn reservation(
        &self,
        claimed: &Claimed,
        before: &Resource,
        now: Timestamp,
        deadline: Option<Timestamp>,
    ) -> Reservation {
        let timings = &self.settings.timings;
        let session_ends = now + UNTIL_CREDENTIALS + timings.session;
        let operation = claimed.operation.id;
        let again = before.reservation.as_ref().filter(|reservation| reservation.operation == operation);
        Reservation {
            deployment: claimed.deployment.id,
            number: claimed.operation.number,
            operation,
            epoch: claimed.operation.epoch,
            dead_after: deadline.map_or(session_ends, |deadline| deadline.max(session_ends)) + timings.quarantine,
            untouched: before.status == ResourceStatus::Active || again.is_some_and(|again| again.untouched),
        }
    }

    /// Whether an operation has to be carried out by another kind of worker than the one that has it.
    pub(crate) fn hands_over(&self, claimed: &Claimed, template: &TemplateVersion) -> bool {
        !self.imagining
            && template.executor == ExecutorKind::Worker
            && claimed.operation.executor == ExecutorKind::Lambda
    }

    /// Gives a claimed operation to the workers.
    pub(crate) async fn hand_over(&self, caller: &Caller, claimed: &Claimed) -> Result<Step, Error> {
        if !self.settings.workers {
            let detail = format!("{} wants a worker, and the stack has none", claimed.operation.resource);
            return Err(Refusal::new(Code::ExecutorUnavailable, detail).into());
        }
        let mut draft = self.draft(caller, Some(claimed.deployment.id));
        let mut operation = claimed.operation.value.clone();
        operation.take(OperationEvent::Returned, draft.now())?;
        operation.executor = ExecutorKind::Worker;
        draft.charge(claimed, &mut operation);
        draft.wake(&operation);
        draft.end_claim(claimed, operation);
        draft.commit().await?;
        Ok(Step::Waits)
    }

    /// What becomes of an operation's reservation where its worker is gone, or it ends from outside. `operation` is as it
    /// stood, `lease` the one that its worker had.
    pub(crate) async fn left(
        &self,
        caller: &Caller,
        operation: &Operation,
        lease: Option<&Lease>,
        now: Timestamp,
    ) -> Result<(Option<Versioned<Resource>>, Left), Error> {
        let Some(id) = operation.resource_id else { return Ok((None, Left::Nothing)) };
        let read: Option<Versioned<Resource>> = self.read(caller.organisation(), Item::Resource(id)).await?;
        let ours = |resource: &Resource| resource.reservation.as_ref().is_some_and(|r| r.operation == operation.id);
        let Some(read) = read.filter(|read| ours(read)) else { return Ok((None, Left::Nothing)) };
        let mut resource = read.value.clone();
        let Some(mut reservation) = resource.reservation.clone() else { return Ok((None, Left::Nothing)) };
        let lease = lease.filter(|lease| lease.terraform_started_at.is_some());
        if let Some(lease) = lease {
            reservation.untouched = false;
            // What the run before that one left has perhaps not been looked for yet.
            let before = resource.left_behind.take().map(|left| left.begun).unwrap_or_default();
            let begun: BTreeSet<String> = before.into_iter().chain(lease.begun.clone()).collect();
            resource.miss(&[lease.unstored.as_slice(), &lease.replaced].concat(), operation.deployment, now);
            resource.left_behind = Some(LeftBehind {
                operation: operation.id,
                epoch: lease.epoch,
                at: now,
                begun: begun.into_iter().take(MAX_OBJECTS).collect(),
            });
        }
        let alive = lease.filter(|lease| lease.may_have_left_terraform() && !Mutant::TerraformBeforeDeadAfter.lives());
        if let Some(renewed) = alive.and_then(|lease| lease.dead_after) {
            reservation.dead_after = reservation.dead_after.max(renewed + self.settings.timings.quarantine);
        }
        let until = reservation.dead_after;
        resource.reservation = Some(reservation);
        let waits = alive.is_some() || operation.waiting_for == Some(WaitingFor::Lock);
        let left = if waits { Left::Quarantined(resource, until) } else { Left::Free(resource) };
        Ok((Some(read), left))
    }

    /// Ends an operation whatever its status, and lets go of what it has: its lease, its place among those that wait for
    /// a resource, and its reservation, unless a terraform of it may live. `over`: only if this is still its lease, because
    /// it has ended.
    pub(crate) async fn end_outside(
        &self,
        caller: &Caller,
        read: &Versioned<Operation>,
        over: Option<&Versioned<Lease>>,
        event: OperationEvent,
        failure: Failure,
    ) -> Result<Vec<Wake>, Error> {
        let (id, number) = (read.deployment, read.number);
        let items = [Item::Open(id, number), Item::Lease(id, number)];
        let waiter = read.awaits.map(|resource| Item::Waiter(resource, read.entered_at, id, number));
        let awaited = read.awaits.map(Item::Resource);
        let all: Vec<Item> = items.iter().cloned().chain(waiter.clone()).chain(awaited.clone()).collect();
        let mut batch = self.batch(caller.organisation(), all).await?;
        let lease: Option<Versioned<Lease>> = batch.take(&items[1])?;
        if over.is_some_and(|over| lease.as_ref().is_none_or(|lease| lease.version != over.version)) {
            return Err(Error::Conflict);
        }
        let mut draft = self.draft(caller, Some(id));
        let now = draft.now();
        let (resource, left) = self.left(caller, read, lease.as_deref(), now).await?;
        let mut operation = read.value.clone();
        draft.tell_missed(&mut operation, resource.as_ref(), &left);
        draft.end_badly(&mut operation, event, failure)?;
        draft.update(read, operation);
        if let Some(marker) = batch.take::<Open>(&items[0])? {
            draft.delete(&marker);
        }
        if let Some(lease) = &lease {
            draft.delete(lease);
        }
        if let (Some(waiter), Some(awaited)) =
            (batch.take_if::<Waiter>(waiter.as_ref())?, batch.take_if::<Resource>(awaited.as_ref())?)
        {
            draft.delete(&waiter);
            let waiters = awaited.waiters.saturating_sub(1);
            draft.update(&awaited, Resource { waiters, ..awaited.value.clone() });
        }
        let freed = draft.let_go(resource.as_ref(), left)?;
        draft.commit().await?;
        let mut wakes = match resource {
            Some(resource) if freed => self.settle_resource(caller, resource.id).await?,
            _ => Vec::new(),
        };
        wakes.extend(self.settle_after(caller, id, number).await?);
        Ok(wakes)
    }
}

/// Says that objects may exist although no state has them.
pub(crate) fn unstored_warning(objects: &[&str]) -> Warning {
    let detail = format!("these may exist although no state has them; look for them: {}", objects.join(", "));
    Warning { code: Code::StateMayBeIncomplete, detail }
}

/// A resource whose reservation has ended without success.
pub(crate) fn freed(mut resource: Resource, now: Timestamp) -> Result<Resource, Error> {
    let untouched = resource.reservation.as_ref().is_some_and(|reservation| reservation.untouched);
    resource.take(if untouched { ResourceEvent::Kept } else { ResourceEvent::Failed }, now)?;
    resource.reservation = None;
    Ok(resource)
}

impl<P: Ports> Draft<'_, P> {
    /// Tells what a run that was left behind may have made without storing it, where that is known by now.
    pub(crate) fn tell_missed(&mut self, operation: &mut Operation, read: Option<&Versioned<Resource>>, left: &Left) {
        let (Some(read), Left::Free(after) | Left::Quarantined(after, _)) = (read, left) else { return };
        let known: BTreeSet<&String> = read.unstored.iter().flat_map(|unstored| &unstored.objects).collect();
        let now = after.unstored.iter().flat_map(|unstored| &unstored.objects);
        let new: Vec<&str> = now.filter(|object| !known.contains(object)).map(String::as_str).collect();
        if !new.is_empty() {
            let warning = unstored_warning(&new);
            self.audit(Subject::Resource(read.id), "resource.stateMayBeIncomplete", Some(warning.detail.clone()));
            operation.warnings.push(warning);
        }
    }

    /// Ends the reservation of an operation that ends from outside. True where the resource is free, and has to be
    /// settled.
    pub(crate) fn let_go(&mut self, read: Option<&Versioned<Resource>>, left: Left) -> Result<bool, Error> {
        let (Some(read), free) = (read, matches!(left, Left::Free(_))) else { return Ok(false) };
        match left {
            Left::Nothing => {}
            Left::Free(resource) => {
                let resource = freed(resource, self.now())?;
                if resource.status == ResourceStatus::Failed {
                    self.audit_resource(&resource, "resource.failed");
                }
                self.update(read, resource);
            }
            Left::Quarantined(resource, _) if resource == read.value => {}
            Left::Quarantined(resource, _) => {
                self.update(read, resource);
            }
        }
        Ok(free)
    }
}

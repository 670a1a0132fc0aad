//! Sweeping: whatever is due is settled. Lost messages, dead workers and time that is over are all the same thing.

use conductor_domain::Code;
use conductor_domain::deployment::{Deployment, DeploymentStatus};
use conductor_domain::log::{Level, Step};
use conductor_domain::operation::{Failure, Lease, Operation, OperationEvent, OperationStatus, WaitingFor};
use conductor_domain::principal::Caller;
use conductor_domain::resource::Resource;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tracing::{Instrument, Span};

use conductor_domain::name::OrganisationName;

use crate::cancel::{is_stopped, stopped};
use crate::pools::Patience;
use crate::port::{Clock, CommitError, DUE_SHARDS, Ports, Records, Versioned, Wake};
use crate::record::{Item, Record, Subject};
use crate::report::exhausted;
use crate::reservation::{Left, freed};
use crate::{Causes, Engine, Error};

/// Due records of a shard that one sweep looks at; the rest is the next sweep's.
const PER_SHARD: u32 = 50;
/// Records that are settled at a time.
const AT_ONCE: usize = 8;
/// A record that could not be moved on is looked at again after the time that it has stood like this, within these.
const SOONEST: SignedDuration = SignedDuration::from_mins(1);
const LATEST: SignedDuration = SignedDuration::from_mins(15);

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Records that were due.
    pub due: usize,
    /// Wake-ups that were sent.
    pub woken: usize,
    /// Records that could not be settled; each is logged.
    pub failed: usize,
    /// For how many seconds the one that waited longest was overdue.
    pub oldest_due_seconds: u64,
    /// For how many seconds the deployment runs that was started first, of those that were due.
    pub longest_deployment_seconds: u64,
}

impl<P: Ports> Engine<P> {
    /// Settles what is due, in all organisations.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let now = self.clock.now();
        let mut swept = Swept::default();
        for shard in 0..DUE_SHARDS {
            let due = match self.records.due(shard, now, PER_SHARD).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::error!(shard, error = %Causes(&error), "a shard of the due index cannot be read");
                    swept.failed += 1;
                    continue;
                }
            };
            swept.due += due.len();
            for (_, record) in &due {
                let overdue = overdue_seconds(&record.value, now);
                swept.oldest_due_seconds = swept.oldest_due_seconds.max(overdue);
                let runs = runs_seconds(&record.value, now);
                swept.longest_deployment_seconds = swept.longest_deployment_seconds.max(runs);
            }
            let mut settled = futures::stream::iter(due.into_iter().map(|(organisation, record)| {
                let span = span(&record.value.item());
                self.sweep_one(organisation, record).instrument(span)
            }))
            .buffer_unordered(AT_ONCE);
            while let Some(outcome) = settled.next().await {
                match outcome {
                    Ok(woken) => swept.woken += woken,
                    Err(_) => swept.failed += 1,
                }
            }
        }
        Ok(swept)
    }

    async fn sweep_one(&self, organisation: OrganisationName, record: Versioned<Record>) -> Result<usize, Error> {
        // The index may lag behind the record.
        if record.value.due_at().is_none_or(|due_at| due_at > self.clock.now()) {
            return Ok(0);
        }
        let caller = Caller::system(organisation, "sweep");
        let (item, version) = (record.value.item(), record.version.clone());
        let entered = entered_at(&record.value);
        // Its end may be all that is missing, and nothing else is due for that.
        let latest = match &record.value {
            Record::Deployment(deployment) if deployment.status == DeploymentStatus::InProgress => SOONEST,
            _ => LATEST,
        };
        let settled = self.settle_record(&caller, record).await;
        // Postponing fails where settling changed the record, which has its own time then.
        let now = self.clock.now();
        let age = now.duration_since(entered).clamp(SOONEST, latest);
        match self.records.postpone(caller.organisation(), &item, &version, now + age).await {
            Ok(()) | Err(CommitError::Conflict { .. }) => {}
            Err(CommitError::Store(error)) => {
                tracing::warn!(error = %Causes(&error), "a due record could not be postponed")
            }
        }
        let wakes = match settled {
            // Somebody else is at it.
            Err(Error::Conflict) => return Ok(0),
            Err(error) => {
                tell_unsettled(&error);
                return Err(error);
            }
            Ok(wakes) => wakes,
        };
        self.send(&wakes).await;
        Ok(wakes.len())
    }

    async fn settle_record(&self, caller: &Caller, record: Versioned<Record>) -> Result<Vec<Wake>, Error> {
        let Versioned { value, version } = record;
        match value {
            // Its log has to be archived, which can be long: the provisioner has the time and the memory.
            Record::Deployment(deployment) if deployment.status.is_final() => {
                Ok(vec![self.wake_settle(caller, deployment.id)])
            }
            Record::Deployment(deployment) => self.settle_whole(caller, deployment.id).await,
            Record::Operation(value) => self.sweep_operation(caller, Versioned { value, version }).await,
            Record::Lease(value) => self.take_over(caller, Versioned { value, version }).await,
            Record::Resource(value) => self.sweep_resource(caller, Versioned { value, version }).await,
            Record::Pool(pool) => {
                self.settle_pool(caller, &pool.key, Patience::Over).await;
                Ok(Vec::new())
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn sweep_operation(&self, caller: &Caller, operation: Versioned<Operation>) -> Result<Vec<Wake>, Error> {
        let (id, number) = (operation.deployment, operation.number);
        if operation.status.is_final() {
            return self.settle_after(caller, id, number).await;
        }
        let now = self.clock.now();
        if now >= operation.ends_at() {
            let failure = overdue(&operation, now);
            return self.end_outside(caller, &operation, None, OperationEvent::Expired, failure).await;
        }
        if operation.not_before.is_some_and(|at| now < at) {
            return Ok(Vec::new());
        }
        match (operation.status, operation.waiting_for) {
            (OperationStatus::Ready, _) => {
                tracing::warn!(outcome = "wakeUp", "sending a wake-up again");
                Ok(vec![self.wake(caller, &operation)])
            }
            (OperationStatus::Waiting, Some(WaitingFor::Lock)) => {
                let mut ready = operation.value.clone();
                ready.take(OperationEvent::Unblocked, now)?;
                let wake = self.wake(caller, &ready);
                let mut draft = self.draft(caller, Some(id));
                draft.update(&operation, ready);
                draft.commit().await?;
                Ok(vec![wake])
            }
            _ => Ok(Vec::new()),
        }
    }

    /// A lease has ended: its worker is gone. Terraform may start again at once only where it had not started.
    async fn take_over(&self, caller: &Caller, lease: Versioned<Lease>) -> Result<Vec<Wake>, Error> {
        let now = self.clock.now();
        if lease.expires_at > now {
            return Ok(Vec::new());
        }
        let (id, number) = (lease.deployment, lease.operation);
        let items = [Item::Operation(id, number), Item::Deployment(id)];
        let mut batch = self.batch(caller.organisation(), items.to_vec()).await?;
        let read = batch.take::<Operation>(&items[0])?;
        let deployment = batch.take::<Deployment>(&items[1])?;
        let mut draft = self.draft(caller, Some(id));
        draft.delete(&lease);
        let held = read.filter(|read| read.status == OperationStatus::Running && read.epoch == lease.epoch);
        let Some(read) = held else {
            draft.commit().await?;
            return Ok(Vec::new());
        };
        if deployment.is_some_and(|deployment| is_stopped(&deployment, &read)) {
            let wakes = self.end_outside(caller, &read, Some(&lease), OperationEvent::Cancelled, stopped()).await?;
            tell_taken_over(&lease);
            return Ok(wakes);
        }
        if let Some(failure) = exhausted(&read, now) {
            let wakes = self.end_outside(caller, &read, Some(&lease), OperationEvent::Expired, failure).await?;
            tell_taken_over(&lease);
            return Ok(wakes);
        }
        let (resource, left) = self.left(caller, &read, Some(&lease), now).await?;
        let mut operation = read.value.clone();
        operation.steps.push(Step::new(now, Level::Warn, "its worker is gone"));
        draft.tell_missed(&mut operation, resource.as_ref(), &left);
        let mut wakes = Vec::new();
        match &left {
            Left::Quarantined(_, until) => {
                operation.take(OperationEvent::Blocked, now)?;
                operation.waiting_for = Some(WaitingFor::Lock);
                operation.not_before = Some(*until);
            }
            Left::Nothing | Left::Free(_) => {
                operation.take(OperationEvent::Returned, now)?;
                wakes.push(self.wake(caller, &operation));
            }
        }
        // The operation goes on, so the reservation stays in both cases.
        if let (Left::Quarantined(changed, _) | Left::Free(changed), Some(resource)) = (left, &resource)
            && changed != resource.value
        {
            draft.update(resource, changed);
        }
        let detail = format!("{} epoch {}", read.resource, lease.epoch);
        draft.audit(Subject::Deployment(id), "operation.takenOver", Some(detail));
        draft.update(&read, operation);
        draft.commit().await?;
        tell_taken_over(&lease);
        Ok(wakes)
    }

    /// A reservation that has outlived its operation is lifted, and whoever waits goes on.
    async fn sweep_resource(&self, caller: &Caller, read: Versioned<Resource>) -> Result<Vec<Wake>, Error> {
        if let Some(reservation) = &read.reservation {
            let item = Item::Operation(reservation.deployment, reservation.number);
            let operation: Option<Versioned<Operation>> = self.read(caller.organisation(), item).await?;
            let over = operation.is_none_or(|operation| operation.status.is_final());
            if !over || self.clock.now() < reservation.dead_after {
                return Ok(Vec::new());
            }
            let mut draft = self.draft(caller, None);
            let resource = freed(read.value.clone(), draft.now())?;
            draft.audit_resource(&resource, "resource.reservationLifted");
            draft.update(&read, resource);
            draft.commit().await?;
        }
        self.settle_resource(caller, read.id).await
    }
}

/// Why an operation whose time is over is ended.
fn overdue(operation: &Operation, now: Timestamp) -> Failure {
    let name = &operation.resource;
    if now >= operation.expires_at {
        return Failure::new(Code::Expired, format!("{name} did not end by {}", operation.expires_at));
    }
    let (what, minutes) = (operation.waiting_for, operation.limits.waiting_minutes);
    let detail = match what {
        Some(WaitingFor::Lock) => format!("{name} waited {minutes} minutes for a lock"),
        Some(WaitingFor::Resource | WaitingFor::Dependencies) => {
            format!("{name} waited {minutes} minutes for a resource that others work on")
        }
        None => format!("no worker took {name} for {minutes} minutes"),
    };
    Failure::new(Code::WaitedTooLong, detail)
}

/// What is logged about a record says which one.
fn span(item: &Item) -> Span {
    match item {
        Item::Deployment(id) => tracing::info_span!("due", deployment = %id),
        Item::Operation(id, number) | Item::Lease(id, number) => {
            tracing::info_span!("due", deployment = %id, operation = *number)
        }
        Item::Resource(id) => tracing::info_span!("due", resource = %id),
        item => tracing::info_span!("due", record = ?item),
    }
}

/// One whose way was blocked by the store alone has its turn again; the others need a person.
fn tell_unsettled(error: &Error) {
    if error.is_permanent() {
        tracing::error!(outcome = "unsettled", error = %Causes(error), "a due record cannot be settled");
    } else {
        tracing::error!(error = %Causes(error), "a due record was not settled");
    }
}

fn tell_taken_over(lease: &Lease) {
    let (epoch, worker) = (lease.epoch, &lease.worker);
    tracing::warn!(outcome = "takeover", epoch, worker, "a lease has ended, and its operation was taken over");
}

/// Since when somebody should have moved a record on. Deployments and pools are due in turn, also while all is well.
pub(crate) fn overdue_since(record: &Record) -> Option<Timestamp> {
    match record {
        Record::Operation(_) | Record::Lease(_) | Record::Resource(_) => record.due_at(),
        _ => None,
    }
}

fn overdue_seconds(record: &Record, now: Timestamp) -> u64 {
    overdue_since(record).map_or(0, |since| seconds(now.duration_since(since)))
}

/// For how long a deployment has been running.
fn runs_seconds(record: &Record, now: Timestamp) -> u64 {
    match record {
        Record::Deployment(deployment) if deployment.status == DeploymentStatus::InProgress => {
            seconds(now.duration_since(deployment.entered_at))
        }
        _ => 0,
    }
}

fn seconds(duration: SignedDuration) -> u64 {
    u64::try_from(duration.as_secs()).unwrap_or(0)
}

/// Since when a due record has stood as it does.
fn entered_at(record: &Record) -> jiff::Timestamp {
    match record {
        Record::Deployment(r) => r.entered_at,
        Record::Operation(r) => r.entered_at,
        Record::Resource(r) => r.updated_at,
        Record::Pool(r) => r.updated_at,
        Record::Lease(r) => r.expires_at,
        _ => jiff::Timestamp::UNIX_EPOCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::pending;
    use crate::settle::tests::waiting;

    #[test]
    fn what_is_due_in_turn_is_not_overdue() {
        let now = Timestamp::constant(1000, 0);
        let at = |second: i64| Timestamp::constant(second, 0);
        let check = |record: Record, overdue: u64, runs: u64| {
            assert_eq!((overdue_seconds(&record, now), runs_seconds(&record, now)), (overdue, runs), "{record:?}");
        };
        let ready = |entered_at: Timestamp| {
            let (status, expires_at) = (OperationStatus::Ready, at(9000));
            Record::Operation(Operation { status, entered_at, expires_at, waiting_for: None, ..waiting(&[], false) })
        };
        let deployment = |status: DeploymentStatus, entered_at: Timestamp| {
            Record::Deployment(Deployment { status, entered_at, ..pending() })
        };
        // Somebody should have claimed it within 25 seconds.
        check(ready(at(900)), 75, 0);
        check(ready(at(990)), 0, 0);
        check(deployment(DeploymentStatus::InProgress, at(400)), 0, 600);
        check(deployment(DeploymentStatus::Pending, at(400)), 0, 0);
        check(deployment(DeploymentStatus::Succeeded, at(400)), 0, 0);
    }
}

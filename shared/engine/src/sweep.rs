//! Sweeping: whatever is due is settled. Lost messages, dead workers and time that is over are all the same thing.

use conductor_domain::Code;
use conductor_domain::operation::{Failure, Lease, Operation, OperationEvent, OperationStatus, WaitingFor};
use conductor_domain::principal::Caller;
use conductor_domain::resource::Resource;
use futures::StreamExt;
use jiff::SignedDuration;
use serde::Serialize;

use conductor_domain::name::OrganisationName;

use crate::pools::Patience;
use crate::port::{Clock, CommitError, DUE_SHARDS, Ports, Records, Versioned, Wake};
use crate::record::{Item, Open, Record};
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
            let mut settled = futures::stream::iter(
                due.into_iter().map(|(organisation, record)| self.sweep_one(organisation, record)),
            )
            .buffer_unordered(AT_ONCE);
            while let Some(outcome) = settled.next().await {
                match outcome {
                    Ok(woken) => swept.woken += woken,
                    Err(error) => {
                        tracing::error!(error = %Causes(&error), "a due record could not be settled");
                        swept.failed += 1;
                    }
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
        let settled = self.settle_record(&caller, record).await;
        // Postponing fails where settling changed the record, which has its own time then.
        let now = self.clock.now();
        let age = now.duration_since(entered).clamp(SOONEST, LATEST);
        match self.records.postpone(caller.organisation(), &item, &version, now + age).await {
            Ok(()) | Err(CommitError::Conflict { .. }) => {}
            Err(CommitError::Store(error)) => {
                tracing::warn!(error = %Causes(&error), "a due record could not be postponed")
            }
        }
        let wakes = match settled {
            // Somebody else is at it.
            Err(Error::Conflict) => return Ok(0),
            settled => settled?,
        };
        self.send(&wakes).await;
        Ok(wakes.len())
    }

    async fn settle_record(&self, caller: &Caller, record: Versioned<Record>) -> Result<Vec<Wake>, Error> {
        let Versioned { value, version } = record;
        match value {
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
        if self.clock.now() >= operation.expires_at {
            return self.expire(caller, operation).await;
        }
        match operation.status {
            OperationStatus::Ready => {
                tracing::warn!(deployment = %id, operation = number, "sending a wake-up again");
                Ok(vec![self.wake(caller, id, Some(number))])
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Ends an operation whose time is over. What it had reserved stays so until no terraform of it can live.
    async fn expire(&self, caller: &Caller, read: Versioned<Operation>) -> Result<Vec<Wake>, Error> {
        let (id, number) = (read.deployment, read.number);
        let mut operation = read.value.clone();
        operation.take(OperationEvent::Expired, self.clock.now())?;
        let detail = format!("{} did not end by {}", read.resource, read.expires_at);
        operation.error = Some(Failure::new(Code::Expired, detail));
        let items = [Item::Open(id, number), Item::Lease(id, number)];
        let mut batch = self.batch(caller.organisation(), items.to_vec()).await?;
        let mut draft = self.draft(caller, Some(id));
        if let Some(marker) = batch.take::<Open>(&items[0])? {
            draft.delete(&marker);
        }
        if let Some(lease) = batch.take::<Lease>(&items[1])? {
            draft.delete(&lease);
        }
        draft.update(&read, operation);
        draft.commit().await?;
        self.settle_after(caller, id, number).await
    }

    /// A lease has ended: its worker is gone. Terraform may start again at once only where it had not started.
    async fn take_over(&self, caller: &Caller, lease: Versioned<Lease>) -> Result<Vec<Wake>, Error> {
        if lease.expires_at > self.clock.now() {
            return Ok(Vec::new());
        }
        let (id, number) = (lease.deployment, lease.operation);
        let read: Option<Versioned<Operation>> = self.read(caller.organisation(), Item::Operation(id, number)).await?;
        let mut draft = self.draft(caller, Some(id));
        draft.delete(&lease);
        let mut wakes = Vec::new();
        if let Some(read) = read
            && read.status == OperationStatus::Running
            && read.epoch == lease.epoch
        {
            let mut operation = read.value.clone();
            tracing::warn!(deployment = %id, operation = number, epoch = lease.epoch, worker = lease.worker, "a lease has ended");
            if lease.may_have_left_terraform() {
                operation.take(OperationEvent::Blocked, self.clock.now())?;
                operation.waiting_for = Some(WaitingFor::Lock);
            } else {
                operation.take(OperationEvent::Returned, self.clock.now())?;
                wakes.push(self.wake(caller, id, Some(number)));
            }
            let subject = crate::record::Subject::Deployment(id);
            draft.audit(subject, "operation.takenOver", Some(format!("{} epoch {}", read.resource, lease.epoch)));
            draft.update(&read, operation);
        }
        draft.commit().await?;
        Ok(wakes)
    }

    /// A reservation that has outlived its operation is lifted, and whoever waits goes on.
    async fn sweep_resource(&self, caller: &Caller, read: Versioned<Resource>) -> Result<Vec<Wake>, Error> {
        if let Some(reservation) = &read.reservation {
            let item = Item::Operation(reservation.deployment, reservation.number);
            let operation: Option<Versioned<Operation>> = self.read(caller.organisation(), item).await?;
            if operation.is_some_and(|operation| !operation.status.is_final()) {
                return Ok(Vec::new());
            }
            let mut resource = read.value.clone();
            resource.take(conductor_domain::resource::ResourceEvent::Failed, self.clock.now())?;
            resource.reservation = None;
            let mut draft = self.draft(caller, None);
            draft.audit_resource(&resource, "resource.reservationLifted");
            draft.update(&read, resource);
            draft.commit().await?;
        }
        self.settle_resource(caller, read.id).await
    }
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

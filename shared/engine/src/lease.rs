//! The lease of a running operation: extended by heartbeats, and the fence that stops terraform when they fail.

use std::sync::Mutex;
use std::time::Duration;

use conductor_domain::name::OrganisationName;
use conductor_domain::operation::Lease;
use futures::future::{Either, select};
use futures::lock::Mutex as AsyncMutex;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use conductor_domain::principal::Caller;

use crate::port::{Clock, Ports, StoreError, Versioned};
use crate::record::Item;
use crate::{Causes, Engine, Error};

/// How long a lease lasts after a heartbeat: six of them, so that a slow store loses no lease.
pub(crate) const LEASE_TIME: SignedDuration = SignedDuration::from_secs(30);
/// Time between heartbeats.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// How long one heartbeat may take.
const BEAT_TIME: Duration = Duration::from_secs(4);
/// Terraform starts only within this of the sending of a heartbeat that succeeded.
const FRESH: Duration = Duration::from_secs(5);
/// Tries to get such a heartbeat.
const START_TRIES: u32 = 5;
/// After so long without a heartbeat that succeeded, terraform is asked to stop.
const TERMINATE_AFTER: Duration = Duration::from_secs(15);
/// After so long it is killed: five seconds before the lease can have ended.
const KILL_AFTER: Duration = Duration::from_secs(25);
/// How long before the function's deadline terraform is asked to stop, so that it can store its state.
pub(crate) const STOP_BEFORE_DEADLINE: SignedDuration = SignedDuration::from_secs(90);

/// Whether terraform may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// It may.
    No,
    /// It is asked to stop: it stores its state and releases its lock.
    Terminate,
    /// It is stopped.
    Kill,
}

/// Tells whoever runs terraform when it has to stop.
#[derive(Debug, Clone)]
pub struct Control(watch::Receiver<Stop>);

impl Control {
    /// Waits until things are at least this bad; for good if that never happens.
    pub async fn reached(&mut self, stop: Stop) {
        if self.0.wait_for(|now| *now >= stop).await.is_err() {
            futures::future::pending::<()>().await;
        }
    }
}

/// Keeps the lease of one claim while its future is polled.
pub(crate) struct Keeper<'a, P: Ports> {
    engine: &'a Engine<P>,
    organisation: &'a OrganisationName,
    lease: AsyncMutex<Versioned<Lease>>,
    sent: Mutex<Duration>,
    stop: watch::Sender<Stop>,
    stop_at: Timestamp,
}

impl<'a, P: Ports> Keeper<'a, P> {
    pub fn new(engine: &'a Engine<P>, caller: &'a Caller, lease: Versioned<Lease>, deadline: Timestamp) -> Self {
        Self {
            engine,
            organisation: caller.organisation(),
            lease: AsyncMutex::new(lease),
            sent: Mutex::new(engine.clock.monotonic()),
            stop: watch::channel(Stop::No).0,
            stop_at: deadline - STOP_BEFORE_DEADLINE,
        }
    }

    pub fn control(&self) -> Control {
        Control(self.stop.subscribe())
    }

    /// The fence: terraform may start now, right after a heartbeat that says so and that did not take long.
    pub async fn start(&self) -> Result<(), Error> {
        for _ in 0..START_TRIES {
            let sent = self.engine.clock.monotonic();
            let beat = self.beat(|lease| lease.terraform_started_at = Some(lease.heartbeat_at)).await;
            match beat {
                Err(Error::Conflict) => return Err(Error::Conflict),
                Ok(()) if self.engine.clock.monotonic().saturating_sub(sent) < FRESH => return Ok(()),
                Ok(()) => {}
                Err(error) => tracing::warn!(error = %Causes(&error), "a heartbeat failed"),
            }
        }
        self.beat(|lease| lease.terraform_started_at = None).await?;
        Err(StoreError::Unreadable("no heartbeat was fast enough to start terraform".to_owned()).into())
    }

    /// Extends the lease, and changes it. [`Error::Conflict`]: it is not ours any more.
    pub async fn beat(&self, change: impl Fn(&mut Lease) + Send + Sync) -> Result<(), Error> {
        let mut held = self.lease.lock().await;
        let sent = self.engine.clock.monotonic();
        let written = match self.write(&held, &change).await {
            Err(Error::Conflict) => {
                // A write of ours whose answer was lost looks like somebody else's.
                let item = Item::Lease(held.deployment, held.operation);
                let read: Option<Versioned<Lease>> = self.engine.read(self.organisation, item).await?;
                let ours = read.filter(|read| read.epoch == held.epoch && read.worker == held.worker);
                self.write(&ours.ok_or(Error::Conflict)?, &change).await
            }
            done => done,
        }?;
        *held = written;
        self.sent.lock().map_or_else(|poisoned| *poisoned.into_inner() = sent, |mut last| *last = sent);
        Ok(())
    }

    async fn write(&self, read: &Versioned<Lease>, change: &impl Fn(&mut Lease)) -> Result<Versioned<Lease>, Error> {
        let now = self.engine.clock.now();
        let mut lease = Lease { heartbeat_at: now, expires_at: now + LEASE_TIME, ..read.value.clone() };
        change(&mut lease);
        let caller = Caller::system(self.organisation.clone(), "heartbeat");
        let mut draft = self.engine.draft(&caller, Some(lease.deployment));
        let written = draft.update(read, lease);
        draft.commit().await?;
        Ok(written)
    }

    /// Beats until `work` is done.
    pub async fn while_running<T>(&self, work: impl Future<Output = T>) -> T {
        let (work, beats, fence) = (std::pin::pin!(work), std::pin::pin!(self.beats()), std::pin::pin!(self.fence()));
        match select(work, select(beats, fence)).await {
            Either::Left((done, _)) => done,
            Either::Right((_, work)) => work.await,
        }
    }

    async fn beats(&self) {
        loop {
            self.engine.clock.sleep(BEAT_EVERY).await;
            let beat = std::pin::pin!(self.beat(|_| ()));
            let late = std::pin::pin!(self.engine.clock.sleep(BEAT_TIME));
            match select(beat, late).await {
                Either::Left((Err(Error::Conflict), _)) => self.raise(Stop::Terminate),
                Either::Left((Err(error), _)) => tracing::warn!(error = %Causes(&error), "a heartbeat failed"),
                Either::Left((Ok(()), _)) => {}
                Either::Right(_) => tracing::warn!("a heartbeat took too long"),
            }
        }
    }

    async fn fence(&self) {
        loop {
            self.engine.clock.sleep(Duration::from_secs(1)).await;
            let last = self.sent.lock().map_or_else(|poisoned| *poisoned.into_inner(), |last| *last);
            let age = self.engine.clock.monotonic().saturating_sub(last);
            if age >= KILL_AFTER {
                self.raise(Stop::Kill);
            } else if age >= TERMINATE_AFTER || self.engine.clock.now() >= self.stop_at {
                self.raise(Stop::Terminate);
            }
        }
    }

    fn raise(&self, stop: Stop) {
        self.stop.send_if_modified(|now| {
            let worse = stop > *now;
            *now = (*now).max(stop);
            worse
        });
    }
}

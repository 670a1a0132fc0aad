//! The lease of a running operation: extended by heartbeats, and the fence that stops terraform when they fail.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conductor_domain::log::Chunk;
use conductor_domain::name::OrganisationName;
use conductor_domain::operation::{Lease, Operation, StopOrder};
use futures::future::{Either, select};
use futures::lock::Mutex as AsyncMutex;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};

use conductor_domain::principal::Caller;
use conductor_domain::resource::MAX_OBJECTS;

use crate::log::{Log, Writer};
use crate::mutant::Mutant;
use crate::port::{Clock, Ports, StoreError, Versioned};
use crate::record::{Entity, Item};
use crate::{Causes, Engine, Error};

/// How long a lease lasts after a heartbeat: six of them, so that a slow store loses no lease.
pub(crate) const LEASE_TIME: SignedDuration = SignedDuration::from_secs(30);
/// Time between heartbeats.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// How long one heartbeat may take.
const BEAT_TIME: Duration = Duration::from_secs(4);
/// Terraform starts only within this of the sending of a heartbeat that succeeded.
const FRESH: Duration = Duration::from_secs(5);
/// How much later a planted bug is.
const LATE: Duration = Duration::from_secs(15);
/// Tries to get such a heartbeat.
const START_TRIES: u32 = 5;
/// After so long without a heartbeat that succeeded, terraform is asked to stop.
const TERMINATE_AFTER: Duration = Duration::from_secs(15);
/// After so long it is killed: five seconds before the lease can have ended.
const KILL_AFTER: Duration = Duration::from_secs(25);
/// How much time the end of a run needs to be told: the last lines of its log are given up for it.
const TIME_TO_REPORT: SignedDuration = SignedDuration::from_secs(20);
/// The shortest time between two heartbeats, where there is something to tell.
const BEAT_GAP: Duration = Duration::from_secs(1);
/// Terraform stores its state every 20 seconds: what it finished with so many heartbeats ago is stored.
const STORED_AFTER: u32 = 60;

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

/// Tells whoever runs terraform when it has to stop, and is told what the lease has to say of the run.
#[derive(Debug, Clone)]
pub struct Control {
    stop: watch::Receiver<Stop>,
    told: Arc<Told>,
    written: watch::Receiver<Lease>,
    log: Log,
}

/// What the next heartbeat writes.
#[derive(Debug, Default)]
struct Told {
    /// What terraform has begun to make.
    begun: Mutex<BTreeMap<String, Begun>>,
    dead_after: Mutex<Option<Timestamp>>,
    unstored: Mutex<Vec<String>>,
    news: Notify,
}

/// An object that terraform has begun to make.
#[derive(Debug, Clone, Copy, Default)]
struct Begun {
    /// How many heartbeats ago it had finished with it.
    finished: Option<u32>,
    /// True where the state had its address before.
    replaces: bool,
}

impl Control {
    /// Waits until things are at least this bad; for good if that never happens.
    pub async fn reached(&mut self, stop: Stop) {
        if self.stop.wait_for(|now| *now >= stop).await.is_err() {
            futures::future::pending::<()>().await;
        }
    }

    /// Takes the lines of the run.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// How bad things are.
    pub fn now(&self) -> Stop {
        *self.stop.borrow()
    }

    /// Terraform begins to make an object: from now on it may exist without being in the state. `replaces`: the state has
    /// one of that address.
    pub fn begins(&self, address: &str, replaces: bool) {
        lock(&self.told.begun).insert(address.to_owned(), Begun { finished: None, replaces });
        self.told.news.notify_one();
    }

    /// Terraform has finished with an object; it stores its state a while later.
    pub fn finished(&self, address: &str) {
        if let Some(begun) = lock(&self.told.begun).get_mut(address) {
            begun.finished = Some(0);
        }
    }

    /// Says that terraform is about to get credentials that live until then. False where the lease is lost: it must not
    /// get them.
    pub async fn extend(&self, dead_after: Timestamp) -> bool {
        *lock(&self.told.dead_after) = Some(dead_after);
        self.told(|written| written.dead_after >= Some(dead_after)).await
    }

    /// Says what the run before had begun to make and the state does not have, so that it is known even if nothing is ever
    /// reported. False where the lease is lost: terraform must not start.
    pub async fn misses(&self, objects: &[String]) -> bool {
        *lock(&self.told.unstored) = objects.to_vec();
        self.told(|written| objects.iter().all(|object| written.unstored.contains(object))).await
    }

    /// Waits until the lease says so.
    async fn told(&self, says: impl Fn(&Lease) -> bool) -> bool {
        self.told.news.notify_one();
        let mut written = self.written.clone();
        let mut control = self.clone();
        let lost = std::pin::pin!(control.reached(Stop::Terminate));
        let told = std::pin::pin!(written.wait_for(says));
        matches!(select(told, lost).await, Either::Left((Ok(_), _)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether terraform may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It may, now.
    Go,
    /// It was told to stop before it began.
    Stopped,
}

/// Keeps the lease of one claim while its future is polled.
pub(crate) struct Keeper<'a, P: Ports> {
    pub(crate) engine: &'a Engine<P>,
    organisation: &'a OrganisationName,
    lease: AsyncMutex<Versioned<Lease>>,
    sent: Mutex<Duration>,
    stop: watch::Sender<Stop>,
    told: Arc<Told>,
    written: watch::Sender<Lease>,
    writer: Writer,
    stop_at: Timestamp,
}

impl<'a, P: Ports> Keeper<'a, P> {
    /// For a claimed operation, whose worker ends at the deadline.
    pub fn new(
        engine: &'a Engine<P>,
        caller: &'a Caller,
        lease: Versioned<Lease>,
        operation: &Operation,
        deadline: Option<Timestamp>,
    ) -> Self {
        let ran = SignedDuration::from_secs(i64::try_from(operation.ran_seconds).unwrap_or(i64::MAX));
        let claimed_at = operation.claimed_at().unwrap_or(lease.heartbeat_at);
        let limit = claimed_at + operation.limits.running().saturating_sub(ran);
        let stop_at = deadline.map(|deadline| deadline - engine.settings.timings.stop_before_deadline);
        Self {
            engine,
            organisation: caller.organisation(),
            writer: Writer::new(engine.clock.clone()),
            written: watch::channel(lease.value.clone()).0,
            lease: AsyncMutex::new(lease),
            sent: Mutex::new(engine.clock.monotonic()),
            stop: watch::channel(Stop::No).0,
            told: Arc::default(),
            stop_at: stop_at.map_or(limit, |stop_at| stop_at.min(limit)),
        }
    }

    pub fn control(&self) -> Control {
        let (stop, written) = (self.stop.subscribe(), self.written.subscribe());
        Control { stop, told: self.told.clone(), written, log: self.log().clone() }
    }

    pub fn log(&self) -> &Log {
        self.writer.log()
    }

    /// The lease as it was last written here; none while that is being done.
    pub fn held(&self) -> Option<Versioned<Lease>> {
        self.lease.try_lock().map(|held| held.clone())
    }

    /// Writes the last lines: before the end of the run is told, and only while there is time for that and the lease can be
    /// ours.
    pub async fn finish_log(&self, deadline: Option<Timestamp>) {
        let clock = &self.engine.clock;
        let held = || clock.monotonic().saturating_sub(*lock(&self.sent)) < KILL_AFTER;
        let in_time = || deadline.is_none_or(|deadline| clock.now() + TIME_TO_REPORT < deadline);
        self.writer.finish(self, || held() && in_time()).await;
    }

    /// A heartbeat that also writes a record, unless that takes too long. [`Error::Conflict`]: the lease is not as it was
    /// last written here, or the record is there.
    pub async fn beat_with<T: Entity>(&self, record: impl FnOnce(&Lease) -> T) -> Result<(), Error> {
        let beat = std::pin::pin!(self.try_beat_with(record));
        let late = std::pin::pin!(self.engine.clock.sleep(BEAT_TIME));
        match select(beat, late).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => Err(StoreError::Unavailable("a write took too long".into()).into()),
        }
    }

    async fn try_beat_with<T: Entity>(&self, record: impl FnOnce(&Lease) -> T) -> Result<(), Error> {
        let mut held = self.lease.lock().await;
        let sent = self.engine.clock.monotonic();
        let caller = self.caller();
        let mut draft = self.engine.draft(&caller, Some(held.deployment));
        let written = draft.update(&held, self.extended(&held));
        draft.create(record(&held));
        draft.commit().await?;
        self.written(&mut held, written, sent);
        Ok(())
    }

    /// Whether the chunk of this run with this last line is there.
    pub async fn has_chunk(&self, last: u32) -> Result<bool, Error> {
        let item = {
            let held = self.lease.lock().await;
            Item::Chunk(held.deployment, held.operation, held.epoch, last)
        };
        Ok(self.engine.read::<Chunk>(self.organisation, item).await?.is_some())
    }

    fn caller(&self) -> Caller {
        Caller::system(self.organisation.clone(), "heartbeat")
    }

    /// The fence: terraform may start now, right after a heartbeat that says so and that did not take long.
    pub async fn start(&self) -> Result<Start, Error> {
        for _ in 0..START_TRIES {
            if *self.stop.borrow() != Stop::No {
                break;
            }
            let sent = self.engine.clock.monotonic();
            let beat = self.beat(|lease| lease.terraform_started_at = Some(lease.heartbeat_at)).await;
            let fresh = self.engine.clock.monotonic().saturating_sub(sent) < FRESH;
            match beat {
                Err(Error::Conflict) => return Err(Error::Conflict),
                Ok(()) if fresh && *self.stop.borrow() == Stop::No => return Ok(Start::Go),
                Ok(()) => {}
                Err(error) => tracing::warn!(error = %Causes(&error), "a heartbeat failed"),
            }
        }
        self.beat(|lease| lease.terraform_started_at = None).await?;
        Ok(Start::Stopped)
    }

    /// Extends the lease, and changes it. [`Error::Conflict`]: it is not ours any more.
    pub async fn beat(&self, change: impl Fn(&mut Lease) + Send + Sync) -> Result<(), Error> {
        let mut held = self.lease.lock().await;
        let sent = self.engine.clock.monotonic();
        let written = match self.write(&held, &change).await {
            Err(Error::Conflict) => {
                // Somebody tells us to stop, or it was a write of ours whose answer was lost.
                let item = Item::Lease(held.deployment, held.operation);
                let read: Option<Versioned<Lease>> = self.engine.read(self.organisation, item).await?;
                let ours = read.filter(|read| read.epoch == held.epoch && read.worker == held.worker);
                self.write(&ours.ok_or(Error::Conflict)?, &change).await
            }
            done => done,
        }?;
        self.written(&mut held, written, sent);
        Ok(())
    }

    /// Takes note of a heartbeat that succeeded.
    fn written(&self, held: &mut Versioned<Lease>, written: Versioned<Lease>, sent: Duration) {
        match written.stop {
            Some(StopOrder::Terminate) => self.raise(Stop::Terminate),
            Some(StopOrder::Kill) => self.raise(Stop::Kill),
            None => {}
        }
        self.written.send_replace(written.value.clone());
        *held = written;
        *lock(&self.sent) = sent;
    }

    /// The lease as the next heartbeat writes it.
    fn extended(&self, read: &Lease) -> Lease {
        let now = self.engine.clock.now();
        let (begun, replaced) = self.told.begun();
        let dead_after = (*lock(&self.told.dead_after)).max(read.dead_after);
        let unstored = lock(&self.told.unstored).clone();
        let times = Lease { heartbeat_at: now, expires_at: now + LEASE_TIME, ..read.clone() };
        Lease { begun, replaced, unstored, dead_after, ..times }
    }

    async fn write(&self, read: &Versioned<Lease>, change: &impl Fn(&mut Lease)) -> Result<Versioned<Lease>, Error> {
        let mut lease = self.extended(read);
        change(&mut lease);
        let caller = self.caller();
        let mut draft = self.engine.draft(&caller, Some(lease.deployment));
        let written = draft.update(read, lease);
        draft.commit().await?;
        Ok(written)
    }

    /// Beats until `work` is done.
    pub async fn while_running<T>(&self, work: impl Future<Output = T>) -> T {
        let (work, writes) = (std::pin::pin!(work), std::pin::pin!(self.writer.run(self)));
        let (beats, fence) = (std::pin::pin!(self.beats()), std::pin::pin!(self.fence()));
        match select(work, select(writes, select(beats, fence))).await {
            Either::Left((done, _)) => done,
            Either::Right((_, work)) => work.await,
        }
    }

    async fn beats(&self) {
        let clock = &self.engine.clock;
        loop {
            clock.sleep(BEAT_GAP).await;
            let time = std::pin::pin!(clock.sleep(BEAT_EVERY - BEAT_GAP));
            let news = std::pin::pin!(self.told.news.notified());
            select(time, news).await;
            let beat = std::pin::pin!(self.beat(|_| ()));
            let late = std::pin::pin!(clock.sleep(BEAT_TIME));
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
            let last = *lock(&self.sent);
            let age = self.engine.clock.monotonic().saturating_sub(last);
            let over = self.engine.clock.now() >= self.stop_at || self.engine.stopping.load(Ordering::Relaxed);
            let late = if Mutant::LateFence.lives() { LATE } else { Duration::ZERO };
            if age >= KILL_AFTER + late {
                self.raise(Stop::Kill);
            } else if age >= TERMINATE_AFTER + late || over {
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

impl Told {
    /// What the state may not have yet, what is unfinished first; and those among it that replace something.
    fn begun(&self) -> (Vec<String>, Vec<String>) {
        let mut all = lock(&self.begun);
        all.retain(|_, begun| begun.finished.is_none_or(|beats| beats < STORED_AFTER));
        all.values_mut().filter_map(|begun| begun.finished.as_mut()).for_each(|beats| *beats += 1);
        let (open, done): (Vec<_>, Vec<_>) = all.iter().partition(|(_, begun)| begun.finished.is_none());
        let named: Vec<_> = open.into_iter().chain(done).take(MAX_OBJECTS).collect();
        let replaced = named.iter().filter(|(_, begun)| begun.replaces).map(|(address, _)| (*address).clone());
        (named.iter().map(|(address, _)| (*address).clone()).collect(), replaced.collect())
    }
}

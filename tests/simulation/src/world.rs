//! A world: everything that is shared in a schedule, who acts in it, and the step at which each of them can be met by
//! whatever happens.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use conductor_engine::Item;
use conductor_engine::port::{Ports, Wake};

use crate::chance::Chance;
use crate::clock::MINUTE;
use crate::cloud::{Cloud, Pid};
use crate::hash::{Build, hash_of, mix};
use crate::invariant::Checker;
use crate::machine::Life;
use crate::memory::Memory;
use crate::script::Ask;
use crate::trace::Violation;
use crate::weather::Weather;

/// How long a worker's function may last, in nanoseconds.
pub(crate) const INVOCATION: u64 = 15 * MINUTE;

/// The ports of a simulated engine.
#[derive(Debug)]
pub enum Simulated {}

impl Ports for Simulated {
    type Records = Port;
    type Vault = Port;
    type Artifacts = Port;
    type Queue = Port;
    type Clock = Port;
}

/// Whoever acts, by its number; numbers are never used twice.
pub(crate) type ActorId = usize;

/// What an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A provisioner that works on one message, with the machine that it runs on.
    Worker,
    /// One sweep.
    Sweeper,
    /// One request to the API.
    Api,
    /// One terraform process.
    Terraform,
}

/// Somebody who acts, or did.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub kind: Kind,
    pub name: String,
    /// Tells its ids from those of others; 30 bits.
    pub tag: u32,
    pub ids: u32,
    /// By how many nanoseconds its clock is ahead.
    pub skew: i64,
    /// Where the scheduler keeps its future.
    pub slot: Option<u32>,
    pub live: bool,
    pub frozen_until: u64,
    /// When its machine ends, and what ends it.
    pub deadline: u64,
    pub timer: Option<(u64, u64)>,
    /// When the last heartbeat was sent that the store took.
    pub beat_at: Option<u64>,
    /// Whether it was stopped since then.
    pub froze: bool,
    /// The copy of its message that comes back unless it ends well.
    pub message: Option<(u64, u64)>,
    /// What it was asked.
    pub ask: Option<usize>,
    /// The process that it is.
    pub process: Option<Pid>,
    /// A number for everything that it has seen, when that was, and the step that it stands before; kept in an exhaustive
    /// search.
    pub history: u64,
    /// The same since its last commit; a try that lost a race is forgotten, because everything is read again.
    pub trying: u64,
    pub seen_at: u64,
    pub before: &'static str,
}

impl Actor {
    /// One that begins now.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            name: String::new(),
            tag: 0,
            ids: 0,
            skew: 0,
            slot: None,
            live: true,
            frozen_until: 0,
            deadline: u64::MAX,
            timer: None,
            beat_at: None,
            froze: false,
            message: None,
            ask: None,
            process: None,
            history: 0,
            trying: 0,
            seen_at: 0,
            before: "",
        }
    }
}

/// What happens at a moment.
pub(crate) enum Timer {
    Wake(ActorId, Waker),
    Thaw(ActorId),
    Deadline(ActorId),
    Ask(usize),
    /// Faults stop.
    Calm,
}

/// A message and how often it was received.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub wake: Wake,
    pub receives: u32,
}

/// A time in which the store does not answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    /// Whom; everybody where none is named.
    pub whom: Option<ActorId>,
    pub until: u64,
}

/// What came of a schedule, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Steps that actors came to.
    pub steps: u64,
    /// Commits that happened.
    pub commits: u64,
    /// Actors that died.
    pub crashes: u64,
    /// How long it took until everything was at rest after faults had stopped, in nanoseconds.
    pub rest_after: u64,
    /// Objects that a terraform lost of which nobody could know: it had made them after its worker had died.
    pub unknowable: u64,
}

/// Everything that is shared.
pub(crate) struct Core {
    pub now: u64,
    pub chance: Chance,
    pub weather: Weather,
    /// True in an exhaustive search: nothing is left to chance.
    pub scripted: bool,
    pub memory: Memory,
    pub objects: HashMap<String, Vec<u8>, Build>,
    pub messages: BTreeMap<(u64, u64), Message>,
    pub cloud: Cloud,
    pub actors: Vec<Actor>,
    pub workers: usize,
    /// Those whom the scheduler does not have yet.
    pub spawned: Vec<(ActorId, Life)>,
    pub doomed: Vec<ActorId>,
    pub timers: BTreeMap<(u64, u64), Timer>,
    pub sequence: u64,
    pub ready: Arc<AtomicU64>,
    pub seated: u64,
    pub frozen: u64,
    pub asks: Vec<Ask>,
    pub asked: Vec<usize>,
    pub outages: Vec<Outage>,
    /// What was written lately.
    pub recent: Vec<Item>,
    pub next_sweep: u64,
    /// When somebody last did something.
    pub active_at: u64,
    pub calm_at: u64,
    pub calm: bool,
    /// Steps until the crash that every schedule has, and whether it meets anybody, or only workers.
    pub crash_in: u64,
    pub crash_anybody: bool,
    pub checker: Checker,
    pub violation: Option<Violation>,
    pub tally: Tally,
    pub trace: Option<Vec<String>>,
}

impl Core {
    /// Registers something that happens later.
    pub fn at(&mut self, moment: u64, timer: Timer) -> (u64, u64) {
        self.sequence += 1;
        let key = (moment, self.sequence);
        self.timers.insert(key, timer);
        key
    }

    /// Writes a line of the trace, where there is one.
    pub fn note(&mut self, actor: ActorId, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let (seconds, millis) = (self.now / 1_000_000_000, self.now / 1_000_000 % 1_000);
            let name = self.actors.get(actor).map_or("", |actor| actor.name.as_str());
            trace.push(format!("{seconds:>6}.{millis:03} {name:<14} {}", crate::trace::brief(&what())));
        }
    }

    /// Says that an invariant does not hold; the first one counts.
    pub fn violate(&mut self, invariant: &'static str, detail: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation::new(invariant, detail));
        }
    }

    /// In an exhaustive search: what an actor has seen is part of the state.
    pub fn observe(&mut self, actor: ActorId, what: u64) {
        if self.scripted {
            let now = self.now;
            let actor = &mut self.actors[actor];
            actor.trying = mix(mix(actor.trying, now), what);
        }
    }

    /// What an actor has seen up to a commit of its own stays with it.
    pub fn keep_seen(&mut self, actor: ActorId) {
        let actor = &mut self.actors[actor];
        actor.history = mix(actor.history, std::mem::take(&mut actor.trying));
    }

    /// Lets an actor look again.
    pub fn wake(&self, actor: ActorId) {
        if let Some(slot) = self.actors[actor].slot {
            self.ready.fetch_or(1 << slot, Ordering::Relaxed);
        }
    }

    /// Lets somebody begin to act.
    pub fn spawn(&mut self, mut actor: Actor, life: Life) -> ActorId {
        let id = self.actors.len();
        if actor.tag == 0 {
            actor.tag = id as u32 + 1;
        }
        if actor.name.is_empty() {
            actor.name = format!("{:?}-{id}", actor.kind).to_lowercase();
        }
        if self.weather.skew > 0 {
            actor.skew = self.chance.between(0, 2 * self.weather.skew) as i64 - self.weather.skew as i64;
        }
        self.workers += usize::from(actor.kind == Kind::Worker);
        self.actors.push(actor);
        self.spawned.push((id, life));
        id
    }
}

/// The world of a schedule; copies are the same one.
#[derive(Clone)]
pub struct World(Arc<Mutex<Core>>);

impl World {
    /// A world that begins like this.
    pub(crate) fn new(core: Core) -> Self {
        Self(Arc::new(Mutex::new(core)))
    }

    /// Everything that is shared. Never held across a step.
    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far an actor gets at a step.
pub(crate) enum Passage {
    /// On.
    Go,
    /// Others go first.
    Wait,
    /// It is dead.
    Never,
}

/// The world as one actor reaches it: its store, its vault, its queue and its clock.
#[derive(Clone)]
pub struct Port {
    pub(crate) world: World,
    pub(crate) actor: ActorId,
}

impl Port {
    /// Everything that is shared. Never held across a step.
    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.world.core()
    }

    /// True in an exhaustive search.
    pub(crate) fn scripted(&self) -> bool {
        self.core().scripted
    }

    /// A step: what comes after it happens at once; before it, others may act, and the actor may die or be stopped.
    ///
    /// To die right after a commit is to die at the step after it: in between the world sees nothing of an actor.
    pub(crate) async fn pass(&self, what: &'static str) {
        let mut waited = false;
        poll_fn(|context| {
            let mut core = self.core();
            match core.arrive(self.actor, waited) {
                Passage::Go => {
                    if core.scripted {
                        core.observe(self.actor, hash_of(what));
                        core.actors[self.actor].before = "";
                    }
                    core.note(self.actor, || what.to_owned());
                    Poll::Ready(())
                }
                Passage::Wait => {
                    waited = true;
                    core.actors[self.actor].before = what;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Passage::Never => Poll::Pending,
            }
        })
        .await;
    }
}

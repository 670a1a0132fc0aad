//! Simulation: the real engine on a store in memory, with a fake terraform and a fake clock, under a scheduler that a seed
//! decides.
//!
//! **Who acts.** Workers, sweepers, requests to the API and terraform processes are futures; the scheduler (`schedule`)
//! polls one at a time, and there is no runtime beneath. Every call of a port is a *step* (`world::Port::pass`): what
//! follows it happens at once, and before it others may act and the actor may die, be stopped for a while, find that the
//! store does not answer. So an actor can be met before and after each commit, each message and each step of terraform.
//! Time goes on only where nobody can act, or by a little.
//!
//! **What goes wrong** is the weather of a seed (`weather`): nothing at all in some, everything in others. After a while
//! faults stop, and everything has to come to rest.
//!
//! **What must hold** is in `invariant`: after each commit for the records that it wrote, at each step of terraform, and at
//! rest for everything. A seed that violates something is run again with a trace.
//!
//! Two searches use it: [`search`] over seeds, and [`small::explore`] over all interleavings of a small world.

mod catalog;
mod chance;
mod clock;
mod cloud;
mod executor;
mod fate;
mod hash;
mod invariant;
mod machine;
mod memory;
mod schedule;
mod script;
pub mod small;
mod store;
mod terraform;
mod trace;
mod turn;
mod weather;
mod world;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::chance::Chance;
use crate::clock::{MINUTE, SECOND};
use crate::schedule::Scheduler;
use crate::turn::Turn;
use crate::weather::Weather;
use crate::world::{Actor, Core, Kind, Timer, World};

pub use invariant::NAMES;
pub use trace::{Failure, Violation};
pub use turn::REST_WITHIN;
pub use world::Tally;

/// Schedules make and drop records all the time: with it there are half as many again in the same time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Stack of a thread, in bytes: without optimisation the engine's futures are large.
const STACK: usize = 64 << 20;

/// What came of many schedules.
#[derive(Debug, Default)]
pub struct Searched {
    /// How many there were.
    pub schedules: u64,
    /// Their numbers, added up.
    pub total: Tally,
    /// How many had no crash.
    pub without_crash: u64,
    /// The longest time until rest after faults had stopped, in nanoseconds, and its seed.
    pub longest_rest: (u64, u64),
    /// The failure of the lowest seed, if any.
    pub failure: Option<Failure>,
}

/// Runs the schedule of a seed.
pub fn run(seed: u64) -> Result<Tally, Failure> {
    let violation = match played(seed, false) {
        Ok((tally, _)) => return Ok(tally),
        Err((violation, _)) => violation,
    };
    let trace = match played(seed, true) {
        Err((again, trace)) if again.invariant == violation.invariant => trace,
        Err((_, trace)) | Ok((_, trace)) => {
            let mut trace = trace;
            trace.push("it is not the same again: something is left to chance".to_owned());
            trace
        }
    };
    let again = format!("CONDUCTOR_SEED={seed} CONDUCTOR_SEEDS=1");
    Err(Failure { again, seed, violation, trace })
}

/// The trace of a seed, whatever comes of it.
pub fn trace(seed: u64) -> Vec<String> {
    match played(seed, true) {
        Ok((_, trace)) | Err((_, trace)) => trace,
    }
}

type Played = Result<(Tally, Vec<String>), (Violation, Vec<String>)>;

/// Plays a seed. Every schedule has a crash: where chance has none, the first few steps of anybody do.
fn played(seed: u64, traced: bool) -> Played {
    match play(seed, traced, false) {
        Ok((tally, _)) if tally.crashes == 0 => play(seed, traced, true),
        played => played,
    }
}

fn play(seed: u64, traced: bool, crash_soon: bool) -> Played {
    let world = World::new(begin(seed, traced, crash_soon));
    let ended = catch_unwind(AssertUnwindSafe(|| until_rest(&world)));
    let mut core = world.core();
    let trace = core.trace.take().unwrap_or_default();
    match ended {
        Ok(Ok(())) => Ok((core.tally, trace)),
        Ok(Err(violation)) => Err((violation, trace)),
        Err(_) => Err((Violation::new("nothing_panics", "see standard error"), trace)),
    }
}

/// The world of a seed as it begins.
fn begin(seed: u64, traced: bool, crash_soon: bool) -> Core {
    let mut chance = Chance::new(seed);
    let weather = Weather::of(&mut chance);
    let asks = script::requests(&mut chance);
    let crash_in = if crash_soon { chance.between(1, 10) } else { chance.between(1, 90) };
    let calm_at = chance.between(20 * SECOND, 40 * MINUTE);
    let mut core = empty(chance);
    core.weather = weather;
    (core.crash_in, core.crash_anybody, core.calm_at) = (crash_in, crash_soon, calm_at);
    core.trace = traced.then(|| vec![format!("seed {seed}: {weather:?}")]);
    core.at(calm_at, Timer::Calm);
    for (number, ask) in asks.iter().enumerate() {
        core.at(ask.at, Timer::Ask(number));
    }
    core.asks = asks;
    core
}

/// A world in which nothing has been asked yet.
fn empty(chance: Chance) -> Core {
    let mut memory = catalog::furnished().clone();
    memory.hashing = false;
    Core {
        now: 0,
        chance,
        weather: Weather::default(),
        scripted: false,
        memory,
        objects: HashMap::default(),
        messages: BTreeMap::new(),
        cloud: Default::default(),
        actors: Vec::new(),
        workers: 0,
        spawned: Vec::new(),
        doomed: Vec::new(),
        timers: BTreeMap::new(),
        sequence: 0,
        ready: Arc::default(),
        seated: 0,
        frozen: 0,
        asks: Vec::new(),
        asked: Vec::new(),
        outages: Vec::new(),
        recent: Vec::new(),
        next_sweep: MINUTE,
        active_at: 0,
        calm_at: 0,
        calm: false,
        crash_in: 0,
        crash_anybody: false,
        checker: Default::default(),
        violation: None,
        tally: Tally::default(),
        trace: None,
    }
}

fn until_rest(world: &World) -> Result<(), Violation> {
    let mut scheduler = Scheduler::new(world.clone());
    loop {
        let turn = world.core().turn();
        match turn {
            Turn::Poll(slot) => scheduler.poll(slot),
            Turn::Work(message) => world.core().start_worker(Actor::new(Kind::Worker), message),
            Turn::Sweep => world.core().start_sweeper(Actor::new(Kind::Sweeper)),
            Turn::Ask(number) => {
                world.core().start_ask(number);
            }
            Turn::Again => {}
            Turn::End => break,
        }
        scheduler.settle();
    }
    let mut core = world.core();
    if let Some(violation) = core.violation.take() {
        return Err(violation);
    }
    core.tally.rest_after = core.active_at.saturating_sub(core.calm_at);
    invariant::rest(&mut core)
}

/// Runs something on a stack that is large enough for the engine's futures also without optimisation.
pub fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let running = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).expect("a thread");
        running.join().expect("an end")
    })
}

/// How much a test is told to do, by an environment variable.
#[expect(clippy::disallowed_methods, reason = "a test is told how much to do")]
pub fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// How many threads there are to search on.
pub fn threads() -> u64 {
    thread::available_parallelism().map_or(1, |count| count.get() as u64)
}

/// Runs the schedules of many seeds, on several threads. With a failure, seeds after it are left out.
pub fn search(first: u64, seeds: u64, threads: u64) -> Searched {
    search_with(first, seeds, threads, || ())
}

/// The same; each thread is prepared first.
pub fn search_with(first: u64, seeds: u64, threads: u64, prepare: impl Fn() + Sync) -> Searched {
    let failed = AtomicU64::new(u64::MAX);
    let part = |part: u64| {
        prepare();
        let mut found = Searched::default();
        for seed in (first..first + seeds).filter(|seed| seed % threads == part) {
            if failed.load(Ordering::Relaxed) < seed {
                break;
            }
            found.schedules += 1;
            match run(seed) {
                Ok(tally) => found.add(seed, tally),
                Err(failure) => {
                    failed.fetch_min(seed, Ordering::Relaxed);
                    found.failure = Some(failure);
                    break;
                }
            }
        }
        found
    };
    let part = &part;
    let parts: Vec<Searched> = thread::scope(|scope| {
        let start = |number: u64| thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || part(number));
        let running: Vec<_> = (0..threads).map(|number| start(number).expect("a thread")).collect();
        running.into_iter().map(|one| one.join().expect("a part")).collect()
    });
    parts.into_iter().fold(Searched::default(), Searched::join)
}

impl Searched {
    fn add(&mut self, seed: u64, tally: Tally) {
        self.total = sum(self.total, tally);
        self.without_crash += u64::from(tally.crashes == 0);
        self.longest_rest = self.longest_rest.max((tally.rest_after, seed));
    }

    fn join(self, other: Searched) -> Searched {
        let failures = [self.failure, other.failure].into_iter().flatten();
        Searched {
            schedules: self.schedules + other.schedules,
            total: sum(self.total, other.total),
            without_crash: self.without_crash + other.without_crash,
            longest_rest: self.longest_rest.max(other.longest_rest),
            failure: failures.min_by_key(|failure| failure.seed),
        }
    }
}

fn sum(a: Tally, b: Tally) -> Tally {
    Tally {
        steps: a.steps + b.steps,
        commits: a.commits + b.commits,
        crashes: a.crashes + b.crashes,
        rest_after: a.rest_after + b.rest_after,
        unknowable: a.unknowable + b.unknowable,
    }
}

//! All interleavings of a small world: two workers, a sweeper and a cancel on a deployment of two operations of which one
//! depends on the other, without faults.
//!
//! A depth-first search over the choices of the scheduler. The engine cannot be copied, so each path is played again from
//! the start; a path ends where it comes to a state that has been seen. A state is what is stored, the messages, what the
//! cloud holds, the timers, the time, and for everybody who acts the history of all that it has seen, which decides what it
//! does next; a try that lost a race counts for nothing there, because everything is read again. Ids count in the order in
//! which they were stored, versions as the number of times that a record was written, audit events not at all, and a worker
//! is called after its message, so that states that differ only in names, or in who came first, are the same state.
//!
//! The order of commits is what is searched, and what others do between what an actor has read and what it commits. So
//! reading is no choice: it happens as soon as it can, right after the commit, or the lost race, before it. (What changes
//! between two reads of one try is left to the schedules by seed.) Sending a message is none either: it may be taken at any
//! time after. The pause after a lost race is a choice, and so is each commit, each step of terraform, which is one step
//! here, each message taken, each sweep. Time stands still while anybody can act, but for one *jump*, just long enough for
//! a lease to end, while everybody stands still; a sweep may come at any time after it. Once nobody can act, time goes on
//! to the next timer, message or due record.

use std::collections::{BTreeMap, HashMap, HashSet};

use conductor_domain::deployment::Rollback;
use conductor_domain::ids::DeploymentId;

use crate::catalog::small_file;
use crate::chance::Chance;
use crate::clock::{SECOND, moment, time_of_day};
use crate::empty;
use crate::hash::{Build, hash_of, mix};
use crate::invariant::{self, Checker};
use crate::memory::Memory;
use crate::schedule::Scheduler;
use crate::script::{Ask, What};
use crate::store::message_hash;
use crate::trace::{Failure, Violation};
use crate::world::{Actor, Core, Kind, Message, Timer, World};

/// Workers at a time.
const WORKERS: usize = 2;
/// How far a jump goes: a lease ends, and the fence has long raised.
const JUMP: u64 = 31 * SECOND;
/// Steps after which a path is taken to turn in circles.
const STEPS: usize = 50_000;

/// Steps that are taken as soon as they can be.
const READS: [&str; 2] = ["reads", "lists"];
/// Paths between two lines of output.
const PROGRESS: u64 = 50_000;

/// A small world.
#[derive(Debug, Clone, Copy)]
pub struct Small {
    /// How often the first message comes.
    pub copies: usize,
    /// With a cancel at any time, of this kind.
    pub cancel: Option<Rollback>,
    /// A jump may happen while a worker stands before one of these steps: such as `terraform`, `commits`, `reads`.
    pub jump_before: &'static [&'static str],
    /// Sweeps that may come at any time after it.
    pub sweeps: usize,
}

/// What a search found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Explored {
    /// Distinct states in which there was a choice.
    pub states: u64,
    /// Paths that were played.
    pub paths: u64,
    /// Those that came to rest, all others having come to a state that was known.
    pub ends: u64,
    /// The most choices on a path.
    pub deepest: usize,
}

/// Something that may happen next.
#[derive(Debug, Clone, Copy)]
enum Action {
    Act(u32),
    Take((u64, u64)),
    Sweep,
    Jump,
}

/// A choice on a path: which of how many.
#[derive(Debug, Clone, Copy)]
struct Branch {
    chosen: usize,
    of: usize,
}

/// The world once the deployment has been submitted.
struct Base {
    memory: Memory,
    objects: HashMap<String, Vec<u8>, Build>,
    messages: BTreeMap<(u64, u64), Message>,
    checker: Checker,
    deployment: DeploymentId,
}

/// What of a path is not in its world.
struct Budget {
    jumps: usize,
    sweeps: usize,
    swept: u64,
    /// How often each message was taken.
    taken: BTreeMap<u64, u64>,
}

/// Searches all of a small world.
///
/// # Errors
///
/// The first path on which something does not hold, with its trace.
pub fn explore(small: Small) -> Result<Explored, Failure> {
    let failure = |violation, trace, path: &[Branch]| {
        let chosen: Vec<usize> = path.iter().map(|branch| branch.chosen).collect();
        Failure { again: format!("{small:?}, path {chosen:?}"), seed: 0, violation, trace }
    };
    let base = submitted().map_err(|violation| failure(violation, Vec::new(), &[]))?;
    let mut explored = Explored::default();
    let mut seen: HashSet<u64, Build> = HashSet::default();
    let mut path: Vec<Branch> = Vec::new();
    loop {
        explored.paths += 1;
        if explored.paths.is_multiple_of(PROGRESS) {
            println!("{} states, {} paths so far", seen.len(), explored.paths);
        }
        match walk(small, &base, &mut path, Some(&mut seen), &mut None) {
            Ok(ended) => explored.ends += u64::from(ended),
            Err(violation) => {
                let mut trace = Some(Vec::new());
                // The same path once more, without looking at what was seen before.
                let again = walk(small, &base, &mut path, None, &mut trace);
                let violation = again.err().unwrap_or(violation);
                return Err(failure(violation, trace.unwrap_or_default(), &path));
            }
        }
        explored.deepest = explored.deepest.max(path.len());
        while path.pop_if(|last| last.chosen + 1 == last.of).is_some() {}
        match path.last_mut() {
            Some(last) => last.chosen += 1,
            None => break,
        }
    }
    explored.states = seen.len() as u64;
    Ok(explored)
}

/// Submits the deployment, step by step and with nobody else about.
fn submitted() -> Result<Base, Violation> {
    let mut core = scripted(crate::catalog::furnished().clone());
    core.objects.insert("keys/parameters".to_owned(), vec![7; 32]);
    let what = What::Deploy { application: "shop", workload: "web", text: small_file() };
    core.asks = vec![Ask::new(0, what)];
    let world = World::new(core);
    world.core().start_ask(0);
    let mut scheduler = Scheduler::new(world.clone());
    loop {
        scheduler.settle();
        let runnable = world.core().runnable();
        if runnable == 0 {
            break;
        }
        scheduler.poll(runnable.trailing_zeros());
    }
    let mut core = world.core();
    if let Some(violation) = core.violation.take() {
        return Err(violation);
    }
    let Some(deployment) = core.asks.first().and_then(|ask| ask.deployment) else {
        return Err(Violation::new("every_request_is_a_deployment", "it was not submitted"));
    };
    Ok(Base {
        memory: core.memory.clone(),
        objects: core.objects.clone(),
        messages: core.messages.clone(),
        checker: core.checker.clone(),
        deployment,
    })
}

fn scripted(memory: Memory) -> Core {
    let mut core = empty(Chance::new(0));
    core.scripted = true;
    core.memory = memory;
    core.calm = true;
    core.weather.workers = WORKERS;
    core
}

/// The world of a search as it begins.
fn begin(small: Small, base: &Base) -> Core {
    let mut core = scripted(base.memory.clone());
    core.objects = base.objects.clone();
    core.checker = base.checker.clone();
    core.sequence = 1_000;
    for message in base.messages.values() {
        for _ in 0..small.copies {
            core.sequence += 1;
            let key = (core.now, core.sequence);
            core.messages.insert(key, message.clone());
        }
    }
    // So that no tag is used again that the submission had.
    core.actors.push(Actor { live: false, ..Actor::new(Kind::Api) });
    let mut asks = vec![Ask { done: true, deployment: Some(base.deployment), ..Ask::new(0, What::Retry { of: 0 }) }];
    if let Some(rollback) = small.cancel {
        asks.push(Ask::new(0, What::Cancel { of: 0, rollback, force: false }));
    }
    core.asks = asks;
    core
}

/// Plays a path, and goes on from its end by first choices. True where it comes to rest, false where it comes to a state
/// that was seen.
fn walk(
    small: Small,
    base: &Base,
    path: &mut Vec<Branch>,
    mut seen: Option<&mut HashSet<u64, Build>>,
    trace: &mut Option<Vec<String>>,
) -> Result<bool, Violation> {
    let mut core = begin(small, base);
    core.trace = trace.take();
    let world = World::new(core);
    let mut scheduler = Scheduler::new(world.clone());
    if small.cancel.is_some() {
        world.core().start_ask(1);
    }
    let jumps = usize::from(!small.jump_before.is_empty());
    let mut budget = Budget { jumps, sweeps: small.sweeps, swept: 0, taken: BTreeMap::new() };
    let mut depth = 0;
    let mut ended = Err(Violation::new("everything_comes_to_rest", format!("not after {STEPS} steps")));
    for _ in 0..STEPS {
        scheduler.settle();
        let actions = {
            let mut core = world.core();
            core.ring();
            if let Some(violation) = core.violation.take() {
                ended = Err(violation);
                break;
            }
            actions(small, &core, &budget)
        };
        let chosen = match actions.len() {
            0 if go_on(&mut world.core(), &mut budget) => continue,
            0 => {
                ended = invariant::rest(&mut world.core()).map(|()| true);
                break;
            }
            1 => 0,
            of => {
                if depth == path.len() {
                    let state = state(&world.core(), &budget);
                    if seen.as_mut().is_some_and(|seen| !seen.insert(state)) {
                        ended = Ok(false);
                        break;
                    }
                    path.push(Branch { chosen: 0, of });
                }
                depth += 1;
                path[depth - 1].chosen
            }
        };
        perform(&world, &mut scheduler, &mut budget, actions[chosen]);
    }
    *trace = world.core().trace.take();
    ended
}

/// What may happen next.
fn actions(small: Small, core: &Core, budget: &Budget) -> Vec<Action> {
    let runnable = core.runnable();
    let ready = |slot: &u32| runnable & (1_u64 << *slot) != 0;
    let reads = core.actors.iter().filter(|actor| actor.live && READS.contains(&actor.before));
    if let Some(slot) = reads.filter_map(|actor| actor.slot).find(ready) {
        return vec![Action::Act(slot)];
    }
    let mut actions: Vec<Action> = (0..64_u32).filter(ready).map(Action::Act).collect();
    if core.workers < WORKERS {
        let mut there = HashSet::new();
        let now = core.messages.range(..=(core.now, u64::MAX));
        let distinct = now.filter(|(_, message)| there.insert(message_hash(message)));
        actions.extend(distinct.map(|(key, _)| Action::Take(*key)));
    }
    if budget.sweeps > 0 && budget.jumps == 0 && is_due(core) && !sweeping(core) {
        actions.push(Action::Sweep);
    }
    let stands = |actor: &Actor| actor.live && actor.kind == Kind::Worker && small.jump_before.contains(&actor.before);
    if budget.jumps > 0 && core.actors.iter().any(stands) {
        actions.push(Action::Jump);
    }
    actions
}

fn is_due(core: &Core) -> bool {
    core.memory.first_due().is_some_and(|at| at <= time_of_day(core.now, 0))
}

fn sweeping(core: &Core) -> bool {
    core.actors.iter().any(|actor| actor.live && actor.kind == Kind::Sweeper)
}

fn tag(number: u64) -> u32 {
    (number & 0x3FFF_FFFF) as u32
}

fn perform(world: &World, scheduler: &mut Scheduler, budget: &mut Budget, action: Action) {
    match action {
        Action::Act(slot) => {
            see_time(&mut world.core(), slot);
            scheduler.poll(slot);
        }
        Action::Take(key) => {
            let mut core = world.core();
            let Some(message) = core.messages.get(&key) else { return };
            let content = message_hash(message);
            let times = budget.taken.entry(content).or_default();
            *times += 1;
            let tag = tag(mix(content, *times));
            let worker = Actor { tag, name: format!("worker-{tag:x}"), ..Actor::new(Kind::Worker) };
            core.start_worker(worker, key);
        }
        Action::Sweep => {
            budget.sweeps -= 1;
            sweep(&mut world.core(), budget);
        }
        Action::Jump => {
            budget.jumps -= 1;
            let mut core = world.core();
            core.now += JUMP;
            for actor in core.actors.iter_mut().filter(|actor| actor.live) {
                actor.froze = true;
            }
            if let Some(trace) = &mut core.trace {
                trace.push("everybody stands still for a while".to_owned());
            }
        }
    }
}

/// What the clock says is seen as well, where it has moved.
fn see_time(core: &mut Core, slot: u32) {
    let now = core.now;
    if let Some(actor) = core.actors.iter_mut().find(|actor| actor.slot == Some(slot) && actor.seen_at != now) {
        actor.seen_at = now;
        actor.trying = mix(actor.trying, now);
    }
}

fn sweep(core: &mut Core, budget: &mut Budget) {
    budget.swept += 1;
    let tag = tag(mix(hash_of("sweeper"), budget.swept));
    core.start_sweeper(Actor { tag, ..Actor::new(Kind::Sweeper) });
}

/// Nobody can act: time goes on. False where there is nothing to come.
fn go_on(core: &mut Core, budget: &mut Budget) -> bool {
    let timer = core.timers.first_key_value().map(|((at, _), _)| *at);
    let message = core.messages.first_key_value().map(|((at, _), _)| *at).filter(|_| core.workers < WORKERS);
    let due = core.memory.first_due().map(|at| moment(at, 0).max(core.now)).filter(|_| !sweeping(core));
    let Some(next) = [timer, message, due].into_iter().flatten().min() else { return false };
    core.now = core.now.max(next);
    if due == Some(next) {
        sweep(core, budget);
    }
    true
}

/// A number for everything that decides what may happen from now on.
fn state(core: &Core, budget: &Budget) -> u64 {
    let mut all = mix(core.memory.hash(), core.now);
    for ((at, _), message) in &core.messages {
        all = all.wrapping_add(mix(mix(message_hash(message), *at), u64::from(message.receives)));
    }
    for actor in core.actors.iter().filter(|actor| actor.live) {
        let ready = actor.slot.is_some_and(|slot| core.runnable() & (1 << slot) != 0);
        let seen = mix(actor.history, actor.trying);
        let known = mix(mix(u64::from(actor.tag), seen), hash_of(actor.before));
        all = all.wrapping_add(mix(known, u64::from(ready)));
    }
    for ((at, _), timer) in &core.timers {
        let whose = match timer {
            Timer::Wake(actor, _) | Timer::Thaw(actor) | Timer::Deadline(actor) => core.actors[*actor].tag,
            Timer::Ask(number) => *number as u32,
            Timer::Calm => 0,
        };
        all = all.wrapping_add(mix(mix(*at, u64::from(whose)), 3));
    }
    for (resource, state) in &core.cloud.states {
        let objects = state.objects.keys().fold(state.serial, |all, address| mix(all, hash_of(*address)));
        all = all.wrapping_add(mix(hash_of(resource), objects));
    }
    for (content, times) in &budget.taken {
        all = all.wrapping_add(mix(mix(*content, *times), 5));
    }
    mix(mix(mix(all, budget.jumps as u64), budget.sweeps as u64), budget.swept)
}

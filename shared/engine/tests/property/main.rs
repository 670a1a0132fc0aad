//! Random sequences of requests against the whole engine: deploy, deploy again with changes, tear down, consumers, pools,
//! over several applications and environments, at once and one after another. After each, when all has settled, everything
//! that was promised holds (`check.rs`), and what a dry run said before is what happened (`foresight.rs`).
//!
//! `CONDUCTOR_CASES` says how many sequences there are, `CONDUCTOR_SEED` which is the first. The same seed is the same run:
//! time is virtual, and all chance comes from it. A sequence that fails is shortened and shown.

mod catalog;
mod check;
mod clock;
mod cloud;
mod file;
mod foresight;
mod log;
mod model;
mod play;
mod reading;
mod step;
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use play::play;
use step::{Move, sequence, simpler};
use world::World;

/// Sequences where nothing else is said.
const CASES: u64 = 120;
/// Stack of a thread, in bytes: without optimisation the engine's futures are large.
const STACK: usize = 64 << 20;
/// Runs that shortening a sequence may take.
const SHORTENING: usize = 400;

#[expect(clippy::disallowed_methods, reason = "a test is told how much to do")]
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn run(schedule: u64, moves: &[Move]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let played =
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(async { play(&World::new(schedule).await?, moves).await })));
    played.unwrap_or_else(|_| Err("it panics".to_owned()))
}

/// Leaves out whatever can be left out while something still goes wrong.
fn shortened(schedule: u64, moves: Vec<Move>, why: String) -> (Vec<Move>, String) {
    let (mut moves, mut why) = (moves, why);
    let mut runs = 0;
    loop {
        let mut tried = simpler(&moves).into_iter().take(SHORTENING.saturating_sub(runs));
        let shorter = tried.find_map(|shorter| {
            runs += 1;
            run(schedule, &shorter).err().map(|why| (shorter, why))
        });
        match shorter {
            Some(shorter) => (moves, why) = shorter,
            None => return (moves, why),
        }
    }
}

fn failure(seed: u64) -> Option<String> {
    let moves = sequence(seed);
    let why = run(seed, &moves).err()?;
    let (moves, why) = shortened(seed, moves, why);
    Some(format!("CONDUCTOR_SEED={seed} CONDUCTOR_CASES=1, shortened to {moves:#?}\n{why}"))
}

#[test]
fn whatever_is_asked_ends_as_promised_and_as_foreseen() {
    let (cases, first) = (setting("CONDUCTOR_CASES", CASES), setting("CONDUCTOR_SEED", 1));
    let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let failures: Vec<String> = thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let mut seeds = (first..first + cases).filter(move |seed| seed % threads == part);
                let find = move || seeds.find_map(failure);
                thread::Builder::new().stack_size(STACK).spawn_scoped(scope, find).expect("a thread")
            })
            .collect();
        parts.into_iter().filter_map(|part| part.join().expect("a part")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

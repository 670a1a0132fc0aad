//! The property test of the engine, played on the deployed stack: the same random sequences, the same checks when all has
//! settled, and the same comparison of what a dry run said with what then happened. Model, sequences and checks are the
//! engine's own files, which know nothing of the engine; only the driver is another one (`world.rs`).
//!
//! `CONDUCTOR_HTTP_CASES` says how many sequences there are, `CONDUCTOR_SEED` which is the first. Here a seed says what is
//! asked, and not what it races with.

#[allow(dead_code, reason = "the run in memory uses all of it")]
#[path = "../../../../shared/engine/tests/property/catalog.rs"]
mod catalog;
#[path = "../../../../shared/engine/tests/property/check.rs"]
mod check;
#[allow(dead_code, reason = "the run in memory uses all of it")]
#[path = "../../../../shared/engine/tests/property/file.rs"]
mod file;
#[path = "../../../../shared/engine/tests/property/foresight.rs"]
mod foresight;
mod graph;
#[allow(dead_code, reason = "the run in memory uses all of it")]
#[path = "../../../../shared/engine/tests/property/model.rs"]
mod model;
mod module;
mod names;
#[path = "../../../../shared/engine/tests/property/play.rs"]
mod play;
mod reading;
mod states;
#[allow(dead_code, reason = "the run in memory uses all of it")]
#[path = "../../../../shared/engine/tests/property/step.rs"]
mod step;
mod view;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use play::play;
use step::{Move, Step, sequence};
use world::World;

/// Sequences where nothing else is said: together they take about a minute on two cores.
const CASES: u64 = 3;
/// Sequences that are played at a time.
const AT_ONCE: u64 = 3;
/// Steps of a sequence, apart from the pools that it may begin with; the rest is left out.
const STEPS: usize = 5;
/// Stack of a thread, in bytes: without optimisation futures are large.
const STACK: usize = 16 << 20;

#[expect(clippy::disallowed_methods, reason = "a test is told how much to do")]
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The beginning of a sequence: each step takes seconds here.
fn beginning(seed: u64) -> Vec<Move> {
    let mut moves = sequence(seed);
    let is_pool = |one: &&Move| one.at_once && matches!(one.step, Step::PutPool { .. });
    let pools = moves.iter().take_while(is_pool).count();
    moves.truncate(pools + STEPS);
    moves
}

fn run(moves: &[Move]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let world = World::new().await;
        play(&world, moves).await?;
        world.clear().await
    })
}

/// Why a sequence fails. What it made stays then, to be looked at.
fn failure(seed: u64) -> Option<String> {
    let moves = beginning(seed);
    let why = match catch_unwind(AssertUnwindSafe(|| run(&moves))) {
        Ok(played) => played.err()?,
        Err(_) => "it panics, as is told above".to_owned(),
    };
    Some(format!("CONDUCTOR_SEED={seed} CONDUCTOR_HTTP_CASES=1: {moves:#?}\n{why}"))
}

#[test]
fn whatever_is_asked_of_the_stack_ends_as_promised_and_as_foreseen() {
    let (cases, first) = (setting("CONDUCTOR_HTTP_CASES", CASES), setting("CONDUCTOR_SEED", 1));
    let threads = cases.clamp(1, AT_ONCE);
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

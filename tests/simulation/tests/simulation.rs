//! Schedules by seed: `CONDUCTOR_SEEDS` says how many, `CONDUCTOR_SEED` which is the first. A seed that fails is shown with
//! its trace, and is the same again.

use std::time::Instant;

use conductor_simulation::{REST_WITHIN, on_large_stack, search, setting, threads, trace};

/// Schedules where nothing else is said.
const SEEDS: u64 = 20_000;

#[expect(clippy::disallowed_methods, reason = "how fast a search is, is real time")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn whatever_breaks_all_ends_as_promised() {
    let began = now();
    let found = search(setting("CONDUCTOR_SEED", 1), setting("CONDUCTOR_SEEDS", SEEDS), threads());
    let seconds = began.elapsed().as_secs_f64();
    let each = |number: u64| number as f64 / found.schedules.max(1) as f64;
    println!(
        "{} schedules in {seconds:.1} s on {} threads: {:.0} a second",
        found.schedules,
        threads(),
        found.schedules as f64 / seconds
    );
    println!(
        "each {:.0} steps, {:.0} commits, {:.1} crashes; {} objects that nobody could know of; at rest after {} s at most \
         (seed {})",
        each(found.total.steps),
        each(found.total.commits),
        each(found.total.crashes),
        found.total.unknowable,
        found.longest_rest.0 / 1_000_000_000,
        found.longest_rest.1
    );
    if let Some(failure) = found.failure {
        panic!("{failure}");
    }
    assert_eq!(found.without_crash, 0, "every schedule has a crash");
    assert!(found.longest_rest.0 <= REST_WITHIN);
}

#[test]
fn a_seed_is_always_the_same_schedule() {
    for seed in 1..=10 {
        let (one, other) = on_large_stack(|| (trace(seed), trace(seed)));
        assert_eq!(one, other, "seed {seed}");
    }
}

//! `sim [SEEDS] [FIRST]`: runs schedules, some at a time, and says how fast; ends at the first that fails.
//! `sim trace SEED`: shows one.

use std::process::ExitCode;
use std::time::Instant;

use conductor_simulation::{on_large_stack, search, threads, trace};

/// Schedules between two lines of output.
const PART: u64 = 20_000;

#[expect(clippy::disallowed_methods, reason = "how fast a search is, is real time")]
fn now() -> Instant {
    Instant::now()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |index: usize, otherwise: u64| arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    if arguments.first().is_some_and(|first| first == "trace") {
        on_large_stack(|| trace(number(1, 1))).iter().for_each(|line| println!("{line}"));
        return ExitCode::SUCCESS;
    }
    let (seeds, first) = (number(0, PART), number(1, 1));
    let began = now();
    let (mut done, mut rest) = (0, (0, 0));
    while done < seeds {
        let found = search(first + done, PART.min(seeds - done), threads());
        done += found.schedules;
        rest = rest.max(found.longest_rest);
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{done} schedules, {:.0} a second; at rest after {} s at most",
            done as f64 / seconds,
            rest.0 / 1_000_000_000
        );
        if let Some(failure) = found.failure {
            println!("{failure}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

//! How many schedules the simulation plays, on all processors.

use conductor_simulation::{search, threads};
use tokio::time::Instant;

use crate::ground::Ground;
use crate::measure::Samples;
use crate::row::{Goal, Line, Row};

const SPEED: Line = Line::new("simulation", "schedules/s", Goal::AtLeast(1000.0));
pub const LINES: &[Line] = &[SPEED];

const PARTS: u64 = 5;
const SCHEDULES: u64 = 1000;

pub async fn rows(_: &Ground) -> Vec<Row> {
    let threads = threads();
    // What is made once is made.
    search(1, threads, threads);
    let part = |part: u64| {
        let (began, first) = (Instant::now(), 1 + part * SCHEDULES);
        let found = search(first, SCHEDULES, threads);
        assert!(found.failure.is_none(), "a schedule has failed: `make sim SEEDS={SCHEDULES} SEED={first}`");
        found.schedules as f64 / began.elapsed().as_secs_f64()
    };
    let speeds: Samples = (0..PARTS).map(part).collect();
    vec![SPEED.of(&speeds).with(format!("{threads} threads"))]
}

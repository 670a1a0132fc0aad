//! The benchmark: Conductor against what people would do instead, and against the limits that are set for it. What each
//! row measures is in `docs/performance.md`.
//!
//! It drives the real programs: the functions' release builds under a Runtime API of our own (`tests/runtime`), with
//! the variables of a deployed stack that nobody else works, and real terraform. Nothing goes through the emulator's
//! gateway and nothing through its queue: the queue is in this process, which hands a wake-up on as soon as it is sent.
//! What is compared is measured in turns, in the same run. It changes nothing of what it measures.

mod api;
mod bare;
mod clock;
mod count;
mod functions;
mod ground;
mod journal;
mod measure;
mod modules;
mod process;
mod proxy;
mod queue;
mod report;
mod row;
mod rows;
mod share;
mod world;

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::time::Instant;

use ground::Ground;
use row::Row;
use rows::{GROUPS, Group};

/// Measures the rows of these groups, all where none is named. An error says what could not be measured.
pub async fn run(chosen: &[String]) -> Result<(), String> {
    if let Some(unknown) = chosen.iter().find(|name| GROUPS.iter().all(|group| group.name != name.as_str())) {
        let names: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
        return Err(format!("there are no rows {unknown:?}; there are {}", names.join(", ")));
    }
    let ground = Ground::load().await;
    let (mut rows, mut broken) = (Vec::new(), Vec::new());
    for group in GROUPS.iter().filter(|group| chosen.is_empty() || chosen.iter().any(|name| name == group.name)) {
        let began = Instant::now();
        match measured(group, &ground).await {
            Ok(found) => rows.extend(found),
            Err(why) => {
                rows.extend(group.lines.iter().map(|line| line.missing(&why)));
                broken.push(format!("{}: {why}", group.name));
            }
        }
        println!("[{:4.0} s] {}", began.elapsed().as_secs_f64(), group.name);
    }
    report::write(&rows, &ground, chosen.is_empty());
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

/// What breaks in a group is no reason to lose the others.
async fn measured(group: &Group, ground: &Ground) -> Result<Vec<Row>, String> {
    let measured = AssertUnwindSafe((group.rows)(ground)).catch_unwind().await;
    measured.map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        said.or_else(|| panic.downcast_ref::<&'static str>().copied()).unwrap_or("it broke").to_owned()
    })
}

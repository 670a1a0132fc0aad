//! The groups of rows: each measures its own, in a world of its own.

mod aws;
mod builtin;
mod cpu;
mod crowd;
mod growth;
mod link;
mod memory;
mod redeploy;
mod simulation;
mod start;
mod store;
mod sweeper;
mod toolchain;

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::ground::Ground;
use crate::row::{Line, Row};

/// Rows that are measured together.
pub struct Group {
    /// What `make bench ROWS=…` calls them.
    pub name: &'static str,
    /// What there is to measure.
    pub lines: &'static [Line],
    /// Measures it.
    pub rows: for<'g> fn(&'g Ground) -> LocalBoxFuture<'g, Vec<Row>>,
}

/// All groups, in the order of the table.
pub const GROUPS: &[Group] = &[
    Group { name: "builtin", lines: builtin::LINES, rows: |ground| builtin::rows(ground).boxed_local() },
    Group { name: "aws", lines: aws::LINES, rows: |ground| aws::rows(ground).boxed_local() },
    Group { name: "redeploy", lines: redeploy::LINES, rows: |ground| redeploy::rows(ground).boxed_local() },
    Group { name: "toolchain", lines: toolchain::LINES, rows: |ground| toolchain::rows(ground).boxed_local() },
    Group { name: "link", lines: link::LINES, rows: |ground| link::rows(ground).boxed_local() },
    Group { name: "start", lines: start::LINES, rows: |ground| start::rows(ground).boxed_local() },
    Group { name: "cpu", lines: cpu::LINES, rows: |ground| cpu::rows(ground).boxed_local() },
    Group { name: "store", lines: store::LINES, rows: |ground| store::rows(ground).boxed_local() },
    Group { name: "growth", lines: growth::LINES, rows: |ground| growth::rows(ground).boxed_local() },
    Group { name: "crowd", lines: crowd::LINES, rows: |ground| crowd::rows(ground).boxed_local() },
    Group { name: "sweeper", lines: sweeper::LINES, rows: |ground| sweeper::rows(ground).boxed_local() },
    Group { name: "memory", lines: memory::LINES, rows: |ground| memory::rows(ground).boxed_local() },
    Group { name: "simulation", lines: simulation::LINES, rows: |ground| simulation::rows(ground).boxed_local() },
];

/// Rows none of which can be measured.
fn missing(lines: &[Line], why: &str) -> Vec<Row> {
    lines.iter().map(|line| line.missing(why)).collect()
}

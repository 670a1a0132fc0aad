//! Where the rows go: a table for people, a file for programs.

use std::fs;

use conductor_faults::checkout;
use serde_json::{Value, json};

use crate::clock::now;
use crate::ground::Ground;
use crate::row::{Row, table};

/// The file of a run of all rows, and of some.
const WHOLE: &str = "target/bench.json";
const PART: &str = "target/bench-part.json";

/// Prints the rows and writes them down.
pub fn write(rows: &[Row], ground: &Ground, whole: bool) {
    println!("\n{}\n", table(rows));
    let name = if whole { WHOLE } else { PART };
    let content = json!({"machine": machine(ground), "rows": rows});
    fs::write(checkout().join(name), format!("{content:#}\n")).expect("the figures can be written");
    println!("{name}");
}

/// What the figures are worth depends on.
fn machine(ground: &Ground) -> Value {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let provider = ground.machine.provider.as_ref().map(|provider| format!("{} {}", provider.source, provider.version));
    json!({
        "date": now().to_string(),
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": field("/proc/cpuinfo", "model name"),
        "memory": field("/proc/meminfo", "MemTotal"),
        "terraform": ground.machine.terraform_version,
        "provider": provider,
    })
}

//! `conductor-bench [GROUP,…]`: measures, prints the table, and writes `target/bench.json`. A goal that is missed is no
//! failure; a row that could not be measured is.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Cargo adds an option of its own.
    let arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let arguments: Vec<String> = arguments.collect();
    let names = arguments.iter().flat_map(|list| list.split(',')).filter(|name| !name.is_empty());
    let chosen: Vec<String> = names.map(str::to_owned).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(conductor_bench::run(&chosen)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

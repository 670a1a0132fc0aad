//! The provisioner: carries out operations with terraform. As a function it is woken by SQS; as a plain worker it polls
//! the workers' queue itself.

mod artifacts;
mod backend;
mod config;
mod confine;
mod credentials;
mod errored;
mod executor;
mod fault;
mod handler;
mod lock;
mod scratch;
mod secrets;
mod state;
mod strays;
mod variables;
mod worker;

use std::path::Path;

use lambda_runtime::Error;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => run(handler::serve()),
        ["--worker"] => run(worker::run(false)),
        ["--worker", "--once"] => run(worker::run(true)),
        ["--credentials", file] => Ok(credentials::print(Path::new(file))?),
        _ => {
            eprintln!("usage: provisioner [--worker [--once] | --credentials <file>]");
            std::process::exit(2)
        }
    }
}

fn run(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    confine::confine()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

//! The provisioner: carries out operations with terraform. As a function it is woken by SQS; as a plain worker it polls
//! the workers' queue itself.

mod artifacts;
mod backend;
mod config;
mod credentials;
mod errored;
mod executor;
mod fault;
mod handler;
mod lock;
mod state;
mod worker;

use std::path::Path;

use conductor_domain::operation::ExecutorKind;
use handler::Handler;
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => {
            let (handler, ..) = Handler::start(ExecutorKind::Lambda).await?;
            let handler = &handler;
            lambda_runtime::run(service_fn(|event: LambdaEvent<_>| handler.handle(event))).await
        }
        ["--worker"] => worker::run(false).await,
        ["--worker", "--once"] => worker::run(true).await,
        ["--credentials", file] => Ok(credentials::print(Path::new(file))?),
        _ => {
            eprintln!("usage: provisioner [--worker [--once] | --credentials <file>]");
            std::process::exit(2)
        }
    }
}

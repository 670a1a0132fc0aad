//! The provisioner: woken by SQS, it carries out one operation with terraform, and then what became ready by it.

mod artifacts;
mod backend;
mod config;
mod credentials;
mod executor;
mod handler;
mod state;

use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    conductor_telemetry::start_logs();
    // Otherwise a child of terraform could read this process's keys from /proc.
    nix::sys::prctl::set_dumpable(false)?;
    let config = config::Config::from_env()?;
    let aws = conductor_store::load_config().await;
    let handler = handler::Handler::new(&config, &aws)?;
    handler.check_clock().await?;
    let handler = &handler;
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| handler.handle(event))).await
}

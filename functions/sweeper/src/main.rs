//! The sweeper: woken by the clock, it settles whatever is due.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use conductor_engine::Swept;
use conductor_store::{Engine, Names};
use conductor_telemetry::{ConfigError, optional, required, seconds};
use lambda_runtime::{Error, LambdaEvent, service_fn};

fn names() -> Result<Names, ConfigError> {
    Ok(Names {
        table: required("TABLE_NAME")?,
        wake_queue_url: required("WAKE_QUEUE_URL")?,
        worker_queue_url: optional("WORKER_QUEUE_URL"),
        // It sends none there, and counts none.
        dead_letter_queue_url: None,
        vault_bucket: required("VAULT_BUCKET")?,
        // The sweeper plans and settles; it never publishes a template or makes a resource.
        artifact_bucket: String::new(),
        state_bucket: String::new(),
    })
}

async fn handle(engine: &Engine, _: LambdaEvent<EventBridgeEvent<serde_json::Value>>) -> Result<Swept, Error> {
    let swept = engine.sweep().await?;
    tracing::info!(
        outcome = "sweep",
        due = swept.due,
        woken = swept.woken,
        failed = swept.failed,
        oldestDueSeconds = swept.oldest_due_seconds,
        longestDeploymentSeconds = swept.longest_deployment_seconds,
        "swept"
    );
    Ok(swept)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    conductor_telemetry::start_logs();
    let timings = conductor_store::timings(seconds)?;
    let engine = conductor_store::engine(&conductor_store::load_config().await, names()?, timings);
    let engine = &engine;
    lambda_runtime::run(service_fn(|event| handle(engine, event))).await
}

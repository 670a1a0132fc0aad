//! The API: one Lambda function behind a REST API. It records what people ask for, and shows what is.
//!
//! It never runs terraform, holds no cloud credentials and cannot reach a state.

mod app;
mod config;
mod extract;
mod problem;
mod routes;
mod view;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    conductor_telemetry::start_logs();
    let config = config::Config::from_env()?;
    let engine = conductor_store::engine(&conductor_store::load_config().await, config.names.clone(), config.timings);
    lambda_http::run(app::router(engine, config)).await
}

//! The API: a Lambda function behind a REST API. It records what people ask for, and shows what is. The same program is
//! the function that streams logs (`LOG_STREAMING`).
//!
//! It never runs terraform, holds no cloud credentials and cannot reach a state.

mod app;
mod config;
mod dashboard;
mod extract;
mod price;
mod problem;
mod routes;
mod view;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    conductor_telemetry::start_logs();
    let config = config::Config::from_env()?;
    let engine = conductor_store::engine(&conductor_store::load_config().await, config.names.clone(), config.timings);
    let streaming = config.streaming;
    let router = app::router(engine, config);
    if streaming { lambda_http::run_with_streaming_response(router).await } else { lambda_http::run(router).await }
}

//! The API: a Lambda function behind a REST API. It records what people ask for, and shows what is. The same program is
//! the function that streams logs (`LOG_STREAMING`).
//!
//! It never runs terraform, holds no cloud credentials and cannot reach a state.

mod access;
mod app;
mod auth;
mod config;
mod dashboard;
mod extract;
mod price;
mod problem;
mod routes;
mod view;

// An instance has one request at a time: other threads would only be woken for it.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    conductor_telemetry::start_logs();
    let config = config::Config::from_env()?;
    let engine = conductor_store::engine(&conductor_store::load_config().await, config.names.clone(), config.timings);
    if config.authentication == auth::Authentication::Open {
        tracing::warn!("open: everyone who reaches this address is an administrator");
    }
    let streaming = config.streaming;
    let router = app::router(engine, config);
    if streaming { lambda_http::run_with_streaming_response(router).await } else { lambda_http::run(router).await }
}

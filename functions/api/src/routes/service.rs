//! `/health` and `/ready`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::Asking;
use crate::problem::{Problem, Refused};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(ready))
}

#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`
    status: &'static str,
    /// The release that answers.
    version: &'static str,
}

const OK: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };

/// Whether the function is alive.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, body = Health)))]
async fn health() -> Json<Health> {
    Json(OK)
}

/// Whether table, queue and buckets answer.
#[utoipa::path(get, path = "/ready", tag = "service",
    responses((status = 200, body = Health), (status = 503, body = Problem)))]
async fn ready(State(app): State<App>, Asking(caller): Asking) -> Result<Json<Health>, Refused> {
    app.engine.ready(&caller).await?;
    Ok(Json(OK))
}

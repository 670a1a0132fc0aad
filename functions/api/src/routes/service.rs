//! `/health`, `/ready` and `/v1/principal`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::Asking;
use crate::problem::{Problem, Refused};
use crate::view::PrincipalView;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(ready)).routes(routes!(principal))
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
    responses((status = 200, body = Health), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
async fn ready(State(app): State<App>, Asking(caller): Asking) -> Result<Json<Health>, Refused> {
    app.engine.ready(&caller).await?;
    Ok(Json(OK))
}

/// Who asks, and what that principal may do.
#[utoipa::path(get, path = "/v1/principal", tag = "service",
    responses((status = 200, body = PrincipalView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn principal(Asking(caller): Asking) -> Json<PrincipalView> {
    Json(PrincipalView::from(caller.principal))
}

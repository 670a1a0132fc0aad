//! `/v1/sessions`

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::{Asked, Asking};
use crate::problem::{Problem, Refused};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(delete))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SessionQuery {
    /// Whose sessions: the id of a principal.
    principal: String,
}

/// Ends the sessions of a principal: their browsers have to sign in again. One that began within the last seconds may
/// not be found yet.
#[utoipa::path(delete, path = "/v1/sessions", tag = "tokens", params(SessionQuery),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn delete(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<SessionQuery>,
) -> Result<StatusCode, Refused> {
    app.engine.end_sessions(&caller, &query.principal).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `/v1/environments/{environment}/graph` and `/v1/resources/{id}/impact`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use conductor_domain::ids::ResourceId;
use conductor_domain::name::EnvironmentName;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::{Asking, Named, id as parse_id};
use crate::problem::{Problem, Refused};
use crate::view::{GraphView, ImpactView};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(graph)).routes(routes!(impact))
}

/// The resources of an environment, who uses them, and what they depend on.
#[utoipa::path(get, path = "/v1/environments/{environment}/graph", tag = "environments",
    params(("environment" = String, Path)),
    responses((status = 200, body = GraphView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn graph(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<EnvironmentName>,
) -> Result<Response, Refused> {
    let graph = app.engine.environment_graph(&caller, &name).await?;
    Ok(Json(GraphView::from(graph)).into_response())
}

/// Who would lose what if a resource were deleted.
#[utoipa::path(get, path = "/v1/resources/{id}/impact", tag = "resources", params(("id" = String, Path)),
    responses((status = 200, body = ImpactView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn impact(State(app): State<App>, Asking(caller): Asking, Named(id): Named<String>) -> Result<Response, Refused> {
    let id: ResourceId = parse_id(&id)?;
    let impact = app.engine.impact(&caller, id).await?;
    Ok(Json(ImpactView::from(impact)).into_response())
}

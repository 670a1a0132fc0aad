//! `/v1/environments`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use conductor_domain::environment::EnvironmentSpec;
use conductor_domain::name::EnvironmentName;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ListOf, PageQuery, etag, location};
use crate::app::App;
use crate::extract::{Asked, Asking, Body, IfMatch, Named, limit};
use crate::problem::{Problem, Refused};
use crate::view::EnvironmentView;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put, get, delete))
}

/// All environments.
#[utoipa::path(get, path = "/v1/environments", tag = "environments", params(PageQuery),
    responses((status = 200, body = ListOf<EnvironmentView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(page): Asked<PageQuery>,
) -> Result<Response, Refused> {
    let list = app.engine.environments(&caller, page.cursor, limit(page.limit)?).await?;
    let items: Vec<_> = list.items.into_iter().map(EnvironmentView::from).collect();
    Ok(Json(ListOf { items, next_cursor: list.next }).into_response())
}

/// Makes an environment, or changes it.
#[utoipa::path(put, path = "/v1/environments/{environment}", tag = "environments", request_body = EnvironmentSpec,
    params(("environment" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = EnvironmentView), (status = 201, body = EnvironmentView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn put(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<EnvironmentName>,
    IfMatch(precondition): IfMatch,
    Body(spec): Body<EnvironmentSpec>,
) -> Result<Response, Refused> {
    let put = app.engine.put_environment(&caller, &name, spec, &precondition).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    let place = location(&app, &format!("/v1/environments/{name}"));
    Ok((status, etag(&put.record.version), place, Json(EnvironmentView::from(put.record))).into_response())
}

/// One environment.
#[utoipa::path(get, path = "/v1/environments/{environment}", tag = "environments", params(("environment" = String, Path)),
    responses((status = 200, body = EnvironmentView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn get(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<EnvironmentName>,
) -> Result<Response, Refused> {
    let environment = app.engine.environment(&caller, &name).await?;
    Ok((etag(&environment.version), Json(EnvironmentView::from(environment))).into_response())
}

/// Ends an environment that has no resources.
#[utoipa::path(delete, path = "/v1/environments/{environment}", tag = "environments",
    params(("environment" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn delete(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<EnvironmentName>,
    IfMatch(precondition): IfMatch,
) -> Result<StatusCode, Refused> {
    app.engine.delete_environment(&caller, &name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

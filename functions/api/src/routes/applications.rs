//! `/v1/applications`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;
use conductor_domain::name::{ApplicationName, EnvironmentName, WorkloadName};
use conductor_engine::TeardownRequest;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ListOf, PageQuery, etag, location, recorded, split};
use crate::app::App;
use crate::extract::{Asked, Asking, IfMatch, Named, limit};
use crate::problem::{Problem, Refused};
use crate::view::{ApplicationView, DeploymentView, DryRunView};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put, get, delete)).routes(routes!(teardown))
}

/// All applications.
#[utoipa::path(get, path = "/v1/applications", tag = "applications", params(PageQuery),
    responses((status = 200, body = ListOf<ApplicationView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(page): Asked<PageQuery>,
) -> Result<Response, Refused> {
    let list = app.engine.applications(&caller, page.cursor, limit(page.limit)?).await?;
    let items: Vec<_> = list.items.into_iter().map(|read| ApplicationView::from(read.value)).collect();
    Ok(Json(ListOf { items, next_cursor: list.next }).into_response())
}

/// Makes an application; its first deployment does so too.
#[utoipa::path(put, path = "/v1/applications/{application}", tag = "applications",
    params(("application" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ApplicationView), (status = 201, body = ApplicationView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn put(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<ApplicationName>,
    IfMatch(precondition): IfMatch,
) -> Result<Response, Refused> {
    let put = app.engine.put_application(&caller, &name, &precondition).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    let place = location(&app, &format!("/v1/applications/{name}"));
    Ok((status, etag(&put.record.version), place, Json(ApplicationView::from(put.record.value))).into_response())
}

/// One application.
#[utoipa::path(get, path = "/v1/applications/{application}", tag = "applications", params(("application" = String, Path)),
    responses((status = 200, body = ApplicationView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn get(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<ApplicationName>,
) -> Result<Response, Refused> {
    let application = app.engine.application(&caller, &name).await?;
    Ok((etag(&application.version), Json(ApplicationView::from(application.value))).into_response())
}

/// Ends an application that holds nothing.
#[utoipa::path(delete, path = "/v1/applications/{application}", tag = "applications",
    params(("application" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn delete(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<ApplicationName>,
    IfMatch(precondition): IfMatch,
) -> Result<StatusCode, Refused> {
    app.engine.delete_application(&caller, &name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TeardownQuery {
    /// Only this workload; all where none is given.
    workload: Option<String>,
    /// Names of resources that may be destroyed although the environment is protected, separated by commas.
    allow_destroy: Option<String>,
    /// Only tell what would go and what would stay: 200, and nothing is done.
    dry_run: Option<bool>,
}

/// Lets go of everything that an application, or one of its workloads, holds in an environment.
#[utoipa::path(delete, path = "/v1/applications/{application}/environments/{environment}", tag = "applications",
    params(("application" = String, Path), ("environment" = String, Path), TeardownQuery),
    responses((status = 200, body = DryRunView, description = "With `dryRun=true`."),
        (status = 202, body = DeploymentView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn teardown(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((application, environment)): Named<(ApplicationName, EnvironmentName)>,
    Asked(query): Asked<TeardownQuery>,
) -> Result<Response, Refused> {
    let workload = query.workload.map(WorkloadName::new).transpose();
    let workload = workload.map_err(|error| Refused::new(Code::NameInvalid, error.to_string()))?;
    let allow_destroy = query.allow_destroy.as_deref().map(split).unwrap_or_default();
    let request = TeardownRequest { environment, application, workload, allow_destroy, idempotency: None };
    if query.dry_run == Some(true) {
        let run = app.engine.dry_run_teardown(&caller, request).await?;
        return Ok(Json(DryRunView::from(run)).into_response());
    }
    let submitted = app.engine.teardown(&caller, request).await?;
    recorded(&app, &caller, submitted).await
}

//! `/v1/resources`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;
use conductor_domain::ids::ResourceId;
use conductor_domain::name::{ApplicationName, EnvironmentName, NameError};
use conductor_domain::resource::ResourceStatus;
use conductor_engine::ResourceFilter;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ListOf, etag};
use crate::app::App;
use crate::extract::{Asked, Asking, Named, id as parse_id, limit};
use crate::problem::{Problem, Refused};
use crate::view::{OutputValue, ResourceItem, ResourceView};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(output))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only those of this environment.
    environment: Option<String>,
    /// Only those of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only those that this application holds; needs `environment`.
    application: Option<String>,
    /// Only those in this status.
    status: Option<ResourceStatus>,
    /// Where the last answer ended: its `nextCursor`.
    cursor: Option<String>,
    /// 1 to 100; 20 where it is not given.
    limit: Option<u32>,
}

/// Resources, newest first, also those that are gone.
#[utoipa::path(get, path = "/v1/resources", tag = "resources", params(ListQuery),
    responses((status = 200, body = ListOf<ResourceItem>), (status = "4XX", body = Problem)))]
async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, Refused> {
    let invalid = |error: NameError| Refused::new(Code::QueryInvalid, error.to_string());
    let filter = ResourceFilter {
        environment: query.environment.map(EnvironmentName::new).transpose().map_err(invalid)?,
        kind: query.kind,
        application: query.application.map(ApplicationName::new).transpose().map_err(invalid)?,
        status: query.status,
    };
    let list = app.engine.resources(&caller, &filter, query.cursor, limit(query.limit)?).await?;
    let items: Vec<_> = list.items.into_iter().map(|read| ResourceItem::from(read.value)).collect();
    Ok(Json(ListOf { items, next_cursor: list.next }).into_response())
}

/// One resource with its parameters, outputs and consumers.
#[utoipa::path(get, path = "/v1/resources/{id}", tag = "resources", params(("id" = String, Path)),
    responses((status = 200, body = ResourceView), (status = "4XX", body = Problem)))]
async fn get(State(app): State<App>, Asking(caller): Asking, Named(id): Named<String>) -> Result<Response, Refused> {
    let id: ResourceId = parse_id(&id)?;
    let view = app.engine.resource(&caller, id).await?;
    Ok((etag(&view.resource.version), Json(ResourceView::from(view))).into_response())
}

/// One output; reading a sensitive one is audited.
#[utoipa::path(get, path = "/v1/resources/{id}/outputs/{name}", tag = "resources",
    params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = OutputValue), (status = "4XX", body = Problem)))]
async fn output(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((id, name)): Named<(String, String)>,
) -> Result<Response, Refused> {
    let id: ResourceId = parse_id(&id)?;
    if name.len() > 255 {
        return Err(Refused::new(Code::OutputNotFound, "an output's name has at most 255 characters"));
    }
    let (value, sensitive) = app.engine.output(&caller, id, &name).await?;
    Ok(Json(OutputValue { value: Some(value), sensitive }).into_response())
}

//! `/v1/environments/{environment}/pools`

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;
use conductor_domain::name::{EnvironmentName, PoolName};
use conductor_domain::pool::{PoolKey, PoolSharing};
use conductor_engine::PoolSpec;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ListOf, etag, location};
use crate::app::App;
use crate::extract::{Asking, Body, IfMatch, Named, template};
use crate::problem::{Problem, Refused};
use crate::view::PoolView;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(put, get, delete))
}

/// All pools of an environment.
#[utoipa::path(get, path = "/v1/environments/{environment}/pools", tag = "pools", params(("environment" = String, Path)),
    responses((status = 200, body = ListOf<PoolView>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(environment): Named<EnvironmentName>,
) -> Result<Response, Refused> {
    let pools = app.engine.pools(&caller, &environment).await?;
    let items: Vec<_> = pools.into_iter().map(PoolView::from).collect();
    Ok(Json(ListOf { items, next_cursor: None }).into_response())
}

/// What a pool shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PoolBody {
    /// The type of its members, with a class as `postgres.large`.
    #[serde(rename = "type")]
    kind: String,
    /// The version of new members; the one that a new resource would get where none is given.
    template_version: Option<String>,
    /// The parameters of new members.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Map<String, Value>>,
    /// How many free members there shall be, 0 to 100.
    size: u32,
    /// `dedicated` where it is not given.
    sharing: Option<PoolSharing>,
    /// How many may have a shared member; no limit where it is not given.
    max_consumers: Option<u32>,
    /// Whether members stay when their last consumer leaves; false where it is not given.
    retain: Option<bool>,
}

impl PoolBody {
    fn into_spec(self) -> Result<PoolSpec, Refused> {
        let version = self.template_version.as_deref().map(conductor_domain::template::version).transpose();
        Ok(PoolSpec {
            template: template(&self.kind, None)?,
            version: version.map_err(|error| Refused::at(Code::VersionInvalid, "/templateVersion", error))?,
            parameters: self.parameters.unwrap_or_default(),
            size: self.size,
            sharing: self.sharing.unwrap_or_default(),
            max_consumers: self.max_consumers,
            retain: self.retain.unwrap_or(false),
        })
    }
}

/// Makes a pool, or changes it. Its members are made, and let go of, afterwards.
#[utoipa::path(put, path = "/v1/environments/{environment}/pools/{pool}", tag = "pools", request_body = PoolBody,
    params(("environment" = String, Path), ("pool" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PoolView), (status = 201, body = PoolView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn put(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((environment, name)): Named<(EnvironmentName, PoolName)>,
    IfMatch(precondition): IfMatch,
    Body(body): Body<PoolBody>,
) -> Result<Response, Refused> {
    let key = PoolKey { environment, name };
    let put = app.engine.put_pool(&caller, key.clone(), body.into_spec()?, &precondition).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    let view = app.engine.pool(&caller, &key).await?;
    Ok((status, etag(&view.pool.version), place(&app, &key), Json(PoolView::from(view))).into_response())
}

/// One pool, and how its members stand.
#[utoipa::path(get, path = "/v1/environments/{environment}/pools/{pool}", tag = "pools",
    params(("environment" = String, Path), ("pool" = String, Path)),
    responses((status = 200, body = PoolView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn get(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((environment, name)): Named<(EnvironmentName, PoolName)>,
) -> Result<Response, Refused> {
    let view = app.engine.pool(&caller, &PoolKey { environment, name }).await?;
    Ok((etag(&view.pool.version), Json(PoolView::from(view))).into_response())
}

/// Ends a pool: its free members are let go of, and then it is gone. What somebody has stays.
#[utoipa::path(delete, path = "/v1/environments/{environment}/pools/{pool}", tag = "pools",
    params(("environment" = String, Path), ("pool" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 202, description = "It goes with its last free member."), (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn delete(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((environment, name)): Named<(EnvironmentName, PoolName)>,
    IfMatch(precondition): IfMatch,
) -> Result<Response, Refused> {
    let key = PoolKey { environment, name };
    if app.engine.delete_pool(&caller, &key, &precondition).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok((StatusCode::ACCEPTED, place(&app, &key)).into_response())
}

fn place(app: &App, key: &PoolKey) -> HeaderMap {
    location(app, &format!("/v1/environments/{}/pools/{}", key.environment, key.name))
}

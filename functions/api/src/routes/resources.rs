//! `/v1/resources`

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;
use conductor_domain::ids::ResourceId;
use conductor_domain::name::{ApplicationName, EnvironmentName, NameError};
use conductor_domain::resource::ResourceStatus;
use conductor_engine::{NewExternal, ResourceChange, ResourceFilter};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{AllowDestroy, ListOf, accepted, etag, location};
use crate::app::App;
use crate::extract::{Asked, Asking, Body, IfMatch, KeyedBody, Named, id as parse_id, limit, name, template};
use crate::problem::{Problem, Refused};
use crate::view::{DeploymentView, OutputValue, ResourceItem, ResourceView};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(post, list)).routes(routes!(get, patch, delete)).routes(routes!(output))
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
    responses((status = 200, body = ListOf<ResourceItem>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
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
        text: None,
    };
    let list = app.engine.resources(&caller, &filter, query.cursor, limit(query.limit)?).await?;
    let items: Vec<_> = list.items.into_iter().map(|read| ResourceItem::from(read.value)).collect();
    Ok(Json(ListOf { items, next_cursor: list.next }).into_response())
}

/// A resource that Conductor did not make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ResourceBody {
    /// Where it is to be known.
    environment: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// Its class; `default` where none is given.
    class: Option<String>,
    /// The name by which files share it; without one it is found by its id alone.
    name: Option<String>,
    /// Its id where it lives.
    existing_resource_id: String,
    /// What it was made with, for matching.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Map<String, Value>>,
    /// What placeholders may name. An object of exactly `value` and `sensitive` says both; anything else is the value.
    outputs: BTreeMap<String, Value>,
}

/// Makes a resource known that Conductor did not make: it can be used, and is never changed or destroyed.
#[utoipa::path(post, path = "/v1/resources", tag = "resources",
    params(("Idempotency-Key" = Option<String>, Header)), request_body = ResourceBody,
    responses((status = 201, body = ResourceView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn post(
    State(app): State<App>,
    Asking(caller): Asking,
    KeyedBody(idempotency, body): KeyedBody<ResourceBody>,
) -> Result<Response, Refused> {
    let new = NewExternal {
        environment: name(&body.environment, "/environment")?,
        template: template(&body.kind, body.class.as_deref())?,
        name: body.name,
        existing_id: body.existing_resource_id,
        parameters: body.parameters.unwrap_or_default(),
        outputs: body.outputs.into_iter().map(|(name, given)| (name, output_given(given))).collect(),
    };
    let id = app.engine.register(&caller, new, idempotency).await?;
    let view = app.engine.resource(&caller, id).await?;
    let place = location(&app, &format!("/v1/resources/{id}"));
    Ok((StatusCode::CREATED, etag(&view.resource.version), place, Json(ResourceView::from(view))).into_response())
}

/// The value of an output, and whether it is sensitive.
fn output_given(given: Value) -> (Value, bool) {
    let sensitive = match &given {
        Value::Object(map) if map.len() == 2 && map.contains_key("value") => {
            map.get("sensitive").and_then(Value::as_bool)
        }
        _ => None,
    };
    match (sensitive, given) {
        (Some(sensitive), Value::Object(mut map)) => (map.remove("value").unwrap_or_default(), sensitive),
        (_, value) => (value, false),
    }
}

/// One resource with its parameters, outputs and consumers.
#[utoipa::path(get, path = "/v1/resources/{id}", tag = "resources", params(("id" = String, Path)),
    responses((status = 200, body = ResourceView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn get(State(app): State<App>, Asking(caller): Asking, Named(id): Named<String>) -> Result<Response, Refused> {
    let id: ResourceId = parse_id(&id)?;
    let view = app.engine.resource(&caller, id).await?;
    Ok((etag(&view.resource.version), Json(ResourceView::from(view))).into_response())
}

/// What can be said of a resource.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResourcePatch {
    /// Whether every environment may name it, and matching with the scope `global` finds it.
    published: Option<bool>,
    /// `true`: what `unstored` lists has been looked for and seen to.
    #[serde(default)]
    reconciled: bool,
}

/// Publishes a resource, or takes that back; says that what no state had has been seen to.
#[utoipa::path(patch, path = "/v1/resources/{id}", tag = "resources", request_body = ResourcePatch,
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ResourceView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn patch(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
    IfMatch(precondition): IfMatch,
    Body(body): Body<ResourcePatch>,
) -> Result<Response, Refused> {
    let id: ResourceId = parse_id(&id)?;
    let change = ResourceChange { published: body.published, reconciled: body.reconciled };
    app.engine.change_resource(&caller, id, change, &precondition).await?;
    let view = app.engine.resource(&caller, id).await?;
    Ok((etag(&view.resource.version), Json(ResourceView::from(view))).into_response())
}

/// Ends a resource that nobody uses: one that Conductor did not make is forgotten at once, another is destroyed by a
/// deployment of kind `release`.
#[utoipa::path(delete, path = "/v1/resources/{id}", tag = "resources",
    params(("id" = String, Path), AllowDestroy, ("If-Match" = Option<String>, Header)),
    responses((status = 202, body = DeploymentView), (status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn delete(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
    Asked(query): Asked<AllowDestroy>,
    IfMatch(precondition): IfMatch,
) -> Result<Response, Refused> {
    let id: ResourceId = parse_id(&id)?;
    match app.engine.delete_resource(&caller, id, query.allowed(), &precondition).await? {
        Some(deployment) => accepted(&app, &caller, deployment).await,
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// One output; reading a sensitive one is audited.
#[utoipa::path(get, path = "/v1/resources/{id}/outputs/{name}", tag = "resources",
    params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = OutputValue), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_output_is_its_value_or_says_whether_it_is_sensitive() {
        let check = |given: Value, value: Value, sensitive: bool| {
            assert_eq!(output_given(given.clone()), (value, sensitive), "{given}");
        };
        check(json!("x"), json!("x"), false);
        check(json!({"value": "x", "sensitive": true}), json!("x"), true);
        check(json!({"value": {"a": 1}, "sensitive": false}), json!({"a": 1}), false);
        check(json!({"value": "x"}), json!({"value": "x"}), false);
        check(json!({"value": "x", "sensitive": "yes"}), json!({"value": "x", "sensitive": "yes"}), false);
        check(json!({"value": 1, "sensitive": true, "a": 2}), json!({"value": 1, "sensitive": true, "a": 2}), false);
        check(json!(null), json!(null), false);
    }
}

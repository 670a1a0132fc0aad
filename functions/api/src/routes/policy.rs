//! `/v1/template-policy`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use conductor_domain::template::policy::{AllowedProvider, PolicySpec, Rules, TemplatePolicy};
use conductor_engine::port::Versioned;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::etag;
use crate::app::App;
use crate::extract::{Asking, Body, IfMatch};
use crate::problem::{Problem, Refused};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get, put))
}

/// What templates may do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TemplatePolicyView {
    rules: Rules,
    /// The providers that templates may need; where there is none, every provider.
    providers: Vec<AllowedProvider>,
    /// What the source of a called module may begin with.
    module_sources: Vec<String>,
    /// When it was last changed; `null` while the default holds.
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
}

impl TemplatePolicyView {
    fn new(spec: PolicySpec, updated_at: Option<Timestamp>) -> Self {
        let PolicySpec { rules, providers, module_sources } = spec;
        Self { rules, providers, module_sources, updated_at }
    }
}

fn shown(read: Versioned<TemplatePolicy>) -> Response {
    let Versioned { value, version } = read;
    (etag(&version), Json(TemplatePolicyView::new(value.spec, Some(value.updated_at)))).into_response()
}

/// What templates may do when they are published; the default where nothing was said.
#[utoipa::path(get, path = "/v1/template-policy", tag = "templates",
    responses((status = 200, body = TemplatePolicyView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn get(State(app): State<App>, Asking(caller): Asking) -> Result<Response, Refused> {
    let default = || Json(TemplatePolicyView::new(PolicySpec::default(), None)).into_response();
    Ok(app.engine.template_policy(&caller).await?.map_or_else(default, shown))
}

/// Says what templates may do. The whole is replaced: a rule that is left out does what it does by default.
#[utoipa::path(put, path = "/v1/template-policy", tag = "templates", request_body = PolicySpec,
    params(("If-Match" = Option<String>, Header)),
    responses((status = 200, body = TemplatePolicyView), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
async fn put(
    State(app): State<App>,
    Asking(caller): Asking,
    IfMatch(precondition): IfMatch,
    Body(spec): Body<PolicySpec>,
) -> Result<Response, Refused> {
    Ok(shown(app.engine.put_template_policy(&caller, spec, &precondition).await?))
}

//! The router: routes by noun, the OpenAPI document that comes out of them, and what stands around every request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use conductor_domain::Code;
use conductor_store::Engine;
use lambda_http::request::RequestContext;
use tracing::Instrument;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::config::Config;
use crate::dashboard;
use crate::extract::RequestId;
use crate::problem::{Problem, Refused};
use crate::routes;

/// What every handler can reach.
#[derive(Clone)]
pub struct App {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The configuration.
    pub config: Arc<Config>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Conductor",
        description = "A Score file says what an application needs; Conductor makes it so.\n\nErrors are `application/problem+json`; every `code` is listed in the schema `Code`."
    ),
    components(schemas(Problem, Code))
)]
struct Document;

/// All routes, and the document that describes them.
pub fn routes() -> (Router<App>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(routes::environments::routes())
        .merge(routes::pools::routes())
        .merge(routes::graph::routes())
        .merge(routes::applications::routes())
        .merge(routes::templates::routes())
        .merge(routes::deployments::routes())
        .merge(routes::logs::routes())
        .merge(routes::resources::routes())
        .merge(routes::consumers::routes())
        .merge(routes::audit::routes())
        .merge(routes::service::routes())
        .split_for_parts();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    (router, document)
}

/// The whole application.
pub fn router(engine: Engine, config: Config) -> Router {
    let (router, document) = routes();
    let document = Arc::new(document);
    let app = App { engine: Arc::new(engine), config: Arc::new(config) };
    router
        .merge(dashboard::routes())
        .route("/openapi.json", get(move || async move { Json((*document).clone()) }))
        .fallback(|| async { Refused::new(Code::RouteNotFound, Code::RouteNotFound.title()) })
        .method_not_allowed_fallback(|| async { Refused::new(Code::MethodNotAllowed, Code::MethodNotAllowed.title()) })
        .layer(from_fn_with_state(app.clone(), around))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(app)
}

/// Gives the request its id, and writes refusals as problems with that id; as pages, for who wants a page.
async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV1(context)) => context.request_id.clone(),
        _ => None,
    };
    let id = id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_for_people = dashboard::problem::is_for_people(&method, &path, request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", requestId = id);
    let mut response = next.run(request).instrument(span.clone()).await;
    let _span = span.entered();
    if let Some(refused) = response.extensions_mut().remove::<Refused>() {
        response = match is_for_people {
            true => dashboard::problem::page(&app, refused, &id),
            false => refused.into_problem(&id).into_response(),
        };
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response.headers_mut().entry("cache-control").or_insert(HeaderValue::from_static("no-store"));
    tracing::info!(%method, path, status = response.status().as_u16(), "request");
    response
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_is_the_one_that_was_reviewed() {
        let (_, document) = super::routes();
        insta::assert_json_snapshot!(document);
    }
}

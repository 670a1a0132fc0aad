//! The router: routes by noun, the OpenAPI document that comes out of them, and what stands around every request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use conductor_domain::Code;
use conductor_domain::principal::Principal;
use conductor_store::Engine;
use lambda_http::request::RequestContext;
use tracing::Instrument;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::{self, Authentication, Provider};
use crate::config::Config;
use crate::dashboard::{self, Unframed};
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
    /// The OpenID provider whose users are let in.
    pub provider: Option<Arc<Provider>>,
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
        .merge(routes::policy::routes())
        .merge(routes::deployments::routes())
        .merge(routes::logs::routes())
        .merge(routes::resources::routes())
        .merge(routes::consumers::routes())
        .merge(routes::audit::routes())
        .merge(routes::tokens::routes())
        .merge(routes::sessions::routes())
        .merge(routes::service::routes())
        .split_for_parts();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    (router, document)
}

/// The whole application.
pub fn router(engine: Engine, config: Config) -> Router {
    let (router, document) = routes();
    let document = Arc::new(document);
    let oidc = config.identities.oidc.clone().filter(|_| config.authentication.has_oidc());
    let provider = oidc.map(|settings| Arc::new(Provider::new(settings)));
    let is_open = config.authentication == Authentication::Open;
    let app = App { engine: Arc::new(engine), config: Arc::new(config), provider };
    router
        .merge(dashboard::routes())
        .route("/openapi.json", get(move || async move { Json((*document).clone()) }))
        .fallback(|| async { Refused::new(Code::RouteNotFound, Code::RouteNotFound.title()) })
        .method_not_allowed_fallback(|| async { Refused::new(Code::MethodNotAllowed, Code::MethodNotAllowed.title()) })
        .layer(from_fn_with_state(app.clone(), auth::admit))
        .layer(from_fn_with_state(is_open, auth::ours_alone))
        .layer(from_fn_with_state(app.clone(), around))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(app)
}

/// Gives the request its id, and writes refusals as problems with that id, or as pages, for who wants a page; pages get
/// their frame, with who asked.
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
    let who = response.extensions_mut().remove::<Principal>();
    if let Some(refused) = response.extensions_mut().remove::<Refused>() {
        response = match is_for_people {
            true => dashboard::problem::page(&app, refused, &id, who.as_ref()),
            false => refused.into_problem(&id).into_response(),
        };
    } else if let Some(page) = response.extensions_mut().remove::<Unframed>() {
        response = dashboard::framed(&app, page, who.as_ref());
    }
    add_headers(response.headers_mut(), &id);
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    tracing::info!(
        %method,
        path,
        status = response.status().as_u16(),
        principal = who.as_ref().map(|who| who.id.as_str()),
        principalKind = who.as_ref().map(|who| tracing::field::debug(who.kind)),
        organisation = who.as_ref().map(|who| who.organisation.as_str()),
        "request"
    );
    response
}

/// What every answer says.
fn add_headers(headers: &mut HeaderMap, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert("x-request-id", value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_taken_for_what_it_says_it_is_and_kept_by_nobody_unless_it_may_be() {
        let check = |mut headers: HeaderMap, kept: &str| {
            add_headers(&mut headers, "r1");
            let told = ["x-content-type-options", "x-request-id", "cache-control"].map(|name| headers.get(name));
            let told = told.map(|value| value.and_then(|value| value.to_str().ok()));
            assert_eq!(told, [Some("nosniff"), Some("r1"), Some(kept)]);
        };
        check(HeaderMap::new(), "no-store");
        check(HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("public"))]), "public");
    }

    #[test]
    fn the_document_is_the_one_that_was_reviewed() {
        let (_, document) = super::routes();
        insta::assert_json_snapshot!(document);
    }
}

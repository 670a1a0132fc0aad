//! The router: routes by noun, the OpenAPI document that comes out of them, and what stands around every request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
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
        .layer(from_fn(ours_alone))
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
    add_headers(response.headers_mut(), &id);
    tracing::info!(%method, path, status = response.status().as_u16(), "request");
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

/// Refuses what another site's page has a browser send, unless it only reads: what comes back no such page is shown.
async fn ours_alone(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_ours(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    Refused::new(Code::CrossSiteRefused, Code::CrossSiteRefused.title()).into_response()
}

/// Whether a page of ours sent the request, by what a browser says and no page can change. What is no browser says
/// neither, and carries nobody's right to be here but its own.
fn is_ours(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text("host").or_else(|| uri.authority().map(|authority| authority.as_str()));
    match (text("sec-fetch-site"), text("origin")) {
        // A proxy may have changed the host, and this knows better.
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin.split_once("://").is_some_and(|(_, from)| Some(from) == host),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{self, HeaderName, Method};
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn what_another_site_sends_is_not_ours() {
        let check = |headers: &[(&'static str, &'static str)], expect: bool| {
            let pairs =
                headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let map: HeaderMap = pairs.collect();
            assert_eq!(is_ours(&map, &Uri::from_static("/deployments/x/cancel")), expect, "{headers:?}");
        };
        check(&[], true);
        check(&[("host", "a.example")], true);
        check(&[("sec-fetch-site", "same-origin")], true);
        for site in ["cross-site", "same-site", "none"] {
            check(&[("sec-fetch-site", site), ("host", "a.example"), ("origin", "https://a.example")], false);
        }
        check(&[("host", "a.example"), ("origin", "https://a.example")], true);
        check(&[("host", "a.example:8080"), ("origin", "http://a.example:8080")], true);
        check(&[("host", "a.example"), ("origin", "https://b.example")], false);
        check(&[("host", "a.example"), ("origin", "https://a.example:8080")], false);
        check(&[("host", "a.example"), ("origin", "null")], false);
        check(&[("origin", "https://a.example")], false);
    }

    /// Whether a request gets as far as a handler.
    async fn is_handled(method: Method, path: &str, headers: &[(&str, &str)]) -> bool {
        let router: Router = Router::new().fallback(|| async { "done" }).layer(from_fn(ours_alone));
        let start = http::Request::builder().method(method).uri(path);
        let request = headers.iter().fold(start, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Body::empty()).expect("a request");
        let answer = router.oneshot(request).await.expect("an answer");
        answer.extensions().get::<Refused>().is_none()
    }

    #[tokio::test]
    async fn another_site_changes_nothing_whatever_the_route_and_may_read() {
        let (cancel, form) = ("/v1/deployments/x/cancel", "/deployments/x/cancel");
        let foreign = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("host", "a.example")];
        for path in [cancel, form] {
            assert!(!is_handled(Method::POST, path, &foreign).await, "{path}");
            assert!(!is_handled(Method::DELETE, path, &foreign[..1]).await, "{path}");
            assert!(is_handled(Method::GET, path, &foreign).await, "{path}");
            assert!(is_handled(Method::POST, path, &[("sec-fetch-site", "same-origin")]).await, "{path}");
            // The command line, say.
            assert!(is_handled(Method::POST, path, &[]).await, "{path}");
        }
    }

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

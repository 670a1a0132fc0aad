//! From which page a request comes: what another site's page has a browser send changes nothing here, and reads nothing
//! where no one is asked who they are.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;

use super::url::is_loopback;
use crate::problem::Refused;

/// Refuses what another site's page has a browser send, unless it only reads: what comes back no such page is shown.
/// A page whose own name has come to mean this machine would be shown it, and where the stack is open nothing else would
/// stop it: there all that was not sent to this machine by its own name is refused.
pub async fn ours_alone(State(is_open): State<bool>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if is_open && !is_to_this_machine(headers) {
        let detail = "the stack is open, and answers under 127.0.0.1, [::1] and localhost alone";
        return Refused::new(Code::CrossSiteRefused, detail).into_response();
    }
    if request.method().is_safe() || is_ours(headers, request.uri()) {
        return next.run(request).await;
    }
    refused().into_response()
}

/// Whether a browser sent a request to this machine by a name that nobody can give to another one. What has no `Host`
/// no browser sent.
fn is_to_this_machine(headers: &HeaderMap) -> bool {
    headers.get("host").is_none_or(|host| host.to_str().is_ok_and(is_loopback))
}

/// What who is refused is told.
pub fn refused() -> Refused {
    Refused::new(Code::CrossSiteRefused, Code::CrossSiteRefused.title())
}

/// Whether a request says from which page it comes; every browser's does that changes something.
pub fn is_told(headers: &HeaderMap) -> bool {
    headers.contains_key("sec-fetch-site") || headers.contains_key("origin")
}

/// Whether a page of ours sent the request, by what a browser says and no page can change. What is no browser says
/// neither, and carries nobody's right to be here but its own.
fn is_ours(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text("host").or_else(|| uri.authority().map(|authority| authority.as_str()));
    let is_from_host = |origin: &str| match origin.split_once("://") {
        Some(("https", from)) => Some(from) == host,
        // Without TLS whoever is in between, or says what a name means, could have sent it.
        Some(("http", from)) => Some(from) == host && is_loopback(from),
        _ => false,
    };
    match (text("sec-fetch-site"), text("origin")) {
        // A proxy may have changed the host, and this knows better.
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => is_from_host(origin),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::{self, HeaderName, HeaderValue, Method};
    use axum::middleware::from_fn_with_state;
    use tower::ServiceExt;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_another_site_sends_is_not_ours() {
        let check = |pairs: &[(&'static str, &'static str)], expect: bool| {
            assert_eq!(is_ours(&headers(pairs), &Uri::from_static("/deployments/x/cancel")), expect, "{pairs:?}");
        };
        check(&[], true);
        check(&[("host", "a.example")], true);
        check(&[("sec-fetch-site", "same-origin")], true);
        for site in ["cross-site", "same-site", "none"] {
            check(&[("sec-fetch-site", site), ("host", "a.example"), ("origin", "https://a.example")], false);
        }
        check(&[("host", "a.example"), ("origin", "https://a.example")], true);
        check(&[("host", "a.example:8080"), ("origin", "https://a.example:8080")], true);
        check(&[("host", "127.0.0.1:4566"), ("origin", "http://127.0.0.1:4566")], true);
        check(&[("host", "127.0.0.1:4566"), ("origin", "http://127.0.0.1:4567")], false);
        // Its name may mean another machine by now.
        check(&[("host", "a.example:8080"), ("origin", "http://a.example:8080")], false);
        check(&[("host", "a.example"), ("origin", "https://b.example")], false);
        check(&[("host", "a.example"), ("origin", "https://a.example:8080")], false);
        check(&[("host", "a.example"), ("origin", "null")], false);
        check(&[("origin", "https://a.example")], false);
    }

    #[test]
    fn a_browser_says_where_it_is() {
        let check = |pairs: &[(&'static str, &'static str)], expect: bool| {
            assert_eq!(is_told(&headers(pairs)), expect, "{pairs:?}");
        };
        check(&[("host", "a.example"), ("referer", "https://a.example/")], false);
        check(&[("origin", "https://a.example")], true);
        check(&[("sec-fetch-site", "same-origin")], true);
    }

    /// Whether a request gets as far as a handler.
    async fn is_handled(is_open: bool, method: Method, path: &str, headers: &[(&str, &str)]) -> bool {
        let ours_alone = from_fn_with_state(is_open, ours_alone);
        let router: Router = Router::new().fallback(|| async { "done" }).layer(ours_alone);
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
            assert!(!is_handled(false, Method::POST, path, &foreign).await, "{path}");
            assert!(!is_handled(false, Method::DELETE, path, &foreign[..1]).await, "{path}");
            assert!(is_handled(false, Method::GET, path, &foreign).await, "{path}");
            assert!(is_handled(false, Method::POST, path, &[("sec-fetch-site", "same-origin")]).await, "{path}");
            // The command line, say.
            assert!(is_handled(false, Method::POST, path, &[]).await, "{path}");
        }
    }

    #[tokio::test]
    async fn an_open_stack_answers_nobody_who_has_it_under_another_name() {
        let check = async |headers: &[(&str, &str)], expect: bool| {
            for method in [Method::GET, Method::POST] {
                let handled = is_handled(true, method.clone(), "/v1/deployments", headers).await;
                assert_eq!(handled, expect, "{method} {headers:?}");
            }
        };
        check(&[], true).await;
        check(&[("host", "127.0.0.1:4566")], true).await;
        check(&[("host", "localhost:4566"), ("origin", "http://localhost:4566")], true).await;
        check(&[("host", "evil.example:4566")], false).await;
        // A page that was loaded from there, whose name now means this machine.
        check(&[("host", "evil.example:4566"), ("origin", "http://evil.example:4566")], false).await;
        check(&[("host", "evil.example:4566"), ("sec-fetch-site", "same-origin")], false).await;
        check(&[("host", "")], false).await;
    }
}

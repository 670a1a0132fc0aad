//! Refusals as pages, for who reads them in a browser.

use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use conductor_domain::Refusal;
use conductor_domain::principal::Principal;
use maud::{Markup, html};

use super::page::{Frame, answer, document, href};
use crate::app::App;
use crate::problem::Refused;

/// Whether a request is a browser's for a page: what is not for people is under `/v1`.
pub fn is_for_people(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    (method == Method::GET || method == Method::POST) && !path.starts_with("/v1/") && accept.contains("text/html")
}

/// A refusal as a page.
pub fn page(app: &App, Refused(refusal): Refused, request_id: &str, who: Option<&Principal>) -> Response {
    let status = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = body(&refusal, request_id, &href(app, "/"));
    answer(status, document(app, Frame { who, ..Frame::new(refusal.code.title()) }, &body))
}

fn body(refusal: &Refusal, request_id: &str, start: &str) -> Markup {
    let Refusal { code, detail, faults } = refusal;
    html! {
        h1 { (code.title()) }
        div.notice.error {
            p { code { (code) } @if detail != code.title() { " " (detail) } }
            @if !faults.is_empty() {
                ul {
                    @for fault in faults {
                        li { @if !fault.pointer.is_empty() { code { (fault.pointer) } " " } (fault.detail) }
                    }
                }
            }
        }
        p { a href=(start) { "To the overview" } }
        p.quiet { "Request " code { (request_id) } }
    }
}

#[cfg(test)]
mod tests {
    use conductor_domain::Code;
    use conductor_domain::code::Fault;

    use super::super::resources::tests::{HOSTILE, assert_escaped};
    use super::*;

    #[test]
    fn a_browser_that_wants_a_page_gets_one() {
        let check = |method: Method, path: &str, accept: Option<&'static str>, expect: bool| {
            let headers = accept.map(|accept| (header::ACCEPT, header::HeaderValue::from_static(accept)));
            let headers: HeaderMap = headers.into_iter().collect();
            assert_eq!(is_for_people(&method, path, &headers), expect, "{method} {path} {accept:?}");
        };
        let browser = Some("text/html,application/xhtml+xml,*/*;q=0.8");
        check(Method::GET, "/deployments/x", browser, true);
        check(Method::POST, "/deployments/x/cancel", browser, true);
        check(Method::GET, "/nowhere", browser, true);
        check(Method::GET, "/v1/deployments/x", browser, false);
        check(Method::DELETE, "/deployments/x", browser, false);
        check(Method::GET, "/deployments/x", Some("*/*"), false);
        check(Method::GET, "/deployments/x", None, false);
    }

    #[test]
    fn a_refusal_is_shown_as_text() {
        let refusal = Refusal::at(Code::QueryInvalid, vec![Fault::at(HOSTILE, HOSTILE), Fault::at("", "x")]);
        assert_escaped(&body(&refusal, "r1", "/live/"));
        assert_escaped(&body(&Refusal::new(Code::QueryInvalid, "x"), HOSTILE, "/live/"));
    }

    #[test]
    fn what_the_title_says_is_not_said_again() {
        let page = body(&Refusal::new(Code::RouteNotFound, Code::RouteNotFound.title()), "r1", "/live/").into_string();
        assert_eq!(page.matches(Code::RouteNotFound.title()).count(), 1, "{page}");
    }
}

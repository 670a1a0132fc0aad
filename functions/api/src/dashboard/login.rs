//! `/login`, `/login/callback` and `/logout`: a browser signs in with the OpenID provider, and out.
//!
//! The provider answers the browser, not us: what it says is taken for true only after the code was exchanged for an id
//! token that was made for this very attempt.

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use conductor_domain::Code;
use conductor_domain::access::Right;
use conductor_domain::principal::Caller;
use conductor_engine::port::Clock;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{Frame, answer, document, href};
use crate::app::App;
use crate::auth::{Attempt, Cookies, LIFETIME, Provider, Site};
use crate::extract::{Asked, RequestId};
use crate::problem::Refused;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/login", get(login)).route("/login/callback", get(callback)).route("/logout", post(logout))
}

fn provider(app: &App) -> Result<&Provider, Refused> {
    app.provider.as_deref().ok_or_else(|| Refused::new(Code::RouteNotFound, Code::RouteNotFound.title()))
}

#[derive(Deserialize)]
struct LoginQuery {
    /// The page that was wanted.
    to: Option<String>,
}

/// Sends the browser to the provider.
async fn login(
    State(app): State<App>,
    headers: HeaderMap,
    Asked(query): Asked<LoginQuery>,
) -> Result<Response, Refused> {
    let provider = provider(&app)?;
    let attempt = Attempt::new(|| app.engine.clock.secret(), query.to.as_deref());
    let callback = Site::of(&app.config, &headers)?.callback();
    let url = provider.authorization_url(&attempt, &callback, app.engine.clock.now()).await?;
    let response = (StatusCode::SEE_OTHER, [(header::LOCATION, url)]).into_response();
    Ok(with_cookies(response, [Cookies::of(&app.config, &headers).with_attempt(&attempt)]))
}

/// What the provider sends the browser back with.
#[derive(Deserialize)]
struct CallbackQuery {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
}

/// Signs the browser in that comes back.
async fn callback(
    State(app): State<App>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    Asked(query): Asked<CallbackQuery>,
) -> Result<Response, Refused> {
    let provider = provider(&app)?;
    let cookies = Cookies::of(&app.config, &headers);
    let attempt = cookies.attempt(&headers).filter(|attempt| query.state.as_ref() == Some(&attempt.state));
    let attempt = attempt.ok_or_else(|| failed("it was begun elsewhere, or too long ago; begin again"))?;
    let code = query.code.ok_or_else(|| failed(&said(query.error.as_deref())))?;
    let callback = Site::of(&app.config, &headers)?.callback();
    let (organisation, now) = (&app.config.organisation, app.engine.clock.now());
    let principal = provider.signed_in(&code, &attempt, &callback, organisation, now).await?;
    if !principal.may_somewhere(Right::View) {
        return Err(Right::View.refused(None).into());
    }
    let caller = Caller { principal, request_id };
    let secret = app.engine.start_session(&caller, LIFETIME).await?;
    let body = signed_in(&href(&app, &attempt.to));
    // The browser keeps a strict cookie to itself while it follows a redirect that began at the provider. A page of our
    // own ends that.
    let frame = Frame { onward: Some(attempt.to.as_str()), ..Frame::new("Signed in") };
    let mut response = answer(StatusCode::OK, document(&app, frame, &body));
    response.extensions_mut().insert(caller.principal);
    Ok(with_cookies(response, [cookies.with_session(&secret), cookies.without_attempt()]))
}

/// Ends the session, here and not at the provider.
async fn logout(
    State(app): State<App>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    provider(&app)?;
    let cookies = Cookies::of(&app.config, &headers);
    if let Some(secret) = cookies.session(&headers) {
        app.engine.end_session(secret, &request_id).await?;
    }
    let body = signed_out(&href(&app, "/login"));
    let response = answer(StatusCode::OK, document(&app, Frame::new("Signed out"), &body));
    Ok(with_cookies(response, [cookies.without_session()]))
}

fn failed(detail: &str) -> Refused {
    Refused::new(Code::SignInFailed, detail)
}

/// The provider's error, if it is one of the words that the standard has: whoever makes a link could write anything.
fn said(error: Option<&str>) -> String {
    let is_word = |text: &&str| text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match error.filter(is_word) {
        Some(word) => format!("the identity provider says {word}"),
        None => "the identity provider sent no code".to_owned(),
    }
}

fn with_cookies<const N: usize>(mut response: Response, cookies: [Option<HeaderValue>; N]) -> Response {
    for cookie in cookies.into_iter().flatten() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn signed_in(to: &str) -> Markup {
    html! {
        h1 { "Signed in" }
        p { a href=(to) { "Go on" } }
    }
}

fn signed_out(login: &str) -> Markup {
    html! {
        h1 { "Signed out" }
        p { "You may still be signed in at the identity provider." }
        p { a.button href=(login) { "Sign in" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_word_of_the_provider_is_repeated() {
        let check = |error: Option<&str>, expect: &str| assert_eq!(said(error), expect, "{error:?}");
        check(Some("access_denied"), "the identity provider says access_denied");
        for error in [None, Some("Call 555-0100!"), Some("<b>"), Some(&*"a".repeat(65))] {
            check(error, "the identity provider sent no code");
        }
    }

    #[test]
    fn each_cookie_is_a_header_of_its_own() {
        let cookie = |text: &'static str| Some(HeaderValue::from_static(text));
        let response = with_cookies(Response::default(), [cookie("a=b"), None, cookie("c=d")]);
        let found: Vec<_> = response.headers().get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(found, ["a=b", "c=d"]);
    }
}

//! Who asks, and whether they may ask for this at all. The engine, which knows the environment, decides the rest.
//!
//! A request is somebody's by what the gateway says of its signature, by a bearer token, or by a browser's session; on
//! a stack that is open on purpose, everybody is its administrator. No token, code or cookie is ever written to a log.

mod attempt;
mod iam;
mod identities;
mod oidc;
mod origin;
mod session;
mod url;

pub use attempt::Attempt;
pub use identities::Identities;
pub use oidc::Provider;
pub use origin::ours_alone;
pub use session::{Cookies, LIFETIME, Site};
pub use url::{SafeUrl, URL_RULE};

use std::str::FromStr;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;
use conductor_domain::access::{Grant, Role};
use conductor_domain::principal::{Caller, Principal, PrincipalKind};
use conductor_engine::port::Clock;
use lambda_http::request::RequestContext;

use crate::access::{self, Access};
use crate::app::App;
use crate::config::Config;
use crate::dashboard;
use crate::extract::RequestId;
use crate::problem::Refused;

/// What a service token begins with; no other bearer token does.
const TOKEN_PREFIX: &str = "cdr_";

/// How a request can be somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// It is whoever reaches it: the local stack, on 127.0.0.1.
    Open,
    /// In these ways alone.
    Closed(Ways),
}

/// The ways that a stack lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ways {
    /// Signed with AWS credentials, as the gateway says.
    pub iam: bool,
    /// With a token of an OpenID provider; in a browser with a session that such a token began.
    pub oidc: bool,
    /// With a service token.
    pub token: bool,
}

impl Authentication {
    /// Whether users of an OpenID provider are let in.
    pub fn has_oidc(self) -> bool {
        matches!(self, Authentication::Closed(Ways { oidc: true, .. }))
    }
}

impl FromStr for Authentication {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "open" {
            return Ok(Authentication::Open);
        }
        let mut ways = Ways::default();
        for way in text.split(',') {
            match way.trim() {
                "iam" => ways.iam = true,
                "oidc" => ways.oidc = true,
                "token" => ways.token = true,
                _ => return Err(()),
            }
        }
        Ok(Authentication::Closed(ways))
    }
}

/// What a request shows of who sends it: enough to ask again while its answer flows.
#[derive(Clone)]
pub struct Shown {
    /// The ARN of who has signed it, as the gateway has seen.
    signer: Option<String>,
    bearer: Option<String>,
    session: Option<String>,
}

impl Shown {
    fn of(config: &Config, parts: &Parts) -> Self {
        Self {
            signer: signer(parts),
            bearer: bearer(&parts.headers).map(str::to_owned),
            session: session(config, &parts.headers).map(str::to_owned),
        }
    }

    /// Who sends the request.
    async fn principal(&self, app: &App) -> Result<Principal, Refused> {
        let Config { organisation, identities, .. } = &*app.config;
        let ways = match app.config.authentication {
            Authentication::Open => {
                let roles = vec![Grant { role: Role::Admin, environment: None }];
                let organisation = organisation.clone();
                return Ok(Principal { id: "local".to_owned(), kind: PrincipalKind::Local, organisation, roles });
            }
            Authentication::Closed(ways) => ways,
        };
        if let Some(arn) = self.signer.clone().filter(|_| ways.iam) {
            return Ok(iam::principal(arn, &identities.iam, organisation));
        }
        if let Some(token) = &self.bearer {
            return match &app.provider {
                _ if token.starts_with(TOKEN_PREFIX) && ways.token => shown(app, token, PrincipalKind::Token).await,
                Some(provider) if !token.starts_with(TOKEN_PREFIX) => {
                    provider.bearer(token, organisation, app.engine.clock.now()).await
                }
                _ => Err(unauthorized("bearer tokens of this kind are not taken here")),
            };
        }
        match &self.session {
            Some(secret) => shown(app, secret, PrincipalKind::Oidc).await,
            None => Err(unauthorized(Code::Unauthorized.title())),
        }
    }

    /// Whether it still shows this principal, with the same roles. Where nobody can say, it does not.
    pub async fn is_still(&self, app: &App, principal: &Principal) -> bool {
        self.principal(app).await.is_ok_and(|found| found == *principal)
    }
}

/// Lets a request through to its handler if whoever sends it may, and says who it was.
pub async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    // Nothing has such a path, and everybody may know.
    let Some(path) = parts.extensions.get::<MatchedPath>() else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let access = access::of(&parts.method, path.as_str());
    let shown = Shown::of(&app.config, &parts);
    // The browser sends the cookie by itself, whoever made it send the request.
    if shown.session.is_some() && !parts.method.is_safe() && !origin::is_told(&parts.headers) {
        return origin::refused().into_response();
    }
    let right = match access {
        Ok(Access::Public) => return next.run(Request::from_parts(parts, body)).await,
        Ok(Access::Right(right)) => right,
        Err(refused) => return refused.into_response(),
    };
    let principal = match shown.principal(&app).await {
        Ok(principal) => principal,
        Err(refused) if can_sign_in(&app, &parts, &refused) => return to_sign_in(&app, &parts),
        Err(refused) => return refused.into_response(),
    };
    let mut response = if principal.may_somewhere(right) {
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        parts.extensions.insert(Caller { principal: principal.clone(), request_id });
        parts.extensions.insert(shown);
        next.run(Request::from_parts(parts, body)).await
    } else {
        Refused::from(right.refused(None)).into_response()
    };
    response.extensions_mut().insert(principal);
    response
}

/// Whom one of our own tokens tells of: a service token a pipeline, a session a user, and neither the other.
async fn shown(app: &App, secret: &str, kind: PrincipalKind) -> Result<Principal, Refused> {
    // The function that streams may not write.
    let found = match app.config.streaming {
        true => app.engine.bearer_unnoted(secret).await?,
        false => app.engine.bearer(secret).await?,
    };
    let found = found.filter(|principal| principal.kind == kind);
    found.ok_or_else(|| unauthorized("the token is not known, has expired or was revoked"))
}

fn unauthorized(detail: &str) -> Refused {
    Refused::new(Code::Unauthorized, detail)
}

/// Who has signed the request, as the gateway has seen.
fn signer(parts: &Parts) -> Option<String> {
    match parts.extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV1(context)) => context.identity.user_arn.clone(),
        _ => None,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The session of a browser, where browsers can have one.
fn session<'a>(config: &Config, headers: &'a HeaderMap) -> Option<&'a str> {
    Cookies::of(config, headers).session(headers).filter(|_| config.authentication.has_oidc())
}

/// Whether somebody wants a page who could sign in. A page that is open asks again by itself, and is told the truth.
fn can_sign_in(app: &App, parts: &Parts, refused: &Refused) -> bool {
    let wants_page = dashboard::problem::is_for_people(&parts.method, parts.uri.path(), &parts.headers);
    let is_new = parts.method == Method::GET && !parts.headers.contains_key("x-live");
    app.provider.is_some() && refused.0.code == Code::Unauthorized && wants_page && is_new
}

fn to_sign_in(app: &App, parts: &Parts) -> Response {
    let wanted = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", wanted).finish();
    let place = crate::routes::link(app, &format!("/login?{query}"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

#[cfg(test)]
pub mod tests {
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use conductor_engine::Timings;
    use conductor_store::Names;
    use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequestContext;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::access::tests::all;
    use crate::price::Prices;

    const OIDC: &str = r#"{"issuer": "https://idp.example", "audience": "conductor-api", "clientId": "conductor",
        "rolesClaim": "groups", "roles": {}}"#;

    /// How a stack with these ways in is configured. Each role has an AWS identity of its name.
    pub fn config(authentication: &str) -> Config {
        let names = ["viewer", "deployer", "platform", "secretReader", "admin"];
        let one = |name: &str| format!(r#"{{"arn": "arn:aws:iam::123456789012:role/{name}", "roles": ["{name}"]}}"#);
        let access = format!(r#"{{"iam": [{}], "oidc": {OIDC}}}"#, names.map(one).join(", "));
        Config {
            names: Names {
                table: "conductor".to_owned(),
                wake_queue_url: String::new(),
                worker_queue_url: None,
                dead_letter_queue_url: None,
                vault_bucket: String::new(),
                artifact_bucket: String::new(),
                state_bucket: String::new(),
            },
            timings: Timings::default(),
            organisation: "home".parse().expect("a name"),
            authentication: authentication.parse().expect("ways"),
            identities: Identities::read(&access).expect("identities"),
            public_url: None,
            stage: "live".to_owned(),
            prices: Prices::default(),
            streaming: false,
        }
    }

    /// The application. Its table answers nobody: a request that gets as far as the engine would fail.
    fn router(authentication: &str) -> Router {
        let region = Region::new("eu-central-1");
        let sdk = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).region(region);
        let sdk = sdk.http_client(conductor_store::http_client()).build();
        let config = config(authentication);
        crate::app::router(conductor_store::engine(&sdk, config.names.clone(), config.timings), config)
    }

    struct Sent {
        method: Method,
        path: String,
        headers: Vec<(&'static str, &'static str)>,
        /// As the gateway says.
        signed_by: Option<String>,
    }

    impl Sent {
        fn new(method: Method, path: impl Into<String>) -> Self {
            Self { method, path: path.into(), headers: vec![("host", "a.example")], signed_by: None }
        }

        fn with(mut self, headers: &[(&'static str, &'static str)]) -> Self {
            self.headers.extend_from_slice(headers);
            self
        }

        /// Signed by a session of a role.
        fn by(mut self, role: &str) -> Self {
            self.signed_by = Some(format!("arn:aws:sts::123456789012:assumed-role/{role}/somebody"));
            self
        }

        async fn to(self, router: &Router) -> (StatusCode, HeaderMap, String) {
            let mut context = ApiGatewayProxyRequestContext::default();
            context.identity.user_arn = self.signed_by;
            let start = http::Request::builder().method(self.method).uri(self.path);
            let start = start.extension(RequestContext::ApiGatewayV1(context));
            let request = self.headers.iter().fold(start, |request, (name, value)| request.header(*name, *value));
            let request = request.body(Body::empty()).expect("a request");
            let (parts, body) = router.clone().oneshot(request).await.expect("an answer").into_parts();
            let body = to_bytes(body, usize::MAX).await.expect("a body");
            (parts.status, parts.headers, String::from_utf8(body.to_vec()).expect("a text"))
        }
    }

    /// The code of a problem.
    fn code((_, _, body): &(StatusCode, HeaderMap, String)) -> String {
        let problem: Value = serde_json::from_str(body).expect(body);
        problem["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A path that the router takes for this route.
    fn filled(path: &str) -> String {
        let id = "0198a0a2-0000-7000-8000-000000000000";
        let segments = path.split('/').map(|segment| match segment {
            "{id}" | "{consumer}" => id,
            "{version}" => "1.0.0",
            segment if segment.starts_with('{') => "x",
            segment => segment,
        });
        segments.collect::<Vec<_>>().join("/")
    }

    #[test]
    fn ways_in_are_listed() {
        let closed = |iam: bool, oidc: bool, token: bool| Ok(Authentication::Closed(Ways { iam, oidc, token }));
        let check = |text: &str, expect: Result<Authentication, ()>| {
            assert_eq!(text.parse(), expect, "{text:?}");
        };
        check("open", Ok(Authentication::Open));
        check("iam", closed(true, false, false));
        check("iam,oidc", closed(true, true, false));
        check("token, oidc", closed(false, true, true));
        for text in ["", "none", "IAM", "iam,", "iam,open", "open,iam", "iam;oidc"] {
            check(text, Err(()));
        }
    }

    #[tokio::test]
    async fn no_route_that_is_somebodys_is_open_to_nobody() {
        for ways in ["iam", "oidc", "token", "iam,oidc,token"] {
            let router = router(ways);
            for (method, path, access) in all().filter(|(_, _, access)| *access != Access::Public) {
                let answer = Sent::new(method.clone(), filled(path)).to(&router).await;
                assert_eq!(answer.0, StatusCode::UNAUTHORIZED, "{ways}: {method} {path} {access:?}");
                assert_eq!(code(&answer), "unauthorized", "{ways}: {method} {path}");
                let challenge = answer.1.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
                assert_eq!(challenge, Some("Bearer"), "{ways}: {method} {path}");
            }
        }
    }

    #[tokio::test]
    async fn a_role_gets_no_further_than_its_rights_on_any_route() {
        let router = router("iam");
        let roles = ["viewer", "deployer", "platform", "secretReader", "admin", "nobody"];
        let mut refused = 0;
        for (method, path, access) in all() {
            let Access::Right(right) = access else { continue };
            for role in roles {
                let may = right.roles().iter().any(|one| one.as_str() == role);
                // The others get as far as the engine.
                if may {
                    continue;
                }
                let answer = Sent::new(method.clone(), filled(path)).by(role).to(&router).await;
                assert_eq!(answer.0, StatusCode::FORBIDDEN, "{role}: {method} {path}");
                assert_eq!(code(&answer), "forbidden", "{role}: {method} {path}");
                refused += 1;
            }
        }
        let expect: usize = all()
            .filter_map(|(_, _, access)| match access {
                Access::Right(right) => Some(roles.len() - right.roles().len()),
                Access::Public => None,
            })
            .sum();
        assert_eq!(refused, expect);
    }

    #[tokio::test]
    async fn who_it_is_is_told() {
        let router = router("iam");
        let (status, _, body) = Sent::new(Method::GET, "/v1/principal").by("deployer").to(&router).await;
        let found: Value = serde_json::from_str(&body).expect("JSON");
        let id = "arn:aws:sts::123456789012:assumed-role/deployer/somebody";
        let expect = serde_json::json!({"id": id, "kind": "iam", "organisation": "home", "roles": ["deployer"]});
        assert_eq!((status, found), (StatusCode::OK, expect));
    }

    #[tokio::test]
    async fn a_way_that_is_not_listed_leads_nowhere() {
        let check = async |ways: &str, sent: Sent, expect: &str| {
            let answer = sent.to(&router(ways)).await;
            assert_eq!(code(&answer), expect, "{ways}");
        };
        let principal = || Sent::new(Method::GET, "/v1/principal");
        let secret = "Bearer cdr_home_0198a0a2000070008000000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        check("oidc,token", principal().by("admin"), "unauthorized").await;
        check("iam,oidc", principal().with(&[("authorization", secret)]), "unauthorized").await;
        check("iam,token", principal().with(&[("authorization", "Bearer a.b.c")]), "unauthorized").await;
        check("iam,token", principal().with(&[("cookie", "__Host-conductor=x")]), "unauthorized").await;
        // Neither of these is a token of ours, so no table is asked.
        check("token", principal().with(&[("authorization", "Bearer cdr_x")]), "unauthorized").await;
        check("oidc", principal().with(&[("cookie", "__Host-conductor=x")]), "unauthorized").await;
        check("iam,oidc,token", principal().with(&[("authorization", "Basic YTpi")]), "unauthorized").await;
    }

    #[tokio::test]
    async fn a_session_changes_nothing_without_a_word_of_where_the_browser_is() {
        let router = router("oidc,token");
        let cookie = ("cookie", "__Host-conductor=x");
        let path = "/v1/deployments/x/cancel";
        let check = async |method: Method, path: &str, headers: &[(&'static str, &'static str)], expect: &str| {
            let answer = Sent::new(method, path).with(headers).to(&router).await;
            assert_eq!(code(&answer), expect, "{path} {headers:?}");
        };
        check(Method::POST, path, &[cookie], "cross_site_refused").await;
        check(Method::POST, "/logout", &[cookie], "cross_site_refused").await;
        check(Method::POST, path, &[cookie, ("authorization", "Bearer a.b.c")], "cross_site_refused").await;
        check(Method::POST, path, &[cookie, ("sec-fetch-site", "cross-site")], "cross_site_refused").await;
        check(Method::POST, path, &[cookie, ("origin", "https://evil.example")], "cross_site_refused").await;
        // Then it is asked whose session it is.
        check(Method::POST, path, &[cookie, ("sec-fetch-site", "same-origin")], "unauthorized").await;
        check(Method::POST, path, &[cookie, ("origin", "https://a.example")], "unauthorized").await;
        check(Method::GET, "/v1/deployments", &[cookie], "unauthorized").await;
        // What carries no session is no browser's.
        check(Method::POST, path, &[("authorization", "Bearer a.b.c")], "unauthorized").await;
    }

    #[tokio::test]
    async fn who_wants_a_page_is_sent_to_sign_in() {
        let page = ("accept", "text/html,*/*;q=0.8");
        let check = async |ways: &str, sent: Sent, expect: Result<&str, StatusCode>| {
            let (status, headers, _) = sent.to(&router(ways)).await;
            let place = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
            let expect = match expect {
                Ok(place) => (StatusCode::SEE_OTHER, Some(place)),
                Err(status) => (status, None),
            };
            assert_eq!((status, place), expect, "{ways}");
        };
        let get = |path: &str| Sent::new(Method::GET, path);
        let wanted = "/deployments?status=Failed&text=a%20b";
        let place = "/live/login?to=%2Fdeployments%3Fstatus%3DFailed%26text%3Da%2520b";
        check("oidc", get(wanted).with(&[page]), Ok(place)).await;
        check("iam,oidc,token", get("/").with(&[page]), Ok("/live/login?to=%2F")).await;
        let unauthorized = Err(StatusCode::UNAUTHORIZED);
        check("iam,token", get("/").with(&[page]), unauthorized).await;
        check("oidc", get("/"), unauthorized).await;
        check("oidc", get("/").with(&[page, ("x-live", "1")]), unauthorized).await;
        check("oidc", get("/v1/deployments").with(&[page]), unauthorized).await;
        let post = Sent::new(Method::POST, "/deployments/x/cancel").with(&[page]);
        check("oidc", post, unauthorized).await;
        // Signed, but nobody.
        check("iam,oidc", get("/").with(&[page]).by("nobody"), Err(StatusCode::FORBIDDEN)).await;
    }

    #[tokio::test]
    async fn what_is_nobodys_is_there_for_everybody_and_what_is_not_there_for_nobody() {
        let router = router("iam,oidc,token");
        let check = async |method: Method, path: &str, expect: StatusCode| {
            let (status, ..) = Sent::new(method.clone(), path).to(&router).await;
            assert_eq!(status, expect, "{method} {path}");
        };
        check(Method::GET, "/health", StatusCode::OK).await;
        check(Method::HEAD, "/health", StatusCode::OK).await;
        check(Method::GET, "/openapi.json", StatusCode::OK).await;
        check(Method::GET, "/nowhere", StatusCode::NOT_FOUND).await;
        check(Method::GET, "/v1/nowhere", StatusCode::NOT_FOUND).await;
        check(Method::GET, "/v1/deployments/", StatusCode::NOT_FOUND).await;
        check(Method::POST, "/health", StatusCode::METHOD_NOT_ALLOWED).await;
        check(Method::PATCH, "/v1/deployments", StatusCode::METHOD_NOT_ALLOWED).await;
    }

    #[tokio::test]
    async fn an_open_stack_takes_everybody_for_its_administrator_and_says_so() {
        let router = router("open");
        let get = |path: &str| Sent { headers: vec![("host", "127.0.0.1:4566")], ..Sent::new(Method::GET, path) };
        let (status, _, body) = get("/v1/principal").to(&router).await;
        let found: Value = serde_json::from_str(&body).expect("JSON");
        let expect = serde_json::json!({"id": "local", "kind": "local", "organisation": "home", "roles": ["admin"]});
        assert_eq!((status, found), (StatusCode::OK, expect));
        let page = get("/nowhere").with(&[("accept", "text/html")]);
        let (_, _, body) = page.to(&router).await;
        assert!(body.contains("everyone who reaches this address is an administrator"), "{body}");
        // There is nothing to sign in to.
        assert_eq!(get("/login").to(&router).await.0, StatusCode::NOT_FOUND);
        assert_eq!(code(&Sent::new(Method::GET, "/v1/principal").to(&router).await), "cross_site_refused");
    }
}

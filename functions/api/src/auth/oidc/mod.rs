//! An OpenID provider: who a bearer token tells of, and how a browser signs in (code flow with PKCE; the dashboard is a
//! public client and holds no secret).
//!
//! What it says of itself and its keys are kept for an hour. A key that is not among them is asked for at once, so that
//! a provider can change its keys whenever it likes.

mod claims;
mod http;
mod jwt;

use std::sync::Arc;

use conductor_domain::Code;
use conductor_domain::name::OrganisationName;
use conductor_domain::principal::Principal;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

use self::http::Http;
use self::jwt::{Claims, Keys, Why};
use super::attempt::Attempt;
use super::identities::OidcSettings;
use super::url::SafeUrl;
use crate::problem::Refused;

/// How long it counts what the provider said.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// How long a provider is not asked again for a key that it may not have: anybody can make up the name of one.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// The same of a provider that gave no answer of use: whoever waits for it holds an instance of the function meanwhile.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(5);

/// A provider.
pub struct Provider {
    settings: OidcSettings,
    http: OnceCell<Http>,
    known: Mutex<Known>,
}

/// What was learnt of a provider.
#[derive(Default)]
struct Known {
    /// Its last answer, and when that was.
    answer: Option<(Timestamp, Arc<Answer>)>,
    /// When it was last asked.
    asked: Option<Timestamp>,
}

struct Answer {
    endpoints: Endpoints,
    keys: Keys,
}

/// What we need of a provider's description of itself (OpenID Connect Discovery).
#[derive(Deserialize)]
struct Endpoints {
    issuer: String,
    authorization_endpoint: SafeUrl,
    token_endpoint: SafeUrl,
    jwks_uri: SafeUrl,
}

/// What a code is exchanged for.
#[derive(Deserialize)]
struct Exchanged {
    id_token: String,
}

/// Why somebody is not who they say.
enum Denied {
    /// The token does not show it.
    Token(Why),
    /// Nobody can say at this moment.
    Unavailable,
}

impl Denied {
    fn into_refused(self, code: Code, what: &str) -> Refused {
        match self {
            Denied::Token(why) => Refused::new(code, format!("{what} is refused: {why}")),
            Denied::Unavailable => {
                let code = Code::IdentityProviderUnavailable;
                Refused::new(code, code.title())
            }
        }
    }
}

impl Provider {
    /// A provider that has not been asked anything yet.
    pub fn new(settings: OidcSettings) -> Self {
        Self { settings, http: OnceCell::new(), known: Mutex::default() }
    }

    /// Whom a bearer token tells of.
    pub async fn bearer(
        &self,
        token: &str,
        organisation: &OrganisationName,
        now: Timestamp,
    ) -> Result<Principal, Refused> {
        let claims = self.claims(token, &self.settings.audience, now).await;
        let claims = claims.map_err(|denied| denied.into_refused(Code::Unauthorized, "the bearer token"))?;
        claims::principal(&claims, &self.settings, organisation)
    }

    /// Where a browser goes to sign in; it comes back to `callback`.
    pub async fn authorization_url(
        &self,
        attempt: &Attempt,
        callback: &str,
        now: Timestamp,
    ) -> Result<String, Refused> {
        let answer = self.answer(now, |_| true).await;
        let answer = answer.map_err(|denied| denied.into_refused(Code::SignInFailed, "the sign-in"))?;
        let url = answer.endpoints.authorization_endpoint.as_str();
        let challenge = attempt.challenge();
        let query = form(&[
            ("response_type", "code"),
            ("client_id", &*self.settings.client_id),
            ("redirect_uri", callback),
            ("scope", &*self.settings.scope),
            ("state", attempt.state.as_str()),
            ("nonce", attempt.nonce.as_str()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ]);
        Ok(format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' }))
    }

    /// Who has signed in, by the code that the browser came back with.
    pub async fn signed_in(
        &self,
        code: &str,
        attempt: &Attempt,
        callback: &str,
        organisation: &OrganisationName,
        now: Timestamp,
    ) -> Result<Principal, Refused> {
        let claims = self.exchange(code, attempt, callback, now).await;
        let claims = claims.map_err(|denied| denied.into_refused(Code::SignInFailed, "what the provider sent"))?;
        claims::principal(&claims, &self.settings, organisation)
    }

    async fn exchange(&self, code: &str, attempt: &Attempt, callback: &str, now: Timestamp) -> Result<Claims, Denied> {
        let answer = self.answer(now, |_| true).await?;
        let form = form(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback),
            ("client_id", &*self.settings.client_id),
            ("code_verifier", attempt.verifier.as_str()),
        ]);
        let sent = self.http().await?.post(answer.endpoints.token_endpoint.as_str(), form).await;
        let (status, body) = sent.map_err(unavailable)?;
        if status.is_client_error() {
            return Err(Denied::Token("the provider does not take the code"));
        }
        // Nothing of the body may be in an error: it may hold a token.
        let exchanged: Option<Exchanged> = serde_json::from_slice(&body).ok().filter(|_| status.is_success());
        let exchanged = exchanged.ok_or_else(|| unavailable(format!("no id token, but {status}")))?;
        let claims = self.claims(&exchanged.id_token, &self.settings.client_id, now).await?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("nonce") != Some(attempt.nonce.as_str()) {
            return Err(Denied::Token("it is not for this sign-in"));
        }
        // OpenID Connect Core, section 3.1.3.7: with several audiences, the one that it was made for.
        let others = claims.get("aud").and_then(Value::as_array).is_some_and(|audiences| audiences.len() > 1);
        if (others || claims.contains_key("azp")) && text("azp") != Some(&*self.settings.client_id) {
            return Err(Denied::Token("another client asked for it"));
        }
        Ok(claims)
    }

    /// What a token says, if the provider made it for this audience and it is valid at this moment.
    async fn claims(&self, token: &str, audience: &str, now: Timestamp) -> Result<Claims, Denied> {
        let header = jwt::header(token).map_err(Denied::Token)?;
        let answer = self.answer(now, |answer| answer.keys.find(&header).is_some()).await?;
        let key = answer.keys.find(&header).ok_or(Denied::Token("its key is none of the issuer's"))?;
        jwt::claims(token, &header, key, self.settings.issuer.as_str(), audience).map_err(Denied::Token)
    }

    /// What the provider says of itself, asked for again where that is old, or not `enough`.
    async fn answer(&self, now: Timestamp, enough: impl Fn(&Answer) -> bool) -> Result<Arc<Answer>, Denied> {
        let mut known = self.known.lock().await;
        let fresh = known.answer.as_ref().filter(|(at, _)| now.duration_since(*at) < KEPT);
        if let Some((at, answer)) = fresh {
            if enough(answer) {
                return Ok(answer.clone());
            }
            if known.asked == Some(*at) && now.duration_since(*at) < PATIENCE {
                return Ok(answer.clone());
            }
        }
        let answered = known.answer.as_ref().map(|(at, _)| *at);
        let failed = known.asked.filter(|asked| Some(*asked) != answered);
        if failed.is_some_and(|failed| now.duration_since(failed) < AFTER_FAILURE) {
            return Err(Denied::Unavailable);
        }
        known.asked = Some(now);
        let answer = Arc::new(self.ask().await?);
        known.answer = Some((now, answer.clone()));
        Ok(answer)
    }

    async fn ask(&self) -> Result<Answer, Denied> {
        let issuer = self.settings.issuer.as_str();
        let http = self.http().await?;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let description = http.get(&url).await.map_err(unavailable)?;
        let endpoints: Endpoints = serde_json::from_slice(&description).map_err(unavailable)?;
        if endpoints.issuer != issuer {
            return Err(unavailable("the provider says that it is another issuer"));
        }
        let keys = http.get(endpoints.jwks_uri.as_str()).await.map_err(unavailable)?;
        Ok(Answer { endpoints, keys: Keys::read(&keys).map_err(unavailable)? })
    }

    async fn http(&self) -> Result<&Http, Denied> {
        self.http.get_or_try_init(|| async { Http::new() }).await.map_err(unavailable)
    }
}

fn unavailable(error: impl std::fmt::Debug) -> Denied {
    tracing::warn!(?error, "the OpenID provider is of no use");
    Denied::Unavailable
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
pub mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex as Lock, PoisonError};

    use axum::extract::{Form, State};
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Redirect, Response};
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use conductor_domain::token::SECRET_BYTES;
    use serde_json::json;

    use super::super::identities::Identities;
    use super::jwt::tests::{AUDIENCE, FAR, Signer};
    use super::*;

    pub const CLIENT: &str = "conductor";

    /// How a provider with these users is configured.
    pub fn settings(issuer: &str) -> OidcSettings {
        let oidc = json!({
            "issuer": issuer, "audience": AUDIENCE, "clientId": CLIENT, "rolesClaim": "groups",
            "roles": {"platform-team": ["platform", "viewer"], "shop-team": ["viewer", "deployer:staging"]},
        });
        let identities = Identities::read(&json!({ "oidc": oidc }).to_string()).expect("identities");
        identities.oidc.expect("a provider")
    }

    /// What a provider does.
    #[derive(Default)]
    struct Plan {
        keys: Vec<Value>,
        /// What a code is exchanged for.
        id_token: Option<String>,
        /// What was sent for it.
        form: Vec<(String, String)>,
        broken: bool,
        /// Says that it is somebody else.
        issuer: Option<String>,
    }

    /// A provider on this machine.
    #[derive(Clone, Default)]
    struct Fake {
        url: String,
        plan: Arc<Lock<Plan>>,
        /// How often it was asked what it is.
        asked: Arc<AtomicUsize>,
    }

    impl Fake {
        async fn start() -> Self {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let fake = Self { url: format!("http://{address}"), ..Self::default() };
            let router = Router::new()
                .route("/.well-known/openid-configuration", get(description))
                .route("/keys", get(keys))
                .route("/token", post(token))
                .with_state(fake.clone());
            tokio::spawn(async move { axum::serve(listener, router).await });
            fake
        }

        fn plan<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
            change(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner))
        }

        fn claims(&self, audience: &str) -> Value {
            json!({"iss": self.url, "aud": audience, "sub": "ada", "exp": FAR, "groups": ["shop-team"]})
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    async fn description(State(fake): State<Fake>) -> Response {
        fake.asked.fetch_add(1, Ordering::SeqCst);
        if fake.plan(|plan| plan.broken) {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let url = &fake.url;
        let issuer = fake.plan(|plan| plan.issuer.clone()).unwrap_or_else(|| url.clone());
        Json(json!({
            "issuer": issuer, "authorization_endpoint": format!("{url}/authorize?tenant=a"),
            "token_endpoint": format!("{url}/token"), "jwks_uri": format!("{url}/keys"),
        }))
        .into_response()
    }

    async fn keys(State(fake): State<Fake>) -> Json<Value> {
        Json(json!({"keys": fake.plan(|plan| plan.keys.clone())}))
    }

    async fn token(State(fake): State<Fake>, Form(form): Form<Vec<(String, String)>>) -> Response {
        match fake.plan(|plan| {
            plan.form = form;
            plan.id_token.clone()
        }) {
            Some(token) => Json(json!({"access_token": "x", "id_token": token})).into_response(),
            None => (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + seconds).expect("a time")
    }

    fn home() -> OrganisationName {
        "home".parse().expect("a name")
    }

    async fn bearer(provider: &Provider, token: &str, now: Timestamp) -> Result<String, Code> {
        let found = provider.bearer(token, &home(), now).await;
        found.map(|principal| principal.id).map_err(|refused| refused.0.code)
    }

    #[tokio::test]
    async fn keys_are_fetched_kept_and_fetched_again() {
        let fake = Fake::start().await;
        let provider = Provider::new(settings(&fake.url));
        let (first, second) = (Signer::new("k1"), Signer::new("k2"));
        let (old, new) = (first.token(&fake.claims(AUDIENCE)), second.token(&fake.claims(AUDIENCE)));
        let ada = Ok(format!("{}|ada", fake.url));
        fake.plan(|plan| plan.keys = vec![first.jwk()]);
        assert_eq!((bearer(&provider, &old, at(0)).await, fake.asked()), (ada.clone(), 1));
        assert_eq!((bearer(&provider, &old, at(3_599)).await, fake.asked()), (ada.clone(), 1));
        assert_eq!((bearer(&provider, &old, at(3_600)).await, fake.asked()), (ada.clone(), 2));
        // Rotated: the new key is asked for at once, but not for every name that somebody makes up.
        assert_eq!((bearer(&provider, &new, at(3_629)).await, fake.asked()), (Err(Code::Unauthorized), 2));
        fake.plan(|plan| plan.keys = vec![second.jwk()]);
        assert_eq!((bearer(&provider, &new, at(3_630)).await, fake.asked()), (ada.clone(), 3));
        assert_eq!((bearer(&provider, &old, at(3_640)).await, fake.asked()), (Err(Code::Unauthorized), 3));
        assert_eq!((bearer(&provider, &new, at(3_640)).await, fake.asked()), (ada, 3));
    }

    #[tokio::test]
    async fn a_token_that_is_no_token_asks_nobody() {
        let fake = Fake::start().await;
        let provider = Provider::new(settings(&fake.url));
        assert_eq!(bearer(&provider, "a.b.c", at(0)).await, Err(Code::Unauthorized));
        assert_eq!(fake.asked(), 0);
    }

    #[tokio::test]
    async fn a_provider_that_does_not_answer_is_no_fault_of_the_callers() {
        let fake = Fake::start().await;
        let provider = Provider::new(settings(&fake.url));
        let (signer, other) = (Signer::new("k1"), Signer::new("k2"));
        let (known, unknown) = (signer.token(&fake.claims(AUDIENCE)), other.token(&fake.claims(AUDIENCE)));
        let unavailable = Err(Code::IdentityProviderUnavailable);
        fake.plan(|plan| (plan.keys, plan.broken) = (vec![signer.jwk()], true));
        assert_eq!(bearer(&provider, &known, at(0)).await, unavailable);
        fake.plan(|plan| plan.broken = false);
        assert_eq!((bearer(&provider, &known, at(4)).await, fake.asked()), (unavailable.clone(), 1));
        assert!(bearer(&provider, &known, at(5)).await.is_ok());
        fake.plan(|plan| plan.broken = true);
        // What is known goes on, for its time.
        assert!(bearer(&provider, &known, at(100)).await.is_ok());
        assert_eq!(bearer(&provider, &unknown, at(100)).await, unavailable);
        assert_eq!((bearer(&provider, &unknown, at(104)).await, fake.asked()), (unavailable.clone(), 3));
        assert!(bearer(&provider, &known, at(104)).await.is_ok());
        assert_eq!(bearer(&provider, &known, at(3_605)).await, unavailable);
        fake.plan(|plan| (plan.broken, plan.issuer) = (false, Some("https://evil.example".to_owned())));
        assert_eq!((bearer(&provider, &known, at(3_610)).await, fake.asked()), (unavailable, 5));
    }

    #[tokio::test]
    async fn no_redirect_is_followed_and_no_long_answer_read() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .route("/elsewhere", get(|| async { Redirect::temporary("/there") }))
            .route("/there", get(|| async { "there" }))
            .route("/long", get(|| async { "x".repeat(256 * 1024 + 1) }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let http = Http::new().expect("a client");
        let get = async |path: &str| http.get(&format!("http://{address}/{path}")).await.ok();
        assert_eq!(get("there").await.as_deref(), Some(&b"there"[..]));
        assert_eq!(get("elsewhere").await, None);
        assert_eq!(get("long").await, None);
    }

    fn attempt() -> Attempt {
        Attempt::new(|| [7; SECRET_BYTES], None)
    }

    #[tokio::test]
    async fn a_browser_is_sent_to_the_provider_with_what_has_to_come_back() {
        let fake = Fake::start().await;
        let provider = Provider::new(settings(&fake.url));
        let callback = "https://a.example/live/login/callback";
        let url = provider.authorization_url(&attempt(), callback, at(0)).await.expect("an address");
        let (start, query) = url.split_once("?tenant=a&").expect("the provider's own query");
        assert_eq!(start, format!("{}/authorize", fake.url));
        let sent: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let Attempt { state, nonce, .. } = attempt();
        let challenge = attempt().challenge();
        let expect = [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", callback),
            ("scope", "openid"),
            ("state", state.as_str()),
            ("nonce", nonce.as_str()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        assert_eq!(sent, expect.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[tokio::test]
    async fn who_comes_back_is_who_the_id_token_of_this_attempt_says() {
        let fake = Fake::start().await;
        let provider = Provider::new(settings(&fake.url));
        let signer = Signer::new("k1");
        fake.plan(|plan| plan.keys = vec![signer.jwk()]);
        let check = async |changes: Value, expect: Result<(), Code>| {
            let mut claims = fake.claims(CLIENT);
            claims["nonce"] = json!(attempt().nonce);
            for (name, value) in changes.as_object().expect("an object") {
                claims[name] = value.clone();
            }
            fake.plan(|plan| plan.id_token = Some(signer.token(&claims)));
            let found = provider.signed_in("the-code", &attempt(), "http://x/login/callback", &home(), at(0)).await;
            assert_eq!(found.map(|_| ()).map_err(|refused| refused.0.code), expect, "{changes}");
        };
        check(json!({}), Ok(())).await;
        check(json!({"azp": CLIENT}), Ok(())).await;
        check(json!({"aud": [CLIENT, "other"], "azp": CLIENT}), Ok(())).await;
        check(json!({"aud": [CLIENT, "other"]}), Err(Code::SignInFailed)).await;
        check(json!({"azp": "other"}), Err(Code::SignInFailed)).await;
        check(json!({"nonce": "other"}), Err(Code::SignInFailed)).await;
        check(json!({"nonce": null}), Err(Code::SignInFailed)).await;
        // A token that is for the API.
        check(json!({"aud": AUDIENCE}), Err(Code::SignInFailed)).await;
        check(json!({"exp": 1}), Err(Code::SignInFailed)).await;
        let sent = fake.plan(|plan| plan.form.clone());
        let value = |wanted: &str| sent.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let found = ["grant_type", "code", "redirect_uri", "client_id", "code_verifier"].map(value);
        let verifier = attempt().verifier;
        let expect = ["authorization_code", "the-code", "http://x/login/callback", CLIENT, verifier.as_str()].map(Some);
        assert_eq!(found, expect);
        fake.plan(|plan| plan.id_token = None);
        let refused = provider.signed_in("used", &attempt(), "http://x/login/callback", &home(), at(0)).await;
        assert_eq!(refused.map_err(|refused| refused.0.code), Err(Code::SignInFailed));
    }
}

//! A browser's cookies: its session, and an attempt to sign in while it is under way. And where the browser finds us.

use axum::http::{HeaderMap, HeaderValue, header};
use conductor_domain::Code;
use jiff::SignedDuration;

use super::attempt::Attempt;
use super::url::is_here;
use crate::config::Config;
use crate::problem::Refused;

/// How long a session lasts. What the provider changes of a user is seen at the next sign-in.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(8);
/// How long one may take to sign in, in seconds.
const ATTEMPT_SECONDS: i64 = 600;

/// What a browser finds us under.
pub struct Site {
    /// What stands before a path of ours, without a `/` at its end.
    url: String,
}

impl Site {
    /// As the configuration says, else as the request was sent.
    pub fn of(config: &Config, headers: &HeaderMap) -> Result<Self, Refused> {
        if let Some(url) = &config.public_url {
            return Ok(Self { url: url.as_str().trim_end_matches('/').to_owned() });
        }
        let host = host(headers).ok_or_else(|| Refused::new(Code::HeaderInvalid, "the request has no Host"))?;
        let scheme = if is_here(name(host)) { "http" } else { "https" };
        Ok(Self { url: format!("{scheme}://{host}/{}", config.stage).trim_end_matches('/').to_owned() })
    }

    /// Where the provider sends the browser back to.
    pub fn callback(&self) -> String {
        format!("{}/login/callback", self.url)
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok().filter(|host| !host.is_empty())
}

/// A host without its port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The cookies of a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookies {
    /// Whether nothing but this machine is between the browser and us, and no TLS: no cookie could be `Secure`.
    plain: bool,
}

impl Cookies {
    /// Those that a browser has for the site of a request.
    pub fn of(config: &Config, headers: &HeaderMap) -> Self {
        let plain = match &config.public_url {
            Some(url) => url.is_plain(),
            None => host(headers).is_some_and(|host| is_here(name(host))),
        };
        Self { plain }
    }

    /// What a browser with a session shows.
    pub fn session(self, headers: &HeaderMap) -> Option<&str> {
        read(headers, self.session_name())
    }

    /// The attempt that a browser has under way.
    pub fn attempt(self, headers: &HeaderMap) -> Option<Attempt> {
        Attempt::parse(read(headers, self.attempt_name())?)
    }

    /// Gives a browser its session.
    pub fn with_session(self, secret: &str) -> Option<HeaderValue> {
        self.cookie(self.session_name(), secret, "Strict", LIFETIME.as_secs())
    }

    /// Takes it away again.
    pub fn without_session(self) -> Option<HeaderValue> {
        self.cookie(self.session_name(), "", "Strict", 0)
    }

    /// Has a browser remember an attempt. It comes back from another site, so it cannot be `Strict`.
    pub fn with_attempt(self, attempt: &Attempt) -> Option<HeaderValue> {
        self.cookie(self.attempt_name(), &attempt.text(), "Lax", ATTEMPT_SECONDS)
    }

    /// Has it forget it.
    pub fn without_attempt(self) -> Option<HeaderValue> {
        self.cookie(self.attempt_name(), "", "Lax", 0)
    }

    /// With the prefix `__Host-` no other host can have set it.
    fn session_name(self) -> &'static str {
        if self.plain { "conductor" } else { "__Host-conductor" }
    }

    fn attempt_name(self) -> &'static str {
        if self.plain { "conductor-login" } else { "__Host-conductor-login" }
    }

    fn cookie(self, name: &str, value: &str, same_site: &str, seconds: i64) -> Option<HeaderValue> {
        let secure = if self.plain { "" } else { "; Secure" };
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}");
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

fn read<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use conductor_domain::token::SECRET_BYTES;

    use super::super::tests::config;
    use super::super::url::SafeUrl;
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn public(url: Option<&str>) -> Config {
        let url = url.map(|url| SafeUrl::try_from(url.to_owned()).expect("an address"));
        Config { public_url: url, ..config("oidc") }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let check = |cookies: &[&'static str], expect: Option<&str>| {
            let pairs: Vec<_> = cookies.iter().map(|text| (header::COOKIE, *text)).collect();
            assert_eq!(Cookies { plain: false }.session(&headers(&pairs)), expect, "{cookies:?}");
        };
        check(&[], None);
        check(&["__Host-conductor=a"], Some("a"));
        check(&["x=y; __Host-conductor=a=b;z=1"], Some("a=b"));
        check(&["x=y", "__Host-conductor=a"], Some("a"));
        check(&["__Host-conductor="], None);
        check(&["__Host-conductor"], None);
        check(&["__host-conductor=a"], None);
        check(&["x__Host-conductor=a"], None);
        // Another host, or a page without TLS, could have set it.
        check(&["conductor=a"], None);
    }

    #[test]
    fn a_session_stays_in_the_browser_and_on_this_site() {
        let text = |value: Option<HeaderValue>| value.and_then(|value| value.to_str().map(str::to_owned).ok());
        let (tls, plain) = (Cookies { plain: false }, Cookies { plain: true });
        let expect = "__Host-conductor=abc; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(text(tls.with_session("abc")).as_deref(), Some(expect));
        let expect = "conductor=abc; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict";
        assert_eq!(text(plain.with_session("abc")).as_deref(), Some(expect));
        let expect = "__Host-conductor=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(text(tls.without_session()).as_deref(), Some(expect));
        let attempt = text(tls.with_attempt(&Attempt::new(|| [1; SECRET_BYTES], None))).expect("a cookie");
        let (name, rest) = attempt.split_once('=').expect("a pair");
        let (_, attributes) = rest.split_once(';').expect("attributes");
        assert_eq!(name, "__Host-conductor-login");
        assert_eq!(attributes, " Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(tls.with_session("a\r\nb"), None);
    }

    #[test]
    fn a_browser_finds_us_where_it_has_asked_unless_we_know_better() {
        let check = |url: Option<&str>, host: Option<&'static str>, expect: Option<&str>, plain: bool| {
            let pairs: Vec<_> = host.into_iter().map(|host| (header::HOST, host)).collect();
            let (config, headers) = (public(url), headers(&pairs));
            let found = Site::of(&config, &headers).ok().map(|site| site.callback());
            assert_eq!(found.as_deref(), expect, "{url:?} {host:?}");
            assert_eq!(Cookies::of(&config, &headers), Cookies { plain }, "{url:?} {host:?}");
        };
        check(None, Some("a.example"), Some("https://a.example/live/login/callback"), false);
        check(None, Some("127.0.0.1:4566"), Some("http://127.0.0.1:4566/live/login/callback"), true);
        check(None, Some("localhost"), Some("http://localhost/live/login/callback"), true);
        check(None, Some("localhost.evil.example"), Some("https://localhost.evil.example/live/login/callback"), false);
        check(None, None, None, false);
        let ours = Some("https://conductor.example/login/callback");
        check(Some("https://conductor.example/"), Some("127.0.0.1"), ours, false);
        check(Some("http://127.0.0.1:8080/x"), Some("a.example"), Some("http://127.0.0.1:8080/x/login/callback"), true);
    }
}

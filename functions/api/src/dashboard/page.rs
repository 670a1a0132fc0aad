//! What every page of the dashboard is made of: the frame around it, its headers, and the small parts that pages share.
//!
//! It escapes whatever it is given and reads nothing. A body begins with its own `h1`.

use std::fmt::Debug;
use std::sync::LazyLock;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use conductor_domain::Code;
use conductor_domain::principal::{Principal, PrincipalKind};
use conductor_engine::port::Clock;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::auth::Authentication;
use crate::problem::Refused;
use crate::routes::link;

/// What pages load; everything else that they show is in them.
const STYLE: &str = include_str!("assets/app.css");
const SCRIPT: &str = include_str!("assets/app.js");
/// The beginning of the assets' hash: another release has other paths, so that an asset never changes.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::new().chain_update(STYLE).chain_update("\0").chain_update(SCRIPT).finalize();
    hex::encode(digest)[..12].to_owned()
});

/// Nothing from elsewhere, no script and no style but our own files, no frame around us.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// The mark in a browser's tab.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath \
    d='M4 8h3l4-4M7 8l4 4' fill='none' stroke='%23397a9b' stroke-width='2'/%3E%3C/svg%3E";

/// A text that is longer is folded.
const LONG: usize = 120;

/// The part of the dashboard that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// How things stand.
    Overview,
    /// Deployments and their operations.
    Deployments,
    /// Resources.
    Resources,
    /// Environments, their graphs and pools; applications.
    Environments,
    /// Resource templates.
    Templates,
    /// Who did what.
    Audit,
}

const SECTIONS: [(Section, &str, &str); 6] = [
    (Section::Overview, "/", "Overview"),
    (Section::Deployments, "/deployments", "Deployments"),
    (Section::Resources, "/resources", "Resources"),
    (Section::Environments, "/environments", "Environments"),
    (Section::Templates, "/templates", "Templates"),
    (Section::Audit, "/audit", "Audit"),
];

/// A page.
pub(super) struct Page<'a> {
    /// For the time.
    pub app: &'a App,
    /// What the browser's tab says.
    pub title: &'a str,
    /// What the navigation marks.
    pub section: Section,
    /// While the page is open, it is fetched again and its `#live` element is brought up to date.
    pub live: bool,
    /// Its content, from the `h1` on.
    pub body: Markup,
}

/// A page on its way out. Its frame is added by [`crate::app`]'s outermost layer, which knows who asked.
#[derive(Clone)]
pub struct Unframed {
    title: String,
    section: Section,
    now: Option<Timestamp>,
    body: Markup,
}

/// The page as an answer.
pub(super) fn render(page: Page<'_>) -> Response {
    let Page { app, title, section, live, body } = page;
    let now = live.then(|| app.engine.clock.now());
    let mut response = Response::default();
    response.extensions_mut().insert(Unframed { title: title.to_owned(), section, now, body });
    response
}

/// The page in its frame.
pub fn framed(app: &App, page: Unframed, who: Option<&Principal>) -> Response {
    let Unframed { title, section, now, body } = page;
    let frame = Frame { section: Some(section), now, who, ..Frame::new(&title) };
    answer(StatusCode::OK, document(app, frame, &body))
}

/// A document as an answer, with what keeps a browser from doing more with it than we mean.
pub(super) fn answer(status: StatusCode, document: Markup) -> Response {
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (status, headers, document.into_string()).into_response()
}

/// What stands around a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// What the browser's tab says.
    pub title: &'a str,
    /// What the navigation marks, if anything.
    pub section: Option<Section>,
    /// The time, where the page is to be brought up to date while it is open.
    pub now: Option<Timestamp>,
    /// Who asked, if that is known.
    pub who: Option<&'a Principal>,
    /// Where the browser goes on by itself.
    pub onward: Option<&'a str>,
}

impl<'a> Frame<'a> {
    /// With a title, and nothing else.
    pub(super) fn new(title: &'a str) -> Self {
        Self { title, section: None, now: None, who: None, onward: None }
    }
}

/// A body in its frame.
pub(super) fn document(app: &App, frame: Frame<'_>, body: &Markup) -> Markup {
    let to = |path: &str| href(app, path);
    let is_open = app.config.authentication == Authentication::Open;
    around(frame, is_open, &to, body)
}

/// `is_open`: whoever reaches the page is an administrator.
fn around(frame: Frame<'_>, is_open: bool, to: &dyn Fn(&str) -> String, body: &Markup) -> Markup {
    let Frame { title, section, now, who, onward } = frame;
    let version = VERSION.as_str();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(path) = onward {
                    meta http-equiv="refresh" content={ "0; url=" (to(path)) };
                }
                title { (title) " · Conductor" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href=(to(&format!("/assets/{version}/app.css")));
                script src=(to(&format!("/assets/{version}/app.js"))) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href=(to("/")) { "Conductor" }
                    nav aria-label="Main" {
                        @for (this, path, name) in SECTIONS {
                            a href=(to(path)) aria-current=[(section == Some(this)).then_some("page")] { (name) }
                        }
                    }
                    span.freshness #freshness role="status" {}
                    @if let Some(who) = who { (signed_in(who, to)) }
                }
                @if is_open {
                    p.open role="note" { strong { "open:" } " everyone who reaches this address is an administrator" }
                }
                main #main tabindex="-1" data-live[now.is_some()] data-now=[now] { (body) }
            }
        }
    }
}

/// Who asked; who has signed in can sign out.
fn signed_in(who: &Principal, to: &dyn Fn(&str) -> String) -> Markup {
    // The provider is the same for all.
    let name = who.id.split_once('|').map_or(who.id.as_str(), |(_, subject)| subject);
    html! {
        span.who title=(who.id) { (name) }
        @if who.kind == PrincipalKind::Oidc {
            form.sign-out method="post" action=(to("/logout")) { button { "Sign out" } }
        }
    }
}

/// An asset, which never changes under its path.
pub(super) fn asset(version: &str, file: &str) -> Result<Response, Refused> {
    let (kind, content) = match file {
        "app.css" => ("text/css; charset=utf-8", STYLE),
        "app.js" => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return Err(Refused::new(Code::RouteNotFound, Code::RouteNotFound.title())),
    };
    // What another release had there is not what we have.
    if version != VERSION.as_str() {
        return Err(Refused::new(Code::RouteNotFound, Code::RouteNotFound.title()));
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    Ok((headers, content).into_response())
}

/// A path of the dashboard or of the API, as a link must have it.
pub(super) fn href(app: &App, path: impl AsRef<str>) -> String {
    link(app, path.as_ref())
}

/// A text as a segment of a path or as a value in a query.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A path with those of its query's parameters that have a value.
pub(super) fn query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    let given: Vec<String> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if given.is_empty() { path.to_owned() } else { format!("{path}?{}", given.join("&")) }
}

/// A status as a class: its name in lower case.
pub(super) fn class(status: impl Debug) -> String {
    format!("{status:?}").to_lowercase()
}

/// A status in words: `InProgress` is "In progress".
pub(super) fn words(status: impl Debug) -> String {
    let mut words = String::new();
    for letter in format!("{status:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
            words.extend(letter.to_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

/// A status, as a word in its colour.
pub(super) fn badge(status: impl Debug) -> Markup {
    html! { span class={ "badge badge-" (class(&status)) } { (words(&status)) } }
}

/// How long ago, or how far ahead; the exact time is its title.
pub(super) fn when(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(exact(at)) { (relative(at, now)) } }
}

/// A time to the second, in UTC.
pub(super) fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long ago, or how far ahead, in the largest unit that fits.
fn relative(at: Timestamp, now: Timestamp) -> String {
    let away = now.duration_since(at).as_secs();
    let size = match away.unsigned_abs() {
        0..10 => return "just now".to_owned(),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    };
    if away > 0 { format!("{size} ago") } else { format!("in {size}") }
}

/// A length of time, in its two largest units: "1 min 12 s".
pub(super) fn seconds(seconds: i64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let mut rest = seconds.max(0);
    let mut parts = Vec::new();
    for (unit, size) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 || (parts.is_empty() && size == 1) {
            parts.push(format!("{count} {unit}"));
        }
        if parts.len() == 2 || (parts.len() == 1 && count == 0) {
            break;
        }
    }
    parts.join(" ")
}

/// A parameter or an output as text; a long one is folded.
pub(super) fn value(value: &Value) -> Markup {
    match value {
        Value::Null => html! { span.quiet { "none" } },
        Value::String(text) if text.is_empty() => html! { span.quiet { "empty" } },
        Value::String(text) => folded(text, text),
        Value::Array(_) | Value::Object(_) => {
            folded(&value.to_string(), &serde_json::to_string_pretty(value).unwrap_or_default())
        }
        Value::Bool(_) | Value::Number(_) => html! { code { (value) } },
    }
}

/// The short form where it is short and of one line, else its beginning, which opens to the whole.
fn folded(short: &str, whole: &str) -> Markup {
    if short.len() <= LONG && !short.contains('\n') {
        return html! { code { (short) } };
    }
    let start: String = short.lines().next().unwrap_or_default().chars().take(LONG / 2).collect();
    html! {
        details.folded {
            summary { code { (start) "…" } }
            pre { (whole) }
        }
    }
}

/// What is known of something, name by name.
pub(super) fn facts(rows: Vec<(&str, Markup)>) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in rows {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}

/// Where a list goes on, if it does.
pub(super) fn more(app: &App, path_with_query: &str, cursor: Option<&str>) -> Markup {
    let joint = if path_with_query.contains('?') { '&' } else { '?' };
    html! {
        @if let Some(cursor) = cursor {
            p.more {
                @let path = format!("{path_with_query}{joint}cursor={}", encoded(cursor));
                a.button rel="next" href=(href(app, path)) { "Older" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use conductor_domain::operation::OperationStatus;
    use serde_json::json;

    use super::*;

    fn framed_as(frame: Frame<'_>, is_open: bool) -> String {
        let body = html! { h1 { "x" } };
        around(frame, is_open, &|path| format!("/live{path}"), &body).into_string()
    }

    fn framed(section: Option<Section>, now: Option<Timestamp>) -> String {
        framed_as(Frame { section, now, ..Frame::new("\"'><script>") }, false)
    }

    fn principal(id: &str, kind: PrincipalKind) -> Principal {
        Principal { id: id.to_owned(), kind, organisation: "home".parse().expect("a name"), roles: Vec::new() }
    }

    #[test]
    fn who_has_signed_in_is_named_and_can_sign_out() {
        let page = |who: &Principal| framed_as(Frame { who: Some(who), ..Frame::new("x") }, false);
        let user = page(&principal("https://idp.example|<ada|7>", PrincipalKind::Oidc));
        assert!(user.contains("title=\"https://idp.example|&lt;ada|7&gt;\">&lt;ada|7&gt;</span>"), "{user}");
        assert!(user.contains("<form class=\"sign-out\" method=\"post\" action=\"/live/logout\">"), "{user}");
        let local = page(&principal("local", PrincipalKind::Local));
        assert!(local.contains(">local</span>") && !local.contains("/logout"), "{local}");
        let nobody = framed(None, None);
        assert!(!nobody.contains("class=\"who\"") && !nobody.contains("/logout"), "{nobody}");
    }

    #[test]
    fn a_stack_that_is_open_says_so_on_every_page() {
        let said = |is_open: bool| framed_as(Frame::new("x"), is_open).contains("is an administrator");
        assert_eq!((said(true), said(false)), (true, false));
    }

    #[test]
    fn a_browser_goes_on_where_it_is_told_to() {
        let onward = |path| framed_as(Frame { onward: path, ..Frame::new("x") }, false);
        let page = onward(Some("/a?b=\"c"));
        assert!(page.contains("<meta http-equiv=\"refresh\" content=\"0; url=/live/a?b=&quot;c\">"), "{page}");
        assert!(!onward(None).contains("refresh"));
    }

    #[test]
    fn a_page_has_no_script_and_no_style_but_its_assets() {
        let page = framed(Some(Section::Audit), None);
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert!(page.contains(&format!("<script src=\"/live/assets/{}/app.js\" defer></script>", VERSION.as_str())));
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"), "{page}");
    }

    #[test]
    fn the_navigation_marks_where_one_is() {
        let marked = |section: Option<Section>| framed(section, None).matches("aria-current=\"page\"").count();
        assert_eq!((marked(Some(Section::Audit)), marked(None)), (1, 0));
        assert!(framed(Some(Section::Audit), None).contains("href=\"/live/audit\" aria-current=\"page\""));
    }

    #[test]
    fn a_page_that_is_live_says_so_with_the_time() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        assert!(framed(None, Some(now)).contains("data-live data-now=\"2026-11-22T12:00:00Z\""));
        assert!(!framed(None, None).contains("data-live"));
    }

    #[test]
    fn an_asset_never_changes_under_its_path() {
        let found = asset(VERSION.as_str(), "app.css").expect("an asset");
        let cached = found.headers().get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
        assert_eq!(cached, Some("public, max-age=31536000, immutable"));
        for (version, file) in [("000000000000", "app.css"), (VERSION.as_str(), "app.map")] {
            assert_eq!(asset(version, file).expect_err("no asset").0.code, Code::RouteNotFound);
        }
    }

    #[test]
    fn a_length_of_time_is_told_in_its_two_largest_units() {
        let check = |length: i64, expect: &str| assert_eq!(seconds(length), expect, "{length}");
        check(-3, "0 s");
        check(0, "0 s");
        check(59, "59 s");
        check(60, "1 min");
        check(72, "1 min 12 s");
        check(3_600, "1 h");
        check(3_605, "1 h");
        check(3_780, "1 h 3 min");
        check(90_000, "1 d 1 h");
    }

    #[test]
    fn a_time_is_told_by_how_far_it_is_away() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        let check = |at: &str, expect: &str| {
            assert_eq!(relative(at.parse().expect("a time"), now), expect, "{at}");
        };
        check("2026-11-22T12:00:00Z", "just now");
        check("2026-11-22T11:59:51Z", "just now");
        check("2026-11-22T11:59:50Z", "10 s ago");
        check("2026-11-22T11:57:01Z", "2 min ago");
        check("2026-11-22T09:00:00Z", "3 h ago");
        check("2026-11-20T12:00:01Z", "47 h ago");
        check("2026-11-19T12:00:00Z", "3 days ago");
        check("2026-11-22T12:05:00Z", "in 5 min");
    }

    #[test]
    fn a_status_is_shown_in_words_and_has_a_class() {
        let check = |status: OperationStatus, expect: &str| assert_eq!(badge(status).into_string(), expect);
        check(OperationStatus::Succeeded, "<span class=\"badge badge-succeeded\">Succeeded</span>");
        check(OperationStatus::TimedOut, "<span class=\"badge badge-timedout\">Timed out</span>");
    }

    #[test]
    fn a_value_is_text_and_a_long_one_is_folded() {
        let check = |given: Value, expect: &str| assert_eq!(value(&given).into_string(), expect, "{given}");
        check(json!("<b>"), "<code>&lt;b&gt;</code>");
        check(json!(3), "<code>3</code>");
        check(json!(null), "<span class=\"quiet\">none</span>");
        check(json!({"a": 1}), "<code>{&quot;a&quot;:1}</code>");
        let long = value(&json!("<".repeat(200))).into_string();
        assert!(long.starts_with("<details class=\"folded\"><summary>") && !long.contains("<<"), "{long}");
    }

    #[test]
    fn a_query_has_what_is_given_and_is_encoded() {
        let check = |parameters: &[(&str, Option<&str>)], expect: &str| {
            assert_eq!(query("/deployments", parameters), expect, "{parameters:?}");
        };
        check(&[], "/deployments");
        check(&[("status", None), ("text", Some(""))], "/deployments");
        check(&[("status", Some("Failed"))], "/deployments?status=Failed");
        let both = [("status", Some("Failed")), ("text", Some("a&ü \"'"))];
        check(&both, "/deployments?status=Failed&text=a%26%C3%BC%20%22%27");
    }
}

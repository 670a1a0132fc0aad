//! What a log is answered as: what `Accept` says.

use axum::http::{HeaderMap, header};
use conductor_domain::Code;

use super::flow::Flow;
use crate::problem::Refused;

/// What a log is answered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// A page.
    Json,
    /// What flows.
    Flow(Flow),
}

impl Representation {
    /// What the caller likes best; JSON where it says nothing.
    pub fn wanted(headers: &HeaderMap) -> Result<Self, Refused> {
        let values: Vec<&str> =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        if values.is_empty() {
            return Ok(Self::Json);
        }
        let detail = "this route answers application/json, text/event-stream or text/plain";
        best(&values.join(",")).ok_or_else(|| Refused::new(Code::NotAcceptable, detail))
    }
}

fn best(accept: &str) -> Option<Representation> {
    let mut ranges: Vec<(f32, String)> = accept.split(',').map(range).filter(|(quality, _)| *quality > 0.0).collect();
    // Those that are liked as much stay in their order.
    ranges.sort_by(|one, other| other.0.total_cmp(&one.0));
    ranges.iter().find_map(|(_, media)| match media.as_str() {
        "application/json" | "application/*" | "*/*" => Some(Representation::Json),
        "text/event-stream" => Some(Representation::Flow(Flow::Events)),
        "text/plain" | "text/*" => Some(Representation::Flow(Flow::Text)),
        _ => None,
    })
}

/// A media range, and how much it is liked.
fn range(text: &str) -> (f32, String) {
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let media = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    (quality.unwrap_or(1.0), media)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const EVENTS: Option<Representation> = Some(Representation::Flow(Flow::Events));
    const TEXT: Option<Representation> = Some(Representation::Flow(Flow::Text));
    const JSON: Option<Representation> = Some(Representation::Json);

    #[test]
    fn the_caller_gets_what_it_likes_best_of_what_there_is() {
        let check = |accept: &str, expect| assert_eq!(best(accept), expect, "{accept}");
        check("application/json", JSON);
        check("*/*", JSON);
        check("text/event-stream", EVENTS);
        check("Text/Event-Stream; charset=utf-8", EVENTS);
        check("text/plain", TEXT);
        check("text/*", TEXT);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON);
        check("application/json;q=0.5, text/plain", TEXT);
        check("text/event-stream, */*", EVENTS);
        check("text/plain;q=0, text/event-stream;q=0.1", EVENTS);
        check("text/plain;q=0", None);
        check("text/html", None);
        check("image/*, application/zip", None);
        check("", None);
    }

    #[test]
    fn who_says_nothing_gets_json_and_who_wants_something_else_is_refused() {
        let headers = |values: &[&'static str]| -> HeaderMap {
            values.iter().map(|&value| (header::ACCEPT, HeaderValue::from_static(value))).collect()
        };
        assert!(matches!(Representation::wanted(&headers(&[])), Ok(Representation::Json)));
        let two = Representation::wanted(&headers(&["text/html", "text/plain"]));
        assert!(matches!(two, Ok(Representation::Flow(Flow::Text))));
        let refused = Representation::wanted(&headers(&["text/html"])).expect_err("it is refused");
        assert_eq!(refused.0.code, Code::NotAcceptable);
    }
}

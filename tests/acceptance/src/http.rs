//! One request and its answer.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body: JSON, or a text where it is none; null where it is empty.
    pub body: Value,
}

impl Answer {
    /// The same, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }

    /// A header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A text in the body.
    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {:#}", self.body)).to_owned()
    }

    /// Checks that it is a problem with this status and code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        let found = (self.status, self.body["code"].as_str(), self.header("content-type"));
        assert_eq!(found, (status, Some(code), "application/problem+json"), "{:#}", self.body);
    }

    /// The same, and the first of its errors points there; `what` says which input it was.
    #[track_caller]
    pub fn points_at(&self, what: &str, status: u16, code: &str, pointer: &str) {
        let found = (self.status, self.body["code"].as_str(), self.body["errors"][0]["pointer"].as_str());
        assert_eq!(found, (status, Some(code), Some(pointer)), "{what}: {:#}", self.body);
        self.is_problem(status, code);
    }
}

/// Sends a request; panics where the stack does not answer.
pub(crate) async fn send(
    client: &Client,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let mut request = client.request(method, url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let sent = request.send().await;
    let response = sent.unwrap_or_else(|error| panic!("the stack does not answer, run `make up` ({error:?})"));
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.expect("the whole body comes");
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) };
    Answer { status, headers, body }
}

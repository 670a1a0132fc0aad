//! A proxy before an emulator that counts what passes. It is not in the way of what is timed.

use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use reqwest::redirect::Policy;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::count::{Counter, Exchange};

/// A proxy, for as long as it lives.
pub struct Proxy {
    url: String,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    counter: Counter,
}

impl Proxy {
    /// Before an endpoint.
    pub async fn before(upstream: &str, counter: Counter) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().expect("an HTTP client");
        let shared = Arc::new(Shared { upstream: upstream.trim_end_matches('/').to_owned(), client, counter });
        let router = Router::new().fallback(pass).with_state(shared);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the proxy is served") });
        Self { url, server }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The request goes on with the host that it was sent to: it is signed.
async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::BAD_REQUEST.into_response() };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = head.headers.clone();
    for name in [CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    let url = format!("{}{path}", shared.upstream);
    let sent = shared.client.request(head.method.clone(), url).headers(headers).body(body.clone()).send().await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let Ok(content) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
    shared.counter.count(&Exchange {
        path,
        target: text(&head.headers, "x-amz-target"),
        agent: text(&head.headers, "user-agent"),
        request: &body,
        status: status.as_u16(),
        answer: &content,
    });
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    if head.method != Method::HEAD {
        headers.remove(CONTENT_LENGTH);
    }
    (status, headers, content).into_response()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

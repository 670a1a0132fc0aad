//! The queue of wake-ups, as SQS answers those who send. What is sent is there at once for whoever takes it: how soon
//! SQS wakes a function is Lambda's, and not measured.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A queue, for as long as it lives.
pub struct Queue {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Messages {
    ready: VecDeque<String>,
    /// Those that nobody is done with: also what is to come later, and what is being worked.
    open: usize,
}

struct Shared {
    messages: Mutex<Messages>,
    changes: watch::Sender<()>,
    requests: AtomicU64,
}

impl Queue {
    /// An empty one.
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let changes = watch::channel(()).0;
        let shared = Arc::new(Shared { messages: Mutex::default(), changes, requests: AtomicU64::new(0) });
        let router = Router::new().route("/", post(answer)).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the queue is served") });
        Self { url, shared, server }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Something may be sent yet: until [`Queue::done`] is called for it, nobody is told that this was all.
    pub fn expect_more(&self) {
        self.shared.lock().open += 1;
    }

    /// What was expected, or taken, is done with.
    pub fn done(&self) {
        self.shared.lock().open -= 1;
        self.shared.changes.send_replace(());
    }

    /// The next message; none once all are done with.
    pub async fn next(&self) -> Option<String> {
        let mut changes = self.shared.changes.subscribe();
        loop {
            {
                let mut messages = self.shared.lock();
                if let Some(message) = messages.ready.pop_front() {
                    return Some(message);
                }
                if messages.open == 0 {
                    return None;
                }
            }
            changes.changed().await.expect("the queue is there");
        }
    }

    /// Puts a message in, to come after a while.
    pub fn put(&self, message: String, after: Duration) {
        self.shared.clone().put(message, after);
    }

    /// All messages that are there; each has to be done with.
    pub fn taken(&self) -> Vec<String> {
        self.shared.lock().ready.drain(..).collect()
    }

    /// Forgets all messages that are there.
    pub fn drain(&self) {
        self.taken().iter().for_each(|_| self.done());
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(self: Arc<Self>, message: String, after: Duration) {
        self.lock().open += 1;
        if after.is_zero() {
            self.arrived(message);
        } else {
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                self.arrived(message);
            });
        }
    }

    fn arrived(&self, message: String) {
        self.lock().ready.push_back(message);
        self.changes.send_replace(());
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let action = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let answer = match action {
        "AmazonSQS.SendMessageBatch" => {
            let entries = request["Entries"].as_array().cloned().unwrap_or_default();
            entries.iter().for_each(|entry| take(&shared, entry));
            let sent: Vec<Value> = entries.iter().map(|entry| json!({"Id": entry["Id"], "MessageId": "m"})).collect();
            json!({"Successful": sent, "Failed": []})
        }
        "AmazonSQS.SendMessage" => {
            take(&shared, &request);
            json!({"MessageId": "m"})
        }
        _ => json!({}),
    };
    ([(CONTENT_TYPE, "application/x-amz-json-1.0")], answer.to_string()).into_response()
}

fn take(shared: &Arc<Shared>, entry: &Value) {
    let message = entry["MessageBody"].as_str().unwrap_or_default().to_owned();
    let after = Duration::from_secs(entry["DelaySeconds"].as_u64().unwrap_or(0));
    shared.clone().put(message, after);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_takes_waits_until_all_is_done_with() {
        let queue = Queue::open().await;
        queue.expect_more();
        queue.put("one".to_owned(), Duration::ZERO);
        assert_eq!(queue.next().await.as_deref(), Some("one"));
        let (next, ()) = futures::future::join(queue.next(), async {
            queue.put("two".to_owned(), Duration::from_millis(5));
            queue.done();
            queue.done();
        })
        .await;
        assert_eq!(next.as_deref(), Some("two"));
        queue.done();
        assert_eq!(queue.next().await, None);
        queue.put("three".to_owned(), Duration::ZERO);
        queue.drain();
        assert_eq!((queue.next().await, queue.requests()), (None, 0));
    }
}

//! The Runtime API: `/2018-06-01/runtime/…`, as a function asks for events and answers them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::response::{Answer, Chunk};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:emulated";

/// An event on its way to the function.
pub(crate) struct Invocation {
    pub id: String,
    pub event: Vec<u8>,
    /// Counted from when the function takes it.
    pub deadline: Duration,
    pub answer: oneshot::Sender<Outcome>,
}

/// What the function answers, or the error that it reports instead.
pub(crate) type Outcome = Result<Answer, String>;

/// What the server knows.
pub(crate) struct Shared {
    started: Instant,
    first_poll: watch::Sender<Option<Duration>>,
    gone: watch::Sender<Option<String>>,
    waiting: AsyncMutex<mpsc::UnboundedReceiver<Invocation>>,
    taken: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
}

impl Shared {
    pub fn new(waiting: mpsc::UnboundedReceiver<Invocation>) -> Self {
        Self {
            started: Instant::now(),
            first_poll: watch::channel(None).0,
            gone: watch::channel(None).0,
            waiting: AsyncMutex::new(waiting),
            taken: Mutex::default(),
        }
    }

    /// Remembers why the function takes no events any more: the first reason.
    pub fn lose(&self, reason: String) {
        self.gone.send_modify(|gone| {
            gone.get_or_insert(reason);
        });
    }

    /// Waits until it takes none any more, and says why.
    pub async fn gone(&self) -> String {
        let mut gone = self.gone.subscribe();
        let reason = gone.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| reason.clone()).unwrap_or_default()
    }

    /// Waits until it has asked for an event.
    pub async fn first_poll(&self) -> Duration {
        let mut first = self.first_poll.subscribe();
        let took = first.wait_for(Option::is_some).await;
        took.ok().and_then(|took| *took).unwrap_or_default()
    }

    fn answer(&self, id: &str, outcome: Outcome) -> StatusCode {
        let sender = self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        // Whoever asked may have gone.
        match sender.map(|sender| sender.send(outcome)) {
            Some(_) => StatusCode::ACCEPTED,
            None => StatusCode::FORBIDDEN,
        }
    }
}

/// Serves until it is aborted.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(answer))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(fail))
        .route("/2018-06-01/runtime/init/error", post(fail_to_start))
        .with_state(shared);
    axum::serve(listener, router).await.expect("the Runtime API is served");
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    shared.first_poll.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert(shared.started.elapsed());
        is_first
    });
    let invocation = shared.waiting.lock().await.recv().await;
    let Some(Invocation { id, event, deadline, answer }) = invocation else { return StatusCode::GONE.into_response() };
    let headers = [
        ("lambda-runtime-aws-request-id", id.clone()),
        ("lambda-runtime-deadline-ms", milliseconds_of(deadline).to_string()),
        ("lambda-runtime-invoked-function-arn", FUNCTION.to_owned()),
    ];
    shared.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
    (headers, event).into_response()
}

async fn answer(State(shared): State<Arc<Shared>>, Path(id): Path<String>, request: Request) -> StatusCode {
    let mode = request.headers().get("lambda-runtime-function-response-mode");
    let is_streamed = mode.is_some_and(|mode| mode == "streaming");
    let (sender, chunks) = mpsc::unbounded_channel();
    let status = shared.answer(&id, Ok(Answer { is_streamed, chunks }));
    let mut body = request.into_body().into_data_stream();
    while let Some(Ok(bytes)) = body.next().await {
        // Also where nobody reads any more.
        let _ = sender.send(Chunk { at: Instant::now(), bytes });
    }
    status
}

async fn fail(State(shared): State<Arc<Shared>>, Path(id): Path<String>, error: String) -> StatusCode {
    shared.answer(&id, Err(error))
}

async fn fail_to_start(State(shared): State<Arc<Shared>>, error: String) -> StatusCode {
    shared.lose(error);
    StatusCode::ACCEPTED
}

/// A time from now on as Lambda tells it: in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a deadline is a time of day")]
fn milliseconds_of(deadline: Duration) -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
    (now + deadline).as_millis()
}

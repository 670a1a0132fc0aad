//! The end of a log, followed while it is written: where the answer flows, for as long as the function may run; where
//! the gateway waits for the whole of it, up to the next news.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use conductor_domain::principal::Principal;
use conductor_engine::port::Clock;
use conductor_engine::{Causes, LogReader};
use conductor_store::Aws;
use futures::stream;
use tracing::{Instrument, Span};

use super::flow::Flow;
use crate::app::App;
use crate::auth::Shown;

/// After so long without a line something is said all the same: the gateway ends what is silent for 5 minutes, and
/// other proxies are less patient.
const SILENCE: Duration = Duration::from_secs(15);
/// How long an answer that does not flow waits for news.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer that does not flow: Lambda takes 6 MB.
pub const MOST: usize = 4 * 1024 * 1024;
/// How long it counts who the caller is.
const COUNTS: Duration = Duration::from_secs(30);
/// After so long the caller asks again: where the answer flowed, where it did not, and where it broke off.
const AFTER_A_FLOW: Duration = Duration::from_millis(100);
const AFTER_AN_ANSWER: Duration = Duration::from_millis(250);
const AFTER_A_FAULT: Duration = Duration::from_secs(5);

/// Who follows a log. What a request showed of them may be revoked, or expire, while its answer flows.
pub struct Asker {
    app: App,
    shown: Shown,
    principal: Principal,
    /// When they were last known to be this principal, in the clock's monotonic time.
    known: Duration,
}

impl Asker {
    /// Whoever a request is from that was let through at this moment.
    pub fn new(app: App, shown: Shown, principal: Principal) -> Self {
        let known = app.engine.clock.monotonic();
        Self { app, shown, principal, known }
    }

    fn now(&self) -> Duration {
        self.app.engine.clock.monotonic()
    }

    /// Whether it is still the principal that it was.
    async fn is_still_there(&mut self) -> bool {
        let now = self.now();
        if now.saturating_sub(self.known) < COUNTS {
            return true;
        }
        let is_still = self.shown.is_still(&self.app, &self.principal).await;
        self.known = now;
        is_still
    }
}

/// A log that is followed.
pub struct Tail {
    /// What reads it.
    pub reader: LogReader<Aws>,
    /// How it is written.
    pub flow: Flow,
    /// Who follows it.
    pub asker: Asker,
    /// When the answer has to end, in the clock's monotonic time; none where it does not flow.
    pub until: Option<Duration>,
    /// Where the rest is to be asked for: a path that wants a position at its end.
    pub path: String,
}

impl Tail {
    /// The answer.
    pub fn answer(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.flow.content_type()),
            (HeaderName::from_static("x-accel-buffering"), "no"), // what nginx reads
        ];
        // What is logged on the way belongs to the request, which has been answered by then.
        let request = Span::current();
        let chunks = stream::unfold(Some(self), move |tail| {
            let next = async move {
                let (chunk, rest) = tail?.next().await;
                Some((Ok::<_, Infallible>(chunk), rest))
            };
            next.instrument(request.clone())
        });
        (headers, Body::from_stream(chunks)).into_response()
    }

    /// What there is to send next, and what sends the rest, unless that was all.
    async fn next(mut self) -> (String, Option<Self>) {
        loop {
            let Some(time) = self.time() else { return (self.pause(AFTER_A_FLOW), None) };
            if !self.asker.is_still_there().await {
                return (self.pause(AFTER_A_FAULT), None);
            }
            let read = match self.reader.follow(time).await {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(error = %Causes(&error), "a log cannot be followed");
                    return (self.pause(AFTER_A_FAULT), None);
                }
            };
            let flows = self.until.is_some();
            let (mut chunk, count) = self.flow.lines(&read.lines, if flows { usize::MAX } else { MOST });
            if count < read.lines.len() {
                chunk += &self.flow.pause(AFTER_AN_ANSWER, &read.lines[count - 1].id, &self.path);
                return (chunk, None);
            }
            if let Some(status) = read.ended {
                chunk += &self.flow.end(status);
                return (chunk, None);
            }
            if read.lines.is_empty() {
                chunk += self.flow.silence();
            }
            if !flows {
                chunk += &self.pause(AFTER_AN_ANSWER);
                return (chunk, None);
            }
            if !chunk.is_empty() {
                return (chunk, Some(self));
            }
        }
    }

    /// How long the next read may take; none where the answer has to end.
    fn time(&self) -> Option<Duration> {
        let Some(until) = self.until else { return Some(PATIENCE) };
        let left = until.saturating_sub(self.asker.now()).min(SILENCE);
        (!left.is_zero()).then_some(left)
    }

    fn pause(&self, retry: Duration) -> String {
        self.flow.pause(retry, self.reader.position(), &self.path)
    }
}

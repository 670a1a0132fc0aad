//! Server-sent events, as a browser reads them.

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::Instant;

use crate::response::{Chunk, Response};

/// What stands between two empty lines of a stream.
#[derive(Debug, Clone)]
pub struct Event {
    /// When its last byte came.
    pub at: Instant,
    /// Its id.
    pub id: Option<String>,
    /// Its name; none: a message.
    pub name: Option<String>,
    /// Its data. Without data it is no event for whoever listens.
    pub data: Option<String>,
    /// After how many milliseconds to reconnect.
    pub retry: Option<u64>,
    /// True where it has a comment.
    pub is_comment: bool,
}

/// The events of an answer.
pub struct Events {
    body: BoxStream<'static, Chunk>,
    read: Vec<u8>,
    at: Instant,
}

impl Events {
    /// Those of an answer that is a stream of events.
    #[track_caller]
    pub fn of(response: Response) -> Self {
        let found = (response.status(), response.header("content-type"));
        assert_eq!(found, (200, "text/event-stream"));
        Self { body: response.body, read: Vec::new(), at: Instant::now() }
    }

    /// The next one; none at the end of the answer.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let rest = self.read.split_off(end + 2);
                let block = std::mem::replace(&mut self.read, rest);
                return Some(read(self.at, std::str::from_utf8(&block).expect("events are UTF-8")));
            }
            let Some(Chunk { at, bytes }) = self.body.next().await else {
                assert!(self.read.is_empty(), "the answer ends in the middle of an event: {:?}", self.read);
                return None;
            };
            self.at = at;
            self.read.extend_from_slice(&bytes);
        }
    }
}

fn read(at: Instant, block: &str) -> Event {
    let mut event = Event { at, id: None, name: None, data: None, retry: None, is_comment: false };
    for row in block.trim_end().lines() {
        let (field, value) = row.split_once(':').unwrap_or_else(|| panic!("{row:?} is no field"));
        let value = || Some(value.strip_prefix(' ').unwrap_or(value).to_owned());
        match field {
            "" => event.is_comment = true,
            "id" => event.id = value(),
            "event" => event.name = value(),
            "data" => event.data = value(),
            "retry" => event.retry = value().and_then(|value| value.parse().ok()),
            _ => panic!("{row:?} is no field that there is"),
        }
    }
    event
}

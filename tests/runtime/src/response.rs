//! What a function answers, as it comes.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What stands between head and body of an HTTP answer that is streamed.
const DELIMITER: [u8; 8] = [0; 8];

/// A part of an answer.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// When it came.
    pub at: Instant,
    /// The bytes.
    pub bytes: Bytes,
}

/// An answer of which nothing was read yet.
pub(crate) struct Answer {
    pub is_streamed: bool,
    pub chunks: mpsc::UnboundedReceiver<Chunk>,
}

/// The head of an HTTP answer that is streamed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The status.
    pub status_code: u16,
    /// A text each, or a list of texts.
    pub headers: BTreeMap<String, Value>,
}

/// What a function answers.
pub struct Response {
    /// Of an answer that is streamed; one that is not has all that there is in its body.
    pub head: Option<Head>,
    /// The body, as it comes.
    pub body: BoxStream<'static, Chunk>,
}

impl Response {
    /// Reads the head.
    pub(crate) async fn of(answer: Answer) -> Self {
        let Answer { is_streamed, mut chunks } = answer;
        if !is_streamed {
            return Self { head: None, body: rest_of(chunks).boxed() };
        }
        let mut read = Vec::new();
        loop {
            let Chunk { at, bytes } = chunks.recv().await.expect("an answer has a head");
            read.extend_from_slice(&bytes);
            if let Some(end) = read.windows(DELIMITER.len()).position(|window| window == DELIMITER) {
                let head = serde_json::from_slice(&read[..end]).expect("a head is JSON");
                let begun = read.split_off(end + DELIMITER.len());
                let begun = (!begun.is_empty()).then(|| Chunk { at, bytes: begun.into() });
                return Self { head: Some(head), body: stream::iter(begun).chain(rest_of(chunks)).boxed() };
            }
        }
    }

    /// The status, where it is streamed.
    pub fn status(&self) -> u16 {
        self.head.as_ref().expect("an answer that is streamed").status_code
    }

    /// A header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        let value = self.head.as_ref().and_then(|head| head.headers.get(name));
        value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole body.
    pub async fn bytes(self) -> Vec<u8> {
        self.body.map(|chunk| chunk.bytes.to_vec()).concat().await
    }
}

fn rest_of(chunks: mpsc::UnboundedReceiver<Chunk>) -> impl futures::Stream<Item = Chunk> + Send + 'static {
    stream::unfold(chunks, |mut chunks| async move { Some((chunks.recv().await?, chunks)) })
}

//! Bodies of HTTP/2 messages: read, sent and passed on. No more of one is taken than there is room for where it goes.

use std::future::poll_fn;
use std::task::{Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};

/// Why a body was not passed on to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// It broke off.
    Reading(h2::Error),
    /// Nobody wants it any more, for this reason where one was given.
    Writing(Option<Reason>),
}

/// The beginning of a body.
#[derive(Default)]
pub(super) struct Read {
    pub(super) data: Bytes,
    /// Whether there is no more of it.
    pub(super) is_all: bool,
}

/// Reads a body, until it has more than `limit` bytes.
pub(super) async fn read(from: &mut RecvStream, limit: usize) -> Result<Read, h2::Error> {
    let mut data = BytesMut::new();
    while data.len() <= limit {
        let Some(part) = from.data().await else {
            return Ok(Read { data: data.freeze(), is_all: true });
        };
        let part = part?;
        data.extend_from_slice(&part);
        release(from, part.len());
    }
    Ok(Read { data: data.freeze(), is_all: false })
}

/// Passes a body on, of which this much was read already, and the trailers that follow it.
pub(super) async fn pass_on(read: Bytes, from: &mut RecvStream, to: &mut SendStream<Bytes>) -> Result<(), Stopped> {
    send(read, to).await.map_err(Stopped::Writing)?;
    while let Some(part) = next(from, to).await? {
        let length = part.len();
        send(part, to).await.map_err(Stopped::Writing)?;
        release(from, length);
    }
    let ended = match from.trailers().await.map_err(Stopped::Reading)? {
        Some(trailers) => to.send_trailers(trailers),
        None => to.send_data(Bytes::new(), true),
    };
    ended.map_err(|error| Stopped::Writing(error.reason()))
}

/// Sends as the other side has room for it.
pub(super) async fn send(mut data: Bytes, to: &mut SendStream<Bytes>) -> Result<(), Option<Reason>> {
    while !data.is_empty() {
        let room = room(to, data.len()).await?;
        let part = data.split_to(room.min(data.len()));
        to.send_data(part, false).map_err(|error| error.reason())?;
    }
    Ok(())
}

/// How much may be sent now, of so much that shall be.
async fn room(to: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, Option<Reason>> {
    to.reserve_capacity(wanted);
    poll_fn(|cx| {
        loop {
            match to.capacity() {
                0 => match ready!(to.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(error.reason())),
                    None => return Poll::Ready(Err(reset(to.poll_reset(cx)))),
                },
                room => return Poll::Ready(Ok(room)),
            }
        }
    })
    .await
}

/// The next part of a body, as long as somebody wants it.
async fn next(from: &mut RecvStream, to: &mut SendStream<Bytes>) -> Result<Option<Bytes>, Stopped> {
    poll_fn(|cx| {
        let gone = to.poll_reset(cx);
        if gone.is_ready() {
            return Poll::Ready(Err(Stopped::Writing(reset(gone))));
        }
        from.poll_data(cx).map(|part| part.transpose().map_err(Stopped::Reading))
    })
    .await
}

fn reset(polled: Poll<Result<Reason, h2::Error>>) -> Option<Reason> {
    match polled {
        Poll::Ready(reason) => reason.ok(),
        Poll::Pending => None,
    }
}

/// Lets as much more be sent. It fails only where the stream has ended, which the next look at it tells.
fn release(from: &mut RecvStream, length: usize) {
    let _ = from.flow_control().release_capacity(length);
}

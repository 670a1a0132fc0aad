//! What stands between the terraform of one run and a kept provider: it speaks HTTP/2 to both, and passes every call on
//! as it comes. Of the provider's schemas it shows only those that the run needs, and what is answered the same as long
//! as the provider lives ([`Answers`]) is asked for once. It makes no answer of its own: where the provider resets a
//! call or is gone, terraform sees that.

mod body;

use std::fs;
use std::future::{pending, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::response::Parts;
use http::{Request, Response};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::answers::{Answer, Answers, Call};
use crate::module::Needs;
use body::{Read, Stopped};

/// The longest question whose answer is kept, in bytes. The configuration of the AWS provider has some hundreds.
const QUESTION: usize = 1 << 20;

/// The longest answer that is kept, in bytes: as long as terraform takes one to be that tells of schemas.
const ANSWER: usize = 64 << 20;

/// How many bytes of a body may be on their way to here: of one, and of all on a connection.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// A socket that leads to a provider. It ends when it is let go, with all connections.
pub(super) struct Relay {
    socket: PathBuf,
    listening: JoinHandle<()>,
}

impl Relay {
    /// Listens at `socket` for terraform, and leads to the one of the `provider`.
    pub(super) fn start(socket: PathBuf, provider: PathBuf, needs: Needs, answers: Arc<Answers>) -> io::Result<Self> {
        let listener = UnixListener::bind(&socket)?;
        let run = Arc::new(Run { provider, needs, answers });
        Ok(Self { socket, listening: tokio::spawn(listen(listener, run)) })
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
        let _ = fs::remove_file(&self.socket);
    }
}

/// What is the same for all connections of a run.
struct Run {
    provider: PathBuf,
    needs: Needs,
    answers: Arc<Answers>,
}

/// Why a call has not come to its end.
enum Broken {
    /// Terraform does not want it any more, for this reason where it gave one.
    Terraform(Option<Reason>),
    /// The provider has reset it, or is gone.
    Provider(h2::Error),
}

async fn listen(listener: UnixListener, run: Arc<Run>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&run)));
                }
                Err(error) => {
                    tracing::warn!(%error, "no more connections of terraform are taken");
                    break;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    // Whoever connects from now on is to know that nobody answers.
    drop(listener);
    // Those that there are must not end in the middle of a call.
    while connections.join_next().await.is_some() {}
}

/// One connection of terraform, with one of its own to the provider.
async fn serve(stream: UnixStream, run: Arc<Run>) {
    // First, so that it is let go last: a call that is let go is reset, and that would be an answer if it were sent.
    let mut calls = JoinSet::new();
    let mut server = h2::server::Builder::new();
    server.initial_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1);
    // Terraform also connects only to see whether somebody listens, and says nothing.
    let Ok(mut terraform) = server.handshake::<_, Bytes>(stream).await else { return };
    let (provider, connection) = match connect(&run.provider).await {
        Ok(connected) => connected,
        Err(error) => {
            tracing::warn!(%error, "the provider cannot be reached");
            return;
        }
    };
    let mut connection = pin!(connection);
    let lost = Arc::new(Notify::new());
    loop {
        tokio::select! {
            asked = terraform.accept() => {
                let Some(Ok((request, respond))) = asked else { return };
                calls.spawn(call(Arc::clone(&run), request, respond, provider.clone(), Arc::clone(&lost)));
            }
            _ = &mut connection => return,
            () = lost.notified() => return,
            Some(_) = calls.join_next() => {}
        }
    }
}

async fn connect(provider: &Path) -> io::Result<(SendRequest<Bytes>, Connection<UnixStream, Bytes>)> {
    let stream = UnixStream::connect(provider).await?;
    let mut client = h2::client::Builder::new();
    client.initial_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1);
    client.handshake(stream).await.map_err(io::Error::other)
}

async fn call(
    run: Arc<Run>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    provider: SendRequest<Bytes>,
    lost: Arc<Notify>,
) {
    let Err(Broken::Provider(error)) = run.pass_on(request, &mut respond, provider).await else { return };
    if error.is_io() || error.is_go_away() {
        // Terraform shall see what it would see without this: that the connection is gone.
        lost.notify_one();
        pending::<()>().await;
    }
    respond.send_reset(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
}

impl Run {
    async fn pass_on(
        &self,
        request: Request<RecvStream>,
        respond: &mut SendResponse<Bytes>,
        provider: SendRequest<Bytes>,
    ) -> Result<(), Broken> {
        let (head, mut body) = request.into_parts();
        let kept = Call::of(head.uri.path());
        let read = match kept {
            Some(_) => body::read(&mut body, QUESTION).await.map_err(|error| Broken::Terraform(error.reason()))?,
            None => Read::default(),
        };
        let question = kept.filter(|_| read.is_all).map(|call| (call, read.data.clone()));
        let known = question.as_ref().and_then(|(call, asked)| Some((*call, self.answers.recall(*call, asked)?)));
        if let Some((call, answer)) = known {
            return give(self.shown(call, answer), respond).await;
        }
        let mut provider = provider.ready().await.map_err(Broken::Provider)?;
        let request = Request::from_parts(head, ());
        let (response, mut send) = provider.send_request(request, false).map_err(Broken::Provider)?;
        let asking = async {
            match body::pass_on(read.data, &mut body, &mut send).await {
                Err(Stopped::Reading(error)) => error.reason(),
                // Where the provider does not want all of it, its answer says why.
                Ok(()) | Err(Stopped::Writing(_)) => pending().await,
            }
        };
        let passed = tokio::select! {
            reason = asking => Err(Broken::Terraform(reason)),
            answered = self.answer(question, response, respond) => answered,
        };
        if let Err(Broken::Terraform(reason)) = &passed {
            send.send_reset(reason.unwrap_or(Reason::CANCEL));
        }
        passed
    }

    /// Awaits the provider's answer and passes it on; where it is one to a question of those that are kept, at once.
    async fn answer(
        &self,
        question: Option<(Call, Bytes)>,
        response: ResponseFuture,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<(), Broken> {
        let (head, mut body) = wanted(respond, response).await?.into_parts();
        let Some((call, asked)) = question.filter(|_| !body.is_end_stream()) else {
            return give_on(head, Bytes::new(), body, respond).await;
        };
        let read = wanted(respond, body::read(&mut body, ANSWER)).await?;
        let trailers = if read.is_all { wanted(respond, body.trailers()).await? } else { None };
        let Some(trailers) = trailers else {
            return give_on(head, read.data, body, respond).await;
        };
        let answer = Answer { head, body: read.data, trailers };
        self.answers.learn(call, asked, &answer);
        give(self.shown(call, answer), respond).await
    }

    fn shown(&self, call: Call, answer: Answer) -> Answer {
        match call {
            Call::Schemas => answer.reduced(&self.needs),
            Call::Prepare => answer,
        }
    }
}

/// Waits for the provider as long as terraform does.
async fn wanted<T>(
    respond: &mut SendResponse<Bytes>,
    provider: impl Future<Output = Result<T, h2::Error>>,
) -> Result<T, Broken> {
    tokio::select! {
        gone = poll_fn(|cx| respond.poll_reset(cx)) => Err(Broken::Terraform(gone.ok())),
        answered = provider => answered.map_err(Broken::Provider),
    }
}

/// Passes on an answer of which this much was read already.
async fn give_on(
    head: Parts,
    read: Bytes,
    mut body: RecvStream,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), Broken> {
    // A head that is all of an answer must go as one: what it says is read nowhere else.
    let is_all = read.is_empty() && body.is_end_stream();
    let mut to = respond.send_response(Response::from_parts(head, ()), is_all).map_err(refused)?;
    if is_all {
        return Ok(());
    }
    body::pass_on(read, &mut body, &mut to).await.map_err(|stopped| match stopped {
        Stopped::Reading(error) => Broken::Provider(error),
        Stopped::Writing(reason) => Broken::Terraform(reason),
    })
}

async fn give(answer: Answer, respond: &mut SendResponse<Bytes>) -> Result<(), Broken> {
    let Answer { head, body, trailers } = answer;
    let mut to = respond.send_response(Response::from_parts(head, ()), false).map_err(refused)?;
    body::send(body, &mut to).await.map_err(Broken::Terraform)?;
    to.send_trailers(trailers).map_err(refused)
}

fn refused(error: h2::Error) -> Broken {
    Broken::Terraform(error.reason())
}

#[cfg(test)]
mod tests;

//! A relay between a small provider and a terraform of the test's own, both of which speak HTTP/2.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use h2::SendStream;
use http::HeaderMap;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::answers;
use super::super::schemas::tests::{bytes, needs, schema};
use super::*;

const DEADLINE: Duration = Duration::from_secs(30);
const SCHEMAS: &str = "/tfplugin5.Provider/GetSchema";
const PREPARE: &str = "/tfplugin5.Provider/PrepareProviderConfig";
const VALIDATE: &str = "/tfplugin6.Provider/ValidateProviderConfig";

/// A provider that does what the path of a call says, and a folder for its socket and the relay's.
struct World {
    folder: TempDir,
    provider: Arc<Provider>,
    answers: Arc<Answers>,
    /// What the provider has seen of the calls that it does not answer.
    seen: UnboundedReceiver<Seen>,
    serving: JoinHandle<()>,
}

struct Provider {
    /// Body and status of each call that has an answer of its own.
    said: Mutex<BTreeMap<&'static str, (Bytes, &'static str)>>,
    asked: Mutex<BTreeMap<String, usize>>,
    see: UnboundedSender<Seen>,
    dies: Notify,
}

#[derive(Debug, PartialEq)]
enum Seen {
    Asked,
    Reset(Reason),
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("provider")).expect("it listens");
        let (see, seen) = unbounded_channel();
        let provider = Arc::new(Provider { said: Mutex::default(), asked: Mutex::default(), see, dies: Notify::new() });
        let serving = tokio::spawn(provide(listener, Arc::clone(&provider)));
        Self { folder, provider, answers: Arc::default(), seen, serving }
    }

    fn says(&self, path: &'static str, body: Bytes, status: &'static str) {
        self.provider.said.lock().expect("answers").insert(path, (body, status));
    }

    fn asked(&self, path: &str) -> usize {
        self.provider.asked.lock().expect("calls").get(path).copied().unwrap_or_default()
    }

    fn relay(&self, needs: Needs) -> Relay {
        let (socket, provider) = (self.folder.path().join("relay"), self.folder.path().join("provider"));
        Relay::start(socket, provider, needs, Arc::clone(&self.answers)).expect("a relay")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn provide(listener: UnixListener, provider: Arc<Provider>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let provider = Arc::clone(&provider);
        connections.spawn(async move {
            let mut calls = JoinSet::new();
            let mut connection = h2::server::handshake(stream).await.expect("a connection");
            loop {
                tokio::select! {
                    () = provider.dies.notified() => return,
                    asked = connection.accept() => {
                        let Some(Ok((request, respond))) = asked else { return };
                        calls.spawn(do_as_told(request, respond, Arc::clone(&provider)));
                    }
                }
            }
        });
    }
}

async fn do_as_told(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, provider: Arc<Provider>) {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path();
    *provider.asked.lock().expect("calls").entry(path.to_owned()).or_default() += 1;
    match path {
        "/echo" => {
            let mut to = respond.send_response(Response::new(()), false).expect("a head");
            while let Some(part) = body.data().await {
                let part = part.expect("a part");
                body.flow_control().release_capacity(part.len()).expect("released");
                to.send_data(part, false).expect("sent");
            }
            let mut trailers = status("0");
            trailers.insert("asked-by", head.headers["user-agent"].clone());
            to.send_trailers(trailers).expect("trailers");
        }
        "/head" => {
            let mut response = Response::new(());
            *response.headers_mut() = status("12");
            respond.send_response(response, true).expect("a head");
        }
        "/reset" => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
        "/silence" => {
            provider.see.send(Seen::Asked).expect("seen");
            let reason = poll_fn(|cx| respond.poll_reset(cx)).await;
            if let Ok(reason) = reason {
                provider.see.send(Seen::Reset(reason)).expect("seen");
            }
        }
        path => {
            all(&mut body).await.expect("a question");
            let (body, code) = provider.said.lock().expect("answers")[path].clone();
            let mut to = respond.send_response(Response::new(()), false).expect("a head");
            to.send_data(body, false).expect("a body");
            to.send_trailers(status(code)).expect("trailers");
        }
    }
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().expect("a name"), code.parse().expect("a code"))])
}

/// Connects as terraform does: once for nothing, and then to ask.
async fn connect_to(socket: &Path) -> SendRequest<Bytes> {
    drop(UnixStream::connect(socket).await.expect("somebody listens"));
    let stream = UnixStream::connect(socket).await.expect("somebody listens");
    let (send, connection) = h2::client::handshake(stream).await.expect("a connection");
    tokio::spawn(connection);
    send
}

async fn begin(terraform: &SendRequest<Bytes>, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let uri = format!("http://unused{path}");
    let request = Request::post(uri).header("te", "trailers").header("user-agent", "grpc-go").body(()).expect("a call");
    terraform.clone().ready().await.expect("ready").send_request(request, false).expect("asked")
}

async fn all(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut whole = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// A whole call: the body of its answer, and what follows.
async fn ask(terraform: &SendRequest<Bytes>, path: &str, question: &[u8]) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let (response, mut to) = begin(terraform, path).await;
    to.send_data(Bytes::copy_from_slice(question), true)?;
    let mut body = response.await?.into_body();
    Ok((all(&mut body).await?, body.trailers().await?.unwrap_or_default()))
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("in time")
}

fn grpc(message: &[u8]) -> Bytes {
    answers::body(message).expect("a body")
}

#[tokio::test]
async fn calls_stream_in_both_directions_and_beside_each_other() {
    let world = World::new();
    let relay = world.relay(Needs::default());
    let test = async {
        let terraform = connect_to(relay.socket()).await;
        let (first, mut to_first) = begin(&terraform, "/echo").await;
        let mut first = first.await.expect("a head").into_body();
        let (second, mut to_second) = begin(&terraform, "/echo").await;
        let mut second = second.await.expect("a head").into_body();
        for text in ["one", "two"] {
            for (to, from) in [(&mut to_second, &mut second), (&mut to_first, &mut first)] {
                to.send_data(text.into(), false).expect("sent");
                assert_eq!(from.data().await.expect("a part").expect("a part"), text);
            }
        }
        for (mut to, mut from) in [(to_first, first), (to_second, second)] {
            to.send_data("end".into(), true).expect("sent");
            assert_eq!(all(&mut from).await.expect("the rest"), b"end");
            let trailers = from.trailers().await.expect("trailers").expect("some");
            assert!(trailers["grpc-status"] == "0" && trailers["asked-by"] == "grpc-go", "{trailers:?}");
        }
    };
    in_time(test).await;
}

#[tokio::test]
async fn what_is_larger_than_any_window_arrives_whole() {
    let world = World::new();
    let relay = world.relay(Needs::default());
    let long: Vec<u8> = (0..9_000_000_u32).map(|number| (number % 251) as u8).collect();
    let test = async { ask(&connect_to(relay.socket()).await, "/echo", &long).await.expect("an answer") };
    assert!(in_time(test).await.0 == long);
}

#[tokio::test]
async fn an_answer_that_is_only_a_head_stays_one() {
    let world = World::new();
    let relay = world.relay(Needs::default());
    let test = async {
        let (response, mut to) = begin(&connect_to(relay.socket()).await, "/head").await;
        to.send_data(Bytes::new(), true).expect("sent");
        let (head, body) = response.await.expect("a head").into_parts();
        assert!(body.is_end_stream() && head.headers["grpc-status"] == "12");
    };
    in_time(test).await;
}

#[tokio::test]
async fn a_reset_is_told_to_the_other_side() {
    let mut world = World::new();
    let relay = world.relay(Needs::default());
    let test = async {
        let terraform = connect_to(relay.socket()).await;
        let error = ask(&terraform, "/reset", b"").await.expect_err("reset");
        assert!(error.is_reset() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM), "{error}");
        for ends in [true, false] {
            let (_response, mut to) = begin(&terraform, "/silence").await;
            to.send_data("question".into(), ends).expect("sent");
            assert_eq!(world.seen.recv().await, Some(Seen::Asked));
            to.send_reset(Reason::REFUSED_STREAM);
            assert_eq!(world.seen.recv().await, Some(Seen::Reset(Reason::REFUSED_STREAM)));
        }
        ask(&terraform, "/echo", b"still there").await.expect("an answer");
    };
    in_time(test).await;
}

#[tokio::test]
async fn a_provider_that_is_gone_is_gone_for_terraform() {
    let mut world = World::new();
    let relay = world.relay(Needs::default());
    let test = async {
        let terraform = connect_to(relay.socket()).await;
        let (response, _to) = begin(&terraform, "/silence").await;
        assert_eq!(world.seen.recv().await, Some(Seen::Asked));
        world.provider.dies.notify_one();
        let error = response.await.expect_err("no answer");
        assert!(error.is_io(), "the connection has ended, and the call was not reset: {error:?}");
    };
    in_time(test).await;
}

#[tokio::test]
async fn nobody_listens_when_the_relay_is_let_go() {
    let world = World::new();
    let relay = world.relay(Needs::default());
    let socket = relay.socket().to_owned();
    let test = async {
        let terraform = connect_to(&socket).await;
        let (response, _to) = begin(&terraform, "/echo").await;
        let mut body = response.await.expect("a head").into_body();
        drop(relay);
        assert!(body.data().await.is_none_or(|part| part.is_err()), "its connections have ended");
        assert!(!socket.exists());
        drop(world.relay(Needs::default()));
    };
    in_time(test).await;
}

#[tokio::test]
async fn schemas_are_asked_for_once_and_shown_as_each_run_needs_them() {
    let world = World::new();
    let (bucket, queue) = (schema(2, "aws_s3_bucket"), schema(2, "aws_sqs_queue"));
    world.says(SCHEMAS, grpc(&[bucket.clone(), queue.clone()].concat()), "0");
    let test = async {
        for (needed, expect) in [("aws_s3_bucket", &bucket), ("aws_sqs_queue", &queue)] {
            let relay = world.relay(needs(&[needed], &[], &[]));
            for _ in 0..2 {
                let terraform = connect_to(relay.socket()).await;
                let (body, trailers) = ask(&terraform, SCHEMAS, &grpc(b"")).await.expect("schemas");
                assert!(body == grpc(expect) && trailers["grpc-status"] == "0", "{needed}");
            }
        }
    };
    in_time(test).await;
    assert_eq!(world.asked(SCHEMAS), 1);
}

#[tokio::test]
async fn what_is_not_understood_is_passed_on_and_asked_for_again() {
    let world = World::new();
    let relay = world.relay(Needs::default());
    let test = async {
        let terraform = connect_to(relay.socket()).await;
        let whole = grpc(&schema(2, "aws_s3_bucket"));
        let mut compressed = whole.to_vec();
        compressed[0] = 1;
        let cases: [(Bytes, &'static str); 4] = [
            (grpc(&[0x80]), "0"),
            (compressed.into(), "0"),
            ([&whole[..], &whole[..]].concat().into(), "0"),
            (Bytes::new(), "13"),
        ];
        for (number, (body, code)) in cases.into_iter().enumerate() {
            world.says(SCHEMAS, body.clone(), code);
            for count in 1..=2 {
                let (said, trailers) = ask(&terraform, SCHEMAS, &grpc(b"")).await.expect("an answer");
                assert!(said == body && trailers["grpc-status"] == code, "{number}");
                assert_eq!(world.asked(SCHEMAS), 2 * number + count);
            }
        }
    };
    in_time(test).await;
}

#[tokio::test]
async fn a_configuration_that_was_prepared_well_is_not_prepared_again() {
    let world = World::new();
    let test = async {
        let check = async |path: &'static str, answer: Vec<u8>, question: &[u8], expect: usize| {
            world.says(path, grpc(&answer), "0");
            let relay = world.relay(Needs::default());
            let terraform = connect_to(relay.socket()).await;
            let (said, _) = ask(&terraform, path, question).await.expect("an answer");
            assert!(said == grpc(&answer), "{path}");
            assert_eq!(world.asked(path), expect, "{path}");
        };
        let (prepared, warning) = (bytes(1, b"prepared"), bytes(2, b"a warning"));
        check(PREPARE, prepared.clone(), b"one", 1).await;
        check(PREPARE, prepared.clone(), b"one", 1).await;
        check(PREPARE, prepared.clone(), b"two", 2).await;
        check(PREPARE, prepared.clone(), b"one", 3).await;
        check(PREPARE, [prepared, warning].concat(), b"three", 4).await;
        check(PREPARE, bytes(1, b"otherwise"), b"three", 5).await;
        check(VALIDATE, Vec::new(), b"one", 1).await;
        check(VALIDATE, Vec::new(), b"one", 2).await;
    };
    in_time(test).await;
}

#[tokio::test]
async fn a_question_that_is_too_long_to_be_kept_is_asked_each_time() {
    let world = World::new();
    world.says(PREPARE, grpc(b""), "0");
    let relay = world.relay(Needs::default());
    let test = async {
        let terraform = connect_to(relay.socket()).await;
        for count in 1..=2 {
            ask(&terraform, PREPARE, &vec![0; 2 * QUESTION]).await.expect("an answer");
            assert_eq!(world.asked(PREPARE), count);
        }
    };
    in_time(test).await;
}

//! What a provider has answered to the calls whose answers do not change while it lives. Decides which answers are
//! kept, and for how long; asks nobody.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderMap, StatusCode};

use super::schemas;
use crate::module::Needs;

/// What stands before a gRPC message: whether it is compressed, and its length in 4 bytes.
const PREFIX: usize = 5;

/// A call whose answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    /// What types there are, and all that may be said of them.
    Schemas,
    /// Whether a configuration of the provider is a good one. Protocol 6 has another call for it, which is not kept.
    Prepare,
}

impl Call {
    /// The call that has this path.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/tfplugin5.Provider/GetSchema" | "/tfplugin6.Provider/GetProviderSchema" => Some(Self::Schemas),
            "/tfplugin5.Provider/PrepareProviderConfig" => Some(Self::Prepare),
            _ => None,
        }
    }

    /// The field of its answer that holds diagnostics.
    fn diagnostics(self) -> u64 {
        match self {
            Self::Schemas => 4,
            Self::Prepare => 2,
        }
    }
}

/// A whole answer.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) head: Parts,
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
}

impl Answer {
    /// This answer to [`Call::Schemas`], with the schemas that are needed. As it is, where it cannot be read.
    pub(super) fn reduced(mut self, needs: &Needs) -> Self {
        let reduced = message(&self.body).and_then(|schemas| schemas::reduced(&schemas, needs));
        if let Some(body) = reduced.and_then(|message| body(&message)) {
            self.head.headers.remove(CONTENT_LENGTH);
            self.body = body;
        }
        self
    }

    /// Whether the call went well, and nothing is to be said of it.
    fn is_plain(&self, call: Call) -> bool {
        let went_well = self.head.status == StatusCode::OK
            && self.trailers.get("grpc-status").is_some_and(|status| status.as_bytes() == b"0");
        let has_diagnostics = message(&self.body).and_then(|message| schemas::has(&message, call.diagnostics()));
        went_well && has_diagnostics == Some(false)
    }
}

/// The last plain answer to each call, and to what.
#[derive(Default)]
pub(super) struct Answers(Mutex<BTreeMap<Call, (Bytes, Answer)>>);

impl Answers {
    /// The answer to the very same question.
    pub(super) fn recall(&self, call: Call, question: &Bytes) -> Option<Answer> {
        let known = self.lock();
        known.get(&call).filter(|(asked, _)| asked == question).map(|(_, answer)| answer.clone())
    }

    /// Keeps an answer, if it may be given again.
    pub(super) fn learn(&self, call: Call, question: Bytes, answer: &Answer) {
        if answer.is_plain(call) {
            self.lock().insert(call, (question, answer.clone()));
        }
    }

    /// Those that another process of the same program would give: its schemas, if it says that it need not be asked for
    /// them before it can serve.
    pub(super) fn of_another(&self) -> Self {
        let schemas = self.lock().get(&Call::Schemas).cloned();
        let schemas = schemas.filter(|(_, answer)| {
            message(&answer.body).and_then(|schemas| schemas::is_optional(&schemas)) == Some(true)
        });
        Self(Mutex::new(schemas.into_iter().map(|known| (Call::Schemas, known)).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Call, (Bytes, Answer)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message of a body; `None` where it is compressed, or not the only one.
fn message(body: &Bytes) -> Option<Bytes> {
    let (prefix, message) = body.split_at_checked(PREFIX)?;
    let [0, length @ ..] = prefix else { return None };
    let length = u32::from_be_bytes(length.try_into().ok()?);
    (u32::try_from(message.len()) == Ok(length)).then(|| body.slice(PREFIX..))
}

/// The body of a message.
pub(super) fn body(message: &[u8]) -> Option<Bytes> {
    let mut body = BytesMut::with_capacity(PREFIX + message.len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).ok()?);
    body.put_slice(message);
    Some(body.freeze())
}

#[cfg(test)]
pub(super) mod tests {
    use http::{HeaderValue, Response};

    use super::schemas::tests::{bytes, needs, number, schema};
    use super::*;

    fn answer(body: Bytes, status: &'static str) -> Answer {
        let (head, ()) = Response::new(()).into_parts();
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static(status))]);
        Answer { head, body, trailers }
    }

    /// An answer that goes well.
    pub(in crate::provider) fn of(message: &[u8]) -> Answer {
        answer(body(message).expect("a body"), "0")
    }

    #[test]
    fn calls_are_known_by_their_paths() {
        let check = |path: &str, expect: Option<Call>| assert_eq!(Call::of(path), expect, "{path}");
        check("/tfplugin5.Provider/GetSchema", Some(Call::Schemas));
        check("/tfplugin6.Provider/GetProviderSchema", Some(Call::Schemas));
        check("/tfplugin5.Provider/PrepareProviderConfig", Some(Call::Prepare));
        for path in [
            "/tfplugin5.Provisioner/GetSchema",
            "/tfplugin6.Provider/ValidateProviderConfig",
            "/tfplugin5.Provider/Configure",
            "/tfplugin6.Provider/ConfigureProvider",
            "/tfplugin5.Provider/GetSchema/",
            "",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn the_answer_to_the_very_same_question_is_recalled() {
        let answers = Answers::default();
        let question = Bytes::from_static(b"config");
        answers.learn(Call::Prepare, question.clone(), &of(&bytes(1, b"prepared")));
        let recalled = answers.recall(Call::Prepare, &question).expect("it is known");
        assert_eq!(recalled.body, body(&bytes(1, b"prepared")).expect("a body"));
        assert_eq!(recalled.trailers["grpc-status"], "0");
        assert!(answers.recall(Call::Prepare, &Bytes::from_static(b"another")).is_none());
        assert!(answers.recall(Call::Schemas, &question).is_none());
        answers.learn(Call::Prepare, Bytes::from_static(b"another"), &of(b""));
        assert!(answers.recall(Call::Prepare, &question).is_none(), "the last one is kept");
    }

    #[test]
    fn an_answer_that_says_more_than_yes_is_not_kept() {
        let check = |call: Call, answer: Answer, expect: bool| {
            let answers = Answers::default();
            answers.learn(call, Bytes::new(), &answer);
            assert_eq!(answers.recall(call, &Bytes::new()).is_some(), expect, "{call:?} {:?}", answer.body);
        };
        check(Call::Prepare, of(&bytes(1, b"prepared")), true);
        check(Call::Prepare, of(b""), true);
        check(Call::Prepare, of(&[bytes(1, b"prepared"), bytes(2, b"a warning")].concat()), false);
        check(Call::Schemas, of(&schema(2, "aws_s3_bucket")), true);
        check(Call::Schemas, of(&[schema(2, "aws_s3_bucket"), bytes(4, b"a warning")].concat()), false);
        check(Call::Schemas, of(&[0x80]), false);
        check(Call::Prepare, answer(body(b"").expect("a body"), "13"), false);
        check(Call::Prepare, answer(Bytes::new(), "0"), false);
        check(Call::Prepare, answer(Bytes::from_static(&[1, 0, 0, 0, 0]), "0"), false);
        check(Call::Prepare, answer(Bytes::from_static(&[0, 0, 0, 0, 1]), "0"), false);
        check(Call::Prepare, answer(Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "0"), false);
        let mut refused = of(b"");
        refused.head.status = StatusCode::BAD_GATEWAY;
        check(Call::Prepare, refused, false);
        check(Call::Prepare, Answer { trailers: HeaderMap::new(), ..of(b"") }, false);
    }

    #[test]
    fn schemas_are_reduced_where_they_can_be_read() {
        let message = [schema(2, "aws_s3_bucket"), schema(2, "aws_sqs_queue")].concat();
        let needs = needs(&["aws_s3_bucket"], &[], &[]);
        let mut whole = of(&message);
        whole.head.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("6060"));
        let reduced = whole.reduced(&needs);
        assert_eq!(reduced.body, body(&schema(2, "aws_s3_bucket")).expect("a body"));
        assert!(reduced.head.headers.is_empty() && reduced.trailers["grpc-status"] == "0");
        let unreadable: [&'static [u8]; 3] = [&[0, 0, 0, 0, 1, 0x80], &[1, 0, 0, 0, 0], &[0, 0]];
        for unreadable in unreadable.map(Bytes::from_static) {
            assert_eq!(answer(unreadable.clone(), "0").reduced(&needs).body, unreadable);
        }
    }

    #[test]
    fn another_process_inherits_schemas_that_need_not_be_asked_for() {
        let check = |optional: u8, expect: bool| {
            let (answers, question) = (Answers::default(), Bytes::new());
            let message = [schema(2, "aws_s3_bucket"), bytes(6, &number(2, optional))].concat();
            answers.learn(Call::Schemas, question.clone(), &of(&message));
            answers.learn(Call::Prepare, question.clone(), &of(b""));
            let another = answers.of_another();
            assert_eq!(another.recall(Call::Schemas, &question).is_some(), expect);
            assert!(another.recall(Call::Prepare, &question).is_none());
            assert!(answers.recall(Call::Prepare, &question).is_some());
        };
        check(1, true);
        check(0, false);
        assert!(Answers::default().of_another().recall(Call::Schemas, &Bytes::new()).is_none());
    }
}

//! The function that streams logs, as Lambda runs it: what it sends while a deployment of the stack goes on.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use conductor_acceptance::{SLOW, Stack, TINY, unique};
use conductor_faults::{Functions, checkout};
use conductor_runtime::{Event, Events, Function, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

/// How often [`TICKING`] says what time it is.
const TICKS: usize = 100;
/// A template whose terraform says what time it is, in nanoseconds since 1970, for 5 seconds.
const TICKING: &str = r#"
resource "terraform_data" "this" {
  provisioner "local-exec" {
    command = "for i in $(seq 1 100); do echo \"tick $i $(date +%s%N)\"; sleep 0.05; done"
  }
}
output "id" {
  value = terraform_data.this.id
}
"#;
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(180);
/// How late a line may be, on the slowest of machines.
const LATEST: Duration = Duration::from_secs(5);

/// A deployment of one resource, and the stack that it is of.
struct Running {
    stack: Stack,
    id: String,
}

/// What was read of one log, over any number of answers.
#[derive(Default)]
struct Read {
    lines: Vec<Value>,
    came: Vec<Instant>,
    last: Option<String>,
    comments: usize,
    retry: Option<u64>,
    ended: Option<Value>,
}

impl Running {
    /// Deploys a template with these parameters.
    async fn start(stack: Stack, template: &str, parameters: &str) -> Self {
        let kind = stack.template(template).await;
        let (application, environment) = (unique("app"), stack.environment().await);
        let score = format!("resources: {{one: {{type: {kind}, params: {parameters}}}}}");
        let id = stack.deploy(&application, &environment, &score).await;
        Self { stack, id }
    }

    /// Asks an instance for the log, as the gateway does.
    async fn ask(&self, function: &Function, headers: &[(&str, &str)], query: &str, deadline: Duration) -> Response {
        let path = format!("/v1/deployments/{}/logs", self.id);
        let headers: BTreeMap<&str, &str> = headers.iter().copied().collect();
        let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let each = |one: &BTreeMap<&str, &str>| -> BTreeMap<String, Vec<String>> {
            one.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
        };
        let event = json!({
            "resource": "/v1/deployments/{id}/logs",
            "path": path,
            "httpMethod": "GET",
            "headers": headers,
            "multiValueHeaders": each(&headers),
            "queryStringParameters": query,
            "multiValueQueryStringParameters": each(&query),
            "pathParameters": {"id": self.id},
            "stageVariables": null,
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "emulated",
                "httpMethod": "GET",
                "identity": {"sourceIp": "127.0.0.1"},
                "path": format!("/live{path}"),
                "protocol": "HTTP/1.1",
                "requestId": unique("request"),
                "resourceId": "emulated",
                "resourcePath": "/v1/deployments/{id}/logs",
                "stage": "live",
            },
            "body": null,
            "isBase64Encoded": false,
        });
        function.invoke(event.to_string().into_bytes(), deadline).await
    }

    /// Follows the log from where a reader is.
    async fn follow(&self, function: &Function, read: &Read, deadline: Duration) -> Events {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(read.last.as_deref().map(|id| ("last-event-id", id)));
        Events::of(self.ask(function, &headers, "", deadline).await)
    }

    /// All lines, as the deployed API gives them in a page.
    async fn page(&self) -> Vec<Value> {
        self.stack.finished(&self.id).await.succeeded();
        let page = self.stack.get(&format!("/v1/deployments/{}/logs?limit=1000", self.id)).await.expect(200).body;
        assert_eq!((&page["ended"], &page["nextCursor"]), (&json!("Succeeded"), &Value::Null));
        page["items"].as_array().expect("a page has items").clone()
    }
}

impl Read {
    /// Reads until a condition holds or the answer ends.
    async fn until(&mut self, events: &mut Events, holds: impl Fn(&Self) -> bool) {
        let reading = async {
            while !holds(self)
                && let Some(event) = events.next().await
            {
                self.take(event);
            }
        };
        assert!(timeout(LONG, reading).await.is_ok(), "nothing came for too long");
    }

    fn take(&mut self, event: Event) {
        assert!(self.ended.is_none() && self.retry.is_none(), "something comes after the last event: {event:?}");
        self.comments += usize::from(event.is_comment);
        self.retry = event.retry;
        self.last = event.id.or_else(|| self.last.take());
        let Some(data) = event.data else { return };
        let data: Value = serde_json::from_str(&data).expect("data is JSON");
        match event.name.as_deref() {
            Some("end") => self.ended = Some(data),
            Some(other) => panic!("an event {other}"),
            None => {
                self.lines.push(data);
                self.came.push(event.at);
            }
        }
    }

    /// The ticks that were read: their numbers, what time it was, and when they came.
    fn ticks(&self) -> Vec<(usize, u128, Instant)> {
        let lines = self.lines.iter().zip(&self.came);
        lines.filter_map(|(line, came)| tick(line).map(|(number, at)| (number, at, *came))).collect()
    }

    /// Checks that it has every line once, those of each operation in their order.
    fn has_all(&self, page: &[Value]) {
        assert_eq!(self.ended, Some(json!({"status": "Succeeded"})));
        let numbers: Vec<usize> = self.ticks().iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers, (1..=TICKS).collect::<Vec<_>>());
        assert_eq!(by_operation(&self.lines), by_operation(page));
    }
}

fn by_operation(lines: &[Value]) -> BTreeMap<&str, Vec<&Value>> {
    let mut found: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for line in lines {
        found.entry(line["operation"].as_str().unwrap_or_default()).or_default().push(line);
    }
    found
}

/// Number and time of a tick. The command, which terraform prints too, is none.
fn tick(line: &Value) -> Option<(usize, u128)> {
    let (_, said) = line["message"].as_str()?.rsplit_once("tick ")?;
    let (number, at) = said.trim().split_once(' ')?;
    Some((number.parse().ok()?, at.parse().ok()?))
}

/// An instance of the function, which waits for its first event.
async fn instance(stack: &Stack) -> Function {
    instance_with(stack, &[]).await
}

/// The same, with other variables than the stack's.
async fn instance_with(stack: &Stack, others: &[(&str, &str)]) -> Function {
    let mut variables = Functions::of(stack).variables(stack.function("stream")).await;
    let own = [
        ("AWS_REGION", stack.value("region")),
        ("AWS_ENDPOINT_URL", stack.value("awsEndpointUrl")),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let all = own.iter().chain(others);
    variables.extend(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let function = Function::start(&checkout().join("target/lambda/api/bootstrap"), &variables).await;
    function.first_poll().await;
    function
}

#[tokio::test]
async fn every_line_comes_once_in_order_and_soon_after_it_was_said() {
    let stack = Stack::load();
    let function = instance(&stack).await;
    let running = Running::start(stack, TICKING, "{}").await;
    let mut read = Read::default();
    let mut events = running.follow(&function, &read, LONG).await;
    read.until(&mut events, |_| false).await;
    read.has_all(&running.page().await);

    let mut late = latencies(&read.ticks());
    late.sort();
    let of_a_hundred = |rank: usize| late[(late.len() * rank).div_ceil(100).max(1) - 1];
    let (p50, p99) = (of_a_hundred(50), of_a_hundred(99));
    let milliseconds = |time: Duration| time.as_micros() as f64 / 1000.0;
    let figures = json!({"lines": late.len(), "p50Ms": milliseconds(p50), "p99Ms": milliseconds(p99)});
    let file = checkout().join("target/stream-latency.json");
    std::fs::write(&file, format!("{figures:#}\n")).expect("the figures can be written");
    assert!(p99 < LATEST, "{figures}");
}

/// How long after each time that was said it came.
#[expect(clippy::disallowed_methods, reason = "terraform's process says the time of day")]
fn latencies(ticks: &[(usize, u128, Instant)]) -> Vec<Duration> {
    let (now, today) = (Instant::now(), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH));
    let today = today.expect("a time after 1970").as_nanos();
    let late = |(_, said, came): &(usize, u128, Instant)| {
        let came = today.saturating_sub((now - *came).as_nanos());
        Duration::from_nanos(u64::try_from(came.saturating_sub(*said)).expect("a moment"))
    };
    ticks.iter().map(late).collect()
}

#[tokio::test]
async fn a_stream_that_is_cut_off_goes_on_after_its_last_event() {
    let stack = Stack::load();
    // Lambda does not stop a function whose reader has gone: who comes again meets another instance.
    let functions = [instance(&stack).await, instance(&stack).await, instance(&stack).await];
    let running = Running::start(stack, TICKING, "{}").await;
    let mut read = Read::default();
    for (function, ticks) in functions.iter().zip([20, 60, usize::MAX]) {
        let mut events = running.follow(function, &read, LONG).await;
        read.until(&mut events, |read| read.ticks().len() >= ticks).await;
    }
    read.has_all(&running.page().await);
}

#[tokio::test]
async fn an_answer_ends_before_the_functions_deadline_and_the_next_one_goes_on() {
    let stack = Stack::load();
    let function = instance(&stack).await;
    let running = Running::start(stack, TICKING, "{}").await;
    let (mut read, mut answers) = (Read::default(), 0);
    while read.ended.is_none() {
        let deadline = Duration::from_millis(11_500);
        let mut events = running.follow(&function, &read, deadline).await;
        let began = Instant::now();
        read.until(&mut events, |_| false).await;
        assert!(began.elapsed() < deadline, "the function would have been ended");
        let retry = read.retry.take();
        assert!(read.ended.is_some() || retry == Some(100), "an answer ends with {retry:?}");
        answers += 1;
    }
    assert!(answers > 2, "{answers} answers");
    read.has_all(&running.page().await);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked_and_goes_on_for_nobody() {
    let stack = Stack::load();
    let function = instance_with(&stack, &[("AUTHENTICATION", "token")]).await;
    let made = stack.post("/v1/tokens", &json!({"name": unique("reader"), "roles": ["viewer"]})).await.expect(201);
    let authorization = format!("Bearer {}", made.text("token"));
    let running = Running::start(stack, SLOW, "{seconds: 180}").await;
    let headers = [("accept", "text/event-stream"), ("authorization", authorization.as_str())];
    let mut read = Read::default();
    let mut events = Events::of(running.ask(&function, &headers, "level=error", 2 * LONG).await);
    // Each comes after 15 s, so it has been asked by now who reads.
    read.until(&mut events, |read| read.comments >= 3).await;
    assert_eq!((read.retry, &read.ended), (None, &None));

    running.stack.delete(&format!("/v1/tokens/{}", made.text("id"))).await.expect(204);
    let revoked = Instant::now();
    read.until(&mut events, |_| false).await;
    assert_eq!((read.retry, &read.ended), (Some(5_000), &None));
    assert!(revoked.elapsed() < Duration::from_secs(60), "it went on for {:?}", revoked.elapsed());
    let answer = running.ask(&function, &headers, "level=error", LONG).await;
    assert_eq!(answer.status(), 401);
    running.stack.post(&format!("/v1/deployments/{}/cancel", running.id), &json!({})).await.expect(202);
    running.stack.finished(&running.id).await;
}

#[tokio::test]
async fn silence_is_filled_with_comments_and_who_had_the_end_is_told_to_stay_away() {
    let stack = Stack::load();
    let function = instance(&stack).await;
    let running = Running::start(stack, SLOW, "{seconds: 20}").await;
    let events = [("accept", "text/event-stream")];
    let mut read = Read::default();
    let mut answer = Events::of(running.ask(&function, &events, "level=error", LONG).await);
    read.until(&mut answer, |_| false).await;
    assert_eq!((read.lines.len(), read.ended.as_ref()), (0, Some(&json!({"status": "Succeeded"}))));
    assert!((1..=5).contains(&read.comments), "{} comments", read.comments);

    let last = read.last.expect("the end has an id");
    let again = [("accept", "text/event-stream"), ("last-event-id", last.as_str())];
    let answer = running.ask(&function, &again, "level=error", LONG).await;
    assert_eq!((answer.status(), answer.bytes().await), (204, Vec::new()));
}

#[tokio::test]
async fn text_follows_the_log_to_its_end() {
    let stack = Stack::load();
    let function = instance(&stack).await;
    let running = Running::start(stack, TINY, "{text: hello}").await;
    let answer = running.ask(&function, &[("accept", "text/plain")], "", LONG).await;
    assert_eq!((answer.status(), answer.header("content-type")), (200, "text/plain; charset=utf-8"));
    let text = String::from_utf8(answer.bytes().await).expect("rows are UTF-8");
    let last = text.lines().last().expect("rows");
    assert!(last.ends_with(" INFO  succeeded"), "{text}");
    assert!(text.contains(" INFO  one: claimed"), "{text}");
}

#[tokio::test]
async fn what_is_refused_is_a_problem_in_a_stream_too() {
    let stack = Stack::load();
    let function = instance(&stack).await;
    let id = uuid::Uuid::now_v7().to_string();
    let running = Running { stack, id };
    for (accept, status, code) in [("*/*", 404, "deployment_not_found"), ("text/html", 406, "not_acceptable")] {
        let answer = running.ask(&function, &[("accept", accept)], "", LONG).await;
        assert_eq!((answer.status(), answer.header("content-type")), (status, "application/problem+json"));
        let problem: Value = serde_json::from_slice(&answer.bytes().await).expect("a problem is JSON");
        assert_eq!(problem["code"], code);
    }
    assert!(function.rss_bytes() > 0);
}

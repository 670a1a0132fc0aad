//! The log of a deployment, as a gateway gives it that waits for whole answers.

use std::collections::BTreeMap;

use conductor_acceptance::{Answer, Deployment, SLOW, Stack, TINY, unique};
use reqwest::Method;
use serde_json::{Value, json};

/// Two resources, the one after the other.
async fn two(stack: &Stack) -> Deployment {
    let kind = stack.template(TINY).await;
    let (application, environment) = (unique("app"), stack.environment().await);
    let score = json!({"resources": {
        "one": {"type": kind, "params": {"text": "hello"}},
        "two": {"type": kind, "params": {"text": "${one.text}"}},
    }});
    stack.run(&application, &environment, &score.to_string()).await.succeeded()
}

async fn ask(stack: &Stack, deployment: &str, query: &str, headers: &[(&str, &str)]) -> Answer {
    stack.send(Method::GET, &format!("/v1/deployments/{deployment}/logs?{query}"), headers, Vec::new()).await
}

fn items(page: &Answer) -> &[Value] {
    page.body["items"].as_array().expect("a page has items")
}

fn messages<'l>(lines: impl IntoIterator<Item = &'l Value>) -> Vec<&'l str> {
    lines.into_iter().filter_map(|line| line["message"].as_str()).collect()
}

/// The rows of a field of the events in an answer.
fn fields<'a>(answer: &'a Answer, field: &str) -> Vec<&'a str> {
    let text = answer.body.as_str().expect("a stream of events is text");
    text.lines().filter_map(|row| row.strip_prefix(field)?.strip_prefix(": ")).collect()
}

#[tokio::test]
async fn a_log_says_what_became_of_the_deployment_and_of_each_operation_and_what_runs_said() {
    let stack = Stack::load();
    let done = two(&stack).await;
    let page = ask(&stack, done.id(), "limit=1000", &[]).await.expect(200);
    assert_eq!((&page.body["ended"], &page.body["nextCursor"]), (&json!("Succeeded"), &Value::Null));
    let of = |operation: &Value| messages(items(&page).iter().filter(|line| line["operation"] == *operation));
    assert_eq!(of(&Value::Null).last(), Some(&"succeeded"));
    for name in ["one", "two"] {
        let said = of(&done.operation(name)["id"]);
        let found = |what: &str| said.iter().position(|message| message.contains(what));
        let (claimed, made) = (found("claimed"), found("created the resource"));
        let ran = items(&page).iter().any(|line| line["resource"] == name && line["address"].is_string());
        assert!(claimed.is_some() && claimed < made && ran, "{said:#?}");
    }
}

#[tokio::test]
async fn a_page_may_be_as_short_as_one_line_and_nothing_is_lost_between_two() {
    let stack = Stack::load();
    let done = two(&stack).await;
    let whole = ask(&stack, done.id(), "limit=1000", &[]).await.expect(200);
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ask(&stack, done.id(), &format!("limit=1&cursor={cursor}"), &[]).await.expect(200);
        assert!(items(&page).len() <= 1, "{:#}", page.body);
        found.extend(items(&page).iter().cloned());
        match page.body["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(by_operation(&found), by_operation(items(&whole)));
}

fn by_operation(lines: &[Value]) -> BTreeMap<&str, Vec<&Value>> {
    let mut found: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for line in lines {
        found.entry(line["operation"].as_str().unwrap_or_default()).or_default().push(line);
    }
    found
}

#[tokio::test]
async fn an_operation_or_a_level_may_be_asked_for_alone() {
    let stack = Stack::load();
    let done = two(&stack).await;
    let one = done.operation("one")["id"].as_str().expect("an id");
    let page = ask(&stack, done.id(), &format!("operation={one}"), &[]).await.expect(200);
    assert!(!items(&page).is_empty() && items(&page).iter().all(|line| line["operation"] == one), "{:#}", page.body);
    let page = ask(&stack, done.id(), "level=error", &[]).await.expect(200);
    assert_eq!((items(&page).len(), &page.body["ended"]), (0, &json!("Succeeded")));
    let page = ask(&stack, done.id(), "level=debug&limit=1000", &[]).await.expect(200);
    let usual = ask(&stack, done.id(), "limit=1000", &[]).await.expect(200);
    assert!(items(&page).len() >= items(&usual).len());
    assert!(items(&usual).iter().all(|line| line["level"] != "debug"), "{:#}", usual.body);
}

#[tokio::test]
async fn text_has_a_row_for_each_line() {
    let stack = Stack::load();
    let done = two(&stack).await;
    let page = ask(&stack, done.id(), "limit=1000", &[]).await.expect(200);
    let text = ask(&stack, done.id(), "", &[("accept", "text/plain")]).await.expect(200);
    assert_eq!((text.header("content-type"), text.header("link")), ("text/plain; charset=utf-8", ""));
    let rows = text.body.as_str().expect("text").lines().filter(|row| !row.starts_with("    ")).count();
    assert_eq!(rows, items(&page).len(), "{}", text.body);
}

#[tokio::test]
async fn events_come_in_answers_of_their_own_and_a_reader_goes_on_after_the_last_one_to_the_end() {
    let stack = Stack::load();
    let kind = stack.template(SLOW).await;
    let (application, environment) = (unique("app"), stack.environment().await);
    let score = format!("resources: {{one: {{type: {kind}, params: {{seconds: 3}}}}}}");
    let id = stack.deploy(&application, &environment, &score).await;
    let (mut lines, mut last, mut answers) = (Vec::<Value>::new(), String::new(), 0);
    while last != "end" {
        let headers = [("accept", "text/event-stream"), ("last-event-id", last.as_str())];
        let answer = ask(&stack, &id, "", &headers[..if last.is_empty() { 1 } else { 2 }]).await.expect(200);
        assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("text/event-stream", "no-store"));
        let data = fields(&answer, "data").into_iter();
        lines.extend(data.map(|data| serde_json::from_str::<Value>(data).expect("data is JSON")));
        last = (*fields(&answer, "id").last().expect("an answer says where it ends")).to_owned();
        assert_eq!(fields(&answer, "retry"), if last == "end" { vec![] } else { vec!["250"] });
        answers += 1;
    }
    assert!(answers > 1, "{answers} answers");
    assert_eq!(lines.pop(), Some(json!({"status": "Succeeded"})));
    stack.finished(&id).await.succeeded();
    let page = ask(&stack, &id, "limit=1000", &[]).await.expect(200);
    assert_eq!(by_operation(&lines), by_operation(items(&page)));

    let again = [("accept", "text/event-stream"), ("last-event-id", "end")];
    ask(&stack, &id, "", &again).await.expect(204);
}

/// Says so many long lines at once.
const TALKATIVE: &str = r#"
variable "text" { type = string }
resource "terraform_data" "this" {
  input = var.text
  provisioner "local-exec" {
    command = "i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo \"row $i ${join("", [for n in range(32) : "12345678"])}\"; done"
  }
}
output "text" { value = terraform_data.this.output }
"#;

#[tokio::test]
async fn runs_that_talk_much_keep_their_lease_and_lose_no_line() {
    let stack = Stack::load();
    let kind = stack.template(TALKATIVE).await;
    let (application, environment) = (unique("app"), stack.environment().await);
    let names = ["one", "two", "three"];
    let resources: BTreeMap<&str, Value> =
        names.iter().map(|name| (*name, json!({"type": kind, "params": {"text": name}}))).collect();
    let score = json!({"resources": resources}).to_string();
    let done = stack.run(&application, &environment, &score).await.succeeded();
    for name in names {
        assert_eq!(done.operation(name)["attempts"], 1, "{:#}", done.operation(name));
        let id = done.operation(name)["id"].as_str().expect("an id").to_owned();
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let query = format!("operation={id}&limit=1000&cursor={cursor}");
            let page = ask(&stack, done.id(), &query, &[]).await.expect(200);
            let said = messages(items(&page)).into_iter();
            let number = |text: &str| text.split_once(": row ")?.1.split(' ').next()?.parse::<u32>().ok();
            rows.extend(said.filter_map(number));
            match page.body["nextCursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(rows, (1..=6000).collect::<Vec<u32>>(), "{name}");
    }
}

#[tokio::test]
async fn what_is_no_log_no_operation_no_position_or_no_representation_is_refused() {
    let stack = Stack::load();
    let done = two(&stack).await;
    let nobody = uuid::Uuid::now_v7();
    let check = async |deployment: &str, query: &str, headers: &[(&str, &str)], status: u16, code: &str| {
        ask(&stack, deployment, query, headers).await.is_problem(status, code);
    };
    check(&nobody.to_string(), "", &[], 404, "deployment_not_found").await;
    check("nonsense", "", &[], 400, "id_invalid").await;
    check(done.id(), &format!("operation={nobody}"), &[], 404, "operation_not_found").await;
    check(done.id(), "operation=nonsense", &[], 400, "query_invalid").await;
    check(done.id(), "level=loud", &[], 400, "query_invalid").await;
    for limit in ["0", "1001", "x"] {
        check(done.id(), &format!("limit={limit}"), &[], 400, "query_invalid").await;
    }
    check(done.id(), "cursor=!", &[], 400, "cursor_invalid").await;
    let events = ("accept", "text/event-stream");
    check(done.id(), "", &[events, ("last-event-id", "!")], 400, "header_invalid").await;
    check(done.id(), "", &[("accept", "text/html")], 406, "not_acceptable").await;
}

//! A deployment that did not succeed is tried again, and goes on with what it left half made.

use conductor_acceptance::{SLOW, Stack, unique};
use serde_json::json;

/// A template that stops half-way while a file is missing.
const GATED: &str = r#"
variable "gate" {
  type = string
}
resource "terraform_data" "first" {}
resource "terraform_data" "second" {
  input = terraform_data.first.id
  provisioner "local-exec" {
    command = "test -e '${var.gate}' || { echo 'The gate is closed.' >&2; exit 1; }"
  }
}
output "first" {
  value = terraform_data.first.id
}
"#;

fn retry_path(id: &str) -> String {
    format!("/v1/deployments/{id}/retry")
}

#[tokio::test]
async fn a_retry_goes_on_with_what_was_made_by_half_and_makes_nothing_twice() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let (gated, gate) = (stack.template(GATED).await, std::env::temp_dir().join(unique("gate")));
    let score = json!({"resources": {
        "one": {"type": gated, "params": {"gate": gate}},
        "two": {"type": "note", "params": {"text": "${resources.one.first}"}},
        "apart": {"type": "note"},
    }});
    let more = json!({"commitId": "abc123", "metadata": {"ticket": "X-1"}, "prune": false});
    let failed = stack.run_with(&application, &environment, &score.to_string(), more).await.failed("terraform_failed");
    assert_eq!((failed.outcome("two"), failed.outcome("apart")), ("Skipped", "created"));
    let id = failed.resource_id("one");
    assert_eq!(stack.resource(&id).await["status"], "Failed");

    let again = stack.post(&retry_path(failed.id()), &json!({})).await.expect(202);
    let closed = stack.finished(&again.text("id")).await.failed("terraform_failed");
    assert_eq!(closed.resource_id("one"), id);
    std::fs::write(&gate, "open").expect("the gate can be opened");
    let again = stack.post(&retry_path(closed.id()), &json!({})).await.expect(202);
    assert_eq!(stack.follow(again.header("location")).await.expect(200).text("id"), again.text("id"));
    let done = stack.finished(&again.text("id")).await.succeeded();
    std::fs::remove_file(&gate).expect("the gate can be removed");

    assert_eq!((&done.0["retryOf"], &done.0["kind"]), (&json!(closed.id()), &json!("apply")));
    for field in ["application", "environment", "workload", "commitId", "metadata", "options"] {
        assert_eq!(done.0[field], failed.0[field], "{field}");
    }
    assert_eq!((done.outcome("one"), done.resource_id("one")), ("created", id.clone()));
    assert_eq!(done.operation("one")["changes"], json!({"add": 1, "change": 0, "destroy": 1}), "the second is remade");
    assert_eq!((done.outcome("two"), done.outcome("apart")), ("created", "unchanged"));
    let first = stack.resource(&id).await["outputs"]["first"]["value"].clone();
    assert_eq!(stack.resource(&done.resource_id("two")).await["outputs"]["text"]["value"], first);
    assert_eq!(stack.teardown(&application, &environment).await.succeeded().outcome("one"), "destroyed");
}

#[tokio::test]
async fn a_retry_succeeds_once_what_stood_in_the_way_is_gone() {
    let stack = Stack::load();
    let (one, two, environment, name) = (unique("one"), unique("two"), stack.environment().await, unique("shared"));
    let score = |text: &str| {
        let reference = json!({"mode": "shared", "name": name});
        json!({"resources": {"one": {"type": "note", "reference": reference, "params": {"text": text}}}}).to_string()
    };
    stack.run(&one, &environment, &score("mine")).await.succeeded();
    let failed = stack.run(&two, &environment, &score("yours")).await.failed("parameters_conflict");
    stack.teardown(&one, &environment).await.succeeded();
    let again = stack.post(&retry_path(failed.id()), &json!({})).await.expect(202);
    let done = stack.finished(&again.text("id")).await.succeeded();
    assert_eq!((done.outcome("one"), &done.0["retryOf"]), ("created", &json!(failed.id())));
    assert_eq!(stack.resource(&done.resource_id("one")).await["outputs"]["text"]["value"], "yours");
}

#[tokio::test]
async fn a_teardown_is_tried_again_too() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    stack.run(&application, &environment, "resources: {one: {type: note}}").await.succeeded();
    let path = format!("/v1/environments/{environment}");
    stack.put(&path, &json!({"protected": true})).await.expect(200);
    let failed = stack.teardown(&application, &environment).await.failed("environment_protected");
    stack.put(&path, &json!({"protected": false})).await.expect(200);
    let again = stack.post(&retry_path(failed.id()), &json!({})).await.expect(202);
    let gone = stack.finished(&again.text("id")).await.succeeded();
    let facts = (&gone.0["kind"], &gone.0["retryOf"], gone.outcome("one"));
    assert_eq!(facts, (&json!("teardown"), &json!(failed.id()), "destroyed"));
}

#[tokio::test]
async fn what_succeeded_or_still_runs_is_not_tried_again() {
    let stack = Stack::load();
    let (application, environment, slow) = (unique("app"), stack.environment().await, stack.template(SLOW).await);
    let done = stack.run(&application, &environment, "resources: {}").await.succeeded();
    stack.post(&retry_path(done.id()), &json!({})).await.is_problem(409, "not_retryable");
    let score = format!("resources: {{one: {{type: {slow}, params: {{seconds: 4}}}}}}");
    let running = stack.deploy(&application, &environment, &score).await;
    stack.post(&retry_path(&running), &json!({})).await.is_problem(409, "not_retryable");
    stack.finished(&running).await.succeeded();
    let nothing = "01900000-0000-7000-8000-000000000000";
    stack.post(&retry_path(nothing), &json!({})).await.is_problem(404, "deployment_not_found");
}

#[tokio::test]
async fn a_deployment_is_not_tried_again_after_a_later_one_took_its_place() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let failing = "resources: {one: {type: note, params: {fail: true}}}";
    let failed = stack.run(&application, &environment, failing).await.failed("terraform_failed");
    let again = stack.post(&retry_path(failed.id()), &json!({})).await.expect(202).text("id");
    stack.post(&retry_path(failed.id()), &json!({})).await.is_problem(409, "superseded");
    stack.finished(&again).await.failed("terraform_failed");
    stack.run(&application, &environment, "resources: {one: {type: note}}").await.succeeded();
    stack.post(&retry_path(&again), &json!({})).await.is_problem(409, "superseded");
    let deployments = stack.all(&format!("/v1/deployments?application={application}")).await;
    assert_eq!(deployments.len(), 3, "{deployments:#?}");
}

//! What a changed file changes, and what it must not.

use conductor_acceptance::{Stack, time, unique};
use serde_json::json;

#[tokio::test]
async fn a_changed_parameter_updates_its_resource_and_those_that_use_its_outputs_alone() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let score = |text: &str| {
        let rest = "uses: {type: note, params: {text: '${changed.text}'}}
  after: {type: note, dependsOn: [changed]}
  apart: {type: note}";
        format!("resources:\n  changed: {{type: note, params: {{text: {text}}}}}\n  {rest}\n")
    };
    let first = stack.run(&application, &environment, &score("one")).await.succeeded();
    let second = stack.run(&application, &environment, &score("two")).await.succeeded();
    for (name, effect, attempts) in
        [("changed", "updated", 1), ("uses", "updated", 1), ("after", "unchanged", 0), ("apart", "unchanged", 0)]
    {
        assert_eq!((second.outcome(name), second.attempts(name)), (effect, attempts), "{name}");
        assert_eq!(second.resource_id(name), first.resource_id(name));
    }
    let uses = stack.resource(&second.resource_id("uses")).await;
    assert_eq!(uses["outputs"]["text"]["value"], "two");
}

#[tokio::test]
async fn a_plan_that_would_replace_is_refused_with_the_object_that_would_go() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let score = |generation: u32| format!("resources: {{one: {{type: note, params: {{generation: {generation}}}}}}}");
    let first = stack.run(&application, &environment, &score(1)).await.succeeded();
    let id = first.resource_id("one");
    let made = stack.resource(&id).await["outputs"]["id"].clone();

    let refused = stack.run(&application, &environment, &score(2)).await.failed("would_replace");
    let error = &refused.operation("one")["error"];
    assert_eq!((&error["code"], &error["during"]), (&json!("would_replace"), &json!("update")));
    let detail = error["detail"].as_str().expect("a detail");
    assert!(detail.contains("terraform_data.this"), "{detail}");
    assert_eq!(stack.resource(&id).await["outputs"]["id"], made);

    let other = stack.run_with(&application, &environment, &score(2), json!({"allowReplace": ["two"]})).await;
    other.failed("would_replace");
    let allowed = stack.run_with(&application, &environment, &score(2), json!({"allowReplace": ["one"]})).await;
    let allowed = allowed.succeeded();
    assert_eq!(allowed.outcome("one"), "updated");
    assert_eq!(allowed.operation("one")["changes"], json!({"add": 1, "change": 0, "destroy": 1}));
    assert_eq!(allowed.resource_id("one"), id);
    assert_ne!(stack.resource(&id).await["outputs"]["id"], made);
}

const BOTH: &str = "resources: {stays: {type: note}, goes: {type: note, params: {text: '${stays.id}'}}}";

#[tokio::test]
async fn what_the_file_no_longer_names_is_destroyed_once_all_acquires_have_succeeded() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let first = stack.run(&application, &environment, BOTH).await.succeeded();

    let failing = "resources: {stays: {type: note, params: {fail: true}}}";
    let failed = stack.run(&application, &environment, failing).await.failed("terraform_failed");
    assert_eq!(failed.outcome("goes"), "Skipped");
    assert_eq!(stack.resource(&first.resource_id("goes")).await["status"], "Active");

    let one = "resources: {stays: {type: note, params: {text: new}}}";
    let done = stack.run(&application, &environment, one).await.succeeded();
    assert_eq!((done.outcome("stays"), done.outcome("goes")), ("updated", "destroyed"));
    assert_eq!(done.operation("goes")["action"], "release");
    let (acquired, began) = (&done.operation("stays")["completedAt"], &done.operation("goes")["startedAt"]);
    assert!(time(acquired) <= time(began), "{:#}", done.0);
    assert_eq!(stack.resource(&first.resource_id("goes")).await["status"], "Deleted");
    let stays = stack.resource(&first.resource_id("stays")).await;
    assert_eq!(stays["consumers"].as_array().map(Vec::len), Some(1), "{stays:#}");
}

#[tokio::test]
async fn without_prune_what_the_file_no_longer_names_stays() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let first = stack.run(&application, &environment, BOTH).await.succeeded();
    let one = "resources: {stays: {type: note}}";
    let kept = stack.run_with(&application, &environment, one, json!({"prune": false})).await.succeeded();
    assert_eq!(kept.operations().len(), 1);
    assert_eq!(stack.resource(&first.resource_id("goes")).await["status"], "Active");
    let pruned = stack.run(&application, &environment, one).await.succeeded();
    assert_eq!(pruned.outcome("goes"), "destroyed");
}

#[tokio::test]
async fn a_workload_never_prunes_what_another_holds() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let workload = |name: &str| format!("metadata: {{name: {name}}}\nresources: {{note: {{type: note}}}}");
    let front = stack.run(&application, &environment, &workload("front")).await.succeeded();
    let back = stack.run(&application, &environment, &workload("back")).await.succeeded();
    assert_eq!((back.operations().len(), back.outcome("note")), (1, "created"));
    assert_ne!(front.resource_id("note"), back.resource_id("note"));

    let path = format!("/v1/applications/{application}/environments/{environment}?workload=back");
    let id = stack.delete(&path).await.expect(202).text("id");
    let gone = stack.finished(&id).await.succeeded();
    assert_eq!((gone.operations().len(), gone.outcome("note")), (1, "destroyed"));
    assert_eq!(stack.resource(&back.resource_id("note")).await["status"], "Deleted");
    assert_eq!(stack.resource(&front.resource_id("note")).await["status"], "Active");
}

//! The same application again: renamed, moved, overtaken. What a changed parameter changes is in `updates.rs`.

use conductor_acceptance::{Dialect, SLOW, Stack, TINY, time, unique};
use serde_json::{Value, json};

fn file(resources: Value) -> String {
    Dialect::Own.file(&resources)
}

#[tokio::test]
async fn a_resource_that_says_where_it_moved_from_keeps_what_it_is() {
    let stack = Stack::load();
    for dialect in Dialect::BOTH {
        let (application, environment) = (unique("app"), stack.environment().await);
        let before = dialect.file(&json!({"old": {"type": "note", "params": {"text": "kept"}}}));
        let id = stack.run(&application, &environment, &before).await.succeeded().resource_id("old");
        let made = stack.resource(&id).await["outputs"].clone();
        let after = dialect.file(&json!({"new": {"type": "note", "movedFrom": "old", "params": {"text": "kept"}}}));
        for _ in 0..2 {
            let moved = stack.run(&application, &environment, &after).await.succeeded();
            let found =
                (moved.operations().len(), moved.outcome("new"), moved.attempts("new"), moved.resource_id("new"));
            assert_eq!(found, (1, "unchanged", 0, id.clone()), "{dialect:?}: {:#}", moved.0);
        }
        let consumers = stack.consumers(&id).await;
        assert_eq!((consumers.len(), &consumers[0]["resource"]), (1, &json!("new")), "{dialect:?}");
        assert_eq!(stack.resource(&id).await["outputs"], made);
        let plain = dialect.file(&json!({"new": {"type": "note", "params": {"text": "kept"}}}));
        let done = stack.run(&application, &environment, &plain).await.succeeded();
        assert_eq!((done.outcome("new"), done.resource_id("new")), ("unchanged", id), "{dialect:?}");
        let anew = stack.run(&application, &environment, &before).await.succeeded();
        assert_eq!((anew.outcome("old"), anew.outcome("new")), ("created", "destroyed"), "{dialect:?}");
    }
}

#[tokio::test]
async fn a_moved_resource_may_change_at_once_and_a_shared_one_moves_too() {
    let stack = Stack::load();
    let (application, environment, name) = (unique("app"), stack.environment().await, unique("shared"));
    let shared = |from: Option<&str>| {
        let mut resource = json!({"type": "note", "reference": {"mode": "shared", "name": name}});
        if let Some(from) = from {
            resource["movedFrom"] = json!(from);
        }
        resource
    };
    let before = file(json!({"own": {"type": "note", "params": {"text": "one"}}, "theirs": shared(None)}));
    let first = stack.run(&application, &environment, &before).await.succeeded();
    let after = file(json!({
        "mine": {"type": "note", "movedFrom": "own", "params": {"text": "two"}},
        "ours": shared(Some("theirs")),
    }));
    let moved = stack.run(&application, &environment, &after).await.succeeded();
    assert_eq!((moved.operations().len(), moved.outcome("mine"), moved.outcome("ours")), (2, "updated", "unchanged"));
    assert_eq!(moved.resource_id("mine"), first.resource_id("own"));
    assert_eq!(moved.resource_id("ours"), first.resource_id("theirs"));
    assert_eq!(stack.resource(&first.resource_id("own")).await["outputs"]["text"]["value"], "two");
    let gone = stack.teardown(&application, &environment).await.succeeded();
    assert_eq!((gone.outcome("mine"), gone.outcome("ours")), ("destroyed", "destroyed"));
}

#[tokio::test]
async fn what_was_not_there_or_is_of_another_type_does_not_move() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let fresh = file(json!({"new": {"type": "note", "movedFrom": "never"}}));
    assert_eq!(stack.run(&application, &environment, &fresh).await.succeeded().outcome("new"), "created");
    let tiny = stack.template(TINY).await;
    let other = file(json!({"other": {"type": tiny, "movedFrom": "new"}}));
    let done = stack.run(&application, &environment, &other).await.succeeded();
    assert_eq!((done.outcome("other"), done.outcome("new")), ("created", "destroyed"));

    let twice = file(json!({
        "one": {"type": tiny, "movedFrom": "other"},
        "two": {"type": tiny, "movedFrom": "other"},
    }));
    let refused = stack.refused(&application, &environment, &twice).await;
    refused.points_at("two from one", 422, "score_invalid", "/resources/two/movedFrom");
    let still = file(json!({"other": {"type": tiny}, "one": {"type": tiny, "movedFrom": "other"}}));
    stack.refused(&application, &environment, &still).await.is_problem(422, "score_invalid");
}

#[tokio::test]
async fn a_dropped_dependency_lets_go_of_what_it_kept_without_terraform() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let both = file(json!({"base": {"type": "note"}, "user": {"type": "note", "dependsOn": ["base"]}}));
    let first = stack.run(&application, &environment, &both).await.succeeded();
    let (base, user) = (first.resource_id("base"), first.resource_id("user"));
    assert_eq!(
        (stack.consumers(&base).await.len(), stack.resource(&user).await["dependsOn"].clone()),
        (2, json!([base]))
    );

    let apart = file(json!({"base": {"type": "note"}, "user": {"type": "note"}}));
    let dropped = stack.run(&application, &environment, &apart).await.succeeded();
    assert_eq!(
        (dropped.outcome("base"), dropped.outcome("user"), dropped.attempts("user")),
        ("unchanged", "unchanged", 0)
    );
    let consumers = stack.consumers(&base).await;
    assert_eq!((consumers.len(), &consumers[0]["origin"]), (1, &json!("file")), "{consumers:#?}");
    assert_eq!(stack.resource(&user).await["dependsOn"], json!([]));

    let again = stack.run(&application, &environment, &both).await.succeeded();
    assert_eq!((again.outcome("user"), again.attempts("user")), ("unchanged", 0));
    assert_eq!(stack.resource(&user).await["dependsOn"], json!([base]));
    let alone = file(json!({"user": {"type": "note"}}));
    let gone = stack.run(&application, &environment, &alone).await.succeeded();
    assert_eq!(gone.outcome("user"), "unchanged");
    // Its edge and its holding go in any order; the last of them takes it along.
    let mut effects: Vec<_> = gone.releases(&base).iter().filter_map(|release| release["effect"].as_str()).collect();
    effects.sort_unstable();
    assert_eq!(effects, ["destroyed", "released"], "{:#}", gone.0);
    assert_eq!(stack.resource(&user).await["status"], "Active");
}

#[tokio::test]
async fn a_deployment_that_supersedes_cancels_those_that_have_not_begun() {
    let stack = Stack::load();
    let (application, environment, slow) = (unique("app"), stack.environment().await, stack.template(SLOW).await);
    let running = format!("resources: {{one: {{type: {slow}, params: {{seconds: 10}}}}}}");
    let first = stack.deploy(&application, &environment, &running).await;
    stack.until(&first, "in progress", |deployment| deployment.status() == "InProgress").await;
    let second = stack.deploy(&application, &environment, "resources: {two: {type: note}}").await;
    let third = stack.deploy(&application, &environment, "resources: {three: {type: note}}").await;
    let by = stack
        .deploy_with(&application, &environment, "resources: {four: {type: note}}", json!({"queue": "supersede"}))
        .await;
    for id in [&second, &third] {
        let cancelled = stack.finished(id).await;
        assert_eq!((cancelled.status(), cancelled.error()), ("Cancelled", "superseded"), "{:#}", cancelled.0);
        assert!(cancelled.operations().is_empty() && cancelled.0["startedAt"].is_null(), "{:#}", cancelled.0);
    }
    let first = stack.finished(&first).await.succeeded();
    let by = stack.finished(&by).await.succeeded();
    assert_eq!((by.outcome("four"), by.outcome("one")), ("created", "destroyed"));
    assert!(time(&first.0["completedAt"]) <= time(&by.0["startedAt"]), "{:#}\n{:#}", first.0, by.0);
    let held = stack.all(&format!("/v1/resources?environment={environment}&application={application}")).await;
    assert_eq!(held.len(), 1, "{held:#?}");

    let wait = stack.run_with(&application, &environment, "resources: {}", json!({"queue": "wait"})).await.succeeded();
    assert_eq!(wait.outcome("four"), "destroyed");
    let body =
        json!({"application": application, "environment": environment, "score": "resources: {}", "queue": "jump"});
    stack.post("/v1/deployments", &body).await.is_problem(400, "body_invalid");
}

#[tokio::test]
async fn a_refresh_of_what_several_use_runs_terraform_and_changes_nothing() {
    let stack = Stack::load();
    let (environment, name) = (stack.environment().await, unique("shared"));
    let (one, two) = (unique("one"), unique("two"));
    let score =
        file(json!({"it": {"type": "note", "reference": {"mode": "shared", "name": name}, "params": {"text": "t"}}}));
    let first = stack.run(&one, &environment, &score).await.succeeded();
    stack.run(&two, &environment, &score).await.succeeded();
    let again = stack.run_with(&two, &environment, &score, json!({"refresh": true})).await.succeeded();
    assert_eq!((again.attempts("it"), again.resource_id("it")), (1, first.resource_id("it")));
    assert_eq!(again.operation("it")["changes"], json!({"add": 0, "change": 0, "destroy": 0}));
}

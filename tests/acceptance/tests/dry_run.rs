//! Dry runs: they tell what would happen and why, write nothing, and are right.

use conductor_acceptance::{Deployment, SLOW, Stack, TINY, unique};
use reqwest::Method;
use serde_json::{Value, json};

fn file(resources: Value) -> String {
    json!({"resources": resources}).to_string()
}

fn shared(name: &str, params: Value) -> Value {
    json!({"type": "note", "reference": {"mode": "shared", "name": name}, "params": params})
}

/// Everything that a dry run must leave as it is: deployments, the application, and each resource with its version.
async fn records(stack: &Stack, application: &str, environment: &str) -> Vec<String> {
    let deployments = stack.all(&format!("/v1/deployments?environment={environment}")).await;
    let mut records: Vec<_> = deployments.iter().map(ToString::to_string).collect();
    let mut paths = vec![format!("/v1/applications/{application}"), format!("/v1/environments/{environment}")];
    for resource in stack.all(&format!("/v1/resources?environment={environment}")).await {
        paths.push(format!("/v1/resources/{}", resource["id"].as_str().expect("an id")));
    }
    for path in paths {
        let answer = stack.get(&path).await;
        // A problem has the id of its own request.
        let body = if answer.status == 200 { answer.body.to_string() } else { String::new() };
        records.push(format!("{path} {} {} {body}", answer.status, answer.header("etag")));
    }
    records
}

/// How an operation ended, in the words of a dry run.
fn ended(operation: &Value) -> &str {
    match (operation["effect"].as_str(), operation["status"].as_str(), operation["error"]["code"].as_str()) {
        (Some(effect), _, _) => effect,
        (None, Some("Skipped"), _) => "skipped",
        (None, _, Some("parameters_conflict" | "type_conflict" | "resource_external")) => "conflict",
        _ => "failed",
    }
}

/// Checks that what was foretold has happened, operation by operation.
#[track_caller]
fn came_true(foretold: &Deployment, done: &Deployment) {
    let key = |operation: &Value| {
        let name = operation["resource"].as_str().expect("a name");
        // An old resource that makes room is named after the operation, which is another one each time.
        format!("{} {}", operation["action"], name.split('~').next().unwrap_or(name))
    };
    let sorted = |deployment: &Deployment| {
        let mut keys: Vec<_> = deployment.operations().iter().map(key).collect();
        keys.sort();
        keys
    };
    assert_eq!(sorted(foretold), sorted(done), "{:#}\n{:#}", foretold.0, done.0);
    for operation in done.operations() {
        let told = foretold.operations().iter().find(|told| key(told) == key(operation)).expect("it was foretold");
        let effects = told["effects"].as_array().expect("effects");
        assert!(effects.iter().any(|effect| effect == ended(operation)), "{told:#}\n{operation:#}");
        assert_eq!(told["effect"].is_null(), effects.len() > 1, "{told:#}");
        assert_eq!(told["decidedBy"] == json!([]), effects.len() == 1, "{told:#}");
        if ended(operation) != "created" && effects.len() == 1 {
            assert_eq!(told["resourceId"], operation["resourceId"], "{told:#}");
        }
    }
    if foretold.operations().iter().all(|told| !told["effect"].is_null()) {
        assert_eq!(foretold.0["outcome"], done.0["status"], "{:#}\n{:#}", foretold.0, done.0);
    }
}

/// A dry run, which changes nothing, and then the deployment, which does what was foretold.
async fn foretold_and_done(
    stack: &Stack,
    application: &str,
    environment: &str,
    score: &str,
    more: Value,
) -> (Deployment, Deployment) {
    let before = records(stack, application, environment).await;
    let foretold = stack.foretell_with(application, environment, score, more.clone()).await;
    assert_eq!(records(stack, application, environment).await, before);
    let done = stack.run_with(application, environment, score, more).await;
    came_true(&foretold, &done);
    (foretold, done)
}

/// The same for a teardown.
async fn foretold_and_gone(stack: &Stack, application: &str, environment: &str) -> (Deployment, Deployment) {
    let before = records(stack, application, environment).await;
    let foretold = stack.foretell_teardown(application, environment).await;
    assert_eq!(records(stack, application, environment).await, before);
    let gone = stack.teardown(application, environment).await;
    came_true(&foretold, &gone);
    (foretold, gone)
}

#[tokio::test]
async fn what_would_be_made_is_told_with_its_order_version_and_parameters_and_nothing_is_written() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let score = file(json!({
        "base": {"type": "note", "params": {"text": "hello", "secret": "hidden"}},
        "reader": {"type": "note", "params": {"text": "says ${resources.base.text}"}},
        "after": {"type": "note", "dependsOn": ["reader"]},
    }));
    let foretold = stack.foretell(&application, &environment, &score).await;
    stack.knows_nothing_of(&application).await;
    assert!(stack.all(&format!("/v1/resources?environment={environment}")).await.is_empty());
    let head = (&foretold.0["kind"], &foretold.0["outcome"], &foretold.0["workload"], &foretold.0["waitsFor"]);
    assert_eq!(head, (&json!("apply"), &json!("Succeeded"), &json!("main"), &json!([])));
    for name in ["base", "reader", "after"] {
        foretold.foretells(name, "created");
    }
    assert!(!foretold.0.to_string().contains("hidden"), "{:#}", foretold.0);
    let base = foretold.operation("base");
    let newest =
        stack.get("/v1/resource-templates/note/versions").await.expect(200).body["items"][0]["version"].clone();
    assert_eq!(
        (&base["templateVersion"], &base["action"], &base["dependsOn"]),
        (&newest, &json!("acquire"), &json!([]))
    );
    let parameters = json!([
        {"name": "secret", "value": null, "source": "file"},
        {"name": "text", "value": "hello", "source": "file"},
    ]);
    assert_eq!(base["parameters"], parameters);
    let reader = foretold.operation("reader");
    assert_eq!(
        (&reader["dependsOn"], &reader["parameters"][0]["value"]),
        (&json!(["base"]), &json!("says ${resources.base.text}"))
    );

    let (_, done) = foretold_and_done(&stack, &application, &environment, &score, json!({})).await;
    done.succeeded();
    let (again, _) = foretold_and_done(&stack, &application, &environment, &score, json!({})).await;
    for name in ["base", "reader", "after"] {
        again.foretells(name, "unchanged");
    }
    foretold_and_gone(&stack, &application, &environment).await.1.succeeded();
}

#[tokio::test]
async fn what_would_be_made_has_no_id_yet() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let foretold = stack.foretell(&unique("app"), &environment, &file(json!({"one": {"type": "note"}}))).await;
    assert_eq!(foretold.operation("one")["resourceId"], Value::Null, "{:#}", foretold.0);
}

#[tokio::test]
async fn what_would_be_linked_changed_kept_and_let_go_is_told_with_the_reason() {
    let stack = Stack::load();
    let (application, other, environment) = (unique("app"), unique("other"), stack.environment().await);
    let (common, left) = (unique("common"), unique("left"));
    let theirs = json!({"common": shared(&common, json!({"text": "c"})), "left": shared(&left, json!({}))});
    let theirs = stack.run(&other, &environment, &file(theirs)).await.succeeded();
    let before = json!({
        "changes": {"type": "note", "params": {"text": "one", "secret": "alpha-secret"}},
        "stays": {"type": "note", "params": {"text": "same"}},
        "goes": {"type": "note"},
        "left": shared(&left, json!({})),
        "kept": {"type": "note", "retain": true},
    });
    let first = stack.run(&application, &environment, &file(before)).await.succeeded();
    let after = json!({
        "changes": {"type": "note", "params": {"text": "two", "secret": "beta-secret"}},
        "stays": {"type": "note", "params": {"text": "same"}},
        "common": shared(&common, json!({"text": "c"})),
        "new": {"type": "note"},
    });
    let (foretold, done) = foretold_and_done(&stack, &application, &environment, &file(after), json!({})).await;
    done.succeeded();
    for (name, effect) in [
        ("changes", "updated"),
        ("stays", "unchanged"),
        ("common", "linked"),
        ("new", "created"),
        ("goes", "destroyed"),
        ("left", "released"),
        ("kept", "retained"),
    ] {
        foretold.foretells(name, effect);
        let text = foretold.operation(name)["reason"]["text"].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{name}: {:#}", foretold.0);
    }
    let changed = json!([
        {"name": "secret", "from": null, "to": null, "sensitive": true},
        {"name": "text", "from": "one", "to": "two", "sensitive": false},
    ]);
    assert_eq!(foretold.operation("changes")["reason"]["parameters"], changed);
    let linked = foretold.operation("common");
    assert_eq!(linked["resourceId"], theirs.resource_id("common").as_str());
    assert!(linked["reason"]["text"].as_str().is_some_and(|text| text.contains(&common)), "{linked:#}");
    assert_eq!(foretold.operation("left")["reason"]["users"], json!([format!("{other}/main in {environment}")]));
    assert_eq!(foretold.operation("goes")["resourceId"], first.resource_id("goes").as_str());
    let shown = foretold.0.to_string();
    assert!(!shown.contains("alpha-secret") && !shown.contains("beta-secret"), "{shown}");
}

#[tokio::test]
async fn a_conflict_is_told_with_the_users_and_the_difference_and_what_it_skips() {
    let stack = Stack::load();
    let (one, two, environment, name) = (unique("one"), unique("two"), stack.environment().await, unique("shared"));
    let mine = file(json!({"store": shared(&name, json!({"text": "mine", "secret": "my-secret"}))}));
    stack.run(&one, &environment, &mine).await.succeeded();
    let yours = file(json!({
        "store": shared(&name, json!({"text": "yours", "secret": "your-secret"})),
        "reader": {"type": "note", "params": {"text": "${resources.store.text}"}},
        "apart": {"type": "note"},
    }));
    let (foretold, done) = foretold_and_done(&stack, &two, &environment, &yours, json!({})).await;
    done.failed("parameters_conflict");
    assert_eq!(
        (&foretold.0["outcome"], &foretold.0["error"]["code"]),
        (&json!("Failed"), &json!("parameters_conflict"))
    );
    foretold.foretells("store", "conflict");
    foretold.foretells("reader", "skipped");
    foretold.foretells("apart", "created");
    let detail = foretold.operation("store")["error"]["detail"].as_str().expect("a detail");
    for part in [one.as_str(), "text", "mine", "yours", "secret"] {
        assert!(detail.contains(part), "{part} in: {detail}");
    }
    let shown = foretold.0.to_string();
    assert!(!shown.contains("my-secret") && !shown.contains("your-secret"), "{shown}");

    let tiny = stack.template(TINY).await;
    let other_type = file(json!({"store": {"type": tiny, "reference": {"mode": "shared", "name": name}}}));
    let (foretold, done) = foretold_and_done(&stack, &unique("three"), &environment, &other_type, json!({})).await;
    done.failed("type_conflict");
    foretold.foretells("store", "conflict");
}

#[tokio::test]
async fn every_candidate_is_told_and_why_it_was_not_taken() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let wish = |text: &str, most: u32| {
        let matching = json!({"matchOn": ["text"], "maxConsumers": most});
        file(json!({"one": {"type": "note", "matching": matching, "params": {"text": text}}}))
    };
    let full = stack.run(&unique("app"), &environment, &wish("a", 1)).await.succeeded().resource_id("one");
    let other = stack.run(&unique("app"), &environment, &wish("b", 5)).await.succeeded().resource_id("one");
    let taken = stack.run(&unique("app"), &environment, &wish("a", 5)).await.succeeded().resource_id("one");

    let application = unique("app");
    let (foretold, _) = foretold_and_done(&stack, &application, &environment, &wish("a", 5), json!({})).await;
    foretold.foretells("one", "linked");
    let candidates = foretold.operation("one")["reason"]["candidates"].as_array().expect("candidates");
    let ids: Vec<_> = candidates.iter().map(|candidate| &candidate["resource"]).collect();
    assert_eq!(ids, [full.as_str(), other.as_str(), taken.as_str()]);
    let why = |index: usize| candidates[index]["refused"].as_str().unwrap_or_default();
    assert!(why(0).contains("consumers"), "{candidates:#?}");
    assert!(why(1).contains("text") && why(1).contains('a') && why(1).contains('b'), "{candidates:#?}");
    assert_eq!(candidates[2]["refused"], Value::Null);

    let (kept, _) = foretold_and_done(&stack, &application, &environment, &wish("a", 5), json!({})).await;
    kept.foretells("one", "unchanged");
    let (made, _) = foretold_and_done(&stack, &unique("app"), &environment, &wish("c", 5), json!({})).await;
    made.foretells("one", "created");
    let candidates = made.operation("one")["reason"]["candidates"].as_array().expect("candidates");
    assert!(candidates.len() == 3 && candidates.iter().all(|c| c["refused"].is_string()), "{candidates:#?}");
    let (moved, _) = foretold_and_done(&stack, &application, &environment, &wish("b", 5), json!({})).await;
    moved.foretells("one", "linked");
    assert_eq!(moved.releases(&taken).len(), 1, "{:#}", moved.0);
}

#[tokio::test]
async fn a_teardown_is_told_with_what_stays_and_because_of_whom() {
    let stack = Stack::load();
    let (one, two, environment, name) = (unique("one"), unique("two"), stack.environment().await, unique("shared"));
    let more = json!({
        "own": {"type": "note"},
        "store": shared(&name, json!({})),
        "kept": {"type": "note", "retain": true},
    });
    let first = stack.run(&one, &environment, &file(more)).await.succeeded();
    stack.run(&two, &environment, &file(json!({"store": shared(&name, json!({}))}))).await.succeeded();
    let (foretold, gone) = foretold_and_gone(&stack, &one, &environment).await;
    gone.succeeded();
    assert_eq!((&foretold.0["kind"], &foretold.0["outcome"]), (&json!("teardown"), &json!("Succeeded")));
    foretold.foretells("own", "destroyed");
    foretold.foretells("store", "released");
    foretold.foretells("kept", "retained");
    assert_eq!(foretold.operation("store")["reason"]["users"], json!([format!("{two}/main in {environment}")]));
    assert_eq!(foretold.operation("own")["resourceId"], first.resource_id("own").as_str());
    let (last, _) = foretold_and_gone(&stack, &two, &environment).await;
    last.foretells("store", "destroyed");
}

#[tokio::test]
async fn a_teardown_of_a_chain_is_told_with_every_release_that_it_brings() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let chain = file(json!({
        "base": {"type": "note"},
        "middle": {"type": "note", "params": {"text": "${resources.base.text}"}},
        "top": {"type": "note", "dependsOn": ["middle"]},
    }));
    stack.run(&application, &environment, &chain).await.succeeded();
    let (foretold, gone) = foretold_and_gone(&stack, &application, &environment).await;
    let gone = gone.succeeded();
    assert_eq!(foretold.operations().len(), 5, "{:#}", foretold.0);
    for name in ["base", "middle", "top"] {
        assert_eq!(gone.outcome(name), "destroyed", "{name}");
    }
}

#[tokio::test]
async fn where_an_output_that_is_not_known_yet_decides_all_that_may_happen_is_told_and_what_decides() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let wish = |text: &str, tag: &str| {
        file(json!({
            "base": {"type": "note", "params": {"text": text, "tags": {"a": tag}}},
            "reader": {"type": "note", "params": {"text": "${resources.base.text}"}},
        }))
    };
    stack.run(&application, &environment, &wish("one", "x")).await.succeeded();
    for (text, tag, effect) in [("one", "y", "unchanged"), ("two", "y", "updated")] {
        let (foretold, done) = foretold_and_done(&stack, &application, &environment, &wish(text, tag), json!({})).await;
        foretold.foretells("base", "updated");
        let mut effects = foretold.effects("reader");
        effects.sort_unstable();
        assert_eq!(effects, ["unchanged", "updated"], "{:#}", foretold.0);
        let decides = foretold.operation("reader")["decidedBy"].to_string();
        assert!(decides.contains("text"), "{decides}");
        assert_eq!(done.succeeded().outcome("reader"), effect);
    }
}

#[tokio::test]
async fn whoever_waits_for_a_deployment_or_a_resource_is_told_for_which() {
    let stack = Stack::load();
    let (environment, slow, name) = (stack.environment().await, stack.template(SLOW).await, unique("shared"));
    let (one, two) = (unique("one"), unique("two"));
    let score = file(json!({
        "one": {"type": slow, "reference": {"mode": "shared", "name": name}, "params": {"seconds": 8}},
    }));
    let first = stack.deploy(&one, &environment, &score).await;
    stack.until(&first, "running", |it| it.operations().iter().any(|o| o["status"] == "Running")).await;
    let lane = stack.foretell(&one, &environment, "resources: {other: {type: note}}").await;
    let elsewhere = stack.foretell(&two, &environment, &score).await;
    assert_eq!(lane.0["waitsFor"], json!([first]));
    assert_eq!(elsewhere.0["waitsFor"], json!([]));
    let effects = elsewhere.effects("one");
    assert!(effects.len() > 1 && effects.contains(&"linked"), "{:#}", elsewhere.0);
    assert!(elsewhere.operation("one")["decidedBy"].to_string().contains(&first), "{:#}", elsewhere.0);

    let done = stack.run(&two, &environment, &score).await.succeeded();
    came_true(&elsewhere, &done);
    stack.finished(&first).await.succeeded();
}

#[tokio::test]
async fn a_claim_from_a_pool_is_told_and_the_pool_keeps_its_members() {
    let stack = Stack::load();
    let (environment, pool) = (stack.environment().await, unique("pool"));
    stack
        .put_pool(&environment, &pool, &json!({"type": "note", "size": 1, "parameters": {"text": "p"}}))
        .await
        .expect(201);
    let before = stack.settled_pool(&environment, &pool, 1, 0).await;
    let (one, score) = (unique("app"), file(json!({"one": {"type": "note", "pool": pool}})));
    let foretold = stack.foretell(&one, &environment, &score).await;
    foretold.foretells("one", "linked");
    assert_eq!(foretold.operation("one")["parameters"], json!([{"name": "text", "value": "p", "source": "pool"}]));
    assert_eq!(stack.pool(&environment, &pool).await, before);
    let done = stack.run(&one, &environment, &score).await.succeeded();
    came_true(&foretold, &done);
}

#[tokio::test]
async fn a_dry_run_refuses_what_the_deployment_would_be_refused_for() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let dry = "/v1/deployments?dryRun=true";
    let body = |environment: &str, score: &str| {
        json!({
            "application": application,
            "environment": environment,
            "score": score,
        })
    };
    let unknown = stack.post(dry, &body(&environment, "resources: {one: {type: nothing}}")).await;
    unknown.points_at("an unknown type", 422, "resource_type_unknown", "/resources/one/type");
    let nowhere = stack.post(dry, &body(&unique("nowhere"), "resources: {}")).await;
    nowhere.is_problem(422, "environment_unknown");
    let gone = format!("/v1/applications/{application}/environments/{environment}?dryRun=true");
    stack.delete(&gone).await.is_problem(404, "application_not_found");

    let path = format!("{dry}&application={application}&environment={environment}");
    let yaml = b"resources: {one: {type: note}}".to_vec();
    let told = stack.send(Method::POST, &path, &[("content-type", "application/yaml")], yaml).await.expect(200);
    Deployment(told.body).foretells("one", "created");
    stack.knows_nothing_of(&application).await;
}

//! Environments and applications: what may be changed and ended while something is there.

use conductor_acceptance::{SLOW, Stack, TINY, unique};
use serde_json::json;

const NOTE: &str = "resources: {one: {type: note}}";

#[tokio::test]
async fn an_environment_is_made_changed_shown_and_ended() {
    let stack = Stack::load();
    let name = unique("env");
    let path = format!("/v1/environments/{name}");
    let made = stack.put(&path, &json!({"type": "staging", "region": "eu-west-1"})).await.expect(201);
    let shown = (made.text("name"), &made.body["type"], &made.body["region"]);
    assert_eq!(shown, (name, &json!("staging"), &json!("eu-west-1")));
    let changed = stack.put(&path, &json!({"type": "production", "protected": true})).await.expect(200);
    assert_eq!(changed.body["region"], json!(null));
    assert_eq!(stack.get(&path).await.expect(200).body, changed.body);
    stack.delete(&path).await.expect(204);
    stack.get(&path).await.is_problem(404, "environment_not_found");
    stack.delete(&path).await.is_problem(404, "environment_not_found");
}

#[tokio::test]
async fn an_environment_with_resources_keeps_its_region_and_role_and_is_not_ended() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let path = format!("/v1/environments/{environment}");
    stack.run(&application, &environment, NOTE).await.succeeded();
    let role = json!({"credentials": {"roleArn": "arn:aws:iam::000000000000:role/other"}});
    stack.put(&path, &json!({"region": "eu-west-1"})).await.is_problem(409, "environment_in_use");
    stack.put(&path, &role).await.is_problem(409, "environment_in_use");
    stack.delete(&path).await.is_problem(409, "environment_in_use");
    stack.put(&path, &json!({"type": "production"})).await.expect(200);

    stack.teardown(&application, &environment).await.succeeded();
    stack.put(&path, &json!({"region": "eu-west-1"})).await.expect(200);
    stack.delete(&path).await.expect(204);
}

#[tokio::test]
async fn the_external_id_of_an_environment_with_resources_may_change() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), unique("env"));
    let path = format!("/v1/environments/{environment}");
    let role = stack.get("/v1/environments/dev").await.expect(200).body["credentials"]["roleArn"].clone();
    let with = |id: &str| json!({"credentials": {"roleArn": role, "externalId": id}});
    stack.put(&path, &with("local")).await.expect(201);
    stack.run(&application, &environment, NOTE).await.succeeded();
    let changed = stack.put(&path, &with("another")).await.expect(200);
    assert_eq!(changed.body["credentials"]["externalId"], json!("another"));
    stack.put(&path, &json!({"credentials": null})).await.is_problem(409, "environment_in_use");
    stack.put(&path, &with("local")).await.expect(200);
    stack.teardown(&application, &environment).await.succeeded();
}

#[tokio::test]
async fn what_has_an_unfinished_deployment_is_not_ended() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let slow = stack.template(SLOW).await;
    let score = format!("resources: {{one: {{type: {slow}, params: {{seconds: 4}}}}}}");
    let id = stack.deploy(&application, &environment, &score).await;
    stack.delete(&format!("/v1/environments/{environment}")).await.is_problem(409, "environment_in_use");
    stack.delete(&format!("/v1/applications/{application}")).await.is_problem(409, "application_in_use");
    stack.finished(&id).await.succeeded();
}

#[tokio::test]
async fn an_application_is_ended_once_it_holds_nothing() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let path = format!("/v1/applications/{application}");
    stack.run(&application, &environment, NOTE).await.succeeded();
    assert_eq!(stack.get(&path).await.expect(200).body["environments"], json!([environment]));
    stack.delete(&path).await.is_problem(409, "application_in_use");
    stack.teardown(&application, &environment).await.succeeded();
    stack.delete(&path).await.expect(204);
    stack.get(&path).await.is_problem(404, "application_not_found");
}

#[tokio::test]
async fn an_environment_gives_defaults_and_fixes_parameters() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let defaults = json!({"note": {"parameters": {"text": "default"}, "fixed": {"tags": {"team": "core"}}}});
    stack.put(&format!("/v1/environments/{environment}"), &json!({"defaults": defaults})).await.expect(200);
    let score = "resources: {one: {type: note}, two: {type: note, params: {text: own}}}";
    let done = stack.run(&application, &environment, score).await.succeeded();
    for (name, text) in [("one", "default"), ("two", "own")] {
        let parameters = &stack.resource(&done.resource_id(name)).await["parameters"];
        assert_eq!(*parameters, json!({"text": text, "tags": {"team": "core"}}));
    }
    let score = "resources: {one: {type: note, params: {tags: {team: other}}}}";
    let body = json!({"application": application, "environment": environment, "score": score});
    let refused = stack.post("/v1/deployments", &body).await;
    refused.is_problem(422, "parameters_invalid");
    assert_eq!(refused.body["errors"][0]["pointer"], "/resources/one/params/tags");
}

#[tokio::test]
async fn a_type_is_small_in_one_environment_and_large_in_another_without_a_word_in_the_file() {
    let stack = Stack::load();
    let kind = stack.template(TINY).await;
    let large = format!("{TINY}\noutput \"large\" {{\n  value = true\n}}\n");
    stack.publish(&format!("{kind}.large"), "1.0.0", &[("main.tf", large.as_str())]).await.expect(201);
    stack.publish(&kind, "1.1.0", &[("main.tf", TINY)]).await.expect(201);
    let environments = [
        (json!({}), "default", "1.1.0", ""),
        (json!({"version": "1.0.0", "parameters": {"text": "small"}}), "default", "1.0.0", "small"),
        (json!({"class": "large", "parameters": {"text": "big"}}), "large", "1.0.0", "big"),
        (json!({"class": "large", "parameters": {"text": "big"}, "fixed": {"text": "huge"}}), "large", "1.0.0", "huge"),
    ];
    let score = format!("resources: {{one: {{type: {kind}}}}}");
    for (defaults, class, version, text) in environments {
        let environment = unique("env");
        let spec = json!({"type": "test", "defaults": {kind.as_str(): defaults}});
        stack.put(&format!("/v1/environments/{environment}"), &spec).await.expect(201);
        let foretold = stack.foretell(&unique("app"), &environment, &score).await;
        assert_eq!(foretold.operation("one")["templateVersion"], version, "{spec}");
        let done = stack.run(&unique("app"), &environment, &score).await.succeeded();
        let resource = stack.resource(&done.resource_id("one")).await;
        let found = (&resource["class"], &resource["templateVersion"], &resource["outputs"]["text"]["value"]);
        assert_eq!(found, (&json!(class), &json!(version), &json!(text)), "{spec}");
    }
}

#[tokio::test]
async fn a_dry_run_says_where_each_value_comes_from() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let defaults = json!({"note": {
        "parameters": {"text": "default", "secret": "kept-from-sight"},
        "fixed": {"tags": {"team": "core"}, "generation": 3},
    }});
    stack.put(&format!("/v1/environments/{environment}"), &json!({"defaults": defaults})).await.expect(200);
    let score = "resources: {one: {type: note, params: {generation: 3}}, two: {type: note, params: {text: own}}}";
    let foretold = stack.foretell(&unique("app"), &environment, score).await;
    let parameters = |name: &str| foretold.operation(name)["parameters"].clone();
    let generation = json!({"name": "generation", "value": 3, "source": "environmentFixed"});
    let secret = json!({"name": "secret", "value": null, "source": "environmentDefault"});
    let tags = json!({"name": "tags", "value": {"team": "core"}, "source": "environmentFixed"});
    let text = |value: &str, source: &str| json!({"name": "text", "value": value, "source": source});
    assert_eq!(parameters("one"), json!([generation, secret, tags, text("default", "environmentDefault")]));
    assert_eq!(parameters("two"), json!([generation, secret, tags, text("own", "file")]));
    assert!(!foretold.0.to_string().contains("kept-from-sight"), "{:#}", foretold.0);
}

#[tokio::test]
async fn workloads_of_an_application_stand_side_by_side_and_share_by_name() {
    let stack = Stack::load();
    let (application, environment, name) = (unique("app"), stack.environment().await, unique("shared"));
    let workload = |workload: &str, text: &str| {
        let shared = json!({"type": "note", "reference": {"mode": "shared", "name": name}, "params": {"text": text}});
        json!({"metadata": {"name": workload}, "resources": {"own": {"type": "note"}, "store": shared}}).to_string()
    };
    let front = stack.run(&application, &environment, &workload("front", "one")).await.succeeded();
    let back = stack.run(&application, &environment, &workload("back", "one")).await.succeeded();
    assert_eq!((back.outcome("own"), back.outcome("store")), ("created", "linked"));
    assert_ne!(back.resource_id("own"), front.resource_id("own"));
    let again = stack.run(&application, &environment, &workload("front", "one")).await.succeeded();
    assert_eq!((again.operations().len(), again.outcome("own"), again.outcome("store")), (2, "unchanged", "unchanged"));
    let conflict = stack.run(&application, &environment, &workload("front", "two")).await.failed("parameters_conflict");
    let detail = conflict.operation("store")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains(&format!("{application}/back")), "{detail}");
    let mut workloads: Vec<_> = stack.consumers(&front.resource_id("store")).await;
    workloads.sort_by_key(|consumer| consumer["workload"].to_string());
    let names: Vec<_> = workloads.iter().map(|consumer| &consumer["workload"]).collect();
    assert_eq!(names, ["back", "front"]);

    let gone = stack.teardown(&application, &environment).await.succeeded();
    assert_eq!(gone.operations().len(), 4, "{:#}", gone.0);
    let mut effects: Vec<_> = gone.operations().iter().filter_map(|operation| operation["effect"].as_str()).collect();
    effects.sort_unstable();
    assert_eq!(effects, ["destroyed", "destroyed", "destroyed", "released"]);
    stack.delete(&format!("/v1/environments/{environment}")).await.expect(204);
}

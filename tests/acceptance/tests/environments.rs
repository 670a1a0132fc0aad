//! Environments and applications: what may be changed and ended while something is there.

use conductor_acceptance::{SLOW, Stack, unique};
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

//! Resources that Conductor did not make: used, never changed, never destroyed.

use conductor_acceptance::{Answer, Stack, unique};
use reqwest::Method;
use serde_json::{Value, json};

fn file(resources: Value) -> String {
    json!({"resources": resources}).to_string()
}

/// Registers a database of a type for which there is no template.
async fn register(stack: &Stack, environment: &str, more: Value) -> Answer {
    let mut body = json!({
        "environment": environment,
        "existingResourceId": unique("arn"),
        "outputs": {"host": "db.local", "port": 5432, "password": {"value": "hunter2-outside", "sensitive": true}},
    });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    stack.post("/v1/resources", &body).await
}

#[tokio::test]
async fn a_registered_resource_is_shown_with_its_outputs_and_keeps_its_secrets() {
    let stack = Stack::load();
    let (environment, kind) = (stack.environment().await, unique("type"));
    let made =
        register(&stack, &environment, json!({"type": kind, "class": "large", "parameters": {"tier": "gold"}})).await;
    let made = made.expect(201);
    assert_eq!(stack.follow(made.header("location")).await.expect(200).text("id"), made.text("id"));
    let shown = stack.resource(&made.text("id")).await;
    for (name, expect) in [
        ("type", json!(kind)),
        ("class", json!("large")),
        ("status", json!("Active")),
        ("environment", json!(environment)),
        ("parameters", json!({"tier": "gold"})),
        ("templateVersion", Value::Null),
        ("createdBy", Value::Null),
        ("consumers", json!([])),
    ] {
        assert_eq!(shown[name], expect, "{name}");
    }
    assert!(shown["existingResourceId"].as_str().is_some_and(|id| id.starts_with("arn-")), "{shown:#}");
    let outputs = json!({
        "host": {"value": "db.local", "sensitive": false},
        "port": {"value": 5432, "sensitive": false},
        "password": {"value": null, "sensitive": true},
    });
    assert_eq!(shown["outputs"], outputs);
    let asked = stack.get(&format!("/v1/resources/{}/outputs/password", made.text("id"))).await.expect(200);
    assert_eq!(asked.body, json!({"value": "hunter2-outside", "sensitive": true}));
    assert!(!shown.to_string().contains("hunter2"), "{shown:#}");
}

#[tokio::test]
async fn a_registered_resource_is_used_by_id_and_by_name_and_outlives_everybody() {
    let stack = Stack::load();
    let (environment, kind, name) = (stack.environment().await, unique("type"), unique("db"));
    let id = register(&stack, &environment, json!({"type": kind, "name": name})).await.expect(201).text("id");
    let references = [json!({"mode": "existing", "id": id}), json!({"mode": "shared", "name": name})];
    let applications = [unique("app"), unique("app")];
    for (application, reference) in applications.iter().zip(references) {
        let score = file(json!({
            "db": {"type": kind, "reference": reference},
            "reader": {"type": "note", "params": {
                "text": "${resources.db.host}:${resources.db.port}", "secret": "${resources.db.password}",
            }},
        }));
        let done = stack.run(application, &environment, &score).await.succeeded();
        assert_eq!((done.outcome("db"), done.attempts("db"), done.resource_id("db")), ("linked", 0, id.clone()));
        let reader = stack.resource(&done.resource_id("reader")).await;
        assert_eq!(reader["parameters"], json!({"text": "db.local:5432", "secret": null}), "{reference}");
        let secret = stack.get(&format!("/v1/resources/{}/outputs/secret", done.resource_id("reader"))).await;
        assert_eq!(secret.expect(200).body["value"], "hunter2-outside");
        for more in [json!({}), json!({"refresh": true, "upgrade": true})] {
            let again = stack.run_with(application, &environment, &score, more).await.succeeded();
            assert_eq!((again.outcome("db"), again.attempts("db")), ("unchanged", 0), "{:#}", again.0);
        }
    }
    let path = format!("/v1/resources/{id}");
    stack.delete(&path).await.is_problem(409, "resource_in_use");
    for (application, effect) in applications.iter().zip(["released", "retained"]) {
        let gone = stack.teardown(application, &environment).await.succeeded();
        assert_eq!((gone.outcome("db"), gone.attempts("db")), (effect, 0), "{:#}", gone.0);
    }
    assert_eq!(stack.resource(&id).await["status"], "Active");
    stack.delete(&format!("/v1/environments/{environment}")).await.is_problem(409, "environment_in_use");
    stack.delete(&path).await.expect(204);
    stack.delete(&path).await.is_problem(404, "resource_not_found");
    stack.delete(&format!("/v1/environments/{environment}")).await.expect(204);
}

#[tokio::test]
async fn other_parameters_than_the_registered_ones_are_refused_and_an_unknown_output_too() {
    let stack = Stack::load();
    let (environment, kind, name) = (stack.environment().await, unique("type"), unique("db"));
    let more = json!({"type": kind, "name": name, "parameters": {"tier": "gold"}});
    register(&stack, &environment, more).await.expect(201);
    let score = |tier: &str| {
        file(json!({"db": {"type": kind, "reference": {"mode": "shared", "name": name}, "params": {"tier": tier}}}))
    };
    let same = stack.run(&unique("app"), &environment, &score("gold")).await.succeeded();
    assert_eq!(same.outcome("db"), "linked");
    let foretold = stack.foretell(&unique("app"), &environment, &score("silver")).await;
    foretold.foretells("db", "conflict");
    let failed = stack.run(&unique("app"), &environment, &score("silver")).await.failed("resource_external");
    assert_eq!(failed.attempts("db"), 0);

    let wrong = file(json!({
        "db": {"type": kind, "reference": {"mode": "shared", "name": name}},
        "reader": {"type": "note", "params": {"text": "${resources.db.colour}"}},
    }));
    let refused = stack.refused(&unique("app"), &environment, &wrong).await;
    refused.points_at("an unknown output", 422, "placeholder_invalid", "/resources/reader/params/text");
    let other_type = file(json!({"db": {"type": "note", "reference": {"mode": "shared", "name": name}}}));
    stack.run(&unique("app"), &environment, &other_type).await.failed("type_conflict");
}

#[tokio::test]
async fn what_is_known_already_is_not_registered_again_until_it_is_forgotten() {
    let stack = Stack::load();
    let (environment, kind, name, arn) = (stack.environment().await, unique("type"), unique("db"), unique("arn"));
    let named = json!({"type": kind, "name": name});
    let id = register(&stack, &environment, named.clone()).await.expect(201).text("id");
    register(&stack, &environment, named.clone()).await.is_problem(409, "resource_exists");
    let unnamed = json!({"type": kind, "existingResourceId": arn});
    register(&stack, &environment, unnamed.clone()).await.expect(201);
    register(&stack, &environment, unnamed.clone()).await.is_problem(409, "resource_exists");
    let elsewhere = stack.environment().await;
    register(&stack, &elsewhere, unnamed).await.expect(201);

    let taken = unique("taken");
    let shared = file(json!({"one": {"type": "note", "reference": {"mode": "shared", "name": taken}}}));
    stack.run(&unique("app"), &environment, &shared).await.succeeded();
    let again = register(&stack, &environment, json!({"type": "note", "name": taken})).await;
    again.is_problem(409, "resource_exists");

    stack.delete(&format!("/v1/resources/{id}")).await.expect(204);
    assert_eq!(stack.resource(&id).await["status"], "Deleted");
    let anew = register(&stack, &environment, named).await.expect(201);
    assert_ne!(anew.text("id"), id);
}

#[tokio::test]
async fn a_registered_resource_is_published_and_has_consumers_like_any_other() {
    let stack = Stack::load();
    let (here, there, kind) = (stack.environment().await, stack.environment().await, unique("type"));
    let id = register(&stack, &there, json!({"type": kind})).await.expect(201).text("id");
    let score = file(json!({"db": {"type": kind, "reference": {"mode": "existing", "id": id}}}));
    stack.refused(&unique("app"), &here, &score).await.is_problem(422, "resource_unusable");
    stack.patch(&format!("/v1/resources/{id}"), &json!({"published": true})).await.expect(200);
    let application = unique("app");
    stack.run(&application, &here, &score).await.succeeded();
    let path = format!("/v1/resources/{id}/consumers");
    let added = stack.post(&path, &json!({"environment": here, "application": unique("api")})).await.expect(201);
    assert_eq!(stack.teardown(&application, &here).await.succeeded().outcome("db"), "released");
    stack.delete(&format!("{path}/{}", added.text("id"))).await.expect(204);
    assert_eq!(stack.resource(&id).await["status"], "Active");
}

#[tokio::test]
async fn a_registration_that_breaks_a_rule_is_refused_at_its_place() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let check = async |more: Value, status: u16, code: &str, pointer: &str| {
        let what = more.to_string();
        register(&stack, &environment, more).await.points_at(&what, status, code, pointer);
    };
    check(json!({"type": "db", "environment": unique("nowhere")}), 422, "environment_unknown", "/environment").await;
    check(json!({"type": "no type"}), 400, "name_invalid", "/type").await;
    check(json!({"type": "db", "existingResourceId": ""}), 400, "body_invalid", "/existingResourceId").await;
    check(json!({"type": "db", "name": "x".repeat(256)}), 400, "body_invalid", "/name").await;
    let long = json!({"type": "db", "outputs": {"host": "x".repeat(65_537)}});
    register(&stack, &environment, long).await.is_problem(413, "output_too_large");
    register(&stack, &environment, json!({"type": "db", "colour": "red"})).await.is_problem(400, "body_invalid");
    assert!(stack.all(&format!("/v1/resources?environment={environment}")).await.is_empty());
}

#[tokio::test]
async fn the_same_request_with_the_same_key_registers_once() {
    let stack = Stack::load();
    let body = json!({
        "environment": stack.environment().await,
        "type": "note",
        "existingResourceId": unique("arn"),
        "outputs": {"text": "there"},
    });
    let key = unique("key");
    let post = async |body: &Value| stack.json(Method::POST, "/v1/resources", &[("idempotency-key", &key)], body).await;
    let first = post(&body).await.expect(201);
    assert_eq!(post(&body).await.expect(201).text("id"), first.text("id"));
    let mut other = body.clone();
    other["existingResourceId"] = json!(unique("arn"));
    post(&other).await.is_problem(422, "idempotency_key_reused");
    stack.post("/v1/resources", &body).await.is_problem(409, "resource_exists");

    let consumer = json!({"environment": body["environment"], "application": unique("app")});
    let path = format!("/v1/resources/{}/consumers", first.text("id"));
    let key = unique("key");
    let post = async || stack.json(Method::POST, &path, &[("idempotency-key", &key)], &consumer).await;
    let added = post().await.expect(201).text("id");
    assert_eq!(post().await.expect(201).text("id"), added);
    stack.post(&path, &consumer).await.expect(200);
    assert_eq!(stack.consumers(&first.text("id")).await.len(), 1);
}

//! State backends other than the stack's own bucket.

#[path = "../../../shared/terraform/tests/state_server/mod.rs"]
mod state_server;

use std::path::Path;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use conductor_acceptance::{Aws, Stack, TINY, unique};
use serde_json::{Value, json};
use state_server::StateServer;

/// `conductor:hunter2-http`, as basic authentication has it.
const AUTHORIZATION: &str = "Basic Y29uZHVjdG9yOmh1bnRlcjItaHR0cA==";
const PASSWORD: &str = "hunter2-http";

async fn environment(stack: &Stack, backend: &Value) -> String {
    let name = unique("env");
    let made = stack.put(&format!("/v1/environments/{name}"), &json!({"backend": backend})).await.expect(201);
    assert_eq!(made.body["backend"]["type"], backend["type"]);
    name
}

/// The path on the server of a resource's state, and the state as it is there.
async fn kept(stack: &Stack, server: &StateServer, id: &str) -> (String, Value) {
    let place = stack.resource(id).await["stateLocation"].clone();
    let location = place["location"].as_str().expect("a location");
    assert_eq!(place["backend"], "http");
    assert!(location.starts_with(&format!("{}/states/", server.url())) && location.ends_with(id), "{location}");
    let path = location.strip_prefix(&server.url()).expect("a path on the server").to_owned();
    let state = server.state(&path).unwrap_or_else(|| panic!("the server has no state at {path}"));
    (path, serde_json::from_str(&state).expect("a state is JSON"))
}

fn secrets(stack: &Stack) -> aws_sdk_secretsmanager::Client {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let credentials = Credentials::new("test", "test", None, None, "stack.json");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(stack.value("region").to_owned()))
        .endpoint_url(stack.value("awsEndpointUrl"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http)
        .build();
    aws_sdk_secretsmanager::Client::new(&config)
}

#[tokio::test]
async fn a_state_is_made_changed_and_emptied_on_an_http_server() {
    let stack = Stack::load();
    let server = StateServer::start(None);
    let backend = json!({"type": "http", "address": format!("{}/states", server.url())});
    let (application, environment) = (unique("app"), environment(&stack, &backend).await);
    let tiny = stack.template(TINY).await;
    let score = |text: &str| {
        format!(
            "resources:\n  one: {{type: {tiny}, params: {{text: {text}}}}}\n  two: {{type: note, params: {{secret: hidden}}}}\n"
        )
    };
    let first = stack.run(&application, &environment, &score("before")).await.succeeded();
    let (one, two) = (first.resource_id("one"), first.resource_id("two"));
    let (path, state) = kept(&stack, &server, &one).await;
    assert_eq!(state["outputs"]["text"]["value"], "before");
    let hidden = stack.get(&format!("/v1/resources/{two}/outputs/secret")).await.expect(200);
    assert_eq!(hidden.body["value"], "hidden", "read from the state on the server");

    let second = stack.run(&application, &environment, &score("after")).await.succeeded();
    assert_eq!((second.outcome("one"), second.resource_id("one")), ("updated", one.clone()));
    assert_eq!(kept(&stack, &server, &one).await.1["outputs"]["text"]["value"], "after");

    let other = json!({"backend": {"type": "http", "address": "https://states.example.com"}});
    for body in [other, json!({})] {
        let changed = stack.put(&format!("/v1/environments/{environment}"), &body).await;
        changed.is_problem(409, "environment_in_use");
    }

    stack.teardown(&application, &environment).await.succeeded();
    let left: Value = serde_json::from_str(&server.state(&path).expect("a state")).expect("JSON");
    assert_eq!((&left["resources"], &left["outputs"]), (&json!([]), &json!({})));
    assert_eq!(server.locks(), 0);
    assert!(server.count("LOCK") >= 5, "each run took the lock");
}

#[tokio::test]
async fn a_backends_credentials_come_from_a_secret_and_show_nowhere() {
    let stack = Stack::load();
    let server = StateServer::start(Some(AUTHORIZATION));
    let (client, environment) = (secrets(&stack), unique("env"));
    let secret = format!("conductor/default/{environment}/http");
    let content = json!({"username": "conductor", "password": PASSWORD}).to_string();
    client.create_secret().name(&secret).secret_string(content).send().await.expect("the secret is made");
    let address = format!("{}/states", server.url());
    let backend = json!({"type": "http", "address": address, "credentialsSecret": secret});
    let path = format!("/v1/environments/{environment}");
    stack.put(&path, &json!({"backend": backend})).await.expect(201);
    let mut other = backend.clone();
    other["credentialsSecret"] = json!("conductor/default/another/http");
    let refused = stack.put(&path, &json!({"backend": other})).await;
    refused.points_at("another's secret", 400, "body_invalid", "/backend/credentialsSecret");
    let (application, tiny) = (unique("app"), stack.template(TINY).await);
    let score = format!("resources: {{one: {{type: {tiny}, params: {{text: hello}}}}}}");
    let done = stack.run(&application, &environment, &score).await.succeeded();
    let (_, state) = kept(&stack, &server, &done.resource_id("one")).await;
    assert_eq!(state["outputs"]["text"]["value"], "hello");

    for text in Aws::of(&stack).records().await {
        assert!(!text.contains(PASSWORD), "{text}");
    }
    stack.teardown(&application, &environment).await.succeeded();
    let delete = client.delete_secret().secret_id(&secret).force_delete_without_recovery(true);
    delete.send().await.expect("the secret is deleted");

    let failed = stack.run(&unique("app"), &environment, &score).await.failed("credentials_refused");
    let detail = failed.operation("one")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains(&secret), "{detail}");
}

#[tokio::test]
async fn a_lock_that_somebody_holds_is_waited_for_and_named() {
    let stack = Stack::load();
    let server = StateServer::start(None);
    let backend = json!({"type": "http", "address": format!("{}/states", server.url())});
    let (application, environment) = (unique("app"), environment(&stack, &backend).await);
    let tiny = stack.template(TINY).await;
    let score = |text: &str| format!("resources: {{one: {{type: {tiny}, params: {{text: {text}}}}}}}");
    let done = stack.run(&application, &environment, &score("one")).await.succeeded();
    let (path, _) = kept(&stack, &server, &done.resource_id("one")).await;
    server.lock(&path);
    let limits = json!({"limits": {"attempts": 2}});
    stack.patch(&format!("/v1/resource-templates/{tiny}/versions/1.0.0"), &limits).await.expect(200);
    let failed = stack.run(&application, &environment, &score("two")).await;
    assert_eq!((failed.status(), failed.error()), ("TimedOut", "attempts_exhausted"), "{failed:?}");
    assert_eq!(failed.attempts("one"), 2);
    let diagnostic = &failed.operation("one")["error"]["diagnostics"][0];
    assert_eq!(diagnostic["summary"], "Error acquiring the state lock");
    assert!(diagnostic["detail"].as_str().is_some_and(|detail| detail.contains("somebody-else")), "{diagnostic}");
}

#[tokio::test]
async fn a_local_state_is_a_file_until_its_resource_is_gone() {
    let stack = Stack::load();
    let folder = std::env::temp_dir().join(unique("states"));
    let backend = json!({"type": "local", "path": folder});
    let (application, environment) = (unique("app"), environment(&stack, &backend).await);
    let tiny = stack.template(TINY).await;
    let score = format!("resources: {{one: {{type: {tiny}, params: {{text: hello}}}}}}");
    let done = stack.run(&application, &environment, &score).await.succeeded();
    let place = stack.resource(&done.resource_id("one")).await["stateLocation"].clone();
    let file = place["location"].as_str().and_then(|location| location.strip_prefix("file://"));
    let file = Path::new(file.expect("a file")).to_owned();
    assert!(file.starts_with(&folder) && file.is_file(), "{}", file.display());
    stack.teardown(&application, &environment).await.succeeded();
    assert!(!file.exists(), "{}", file.display());
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
}

#[tokio::test]
async fn a_backend_that_breaks_a_rule_is_refused_at_its_place() {
    let stack = Stack::load();
    let check = async |backend: Value, pointer: &str| {
        let name = unique("env");
        let put = stack.put(&format!("/v1/environments/{name}"), &json!({"backend": backend})).await;
        put.points_at(&backend.to_string(), 400, "body_invalid", pointer);
        stack.get(&format!("/v1/environments/{name}")).await.is_problem(404, "environment_not_found");
    };
    check(json!({"type": "gcs"}), "/backend/type").await;
    check(json!({"type": "s3", "bucket": "theirs"}), "/backend").await;
    check(json!({"type": "http", "address": "ftp://states"}), "/backend/address").await;
    check(
        json!({"type": "http", "address": "http://states.example.com", "credentialsSecret": "conductor/http"}),
        "/backend/address",
    )
    .await;
    check(json!({"type": "http", "address": "https://a", "credentialsSecret": "http"}), "/backend/credentialsSecret")
        .await;
    check(json!({"type": "local", "path": "states"}), "/backend/path").await;
    check(
        json!({"type": "remote", "organization": "o/o", "credentialsSecret": "conductor/t"}),
        "/backend/organization",
    )
    .await;
    check(
        json!({"type": "azurerm", "storageAccountName": "S", "containerName": "abc", "credentialsSecret": "conductor/a"}),
        "/backend/storageAccountName",
    )
    .await;
}

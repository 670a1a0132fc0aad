//! The manners of the API: shapes, headers, lists, waiting.

use std::time::Duration;

use conductor_acceptance::{SLOW, Stack, TINY, unique};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

#[tokio::test]
async fn the_stack_is_alive_and_ready() {
    let stack = Stack::load();
    for path in ["/health", "/ready"] {
        assert_eq!(stack.get(path).await.expect(200).body["status"], "ok");
    }
}

#[tokio::test]
async fn the_document_lists_every_route_and_every_code_as_it_is_sent() {
    let stack = Stack::load();
    let document = stack.get("/openapi.json").await.expect(200).body;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{document:#}");
    for (path, methods) in [
        ("/health", vec!["get"]),
        ("/ready", vec!["get"]),
        ("/v1/environments", vec!["get"]),
        ("/v1/environments/{environment}", vec!["delete", "get", "put"]),
        ("/v1/environments/{environment}/graph", vec!["get"]),
        ("/v1/environments/{environment}/pools", vec!["get"]),
        ("/v1/environments/{environment}/pools/{pool}", vec!["delete", "get", "put"]),
        ("/v1/applications", vec!["get"]),
        ("/v1/applications/{application}", vec!["delete", "get", "put"]),
        ("/v1/applications/{application}/environments/{environment}", vec!["delete"]),
        ("/v1/resource-templates", vec!["get"]),
        ("/v1/resource-templates/{type}/versions", vec!["get"]),
        ("/v1/resource-templates/{type}/versions/{version}", vec!["get", "patch", "put"]),
        ("/v1/deployments", vec!["get", "post"]),
        ("/v1/deployments/{id}", vec!["get"]),
        ("/v1/deployments/{id}/logs", vec!["get"]),
        ("/v1/deployments/{id}/retry", vec!["post"]),
        ("/v1/deployments/{id}/workload", vec!["get"]),
        ("/v1/template-policy", vec!["get", "put"]),
        ("/v1/tokens", vec!["get", "post"]),
        ("/v1/tokens/{id}", vec!["delete", "get"]),
        ("/v1/sessions", vec!["delete"]),
        ("/v1/principal", vec!["get"]),
        ("/v1/resources", vec!["get", "post"]),
        ("/v1/resources/{id}", vec!["delete", "get", "patch"]),
        ("/v1/resources/{id}/consumers", vec!["post"]),
        ("/v1/resources/{id}/consumers/{consumer}", vec!["delete"]),
        ("/v1/resources/{id}/impact", vec!["get"]),
        ("/v1/resources/{id}/outputs/{name}", vec!["get"]),
        ("/v1/audit-events", vec!["get"]),
    ] {
        let item = document["paths"][path].as_object().unwrap_or_else(|| panic!("{path} is not in the document"));
        for method in methods {
            assert!(item.contains_key(method), "{method} {path}");
        }
    }
    let codes = document["components"]["schemas"]["Code"]["enum"].as_array().expect("codes");
    for code in ["body_invalid", "would_replace", "environment_in_use", "idempotency_key_reused", "pool_unknown"] {
        assert!(codes.iter().any(|known| known == code), "{code} is not in {codes:?}");
    }
    let statuses = &document["components"]["schemas"]["DeploymentStatus"]["enum"];
    assert_eq!(*statuses, json!(["Pending", "InProgress", "Succeeded", "Failed", "Cancelled", "TimedOut"]));
}

#[tokio::test]
async fn a_problem_has_type_title_status_detail_code_and_the_id_of_its_request() {
    let stack = Stack::load();
    let name = unique("nowhere");
    let answer = stack.get(&format!("/v1/environments/{name}")).await;
    answer.is_problem(404, "environment_not_found");
    let problem = &answer.body;
    assert_eq!(problem["status"], 404);
    assert!(answer.text("type").contains("environment_not_found") && !answer.text("title").is_empty());
    assert!(answer.text("detail").contains(&name));
    assert_eq!(answer.text("requestId"), answer.header("x-request-id"));
    stack.get("/v1/nothing").await.is_problem(404, "route_not_found");
    stack.delete("/v1/deployments").await.is_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn the_gateways_own_errors_are_problems_too() {
    let stack = Stack::load();
    let answer = stack.send(Method::OPTIONS, "/v1/environments", &[], Vec::new()).await;
    answer.is_problem(403, "authentication_missing");
    assert!(!answer.text("requestId").is_empty() && !answer.text("title").is_empty());
}

#[tokio::test]
async fn a_location_can_be_followed_as_it_is() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), unique("env"));
    let made = stack.put(&format!("/v1/environments/{environment}"), &json!({})).await.expect(201);
    assert_eq!(stack.follow(made.header("location")).await.expect(200).text("name"), environment);
    let made = stack.put(&format!("/v1/applications/{application}"), &json!({})).await.expect(201);
    assert_eq!(stack.follow(made.header("location")).await.expect(200).text("name"), application);
    let body = json!({"application": application, "environment": environment, "score": "resources: {}"});
    let made = stack.post("/v1/deployments", &body).await.expect(202);
    assert_eq!(stack.follow(made.header("location")).await.expect(200).text("id"), made.text("id"));
    let gone = stack.delete(&format!("/v1/applications/{application}/environments/{environment}")).await.expect(202);
    assert_eq!(stack.follow(gone.header("location")).await.expect(200).text("id"), gone.text("id"));
}

#[tokio::test]
async fn a_change_under_if_match_happens_to_that_version_alone() {
    let stack = Stack::load();
    let path = format!("/v1/environments/{}", stack.environment().await);
    let first = stack.get(&path).await.expect(200).header("etag").to_owned();
    assert!(first.starts_with('"') && first.ends_with('"') && first.len() > 2, "{first}");
    let put = async |tag: &str, kind: &str| {
        stack.json(Method::PUT, &path, &[("if-match", tag)], &json!({"type": kind})).await
    };
    let changed = put(&first, "one").await.expect(200);
    assert_ne!(changed.header("etag"), first);
    assert_eq!(stack.get(&path).await.header("etag"), changed.header("etag"));
    put(&first, "two").await.is_problem(412, "precondition_failed");
    put("*", "three").await.expect(200);
    put("nonsense", "four").await.is_problem(400, "header_invalid");
    assert_eq!(stack.get(&path).await.text("type"), "three");
    stack.send(Method::DELETE, &path, &[("if-match", &first)], Vec::new()).await.is_problem(412, "precondition_failed");
    let last = stack.get(&path).await.header("etag").to_owned();
    stack.send(Method::DELETE, &path, &[("if-match", &last)], Vec::new()).await.expect(204);
    put("*", "five").await.is_problem(412, "precondition_failed");
    stack.get(&path).await.is_problem(404, "environment_not_found");
}

#[tokio::test]
async fn a_patch_honours_if_match() {
    let stack = Stack::load();
    let path = format!("/v1/resource-templates/{}/versions/1.0.0", stack.template(TINY).await);
    let first = stack.get(&path).await.expect(200).header("etag").to_owned();
    let patch = async |tag: &str, state: &str| {
        stack.json(Method::PATCH, &path, &[("if-match", tag)], &json!({"state": state})).await
    };
    patch(&first, "Deprecated").await.expect(200);
    patch(&first, "Active").await.is_problem(412, "precondition_failed");
    assert_eq!(stack.get(&path).await.text("state"), "Deprecated");
}

#[tokio::test]
async fn an_idempotency_key_gives_the_same_deployment_again_and_none_to_another_request() {
    let stack = Stack::load();
    let (application, environment, key) = (unique("app"), stack.environment().await, unique("key"));
    let body = json!({"application": application, "environment": environment, "score": "resources: {}"});
    let post = async |body: &Value| {
        stack.json(Method::POST, "/v1/deployments", &[("idempotency-key", key.as_str())], body).await
    };
    let first = post(&body).await.expect(202);
    stack.finished(&first.text("id")).await.succeeded();
    let again = post(&body).await.expect(202);
    assert_eq!((again.text("id"), again.header("location")), (first.text("id"), first.header("location")));
    let other =
        json!({"application": application, "environment": environment, "score": "resources: {}", "prune": false});
    post(&other).await.is_problem(422, "idempotency_key_reused");
    assert_eq!(stack.all(&format!("/v1/deployments?application={application}")).await.len(), 1);
}

#[tokio::test]
async fn a_list_read_one_at_a_time_has_everything_once_and_the_newest_first() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let id = stack.deploy(&unique("app"), &environment, "resources: {}").await;
        stack.finished(&id).await.succeeded();
        made.insert(0, id);
    }
    let path = format!("/v1/deployments?environment={environment}");
    let (mut found, mut cursor) = (Vec::new(), String::new());
    while found.len() < made.len() {
        let page = stack.get(&format!("{path}&limit=1{cursor}")).await.expect(200);
        let items = page.body["items"].as_array().expect("items");
        assert!(items.len() <= 1, "{:#}", page.body);
        found.extend(items.iter().filter_map(|item| item["id"].as_str()).map(str::to_owned));
        let next = page.body["nextCursor"].as_str();
        assert!(next.is_some() || found.len() == made.len(), "the list ended early: {found:?}");
        cursor = next.map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    assert_eq!(found, made);
    let all: Vec<_> = stack.all(&path).await.iter().map(|item| item["id"].clone()).collect();
    assert_eq!(all, made);

    let cursor = stack.get("/v1/deployments?limit=1").await.expect(200).text("nextCursor");
    stack.get(&format!("/v1/environments?cursor={cursor}")).await.is_problem(400, "cursor_invalid");
}

#[tokio::test]
async fn waiting_ends_with_a_change_of_status_or_with_its_time() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let slow = stack.template(SLOW).await;
    let score = format!("resources: {{one: {{type: {slow}, params: {{seconds: 6}}}}}}");
    let id = stack.deploy(&application, &environment, &score).await;
    stack.until(&id, "in progress", |deployment| deployment.status() == "InProgress").await;
    let wait = async |seconds: u32| {
        let began = Instant::now();
        let answer = stack.get(&format!("/v1/deployments/{id}?wait={seconds}")).await.expect(200);
        (answer.text("status"), began.elapsed())
    };
    let (status, took) = wait(1).await;
    assert!(status == "InProgress" && took >= Duration::from_secs(1), "{status} after {took:?}");
    let (status, took) = wait(25).await;
    assert!(status == "Succeeded" && took < Duration::from_secs(20), "{status} after {took:?}");
    let (status, took) = wait(25).await;
    assert!(status == "Succeeded" && took < Duration::from_secs(5), "{status} after {took:?}");
}

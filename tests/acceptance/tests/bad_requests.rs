//! A bad request gets problem+json with a stable code and the place, and changes nothing.

use conductor_acceptance::{Stack, unique};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_json_body_that_breaks_a_rule_is_refused_with_the_place() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    for (what, more, status, code, pointer) in [
        ("an unknown field", json!({"colour": "red"}), 400, "body_invalid", "/colour"),
        ("a text for a truth", json!({"prune": "yes"}), 400, "body_invalid", "/prune"),
        ("a number in a list of names", json!({"allowReplace": ["one", 2]}), 400, "body_invalid", "/allowReplace/1"),
        ("a number as the file", json!({"score": 5}), 400, "body_invalid", "/score"),
        ("a text as metadata", json!({"metadata": "x"}), 400, "body_invalid", "/metadata"),
        ("an unknown choice", json!({"queue": "jump"}), 400, "body_invalid", "/queue"),
        ("a long application", json!({"application": "x".repeat(64)}), 400, "name_invalid", "/application"),
        ("an application in capitals", json!({"application": "Orders"}), 400, "name_invalid", "/application"),
        ("a wrong environment", json!({"environment": "-x"}), 400, "name_invalid", "/environment"),
        (
            "an unknown environment",
            json!({"environment": unique("nowhere")}),
            422,
            "environment_unknown",
            "/environment",
        ),
    ] {
        let application = unique("app");
        let mut body = json!({"application": application, "environment": environment, "score": "resources: {}"});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        stack.post("/v1/deployments", &body).await.points_at(what, status, code, pointer);
        stack.knows_nothing_of(&application).await;
    }
    assert!(stack.all(&format!("/v1/deployments?environment={environment}")).await.is_empty());
}

#[tokio::test]
async fn an_environment_that_breaks_a_rule_is_refused_with_the_place() {
    let stack = Stack::load();
    for (what, body, pointer) in [
        ("an unknown field", json!({"colour": "red"}), "/colour"),
        ("a number as region", json!({"region": 5}), "/region"),
        ("no role", json!({"credentials": {"role": "x"}}), "/credentials/role"),
        ("a wrong time", json!({"expiresAt": "soon"}), "/expiresAt"),
        ("a wrong version", json!({"defaults": {"note": {"version": "one"}}}), "/defaults/note/version"),
        ("a list", json!([]), ""),
        ("a text", json!("x"), ""),
    ] {
        let path = format!("/v1/environments/{}", unique("env"));
        stack.put(&path, &body).await.points_at(what, 400, "body_invalid", pointer);
        stack.get(&path).await.is_problem(404, "environment_not_found");
    }
}

#[tokio::test]
async fn a_path_query_header_or_media_type_that_breaks_a_rule_is_refused() {
    let stack = Stack::load();
    let long = format!("/v1/environments/{}", "x".repeat(64));
    let wait = format!("/v1/deployments/{}?wait=26", uuid::Uuid::now_v7());
    for (path, code) in [
        ("/v1/deployments/none", "id_invalid"),
        ("/v1/resources/none", "id_invalid"),
        ("/v1/resources/none/outputs/text", "id_invalid"),
        ("/v1/environments/Capital", "name_invalid"),
        ("/v1/applications/-x", "name_invalid"),
        (long.as_str(), "name_invalid"),
        ("/v1/resource-templates/note/versions/one", "version_invalid"),
        ("/v1/deployments?colour=red", "query_invalid"),
        ("/v1/deployments?status=Done", "query_invalid"),
        ("/v1/deployments?environment=Capital", "query_invalid"),
        ("/v1/resources?application=orders", "query_invalid"),
        ("/v1/audit-events?deployment=none", "query_invalid"),
        ("/v1/audit-events?day=today", "query_invalid"),
        (wait.as_str(), "query_invalid"),
    ] {
        let answer = stack.get(path).await;
        assert_eq!(answer.body["code"], code, "{path}");
        answer.is_problem(400, code);
    }
    for list in ["deployments", "environments", "applications", "resources", "resource-templates", "audit-events"] {
        stack.get(&format!("/v1/{list}?cursor=nonsense")).await.is_problem(400, "cursor_invalid");
        for limit in ["0", "101", "-1", "x"] {
            stack.get(&format!("/v1/{list}?limit={limit}")).await.is_problem(400, "query_invalid");
        }
        stack.get(&format!("/v1/{list}?limit=1")).await.expect(200);
        stack.get(&format!("/v1/{list}?limit=100")).await.expect(200);
    }

    let body = json!({"environment": "any", "score": "resources: {}"});
    let key = "k".repeat(256);
    let long_key = stack.json(Method::POST, "/v1/deployments", &[("idempotency-key", key.as_str())], &body).await;
    long_key.is_problem(400, "header_invalid");
    let xml = stack.send(Method::POST, "/v1/deployments", &[("content-type", "text/xml")], b"<a/>".to_vec()).await;
    xml.is_problem(415, "media_type_unsupported");
    let json = [("content-type", "application/json")];
    for text in ["", "{", "{} x", "[]", "null", "\"x\""] {
        let answer = stack.send(Method::POST, "/v1/deployments", &json, text.into()).await;
        answer.is_problem(400, "body_invalid");
    }
}

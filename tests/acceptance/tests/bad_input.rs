//! A bad Score file gets problem+json with a stable code and the place, and changes nothing.

use conductor_acceptance::{Answer, Stack, unique};
use reqwest::Method;
use serde_json::json;

/// Checks status, code and the pointer of the first error.
#[track_caller]
fn check(what: &str, answer: &Answer, status: u16, code: &str, pointer: &str) {
    let found = (answer.status, answer.body["code"].as_str(), answer.body["errors"][0]["pointer"].as_str());
    assert_eq!(found, (status, Some(code), Some(pointer)), "{what}: {:#}", answer.body);
    answer.is_problem(status, code);
}

/// Checks that a refused deployment left no trace of its application.
async fn nothing_is_left_of(stack: &Stack, application: &str) {
    stack.get(&format!("/v1/applications/{application}")).await.is_problem(404, "application_not_found");
    assert!(stack.all(&format!("/v1/deployments?application={application}")).await.is_empty(), "{application}");
}

/// What it is; the Score file; status, code, pointer; what the detail must say.
type File = (&'static str, String, u16, &'static str, &'static str, &'static str);

fn files() -> Vec<File> {
    let one = |text: &str| format!("resources:\n  one: {{type: note, {text}}}\n");
    let long = "x".repeat(64);
    vec![
        ("an unknown key", one("colour: red"), 422, "score_invalid", "/resources/one/colour", "colour"),
        ("a duplicate key", one("params: {text: a, text: b}"), 422, "score_invalid", "/resources/one/params/text", "twice"),
        ("an unknown type", "resources: {one: {type: nothing}}".into(), 422, "resource_type_unknown", "/resources/one/type", "nothing"),
        ("no type", "resources: {one: {params: {}}}".into(), 422, "score_invalid", "/resources/one", "type"),
        ("an unknown parameter", one("params: {colour: red}"), 422, "parameters_invalid", "/resources/one/params/colour", "colour"),
        ("an ill-typed parameter", one("params: {generation: [1]}"), 422, "parameters_invalid", "/resources/one/params/generation", "number"),
        ("an ill-typed part", one("params: {tags: {a: [1]}}"), 422, "parameters_invalid", "/resources/one/params/tags/a", "string"),
        ("an unknown root", one("params: {text: '${nobody.text}'}"), 422, "placeholder_invalid", "/resources/one/params/text", "nobody"),
        ("an unknown resource", one("params: {text: '${resources.nobody.text}'}"), 422, "placeholder_invalid", "/resources/one/params/text", "nobody"),
        ("an unknown output", "resources: {one: {type: note}, two: {type: note, params: {text: '${one.colour}'}}}".into(), 422, "placeholder_invalid", "/resources/two/params/text", "colour"),
        ("unknown metadata", one("params: {text: '${metadata.colour}'}"), 422, "placeholder_invalid", "/resources/one/params/text", "colour"),
        ("an unknown dependency", one("dependsOn: [nobody]"), 422, "score_invalid", "/resources/one/dependsOn/0", "nobody"),
        ("a cycle", "resources: {a: {type: note, params: {text: '${b.text}'}}, b: {type: note, dependsOn: [c]}, c: {type: note, dependsOn: [a]}}".into(), 422, "dependency_cycle", "/resources/a", "a → b → c → a"),
        ("a cycle of one", "resources: {a: {type: note, dependsOn: [a]}}".into(), 422, "dependency_cycle", "/resources/a", "a → a"),
        ("a long workload", format!("metadata: {{name: {long}}}\nresources: {{}}"), 422, "score_invalid", "/metadata/name", "63"),
        ("a long shared name", one(&format!("reference: {{mode: shared, name: {long}}}")), 422, "score_invalid", "/resources/one/reference/name", "63"),
        ("a name with spaces", "resources: {'a b/c': {type: note}}".into(), 422, "score_invalid", "/resources/a b~1c", "63"),
        ("a mode to come", one("sharing: always"), 422, "sharing_mode_unavailable", "/resources/one", "one"),
        ("long parameters", one(&format!("params: {{text: {}}}", "x".repeat(65_536))), 413, "parameters_too_large", "/resources/one/params", "64 KiB"),
        ("a list", "[]".into(), 422, "score_invalid", "", ""),
        ("two documents", "resources: {}\n---\nresources: {}\n".into(), 422, "yaml_invalid", "", ""),
    ]
}

#[tokio::test]
async fn a_score_file_that_breaks_a_rule_is_refused_with_the_place() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    for (what, score, status, code, pointer, says) in files() {
        let application = unique("app");
        let body = json!({"application": application, "environment": environment, "score": score});
        let answer = stack.post("/v1/deployments", &body).await;
        check(what, &answer, status, code, pointer);
        assert!(answer.text("detail").contains(says), "{what}: {:#}", answer.body);
        nothing_is_left_of(&stack, &application).await;
    }
    assert!(stack.all(&format!("/v1/resources?environment={environment}")).await.is_empty());
}

#[tokio::test]
async fn a_missing_parameter_is_refused_with_its_name() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let template =
        stack.template("variable \"size\" {\n  type = number\n}\noutput \"size\" {\n  value = var.size\n}\n").await;
    let score = format!("resources: {{one: {{type: {template}}}}}");
    let body = json!({"application": application, "environment": environment, "score": score});
    let answer = stack.post("/v1/deployments", &body).await;
    check("a missing parameter", &answer, 422, "parameters_invalid", "/resources/one/params");
    assert!(answer.text("detail").contains("size"), "{:#}", answer.body);
    nothing_is_left_of(&stack, &application).await;
}

#[tokio::test]
async fn yaml_that_does_not_parse_is_refused_with_line_and_column() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let path = format!("/v1/deployments?application={application}&environment={environment}");
    let yaml = b"resources:\n  one: {type: note\n  two: ]\n".to_vec();
    let answer = stack.send(Method::POST, &path, &[("content-type", "application/yaml")], yaml).await;
    check("broken YAML", &answer, 422, "yaml_invalid", "");
    let error = &answer.body["errors"][0];
    assert_eq!((&error["line"], error["column"].is_u64()), (&json!(3), true), "{error:#}");
    nothing_is_left_of(&stack, &application).await;
}

#[tokio::test]
async fn what_breaks_a_rule_in_yaml_has_its_line_and_column_too() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let score = "resources:\n  one: {type: note}\n  two:\n    type: note\n\n  one: {type: note}\n";
    let body = json!({"application": unique("app"), "environment": environment, "score": score});
    let answer = stack.post("/v1/deployments", &body).await;
    check("a duplicate key", &answer, 422, "score_invalid", "/resources/one");
    let error = &answer.body["errors"][0];
    assert_eq!((&error["code"], &error["line"], &error["column"]), (&json!("duplicate_key"), &json!(6), &json!(3)));
}

#[tokio::test]
async fn a_body_over_256_kib_is_refused_and_one_of_256_kib_is_not() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let path = format!("/v1/deployments?application={application}&environment={environment}");
    let yaml = [("content-type", "application/yaml")];
    let file = |size: usize| format!("{:<size$}", "resources: {}\n#").into_bytes();
    stack.send(Method::POST, &path, &yaml, file(262_145)).await.is_problem(413, "body_too_large");
    let score = String::from_utf8(file(262_145)).expect("text");
    let body = json!({"application": application, "environment": environment, "score": score});
    stack.post("/v1/deployments", &body).await.is_problem(413, "body_too_large");
    nothing_is_left_of(&stack, &application).await;
    stack.send(Method::POST, &path, &yaml, file(262_144)).await.expect(202);
}

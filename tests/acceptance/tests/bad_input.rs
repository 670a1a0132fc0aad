//! A bad Score file gets problem+json with a stable code and the place, and changes nothing.

use conductor_acceptance::{Stack, unique};
use reqwest::Method;
use serde_json::json;

const CYCLE: &str = "
resources:
  a: {type: note, params: {text: '${b.text}'}}
  b: {type: note, dependsOn: [c]}
  c: {type: note, dependsOn: [a]}
";
const NO_SUCH_OUTPUT: &str = "
resources:
  one: {type: note}
  two: {type: note, params: {text: '${one.colour}'}}
";

/// An id that no resource has.
const NOWHERE: &str = "01900000-0000-7000-8000-000000000000";
const REFERENCE: &str = "/resources/one/reference/id";

/// The Score file; code, pointer, and what the detail must say.
fn files() -> Vec<(String, &'static str, &'static str, &'static str)> {
    let one = |text: &str| format!("resources:\n  one: {{type: note, {text}}}\n");
    let all = |text: &str| format!("resources: {{{text}}}");
    let long = "x".repeat(64);
    vec![
        (one("colour: red"), "score_invalid", "/resources/one/colour", "colour"),
        (one("params: {text: a, text: b}"), "score_invalid", "/resources/one/params/text", "twice"),
        (all("one: {type: nothing}"), "resource_type_unknown", "/resources/one/type", "nothing"),
        (all("one: {params: {}}"), "score_invalid", "/resources/one", "type"),
        (one("params: {colour: red}"), "parameters_invalid", "/resources/one/params/colour", "colour"),
        (one("params: {generation: [1]}"), "parameters_invalid", "/resources/one/params/generation", "number"),
        (one("params: {tags: {a: [1]}}"), "parameters_invalid", "/resources/one/params/tags/a", "string"),
        (one("params: {text: '${nobody.text}'}"), "placeholder_invalid", "/resources/one/params/text", "nobody"),
        (
            one("params: {text: '${resources.nobody.id}'}"),
            "placeholder_invalid",
            "/resources/one/params/text",
            "nobody",
        ),
        (one("params: {text: '${metadata.colour}'}"), "placeholder_invalid", "/resources/one/params/text", "colour"),
        (NO_SUCH_OUTPUT.to_owned(), "placeholder_invalid", "/resources/two/params/text", "colour"),
        (one("dependsOn: [nobody]"), "score_invalid", "/resources/one/dependsOn/0", "nobody"),
        (CYCLE.to_owned(), "dependency_cycle", "/resources/a", "a → b → c → a"),
        (all("a: {type: note, dependsOn: [a]}"), "dependency_cycle", "/resources/a", "a → a"),
        (format!("metadata: {{name: {long}}}\nresources: {{}}"), "score_invalid", "/metadata/name", "63"),
        (
            one(&format!("reference: {{mode: shared, name: {long}}}")),
            "score_invalid",
            "/resources/one/reference/name",
            "63",
        ),
        (all("'a b/c': {type: note}"), "score_invalid", "/resources/a b~1c", "63"),
        (one("sharing: always, pool: spare"), "score_invalid", "/resources/one/sharing", "`pool`"),
        (one("pool: nobody"), "pool_unknown", "/resources/one/pool", "pool"),
        (one("reference: {mode: existing, id: mine}"), "score_invalid", "/resources/one/reference/id", "UUID"),
        (one(&format!("reference: {{mode: existing, id: {NOWHERE}}}")), "resource_unusable", REFERENCE, NOWHERE),
        (one("movedFrom: one"), "score_invalid", "/resources/one/movedFrom", "already"),
        (one("matching: {matchOn: [colour]}"), "parameters_invalid", "/resources/one/matching/matchOn", "colour"),
        (one("matching: {matchOn: [secret]}"), "parameters_invalid", "/resources/one/matching/matchOn", "sensitive"),
        ("[]".to_owned(), "score_invalid", "", "map"),
        ("resources: {}\n---\nresources: {}\n".to_owned(), "yaml_invalid", "", ""),
    ]
}

#[tokio::test]
async fn a_score_file_that_breaks_a_rule_is_refused_with_the_place() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    for (score, code, pointer, says) in files() {
        let application = unique("app");
        let body = json!({"application": application, "environment": environment, "score": score});
        let answer = stack.post("/v1/deployments", &body).await;
        answer.points_at(&score, 422, code, pointer);
        assert!(answer.text("detail").contains(says), "{score}: {:#}", answer.body);
        stack.knows_nothing_of(&application).await;
    }
    assert!(stack.all(&format!("/v1/resources?environment={environment}")).await.is_empty());
}

#[tokio::test]
async fn parameters_over_64_kib_are_refused() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let score = format!("resources: {{one: {{type: note, params: {{text: {}}}}}}}", "x".repeat(65_536));
    let body = json!({"application": application, "environment": environment, "score": score});
    let answer = stack.post("/v1/deployments", &body).await;
    answer.points_at("long parameters", 413, "parameters_too_large", "/resources/one/params");
    stack.knows_nothing_of(&application).await;
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
    answer.points_at("a missing parameter", 422, "parameters_invalid", "/resources/one/params");
    assert!(answer.text("detail").contains("size"), "{:#}", answer.body);
    stack.knows_nothing_of(&application).await;
}

#[tokio::test]
async fn yaml_that_does_not_parse_is_refused_with_line_and_column() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let path = format!("/v1/deployments?application={application}&environment={environment}");
    let yaml = b"resources:\n  one: {type: note\n  two: ]\n".to_vec();
    let answer = stack.send(Method::POST, &path, &[("content-type", "application/yaml")], yaml).await;
    answer.points_at("broken YAML", 422, "yaml_invalid", "");
    let error = &answer.body["errors"][0];
    assert_eq!((&error["line"], error["column"].is_u64()), (&json!(3), true), "{error:#}");
    stack.knows_nothing_of(&application).await;
}

#[tokio::test]
async fn what_breaks_a_rule_in_yaml_has_its_line_and_column_too() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let score = "resources:\n  one: {type: note}\n  two:\n    type: note\n\n  one: {type: note}\n";
    let body = json!({"application": unique("app"), "environment": environment, "score": score});
    let answer = stack.post("/v1/deployments", &body).await;
    answer.points_at("a duplicate key", 422, "score_invalid", "/resources/one");
    let error = &answer.body["errors"][0];
    assert_eq!((&error["code"], &error["line"], &error["column"]), (&json!("duplicate_key"), &json!(6), &json!(3)));
}

#[tokio::test]
async fn a_body_over_256_kib_is_refused_and_one_of_256_kib_is_not() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let path = format!("/v1/deployments?application={application}&environment={environment}");
    let yaml = [("content-type", "application/yaml")];
    let file = |size: usize| {
        let head = "resources: {}\n#";
        format!("{head}{}", "x".repeat(size - head.len())).into_bytes()
    };
    stack.send(Method::POST, &path, &yaml, file(262_145)).await.is_problem(413, "body_too_large");
    let score = String::from_utf8(file(262_145)).expect("text");
    let body = json!({"application": application, "environment": environment, "score": score});
    stack.post("/v1/deployments", &body).await.is_problem(413, "body_too_large");
    stack.knows_nothing_of(&application).await;
    stack.send(Method::POST, &path, &yaml, file(262_144)).await.expect(202);
}

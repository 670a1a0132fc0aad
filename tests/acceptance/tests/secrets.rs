//! What is sensitive is read by asking for it, and shows nowhere else.

use conductor_acceptance::{Aws, Stack, unique};
use serde_json::{Value, json};

#[tokio::test]
async fn a_sensitive_value_and_all_that_it_touches_show_nowhere_but_where_it_is_asked_for() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let secret = unique("secret");
    let score = format!(
        "resources:\n  keeper: {{type: note, params: {{secret: {secret}}}}}\n  \
         user: {{type: note, params: {{text: 'with ${{keeper.secret}}'}}}}\n  \
         heir: {{type: note, params: {{text: '${{user.text}}'}}}}\n"
    );
    let done = stack.run(&application, &environment, &score).await.succeeded();
    let keeper = stack.resource(&done.resource_id("keeper")).await;
    assert_eq!(keeper["parameters"]["secret"], Value::Null);
    assert_eq!(keeper["outputs"]["secret"], json!({"value": null, "sensitive": true}));
    for name in ["user", "heir"] {
        let resource = stack.resource(&done.resource_id(name)).await;
        assert_eq!(resource["parameters"]["text"], Value::Null, "{name}");
        assert_eq!(resource["outputs"]["text"], json!({"value": null, "sensitive": true}), "{name}");
    }
    let asked = stack.get(&format!("/v1/resources/{}/outputs/text", done.resource_id("heir"))).await.expect(200);
    assert_eq!(asked.body, json!({"value": format!("with {secret}"), "sensitive": true}));

    let mut seen = vec![done.0.to_string()];
    for path in [
        format!("/v1/deployments?application={application}"),
        format!("/v1/applications/{application}"),
        format!("/v1/resources?environment={environment}"),
        format!("/v1/resources/{}", done.resource_id("keeper")),
        format!("/v1/resources/{}", done.resource_id("user")),
        format!("/v1/resources/{}", done.resource_id("heir")),
        format!("/v1/audit-events?deployment={}", done.id()),
        format!("/v1/audit-events?resource={}", done.resource_id("keeper")),
    ] {
        seen.push(stack.get(&path).await.expect(200).body.to_string());
    }
    for text in seen.iter().chain(&Aws::of(&stack).records().await) {
        assert!(!text.contains(&secret), "{text}");
    }
}

#[tokio::test]
async fn reading_a_sensitive_output_is_audited() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let score = "resources: {one: {type: note, params: {secret: hidden}}}";
    let done = stack.run(&application, &environment, score).await.succeeded();
    let id = done.resource_id("one");
    let reads = async || {
        let events = stack.all(&format!("/v1/audit-events?resource={id}")).await;
        events.iter().filter(|event| event["action"] == "output.read").count()
    };
    stack.get(&format!("/v1/resources/{id}/outputs/text")).await.expect(200);
    assert_eq!(reads().await, 0);
    stack.get(&format!("/v1/resources/{id}/outputs/secret")).await.expect(200);
    assert_eq!(reads().await, 1);
    stack.get(&format!("/v1/resources/{id}/outputs/nothing")).await.is_problem(404, "output_not_found");
}

#[tokio::test]
async fn a_secret_in_terraforms_own_words_is_masked() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let template = r#"
variable "secret" {
  type      = string
  sensitive = true
}
resource "terraform_data" "this" {
  lifecycle {
    precondition {
      condition     = var.secret == ""
      error_message = "not ${nonsensitive(var.secret)} again"
    }
  }
}
"#;
    let (template, secret) = (stack.template(template).await, unique("secret"));
    let score = format!("resources: {{one: {{type: {template}, params: {{secret: {secret}}}}}}}");
    let failed = stack.run(&application, &environment, &score).await.failed("terraform_failed");
    let told = failed.0["error"]["diagnostics"][0]["detail"].as_str().expect("a diagnostic");
    assert!(told.starts_with("not ") && told.ends_with(" again"), "{told}");
    assert!(!failed.0.to_string().contains(&secret), "{:#}", failed.0);
}

//! What fails says why, stops what depends on it and nothing else, and can be gone on with.

use conductor_acceptance::{Stack, unique};

fn chain(fail: bool) -> String {
    format!(
        "resources:\n  first: {{type: note, params: {{text: one, fail: {fail}}}}}\n  \
         second: {{type: note, params: {{text: '${{first.text}}'}}}}\n  \
         third: {{type: note, dependsOn: [second]}}\n  apart: {{type: note}}\n"
    )
}

#[tokio::test]
async fn a_failure_skips_its_dependents_and_a_corrected_file_goes_on_with_the_same_resource() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let failed = stack.run(&application, &environment, &chain(true)).await.failed("terraform_failed");
    assert_eq!((failed.outcome("first"), failed.attempts("first")), ("Failed", 1));
    assert_eq!((failed.outcome("second"), failed.attempts("second")), ("Skipped", 0));
    assert_eq!((failed.outcome("third"), failed.outcome("apart")), ("Skipped", "created"));
    let error = &failed.operation("first")["error"];
    assert_eq!((error["code"].as_str(), error["during"].as_str()), (Some("terraform_failed"), Some("create")));
    assert_eq!(error["diagnostics"][0]["detail"], "This note was asked to fail (fail = true).");
    let id = failed.resource_id("first");
    assert_eq!(stack.resource(&id).await["status"], "Failed");

    let done = stack.run(&application, &environment, &chain(false)).await.succeeded();
    assert_eq!((done.outcome("first"), done.outcome("apart")), ("created", "unchanged"));
    assert_eq!(done.resource_id("first"), id);
    assert_eq!(stack.resource(&id).await["status"], "Active");
}

#[tokio::test]
async fn a_failed_update_leaves_what_was_there_to_go_on_with() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let first = stack.run(&application, &environment, &chain(false)).await.succeeded();
    let failed = stack.run(&application, &environment, &chain(true)).await.failed("terraform_failed");
    assert_eq!(failed.operation("first")["error"]["during"], "update");
    let resource = stack.resource(&first.resource_id("first")).await;
    assert_eq!(resource["status"], "Failed");
    assert_eq!(resource["outputs"]["text"]["value"], "one");

    let done = stack.run(&application, &environment, &chain(false)).await.succeeded();
    assert_eq!((done.outcome("first"), done.outcome("second")), ("updated", "unchanged"));
    assert_eq!(done.resource_id("first"), first.resource_id("first"));
}

#[tokio::test]
async fn a_failed_deployment_can_be_torn_down() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let failed = stack.run(&application, &environment, &chain(true)).await.failed("terraform_failed");
    let gone = stack.teardown(&application, &environment).await.succeeded();
    for name in ["first", "apart"] {
        assert_eq!(gone.outcome(name), "destroyed", "{name}");
        assert_eq!(stack.resource(&failed.resource_id(name)).await["status"], "Deleted", "{name}");
    }
    stack.delete(&format!("/v1/environments/{environment}")).await.expect(204);
}

#[tokio::test]
async fn an_output_over_its_limit_fails_the_operation() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let template = r#"
variable "kibibytes" {
  type = number
}
resource "terraform_data" "this" {}
output "long" {
  value = join("", [for i in range(var.kibibytes) : format("%01024d", 0)])
}
"#;
    let template = stack.template(template).await;
    let score = |size: u32| format!("resources: {{one: {{type: {template}, params: {{kibibytes: {size}}}}}}}");
    let failed = stack.run(&application, &environment, &score(65)).await.failed("output_too_large");
    assert!(failed.0["error"]["detail"].as_str().is_some_and(|detail| detail.contains("long")), "{:#}", failed.0);
    let done = stack.run(&application, &environment, &score(60)).await.succeeded();
    assert_eq!(done.resource_id("one"), failed.resource_id("one"));
}

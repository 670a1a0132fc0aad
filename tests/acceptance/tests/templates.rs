//! Resource templates: published once, immutable, and what their versions mean for resources.

use conductor_acceptance::{Stack, TINY, sdk_config, template_zip, unique};
use reqwest::Method;
use serde_json::{Value, json};

/// A version of a template with one text, whose output says which version made it.
fn version(number: &str) -> String {
    format!("{TINY}\noutput \"made_by\" {{\n  value = \"{number}\"\n}}\n")
}

async fn publish(stack: &Stack, name: &str, versions: &[&str]) {
    for number in versions {
        stack.publish(name, number, &[("main.tf", version(number).as_str())]).await.expect(201);
    }
}

async fn set(stack: &Stack, name: &str, version: &str, state: &str) -> Value {
    let path = format!("/v1/resource-templates/{name}/versions/{version}");
    stack.patch(&path, &json!({"state": state})).await.expect(200).body
}

#[tokio::test]
async fn a_published_version_shows_the_interface_that_its_module_declares() {
    let stack = Stack::load();
    let (name, archive) = (unique("type"), template_zip(&[("main.tf", INTERFACE)]));
    let made = stack.publish_archive(&name, "1.2.3", archive).await.expect(201);
    assert_eq!(made.body["template"], name.as_str());
    assert_eq!((&made.body["version"], &made.body["state"]), (&json!("1.2.3"), &json!("Active")));
    assert_eq!(made.text("sha256").len(), 64);
    assert_eq!(made.text("engineVersion"), ">= 1.9");
    let inputs = &made.body["inputs"];
    assert_eq!((&inputs["size"]["type"], &inputs["size"]["required"]), (&json!("number"), &json!(true)));
    assert_eq!((&inputs["key"]["sensitive"], &inputs["key"]["required"]), (&json!(true), &json!(false)));
    assert_eq!(inputs["size"]["description"], "How much.");
    assert_eq!(made.body["outputs"]["key"]["sensitive"], true);
    assert_eq!(stack.follow(made.header("location")).await.expect(200).body, made.body);
    let versions = stack.get(&format!("/v1/resource-templates/{name}/versions")).await.expect(200);
    assert_eq!(versions.body["items"], json!([made.body]));
}

const INTERFACE: &str = r#"
terraform {
  required_version = ">= 1.9"
}
variable "size" {
  description = "How much."
  type        = number
}
variable "key" {
  type      = string
  default   = ""
  sensitive = true
}
output "size" {
  value = var.size
}
output "key" {
  value     = var.key
  sensitive = true
}
"#;

#[tokio::test]
async fn a_published_version_is_immutable() {
    let stack = Stack::load();
    let name = unique("type");
    let first = stack.publish(&name, "1.0.0", &[("main.tf", TINY)]).await.expect(201);
    let same = stack.publish(&name, "1.0.0", &[("main.tf", TINY)]).await.expect(200);
    assert_eq!(same.body, first.body);
    let other = stack.publish(&name, "1.0.0", &[("main.tf", version("other").as_str())]).await;
    other.is_problem(409, "template_version_exists");
    let kept = stack.get(&format!("/v1/resource-templates/{name}/versions/1.0.0")).await.expect(200);
    assert_eq!(kept.body["sha256"], first.body["sha256"]);
}

#[tokio::test]
async fn what_was_not_published_is_not_run() {
    let stack = Stack::load();
    let (environment, name) = (stack.environment().await, unique("type"));
    // Archives lie under their digest: this one is nobody else's.
    let published = stack.publish(&name, "1.0.0", &[("main.tf", version(&name).as_str())]).await.expect(201);
    let config = aws_sdk_s3::config::Builder::from(&sdk_config(&stack)).force_path_style(true).build();
    let put = aws_sdk_s3::Client::from_conf(config).put_object().bucket(stack.value("artifactBucket"));
    let planted = template_zip(&[("main.tf", version("planted").as_str())]);
    let put = put.key(format!("templates/{}.zip", published.text("sha256"))).body(planted.into());
    put.send().await.expect("the archive is replaced");
    let score = format!("resources: {{one: {{type: {name}, params: {{text: hello}}}}}}");
    let failed = stack.run(&unique("app"), &environment, &score).await.failed("template_invalid");
    let detail = failed.operation("one")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains("is not what was published"), "{detail}");
}

#[tokio::test]
async fn a_new_resource_takes_the_newest_version_and_an_existing_one_keeps_its_own() {
    let stack = Stack::load();
    let (application, environment, name) = (unique("app"), stack.environment().await, unique("type"));
    publish(&stack, &name, &["1.9.0"]).await;
    let score = |text: &str| format!("resources: {{one: {{type: {name}, params: {{text: {text}}}}}}}");
    let first = stack.run(&application, &environment, &score("a")).await.succeeded();
    let id = first.resource_id("one");
    publish(&stack, &name, &["1.10.0"]).await;

    let unchanged = stack.run(&application, &environment, &score("a")).await.succeeded();
    assert_eq!(unchanged.outcome("one"), "unchanged");
    let updated = stack.run(&application, &environment, &score("b")).await.succeeded();
    assert_eq!(updated.outcome("one"), "updated");
    assert_eq!(stack.resource(&id).await["templateVersion"], "1.9.0");
    let other = stack.run(&unique("app"), &environment, &score("b")).await.succeeded();
    assert_eq!(stack.resource(&other.resource_id("one")).await["templateVersion"], "1.10.0");

    let upgraded = stack.run_with(&application, &environment, &score("b"), json!({"upgrade": true})).await.succeeded();
    assert_eq!(upgraded.outcome("one"), "updated");
    assert_eq!(stack.resource(&id).await["templateVersion"], "1.10.0");
    assert_eq!(stack.resource(&id).await["outputs"]["made_by"]["value"], "1.10.0");
}

#[tokio::test]
async fn a_file_may_pin_a_version() {
    let stack = Stack::load();
    let (application, environment, name) = (unique("app"), stack.environment().await, unique("type"));
    publish(&stack, &name, &["1.0.0", "1.1.0"]).await;
    let score = |version: &str| format!("resources: {{one: {{type: {name}, templateVersion: {version}}}}}");
    for version in ["1.0.0", "1.1.0"] {
        let done = stack.run(&application, &environment, &score(version)).await.succeeded();
        let resource = stack.resource(&done.resource_id("one")).await;
        assert_eq!(resource["templateVersion"], version);
        assert_eq!(resource["outputs"]["made_by"]["value"], version);
    }
    let body = json!({"application": application, "environment": environment, "score": score("9.9.9")});
    stack.post("/v1/deployments", &body).await.is_problem(422, "template_version_unknown");
}

#[tokio::test]
async fn a_deprecated_version_makes_no_new_resources_and_existing_ones_go_on() {
    let stack = Stack::load();
    let (application, environment, name) = (unique("app"), stack.environment().await, unique("type"));
    publish(&stack, &name, &["1.0.0", "1.1.0"]).await;
    let score = |text: &str| format!("resources: {{one: {{type: {name}, params: {{text: {text}}}}}}}");
    let pinned = format!("resources: {{one: {{type: {name}, templateVersion: 1.1.0}}}}");
    let id = stack.run(&application, &environment, &score("a")).await.succeeded().resource_id("one");
    assert_eq!(set(&stack, &name, "1.1.0", "Deprecated").await["state"], "Deprecated");

    let done = stack.run(&application, &environment, &score("b")).await.succeeded();
    assert_eq!((done.outcome("one"), done.resource_id("one")), ("updated", id.clone()));
    assert_eq!(stack.resource(&id).await["templateVersion"], "1.1.0");
    let other = stack.run(&unique("app"), &environment, &score("b")).await.succeeded();
    assert_eq!(stack.resource(&other.resource_id("one")).await["templateVersion"], "1.0.0");
    stack.run(&unique("app"), &environment, &pinned).await.failed("template_deprecated");

    set(&stack, &name, "1.1.0", "Active").await;
    let again = stack.run(&unique("app"), &environment, &pinned).await.succeeded();
    assert_eq!(again.outcome("one"), "created");
}

#[tokio::test]
async fn a_template_with_deprecated_versions_alone_still_serves_the_resources_that_it_has() {
    let stack = Stack::load();
    let (application, environment, name) = (unique("app"), stack.environment().await, unique("type"));
    publish(&stack, &name, &["1.0.0"]).await;
    let score = |text: &str| format!("resources: {{one: {{type: {name}, params: {{text: {text}}}}}}}");
    let id = stack.run(&application, &environment, &score("a")).await.succeeded().resource_id("one");
    set(&stack, &name, "1.0.0", "Deprecated").await;
    let done = stack.run(&application, &environment, &score("b")).await.succeeded();
    assert_eq!((done.outcome("one"), done.resource_id("one")), ("updated", id));
}

#[tokio::test]
async fn a_version_says_which_program_runs_it() {
    let stack = Stack::load();
    let (name, archive) = (unique("type"), template_zip(&[("main.tf", TINY)]));
    let put = async |query: &str| {
        let path = format!("/v1/resource-templates/{name}/versions/1.0.0{query}");
        let zip = [("content-type", "application/zip")];
        stack.send(Method::PUT, &path, &zip, archive.clone()).await
    };
    put("?engine=pulumi").await.is_problem(400, "query_invalid");
    let made = put("?engine=tofu").await.expect(201);
    assert_eq!(made.body["engine"], "tofu");
    put("").await.is_problem(409, "template_version_exists");
    assert_eq!(put("?engine=tofu").await.expect(200).body, made.body);
}

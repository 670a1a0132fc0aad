//! Credentials of environments for other clouds: a secret, whose variables are there for the environment's own runs alone.

use std::path::PathBuf;

use conductor_acceptance::{Aws, Stack, TINY, sdk_config, unique};
use serde_json::{Value, json};

const SECRET: &str = "hunter2-for-another-cloud";
/// Writes what it finds in terraform's environment into a file, and says it.
const TELLS: &str = r#"
variable "file" {
  type = string
}
resource "terraform_data" "this" {
  provisioner "local-exec" {
    command = "printf '%s' \"$ARM_CLIENT_SECRET\" > '${var.file}'; echo \"it is $ARM_CLIENT_SECRET.\""
  }
}
"#;
/// A template that needs the AWS provider.
const AWS_ONLY: &str = r#"
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
resource "terraform_data" "this" {}
"#;

/// An environment whose secret has this content.
struct Cloud {
    client: aws_sdk_secretsmanager::Client,
    environment: String,
    arn: String,
}

impl Cloud {
    async fn of(stack: &Stack, content: &Value) -> Self {
        let client = aws_sdk_secretsmanager::Client::new(&sdk_config(stack));
        let environment = unique("env");
        let name = format!("conductor/default/{environment}/cloud");
        let made = client.create_secret().name(name).secret_string(content.to_string()).send().await;
        let arn = made.expect("the secret is made").arn().expect("a secret has an ARN").to_owned();
        let credentials = json!({"credentials": {"secretArn": arn}});
        stack.put(&format!("/v1/environments/{environment}"), &credentials).await.expect(201);
        Self { client, environment, arn }
    }

    async fn delete(self) {
        let delete = self.client.delete_secret().secret_id(&self.arn).force_delete_without_recovery(true);
        delete.send().await.expect("the secret is deleted");
    }
}

/// What a run in an environment finds, and the id of its deployment.
async fn found(stack: &Stack, kind: &str, environment: &str) -> (String, String) {
    let file: PathBuf = std::env::temp_dir().join(unique("variable"));
    let score = json!({"resources": {"one": {"type": kind, "params": {"file": file}}}}).to_string();
    let done = stack.run(&unique("app"), environment, &score).await.succeeded();
    let text = std::fs::read_to_string(&file).expect("the program has written the file");
    std::fs::remove_file(&file).expect("the file can be removed");
    (text, done.id().to_owned())
}

#[tokio::test]
async fn variables_of_a_secret_are_there_for_its_environment_alone_and_show_nowhere() {
    let stack = Stack::load();
    let cloud = Cloud::of(&stack, &json!({"ARM_CLIENT_SECRET": SECRET})).await;
    let (other, kind) = (stack.environment().await, stack.template(TELLS).await);
    let (text, id) = found(&stack, &kind, &cloud.environment).await;
    assert_eq!(text, SECRET);
    assert_eq!(found(&stack, &kind, &other).await.0, "");

    let log = stack.get(&format!("/v1/deployments/{id}/logs?limit=1000")).await.expect(200).body;
    let said: Vec<&str> =
        log["items"].as_array().expect("a page").iter().filter_map(|line| line["message"].as_str()).collect();
    assert!(said.iter().any(|line| line.contains("it is (sensitive).")), "{said:#?}");
    assert!(!log.to_string().contains(SECRET), "{said:#?}");
    for text in Aws::of(&stack).records().await {
        assert!(!text.contains(SECRET), "{text}");
    }
    cloud.delete().await;
}

#[tokio::test]
async fn a_secret_that_would_decide_over_terraform_is_refused_by_the_variables_name() {
    let stack = Stack::load();
    let tiny = stack.template(TINY).await;
    let score = format!("resources: {{one: {{type: {tiny}, params: {{text: hello}}}}}}");
    let check = async |content: Value, says: &str| {
        let cloud = Cloud::of(&stack, &content).await;
        let failed = stack.run(&unique("app"), &cloud.environment, &score).await.failed("credentials_refused");
        let detail = failed.operation("one")["error"]["detail"].as_str().expect("a detail");
        assert!(detail.contains(says) && detail.contains(&cloud.arn), "{detail}");
        assert!(!detail.contains(SECRET), "{detail}");
        cloud.delete().await;
    };
    check(json!({"ARM_CLIENT_ID": "id", "PATH": SECRET}), "PATH cannot be set").await;
    check(json!({"TF_CLI_ARGS": SECRET}), "TF_CLI_ARGS cannot be set").await;
    check(json!({"ARM_CLIENT_ID": [SECRET]}), "ARM_CLIENT_ID must be a text").await;
    check(json!(SECRET), "not a JSON object").await;
}

#[tokio::test]
async fn credentials_that_break_a_rule_are_refused_at_their_place() {
    let stack = Stack::load();
    let check = async |credentials: Value, pointer: &str| {
        let path = format!("/v1/environments/{}", unique("env"));
        let put = stack.put(&path, &json!({"credentials": credentials})).await;
        put.points_at(&credentials.to_string(), 400, "body_invalid", pointer);
        stack.get(&path).await.is_problem(404, "environment_not_found");
    };
    let region = stack.value("region");
    let arn = |name: &str| format!("arn:aws:secretsmanager:{region}:000000000000:secret:{name}");
    check(json!({}), "/credentials").await;
    check(json!({"externalId": "x"}), "/credentials").await;
    check(json!({"secretArn": arn("conductor/default/another/cloud")}), "/credentials/secretArn").await;
    check(json!({"secretArn": arn("conductor/other/env/cloud")}), "/credentials/secretArn").await;
    check(json!({"secretArn": arn("database")}), "/credentials/secretArn").await;
    check(json!({"secretArn": "conductor/default/env/cloud"}), "/credentials/secretArn").await;
}

#[tokio::test]
async fn an_environment_with_a_secret_alone_has_no_role_in_aws() {
    let stack = Stack::load();
    let cloud = Cloud::of(&stack, &json!({"ARM_CLIENT_SECRET": SECRET})).await;
    let (aws, tiny) = (stack.template(AWS_ONLY).await, stack.template(TINY).await);
    let score = format!("resources: {{one: {{type: {tiny}, params: {{text: hello}}}}}}");
    stack.run(&unique("app"), &cloud.environment, &score).await.succeeded();
    let score = format!("resources: {{one: {{type: {aws}}}}}");
    let failed = stack.run(&unique("app"), &cloud.environment, &score).await.failed("credentials_refused");
    let detail = failed.operation("one")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains("credentials.roleArn"), "{detail}");
    cloud.delete().await;
}

#[tokio::test]
async fn an_environment_that_names_conductors_own_state_role_gets_no_session_of_it() {
    let stack = Stack::load();
    let environment = unique("env");
    let role = stack.value("workerRoleArn").replace("-worker-", "-state-");
    let credentials = json!({"credentials": {"roleArn": role}});
    stack.put(&format!("/v1/environments/{environment}"), &credentials).await.expect(201);
    let score = format!("resources: {{one: {{type: {}}}}}", stack.template(AWS_ONLY).await);
    let failed = stack.run(&unique("app"), &environment, &score).await.failed("credentials_refused");
    let detail = failed.operation("one")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains(&role), "{detail}");
}

//! What is sensitive is read by asking for it, and shows nowhere else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use conductor_acceptance::{Aws, Stack, time, unique};
use reqwest::Method;
use serde_json::{Value, json};

/// Says its parameter in every way that it can: in what it prints, in a key, in a warning, and in an error, which quotes
/// what it has just made, too.
const TALKS: &str = r#"
variable "secret" {
  type      = string
  sensitive = true
}
variable "generation" {
  type = number
}
variable "fail" {
  type = bool
}
locals {
  said   = nonsensitive(var.secret)
  quoted = "${terraform_data.made.input} ${base64encode(var.secret)} ${jsonencode(var.secret)}"
}
resource "terraform_data" "made" {
  input = sensitive(replace(uuid(), "-", ""))
  lifecycle {
    ignore_changes = [input]
  }
}
resource "terraform_data" "talks" {
  for_each         = toset([local.said])
  triggers_replace = var.generation
  provisioner "local-exec" {
    command = <<-EOT
      printf '%s\n' "first $PLAIN" "$JSON $BASE64 $WITHIN $URL"
      i=0
      while [ $i -lt 400 ]; do
        echo "$i ....................................................................."
        i=$((i + 1))
      done
      printf '%s\n' "again $PLAIN" >&2
    EOT
    environment = {
      PLAIN  = local.said
      JSON   = jsonencode({ secret = local.said })
      BASE64 = base64encode(local.said)
      WITHIN = base64encode(jsonencode({ user = "me", secret = local.said, host = "there" }))
      URL    = "https://me:${urlencode(local.said)}@there"
    }
  }
}
resource "terraform_data" "fails" {
  depends_on = [terraform_data.talks]
  provisioner "local-exec" {
    command = var.fail ? "echo '${local.quoted}'; exit 1" : "true"
  }
}
check "warns" {
  assert {
    condition     = var.generation < 0
    error_message = "${local.said}, ${jsonencode(local.said)}, ${base64encode(local.said)}, ${urlencode(local.said)}"
  }
}
output "made" {
  value     = terraform_data.made.input
  sensitive = true
}
output "generation" {
  value = var.generation
}
"#;

/// What of a secret would tell it: each half, and the part of a base64 text that only it decides, wherever in the text
/// it begins. It has letters and digits only, so JSON and URLs have it as it is.
fn traces(secret: &str) -> Vec<String> {
    let (half, other) = secret.split_at(secret.len() / 2);
    let mut traces = vec![half.to_owned(), other.to_owned()];
    for before in 0..3 {
        let text = [vec![0; before], secret.as_bytes().to_vec()].concat();
        let own = (8 * before).div_ceil(6)..8 * text.len() / 6;
        traces.push(STANDARD_NO_PAD.encode(&text)[own].to_owned());
    }
    traces
}

/// A whole log in one representation, with all that is said for who looks for a fault.
async fn log(stack: &Stack, id: &str, accept: &str) -> String {
    let path = format!("/v1/deployments/{id}/logs?level=debug&cursor=");
    let (mut whole, mut after) = (String::new(), String::new());
    loop {
        let headers = [("accept", accept)];
        let answer = stack.send(Method::GET, &format!("{path}{after}"), &headers, Vec::new()).await.expect(200);
        let text = answer.body.as_str().map_or_else(|| answer.body.to_string(), str::to_owned);
        let next = match accept {
            "application/json" => answer.body["nextCursor"].as_str(),
            "text/plain" => answer.header("link").split_once("cursor=").and_then(|(_, rest)| rest.split('>').next()),
            _ => text.lines().rev().find_map(|row| row.strip_prefix("id: ")).filter(|last| *last != "end"),
        };
        whole.push_str(&text);
        match next {
            Some(next) => after = next.to_owned(),
            None => return whole,
        }
    }
}

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
async fn whatever_a_template_says_no_secret_reaches_the_table_the_logs_an_answer_or_a_page() {
    let stack = Stack::load();
    let (aws, template) = (Aws::of(&stack), stack.template(TALKS).await);
    let (application, environment) = (unique("app"), stack.environment().await);
    let core = uuid::Uuid::new_v4().simple().to_string();
    let score = |generation: u32, fail: bool| {
        let secret = format!("pä \"{core}\" <&> /+%");
        let params = json!({"secret": "${keeper.secret}", "generation": generation, "fail": fail});
        let keeper = json!({"type": "note", "params": {"secret": secret}});
        json!({
            "containers": {"main": {"image": "busybox", "variables": {"SECRET": "with ${keeper.secret}"}}},
            "resources": {"keeper": keeper, "talker": {"type": template, "params": params}},
        })
        .to_string()
    };
    let failed = stack.run(&application, &environment, &score(1, true)).await.failed("terraform_failed");
    let done = stack.run(&application, &environment, &score(1, false)).await.succeeded();
    let refused = stack.run(&application, &environment, &score(2, false)).await.failed("would_replace");
    let (keeper, talker) = (done.resource_id("keeper"), done.resource_id("talker"));
    let made = stack.get(&format!("/v1/resources/{talker}/outputs/made")).await.expect(200).text("value");

    let mut seen = Vec::new();
    for deployment in [&failed, &done, &refused] {
        let id = deployment.id();
        for accept in ["application/json", "text/plain", "text/event-stream"] {
            seen.push((format!("log of {id} as {accept}"), log(&stack, id, accept).await));
        }
        let prefix = format!("deployments/{id}/log/");
        let archive = stack.eventually("the log is archived", async || {
            let objects = aws.vault(&prefix).await;
            (!objects.is_empty()).then_some(objects)
        });
        seen.extend(archive.await);
    }
    for (name, text) in seen.iter().filter(|(name, _)| name.contains(failed.id()) || name.contains(done.id())) {
        assert!(text.contains("(sensitive)"), "{name} has nothing to mask: {text}");
    }
    let said = &seen[0].1;
    for words in ["first (sensitive)", "again (sensitive)", "https://me:(sensitive)@there", "provisioner error"] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let told = refused.operation("talker")["error"]["detail"].as_str().unwrap_or_default();
    assert!(told.contains("terraform_data.talks[\"(sensitive)\"]"), "{told}");

    let mut paths = vec![
        "/".to_owned(),
        "/v1/audit-events".to_owned(),
        format!("/v1/deployments/{}/workload", done.id()),
        format!("/v1/deployments?application={application}"),
        format!("/v1/environments/{environment}/graph"),
        format!("/v1/resources/{talker}/outputs/generation"),
        format!("/v1/resources?environment={environment}"),
        format!("/environments/{environment}"),
    ];
    for id in [failed.id(), done.id(), refused.id()] {
        paths.push(format!("/deployments/{id}"));
        paths.push(format!("/v1/deployments/{id}"));
        paths.push(format!("/v1/audit-events?deployment={id}"));
    }
    for id in [keeper, talker] {
        paths.push(format!("/resources/{id}"));
        paths.push(format!("/v1/resources/{id}"));
        paths.push(format!("/v1/audit-events?resource={id}"));
    }
    for path in paths {
        let body = stack.get(&path).await.expect(200).body;
        seen.push((path, body.to_string()));
    }

    let began = time(&failed.0["createdAt"]);
    let logged = async || {
        let lines = aws.function_log(stack.function("provisioner"), began).await;
        lines.iter().any(|line| line.contains(refused.id())).then_some(())
    };
    stack.eventually("the provisioner's log tells of the last deployment", logged).await;
    for function in ["api", "provisioner", "sweeper"] {
        let lines = aws.function_log(stack.function(function), began).await;
        seen.extend(lines.into_iter().map(|line| (format!("log of the function {function}"), line)));
    }
    seen.extend(aws.records().await.into_iter().map(|record| ("the table".to_owned(), record)));
    for trace in traces(&core).iter().chain(&traces(&made)) {
        for (name, text) in &seen {
            assert!(!text.contains(trace), "{trace}, in {name}: {text}");
        }
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

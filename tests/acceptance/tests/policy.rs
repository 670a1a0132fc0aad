//! What a template does is judged when it is published: the organisation's policy denies, warns or allows, and says
//! where.
//!
//! The policy is one for all tests of the stack. Only one test changes it, and only rules that no other test needs.

use conductor_acceptance::{Answer, Stack, TINY, unique};
use reqwest::Method;
use serde_json::{Value, json};

const POLICY: &str = "/v1/template-policy";
/// A template that asks an HTTP server, in its 4th line, and needs two providers.
const ASKING: &str = r#"terraform {
  required_providers { http = { source = "hashicorp/http", version = "~> 3.4" } }
}
data "http" "page" { url = "https://example.com" }
resource "random_id" "it" { byte_length = 4 }
"#;

async fn publish(stack: &Stack, files: &[(&str, &str)]) -> (String, Answer) {
    let name = unique("type");
    let answer = stack.publish(&name, "1.0.0", files).await;
    (name, answer)
}

/// Rule, file and line of what is kept of a version.
fn findings(version: &Value) -> Vec<(String, String, u64)> {
    let text = |finding: &Value, name: &str| finding[name].as_str().expect("a text").to_owned();
    let findings = version["findings"].as_array().expect("findings").iter();
    findings
        .map(|one| {
            assert_eq!(one["action"], "warn");
            (text(one, "rule"), text(one, "file"), one["line"].as_u64().expect("a line"))
        })
        .collect()
}

#[tokio::test]
async fn what_is_denied_is_refused_with_its_file_and_line_however_it_is_written() {
    let stack = Stack::load();
    let remote = "resource \"terraform_data\" \"a\" {\n  provisioner \"remote-exec\" {\n    inline = []\n  }\n}\n";
    let remote_json = "{\"resource\":\n{\"terraform_data\": {\"a\": [{\"provisioner\":\n{\"remote-exec\": {}}}]}},\n\
                       \"resource\": {}}";
    let reading = |path: &str| format!("locals {{\n  text = <<-EOT\n    one\n    ${{file(\"{path}\")}}\n  EOT\n}}\n");
    let (credentials, environment) = (reading("credentials"), reading("/proc/self/environ"));
    let windows = environment.replace('\n', "\r\n");
    let parent = reading("${path.module}/../credentials");
    let rendering = "locals {\n  text = templatefile(\"${path.module}/a.tftpl\", {})\n}\n";
    let calling = "module \"parts\" {\n  source = \"./parts\"\n}\n";
    for (what, files, code, pointer) in [
        ("a provisioner", vec![("main.tf", remote)], "remote_exec", "main.tf:2"),
        (
            "the same in an overriding file",
            vec![("main.tf", TINY), ("x_override.tf", remote)],
            "remote_exec",
            "x_override.tf:2",
        ),
        ("the same in JSON", vec![("main.tf.json", remote_json)], "remote_exec", "main.tf.json:3"),
        (
            "the same in a called module",
            vec![("main.tf", calling), ("parts/a.tf", remote)],
            "remote_exec",
            "parts/a.tf:2",
        ),
        ("a program's data", vec![("main.tf", "data \"external\" \"a\" {\n}\n")], "external_data", "main.tf:1"),
        (
            "another's module",
            vec![("main.tf", "module \"a\" {\n  source = \"acme/a/aws\"\n}\n")],
            "module_sources",
            "main.tf:2",
        ),
        ("a file beside the module", vec![("main.tf", credentials.as_str())], "files", "main.tf:4"),
        ("a file of the machine", vec![("main.tf", environment.as_str())], "files", "main.tf:4"),
        ("the same with Windows' line ends", vec![("main.tf", windows.as_str())], "files", "main.tf:4"),
        ("a path that goes up", vec![("main.tf", parent.as_str())], "files", "main.tf:4"),
        (
            "a file that is rendered",
            vec![("main.tf", rendering), ("a.tftpl", "\n${file(\"/x\")}")],
            "files",
            "a.tftpl:2",
        ),
        ("another state", vec![("main.tf", "data \"terraform_remote_state\" \"a\" {}\n")], "files", "main.tf:1"),
    ] {
        let (name, refused) = publish(&stack, &files).await;
        refused.points_at(what, 422, "template_policy", pointer);
        let error = &refused.body["errors"][0];
        let line = pointer.rsplit(':').next().and_then(|line| line.parse::<u64>().ok());
        assert_eq!((error["code"].as_str(), error["line"].as_u64()), (Some(code), line), "{what}: {error:#}");
        stack.get(&format!("/v1/resource-templates/{name}/versions")).await.is_problem(404, "template_not_found");
    }
    let (_, several) = publish(&stack, &[("main.tf", remote), ("more.tf", credentials.as_str())]).await;
    let errors = several.body["errors"].as_array().expect("errors");
    let pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap_or_default()).collect();
    assert_eq!(pointers, ["main.tf:2", "more.tf:4"]);
}

#[tokio::test]
async fn what_terraform_could_read_in_another_way_is_refused_whatever_the_policy_says() {
    let stack = Stack::load();
    // The second heredoc's marker is not where the first one ends.
    let hidden = format!(
        "locals {{\n  a = <<X\nX\n}}\nresource \"terraform_data\" \"a\" {{\n  provisioner \"remote-exec\" {{}}\n}}\n\
         locals {{\n  b = <<X\nX\n}}\n{TINY}"
    );
    let source = "variable \"a\" {}\nmodule \"a\" {\n  source = var.a\n}\n";
    for (what, files, code) in [
        ("a heredoc that ends twice", vec![("main.tf", hidden.as_str())], "template_hcl_invalid"),
        ("an escape of an escape", vec![("main.tf", "locals {\n  a = \"$$${b}\"\n}\n")], "template_hcl_invalid"),
        ("a source that is no text", vec![("main.tf", source)], "template_module_source"),
        (
            "a module of this machine",
            vec![("main.tf", "module \"a\" {\n  source = \"file:///x\"\n}\n")],
            "template_module_source",
        ),
        (
            "keys for a provider",
            vec![("main.tf.json", r#"{"provider": {"aws": {"access_key": "x"}}, "provider": []}"#)],
            "template_provider",
        ),
        ("a place for states", vec![("main.tf", "terraform {\n  state_store \"x\" {}\n}\n")], "template_backend"),
    ] {
        let (_, refused) = publish(&stack, &files).await;
        refused.is_problem(422, "template_invalid");
        assert_eq!(refused.body["errors"][0]["code"], code, "{what}: {:#}", refused.body);
    }
}

#[tokio::test]
async fn files_of_the_module_itself_are_nobodys_business() {
    let stack = Stack::load();
    let main = format!("{TINY}\noutput \"policy\" {{\n  value = file(\"${{path.module}}/policies/read.json\")\n}}\n");
    let (_, published) = publish(&stack, &[("main.tf", main.as_str()), ("policies/read.json", "{}")]).await;
    assert_eq!(published.expect(201).body["findings"], json!([]));
}

#[tokio::test]
async fn the_organisation_says_what_is_denied_warned_of_and_allowed() {
    let stack = Stack::load();
    let before = stack.get(POLICY).await.expect(200).body;
    let put = spec(&before);
    let tried = tokio::spawn(policy_changes(put.clone())).await;
    stack.put(POLICY, &put).await.expect(200);
    tried.expect("each step is as it should be");
    assert_eq!(spec(&stack.get(POLICY).await.expect(200).body), put);
}

/// What of a policy is said by users.
fn spec(policy: &Value) -> Value {
    json!({"rules": policy["rules"], "providers": policy["providers"], "moduleSources": policy["moduleSources"]})
}

/// Puts a policy with these rules and providers in place of its own.
async fn say(stack: &Stack, own: &Value, rules: Value, providers: Value) -> Answer {
    let mut policy = own.clone();
    for (name, action) in rules.as_object().expect("rules") {
        policy["rules"][name] = action.clone();
    }
    policy["providers"] = providers;
    stack.put(POLICY, &policy).await.expect(200)
}

async fn policy_changes(own: Value) {
    let stack = Stack::load();
    let files = [("main.tf", ASKING)];

    say(&stack, &own, json!({"httpData": "warn"}), json!([])).await;
    let (warned, published) = publish(&stack, &files).await;
    let expect = [("httpData".to_owned(), "main.tf".to_owned(), 4)];
    assert_eq!(findings(&published.expect(201).body), expect);

    let first = say(&stack, &own, json!({"httpData": "deny"}), json!([])).await;
    let (_, refused) = publish(&stack, &files).await;
    refused.points_at("data from a server", 422, "template_policy", "main.tf:4");
    // What was published before stays, with what was said of it; the same again is no change.
    let again = stack.publish(&warned, "1.0.0", &files).await.expect(200);
    assert_eq!(findings(&again.body), expect);
    stack.publish(&warned, "1.1.0", &files).await.is_problem(422, "template_policy");

    let listed = json!([{"source": "registry.terraform.io/hashicorp/http", "versions": ">= 3.0, < 4.0"}]);
    say(&stack, &own, json!({"httpData": "allow", "providers": "warn"}), listed).await;
    let (_, published) = publish(&stack, &files).await;
    assert_eq!(findings(&published.expect(201).body), [("providers".to_owned(), "main.tf".to_owned(), 5)]);
    let listed = json!([{"source": "registry.terraform.io/hashicorp/http", "versions": ">= 3.5"},
        {"source": "registry.terraform.io/hashicorp/random"}]);
    let last = say(&stack, &own, json!({"httpData": "allow", "providers": "warn"}), listed).await;
    let (_, published) = publish(&stack, &files).await;
    assert_eq!(findings(&published.expect(201).body), [("providers".to_owned(), "main.tf".to_owned(), 2)]);

    let changed = [("if-match", first.header("etag"))];
    stack.json(Method::PUT, POLICY, &changed, &own).await.is_problem(412, "precondition_failed");
    let known = [("if-match", last.header("etag"))];
    stack.json(Method::PUT, POLICY, &known, &own).await.expect(200);
    for (body, pointer) in [
        (json!({"rules": {"exec": "deny"}}), "/rules/exec"),
        (json!({"rules": {"localExec": "no"}}), "/rules/localExec"),
        (json!({"providers": [{"source": "aws"}]}), "/providers/0/source"),
        (json!({"providers": [{"source": "a.example/b/c", "versions": "new"}]}), "/providers/0/versions"),
        (json!({"moduleSources": ["acme"]}), "/moduleSources/0"),
    ] {
        stack.put(POLICY, &body).await.points_at(&body.to_string(), 400, "body_invalid", pointer);
    }
    let events = stack.all("/v1/audit-events?noun=policy").await;
    let told = |event: &Value| event["action"] == "policy.changed" && event["subject"] == "templates";
    assert!(events.iter().any(told), "{events:#?}");
}

#[tokio::test]
async fn a_version_says_which_services_it_uses_and_how_far_it_is_trusted() {
    let stack = Stack::load();
    let name = stack.template(TINY).await;
    let path = format!("/v1/resource-templates/{name}/versions/1.0.0");
    let fresh = stack.get(&path).await.expect(200).body;
    assert_eq!((&fresh["services"], &fresh["untrusted"]), (&json!([]), &json!(false)));
    let said = json!({"services": ["sqs", "s3", "sqs"], "untrusted": true});
    let changed = stack.patch(&path, &said).await.expect(200).body;
    assert_eq!((&changed["services"], &changed["untrusted"]), (&json!(["s3", "sqs"]), &json!(true)));
    // What is not said stays.
    stack.patch(&path, &json!({"retain": true})).await.expect(200);
    let kept = stack.get(&path).await.expect(200).body;
    assert_eq!((&kept["services"], &kept["untrusted"]), (&changed["services"], &changed["untrusted"]));
    let too_many: Vec<String> = (0..21).map(|number| format!("service-{number}")).collect();
    for (services, pointer) in [
        (json!(["s3:*"]), "/services/0"),
        (json!(["s3", "*"]), "/services/1"),
        (json!([""]), "/services/0"),
        (json!(too_many), "/services"),
    ] {
        let refused = stack.patch(&path, &json!({"services": services})).await;
        refused.points_at(pointer, 400, "body_invalid", pointer);
    }
    let cleared = stack.patch(&path, &json!({"services": [], "untrusted": false})).await.expect(200).body;
    assert_eq!((&cleared["services"], &cleared["untrusted"]), (&json!([]), &json!(false)));
}

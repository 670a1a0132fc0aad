//! Matching: a file says what a resource must be like, and takes one that is, or makes it.

use conductor_acceptance::{Deployment, Stack, unique};
use serde_json::{Value, json};

/// A text that is matched and a word that is not.
const TWO: &str = r#"
variable "text" {
  type    = string
  default = ""
}
variable "word" {
  type    = string
  default = ""
}
resource "terraform_data" "this" {
  input = "${var.text} ${var.word}"
}
output "both" {
  value = terraform_data.this.output
}
"#;

fn file(kind: &str, matching: &Value, params: &Value) -> String {
    json!({"resources": {"one": {"type": kind, "matching": matching, "params": params}}}).to_string()
}

/// A template of which nobody else has resources: what matches beyond an environment matches for all tests.
struct Ground {
    stack: Stack,
    kind: String,
}

impl Ground {
    async fn new() -> Self {
        let stack = Stack::load();
        let kind = stack.template(TWO).await;
        Self { stack, kind }
    }

    /// Deploys a fresh application that wants a text; answers with its name and the deployment.
    async fn asks(&self, environment: &str, matching: Value, text: &str) -> (String, Deployment) {
        let application = unique("app");
        let params = json!({"text": text, "word": application});
        let score = file(&self.kind, &matching, &params);
        let done = self.stack.run(&application, environment, &score).await.succeeded();
        (application, done)
    }

    async fn again(&self, application: &str, environment: &str, matching: Value, text: &str) -> Deployment {
        let score = file(&self.kind, &matching, &json!({"text": text, "word": application}));
        self.stack.run(application, environment, &score).await.succeeded()
    }
}

#[track_caller]
fn is(done: &Deployment, effect: &str, id: &str) {
    assert_eq!((done.outcome("one"), done.resource_id("one").as_str()), (effect, id), "{:#}", done.0);
}

#[tokio::test]
async fn what_matches_on_the_named_parameters_is_taken_as_it_is() {
    let ground = Ground::new().await;
    let environment = ground.stack.environment().await;
    let on_text = || json!({"scope": "environment", "sharingPolicy": "shared", "matchOn": ["text"]});
    let (_, first) = ground.asks(&environment, on_text(), "a").await;
    assert_eq!(first.outcome("one"), "created");
    let id = first.resource_id("one");
    let (second, linked) = ground.asks(&environment, on_text(), "a").await;
    is(&linked, "linked", &id);
    assert_eq!(linked.attempts("one"), 0);
    let candidates = &linked.operation("one")["reason"]["candidates"];
    assert_eq!(candidates[0]["resource"], id.as_str(), "{:#}", linked.0);
    let (_, other) = ground.asks(&environment, on_text(), "b").await;
    assert_eq!(other.outcome("one"), "created");
    assert_ne!(other.resource_id("one"), id);
    is(&ground.again(&second, &environment, on_text(), "a").await, "unchanged", &id);
}

#[tokio::test]
async fn a_match_on_all_given_parameters_is_no_match_on_one() {
    let ground = Ground::new().await;
    let environment = ground.stack.environment().await;
    let on_both = || json!({"matchOn": ["text", "word"]});
    let (_, first) = ground.asks(&environment, on_both(), "a").await;
    let (_, second) = ground.asks(&environment, on_both(), "a").await;
    assert_eq!((first.outcome("one"), second.outcome("one")), ("created", "created"));
    let (_, any) = ground.asks(&environment, json!({}), "z").await;
    is(&any, "linked", &first.resource_id("one"));
}

#[tokio::test]
async fn a_match_reaches_as_far_as_its_scope() {
    let ground = Ground::new().await;
    let (here, there) = (ground.stack.environment().await, ground.stack.environment().await);
    let within = |scope: &str| json!({"scope": scope, "matchOn": ["text"]});
    for scope in ["environment", "organisation", "global"] {
        let (_, first) = ground.asks(&here, within(scope), "a").await;
        assert_eq!(first.outcome("one"), "created", "{scope}: what another scope made is no candidate");
        let (_, near) = ground.asks(&here, within(scope), "a").await;
        is(&near, "linked", &first.resource_id("one"));
        let (far, second) = ground.asks(&there, within(scope), "a").await;
        if scope == "environment" {
            assert_eq!(second.outcome("one"), "created");
            assert_ne!(second.resource_id("one"), first.resource_id("one"));
        } else {
            is(&second, "linked", &first.resource_id("one"));
            assert_eq!(ground.stack.resource(&second.resource_id("one")).await["environment"], here.as_str());
            is(&ground.again(&far, &there, within(scope), "a").await, "unchanged", &first.resource_id("one"));
        }
    }
}

#[tokio::test]
async fn what_a_platform_engineer_publishes_is_found_by_a_global_match_until_it_is_taken_back() {
    let ground = Ground::new().await;
    let (here, there) = (ground.stack.environment().await, ground.stack.environment().await);
    let own = json!({"resources": {"one": {"type": ground.kind, "params": {"text": "a"}}}}).to_string();
    let made = ground.stack.run(&unique("platform"), &there, &own).await.succeeded();
    let path = format!("/v1/resources/{}", made.resource_id("one"));
    ground.stack.patch(&path, &json!({"published": true})).await.expect(200);
    let global = || json!({"scope": "global", "matchOn": ["text"]});
    let (_, linked) = ground.asks(&here, global(), "a").await;
    is(&linked, "linked", &made.resource_id("one"));
    let (_, organisation) = ground.asks(&here, json!({"scope": "organisation", "matchOn": ["text"]}), "a").await;
    assert_eq!(organisation.outcome("one"), "created");

    ground.stack.patch(&path, &json!({"published": false})).await.expect(200);
    let (_, created) = ground.asks(&here, global(), "a").await;
    assert_eq!(created.outcome("one"), "created");
}

#[tokio::test]
async fn a_conditional_match_also_wants_the_version_that_a_new_resource_would_get() {
    let ground = Ground::new().await;
    let environment = ground.stack.environment().await;
    let policy = |policy: &str| json!({"sharingPolicy": policy, "matchOn": ["text"]});
    let (holder, first) = ground.asks(&environment, policy("conditional"), "a").await;
    let (_, same) = ground.asks(&environment, policy("conditional"), "a").await;
    is(&same, "linked", &first.resource_id("one"));
    let newer = format!("{TWO}\noutput \"newer\" {{\n  value = true\n}}\n");
    ground.stack.publish(&ground.kind, "1.1.0", &[("main.tf", newer.as_str())]).await.expect(201);

    let (_, strict) = ground.asks(&environment, policy("conditional"), "a").await;
    assert_eq!(strict.outcome("one"), "created");
    let refused = strict.operation("one")["reason"]["candidates"][0]["refused"].as_str().unwrap_or_default();
    assert!(refused.contains("1.0.0") && refused.contains("1.1.0"), "{:#}", strict.0);
    let (_, any) = ground.asks(&environment, policy("shared"), "a").await;
    is(&any, "linked", &first.resource_id("one"));
    is(&ground.again(&holder, &environment, policy("conditional"), "a").await, "unchanged", &first.resource_id("one"));
}

#[tokio::test]
async fn a_full_candidate_is_passed_over_and_what_is_held_is_kept_when_an_older_one_has_room_again() {
    let ground = Ground::new().await;
    let environment = ground.stack.environment().await;
    let two = || json!({"matchOn": ["text"], "maxConsumers": 2});
    let (one, first) = ground.asks(&environment, two(), "a").await;
    let (_, second) = ground.asks(&environment, two(), "a").await;
    is(&second, "linked", &first.resource_id("one"));
    let (three, third) = ground.asks(&environment, two(), "a").await;
    assert_eq!(third.outcome("one"), "created");
    assert_eq!(ground.stack.resource(&third.resource_id("one")).await["maxConsumers"], 2);

    assert_eq!(ground.stack.teardown(&one, &environment).await.succeeded().outcome("one"), "released");
    is(&ground.again(&three, &environment, two(), "a").await, "unchanged", &third.resource_id("one"));
    let (_, fourth) = ground.asks(&environment, two(), "a").await;
    is(&fourth, "linked", &first.resource_id("one"));
}

#[tokio::test]
async fn a_changed_wish_takes_another_candidate_or_makes_one_and_lets_go_of_the_old() {
    let ground = Ground::new().await;
    let environment = ground.stack.environment().await;
    let on_text = || json!({"matchOn": ["text"]});
    let (one, first) = ground.asks(&environment, on_text(), "a").await;
    let (_, other) = ground.asks(&environment, on_text(), "b").await;
    let moved = ground.again(&one, &environment, on_text(), "b").await;
    is(&moved, "linked", &other.resource_id("one"));
    let releases = moved.releases(&first.resource_id("one"));
    assert_eq!(releases.iter().map(|release| &release["effect"]).collect::<Vec<_>>(), ["destroyed"], "{:#}", moved.0);
    assert_eq!(ground.stack.resource(&first.resource_id("one")).await["status"], "Deleted");
    let made = ground.again(&one, &environment, on_text(), "c").await;
    assert_eq!(made.outcome("one"), "created");
    assert_eq!(ground.stack.consumers(&other.resource_id("one")).await.len(), 1);
}

#[tokio::test]
async fn what_matching_took_is_changed_by_a_new_wish_only_while_nobody_else_uses_it() {
    let ground = Ground::new().await;
    let (stack, environment) = (&ground.stack, ground.stack.environment().await);
    let wish = |word: &str| file(&ground.kind, &json!({"matchOn": ["text"]}), &json!({"text": "a", "word": word}));
    let (one, two) = (unique("one"), unique("two"));
    let first = stack.run(&one, &environment, &wish("first")).await.succeeded();
    let linked = stack.run(&two, &environment, &wish("second")).await.succeeded();
    is(&linked, "linked", &first.resource_id("one"));
    let refused = stack.run(&two, &environment, &wish("third")).await.failed("parameters_conflict");
    let detail = refused.operation("one")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains(&one) && detail.contains("first") && detail.contains("third"), "{detail}");
    stack.teardown(&one, &environment).await.succeeded();
    let changed = stack.run(&two, &environment, &wish("third")).await.succeeded();
    is(&changed, "updated", &first.resource_id("one"));
    assert_eq!(stack.resource(&first.resource_id("one")).await["outputs"]["both"]["value"], "a third");
}

#[tokio::test]
async fn what_another_environment_matched_stays_until_that_lets_go_of_it_too() {
    let ground = Ground::new().await;
    let (here, there) = (ground.stack.environment().await, ground.stack.environment().await);
    let wide = || json!({"scope": "organisation", "matchOn": ["text"]});
    let (one, first) = ground.asks(&here, wide(), "a").await;
    let (two, _) = ground.asks(&there, wide(), "a").await;
    assert_eq!(ground.stack.teardown(&one, &here).await.succeeded().outcome("one"), "released");
    let path = format!("/v1/environments/{here}");
    ground.stack.delete(&path).await.is_problem(409, "environment_in_use");
    assert_eq!(ground.stack.teardown(&two, &there).await.succeeded().outcome("one"), "destroyed");
    assert_eq!(ground.stack.resource(&first.resource_id("one")).await["status"], "Deleted");
    ground.stack.delete(&path).await.expect(204);
    let (_, anew) = ground.asks(&there, wide(), "a").await;
    assert_eq!(anew.outcome("one"), "created", "what is gone is no candidate");
}

#[tokio::test]
async fn a_refresh_of_what_matching_took_leaves_it_the_parameters_that_it_has() {
    let ground = Ground::new().await;
    let (stack, environment) = (&ground.stack, ground.stack.environment().await);
    let wish = |word: &str| file(&ground.kind, &json!({"matchOn": ["text"]}), &json!({"text": "a", "word": word}));
    let first = stack.run(&unique("one"), &environment, &wish("first")).await.succeeded();
    let user = unique("user");
    stack.run(&user, &environment, &wish("second")).await.succeeded();
    let again = stack.run_with(&user, &environment, &wish("second"), json!({"refresh": true})).await.succeeded();
    assert_eq!((again.attempts("one"), again.resource_id("one")), (1, first.resource_id("one")));
    assert_eq!(again.operation("one")["changes"], json!({"add": 0, "change": 0, "destroy": 0}));
    let kept = stack.resource(&first.resource_id("one")).await;
    assert_eq!((&kept["parameters"]["word"], &kept["outputs"]["both"]["value"]), (&json!("first"), &json!("a first")));
}

#[tokio::test]
async fn a_registered_resource_that_is_published_is_found_by_a_global_match_and_left_for_another() {
    let ground = Ground::new().await;
    let (stack, here, there) = (&ground.stack, ground.stack.environment().await, ground.stack.environment().await);
    let body = json!({
        "environment": there, "type": ground.kind, "existingResourceId": unique("arn"),
        "parameters": {"text": "a"}, "outputs": {"both": "from outside"},
    });
    let id = stack.post("/v1/resources", &body).await.expect(201).text("id");
    stack.patch(&format!("/v1/resources/{id}"), &json!({"published": true})).await.expect(200);
    let global = || json!({"scope": "global", "matchOn": ["text"]});
    let (application, linked) = ground.asks(&here, global(), "a").await;
    is(&linked, "linked", &id);
    is(&ground.again(&application, &here, global(), "a").await, "unchanged", &id);
    let made = ground.again(&application, &here, global(), "b").await;
    assert_eq!(made.outcome("one"), "created");
    let left = made.releases(&id);
    assert_eq!(left.iter().map(|release| &release["effect"]).collect::<Vec<_>>(), ["retained"], "{:#}", made.0);
    assert_eq!(stack.resource(&id).await["status"], "Active");
}

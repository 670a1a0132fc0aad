//! What happens when many want something at once.

use std::collections::BTreeSet;

use conductor_acceptance::{Deployment, SLOW, Stack, time, unique};
use futures::future::{join, join_all};
use reqwest::Method;
use serde_json::json;

fn shared(name: &str) -> String {
    format!("resources: {{one: {{type: note, reference: {{mode: shared, name: {name}}}}}}}")
}

#[tokio::test]
async fn deployments_of_one_application_and_environment_run_first_come_first_served() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let scores: Vec<_> =
        (0..4).map(|i| format!("resources: {{one: {{type: note, params: {{text: t{i}}}}}}}")).collect();
    let posted = join_all(scores.iter().map(|score| stack.deploy(&application, &environment, score))).await;
    let mut ended = join_all(posted.iter().map(|id| stack.finished(id))).await;
    ended.sort_by_key(|deployment| time(&deployment.0["createdAt"]));
    for pair in ended.windows(2) {
        let [before, after] = pair else { continue };
        assert_eq!(before.status(), "Succeeded", "{:#}", before.0);
        assert!(time(&before.0["completedAt"]) <= time(&after.0["startedAt"]), "{:#}\n{:#}", before.0, after.0);
    }
    let last = ended.last().expect("a deployment");
    assert_eq!((ended[0].outcome("one"), last.outcome("one")), ("created", "updated"));
    let position = posted.iter().position(|id| id == last.id()).expect("one of ours");
    assert_eq!(stack.resource(&last.resource_id("one")).await["parameters"]["text"], format!("t{position}"));
}

#[tokio::test]
async fn a_deployment_behind_another_is_pending_and_its_operations_are_not_planned() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let slow = stack.template(SLOW).await;
    let score = format!("resources: {{one: {{type: {slow}, params: {{seconds: 4}}}}}}");
    let first = stack.deploy(&application, &environment, &score).await;
    let second = stack.deploy(&application, &environment, "resources: {two: {type: note}}").await;
    let pending = stack.get(&format!("/v1/deployments/{second}")).await.expect(200).body;
    assert_eq!((pending["status"].as_str(), &pending["operations"]), (Some("Pending"), &json!([])));
    stack.finished(&first).await.succeeded();
    let second = stack.finished(&second).await.succeeded();
    assert_eq!((second.outcome("two"), second.outcome("one")), ("created", "destroyed"));
}

#[tokio::test]
async fn of_eight_applications_that_name_the_same_new_resource_one_makes_it_and_seven_link() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let applications: Vec<_> = (0..8).map(|_| unique("app")).collect();
    let score = shared(&unique("shared"));
    let done = join_all(applications.iter().map(|application| stack.run(application, &environment, &score))).await;
    let count = |outcome: &str| done.iter().filter(|deployment| deployment.outcome("one") == outcome).count();
    assert_eq!((count("created"), count("linked")), (1, 7));
    assert_eq!(done.iter().map(|deployment| deployment.attempts("one")).sum::<u64>(), 1);
    let ids: BTreeSet<_> = done.iter().map(|deployment| deployment.resource_id("one")).collect();
    let id = ids.first().expect("a resource");
    assert_eq!(ids.len(), 1);
    assert_eq!(stack.resource(id).await["consumers"].as_array().map(Vec::len), Some(8));

    let gone = join_all(applications.iter().map(|application| stack.teardown(application, &environment))).await;
    let count = |outcome: &str| gone.iter().filter(|deployment| deployment.outcome("one") == outcome).count();
    assert_eq!((count("released"), count("destroyed")), (7, 1));
    assert_eq!(stack.resource(id).await["status"], "Deleted");
}

#[tokio::test]
async fn who_links_to_a_resource_that_is_being_made_waits_for_it() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let slow = stack.template(SLOW).await;
    let score = shared(&unique("shared")).replace("type: note", &format!("type: {slow}, params: {{seconds: 8}}"));
    let first = stack.deploy(&unique("app"), &environment, &score).await;
    stack.until(&first, "Running", |it| it.operations().iter().any(|o| o["status"] == "Running")).await;
    let second = stack.deploy(&unique("app"), &environment, &score).await;
    let waits = |it: &Deployment| it.operations().iter().any(|o| o["waitingFor"] == "resource");
    stack.until(&second, "waiting for the resource", waits).await;
    let (first, second) = join(stack.finished(&first), stack.finished(&second)).await;
    assert_eq!(first.succeeded().outcome("one"), "created");
    let second = second.succeeded();
    assert_eq!((second.outcome("one"), second.attempts("one")), ("linked", 0));
}

#[tokio::test]
async fn of_one_who_joins_and_the_last_who_leaves_at_once_neither_loses() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    for _ in 0..3 {
        let (leaves, joins, score) = (unique("leaves"), unique("joins"), shared(&unique("shared")));
        let first = stack.run(&leaves, &environment, &score).await.succeeded();
        let both = join(stack.teardown(&leaves, &environment), stack.run(&joins, &environment, &score)).await;
        let (left, joined) = (both.0.succeeded(), both.1.succeeded());
        let resource = stack.resource(&joined.resource_id("one")).await;
        assert_eq!(resource["status"], "Active");
        assert_eq!(resource["consumers"].as_array().map(Vec::len), Some(1));
        match (left.outcome("one"), joined.outcome("one")) {
            ("released", "linked") => assert_eq!(joined.resource_id("one"), first.resource_id("one")),
            ("destroyed", "created") => assert_ne!(joined.resource_id("one"), first.resource_id("one")),
            other => panic!("{other:?}: {:#}\n{:#}", left.0, joined.0),
        }
    }
}

#[tokio::test]
async fn the_same_idempotency_key_many_times_at_once_is_one_deployment() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let body = json!({"application": application, "environment": environment, "score": shared(&unique("shared"))});
    let key = unique("key");
    let headers = [("idempotency-key", key.as_str())];
    let answers = join_all((0..6).map(|_| stack.json(Method::POST, "/v1/deployments", &headers, &body))).await;
    let ids: BTreeSet<_> = answers.into_iter().map(|answer| answer.expect(202).text("id")).collect();
    assert_eq!(ids.len(), 1);
    let id = ids.first().expect("a deployment");
    stack.finished(id).await.succeeded();
    assert_eq!(stack.all(&format!("/v1/deployments?application={application}")).await.len(), 1);
}

#[tokio::test]
async fn a_teardown_of_what_holds_nothing_succeeds_at_once() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    stack.put(&format!("/v1/applications/{application}"), &json!({})).await.expect(201);
    let gone = stack.teardown(&application, &environment).await.succeeded();
    assert!(gone.operations().is_empty());
}

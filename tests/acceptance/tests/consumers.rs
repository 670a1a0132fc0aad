//! Consumers that no file names, and what would be lost with a resource.

use conductor_acceptance::{Stack, unique};
use serde_json::{Value, json};

fn file(resources: Value) -> String {
    json!({"resources": resources}).to_string()
}

const NOTE: &str = "resources: {one: {type: note}}";

/// Adds an application as a consumer; answers with the consumer's path.
async fn add(stack: &Stack, id: &str, environment: &str, application: &str) -> String {
    let path = format!("/v1/resources/{id}/consumers");
    let added = stack.post(&path, &json!({"environment": environment, "application": application})).await.expect(201);
    format!("{path}/{}", added.text("id"))
}

#[tokio::test]
async fn a_consumer_of_the_api_keeps_a_resource_and_the_last_one_takes_it_along() {
    let stack = Stack::load();
    let (owner, user, environment) = (unique("owner"), unique("user"), stack.environment().await);
    let id = stack.run(&owner, &environment, NOTE).await.succeeded().resource_id("one");
    let path = format!("/v1/resources/{id}/consumers");
    let body = json!({"environment": environment, "application": user});
    let added = stack.post(&path, &body).await.expect(201).body;
    let shown = (&added["kind"], &added["application"], &added["environment"], &added["origin"], &added["leaving"]);
    assert_eq!(shown, (&json!("application"), &json!(user), &json!(environment), &json!("api"), &json!(false)));
    assert_eq!(stack.post(&path, &body).await.expect(200).body, added, "once is enough");
    assert!(stack.consumers(&id).await.contains(&added));
    let workload = json!({"environment": environment, "application": user, "workload": "web"});
    let second = stack.post(&path, &workload).await.expect(201).body;
    assert_eq!((second["workload"].as_str(), stack.consumers(&id).await.len()), (Some("web"), 3));
    let second = format!("{path}/{}", second["id"].as_str().expect("an id"));
    stack.delete(&second).await.expect(204);
    stack.delete(&second).await.is_problem(404, "consumer_not_found");

    let left = stack.teardown(&owner, &environment).await.succeeded();
    assert_eq!(left.outcome("one"), "released");
    assert_eq!(stack.resource(&id).await["status"], "Active");
    let gone = stack.delete(&format!("{path}/{}", added["id"].as_str().expect("an id"))).await.expect(202);
    let facts = (&gone.body["kind"], &gone.body["resource"], &gone.body["environment"], &gone.body["application"]);
    assert_eq!(facts, (&json!("release"), &json!(id), &json!(environment), &Value::Null));
    assert_eq!(stack.follow(gone.header("location")).await.expect(200).text("id"), gone.text("id"));
    let gone = stack.finished(&gone.text("id")).await.succeeded();
    assert_eq!(gone.releases(&id).iter().map(|release| &release["effect"]).collect::<Vec<_>>(), ["destroyed"]);
    let resource = stack.resource(&id).await;
    assert_eq!((&resource["status"], &resource["consumers"]), (&json!("Deleted"), &json!([])));
    stack.post(&path, &body).await.is_problem(404, "resource_not_found");
}

#[tokio::test]
async fn what_a_consumer_of_the_api_stood_on_goes_with_it() {
    let stack = Stack::load();
    let (owner, environment) = (unique("owner"), stack.environment().await);
    let chain = file(json!({"base": {"type": "note"}, "top": {"type": "note", "dependsOn": ["base"]}}));
    let made = stack.run(&owner, &environment, &chain).await.succeeded();
    let consumer = add(&stack, &made.resource_id("top"), &environment, &unique("user")).await;
    stack.teardown(&owner, &environment).await.succeeded();
    assert_eq!(stack.resource(&made.resource_id("base")).await["status"], "Active");
    let id = stack.delete(&consumer).await.expect(202).text("id");
    let gone = stack.finished(&id).await.succeeded();
    assert_eq!(gone.operations().len(), 2, "{:#}", gone.0);
    for name in ["top", "base"] {
        assert_eq!(stack.resource(&made.resource_id(name)).await["status"], "Deleted", "{name}");
    }
}

#[tokio::test]
async fn a_consumer_that_a_file_or_a_dependent_made_is_not_removed_by_hand() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let score = file(json!({"base": {"type": "note"}, "reader": {"type": "note", "dependsOn": ["base"]}}));
    let done = stack.run(&application, &environment, &score).await.succeeded();
    let id = done.resource_id("base");
    let consumers = stack.consumers(&id).await;
    for (origin, code, named) in
        [("file", "consumer_from_file", application.as_str()), ("dependency", "resource_in_use", "reader")]
    {
        let consumer = consumers.iter().find(|consumer| consumer["origin"] == origin).expect("a consumer");
        let path = format!("/v1/resources/{id}/consumers/{}", consumer["id"].as_str().expect("an id"));
        let refused = stack.delete(&path).await;
        refused.is_problem(409, code);
        assert!(refused.text("detail").contains(named), "{:#}", refused.body);
    }
    let refused = stack.delete(&format!("/v1/resources/{id}")).await;
    refused.is_problem(409, "resource_in_use");
    assert!(refused.text("detail").contains(&application), "{:#}", refused.body);
    assert!(refused.text("detail").contains("reader"), "{:#}", refused.body);
    assert_eq!(stack.consumers(&id).await, consumers);
}

#[tokio::test]
async fn a_consumer_of_the_api_forbids_others_to_change_what_it_uses() {
    let stack = Stack::load();
    let (application, user, environment) = (unique("app"), unique("user"), stack.environment().await);
    let score = |text: &str| file(json!({"one": {"type": "note", "params": {"text": text}}}));
    let id = stack.run(&application, &environment, &score("one")).await.succeeded().resource_id("one");
    let consumer = add(&stack, &id, &environment, &user).await;
    let refused = stack.run(&application, &environment, &score("two")).await.failed("parameters_conflict");
    let detail = refused.operation("one")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains(&user), "{detail}");
    stack.delete(&consumer).await.expect(204);
    assert_eq!(stack.run(&application, &environment, &score("two")).await.succeeded().outcome("one"), "updated");
    add(&stack, &id, &environment, &application).await;
    let own = stack.run(&application, &environment, &score("three")).await.succeeded();
    assert_eq!(own.outcome("one"), "updated", "a consumer of the same application is no other");
}

#[tokio::test]
async fn who_would_be_a_consumer_must_be_somewhere_and_of_something_that_is_there() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let id = stack.run(&application, &environment, NOTE).await.succeeded().resource_id("one");
    let path = format!("/v1/resources/{id}/consumers");
    let nowhere = stack.post(&path, &json!({"environment": unique("nowhere"), "application": application})).await;
    nowhere.points_at("an unknown environment", 422, "environment_unknown", "/environment");
    let unnamed = stack.post(&path, &json!({"environment": environment, "application": "Not a name"})).await;
    unnamed.is_problem(400, "name_invalid");
    let nothing = "/v1/resources/01900000-0000-7000-8000-000000000000";
    let body = json!({"environment": environment, "application": application});
    stack.post(&format!("{nothing}/consumers"), &body).await.is_problem(404, "resource_not_found");
    stack.delete(&format!("{path}/000000000000000000000000")).await.is_problem(404, "consumer_not_found");
    stack.get(&format!("{nothing}/impact")).await.is_problem(404, "resource_not_found");
    stack.delete(nothing).await.is_problem(404, "resource_not_found");
}

#[tokio::test]
async fn an_impact_tells_who_would_lose_what_through_all_dependents() {
    let stack = Stack::load();
    let (one, two, environment, name) = (unique("one"), unique("two"), stack.environment().await, unique("shared"));
    let owner = file(json!({
        "base": {"type": "note"},
        "store": {"type": "note", "reference": {"mode": "shared", "name": name}, "dependsOn": ["base"]},
    }));
    let made = stack.run(&one, &environment, &owner).await.succeeded();
    let user = file(json!({
        "store": {"type": "note", "reference": {"mode": "shared", "name": name}},
        "top": {"type": "note", "dependsOn": ["store"]},
    }));
    let used = stack.run(&two, &environment, &user).await.succeeded();
    let (base, store, top) = (made.resource_id("base"), made.resource_id("store"), used.resource_id("top"));
    let impact = async |id: &str| stack.get(&format!("/v1/resources/{id}/impact")).await.expect(200).body;

    let of_base = impact(&base).await;
    assert_eq!(
        (&of_base["resource"], &of_base["deletable"], &of_base["truncated"]),
        (&json!(base), &json!(false), &json!(false))
    );
    let dependents = of_base["dependents"].as_array().expect("dependents");
    let ids: Vec<_> = dependents.iter().map(|dependent| &dependent["id"]).collect();
    assert_eq!(ids, [store.as_str(), top.as_str()]);
    let (base_name, top_name) = (&of_base["name"], &dependents[1]["name"]);
    assert_eq!(dependents[1]["path"], json!([base_name, name, top_name]));
    let mut hit: Vec<_> = of_base["consumers"]
        .as_array()
        .expect("consumers")
        .iter()
        .map(|consumer| (consumer["application"].to_string(), consumer["path"].to_string()))
        .collect();
    let mut expected: Vec<_> = [
        (&one, json!([base_name])),
        (&one, json!([base_name, name])),
        (&two, json!([base_name, name])),
        (&two, json!([base_name, name, top_name])),
    ]
    .into_iter()
    .map(|(application, path)| (json!(application).to_string(), path.to_string()))
    .collect();
    hit.sort();
    expected.sort();
    assert_eq!(hit, expected);

    let of_top = impact(&top).await;
    assert_eq!((&of_top["dependents"], of_top["consumers"].as_array().map(Vec::len)), (&json!([]), Some(1)));
    let retained = file(json!({"one": {"type": "note", "retain": true}}));
    let kept = stack.run(&unique("kept"), &environment, &retained).await.succeeded();
    let (id, keeper) = (kept.resource_id("one"), kept.0["application"].as_str().expect("a name").to_owned());
    assert_eq!(impact(&id).await["deletable"], false);
    stack.teardown(&keeper, &environment).await.succeeded();
    assert_eq!(impact(&id).await["deletable"], true);
}

#[tokio::test]
async fn a_retained_resource_outlives_its_last_consumer_and_ends_when_it_is_deleted() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let retained = file(json!({"one": {"type": "note", "retain": true}}));
    let id = stack.run(&application, &environment, &retained).await.succeeded().resource_id("one");
    let consumer = add(&stack, &id, &environment, &unique("user")).await;
    assert_eq!(stack.teardown(&application, &environment).await.succeeded().outcome("one"), "released");
    stack.delete(&consumer).await.expect(204);
    let resource = stack.resource(&id).await;
    assert_eq!((&resource["status"], &resource["consumers"]), (&json!("Active"), &json!([])));

    let gone = stack.delete(&format!("/v1/resources/{id}")).await.expect(202);
    assert_eq!(gone.text("kind"), "release");
    stack.finished(&gone.text("id")).await.succeeded();
    assert_eq!(stack.resource(&id).await["status"], "Deleted");
    stack.delete(&format!("/v1/resources/{id}")).await.is_problem(404, "resource_not_found");
}

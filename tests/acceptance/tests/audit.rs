//! Who did what to which record, when, from which request; and which deployments a resource comes from.

use conductor_acceptance::{Stack, time, unique};
use serde_json::{Value, json};

fn note(text: &str) -> String {
    json!({"resources": {"one": {"type": "note", "params": {"text": text}}}}).to_string()
}

/// The events of a query.
async fn events(stack: &Stack, query: &str) -> Vec<Value> {
    stack.all(&format!("/v1/audit-events?{query}")).await
}

/// The newest events of a query, once there are so many; all others of the day need not be read for that.
async fn newest(stack: &Stack, query: &str, count: usize) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    while found.len() < count {
        let page = stack.get(&format!("/v1/audit-events?{query}&limit=100{cursor}")).await.expect(200).body;
        found.extend(page["items"].as_array().expect("a list has items").iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    found
}

fn actions(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["action"].as_str()).collect()
}

#[tokio::test]
async fn the_trail_of_a_deployment_names_the_principal_and_the_request() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let body =
        json!({"application": application, "environment": environment, "score": note("a"), "commitId": "abc123"});
    let answer = stack.post("/v1/deployments", &body).await.expect(202);
    let done = stack.finished(&answer.text("id")).await.succeeded();
    let request = answer.header("x-request-id");
    assert_eq!((&done.0["requestId"], &done.0["requestedBy"]), (&json!(request), &json!("local")));

    let trail = events(&stack, &format!("deployment={}", done.id())).await;
    assert_eq!(actions(&trail), ["deployment.submitted", "deployment.started", "deployment.succeeded"]);
    let first = &trail[0];
    let facts = (&first["principal"], &first["requestId"], &first["noun"], &first["subject"], &first["detail"]);
    assert_eq!(facts, (&json!("local"), &json!(request), &json!("deployment"), &json!(done.id()), &json!("abc123")));
    assert!(trail.windows(2).all(|pair| time(&pair[0]["at"]) <= time(&pair[1]["at"])), "{trail:#?}");
}

#[tokio::test]
async fn a_resource_names_the_deployment_that_made_it_and_each_that_changed_it() {
    let stack = Stack::load();
    let (owner, user, environment) = (unique("owner"), unique("user"), stack.environment().await);
    let made = stack.run(&owner, &environment, &note("one")).await.succeeded();
    let changed = stack.run(&owner, &environment, &note("two")).await.succeeded();
    stack.run(&owner, &environment, &note("two")).await.succeeded();
    let id = made.resource_id("one");
    let existing = json!({"resources": {"it": {"type": "note", "reference": {"mode": "existing", "id": id}}}});
    let linked = stack.run(&user, &environment, &existing.to_string()).await.succeeded();

    let resource = stack.resource(&id).await;
    assert_eq!((&resource["createdBy"], &resource["updatedBy"]), (&json!(made.id()), &json!(changed.id())));
    let lineage: Vec<_> = resource["lineage"]
        .as_array()
        .expect("a lineage")
        .iter()
        .map(|step| (step["action"].as_str().unwrap_or_default(), step["deployment"].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        ("resource.linked", linked.id()),
        ("resource.updated", changed.id()),
        ("resource.created", made.id()),
        ("resource.provisioning", made.id()),
    ];
    assert_eq!(lineage, expected);
    let trail = events(&stack, &format!("resource={id}")).await;
    let oldest_first: Vec<_> = expected.iter().rev().map(|(action, _)| *action).collect();
    assert_eq!(actions(&trail), oldest_first);
    let of_one = events(&stack, &format!("resource={id}&deployment={}", changed.id())).await;
    assert_eq!(actions(&of_one), ["resource.updated"]);

    stack.teardown(&user, &environment).await.succeeded();
    let gone = stack.teardown(&owner, &environment).await.succeeded();
    let lineage = stack.resource(&id).await["lineage"].clone();
    let last = (&lineage[0]["action"], &lineage[0]["deployment"], &lineage[1]["action"]);
    assert_eq!(last, (&json!("resource.destroyed"), &json!(gone.id()), &json!("resource.released")));
}

#[tokio::test]
async fn what_is_done_by_hand_is_told_of_too() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let id = stack.run(&application, &environment, &note("a")).await.succeeded().resource_id("one");
    let path = format!("/v1/resources/{id}");
    stack.patch(&path, &json!({"published": true})).await.expect(200);
    stack.patch(&path, &json!({"published": false})).await.expect(200);
    let body = json!({"environment": environment, "application": unique("user")});
    let added = stack.post(&format!("{path}/consumers"), &body).await.expect(201);
    stack.delete(&format!("{path}/consumers/{}", added.text("id"))).await.expect(204);
    let trail = events(&stack, &format!("resource={id}")).await;
    let by_hand = ["resource.published", "resource.unpublished", "consumer.added", "consumer.removed"];
    assert_eq!(actions(&trail)[2..], by_hand);
    let last = &trail[trail.len() - 4..];
    assert!(last.iter().all(|event| event["principal"] == "local" && event["deployment"].is_null()), "{last:#?}");
    assert_eq!(trail[4]["requestId"], added.header("x-request-id"));
}

#[tokio::test]
async fn events_are_found_by_day_noun_subject_principal_action_and_request() {
    let stack = Stack::load();
    let name = unique("env");
    let made = stack.put(&format!("/v1/environments/{name}"), &json!({})).await.expect(201);
    stack.put(&format!("/v1/environments/{name}"), &json!({"type": "staging"})).await.expect(200);
    let request = made.header("x-request-id");
    let of_name = format!("noun=environment&subject={name}");
    let both = stack
        .eventually("both events are listed", async || {
            let found = newest(&stack, &of_name, 2).await;
            (found.len() == 2).then_some(found)
        })
        .await;
    assert!(both.iter().all(|event| event["noun"] == "environment" && event["subject"] == name.as_str()), "{both:#?}");
    assert!(time(&both[0]["at"]) >= time(&both[1]["at"]), "newest first: {both:#?}");
    let created = &both[1];
    assert_eq!((&created["requestId"], &created["principal"]), (&json!(request), &json!("local")));

    let action = created["action"].as_str().expect("an action");
    let day = &created["at"].as_str().expect("a time")[..10];
    let only = [created.clone()];
    for query in [
        format!("requestId={request}"),
        format!("{of_name}&action={action}"),
        format!("{of_name}&requestId={request}&principal=local"),
        format!("day={day}&requestId={request}"),
        format!("from={day}&subject={name}&action={action}"),
        format!("from={day}&to={day}&subject={name}&action={action}"),
    ] {
        assert_eq!(newest(&stack, &query, 1).await, only, "{query}");
    }
    assert!(events(&stack, &format!("day=2020-01-01&subject={name}")).await.is_empty());
    let done = stack.run(&unique("app"), &name, "resources: {}").await.succeeded();
    let trail = format!("deployment={}", done.id());
    for (query, count) in [("principal=nobody", 0), ("noun=resource", 0), ("action=deployment.succeeded", 1)] {
        assert_eq!(events(&stack, &format!("{trail}&{query}")).await.len(), count, "{query}");
    }
    for query in
        ["day=yesterday", "day=2026-01-01&from=2026-01-01", "from=2026-02-02&to=2026-01-01", "colour=red", "resource=x"]
    {
        let answer = stack.get(&format!("/v1/audit-events?{query}")).await;
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!("query_invalid")), "{query}: {:#}", answer.body);
    }
}

//! Several applications, one resource.

use conductor_acceptance::{Aws, Stack, TINY, unique};

fn shared(name: &str, more: &str) -> String {
    format!("resources: {{store: {{type: note, reference: {{mode: shared, name: {name}}}{more}}}}}")
}

#[tokio::test]
async fn the_second_application_links_without_terraform_and_the_last_one_takes_the_resource_with_it() {
    let stack = Stack::load();
    let aws = Aws::of(&stack);
    let environment = stack.environment().await;
    let (orders, billing, name) = (unique("orders"), unique("billing"), unique("shared"));
    let score = shared(&name, ", params: {text: hello}");

    let first = stack.run(&orders, &environment, &score).await.succeeded();
    assert_eq!((first.outcome("store"), first.attempts("store")), ("created", 1));
    let id = first.resource_id("store");
    let before = stack.resource(&id).await;
    assert_eq!((before["name"].as_str(), before["mode"].as_str()), (Some(name.as_str()), Some("shared")));
    let second = stack.run(&billing, &environment, &score).await.succeeded();
    assert_eq!((second.outcome("store"), second.attempts("store")), ("linked", 0));
    assert_eq!(second.resource_id("store"), id);
    let linked = stack.resource(&id).await;
    assert_eq!(linked["outputs"], before["outputs"]);
    assert_eq!(linked["consumers"].as_array().map(Vec::len), Some(2));

    let location = before["stateLocation"]["location"].as_str().expect("a state location");
    assert!(aws.exists(location).await, "{location}");
    let gone = stack.teardown(&orders, &environment).await.succeeded();
    assert_eq!((gone.0["kind"].as_str(), gone.outcome("store")), (Some("teardown"), "released"));
    let left = stack.resource(&id).await;
    assert_eq!(left["status"], "Active");
    assert_eq!(left["outputs"], before["outputs"]);
    assert_eq!(left["consumers"][0]["application"], billing.as_str());

    let gone = stack.teardown(&billing, &environment).await.succeeded();
    assert_eq!(gone.outcome("store"), "destroyed");
    assert_eq!(stack.resource(&id).await["status"], "Deleted");
    assert!(!aws.exists(location).await, "{location} is left");
    assert!(!aws.exists(&format!("{location}.tflock")).await, "the lock of {location} is left");

    let anew = stack.run(&orders, &environment, &score).await.succeeded();
    assert_eq!(anew.outcome("store"), "created");
    assert_ne!(anew.resource_id("store"), id);
}

#[tokio::test]
async fn a_score_id_is_shared_by_its_type_class_and_id() {
    let stack = Stack::load();
    let (environment, id) = (stack.environment().await, unique("id"));
    let score = |kind: &str| {
        format!(
            "apiVersion: score.dev/v1b1\nmetadata: {{name: web}}\ncontainers: {{web: {{image: nginx}}}}\n\
             resources: {{store: {{type: {kind}, id: {id}}}}}"
        )
    };
    let first = stack.run(&unique("app"), &environment, &score("note")).await.succeeded();
    let second = stack.run(&unique("app"), &environment, &score("note")).await.succeeded();
    assert_eq!((second.outcome("store"), second.attempts("store")), ("linked", 0));
    assert_eq!(second.resource_id("store"), first.resource_id("store"));
    let resource = stack.resource(&first.resource_id("store")).await;
    assert_eq!(resource["name"], format!("note.default#{id}"));

    let tiny = stack.template(TINY).await;
    let other = stack.run(&unique("app"), &environment, &score(&tiny)).await.succeeded();
    assert_eq!(other.outcome("store"), "created");
}

#[tokio::test]
async fn a_shared_name_is_another_resource_in_another_environment() {
    let stack = Stack::load();
    let (here, there) = (stack.environment().await, stack.environment().await);
    let (application, score) = (unique("app"), shared(&unique("shared"), ""));
    let first = stack.run(&application, &here, &score).await.succeeded();
    let second = stack.run(&application, &there, &score).await.succeeded();
    assert_eq!(second.outcome("store"), "created");
    assert_ne!(second.resource_id("store"), first.resource_id("store"));
}

#[tokio::test]
async fn a_shared_name_of_another_type_is_a_conflict() {
    let stack = Stack::load();
    let (environment, name) = (stack.environment().await, unique("shared"));
    stack.run(&unique("app"), &environment, &shared(&name, "")).await.succeeded();
    let tiny = stack.template(TINY).await;
    let score = shared(&name, "").replace("type: note", &format!("type: {tiny}"));
    let failed = stack.run(&unique("app"), &environment, &score).await.failed("type_conflict");
    let detail = failed.operation("store")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains(&name) && detail.contains("note") && detail.contains(&tiny), "{detail}");
    assert_eq!(failed.attempts("store"), 0);
}

#[tokio::test]
async fn other_parameters_while_others_use_it_are_a_conflict_that_names_them_and_masks_secrets() {
    let stack = Stack::load();
    let (environment, name) = (stack.environment().await, unique("shared"));
    let (one, two) = (unique("one"), unique("two"));
    let score = |text: &str, secret: &str| shared(&name, &format!(", params: {{text: {text}, secret: {secret}}}"));
    let first = stack.run(&one, &environment, &score("before", "first-secret")).await.succeeded();
    stack.run(&two, &environment, &score("before", "first-secret")).await.succeeded();

    let failed = stack.run(&two, &environment, &score("after", "second-secret")).await.failed("parameters_conflict");
    let detail = failed.operation("store")["error"]["detail"].as_str().expect("a detail");
    for part in [one.as_str(), "text", "before", "after", "secret"] {
        assert!(detail.contains(part), "{part} in: {detail}");
    }
    let shown = failed.0.to_string();
    assert!(!shown.contains("first-secret") && !shown.contains("second-secret"), "{shown}");
    let kept = stack.resource(&first.resource_id("store")).await;
    assert_eq!((kept["status"].as_str(), kept["outputs"]["text"]["value"].as_str()), (Some("Active"), Some("before")));

    stack.teardown(&one, &environment).await.succeeded();
    let alone = stack.run(&two, &environment, &score("after", "second-secret")).await.succeeded();
    assert_eq!((alone.outcome("store"), alone.resource_id("store")), ("updated", first.resource_id("store")));
}

#[tokio::test]
async fn a_file_without_parameters_accepts_what_is_there() {
    let stack = Stack::load();
    let (environment, name) = (stack.environment().await, unique("shared"));
    let first = stack.run(&unique("app"), &environment, &shared(&name, ", params: {text: given}")).await.succeeded();
    let second = stack.run(&unique("app"), &environment, &shared(&name, "")).await.succeeded();
    assert_eq!((second.outcome("store"), second.resource_id("store")), ("linked", first.resource_id("store")));
}

#[tokio::test]
async fn who_uses_what_depends_on_a_resource_uses_the_resource() {
    let stack = Stack::load();
    let (environment, name) = (stack.environment().await, unique("shared"));
    let (owner, other) = (unique("owner"), unique("other"));
    let score = |text: &str| {
        format!(
            "resources:\n  base: {{type: note, params: {{text: {text}}}}}\n  store: {{type: note, \
             reference: {{mode: shared, name: {name}}}, params: {{text: '${{base.text}}'}}}}"
        )
    };
    let first = stack.run(&owner, &environment, &score("one")).await.succeeded();
    let changed = stack.run(&owner, &environment, &score("two")).await.succeeded();
    assert_eq!((changed.outcome("base"), changed.outcome("store")), ("updated", "updated"));

    stack.run(&other, &environment, &shared(&name, "")).await.succeeded();
    let refused = stack.run(&owner, &environment, &score("three")).await.failed("parameters_conflict");
    let detail = refused.operation("base")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains(&other), "{detail}");
    assert_eq!(refused.outcome("store"), "Skipped");

    let gone = stack.teardown(&owner, &environment).await.succeeded();
    assert_eq!((gone.outcome("base"), gone.outcome("store")), ("released", "released"));
    stack.teardown(&other, &environment).await.succeeded();
    for name in ["base", "store"] {
        assert_eq!(stack.resource(&first.resource_id(name)).await["status"], "Deleted", "{name}");
    }
}

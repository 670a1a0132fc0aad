//! How a file says which resource it means, in both dialects. Matching and pools have files of their own.

use conductor_acceptance::{Dialect, SLOW, Stack, TINY, unique};
use serde_json::{Value, json};

/// A file with one resource.
fn one(dialect: Dialect, resource: Value) -> String {
    dialect.file(&json!({"one": resource}))
}

async fn mode(stack: &Stack, id: &str) -> String {
    stack.resource(id).await["mode"].as_str().expect("a mode").to_owned()
}

/// An id that no resource has.
const NOWHERE: &str = "01900000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_resource_is_the_workloads_own_however_that_is_written() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let plain = one(Dialect::Own, json!({"type": "note"}));
    let first = stack.run(&application, &environment, &plain).await.succeeded();
    let id = first.resource_id("one");
    assert_eq!((first.outcome("one"), mode(&stack, &id).await.as_str()), ("created", "dedicated"));
    for resource in [
        json!({"type": "note"}),
        json!({"type": "note", "reference": {"mode": "dedicated"}}),
        json!({"type": "note", "sharing": "dedicated"}),
        json!({"type": "note", "matching": {"sharingPolicy": "dedicated"}}),
    ] {
        for dialect in Dialect::BOTH {
            let again = stack.run(&application, &environment, &one(dialect, resource.clone())).await.succeeded();
            let found = (again.outcome("one"), again.attempts("one"), again.resource_id("one"));
            assert_eq!(found, ("unchanged", 0, id.clone()), "{dialect:?} {resource}");
        }
    }
    let other = stack.run(&unique("app"), &environment, &plain).await.succeeded();
    assert_eq!(other.outcome("one"), "created");
    assert_ne!(other.resource_id("one"), id);
}

#[tokio::test]
async fn what_is_shared_is_the_same_resource_in_both_dialects() {
    let stack = Stack::load();
    let (name, id) = (unique("shared"), unique("id"));
    for (resource, expect) in [
        (json!({"type": "note", "reference": {"mode": "shared", "name": name}}), "shared"),
        (json!({"type": "note", "sharing": "shared", "reference": {"mode": "shared", "name": name}}), "shared"),
        (json!({"type": "note", "id": id}), "scoreId"),
        (json!({"type": "note", "sharing": "shared", "params": {"text": "same"}}), "parameters"),
        (json!({"type": "note", "matching": {}, "params": {"text": "same"}}), "matching"),
        (json!({"type": "note", "sharing": "always"}), "always"),
    ] {
        let environment = stack.environment().await;
        let first = stack.run(&unique("app"), &environment, &one(Dialect::Own, resource.clone())).await.succeeded();
        assert_eq!(first.outcome("one"), "created", "{resource}");
        let shared = first.resource_id("one");
        assert_eq!(mode(&stack, &shared).await, expect, "{resource}");
        let application = unique("app");
        let score = one(Dialect::Score, resource.clone());
        for effect in ["linked", "unchanged"] {
            let second = stack.run(&application, &environment, &score).await.succeeded();
            let found = (second.outcome("one"), second.attempts("one"), second.resource_id("one"));
            assert_eq!(found, (effect, 0, shared.clone()), "{resource}");
        }
        assert_eq!(stack.consumers(&shared).await.len(), 2, "{resource}");
    }
}

#[tokio::test]
async fn what_is_shared_by_its_parameters_is_another_resource_with_others() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let score = |text: &str| {
        one(Dialect::Own, json!({"type": "note", "sharing": "shared", "params": {"text": text, "secret": "s"}}))
    };
    let first = stack.run(&unique("app"), &environment, &score("one")).await.succeeded();
    let application = unique("app");
    let same = stack.run(&application, &environment, &score("one")).await.succeeded();
    assert_eq!((same.outcome("one"), same.resource_id("one")), ("linked", first.resource_id("one")));
    let other = stack.run(&unique("app"), &environment, &score("two")).await.succeeded();
    assert_eq!(other.outcome("one"), "created");

    let changed = stack.run(&application, &environment, &score("two")).await.succeeded();
    assert_eq!((changed.outcome("one"), changed.resource_id("one")), ("linked", other.resource_id("one")));
    let left = changed.releases(&first.resource_id("one"));
    assert_eq!(left.iter().map(|release| &release["effect"]).collect::<Vec<_>>(), ["released"], "{:#}", changed.0);
    assert_eq!(stack.consumers(&first.resource_id("one")).await.len(), 1);
}

#[tokio::test]
async fn one_of_a_type_for_all_is_one_in_each_environment_and_not_changed_while_others_use_it() {
    let stack = Stack::load();
    let (here, there) = (stack.environment().await, stack.environment().await);
    let score = |text: &str| one(Dialect::Own, json!({"type": "note", "sharing": "always", "params": {"text": text}}));
    let first = stack.run(&unique("app"), &here, &score("one")).await.succeeded();
    let plain = one(Dialect::Own, json!({"type": "note", "sharing": "always"}));
    let second = stack.run(&unique("app"), &here, &plain).await.succeeded();
    assert_eq!((second.outcome("one"), second.resource_id("one")), ("linked", first.resource_id("one")));
    stack.run(&unique("app"), &here, &score("two")).await.failed("parameters_conflict");
    let elsewhere = stack.run(&unique("app"), &there, &score("two")).await.succeeded();
    assert_eq!(elsewhere.outcome("one"), "created");
}

#[tokio::test]
async fn a_resource_that_is_there_is_taken_by_its_id() {
    let stack = Stack::load();
    let (owner, environment) = (unique("owner"), stack.environment().await);
    let own = one(Dialect::Own, json!({"type": "note", "params": {"text": "there"}}));
    let id = stack.run(&owner, &environment, &own).await.succeeded().resource_id("one");
    for dialect in Dialect::BOTH {
        let user = unique("user");
        let score = dialect.file(&json!({
            "it": {"type": "note", "reference": {"mode": "existing", "id": id}},
            "reader": {"type": "note", "params": {"text": "says ${resources.it.text}"}},
        }));
        let linked = stack.run(&user, &environment, &score).await.succeeded();
        let found = (linked.outcome("it"), linked.attempts("it"), linked.resource_id("it"));
        assert_eq!(found, ("linked", 0, id.clone()), "{dialect:?}");
        let reader = stack.resource(&linked.resource_id("reader")).await;
        assert_eq!((&reader["parameters"]["text"], &reader["dependsOn"]), (&json!("says there"), &json!([id])));
        let again = stack.run(&user, &environment, &score).await.succeeded();
        assert_eq!((again.outcome("it"), again.outcome("reader")), ("unchanged", "unchanged"), "{dialect:?}");
        let gone = stack.teardown(&user, &environment).await.succeeded();
        assert_eq!((gone.outcome("it"), gone.outcome("reader")), ("released", "destroyed"), "{dialect:?}");
    }
    assert_eq!(mode(&stack, &id).await, "dedicated");

    let user = unique("user");
    let score = one(Dialect::Own, json!({"type": "note", "reference": {"mode": "existing", "id": id}}));
    stack.run(&user, &environment, &score).await.succeeded();
    let gone = stack.teardown(&owner, &environment).await.succeeded();
    assert_eq!(gone.outcome("one"), "released");
    let last = stack.teardown(&user, &environment).await.succeeded();
    assert_eq!(last.outcome("one"), "destroyed");
    let refused = stack.refused(&user, &environment, &score).await;
    refused.points_at("a resource that is gone", 422, "resource_unusable", "/resources/one/reference/id");
}

#[tokio::test]
async fn a_resource_that_cannot_be_taken_is_refused_when_it_is_asked_for() {
    let stack = Stack::load();
    let environment = stack.environment().await;
    let own = one(Dialect::Own, json!({"type": "note"}));
    let id = stack.run(&unique("app"), &environment, &own).await.succeeded().resource_id("one");
    let tiny = stack.template(TINY).await;
    let existing = |kind: &str, id: &str| json!({"type": kind, "reference": {"mode": "existing", "id": id}});
    for (resource, code, pointer) in [
        (existing("note", NOWHERE), "resource_unusable", "/resources/one/reference/id"),
        (existing(&tiny, &id), "type_conflict", "/resources/one/type"),
    ] {
        let application = unique("app");
        let refused = stack.refused(&application, &environment, &one(Dialect::Own, resource.clone())).await;
        let found = (refused.body["code"].as_str(), refused.body["errors"][0]["pointer"].as_str());
        assert_eq!(found, (Some(code), Some(pointer)), "{resource}: {:#}", refused.body);
        stack.knows_nothing_of(&application).await;
    }
    let in_score = stack.refused(&unique("app"), &environment, &one(Dialect::Score, existing("note", NOWHERE))).await;
    in_score.is_problem(422, "resource_unusable");
}

#[tokio::test]
async fn a_resource_of_another_environment_is_taken_once_it_is_published() {
    let stack = Stack::load();
    let (here, there) = (stack.environment().await, stack.environment().await);
    let own = one(Dialect::Own, json!({"type": "note", "params": {"text": "theirs"}}));
    let (owner, user) = (unique("owner"), unique("user"));
    let id = stack.run(&owner, &there, &own).await.succeeded().resource_id("one");
    let score = one(Dialect::Own, json!({"type": "note", "reference": {"mode": "existing", "id": id}}));
    let refused = stack.refused(&user, &here, &score).await;
    refused.points_at("another's resource", 422, "resource_unusable", "/resources/one/reference/id");
    assert!(!refused.body.to_string().contains(&owner), "{:#}", refused.body);
    stack.knows_nothing_of(&user).await;

    let path = format!("/v1/resources/{id}");
    assert_eq!(stack.patch(&path, &json!({"published": true})).await.expect(200).body["published"], true);
    let linked = stack.run(&user, &here, &score).await.succeeded();
    assert_eq!((linked.outcome("one"), linked.resource_id("one")), ("linked", id.clone()));
    assert_eq!(stack.patch(&path, &json!({"published": false})).await.expect(200).body["published"], false);
    stack.refused(&unique("app"), &here, &score).await.is_problem(422, "resource_unusable");

    assert_eq!(stack.teardown(&owner, &there).await.succeeded().outcome("one"), "released");
    assert_eq!(stack.teardown(&user, &here).await.succeeded().outcome("one"), "destroyed");
}

#[tokio::test]
async fn a_workload_that_takes_another_resource_under_a_name_lets_go_of_the_old_one() {
    let stack = Stack::load();
    let (application, environment, name) = (unique("app"), stack.environment().await, unique("shared"));
    let own = one(Dialect::Own, json!({"type": "note"}));
    let shared = one(Dialect::Own, json!({"type": "note", "reference": {"mode": "shared", "name": name}}));
    let tiny = stack.template(TINY).await;
    let other_type = one(Dialect::Own, json!({"type": tiny}));
    let mut held = stack.run(&application, &environment, &own).await.succeeded().resource_id("one");
    for score in [&shared, &own, &other_type] {
        let done = stack.run(&application, &environment, score).await.succeeded();
        assert_eq!((done.operations().len(), done.outcome("one")), (2, "created"), "{:#}", done.0);
        let releases = done.releases(&held);
        assert_eq!(
            releases.iter().map(|release| &release["effect"]).collect::<Vec<_>>(),
            ["destroyed"],
            "{:#}",
            done.0
        );
        assert_eq!(stack.resource(&held).await["status"], "Deleted");
        held = done.resource_id("one");
        assert_eq!(stack.consumers(&held).await.len(), 1);
    }
    let gone = stack.teardown(&application, &environment).await.succeeded();
    assert_eq!((gone.operations().len(), gone.outcome("one")), (1, "destroyed"));
}

#[tokio::test]
async fn whoever_asks_for_the_same_parameters_waits_while_they_are_being_made() {
    let stack = Stack::load();
    let (environment, slow) = (stack.environment().await, stack.template(SLOW).await);
    let score = one(Dialect::Own, json!({"type": slow, "sharing": "shared", "params": {"seconds": 5}}));
    let first = stack.deploy(&unique("app"), &environment, &score).await;
    stack.until(&first, "running", |it| it.operations().iter().any(|o| o["status"] == "Running")).await;
    let second = stack.run(&unique("app"), &environment, &score).await.succeeded();
    let first = stack.finished(&first).await.succeeded();
    assert_eq!((first.outcome("one"), second.outcome("one"), second.attempts("one")), ("created", "linked", 0));
    assert_eq!(second.resource_id("one"), first.resource_id("one"));
}

#[tokio::test]
async fn whoever_uses_a_published_resource_goes_on_with_it_after_that_was_taken_back() {
    let stack = Stack::load();
    let (here, there, user) = (stack.environment().await, stack.environment().await, unique("user"));
    let own = one(Dialect::Own, json!({"type": "note"}));
    let id = stack.run(&unique("owner"), &there, &own).await.succeeded().resource_id("one");
    let path = format!("/v1/resources/{id}");
    stack.patch(&path, &json!({"published": true})).await.expect(200);
    let score = one(Dialect::Own, json!({"type": "note", "reference": {"mode": "existing", "id": id}}));
    stack.run(&user, &here, &score).await.succeeded();
    stack.patch(&path, &json!({"published": false})).await.expect(200);
    let again = stack.run(&user, &here, &score).await.succeeded();
    assert_eq!((again.outcome("one"), again.resource_id("one")), ("unchanged", id));
}

#[tokio::test]
async fn a_new_resource_takes_the_newest_version_whatever_the_name_stood_for_before() {
    let stack = Stack::load();
    let (application, environment, kind) = (unique("app"), stack.environment().await, stack.template(TINY).await);
    stack.run(&application, &environment, &one(Dialect::Own, json!({"type": kind}))).await.succeeded();
    stack.publish(&kind, "1.1.0", &[("main.tf", TINY)]).await.expect(201);
    let shared = json!({"type": kind, "reference": {"mode": "shared", "name": unique("shared")}});
    let made = stack.run(&application, &environment, &one(Dialect::Own, shared)).await.succeeded();
    assert_eq!(made.outcome("one"), "created");
    assert_eq!(stack.resource(&made.resource_id("one")).await["templateVersion"], "1.1.0");
}

#[tokio::test]
async fn an_environment_whose_workloads_use_something_elsewhere_is_not_ended() {
    let stack = Stack::load();
    let (here, there, user) = (stack.environment().await, stack.environment().await, unique("user"));
    let own = one(Dialect::Own, json!({"type": "note"}));
    let id = stack.run(&unique("owner"), &there, &own).await.succeeded().resource_id("one");
    stack.patch(&format!("/v1/resources/{id}"), &json!({"published": true})).await.expect(200);
    let score = one(Dialect::Own, json!({"type": "note", "reference": {"mode": "existing", "id": id}}));
    stack.run(&user, &here, &score).await.succeeded();
    let path = format!("/v1/environments/{here}");
    stack.delete(&path).await.is_problem(409, "environment_in_use");
    stack.teardown(&user, &here).await.succeeded();
    stack.delete(&path).await.expect(204);
}

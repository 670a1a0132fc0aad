//! What stays although nobody uses it any more: because the file says so, or because the environment is protected.

use conductor_acceptance::{Dialect, Stack, TINY, unique};
use serde_json::{Value, json};

const ONE: &str = "resources: {one: {type: note}}";

async fn protect(stack: &Stack, environment: &str, protected: bool) {
    let path = format!("/v1/environments/{environment}");
    stack.put(&path, &json!({"protected": protected})).await.expect(200);
}

#[tokio::test]
async fn a_resource_that_its_file_retains_stays_and_is_taken_up_again() {
    let stack = Stack::load();
    for dialect in Dialect::BOTH {
        let (application, environment) = (unique("app"), stack.environment().await);
        let score = dialect.file(&json!({"one": {"type": "note", "retain": true, "params": {"text": "kept"}}}));
        let first = stack.run(&application, &environment, &score).await.succeeded();
        let id = first.resource_id("one");
        assert_eq!(stack.resource(&id).await["retain"], true, "{dialect:?}");
        let gone = stack.teardown(&application, &environment).await.succeeded();
        assert_eq!((gone.outcome("one"), gone.attempts("one")), ("retained", 0), "{dialect:?}");
        let kept = stack.resource(&id).await;
        assert_eq!((&kept["status"], &kept["consumers"]), (&json!("Active"), &json!([])), "{dialect:?}");
        let again = stack.run(&application, &environment, &score).await.succeeded();
        let found = (again.outcome("one"), again.attempts("one"), again.resource_id("one"));
        assert_eq!(found, ("linked", 0, id), "{dialect:?}");
    }
}

#[tokio::test]
async fn what_is_retained_no_longer_goes_with_its_last_consumer() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let score = |retain: bool| Dialect::Own.file(&json!({"one": {"type": "note", "retain": retain}}));
    let id = stack.run(&application, &environment, &score(false)).await.succeeded().resource_id("one");
    for retain in [true, false] {
        let done = stack.run(&application, &environment, &score(retain)).await.succeeded();
        assert_eq!((done.outcome("one"), done.attempts("one")), ("unchanged", 0), "{retain}");
        assert_eq!(stack.resource(&id).await["retain"], retain);
    }
    assert_eq!(stack.teardown(&application, &environment).await.succeeded().outcome("one"), "destroyed");
}

#[tokio::test]
async fn of_several_consumers_none_alone_ends_the_retaining() {
    let stack = Stack::load();
    let (one, two, environment, name) = (unique("one"), unique("two"), stack.environment().await, unique("shared"));
    let score = |retain: bool| {
        let reference = json!({"mode": "shared", "name": name});
        Dialect::Own.file(&json!({"one": {"type": "note", "reference": reference, "retain": retain}}))
    };
    let id = stack.run(&one, &environment, &score(false)).await.succeeded().resource_id("one");
    stack.run(&two, &environment, &score(true)).await.succeeded();
    assert_eq!(stack.resource(&id).await["retain"], true);
    stack.run(&one, &environment, &score(false)).await.succeeded();
    assert_eq!(stack.resource(&id).await["retain"], true);
    assert_eq!(stack.teardown(&one, &environment).await.succeeded().outcome("one"), "released");
    assert_eq!(stack.teardown(&two, &environment).await.succeeded().outcome("one"), "retained");
}

#[tokio::test]
async fn a_protected_environment_destroys_nothing_that_the_request_does_not_name() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    protect(&stack, &environment, true).await;
    let two = "resources: {one: {type: note}, two: {type: note, params: {text: before}}}";
    let made = stack.run(&application, &environment, two).await.succeeded();
    let id = made.resource_id("one");
    let changed = "resources: {two: {type: note, params: {text: after}}}";
    let foretold = stack.foretell(&application, &environment, changed).await;
    foretold.foretells("one", "failed");
    assert_eq!(foretold.operation("one")["error"]["code"], "environment_protected");
    let refused = stack.run(&application, &environment, changed).await.failed("environment_protected");
    assert_eq!((refused.outcome("two"), refused.outcome("one"), refused.attempts("one")), ("updated", "Failed", 0));
    let detail = refused.operation("one")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains(&environment) && detail.contains("one"), "{detail}");
    let other = stack.run_with(&application, &environment, changed, json!({"allowDestroy": ["two"]})).await;
    other.failed("environment_protected");
    let kept = stack.resource(&id).await;
    assert_eq!((&kept["status"], kept["consumers"].as_array().map(Vec::len)), (&json!("Active"), Some(1)));

    let allowed =
        stack.run_with(&application, &environment, changed, json!({"allowDestroy": ["one"]})).await.succeeded();
    assert_eq!(allowed.outcome("one"), "destroyed");
    assert_eq!(stack.resource(&id).await["status"], "Deleted");
}

#[tokio::test]
async fn a_teardown_of_a_protected_environment_destroys_what_it_is_allowed_to() {
    let stack = Stack::load();
    let (application, environment) = (unique("app"), stack.environment().await);
    let made = stack.run(&application, &environment, ONE).await.succeeded();
    protect(&stack, &environment, true).await;
    stack.teardown(&application, &environment).await.failed("environment_protected");
    assert_eq!(stack.resource(&made.resource_id("one")).await["status"], "Active");

    let path = format!("/v1/applications/{application}/environments/{environment}");
    let id = stack.delete(&format!("{path}?allowDestroy=other,one")).await.expect(202).text("id");
    assert_eq!(stack.finished(&id).await.succeeded().outcome("one"), "destroyed");

    let again = stack.run(&application, &environment, ONE).await.succeeded();
    stack.teardown(&application, &environment).await.failed("environment_protected");
    protect(&stack, &environment, false).await;
    let gone = stack.teardown(&application, &environment).await.succeeded();
    assert_eq!((gone.outcome("one"), again.outcome("one")), ("destroyed", "created"));
}

#[tokio::test]
async fn what_others_use_may_be_let_go_of_in_a_protected_environment() {
    let stack = Stack::load();
    let (one, two, environment, name) = (unique("one"), unique("two"), stack.environment().await, unique("shared"));
    let resource = json!({"type": "note", "reference": {"mode": "shared", "name": name}});
    let score = Dialect::Own.file(&json!({"one": resource}));
    let id = stack.run(&one, &environment, &score).await.succeeded().resource_id("one");
    stack.run(&two, &environment, &score).await.succeeded();
    protect(&stack, &environment, true).await;
    assert_eq!(stack.teardown(&one, &environment).await.succeeded().outcome("one"), "released");
    stack.teardown(&two, &environment).await.failed("environment_protected");
    let kept = stack.resource(&id).await;
    assert_eq!((&kept["status"], &kept["consumers"][0]["application"]), (&json!("Active"), &Value::from(two)));
}

#[tokio::test]
async fn what_its_template_retains_stays_until_it_is_deleted_by_hand() {
    let stack = Stack::load();
    let (application, environment, kind) = (unique("app"), stack.environment().await, stack.template(TINY).await);
    let path = format!("/v1/resource-templates/{kind}/versions/1.0.0");
    let changed = stack.patch(&path, &json!({"retain": true})).await.expect(200);
    assert_eq!((&changed.body["retain"], &changed.body["state"]), (&json!(true), &json!("Active")));
    let score = |more: Value| {
        let mut resource = json!({"type": kind});
        resource.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        Dialect::Own.file(&json!({"one": resource}))
    };
    let id = stack.run(&application, &environment, &score(json!({}))).await.succeeded().resource_id("one");
    let path = format!("/v1/resources/{id}");
    stack.delete(&path).await.is_problem(409, "resource_in_use");
    assert_eq!(stack.teardown(&application, &environment).await.succeeded().outcome("one"), "retained");

    protect(&stack, &environment, true).await;
    let refused = stack.delete(&path).await.expect(202).text("id");
    stack.finished(&refused).await.failed("environment_protected");
    let gone = stack.delete(&format!("{path}?allowDestroy=true")).await.expect(202).text("id");
    let gone = stack.finished(&gone).await.succeeded();
    assert_eq!(gone.0["kind"], "release");
    assert_eq!(stack.resource(&id).await["status"], "Deleted");

    let not = stack.run(&application, &environment, &score(json!({"retain": false}))).await.succeeded();
    assert_eq!(stack.resource(&not.resource_id("one")).await["retain"], false);
}

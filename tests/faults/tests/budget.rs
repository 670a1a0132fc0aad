//! The budget of a run and the limits of an operation: what does not fit into one goes on in the next, or ends in time.

use conductor_acceptance::unique;
use conductor_faults::{Faults, GATED, Gate, Workers, chain, file, gated, gated_address, serials, shows};
use serde_json::json;

/// Objects of 9 seconds each: four do not fit into the 35 seconds that terraform has in a function that ends after 50.
const NAMES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

#[tokio::test]
async fn many_objects_of_one_state_are_made_over_several_budgets_and_each_once() {
    let faults = Faults::load();
    let (application, environment, log) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(&chain(&NAMES)).await;
    let score = file(json!({"it": {"type": kind, "params": {"gate": log.path(), "seconds": 9}}}));
    let id = faults.deploy(&application, &environment, &score).await;
    let done = faults.ended(&id).await.succeeded();
    assert_eq!(done.outcome("it"), "created");
    assert!(done.attempts("it") > 1, "{:#}", done.0);
    for name in NAMES {
        assert_eq!(log.done(name), 1, "{name}");
    }
    let resource = faults.resource(&done.resource_id("it")).await;
    let state = faults.cloud.state(&resource).await.expect("a state");
    assert_eq!(state["resources"].as_array().map(Vec::len), Some(NAMES.len()), "{state:#}");
    assert!(serials(&faults.cloud.stored_states(&resource).await).len() > 1);
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn an_object_that_two_budgets_do_not_suffice_for_is_named_and_goes_to_the_workers() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["slow"])}))).await;
    let over = faults.until(&id, "with the workers", |it| shows(it, "it", "executor", "worker")).await;
    assert_eq!((over.outcome("it"), over.attempts("it")), ("Ready", 2));
    let in_flight = &over.operation("it")["inFlight"];
    assert_eq!(in_flight[0]["address"], gated_address("slow"));
    assert!(in_flight[0]["seconds"].as_u64().is_some_and(|seconds| seconds > 0), "{in_flight:#}");
    assert!(faults.cloud.locks(&environment).await.is_empty());

    gate.open_all();
    let workers = Workers::of(&faults).await;
    let _worker = workers.start();
    let done = workers.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it"), gate.done("slow")), ("created", 3, 1));
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

#[tokio::test]
async fn an_interrupted_update_remakes_what_it_left_tainted_itself() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    gate.open("old");
    let first = file(json!({"it": gated(&kind, &gate, &["old"])}));
    let id = faults.deploy(&application, &environment, &first).await;
    let made = faults.ended(&id).await.succeeded();
    let before = faults.resource(&made.resource_id("it")).await["outputs"]["ids"]["value"]["old"].clone();

    let second = file(json!({"it": gated(&kind, &gate, &["old", "new"])}));
    let id = faults.deploy(&application, &environment, &second).await;
    gate.reached("new", 2).await;
    gate.open("new");
    let changed = faults.ended(&id).await.succeeded();
    assert_eq!((changed.outcome("it"), changed.attempts("it")), ("updated", 2));
    let ids = &faults.resource(&made.resource_id("it")).await["outputs"]["ids"]["value"];
    assert!(ids["old"] == before && ids["new"].is_string(), "{ids:#}");
    assert_eq!((gate.began("old").len(), gate.done("new")), (1, 1));
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn what_was_tainted_before_an_update_is_not_replaced_without_leave() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_with(GATED, &json!({"limits": {"attempts": 1}})).await;
    gate.open("old");
    let first = file(json!({"it": gated(&kind, &gate, &["old"])}));
    let id = faults.deploy(&application, &environment, &first).await;
    let made = faults.ended(&id).await.succeeded();

    let second = file(json!({"it": gated(&kind, &gate, &["old", "new"])}));
    let id = faults.deploy(&application, &environment, &second).await;
    let over = faults.ended(&id).await;
    assert_eq!((over.status(), over.error(), over.attempts("it")), ("TimedOut", "attempts_exhausted", 1));
    assert_eq!(over.outcome("it"), "TimedOut");
    gate.open("new");
    let id = faults.deploy(&application, &environment, &second).await;
    let refused = faults.ended(&id).await.failed("would_replace");
    let detail = refused.operation("it")["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains(&gated_address("new")), "{detail}");
    let id = faults.deploy_with(&application, &environment, &second, json!({"allowReplace": ["it"]})).await;
    let allowed = faults.ended(&id).await.succeeded();
    assert_eq!((allowed.outcome("it"), allowed.resource_id("it")), ("updated", made.resource_id("it")));
    assert_eq!((gate.began("old").len(), gate.began("new").len(), gate.done("new")), (1, 2, 1));
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn what_runs_for_longer_than_its_minutes_is_stopped_and_timed_out() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let limits = json!({"executor": "worker", "limits": {"runningMinutes": 1}});
    let kind = faults.template_with(GATED, &limits).await;
    let workers = Workers::of(&faults).await;
    let _worker = workers.start();
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["slow"])}))).await;
    let over = workers.ended(&id).await;
    assert_eq!((over.status(), over.error(), over.attempts("it")), ("TimedOut", "ran_too_long", 1));
    let resource = faults.resource(&over.resource_id("it")).await;
    let state = faults.cloud.state(&resource).await.expect("a state");
    assert!(state.to_string().contains(r#""status":"tainted""#), "it had time to store its state: {state:#}");
    faults.comes_to_rest(&environment).await;
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

#[tokio::test]
async fn what_no_worker_takes_for_longer_than_its_minutes_is_timed_out() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let limits = json!({"executor": "worker", "limits": {"waitingMinutes": 1}});
    let kind = faults.template_with(GATED, &limits).await;
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["never"])}))).await;
    let over = faults.ended(&id).await;
    assert_eq!((over.status(), over.error(), over.attempts("it")), ("TimedOut", "waited_too_long", 0));
    assert!(gate.began("never").is_empty());
    faults.leaves_nothing(&environment).await;
}

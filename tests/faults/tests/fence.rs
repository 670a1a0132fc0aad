//! The fence: a provisioner and its terraform that were stopped, taken over, and go on, can harm nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conductor_acceptance::{Deployment, time, unique};
use conductor_faults::{
    Fate, Faults, GATED, Gate, Proxy, Request, Running, Workers, eventually, file, gated, is_with_worker, serials,
    shows, warnings,
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Longer than the 5 seconds between two heartbeats, shorter than the 15 that the fence waits for one.
const SHORT: Duration = Duration::from_secs(7);

/// What must not change any more: the record of an operation, and the state of its resource.
async fn picture(faults: &Faults, deployment: &Deployment, resource: &str) -> (Value, Value) {
    let shown = faults.resource(&deployment.resource_id(resource)).await;
    let state = faults.cloud.state(&shown).await.expect("a state");
    (faults.cloud.operation(deployment.id(), 1).await, state)
}

/// Waits until a terraform that was let go on is gone.
async fn is_gone(running: &Running) {
    eventually("the terraform that was stopped is gone", async || (!running.lives()).then_some(())).await;
}

#[tokio::test]
async fn who_is_stopped_for_less_than_its_lease_goes_on_as_if_nothing_had_happened() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    let running = faults.is_at(&id, "it", &gate, "a").await;
    running.freeze();
    let heartbeat = async || faults.deployment(&id).await.operation("it")["heartbeatAt"].clone();
    let (last, since) = (heartbeat().await, Instant::now());
    eventually("it has been silent", async || (since.elapsed() >= SHORT).then_some(())).await;
    assert_eq!(heartbeat().await, last);
    running.thaw();
    gate.open_all();
    let done = faults.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 1));
    assert!(warnings(done.operation("it")).is_empty(), "{:#}", done.0);
    assert_eq!(faults.cloud.operation(&id, 1).await["epoch"], 1);
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 1));
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn who_goes_on_after_it_was_taken_over_is_stopped_before_anybody_else_starts() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    let running = faults.is_at(&id, "it", &gate, "a").await;
    running.freeze();
    let waits = faults.until(&id, "taken over", |it| shows(it, "it", "waitingFor", "lock")).await;
    let not_before = time(&waits.operation("it")["notBefore"]);
    running.thaw();
    is_gone(&running).await;
    let still = faults.deployment(&id).await;
    assert!(shows(&still, "it", "waitingFor", "lock"), "its end is nobody's business: {:#}", still.0);
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 0));

    gate.open_all();
    let done = faults.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 2));
    let began = gate.began("a");
    assert_eq!((began.len(), gate.done("a")), (2, 1));
    assert!(began[1] + SignedDuration::from_secs(1) >= not_before, "{began:?} and not before {not_before}");
    assert!(faults.cloud.operation(&id, 1).await["epoch"].as_u64() >= Some(2));
    serials(&faults.cloud.stored_states(&faults.resource(&done.resource_id("it")).await).await);
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn who_goes_on_when_somebody_else_has_done_its_work_changes_nothing() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_for_workers(GATED).await;
    let workers = Workers::of(&faults).await;
    let mut frozen = workers.start();
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    let running = workers.are_at(&id, "it", &gate, "a").await;
    running.freeze();
    gate.open_all();
    let _other = workers.start();
    let done = workers.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 2));
    assert!(warnings(done.operation("it")).contains(&"lock_released"), "{:#}", done.0);
    let before = picture(&faults, &done, "it").await;

    // The object that it waits for is done by now: nothing but its credentials keeps it from storing its state.
    running.thaw();
    is_gone(&running).await;
    assert!(frozen.stop().await.success());
    assert_eq!(picture(&faults, &done, "it").await, before);
    serials(&faults.cloud.stored_states(&faults.resource(&done.resource_id("it")).await).await);
    faults.comes_to_rest(&environment).await;
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

#[tokio::test]
async fn who_is_stopped_before_its_lock_does_not_get_it_when_somebody_else_has_done_its_work() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_for_workers(GATED).await;
    let workers = Workers::of(&faults).await;
    let proxy = Proxy::before(&faults, |request: &Request| {
        let locks = request.method == "PUT" && request.path.contains(".tflock");
        if locks { Fate::Hold } else { Fate::Pass }
    })
    .await;
    let mut frozen = workers.start_behind(&proxy);
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    workers.until(&id, "with a worker", |it| is_with_worker(it, "it")).await;
    proxy.holds().await;
    let running = faults.terraform_of(&id, "it").await;
    running.freeze();
    gate.open_all();
    let _other = workers.start();
    let done = workers.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 2));
    let before = picture(&faults, &done, "it").await;

    proxy.release();
    running.thaw();
    is_gone(&running).await;
    assert!(frozen.stop().await.success());
    assert_eq!(picture(&faults, &done, "it").await, before);
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 1));
    assert!(faults.cloud.locks(&environment).await.is_empty());
    faults.comes_to_rest(&environment).await;
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

#[tokio::test]
async fn terraform_never_starts_after_a_lost_lease() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_for_workers(GATED).await;
    let workers = Workers::of(&faults).await;
    let first = AtomicBool::new(true);
    let proxy = Proxy::before(&faults, move |request: &Request| {
        let module = request.method == "GET" && request.path.contains("/templates/");
        if module && first.swap(false, Ordering::Relaxed) { Fate::Hold } else { Fate::Pass }
    })
    .await;
    let mut frozen = workers.start_behind(&proxy);
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    workers.until(&id, "with a worker", |it| is_with_worker(it, "it")).await;
    proxy.holds().await;
    frozen.freeze();
    gate.open_all();
    let _other = workers.start();
    let done = workers.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 2));
    assert!(warnings(done.operation("it")).is_empty(), "{:#}", done.0);
    let before = picture(&faults, &done, "it").await;

    proxy.release();
    frozen.thaw();
    assert!(frozen.stop().await.success());
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 1));
    assert_eq!(picture(&faults, &done, "it").await, before);
    serials(&faults.cloud.stored_states(&faults.resource(&done.resource_id("it")).await).await);
    faults.comes_to_rest(&environment).await;
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

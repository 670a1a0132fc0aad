//! Workers that die: somebody else goes on, once nothing of the dead one can do anything.

use std::sync::atomic::{AtomicBool, Ordering};

use conductor_acceptance::{time, unique};
use conductor_faults::{
    BUCKET, Fate, Faults, GATED, Gate, Proxy, Request, Workers, cancel_path, file, gated, gated_address,
    is_with_worker, serials, shows, warnings,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Where terraform may live, this is not enough: 60 seconds until it has credentials, and the time of those.
const NOT_BEFORE: SignedDuration = SignedDuration::from_secs(75);

/// The actions in a resource's audit trail.
async fn trail(faults: &Faults, id: &str) -> Vec<String> {
    let events = faults.all(&format!("/v1/audit-events?resource={id}")).await;
    events.iter().filter_map(|event| event["action"].as_str()).map(str::to_owned).collect()
}

/// The objects that a resource says may exist although no state has them.
fn unstored(resource: &Value) -> Vec<&str> {
    let objects = resource["unstored"]["objects"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    objects.iter().filter_map(Value::as_str).collect()
}

/// When the reservation of a resource says that its terraform can do nothing any more.
async fn dead_after(faults: &Faults, id: &str) -> Timestamp {
    time(&faults.cloud.resource(id).await["reservation"]["deadAfter"])
}

#[tokio::test]
async fn a_run_that_was_killed_is_taken_over_and_goes_on_once_it_can_do_nothing() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    faults.is_at(&id, "it", &gate, "a").await.kill();
    gate.open_all();
    let waits = faults.until(&id, "taken over", |it| shows(it, "it", "waitingFor", "lock")).await;
    let not_before = time(&waits.operation("it")["notBefore"]);
    assert_eq!(faults.cloud.locks(&environment).await.len(), 1, "the dead run's lock");
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 0));

    let done = faults.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 2));
    let began = gate.began("a");
    assert_eq!((began.len(), gate.done("a")), (2, 1));
    assert!(began[1] + SignedDuration::from_secs(1) >= not_before, "{began:?} and not before {not_before}");
    let mut told = warnings(done.operation("it"));
    told.sort_unstable();
    assert_eq!(told, ["lock_released", "state_may_be_incomplete"]);
    let resource = done.resource_id("it");
    let shown = faults.resource(&resource).await;
    assert_eq!(shown["unstored"]["deployment"], id.as_str());
    let mut objects = unstored(&shown);
    objects.sort_unstable();
    assert_eq!(objects, ["module.resource.terraform_data.free", &gated_address("a")]);
    let trail = trail(&faults, &resource).await;
    for action in ["resource.lockReleased", "resource.stateMayBeIncomplete"] {
        assert!(trail.iter().any(|one| one == action), "no {action} in {trail:?}");
    }
    serials(&faults.cloud.stored_states(&shown).await);

    let seen = faults.patch(&format!("/v1/resources/{resource}"), &json!({"reconciled": true})).await.expect(200);
    assert!(seen.body["unstored"].is_null(), "{:#}", seen.body);
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn a_bucket_that_a_killed_run_made_and_did_not_store_is_named() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let (kind, prefix) = (faults.template(BUCKET).await, format!("{}-", unique("orphan")));
    let score = file(json!({"it": {"type": kind, "params": {"gate": gate.path(), "prefix": prefix}}}));
    let id = faults.deploy(&application, &environment, &score).await;
    faults.is_at(&id, "it", &gate, "it").await.kill();
    let orphans = faults.cloud.buckets(&prefix).await;
    assert_eq!(orphans.len(), 1, "the killed run has made a bucket");
    gate.open_all();
    let done = faults.ended(&id).await.succeeded();
    let resource = faults.resource(&done.resource_id("it")).await;
    assert!(unstored(&resource).contains(&"module.resource.aws_s3_bucket.this"), "{resource:#}");
    let bucket = resource["outputs"]["bucket"]["value"].as_str().expect("a bucket");
    assert!(!orphans.contains(bucket), "the next run has made another one");

    let mut all = faults.cloud.buckets(&prefix).await;
    assert!(all.remove(bucket), "{bucket} is there");
    assert_eq!(all, orphans, "what is in no state is what was named");
    for orphan in &orphans {
        faults.cloud.delete_bucket(orphan).await;
    }
    let path = format!("/v1/resources/{}", done.resource_id("it"));
    faults.patch(&path, &json!({"reconciled": true})).await.expect(200);
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    assert!(faults.cloud.buckets(&prefix).await.is_empty());
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn a_worker_that_dies_before_terraform_started_is_waited_for_no_longer_than_its_lease() {
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
    let dies = workers.start_behind(&proxy);
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    workers.until(&id, "with a worker", |it| is_with_worker(it, "it")).await;
    proxy.holds().await;
    dies.kill();
    gate.open_all();
    let _lives = workers.start();
    let done = workers.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 2));
    assert!(warnings(done.operation("it")).is_empty(), "{:#}", done.0);
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 1));
    let took = time(&done.0["completedAt"]).duration_since(time(&done.0["startedAt"]));
    assert!(took < NOT_BEFORE, "it took {took}");
    faults.comes_to_rest(&environment).await;
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

#[tokio::test]
async fn a_later_deployment_that_meets_what_a_killed_run_left_goes_on_as_safely() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let score = file(json!({"it": gated(&kind, &gate, &["a"])}));
    let id = faults.deploy(&application, &environment, &score).await;
    faults.is_at(&id, "it", &gate, "a").await.kill();
    faults.post(&cancel_path(&id), &json!({"rollback": "none"})).await.expect(202);
    let cancelled = faults.ended(&id).await;
    assert_eq!((cancelled.status(), &cancelled.0["cancel"]["outcome"]), ("Cancelled", &json!("partial")));
    let resource = cancelled.resource_id("it");
    let dead_after = dead_after(&faults, &resource).await;
    assert_eq!(faults.cloud.locks(&environment).await.len(), 1, "the dead run's lock");

    gate.open_all();
    let id = faults.deploy(&application, &environment, &score).await;
    faults.until(&id, "waiting for the resource", |it| shows(it, "it", "waitingFor", "resource")).await;
    assert_eq!(gate.began("a").len(), 1);
    let done = faults.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it"), done.resource_id("it")), ("created", 1, resource.clone()));
    let began = gate.began("a");
    assert_eq!((began.len(), gate.done("a")), (2, 1));
    assert!(began[1] + SignedDuration::from_secs(1) >= dead_after, "{began:?} and not before {dead_after}");
    let mut told = warnings(done.operation("it"));
    told.sort_unstable();
    assert_eq!(told, ["lock_released", "state_may_be_incomplete"]);
    assert_eq!(faults.resource(&resource).await["unstored"]["deployment"], id.as_str());
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

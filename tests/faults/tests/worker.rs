//! A process that is no Lambda: the provisioner's program as a plain worker.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use conductor_acceptance::{Deployment, unique};
use conductor_faults::{Faults, GATED, Gate, Workers, eventually, file, gated, serials, shows};
use serde_json::{Value, json};

#[tokio::test]
async fn a_worker_that_runs_once_does_one_operation() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_for_workers(GATED).await;
    gate.open_all();
    let names = ["one", "two"];
    let score = file(json!({"one": gated(&kind, &gate, &["one"]), "two": gated(&kind, &gate, &["two"])}));
    let id = faults.deploy(&application, &environment, &score).await;
    let both = |it: &Deployment| names.iter().all(|name| shows(it, name, "executor", "worker"));
    faults.until(&id, "with the workers", both).await;

    // What the stack's own queue for workers has of it.
    let mut found: BTreeMap<u64, String> = BTreeMap::new();
    eventually("both wake-ups are in the workers' queue", async || {
        for body in faults.cloud.messages_for_workers().await {
            let wake: Value = serde_json::from_str(&body).expect("a wake-up is JSON");
            if wake["deploymentId"] == id.as_str() {
                assert_eq!(wake["executor"], "worker");
                found.insert(wake["operation"].as_u64().expect("an operation"), body);
            }
        }
        (found.len() == names.len()).then_some(())
    })
    .await;
    assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2]));

    let workers = Workers::of(&faults).await;
    for body in found.values() {
        workers.send(body).await;
    }
    assert!(workers.start_once().ended().await.success());
    let half = faults.deployment(&id).await;
    let outcomes: BTreeSet<_> = names.iter().map(|name| half.outcome(name)).collect();
    assert_eq!(outcomes, BTreeSet::from(["Ready", "created"]), "{:#}", half.0);
    assert!(workers.start_once().ended().await.success());
    let done = workers.ended(&id).await.succeeded();
    for name in names {
        assert_eq!((done.outcome(name), done.attempts(name)), ("created", 1));
    }
    let _worker = workers.start();
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_stores_the_state_and_another_one_goes_on() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_for_workers(GATED).await;
    let workers = Workers::of(&faults).await;
    let mut first = workers.start();
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    let running = workers.are_at(&id, "it", &gate, "a").await;
    assert!(first.stop().await.success());
    assert!(!running.lives());
    let back = faults.deployment(&id).await;
    assert_eq!((back.outcome("it"), back.attempts("it")), ("Ready", 1), "{:#}", back.0);
    let resource = faults.resource(&back.resource_id("it")).await;
    let state = faults.cloud.state(&resource).await.expect("a state");
    assert!(state.to_string().contains(r#""status":"tainted""#), "{state:#}");
    assert!(faults.cloud.locks(&environment).await.is_empty());

    gate.open_all();
    let _second = workers.start();
    let done = workers.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 2));
    assert_eq!((gate.began("a").len(), gate.done("a")), (2, 1));
    serials(&faults.cloud.stored_states(&resource).await);
    faults.comes_to_rest(&environment).await;
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

#[tokio::test]
async fn a_workers_terraform_gets_new_keys_for_as_long_as_the_lease_is_kept() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_for_workers(GATED).await;
    let workers = Workers::of(&faults).await;
    let _worker = workers.start();
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    let running = workers.are_at(&id, "it", &gate, "a").await;
    let file_of_keys = running.folder().join("backend.json");
    let mut seen = BTreeSet::new();
    // Keys are renewed when two thirds of their time are over: the first have ended when the third are there.
    eventually("it has had keys three times", async || {
        let keys: Option<Value> = serde_json::from_str(&fs::read_to_string(&file_of_keys).unwrap_or_default()).ok();
        seen.extend(keys.and_then(|keys| keys["AccessKeyId"].as_str().map(str::to_owned)));
        (seen.len() >= 3).then_some(())
    })
    .await;
    gate.open_all();
    let done = workers.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 1));
    faults.comes_to_rest(&environment).await;
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

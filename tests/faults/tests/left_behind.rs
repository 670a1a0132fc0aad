//! What a killed worker leaves on its machine: another one removes it before it runs anything.

use std::fs;

use conductor_acceptance::unique;
use conductor_faults::{Faults, GATED, Gate, Workers, eventually, file, gated};
use serde_json::json;

#[tokio::test]
async fn credentials_and_processes_of_a_killed_worker_are_gone_before_another_one_works() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_for_workers(GATED).await;
    let workers = Workers::of(&faults).await;
    let dies = workers.start();
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    let running = workers.are_at(&id, "it", &gate, "a").await;
    let keys = running.folder().join("backend.json");
    assert!(fs::metadata(&keys).is_ok_and(|keys| keys.len() > 0), "{}", keys.display());
    dies.kill();
    eventually("terraform dies with its worker", async || (!running.lives()).then_some(())).await;

    // What terraform had started lives on, and would go through the gate.
    let _lives = workers.start();
    eventually("the dead worker's folder is gone", async || (!running.folder().exists()).then_some(())).await;
    gate.open_all();
    let done = workers.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 2));
    assert_eq!((gate.began("a").len(), gate.done("a")), (2, 1), "only the second one went through");
    faults.comes_to_rest(&environment).await;
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

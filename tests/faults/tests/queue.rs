//! The queue is a hint: wake-ups may come twice, late, early, in any order, or never.

use std::process::Stdio;

use conductor_acceptance::{Aws, Deployment, unique};
use conductor_faults::{Faults, GATED, Gate, checkout, eventually, file, gated, shows, wake};
use serde_json::json;
use tokio::process::Command;

/// A deployment that does not exist.
const NOBODY: &str = "01900000-0000-7000-8000-000000000000";
/// What hangs on the first one of a file.
const BRANCHES: [&str; 3] = ["left", "middle", "right"];

/// A file whose first resource waits at a gate, and others that depend on it.
fn fan(kind: &str, gate: &Gate) -> String {
    let mut resources = json!({"first": gated(kind, gate, &["a"])});
    for branch in BRANCHES {
        resources[branch] = json!({"type": "note", "dependsOn": ["first"]});
    }
    file(resources)
}

/// Checks that every operation ran terraform once.
#[track_caller]
fn each_ran_once(done: &Deployment) {
    for operation in done.operations() {
        let name = operation["resource"].as_str().unwrap_or_default();
        assert_eq!((done.outcome(name), done.attempts(name)), ("created", 1), "{:#}", done.0);
    }
}

#[tokio::test]
async fn wake_ups_that_come_twice_early_late_or_out_of_order_have_no_effect() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let id = faults.deploy(&application, &environment, &fan(&kind, &gate)).await;
    gate.reached("a", 1).await;
    for number in [4, 3, 2, 1] {
        faults.cloud.wake(&wake(&id, Some(number), "lambda")).await;
    }
    for _ in 0..10 {
        faults.cloud.wake(&wake(&id, Some(1), "lambda")).await;
    }
    for number in 1..=4 {
        faults.cloud.wake_later(&wake(&id, Some(number), "lambda"), 3).await;
    }
    for body in [wake(&id, None, "lambda"), wake(&id, Some(99), "lambda"), wake(NOBODY, Some(1), "lambda")] {
        faults.cloud.wake(&body).await;
    }
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 0));
    gate.open_all();
    let done = faults.ended(&id).await.succeeded();
    each_ran_once(&done);
    for number in 1..=4 {
        faults.cloud.wake(&wake(&id, Some(number), "lambda")).await;
        assert_eq!(faults.cloud.operation(&id, number).await["epoch"], 1);
    }
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 1));
    faults.comes_to_rest(&environment).await;
    each_ran_once(&faults.deployment(&id).await);
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

/// It loses the messages of everybody who deploys in the same moment. The sweeper finds those as well.
#[tokio::test]
async fn wake_ups_that_are_lost_in_mid_deployment_are_not_missed() {
    let faults = Faults::load();
    let aws = Aws::of(&faults);
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let id = faults.deploy(&application, &environment, &fan(&kind, &gate)).await;
    gate.reached("a", 1).await;
    aws.delay_messages(60).await;
    gate.open_all();
    let begun = |it: &Deployment| shows(it, "first", "effect", "created");
    faults.until(&id, "done with the first", begun).await;
    aws.lose_messages().await;
    aws.delay_messages(0).await;
    let lost = faults.deployment(&id).await;
    let ready = BRANCHES.iter().filter(|name| lost.outcome(name) == "Ready").count();
    assert!(ready >= 1, "nothing was lost: {:#}", lost.0);
    each_ran_once(&faults.ended(&id).await.succeeded());
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_goes_to_the_dead_letters_and_disturbs_nobody() {
    let faults = Faults::load();
    let (application, environment, mark) = (unique("app"), faults.environment().await, unique("poison"));
    let poison = [format!("{{not json {mark}"), json!({"deploymentId": mark}).to_string()];
    for body in &poison {
        faults.cloud.wake(body).await;
    }
    let id = faults.deploy(&application, &environment, &file(json!({"it": {"type": "note"}}))).await;
    let done = faults.ended(&id).await.succeeded();
    each_ran_once(&done);
    let mut found = Vec::new();
    eventually("both are dead letters", async || {
        found.extend(faults.cloud.dead_letters().await.into_iter().filter(|body| body.contains(&mark)));
        poison.iter().all(|body| found.contains(body)).then_some(())
    })
    .await;

    // What can be read goes back to its queue, and there has no effect.
    let buried = wake(&id, Some(1), "lambda");
    faults.cloud.bury(&buried).await;
    let moved = redrive().await;
    assert!(!moved.starts_with("0 moved"), "{moved}");
    let mut left = Vec::new();
    eventually("the others are dead letters still", async || {
        left.extend(faults.cloud.dead_letters().await);
        poison.iter().all(|body| left.contains(body)).then_some(())
    })
    .await;
    assert!(!left.contains(&buried), "{left:?}");
    assert_eq!(faults.cloud.operation(&id, 1).await["epoch"], 1);
    let mut removed = 0;
    eventually("they are removed", async || {
        removed += faults.cloud.remove_dead_letters(|body| body.contains(&mark)).await;
        (removed >= poison.len()).then_some(())
    })
    .await;
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

/// What `make redrive` does, and what it says.
#[expect(clippy::disallowed_methods, reason = "the tool is a program")]
async fn redrive() -> String {
    let root = checkout();
    let mut command = Command::new(root.join(".venv/bin/python"));
    command.args(["-m", "infra.redrive", "--local", "--name", "faults"]).current_dir(&root).stdin(Stdio::null());
    let output = command.output().await.expect("the tool runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

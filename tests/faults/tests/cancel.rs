//! Cancelling: what has not started does not, what runs stores its state, and what was made goes.

use std::collections::BTreeSet;

use conductor_acceptance::{Deployment, time, unique};
use conductor_faults::{
    Faults, GATED, Gate, Workers, cancel_path, eventually, file, gated, gated_address, shows, warnings,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// How soon what runs has stopped: it is told within 5 seconds.
const STOPS: SignedDuration = SignedDuration::from_secs(10);
/// How soon a cancel may be forced.
const FORCE_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Cancels a deployment, and answers with it.
async fn cancel(faults: &Faults, id: &str, body: Value) -> Deployment {
    Deployment(faults.post(&cancel_path(id), &body).await.expect(202).body)
}

/// Checks that a deployment is cancelled with this outcome.
#[track_caller]
fn is_cancelled(deployment: &Deployment, outcome: &str) {
    let found = (deployment.status(), deployment.error(), &deployment.0["cancel"]["outcome"]);
    assert_eq!(found, ("Cancelled", "cancelled", &json!(outcome)), "{:#}", deployment.0);
}

/// The time between two times in the API.
fn between(from: &Value, to: &Value) -> SignedDuration {
    time(to).duration_since(time(from))
}

/// What became of the only release of what an operation made.
#[track_caller]
fn released(deployment: &Deployment, resource: &str) -> String {
    match deployment.releases(&deployment.resource_id(resource)).as_slice() {
        [release] => release["effect"].as_str().unwrap_or_default().to_owned(),
        releases => panic!("{resource} has the releases {releases:#?}"),
    }
}

#[tokio::test]
async fn what_has_not_started_is_cancelled_at_once() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_for_workers(GATED).await;
    let score = file(json!({"it": gated(&kind, &gate, &["never"]), "after": {"type": "note", "dependsOn": ["it"]}}));
    let id = faults.deploy(&application, &environment, &score).await;
    faults.until(&id, "waiting for a worker", |it| shows(it, "it", "executor", "worker")).await;
    cancel(&faults, &id, json!({})).await;
    let ended = faults.ended(&id).await;
    is_cancelled(&ended, "clean");
    assert_eq!((ended.outcome("it"), ended.outcome("after"), ended.operations().len()), ("Cancelled", "Cancelled", 2));
    assert!(between(&ended.0["cancel"]["requestedAt"], &ended.0["completedAt"]) < STOPS, "{:#}", ended.0);
    assert!(gate.began("never").is_empty());
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn what_waits_for_its_turn_is_cancelled_and_the_one_before_it_goes_on() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let first = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    gate.reached("a", 1).await;
    let second = faults.deploy(&application, &environment, &file(json!({"other": {"type": "note"}}))).await;
    assert_eq!(faults.deployment(&second).await.status(), "Pending");
    let ended = cancel(&faults, &second, json!({})).await;
    is_cancelled(&ended, "clean");
    assert!(ended.operations().is_empty());
    gate.open_all();
    let done = faults.ended(&first).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 1));
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn what_runs_stores_its_state_and_what_was_made_goes_where_nobody_else_uses_it() {
    let faults = Faults::load();
    let (application, other, environment) = (unique("app"), unique("other"), faults.environment().await);
    let (gate, kind, name) = (Gate::closed(), faults.template(GATED).await, unique("shared"));
    let shared = json!({"type": "note", "reference": {"mode": "shared", "name": name}});
    let score = file(json!({
        "slow": gated(&kind, &gate, &["a"]),
        "own": {"type": "note"},
        "ours": shared,
        "after": {"type": "note", "dependsOn": ["slow"]},
    }));
    let id = faults.deploy(&application, &environment, &score).await;
    gate.reached("a", 1).await;
    let made = |it: &Deployment| shows(it, "own", "effect", "created") && shows(it, "ours", "effect", "created");
    faults.until(&id, "by half made", made).await;
    let used = faults.deploy(&other, &environment, &file(json!({"ours": shared}))).await;
    let used = faults.ended(&used).await.succeeded();
    assert_eq!(used.outcome("ours"), "linked");

    let asked = cancel(&faults, &id, json!({})).await;
    let facts = (&asked.0["cancel"]["rollback"], &asked.0["cancel"]["outcome"]);
    assert_eq!(facts, (&json!("created"), &Value::Null));
    let again = cancel(&faults, &id, json!({"rollback": "none"})).await;
    for field in ["requestedAt", "requestedBy", "rollback"] {
        assert_eq!(again.0["cancel"][field], asked.0["cancel"][field], "{field}");
    }
    let ended = faults.ended(&id).await;
    is_cancelled(&ended, "clean");
    assert_eq!((ended.outcome("slow"), ended.outcome("after")), ("Cancelled", "Cancelled"));
    let stopped = between(&ended.0["cancel"]["requestedAt"], &ended.operation("slow")["completedAt"]);
    assert!(stopped < STOPS, "stopped after {stopped}");
    let effects = ["slow", "own", "ours"].map(|resource| released(&ended, resource));
    assert_eq!(effects, ["destroyed", "destroyed", "released"]);
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 0));
    let slow = faults.resource(&ended.resource_id("slow")).await;
    let states = faults.cloud.stored_states(&slow).await;
    assert!(states.iter().any(|state| state.to_string().contains(r#""status":"tainted""#)), "{states:#?}");
    let ours = faults.resource(&ended.resource_id("ours")).await;
    assert_eq!((&ours["status"], ours["consumers"].as_array().map(Vec::len)), (&json!("Active"), Some(1)));
    faults.post(&cancel_path(&id), &json!({})).await.is_problem(409, "deployment_finished");
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&other, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn without_rollback_what_was_made_stays_and_is_listed() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let score = file(json!({"slow": gated(&kind, &gate, &["a"]), "own": {"type": "note"}}));
    let id = faults.deploy(&application, &environment, &score).await;
    gate.reached("a", 1).await;
    faults.until(&id, "by half made", |it| shows(it, "own", "effect", "created")).await;
    cancel(&faults, &id, json!({"rollback": "none"})).await;
    let ended = faults.ended(&id).await;
    is_cancelled(&ended, "partial");
    assert_eq!(ended.operations().len(), 2);
    let left = ended.0["cancel"]["left"].as_array().expect("a list of what is left");
    let of = |one: &Value| (one["resource"].clone().to_string(), one["resourceId"].clone().to_string());
    let expected = ["own", "slow"].map(|name| (json!(name).to_string(), json!(ended.resource_id(name)).to_string()));
    assert_eq!(left.iter().map(of).collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    assert!(left.iter().all(|one| one["detail"].is_string()), "{left:#?}");
    let statuses = ["own", "slow"].map(|name| ended.resource_id(name));
    assert_eq!(faults.resource(&statuses[0]).await["status"], "Active");
    assert_eq!(faults.resource(&statuses[1]).await["status"], "Failed");
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn a_cancel_that_comes_when_all_has_been_done_is_too_late() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    let running = faults.is_at(&id, "it", &gate, "a").await;
    // Terraform comes to its end while its provisioner cannot know of the cancel.
    running.freeze_provisioner();
    cancel(&faults, &id, json!({})).await;
    gate.open_all();
    eventually("terraform has ended", async || (!running.lives()).then_some(())).await;
    running.thaw();
    let done = faults.ended(&id).await.succeeded();
    assert_eq!((&done.0["cancel"]["outcome"], done.outcome("it")), (&json!("tooLate"), "created"));
    assert_eq!((done.operations().len(), done.attempts("it")), (1, 1));
    faults.post(&cancel_path(&id), &json!({})).await.is_problem(409, "deployment_finished");
    assert_eq!(faults.resource(&done.resource_id("it")).await["status"], "Active");
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
}

#[tokio::test]
async fn what_does_not_stop_is_killed_by_force_thirty_seconds_later() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    // A function could come to its own end meanwhile.
    let kind = faults.template_for_workers(GATED).await;
    let workers = Workers::of(&faults).await;
    let _worker = workers.start();
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    let running = workers.are_at(&id, "it", &gate, "a").await;
    // A terraform that takes no SIGTERM.
    running.freeze_terraform();
    let force = json!({"force": true});
    faults.post(&cancel_path(&id), &force).await.is_problem(409, "force_too_soon");
    assert!(faults.deployment(&id).await.0["cancel"].is_null());
    cancel(&faults, &id, json!({})).await;
    faults
        .watch(&id, "forced", async |_: &Deployment| {
            let answer = faults.post(&cancel_path(&id), &force).await;
            if answer.status == 202 {
                return Some(());
            }
            answer.is_problem(409, "force_too_soon");
            None
        })
        .await;
    let ended = workers.ended(&id).await;
    is_cancelled(&ended, "clean");
    assert!(!running.lives());
    let forced = between(&ended.0["cancel"]["requestedAt"], &ended.0["cancel"]["forcedAt"]);
    assert!(forced >= FORCE_AFTER, "forced after {forced}");
    let killed = ended.operation("it");
    assert_eq!((&killed["status"], warnings(killed)), (&json!("Cancelled"), vec!["state_may_be_incomplete"]));
    let unstored = &faults.resource(&ended.resource_id("it")).await["unstored"];
    let names = |address: &str| unstored["objects"].as_array().is_some_and(|objects| objects.contains(&json!(address)));
    assert!(names(&gated_address("a")), "{unstored:#}");
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

#[tokio::test]
async fn the_cancel_of_a_deployment_whose_worker_is_dead_ends() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template(GATED).await;
    let score = file(json!({"it": gated(&kind, &gate, &["a"]), "after": {"type": "note", "dependsOn": ["it"]}}));
    let id = faults.deploy(&application, &environment, &score).await;
    faults.is_at(&id, "it", &gate, "a").await.kill();
    cancel(&faults, &id, json!({})).await;
    let ended = faults.ended(&id).await;
    is_cancelled(&ended, "clean");
    assert_eq!((ended.outcome("it"), ended.outcome("after")), ("Cancelled", "Cancelled"));
    assert_eq!(released(&ended, "it"), "destroyed");
    let releases = ended.releases(&ended.resource_id("it"));
    assert!(warnings(releases[0]).contains(&"lock_released"), "{releases:#?}");
    assert_eq!(gate.began("a").len(), 1);
    faults.leaves_nothing(&environment).await;
}

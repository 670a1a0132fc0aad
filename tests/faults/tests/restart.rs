//! The emulator is restarted in mid-deployment: with it end all workers, and all that only its memory knew.

use std::process::Stdio;

use conductor_acceptance::unique;
use conductor_faults::{Faults, GATED, Gate, checkout, eventually, file, gated, warnings};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::process::Command;

/// What the emulator was started with.
fn settings() -> Value {
    let record = std::fs::read_to_string(checkout().join(".local/ministack.json")).expect("the emulator runs");
    let record: Value = serde_json::from_str(&record).expect("its record is JSON");
    record["settings"].clone()
}

#[expect(clippy::disallowed_methods, reason = "the tool is a program")]
async fn restart() {
    let root = checkout();
    let mut command = Command::new(root.join(".venv/bin/python"));
    command.args(["-m", "infra.local.emulator", "restart"]).current_dir(&root).stdin(Stdio::null());
    let output = command.output().await.expect("the tool runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Nobody else may use the emulator meanwhile (`.config/nextest.toml`).
#[tokio::test]
async fn deployments_in_every_phase_go_on_after_a_restart_of_the_emulator() {
    let faults = Faults::load();
    let settings = settings();
    assert_eq!(settings["CONDUCTOR_PERSIST"], "1", "the emulator keeps nothing: start it with CONDUCTOR_PERSIST=1");
    let (application, other, environment) = (unique("app"), unique("other"), faults.environment().await);
    let (gate, kind) = (Gate::closed(), faults.template(GATED).await);
    let note = |text: &str| json!({"type": "note", "params": {"text": text}});
    gate.open("old");
    let before = faults.deploy(&other, &environment, &file(json!({"old": gated(&kind, &gate, &["old"])}))).await;
    let before = faults.ended(&before).await.succeeded();
    let resources = json!({
        "slow": gated(&kind, &gate, &["a"]),
        "after": {"type": "note", "dependsOn": ["slow"]},
        "apart": note("one"),
    });
    let running = faults.deploy(&application, &environment, &file(resources)).await;
    faults.is_at(&running, "slow", &gate, "a").await;
    let waiting = faults.deploy(&application, &environment, &file(json!({"apart": note("two")}))).await;
    let changing = json!({"old": gated(&kind, &gate, &["old"]), "new": note("three"), "more": note("four")});
    let fresh = faults.deploy(&other, &environment, &file(changing)).await;

    restart().await;
    gate.open_all();
    eventually("the API answers", async || (faults.get("/health").await.status == 200).then_some(())).await;
    let ids = [&running, &waiting, &fresh];
    let ended = join_all(ids.map(|id| faults.ended(id))).await;
    let [running, waiting, fresh] = [0, 1, 2].map(|index: usize| ended[index].clone().succeeded());
    assert_eq!((running.outcome("slow"), running.outcome("after")), ("created", "created"));
    assert!(warnings(running.operation("slow")).contains(&"state_may_be_incomplete"), "{:#}", running.0);
    assert_eq!((waiting.outcome("apart"), waiting.outcome("slow")), ("updated", "destroyed"));
    assert_eq!((fresh.outcome("old"), fresh.resource_id("old")), ("unchanged", before.resource_id("old")));
    assert_eq!((gate.began("old").len(), gate.done("a")), (1, 1));
    faults.comes_to_rest(&environment).await;
    faults.torn_down(&application, &environment).await;
    faults.torn_down(&other, &environment).await;
    faults.leaves_nothing(&environment).await;
}

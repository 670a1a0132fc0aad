//! A state that terraform could not store is kept, and stored by the next run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conductor_acceptance::unique;
use conductor_faults::{
    Fate, Faults, GATED, Gate, Proxy, Request, Workers, eventually, file, gated, is_with_worker, serials, warnings,
};
use serde_json::json;

#[tokio::test]
async fn a_state_that_could_not_be_stored_is_kept_and_stored_by_the_next_attempt() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_for_workers(GATED).await;
    let workers = Workers::of(&faults).await;
    let fails = Arc::new(AtomicBool::new(true));
    let rule = {
        let fails = fails.clone();
        move |request: &Request| {
            let path = request.path.split('?').next().unwrap_or_default();
            let stores = request.method == "PUT" && path.ends_with(".tfstate") && !path.contains("/errored/");
            if stores && fails.load(Ordering::Relaxed) { Fate::Refuse } else { Fate::Pass }
        }
    };
    let proxy = Proxy::before(&faults, rule).await;
    let _worker = workers.start_behind(&proxy);
    gate.open_all();
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    workers.until(&id, "with a worker", |it| is_with_worker(it, "it")).await;
    eventually("the state is kept", async || {
        (!faults.cloud.errored_states(&environment).await.is_empty()).then_some(())
    })
    .await;
    assert!(faults.cloud.states(&environment).await.iter().all(|key| !key.ends_with(".tfstate")));
    fails.store(false, Ordering::Relaxed);

    let done = workers.ended(&id).await.succeeded();
    assert_eq!((done.outcome("it"), done.attempts("it")), ("created", 2));
    assert_eq!(warnings(done.operation("it")), ["state_recovered"]);
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 1), "nothing was made twice");
    let resource = faults.resource(&done.resource_id("it")).await;
    assert!(resource["unstored"].is_null(), "{resource:#}");
    assert!(proxy.spoilt() > 0);
    serials(&faults.cloud.stored_states(&resource).await);
    let trail = faults.all(&format!("/v1/audit-events?resource={}", done.resource_id("it"))).await;
    assert!(trail.iter().any(|event| event["action"] == "resource.stateRecovered"), "{trail:#?}");
    faults.comes_to_rest(&environment).await;
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

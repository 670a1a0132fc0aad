//! AWS that throttles, fails, loses answers, and is away for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use conductor_acceptance::{Deployment, unique};
use conductor_faults::{Fate, Faults, GATED, Gate, Proxy, Request, TINY, Workers, eventually, file, gated};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

/// Of a hundred requests so many are refused, are cut off before they arrive, and lose their answer.
const REFUSED: u32 = 4;
const CUT: u32 = 2;
const LOST: u32 = 2;
/// Applications that deploy at once.
const MANY: usize = 4;

/// A rule by which requests are spoilt at random.
fn at_random(seed: u64) -> impl Fn(&Request) -> Fate + Send + Sync + 'static {
    let random = Mutex::new(StdRng::seed_from_u64(seed));
    move |_: &Request| {
        let percent = random.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..100_u32);
        match percent {
            0..REFUSED => Fate::Refuse,
            percent if percent < REFUSED + CUT => Fate::Cut,
            percent if percent < REFUSED + CUT + LOST => Fate::Lose,
            _ => Fate::Pass,
        }
    }
}

/// Deploys and tears down over a proxy that spoils requests.
async fn all_end_rightly(seed: u64) {
    let faults = Faults::load();
    let environment = faults.environment().await;
    let kind = faults.template_for_workers(TINY).await;
    let workers = Workers::of(&faults).await;
    let proxy = Proxy::before(&faults, at_random(seed)).await;
    let _both = [workers.start_behind(&proxy), workers.start_behind(&proxy)];
    let shared = json!({"type": kind, "reference": {"mode": "shared", "name": unique("shared")}});
    let score = file(json!({
        "ours": shared,
        "mine": {"type": kind, "params": {"text": "${resources.ours.text}"}, "dependsOn": ["ours"]},
    }));
    let applications: Vec<_> = (0..MANY).map(|_| unique("app")).collect();
    let ids = join_all(applications.iter().map(|name| faults.deploy(name, &environment, &score))).await;
    let done: Vec<Deployment> = join_all(ids.iter().map(|id| workers.ended(id))).await;
    for deployment in &done {
        let deployment = deployment.clone().succeeded();
        assert_eq!(deployment.resource_id("ours"), done[0].resource_id("ours"));
        assert_eq!(deployment.outcome("mine"), "created");
    }
    faults.comes_to_rest(&environment).await;
    join_all(applications.iter().map(|name| workers.torn_down(name, &environment))).await;
    faults.leaves_nothing(&environment).await;
    println!("seed {seed}: {} requests were spoilt", proxy.spoilt());
    assert!(proxy.spoilt() > 0);
    workers.close().await;
}

#[tokio::test]
async fn all_deployments_end_rightly_where_requests_to_aws_fail_at_random() {
    all_end_rightly(1).await;
}

#[tokio::test]
async fn all_deployments_end_rightly_where_requests_to_aws_fail_at_random_in_another_order() {
    all_end_rightly(2).await;
}

#[tokio::test]
async fn terraform_is_stopped_where_aws_does_not_answer_and_goes_on_when_it_does() {
    let faults = Faults::load();
    let (application, environment, gate) = (unique("app"), faults.environment().await, Gate::closed());
    let kind = faults.template_for_workers(GATED).await;
    let workers = Workers::of(&faults).await;
    let away = Arc::new(AtomicBool::new(false));
    let rule = {
        let away = away.clone();
        move |_: &Request| if away.load(Ordering::Relaxed) { Fate::Cut } else { Fate::Pass }
    };
    let proxy = Proxy::before(&faults, rule).await;
    let _worker = workers.start_behind(&proxy);
    let id = faults.deploy(&application, &environment, &file(json!({"it": gated(&kind, &gate, &["a"])}))).await;
    let running = workers.are_at(&id, "it", &gate, "a").await;
    away.store(true, Ordering::Relaxed);
    eventually("the fence has stopped terraform", async || (!running.lives()).then_some(())).await;
    assert_eq!((gate.began("a").len(), gate.done("a")), (1, 0));
    away.store(false, Ordering::Relaxed);
    gate.open_all();
    let done = workers.ended(&id).await.succeeded();
    assert_eq!(done.outcome("it"), "created");
    assert!(done.attempts("it") > 1, "{:#}", done.0);
    assert_eq!(gate.done("a"), 1);
    faults.comes_to_rest(&environment).await;
    workers.torn_down(&application, &environment).await;
    faults.leaves_nothing(&environment).await;
    workers.close().await;
}

//! Many deployments that share what they use, and many who sweep.

use std::time::Duration;

use conductor_acceptance::unique;
use conductor_faults::{Faults, file};
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Applications, each in a lane of its own.
const LANES: usize = 30;
/// Deployments of each.
const ROUNDS: usize = 10;
/// Names that they share.
const SHARED: usize = 10;
/// Requests at once.
const REQUESTS: usize = 32;
/// Sweepers at once.
const SWEEPERS: usize = 10;
/// How long all may take.
const DEADLINE: Duration = Duration::from_secs(600);
/// How often is looked, and swept.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The file of a round of a lane: two of the shared names, of which one moves on, and a note that changes now and then.
fn score(names: &[String], lane: usize, round: usize) -> String {
    let shared = |index: usize| json!({"type": "note", "reference": {"mode": "shared", "name": names[index % SHARED]}});
    file(json!({
        "stays": shared(lane),
        "moves": shared(lane + 1 + round / 3),
        "own": {"type": "note", "params": {"text": format!("{lane} {}", round / 5)}},
    }))
}

/// Waits until all of an environment's deployments have ended, with many sweepers at once now and then.
async fn all_end(faults: &Faults, environment: &str) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let listed = faults.all(&format!("/v1/deployments?environment={environment}")).await;
        let unfinished =
            listed.iter().filter(|one| one["status"] == "Pending" || one["status"] == "InProgress").count();
        if unfinished == 0 {
            return listed;
        }
        assert!(began.elapsed() < DEADLINE, "{unfinished} deployments have not ended after {DEADLINE:?}");
        join_all((0..SWEEPERS).map(|_| faults.sweep())).await;
        sleep(LOOK_EVERY).await;
    }
}

/// Checks that everything succeeded.
fn all_succeeded(listed: &[Value], count: usize) {
    let other: Vec<_> = listed.iter().filter(|one| one["status"] != "Succeeded").collect();
    assert!(other.is_empty(), "{other:#?}");
    assert_eq!(listed.len(), count);
}

#[tokio::test]
async fn three_hundred_deployments_over_thirty_lanes_that_share_ten_names_all_end() {
    let faults = Faults::load();
    let environment = faults.environment().await;
    let names: Vec<_> = (0..SHARED).map(|_| unique("shared")).collect();
    let applications: Vec<_> = (0..LANES).map(|_| unique("lane")).collect();
    let wanted = (0..ROUNDS).flat_map(|round| (0..LANES).map(move |lane| (lane, round)));
    let posted = wanted.map(|(lane, round)| {
        let (application, score) = (&applications[lane], score(&names, lane, round));
        let (faults, environment) = (&faults, &environment);
        async move { faults.deploy(application, environment, &score).await }
    });
    let posted: Vec<String> = stream::iter(posted).buffer_unordered(REQUESTS).collect().await;
    assert_eq!(posted.len(), LANES * ROUNDS);
    all_succeeded(&all_end(&faults, &environment).await, LANES * ROUNDS);
    faults.comes_to_rest(&environment).await;

    let paths = applications.iter().map(|name| format!("/v1/applications/{name}/environments/{environment}"));
    let torn_down = paths.map(|path| {
        let faults = &faults;
        async move { faults.delete(&path).await.expect(202).text("id") }
    });
    let torn_down: Vec<String> = stream::iter(torn_down).buffer_unordered(REQUESTS).collect().await;
    assert_eq!(torn_down.len(), LANES);
    all_succeeded(&all_end(&faults, &environment).await, LANES * (ROUNDS + 1));
    faults.leaves_nothing(&environment).await;
    faults.delete(&format!("/v1/environments/{environment}")).await.expect(204);
}

//! Many at once: a hundred deployments whose resources are partly their own and partly everybody's.

use std::collections::BTreeMap;

use conductor_acceptance::{time, unique};
use futures::StreamExt;
use futures::stream;
use serde_json::Value;

use crate::api::Api;
use crate::clock::millis;
use crate::count::{Count, Counter};
use crate::functions::Program;
use crate::ground::Ground;
use crate::measure::Samples;
use crate::modules::{TINY, link, many, tiny};
use crate::row::{Goal, Line, Row};
use crate::world::{Store, World, request};

const ENDED: Line =
    Line::new("100 deployments of 5 resources at once, 8 workers: Succeeded", "deployments", Goal::AtLeast(100.0));
const CONFLICTS: Line = Line::new("the same: conflicts for each commit", "ratio", Goal::AtMost(2.0));
const SLOWEST: Line = Line::new("the same: the slowest link, claim to reported", "ms", Goal::AtMost(10_000.0));
pub const LINES: &[Line] = &[ENDED, CONFLICTS, SLOWEST];

const DEPLOYMENTS: usize = 100;
const RESOURCES: usize = 5;
/// How many of them everybody names.
const SHARED: usize = 2;
const WORKERS: usize = 8;
const APIS: usize = 4;
const KIND: &str = "there-already";

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let counter = Counter::new(ground.stack.value("vaultBucket"));
    let world = World::on(ground, Store::Dynoxide, Some(&counter)).await;
    let kind = world.api.publish(TINY).await;
    let shared = world.api.register(&world.environment, KIND, SHARED).await;
    let workers = world.provisioners(WORKERS).await;
    let mut apis = Vec::with_capacity(APIS);
    for _ in 0..APIS {
        apis.push(Api(ground.start(Program::Api, &world.place).await));
    }
    let resources = many(RESOURCES, |number| match shared.get(number) {
        Some(name) => link(KIND, name, None),
        None => tiny(&kind),
    });
    world.deploy_new(&workers[..1], &resources).await;

    let before = counter.read();
    let posts = (0..DEPLOYMENTS).map(|number| {
        let body = request(&unique("app"), &world.environment, &resources);
        let api = &apis[number % APIS];
        async move { api.post("/v1/deployments", &body).await.text(202, "id") }
    });
    let asking = stream::iter(posts).buffer_unordered(APIS).collect::<Vec<String>>();
    let (ids, deliveries) = world.run(&workers, asking).await;
    let tally = counter.read().since(&before);

    let (mut statuses, mut links) = (BTreeMap::<String, usize>::new(), Vec::new());
    for id in &ids {
        let shown = world.shown(id).await;
        *statuses.entry(shown.status().to_owned()).or_default() += 1;
        links.extend(shown.operations().iter().filter_map(link_time));
    }
    let links: Samples = links.into_iter().collect();
    let (commits, conflicts) = (tally.of(Count::Commit), tally.of(Count::Conflict));
    let failed = deliveries.iter().filter(|delivery| delivery.failed).count();
    let succeeded = statuses.get("Succeeded").copied().unwrap_or(0);
    vec![
        ENDED.is(succeeded as f64).with(format!("{statuses:?}; wake-ups that had to come again: {failed}")),
        CONFLICTS.is(conflicts as f64 / commits as f64).with(format!(
            "{conflicts} conditions that did not hold for {commits} commits, on the wire, heartbeats and log batches \
             apart; {} collisions",
            tally.of(Count::Collision)
        )),
        SLOWEST.judged(&links, links.max()).with("a use-case gives up after 40 lost races, about 10 s"),
    ]
}

fn link_time(operation: &Value) -> Option<f64> {
    let linked = operation["effect"] == "linked";
    linked.then(|| millis(time(&operation["startedAt"]), time(&operation["completedAt"])))
}

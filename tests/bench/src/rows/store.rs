//! What an operation asks of the store, counted on the wire from the request to the end.

use conductor_runtime::Function;
use serde_json::Value;

use crate::count::{Count, Counter, Tally};
use crate::ground::Ground;
use crate::modules::{TINY, link, many, tiny};
use crate::row::{Goal, Line, Row};
use crate::world::{Store, World, request};

const ONE: Line = Line::new("store requests for one operation, submit to settled", "requests", Goal::AtMost(14.0));
const LAST: Line =
    Line::new("store requests of the 500th operation of a deployment, against its 5th", "ratio", Goal::AtMost(1.0));
pub const LINES: &[Line] = &[ONE, LAST];

const COUNT: usize = 5;
const OPERATIONS: usize = 500;
/// The operations that are compared.
const FIFTH: u64 = 5;
const LAST_ONE: u64 = 500;

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let counter = Counter::new(ground.stack.value("vaultBucket"));
    let world = World::on(ground, Store::Dynoxide, Some(&counter)).await;
    let worker = world.provisioners(1).await;
    vec![one(&world, &counter, &worker).await, last(&world, &counter, &worker[0]).await]
}

async fn one(world: &World<'_>, counter: &Counter, worker: &[Function]) -> Row {
    let kind = world.api.publish(TINY).await;
    let one = many(1, |_| tiny(&kind));
    world.deploy_new(worker, &one).await;
    let mut totals = Vec::with_capacity(COUNT);
    let mut note = String::new();
    for _ in 0..COUNT {
        let (before, sent) = (counter.read(), world.queue.requests());
        let deployed = world.deploy_new(worker, &one).await;
        // The last look at the deployment is ours.
        let looked = counter.read();
        world.shown(&deployed.id).await;
        let look = counter.read().since(&looked);
        let (tally, queue) = (looked.since(&before).since(&look), world.queue.requests() - sent);
        totals.push((tally.store() + queue) as f64);
        note = told(&tally, queue);
    }
    ONE.of(&totals.into_iter().collect()).with(note)
}

/// What the figure is made of, and what is apart.
fn told(tally: &Tally, queue: u64) -> String {
    let of = |count: Count| tally.of(count);
    format!(
        "table {}, vault {}, queue {queue}; apart: heartbeats {}, log batches {}, templates and states {}, \
         sessions {}, terraform's own {}",
        of(Count::Table),
        of(Count::Vault),
        of(Count::Heartbeat),
        of(Count::Lines),
        of(Count::OtherObjects),
        of(Count::Session),
        of(Count::Terraform),
    )
}

/// Independent operations, so that each is one wake-up; the first comes last, so that no other ends the deployment.
async fn last(world: &World<'_>, counter: &Counter, worker: &Function) -> Row {
    let kind = "there-already";
    let names = world.api.register(&world.environment, kind, OPERATIONS).await;
    let resources = many(OPERATIONS, |number| link(kind, &names[number], None));
    let body = request("counted", &world.environment, &resources);
    let id = world.api.post("/v1/deployments", &body).await.text(202, "id");
    let mut wakes = world.queue.taken();
    assert_eq!(wakes.len(), OPERATIONS, "each operation has a wake-up");
    wakes.sort_by_key(|wake| number(wake));
    wakes.rotate_left(1);
    let mut of = [0.0; 2];
    for wake in wakes {
        let (before, sent) = (counter.read(), world.queue.requests());
        let operation = world.deliver(wake, worker).await.operation;
        let requests = (counter.read().since(&before).store() + world.queue.requests() - sent) as f64;
        match operation {
            Some(FIFTH) => of[0] = requests,
            Some(LAST_ONE) => of[1] = requests,
            _ => {}
        }
    }
    world.shown(&id).await.succeeded();
    let [fifth, last] = of;
    LAST.is(last / fifth).with(format!("{last} against {fifth}, both from claim to settled"))
}

fn number(wake: &str) -> Option<u64> {
    let wake: Value = serde_json::from_str(wake).ok()?;
    wake["operation"].as_u64()
}

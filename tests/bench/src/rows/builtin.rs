//! Terraform's built-in provider: no provider to start, so what is ours shows most.

use conductor_acceptance::unique;

use crate::bare::Bare;
use crate::ground::Ground;
use crate::journal::Journal;
use crate::measure::{Samples, pairs, ratios};
use crate::modules::{TINY, many, tiny, tiny_inputs};
use crate::row::{Goal, Line, Row};
use crate::world::{Store, World};

const ONE: Line =
    Line::new("one built-in resource, submit to Succeeded, against bare init + apply", "ratio", Goal::AtMost(1.5));
const OWN: Line = Line::new("the same: our own time without terraform", "ms", Goal::AtMost(50.0));
const MANY: Line = Line::new(
    "20 independent built-in resources, 4 workers, against 20 bare runs one after the other",
    "ratio",
    Goal::AtMost(0.6),
);
pub const LINES: &[Line] = &[ONE, OWN, MANY];

const PAIRS: usize = 20;
const PAIRS_OF_MANY: usize = 5;
const COUNT: usize = 20;
const WORKERS: usize = 4;

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let world = World::on(ground, Store::MiniStack, None).await;
    let (bare, journal) = (Bare::new(ground, None), Journal::begin());
    let kind = world.api.publish(TINY).await;
    let workers = world.provisioners(WORKERS).await;
    let one = many(1, |_| tiny(&kind));
    let by_hand = async || bare.root(TINY, 1, &tiny_inputs()).init_and_apply().await;
    // Once for the toolchain and the prepared folder of this template; each instance once for its clients.
    for worker in &workers {
        world.deploy_new(std::slice::from_ref(worker), &one).await;
    }
    by_hand().await;

    let mut done = Vec::new();
    let ours = async || {
        let deployed = world.deploy_new(&workers[..1], &one).await;
        done.push((deployed.id.clone(), deployed.seconds()));
        deployed.seconds()
    };
    let single = pairs(PAIRS, ours, by_hand).await;
    let runs = journal.runs();
    let own: Samples =
        done.iter().filter_map(|(id, seconds)| Some(seconds * 1000.0 - runs.get(id)?.terraform)).collect();

    let all = many(COUNT, |_| tiny(&kind));
    let ours = async || world.deploy(&workers, &unique("app"), &world.environment, &all).await.seconds();
    let one_after_the_other = async || {
        let mut seconds = 0.0;
        for _ in 0..COUNT {
            seconds += bare.root(TINY, 1, &tiny_inputs()).init_and_apply().await;
        }
        seconds
    };
    let together = pairs(PAIRS_OF_MANY, ours, one_after_the_other).await;
    vec![
        ONE.of(&ratios(&single)).with(seconds(&single)),
        OWN.of(&own),
        MANY.of(&ratios(&together)).with(seconds(&together)),
    ]
}

/// What the ratios are of.
pub fn seconds(pairs: &[(f64, f64)]) -> String {
    let ours: Samples = pairs.iter().map(|pair| pair.0).collect();
    let theirs: Samples = pairs.iter().map(|pair| pair.1).collect();
    format!("p50 {:.2} s against {:.2} s", ours.percentile(50), theirs.percentile(50))
}

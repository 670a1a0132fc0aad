//! A file that has not changed: terraform reads all that there is, Conductor knows.

use conductor_acceptance::unique;

use super::builtin::seconds;
use super::missing;
use crate::bare::Bare;
use crate::ground::Ground;
use crate::measure::{pairs, ratios};
use crate::modules::{BUCKET, bucket, bucket_inputs, many};
use crate::row::{Goal, Line, Row};
use crate::world::{Store, World};

const UNCHANGED: Line = Line::new(
    "redeploy of 20 unchanged AWS-provider resources, against one bare plan of a root with the same 20",
    "ratio",
    Goal::AtMost(0.05),
);
pub const LINES: &[Line] = &[UNCHANGED];

const PAIRS: usize = 7;
const COUNT: usize = 20;
const WORKERS: usize = 4;

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let provider = match ground.provider() {
        Ok(provider) => provider,
        Err(why) => return missing(LINES, why),
    };
    let world = World::on(ground, Store::MiniStack, None).await;
    let bare = Bare::new(ground, Some(provider));
    let kind = world.api.publish(BUCKET).await;
    let workers = world.provisioners(WORKERS).await;
    let (application, all) = (unique("app"), many(COUNT, |_| bucket(&kind)));
    let deploy = async |count: usize| world.deploy(&workers[..count], &application, &world.environment, &all).await;
    // One provider is enough to make them.
    deploy(1).await;
    let root = bare.root(BUCKET, COUNT, &bucket_inputs());
    root.init_and_apply().await;
    root.plan().await;

    let ours = async || {
        let deployed = deploy(WORKERS).await;
        let unchanged = |operation: &serde_json::Value| operation["effect"] == "unchanged";
        assert!(deployed.shown.operations().iter().all(unchanged), "{:#}", deployed.shown.0);
        deployed.seconds()
    };
    let measured = pairs(PAIRS, ours, async || root.plan().await).await;
    vec![UNCHANGED.of(&ratios(&measured)).with(format!("{WORKERS} workers; {}", seconds(&measured)))]
}

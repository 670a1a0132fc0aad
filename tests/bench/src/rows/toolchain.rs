//! Terraform and the AWS provider, from the bucket to ready in a folder in which there was nothing.

use std::path::Path;

use crate::bare::{command, timed};
use crate::functions::{Place, Program};
use crate::ground::Ground;
use crate::journal::Journal;
use crate::measure::{Samples, ratios};
use crate::modules::{BUCKET, TINY, bucket, many, tiny};
use crate::process::peak_bytes;
use crate::row::{Goal, Line, Row};
use crate::rows::builtin::seconds;
use crate::world::{Store, World};

const COLD: Line = Line::new(
    "toolchain, cold: terraform + AWS provider, against download and unzip of the official archives",
    "ratio",
    Goal::AtMost(0.4),
);
const PEAK: Line = Line::new("the same: peak memory of the provisioner", "MB", Goal::AtMost(200.0));
const WARM: Line = Line::new("toolchain, warm", "ms", Goal::AtMost(2.0));
pub const LINES: &[Line] = &[COLD, PEAK, WARM];

const PAIRS: usize = 5;
const WARM_RUNS: usize = 20;

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let world = World::on(ground, Store::MiniStack, None).await;
    let mut rows = match ground.provider() {
        Ok(_) => cold(ground, &world).await,
        Err(why) => vec![COLD.missing(why), PEAK.missing(why)],
    };
    rows.push(warm(&world).await);
    rows
}

async fn cold(ground: &Ground, world: &World<'_>) -> Vec<Row> {
    let kind = world.api.publish(BUCKET).await;
    let one = many(1, |_| bucket(&kind));
    let (mut measured, mut peaks) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let (ours, theirs);
        if pair.is_multiple_of(2) {
            ours = fetched(ground, world, &one, &mut peaks).await;
            theirs = unzipped(ground).await;
        } else {
            theirs = unzipped(ground).await;
            ours = fetched(ground, world, &one, &mut peaks).await;
        }
        measured.push((ours, theirs));
    }
    let peaks: Samples = peaks.into_iter().collect();
    vec![COLD.of(&ratios(&measured)).with(seconds(&measured)), PEAK.judged(&peaks, peaks.max())]
}

/// How long a function takes that finds nothing, as it says itself; its peak memory until the deployment has ended.
async fn fetched(ground: &Ground, world: &World<'_>, one: &serde_json::Value, peaks: &mut Vec<f64>) -> f64 {
    let folder = ground.folder();
    let place = Place { temporary: folder.path().to_owned(), ..world.place.clone() };
    let instance = [ground.start(Program::Provisioner, &place).await];
    let journal = Journal::begin();
    let id = world.deploy_new(&instance, one).await.id;
    peaks.push(peak_bytes(&instance[0]) as f64 / 1e6);
    journal.runs().get(&id).expect("a run of terraform").toolchain / 1000.0
}

/// How long it takes by hand, one archive after the other.
async fn unzipped(ground: &Ground) -> f64 {
    let folder = ground.folder();
    let mut seconds = 0.0;
    for url in &ground.machine.archives {
        let fetch = ["--silent", "--fail", "--output", "archive.zip", url.as_str()];
        let unpack = ["-q", "-o", "archive.zip"];
        for (program, arguments) in [("curl", &fetch[..]), ("unzip", &unpack[..])] {
            seconds += timed(command(Path::new(program), arguments, folder.path())).await.as_secs_f64();
        }
    }
    seconds
}

async fn warm(world: &World<'_>) -> Row {
    let kind = world.api.publish(TINY).await;
    let (worker, one) = (world.provisioners(1).await, many(1, |_| tiny(&kind)));
    world.deploy_new(&worker, &one).await;
    let journal = Journal::begin();
    for _ in 0..WARM_RUNS {
        world.deploy_new(&worker, &one).await;
    }
    let runs = journal.runs();
    WARM.of(&runs.values().map(|run| run.toolchain).collect())
}

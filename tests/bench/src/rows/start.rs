//! What an instance costs before it does anything, and what it keeps.

use std::fs;

use conductor_runtime::Function;

use crate::functions::Program;
use crate::ground::Ground;
use crate::measure::Samples;
use crate::modules::{TINY, many, tiny};
use crate::row::{Goal, Line, Row};
use crate::rows::sweeper::sweep;
use crate::world::{Store, World};

const STARTS: [Line; 3] = [
    Line::new("cold start to first poll: api", "ms", Goal::AtMost(25.0)),
    Line::new("cold start to first poll: provisioner", "ms", Goal::AtMost(40.0)),
    Line::new("cold start to first poll: sweeper", "ms", Goal::AtMost(25.0)),
];
const MEMORY: [Line; 3] = [
    Line::new("resident memory beside terraform: api", "MB", Goal::AtMost(30.0)),
    Line::new("resident memory beside terraform: provisioner", "MB", Goal::AtMost(30.0)),
    Line::new("resident memory beside terraform: sweeper", "MB", Goal::AtMost(30.0)),
];
const BINARIES: [Line; 3] = [
    Line::new("binary: api", "MB", Goal::AtMost(15.0)),
    Line::new("binary: provisioner", "MB", Goal::AtMost(15.0)),
    Line::new("binary: sweeper", "MB", Goal::AtMost(15.0)),
];
pub const LINES: &[Line] =
    &[STARTS[0], STARTS[1], STARTS[2], MEMORY[0], MEMORY[1], MEMORY[2], BINARIES[0], BINARIES[1], BINARIES[2]];

const COUNT: usize = 30;
/// Deployments after which the memory is looked at.
const WORK: usize = 10;

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let world = World::on(ground, Store::MiniStack, None).await;
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..COUNT {
        for (program, times) in Program::ALL.into_iter().zip(&mut times) {
            let instance = ground.start(program, &world.place).await;
            times.push(instance.first_poll().await.as_secs_f64() * 1000.0);
        }
    }
    let memory = kept(ground, &world).await;
    let size = |program: Program| fs::metadata(program.path()).expect("the program is built").len() as f64 / 1e6;
    let starts = STARTS.iter().zip(times).map(|(line, times)| line.of(&times.into_iter().collect()));
    let memory = MEMORY.iter().zip(memory).map(|(line, samples)| line.judged(&samples, samples.max()));
    let binaries = BINARIES.iter().zip(Program::ALL).map(|(line, program)| line.is(size(program)));
    starts.chain(memory).chain(binaries).collect()
}

/// What each program has, after each piece of work.
async fn kept(ground: &Ground, world: &World<'_>) -> [Samples; 3] {
    let megabytes = |function: &Function| function.rss_bytes() as f64 / 1e6;
    let kind = world.api.publish(TINY).await;
    let (worker, one) = (world.provisioners(1).await, many(1, |_| tiny(&kind)));
    let sweeper = ground.start(Program::Sweeper, &world.place).await;
    let mut kept: [Vec<f64>; 3] = Default::default();
    for _ in 0..WORK {
        world.deploy_new(&worker, &one).await;
        sweep(&sweeper).await;
        world.queue.drain();
        let now = [&world.api.0, &worker[0], &sweeper].map(megabytes);
        kept.iter_mut().zip(now).for_each(|(kept, now)| kept.push(now));
    }
    kept.map(|figures| figures.into_iter().collect())
}

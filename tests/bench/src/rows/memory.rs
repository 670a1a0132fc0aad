//! One bucket of the AWS provider with provisioners of several sizes: of their memory, and of the processor time that comes
//! with it.

use std::io;

use conductor_acceptance::unique;
use serde_json::Value;

use super::missing;
use crate::functions::{Place, Program};
use crate::ground::Ground;
use crate::measure::Samples;
use crate::modules::{BUCKET, bucket, many};
use crate::row::{Goal, Line, Row};
use crate::share::{Share, processors};
use crate::world::{Store, World};

const FIGURES: usize = 3;

macro_rules! sizes {
    ($($megabytes:literal $name:literal,)*) => {
        /// In MB.
        const SIZES: &[u32] = &[$($megabytes),*];
        pub const LINES: &[Line] = &[$(
            Line::new(concat!($name, ", one AWS-provider resource: cold, with the toolchain"), "s", Goal::None),
            Line::new(concat!($name, ": the first of an environment"), "s", Goal::None),
            Line::new(concat!($name, ": a later one"), "s", Goal::None),
        )*];
    };
}

sizes! {
    1024 "1,024 MB",
    1536 "1,536 MB",
    2048 "2,048 MB",
    3072 "3,072 MB",
}

const ROUNDS: usize = 3;

pub async fn rows(ground: &Ground) -> Vec<Row> {
    if let Err(why) = ground.provider() {
        return missing(LINES, why);
    }
    let world = World::on(ground, Store::MiniStack, None).await;
    let kind = world.api.publish(BUCKET).await;
    let one = many(1, |_| bucket(&kind));
    let mut rows = Vec::new();
    for (&megabytes, lines) in SIZES.iter().zip(LINES.chunks(FIGURES)) {
        let mut seconds = [const { Vec::new() }; FIGURES];
        for _ in 0..ROUNDS {
            match once(ground, &world, megabytes, &one).await {
                Ok(once) => seconds.iter_mut().zip(once).for_each(|(all, one)| all.push(one)),
                Err(error) => {
                    return missing(LINES, &format!("no part of this machine can be set aside: {error}"));
                }
            }
        }
        let processors = format!("{:.2} processors", processors(megabytes));
        let figures = lines.iter().zip(seconds);
        rows.extend(figures.map(|(line, all)| line.of(&Samples::from_iter(all)).with(processors.clone())));
    }
    rows
}

/// With an instance of this size that finds nothing on its disk, in seconds.
async fn once(ground: &Ground, world: &World<'_>, megabytes: u32, one: &Value) -> io::Result<[f64; FIGURES]> {
    let folder = ground.folder();
    let place = Place { temporary: folder.path().to_owned(), ..world.place.clone() };
    let instance = [ground.start(Program::Provisioner, &place).await];
    let share = Share::give(&instance[0], megabytes)?;
    let deploy = async |environment: &str| world.deploy(&instance, &unique("app"), environment, one).await.seconds();
    let environment = world.api.environment().await;
    let figures = [deploy(&world.environment).await, deploy(&environment).await, deploy(&environment).await];
    // The share can only be taken back when nobody has it.
    drop(instance);
    drop(share);
    Ok(figures)
}

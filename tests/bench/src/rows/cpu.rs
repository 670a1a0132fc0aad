//! The processor time of the API itself. The table is in another process than the API, so its time is not in it.

use conductor_acceptance::unique;

use crate::ground::Ground;
use crate::measure::Samples;
use crate::modules::{TINY, many, tiny};
use crate::process::cpu;
use crate::row::{Goal, Line, Row};
use crate::world::{Store, World, request};

const GET: Line = Line::new("api: CPU of a GET of a deployment with 20 operations", "ms", Goal::AtMost(0.5));
const POST: Line = Line::new("api: CPU of a POST of a 20-resource file", "ms", Goal::AtMost(3.0));
pub const LINES: &[Line] = &[GET, POST];

const GETS: usize = 300;
const POSTS: usize = 100;
const RESOURCES: usize = 20;

pub async fn rows(ground: &Ground) -> Vec<Row> {
    let world = World::on(ground, Store::Dynoxide, None).await;
    let kind = world.api.publish(TINY).await;
    let all = many(RESOURCES, |_| tiny(&kind));
    let post = async || {
        let body = request(&unique("app"), &world.environment, &all);
        let id = world.api.post("/v1/deployments", &body).await.text(202, "id");
        // Nobody carries it out.
        world.queue.drain();
        id
    };
    let path = format!("/v1/deployments/{}", post().await);
    world.api.get(&path).await.expect(200);

    let (mut gets, mut posts) = (Vec::with_capacity(GETS), Vec::with_capacity(POSTS));
    let used = || cpu(&world.api.0).as_secs_f64() * 1000.0;
    for index in 0..GETS {
        let before = used();
        world.api.get(&path).await.expect(200);
        gets.push(used() - before);
        if index.is_multiple_of(GETS / POSTS) {
            let before = used();
            post().await;
            posts.push(used() - before);
        }
    }
    vec![GET.of(&Samples::from_iter(gets)), POST.of(&Samples::from_iter(posts))]
}

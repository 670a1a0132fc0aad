//! What can be asked of Conductor: sequences at random, and what they mean once it is known what there is.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::catalog::{POOLS, PoolShape};
use crate::file::File;
use crate::model::{Consumer, Seen, Workload};

/// The environments.
pub const ENVIRONMENTS: [&str; 2] = ["dev", "prod"];
/// The applications.
pub const APPLICATIONS: [&str; 3] = ["shop", "bank", "blog"];
/// Their workloads.
pub const WORKLOADS: [&str; 2] = ["web", "jobs"];

/// The longest sequence.
const LONGEST: usize = 9;

/// A step of a sequence. It can be taken whatever was left out before it: numbers stand for what is there then.
#[derive(Debug, Clone)]
pub enum Step {
    /// Deploy a file.
    Deploy { workload: Workload, file: File, options: Asked },
    /// Tear down an application or one workload in an environment.
    Teardown { workload: Workload, all: bool },
    /// Add a consumer to a resource.
    AddConsumer { resource: usize, workload: Workload, all: bool },
    /// Remove a consumer; one that a file made where `foreign`.
    RemoveConsumer { consumer: usize, foreign: bool },
    /// Delete a resource.
    DeleteResource { resource: usize },
    /// Make a pool, or change its size.
    PutPool { environment: &'static str, pool: usize, size: u32 },
    /// Delete a pool.
    DeletePool { environment: &'static str, pool: usize },
}

/// What a request to deploy says beside the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Release what the file no longer names.
    pub prune: bool,
    /// Run terraform in any case.
    pub refresh: bool,
    /// Take the newest template versions.
    pub upgrade: bool,
    /// Cancel what has not begun.
    pub supersede: bool,
}

impl Asked {
    /// Nothing but to deploy.
    pub const PLAIN: Asked = Asked { prune: true, refresh: false, upgrade: false, supersede: false };
}

/// A step, and whether the next one follows at once, before this one has settled.
#[derive(Debug, Clone)]
pub struct Move {
    /// The step.
    pub step: Step,
    /// True where nobody waits for its end.
    pub at_once: bool,
}

fn one_of<T: Copy>(rng: &mut StdRng, all: &[T; 2]) -> T {
    if rng.random_bool(0.7) { all[0] } else { all[1] }
}

fn workload(rng: &mut StdRng) -> Workload {
    Workload {
        environment: one_of(rng, &ENVIRONMENTS).to_owned(),
        application: APPLICATIONS[rng.random_range(0..APPLICATIONS.len())].to_owned(),
        name: one_of(rng, &WORKLOADS).to_owned(),
    }
}

/// A sequence.
pub fn sequence(seed: u64) -> Vec<Move> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut files: BTreeMap<Workload, File> = BTreeMap::new();
    let mut moves = Vec::new();
    if rng.random_bool(0.5) {
        let pools =
            ENVIRONMENTS.into_iter().flat_map(|environment| (0..POOLS.len()).map(move |pool| (environment, pool)));
        for (environment, pool) in pools {
            moves.push(Move { step: Step::PutPool { environment, pool, size: rng.random_range(0..3) }, at_once: true });
        }
    }
    for _ in 0..rng.random_range(2..=LONGEST) {
        let step = step(&mut rng, &mut files);
        moves.push(Move { step, at_once: rng.random_bool(0.4) });
    }
    moves
}

fn step(rng: &mut StdRng, files: &mut BTreeMap<Workload, File>) -> Step {
    let environment = one_of(rng, &ENVIRONMENTS);
    let pool = rng.random_range(0..POOLS.len());
    match rng.random_range(0..100) {
        0..66 => deploy(rng, files),
        66..75 => Step::Teardown { workload: workload(rng), all: rng.random_bool(0.6) },
        75..82 => {
            let resource = rng.random_range(0..20);
            Step::AddConsumer { resource, workload: workload(rng), all: rng.random_bool(0.5) }
        }
        82..88 => Step::RemoveConsumer { consumer: rng.random_range(0..20), foreign: rng.random_bool(0.1) },
        88..91 => Step::DeleteResource { resource: rng.random_range(0..20) },
        91..97 => Step::PutPool { environment, pool, size: rng.random_range(0..4) },
        _ => Step::DeletePool { environment, pool },
    }
}

fn deploy(rng: &mut StdRng, files: &mut BTreeMap<Workload, File>) -> Step {
    let workload = workload(rng);
    let file = match files.get(&workload) {
        Some(last) => match rng.random_range(0..10) {
            0..3 => last.clone(),
            3..8 => last.changed(rng),
            _ => File::random(rng),
        },
        None => File::random(rng),
    };
    files.insert(workload.clone(), file.clone());
    let options = Asked {
        prune: rng.random_bool(0.9),
        refresh: rng.random_bool(0.05),
        upgrade: rng.random_bool(0.08),
        supersede: rng.random_bool(0.08),
    };
    Step::Deploy { workload, file, options }
}

/// Sequences that are a little simpler.
pub fn simpler(moves: &[Move]) -> Vec<Vec<Move>> {
    let with = |index: usize, replaced: Option<Move>| -> Vec<Move> {
        let before = moves.iter().take(index).cloned();
        before.chain(replaced).chain(moves.iter().skip(index + 1).cloned()).collect()
    };
    let mut all: Vec<Vec<Move>> = (0..moves.len()).rev().map(|index| with(index, None)).collect();
    for (index, one) in moves.iter().enumerate() {
        if one.at_once {
            all.push(with(index, Some(Move { at_once: false, ..one.clone() })));
        }
        let Step::Deploy { workload, file, options } = &one.step else { continue };
        let deploy = |file: File, options: Asked| {
            let step = Step::Deploy { workload: workload.clone(), file, options };
            with(index, Some(Move { step, ..one.clone() }))
        };
        all.extend(file.needs.keys().map(|name| deploy(file.without(name), *options)));
        if *options != Asked::PLAIN {
            all.push(deploy(file.clone(), Asked::PLAIN));
        }
        if file.score {
            all.push(deploy(File { score: false, ..file.clone() }, *options));
        }
    }
    all
}

/// A request, in the words of the API.
#[derive(Debug, Clone)]
pub enum Ask {
    /// `POST /v1/deployments`
    Deploy { workload: Workload, text: String, file: File, options: Asked },
    /// `DELETE /v1/applications/{app}/environments/{env}`
    Teardown { environment: String, application: String, workload: Option<String> },
    /// `POST /v1/resources/{id}/consumers`
    AddConsumer { resource: String, environment: String, application: String, workload: Option<String> },
    /// `DELETE /v1/resources/{id}/consumers/{consumerId}`
    RemoveConsumer { resource: String, id: String, consumer: Consumer },
    /// `DELETE /v1/resources/{id}`
    DeleteResource { resource: String },
    /// `PUT /v1/environments/{env}/pools/{pool}`
    PutPool { environment: String, pool: &'static PoolShape, size: u32 },
    /// `DELETE /v1/environments/{env}/pools/{pool}`
    DeletePool { environment: String, pool: &'static PoolShape },
}

fn picked<T>(all: &[T], number: usize) -> Option<&T> {
    if all.is_empty() { None } else { all.get(number % all.len()) }
}

impl Ask {
    /// What a step means, given what there is; none where there is nothing that it could be about.
    pub fn of(step: &Step, seen: &Seen) -> Option<Self> {
        let live: Vec<&str> = seen.live().map(|resource| resource.id.as_str()).collect();
        let any = |number: usize| picked(&live, number).map(|id| (*id).to_owned());
        Some(match step {
            Step::Deploy { workload, file, options } => {
                let nobody = || "00000000-0000-7000-8000-000000000000".to_owned();
                let text = file.text(&workload.name, |number| any(number).unwrap_or_else(nobody));
                Ask::Deploy { workload: workload.clone(), text, file: file.clone(), options: *options }
            }
            Step::Teardown { workload: Workload { environment, application, name }, all } => Ask::Teardown {
                environment: environment.clone(),
                application: application.clone(),
                workload: (!all).then(|| name.clone()),
            },
            Step::AddConsumer { resource, workload: Workload { environment, application, name }, all } => {
                Ask::AddConsumer {
                    resource: any(*resource)?,
                    environment: environment.clone(),
                    application: application.clone(),
                    workload: (!all).then(|| name.clone()),
                }
            }
            Step::RemoveConsumer { consumer, foreign } => {
                let wanted = |consumer: &Consumer| matches!(consumer, Consumer::Api { .. }) != *foreign;
                let all: Vec<(String, String, Consumer)> = seen
                    .live()
                    .flat_map(|resource| {
                        resource.consumers.iter().map(move |(id, who)| (resource.id.clone(), id.clone(), who.clone()))
                    })
                    .filter(|(_, _, who)| wanted(who))
                    .collect();
                let (resource, id, consumer) = picked(&all, *consumer)?.clone();
                Ask::RemoveConsumer { resource, id, consumer }
            }
            Step::DeleteResource { resource } => {
                // Those that nobody uses, if there are any: others are refused.
                let unused: Vec<String> =
                    seen.live().filter(|resource| resource.consumers.is_empty()).map(|r| r.id.clone()).collect();
                let resource = picked(&unused, *resource).cloned().or_else(|| any(*resource))?;
                Ask::DeleteResource { resource }
            }
            Step::PutPool { environment, pool, size } => {
                Ask::PutPool { environment: (*environment).to_owned(), pool: POOLS.get(*pool)?, size: *size }
            }
            Step::DeletePool { environment, pool } => {
                Ask::DeletePool { environment: (*environment).to_owned(), pool: POOLS.get(*pool)? }
            }
        })
    }
}

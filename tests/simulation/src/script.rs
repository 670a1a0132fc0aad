//! What users ask of the API in a schedule: deployments of four resources in one to three lanes, changes of them,
//! teardowns, cancels and retries, at once and one after another.

use conductor_domain::deployment::Rollback;
use conductor_domain::ids::DeploymentId;

use crate::catalog::File;
use crate::chance::Chance;
use crate::clock::{MINUTE, SECOND};

/// The applications; each is a lane.
const APPLICATIONS: [&str; 3] = ["shop", "bank", "blog"];
/// Workloads: those of one application have nothing to do with each other but what is shared.
const WORKLOADS: [&str; 3] = ["web", "jobs", "mail"];
/// Deployments that every schedule has.
const FIRST: usize = 3;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Deploy {
        application: &'static str,
        workload: &'static str,
        text: String,
    },
    Teardown {
        application: &'static str,
        workload: Option<&'static str>,
    },
    /// Of the deployment that another request made.
    Cancel {
        of: usize,
        rollback: Rollback,
        force: bool,
    },
    Retry {
        of: usize,
    },
}

/// A request to the API, made again until there is an answer.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub at: u64,
    pub what: What,
    pub tries: u32,
    pub done: bool,
    /// What it made.
    pub deployment: Option<DeploymentId>,
}

impl Ask {
    /// One that has not been made.
    pub fn new(at: u64, what: What) -> Self {
        Self { at, what, tries: 0, done: false, deployment: None }
    }
}

/// The requests of a seed.
pub(crate) fn requests(chance: &mut Chance) -> Vec<Ask> {
    let lanes = chance.between(1, APPLICATIONS.len() as u64) as usize;
    let together = chance.sometimes(0.5);
    let mut asks = Vec::new();
    for number in 0..FIRST {
        let at = if together { chance.below(SECOND) } else { chance.below(MINUTE) };
        let (application, workload) = (APPLICATIONS[number % lanes], WORKLOADS[number / lanes]);
        asks.push(Ask::new(at, What::Deploy { application, workload, text: File::WHOLE.text(workload) }));
    }
    for _ in 0..chance.below(5) {
        let of = chance.below(asks.len() as u64) as usize;
        let at =
            asks[of].at + if chance.sometimes(0.5) { chance.below(40 * SECOND) } else { chance.below(20 * MINUTE) };
        more(chance, &mut asks, of, at);
    }
    asks
}

/// Something about what an earlier request was about.
fn more(chance: &mut Chance, asks: &mut Vec<Ask>, of: usize, at: u64) {
    let (application, workload) = match asks[of].what {
        What::Deploy { application, workload, .. } => (application, Some(workload)),
        What::Teardown { application, workload } => (application, workload),
        What::Cancel { .. } | What::Retry { .. } => return,
    };
    match (chance.below(10), workload) {
        (0..3, Some(workload)) => {
            let file = changed(chance);
            asks.push(Ask::new(at, What::Deploy { application, workload, text: file.text(workload) }));
        }
        (3..5, _) => {
            let workload = workload.filter(|_| chance.sometimes(0.5));
            asks.push(Ask::new(at, What::Teardown { application, workload }));
        }
        (5, _) => asks.push(Ask::new(at + 5 * MINUTE, What::Retry { of })),
        _ => {
            let rollback = if chance.sometimes(0.7) { Rollback::Created } else { Rollback::None };
            asks.push(Ask::new(at, What::Cancel { of, rollback, force: false }));
            if chance.sometimes(0.4) {
                let later = at + chance.between(25 * SECOND, 60 * SECOND);
                asks.push(Ask::new(later, What::Cancel { of, rollback, force: true }));
            }
            if chance.sometimes(0.3) {
                asks.push(Ask::new(at + chance.below(10 * MINUTE), What::Retry { of }));
            }
        }
    }
}

fn changed(chance: &mut Chance) -> File {
    File {
        cidr: u8::from(chance.sometimes(0.1)),
        db_size: chance.between(1, 2) as u8,
        cache: chance.sometimes(0.8),
        app_size: chance.sometimes(0.7).then(|| chance.between(1, 2) as u8),
    }
}

//! What must always hold. Each invariant has a name, and is checked where it can break: after a commit for the records that
//! it wrote (`operations`, `resources`, `deployments`), at a step of terraform (`crate::cloud`), at rest for everything
//! (`rest`).

mod deployments;
mod operations;
mod resources;
mod rest;

use std::collections::{HashMap, HashSet};

use conductor_domain::candidate::CandidateKey;
use conductor_domain::consumer::ConsumerKey;
use conductor_domain::deployment::Deployment;
use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_domain::lane::LaneKey;
use conductor_domain::log::Chunk;
use conductor_domain::operation::{Lease, Operation, OperationStatus};
use conductor_domain::resource::Resource;
use conductor_engine::{Item, Set};
use jiff::SignedDuration;

use crate::catalog::organisation;
use crate::clock::time_of_day;
use crate::hash::{Build, hash_of};
use crate::memory::{Kept, Memory, Written};
use crate::trace::Violation;
use crate::world::Actor;

pub(crate) use rest::rest;

/// All invariants, by name.
pub const NAMES: &[&str] = &[
    // After each commit.
    "commits_are_legal",
    "versions_are_fresh",
    "what_is_not_final_is_due",
    "final_statuses_stay",
    "epochs_grow",
    "markers_mirror_open_operations",
    "leases_mirror_running_operations",
    "waiters_mirror_waiting_operations",
    "waiters_are_counted",
    "only_the_holder_moves_a_running_operation",
    "reservations_have_an_owner",
    "one_deployment_at_a_time_in_a_lane",
    "lanes_keep_their_order",
    "lanes_name_whose_turn_it_is",
    "one_audit_event_for_an_end",
    "cancels_end_as_they_say",
    "posted_once",
    "consumers_mirror_holdings",
    "consumers_are_counted",
    "edges_have_two_ends",
    "identities_have_one_resource",
    "candidates_are_guarded",
    "no_second_match",
    // At steps of terraform, and where workers end.
    "nothing_used_is_destroyed",
    "one_writer_of_a_state",
    "terraform_starts_under_its_lease",
    "terraform_stops_with_its_lease",
    "states_are_never_overwritten",
    "no_process_outlives_its_handler",
    "no_internal_errors",
    "sweeps_settle",
    "nothing_panics",
    "there_are_seats_for_all",
    "lines_are_whole",
    // At rest.
    "everything_comes_to_rest",
    "every_request_is_a_deployment",
    "nothing_is_left_over",
    "unused_resources_are_gone",
    "active_resources_are_whole",
    "the_cloud_is_what_the_records_say",
];

/// A step that somebody is about to take is looked at after this at the latest: lost wake-ups are sent again within 90
/// seconds, of which the sweeper's own schedule takes up to 60.
const LATE: SignedDuration = SignedDuration::from_secs(30);

/// A commit that has just happened.
pub(crate) struct Look<'a> {
    pub memory: &'a Memory,
    pub written: &'a [Written],
    /// Who committed.
    pub actor: &'a Actor,
    pub now: u64,
}

/// How many records belong to a resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    consumers: u32,
    dependents: u32,
    waiters: u32,
}

/// What has to be remembered from commit to commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checker {
    versions: HashSet<u64, Build>,
    counts: HashMap<ResourceId, Counts, Build>,
    /// How many waiters an operation has.
    waits: HashMap<(DeploymentId, u32), u32, Build>,
    /// The deployment in progress.
    running: HashMap<LaneKey, DeploymentId, Build>,
    /// Candidates that were ever added.
    added: HashMap<CandidateKey, u64, Build>,
    /// Resources that matching might have refused for a while.
    failed: HashSet<ResourceId, Build>,
    /// What each request made.
    posted: HashMap<u64, DeploymentId, Build>,
}

/// What one record was before a commit, and is after it.
struct Change<'a, T> {
    before: Option<&'a T>,
    after: Option<&'a T>,
}

fn change<'a, T: Kept>(look: &Look<'a>, written: &'a Written) -> Change<'a, T> {
    Change { before: written.before.as_ref().and_then(T::of), after: look.memory.peek(&written.item) }
}

impl Checker {
    /// Checks what a commit wrote.
    pub fn commit(&mut self, look: &Look<'_>) -> Result<(), Violation> {
        for written in look.written {
            self.count(look, written);
        }
        for written in look.written {
            self.fresh(look, written)?;
            due(look, &written.item)?;
            match &written.item {
                Item::Deployment(_) => self.deployment(look, written)?,
                Item::Lane(key) => self.lane(look, key)?,
                Item::LanePlace(key, _) => self.lane(look, key)?,
                Item::Audit(..) => self.audit(look, written)?,
                Item::Operation(id, number) => {
                    self.operation(look, written)?;
                    self.markers(look, *id, *number)?;
                    self.leases(look, *id, *number)?;
                    self.waits(look, *id, *number)?;
                }
                Item::Open(id, number) => self.markers(look, *id, *number)?,
                Item::Lease(id, number) => self.leases(look, *id, *number)?,
                Item::Waiter(resource, _, id, number) => {
                    self.waits(look, *id, *number)?;
                    self.counted(look, *resource)?;
                }
                Item::Resource(id) => {
                    self.resource(look, written)?;
                    self.counted(look, *id)?;
                    self.reservation(look, *id)?;
                }
                Item::Consumer(id, key) => {
                    self.consumer(look, *id, key)?;
                    self.counted(look, *id)?;
                }
                Item::Holding(key) => self.holding(look, written, key)?,
                Item::Identity(_) => self.identity(look, written)?,
                Item::Candidate(key, _, id) => self.candidate(look, written, key, *id)?,
                Item::CandidateGuard(key) => self.guard(look, key)?,
                Item::Chunk(id, number, epoch, _) => lines(look, *id, *number, *epoch)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn count(&mut self, look: &Look<'_>, written: &Written) {
        let (was, is) = (written.before.is_some(), look.memory.has(&written.item));
        if was == is {
            return;
        }
        let more = |count: &mut u32| *count = if is { *count + 1 } else { count.saturating_sub(1) };
        match &written.item {
            Item::Consumer(id, key) => {
                let counts = self.counts.entry(*id).or_default();
                more(&mut counts.consumers);
                if let ConsumerKey::Resource { .. } = key {
                    more(&mut counts.dependents);
                }
            }
            Item::Waiter(resource, _, id, number) => {
                more(&mut self.counts.entry(*resource).or_default().waiters);
                more(self.waits.entry((*id, *number)).or_default());
            }
            Item::Candidate(key, ..) if is => *self.added.entry(key.clone()).or_default() += 1,
            _ => {}
        }
    }

    /// A version is never used twice.
    fn fresh(&mut self, look: &Look<'_>, written: &Written) -> Result<(), Violation> {
        let Some(there) = look.memory.version(&written.item) else { return Ok(()) };
        if self.versions.insert(hash_of(there)) {
            return Ok(());
        }
        Err(Violation::new("versions_are_fresh", format!("{:?} has a version that was used before", written.item)))
    }
}

/// A run's lines are written while it has its operation, one after the other.
fn lines(look: &Look<'_>, deployment: DeploymentId, operation: u32, epoch: u64) -> Result<(), Violation> {
    let running = look
        .memory
        .peek::<Operation>(&Item::Operation(deployment, operation))
        .is_some_and(|o| o.status == OperationStatus::Running && o.epoch == epoch);
    let chunks: Vec<&Chunk> = look.memory.listed(organisation(), &Set::Run(deployment, operation, epoch, 0));
    let mut before = 0;
    let whole = chunks.iter().all(|chunk| {
        let first = chunk.last + 1 - chunk.lines.len() as u32;
        first == std::mem::replace(&mut before, chunk.last) + 1
    });
    if running && whole {
        return Ok(());
    }
    let detail = format!("operation {operation} of {deployment}, epoch {epoch}: running {running}, whole {whole}");
    Err(Violation::new("lines_are_whole", detail))
}

/// What is not final is looked at by the sweeper, not later than this.
fn due(look: &Look<'_>, item: &Item) -> Result<(), Violation> {
    let by = match item {
        Item::Deployment(_) => look.memory.peek::<Deployment>(item).filter(|d| d.log.is_none()).map(|d| {
            let now = time_of_day(look.now, look.actor.skew);
            d.entered_at.max(now) + LATE
        }),
        Item::Operation(..) => look.memory.peek::<Operation>(item).and_then(|o| match o.status {
            OperationStatus::Ready => Some(o.not_before.map_or(o.entered_at, |at| at.max(o.entered_at)) + LATE),
            OperationStatus::Waiting | OperationStatus::Running => Some(o.ends_at()),
            _ => (!o.settled).then(|| o.entered_at + LATE),
        }),
        Item::Lease(..) => look.memory.peek::<Lease>(item).map(|lease| lease.expires_at),
        Item::Resource(_) => look.memory.peek::<Resource>(item).and_then(|r| match &r.reservation {
            Some(reservation) => Some(reservation.dead_after),
            None => (r.waiters > 0).then(|| r.updated_at + LATE),
        }),
        _ => None,
    };
    let at = look.memory.due_at(item);
    if by.is_none_or(|by| at.is_some_and(|at| at <= by)) {
        return Ok(());
    }
    Err(Violation::new("what_is_not_final_is_due", format!("{item:?} is due at {at:?}, and should be by {by:?}")))
}

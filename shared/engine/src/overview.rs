//! How things stand: what was deployed lately, what runs, what is due, what waits in the queues.
//!
//! It only shows, from lists that may lag behind; nothing is decided from it.

use std::collections::BTreeMap;

use conductor_domain::deployment::{Deployment, DeploymentStatus};
use conductor_domain::ids::DeploymentId;
use conductor_domain::lane::{Lane, LanePlace};
use conductor_domain::operation::{Lease, Operation, OperationStatus};
use conductor_domain::principal::Caller;
use futures::future::{try_join_all, try_join3};
use jiff::{SignedDuration, Timestamp};

use crate::port::{Clock, DUE_SHARDS, Depths, Page, Ports, Queue, Records, StoreError};
use crate::query::DeploymentFilter;
use crate::record::{Item, Record, Set};
use crate::sweep::overdue_since;
use crate::{Causes, Engine, Error};

/// How far an overview looks back.
const SPAN: SignedDuration = SignedDuration::from_hours(24);
/// How long before that something may have been asked for that ended in it; what takes longer is seen until it ends.
const BEFORE: SignedDuration = SignedDuration::from_hours(24);
/// The most deployments that it looks at: some 3 MB of the list.
const MAX_DEPLOYMENTS: usize = 1_000;
/// Deployments of a page of the list.
const PAGE: u32 = 100;
/// The most environments whose lanes are looked at.
const MAX_ENVIRONMENTS: u32 = 200;
/// The most unfinished deployments whose operations are looked at, and how many of each.
const MAX_UNFINISHED: usize = 64;
const MAX_LEASES: u32 = 50;
/// Partitions and shards that are read at once.
const AT_ONCE: usize = 16;
/// Due records of a shard that are looked at: deployments and pools, which are due in turn, may come before what is of
/// interest.
const PER_SHARD: u32 = 20;

/// How things stand.
#[derive(Debug, Clone)]
pub struct Overview {
    /// When it was looked at.
    pub at: Timestamp,
    /// The deployments that have not ended, and those that ended in the last 24 hours; newest first.
    pub deployments: Vec<Deployment>,
    /// True where over 1,000 were asked for in the last 24 hours: of the older ones, those that ended are left out.
    pub cut: bool,
    /// The operations that run, of the deployments above, the oldest sign of life first.
    pub running: Vec<Running>,
    /// What is in the queues; none where they do not answer.
    pub depths: Option<Depths>,
    /// What should have been seen to longest ago.
    pub oldest_due: Option<Due>,
}

/// An operation that a worker has.
#[derive(Debug, Clone)]
pub struct Running {
    /// The operation.
    pub operation: Operation,
    /// The worker's lease.
    pub lease: Lease,
}

/// A record whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub item: Item,
    /// Since when.
    pub since: Timestamp,
}

impl<P: Ports> Engine<P> {
    /// How things stand now.
    pub async fn overview(&self, caller: &Caller) -> Result<Overview, Error> {
        let now = self.clock.now();
        let since = now - SPAN;
        let ((listed, cut), unfinished, oldest_due) =
            try_join3(self.lately(caller, since), self.unfinished(caller), self.oldest_due(caller, now)).await?;
        // The list may lag behind the lanes.
        let known: BTreeMap<DeploymentId, Deployment> =
            listed.into_iter().chain(unfinished).map(|deployment| (deployment.id, deployment)).collect();
        let deployments: Vec<Deployment> =
            known.into_values().rev().filter(|deployment| is_of_now(deployment, since)).collect();
        let unfinished = deployments.iter().filter(|deployment| deployment.status == DeploymentStatus::InProgress);
        let unfinished: Vec<DeploymentId> = unfinished.take(MAX_UNFINISHED).map(|deployment| deployment.id).collect();
        let running = self.running(caller, &unfinished).await?;
        let depths = match self.queue.depths().await {
            Ok(depths) => Some(depths),
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "the queues do not answer");
                None
            }
        };
        Ok(Overview { at: now, deployments, cut, running, depths, oldest_due })
    }

    /// The deployments that can have ended since then, newest first, and whether some of those asked for since then are
    /// missing.
    async fn lately(&self, caller: &Caller, since: Timestamp) -> Result<(Vec<Deployment>, bool), Error> {
        let all = DeploymentFilter::default();
        let mut found: Vec<Deployment> = Vec::new();
        let mut after = None;
        loop {
            let list = self.deployments(caller, &all, after, PAGE).await?;
            found.extend(list.items.into_iter().map(|read| read.value));
            after = list.next;
            let oldest = found.last().map(|deployment| deployment.created_at);
            if after.is_none() || oldest.is_some_and(|oldest| oldest < since - BEFORE) {
                return Ok((found, false));
            }
            if found.len() >= MAX_DEPLOYMENTS {
                return Ok((found, oldest >= Some(since)));
            }
        }
    }

    /// The deployments that have not ended, whenever they were asked for: each has a place in its lane until then.
    async fn unfinished(&self, caller: &Caller) -> Result<Vec<Deployment>, Error> {
        let organisation = caller.organisation();
        let environments = self.environments(caller, None, MAX_ENVIRONMENTS).await?.items;
        let sets: Vec<Set> = environments.into_iter().map(|read| Set::Lanes(read.value.name)).collect();
        let (lanes, _) = self.list_many::<Lane>(organisation, &sets).await?;
        let busy = lanes.into_iter().filter(|lane| lane.current.is_some());
        let sets: Vec<Set> = busy.map(|lane| Set::LanePlaces(lane.key)).collect();
        let (places, _) = self.list_many::<LanePlace>(organisation, &sets).await?;
        let places = places.iter().take(MAX_DEPLOYMENTS);
        let items: Vec<Item> = places.map(|place| Item::Deployment(place.deployment)).collect();
        let found = self.read_all::<Deployment>(organisation, &items).await?;
        Ok(found.into_iter().flatten().map(|read| read.value).collect())
    }

    async fn running(&self, caller: &Caller, deployments: &[DeploymentId]) -> Result<Vec<Running>, Error> {
        let mut running = Vec::new();
        for part in deployments.chunks(AT_ONCE) {
            let found = try_join_all(part.iter().map(|id| self.running_of(caller, *id))).await?;
            running.extend(found.into_iter().flatten());
        }
        running.sort_by_key(|one: &Running| one.lease.heartbeat_at);
        Ok(running)
    }

    async fn running_of(&self, caller: &Caller, id: DeploymentId) -> Result<Vec<Running>, StoreError> {
        // Leases come before everything else of the set.
        let set = Set::Deployment(id);
        let Page { records, .. } = self.records.list(caller.organisation(), &set, None, Some(MAX_LEASES)).await?;
        let leases = records.into_iter().map_while(|read| match read.value {
            Record::Lease(lease) => Some(lease),
            _ => None,
        });
        let leases: Vec<Lease> = leases.collect();
        let items: Vec<Item> = leases.iter().map(|lease| Item::Operation(id, lease.operation)).collect();
        let operations = self.read_all::<Operation>(caller.organisation(), &items).await?;
        let both = leases.into_iter().zip(operations).filter_map(|(lease, operation)| {
            let operation = operation?.value;
            let runs = operation.status == OperationStatus::Running && operation.epoch == lease.epoch;
            runs.then_some(Running { operation, lease })
        });
        Ok(both.collect())
    }

    async fn oldest_due(&self, caller: &Caller, now: Timestamp) -> Result<Option<Due>, Error> {
        let shards = (0..DUE_SHARDS).map(|shard| self.records.due(shard, now, PER_SHARD));
        let found = try_join_all(shards).await?;
        let due = found.into_iter().flatten().filter(|(organisation, _)| organisation == caller.organisation());
        let due = due.filter_map(|(_, read)| {
            let since = overdue_since(&read.value).filter(|since| *since <= now)?;
            Some(Due { item: read.value.item(), since })
        });
        Ok(due.min_by_key(|due| due.since))
    }
}

/// Whether a deployment is a part of how things stand: until it has ended, and for a while after.
fn is_of_now(deployment: &Deployment, since: Timestamp) -> bool {
    !deployment.status.is_final() || deployment.completed_at.unwrap_or(deployment.created_at) >= since
}

#[cfg(test)]
mod tests;

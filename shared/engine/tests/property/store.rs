//! The store of a run: in memory, and unfair, so that whatever can race does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use conductor_domain::name::OrganisationName;
use conductor_engine::imagine::{Collected, Nothing, ObjectsOver, Overlay};
use conductor_engine::port::{Change, CommitError, Page, Ports, Records, StoreError, Version, Versioned};
use conductor_engine::{Item, Listing, Record, Set};
use jiff::Timestamp;

use crate::clock::VirtualClock;

/// The ports of a run.
pub enum Simulated {}

impl Ports for Simulated {
    type Records = Unfair;
    type Vault = ObjectsOver<Nothing>;
    type Artifacts = ObjectsOver<Nothing>;
    type Queue = Collected;
    type Clock = VirtualClock;
}

/// Records that let others go first, and that list in small pages.
#[derive(Debug, Clone)]
pub struct Unfair {
    /// What is stored.
    pub memory: Overlay<Nothing>,
    clock: VirtualClock,
    commits: Arc<AtomicU64>,
}

impl Unfair {
    /// An empty store.
    pub fn new(clock: VirtualClock) -> Self {
        Self { memory: Overlay::new(Nothing), clock, commits: Arc::default() }
    }

    /// How many commits there were.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

impl Records for Unfair {
    async fn get_many(
        &self,
        organisation: &OrganisationName,
        items: &[Item],
    ) -> Result<Vec<Option<Versioned<Record>>>, StoreError> {
        self.clock.step_aside().await;
        self.memory.get_many(organisation, items).await
    }

    async fn list(
        &self,
        organisation: &OrganisationName,
        set: &Set,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page, StoreError> {
        self.clock.step_aside().await;
        let small = self.clock.sometimes(0.2).then(|| 1 + self.clock.below(3) as u32);
        self.memory.list(organisation, set, after, limit.or(small)).await
    }

    async fn listing(
        &self,
        organisation: &OrganisationName,
        listing: &Listing,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        self.clock.step_aside().await;
        self.memory.listing(organisation, listing, after, limit).await
    }

    async fn due(
        &self,
        shard: u8,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<(OrganisationName, Versioned<Record>)>, StoreError> {
        self.memory.due(shard, until, limit).await
    }

    async fn postpone(
        &self,
        organisation: &OrganisationName,
        item: &Item,
        version: &Version,
        until: Timestamp,
    ) -> Result<(), CommitError> {
        self.clock.step_aside().await;
        self.memory.postpone(organisation, item, version, until).await
    }

    async fn commit(&self, organisation: &OrganisationName, changes: Vec<Change>) -> Result<(), CommitError> {
        self.clock.step_aside().await;
        let done = self.memory.commit(organisation, changes).await;
        if done.is_ok() {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        done
    }
}

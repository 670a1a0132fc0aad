//! An engine in memory that notes what is written, and in which organisation.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use conductor_domain::Refusal;
use conductor_domain::name::OrganisationName;
use conductor_domain::principal::{Caller, Principal, PrincipalKind};
use conductor_engine::imagine::{Collected, Nothing, ObjectsOver, Overlay};
use conductor_engine::port::{
    Change, CommitError, Meter, Objects, Page, Ports, Records, StoreError, Version, Versioned,
};
use conductor_engine::{Engine, Error, Item, Listing, Record, Set, Settings, Timings};
use jiff::Timestamp;

use crate::common::{TestClock, named};

/// Somebody of an organisation with these roles.
pub fn caller(organisation: &str, roles: &[&str]) -> Caller {
    let principal = Principal {
        id: "somebody".to_owned(),
        kind: PrincipalKind::Oidc,
        organisation: named(organisation),
        roles: roles.iter().map(|role| named(role)).collect(),
    };
    Caller { principal, request_id: "r1".to_owned() }
}

/// Why it was refused.
pub fn refusal<T: Debug>(outcome: Result<T, Error>, what: impl Debug) -> Refusal {
    match outcome {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{what:?} is not refused: {other:?}"),
    }
}

/// The ports.
pub enum Memory {}

impl Ports for Memory {
    type Records = Noted<Overlay<Nothing>>;
    type Vault = Noted<ObjectsOver<Nothing>>;
    type Artifacts = Noted<ObjectsOver<Nothing>>;
    type Queue = Collected;
    type Clock = TestClock;
}

/// An engine, and what it wrote.
pub struct World {
    pub engine: Engine<Memory>,
    written: Written,
}

impl World {
    /// Nothing is there.
    pub fn new() -> Self {
        let written = Written::default();
        let records = Noted { inner: Overlay::new(Nothing), written: written.clone() };
        let objects = || Noted { inner: ObjectsOver::new(Nothing), written: written.clone() };
        let (timings, meter) = (Timings::default(), Meter::default());
        let settings = Settings { state_bucket: "states".to_owned(), workers: false, timings, meter };
        let (vault, artifacts) = (objects(), objects());
        let engine = Engine::new(records, vault, artifacts, Collected::default(), TestClock::new(), settings);
        Self { engine, written }
    }

    /// What was written since the last call: the organisation of each commit, the name of each object, each wake-up.
    pub fn written(&self) -> Vec<String> {
        let mut written = std::mem::take(&mut *self.written.0.lock().unwrap_or_else(PoisonError::into_inner));
        written.extend(self.engine.queue.drain().iter().map(|wake| format!("{wake:?}")));
        written
    }
}

#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

impl Written {
    fn note(&self, what: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_owned());
    }
}

/// A port whose writes are noted. Whoever reads records lets others go first.
#[derive(Debug, Clone)]
pub struct Noted<T> {
    inner: T,
    written: Written,
}

impl<T: Records> Records for Noted<T> {
    async fn get_many(
        &self,
        organisation: &OrganisationName,
        items: &[Item],
    ) -> Result<Vec<Option<Versioned<Record>>>, StoreError> {
        let found = self.inner.get_many(organisation, items).await;
        tokio::task::yield_now().await;
        found
    }

    async fn list(
        &self,
        organisation: &OrganisationName,
        set: &Set,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page, StoreError> {
        self.inner.list(organisation, set, after, limit).await
    }

    async fn listing(
        &self,
        organisation: &OrganisationName,
        listing: &Listing,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        self.inner.listing(organisation, listing, after, limit).await
    }

    async fn due(
        &self,
        shard: u8,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<(OrganisationName, Versioned<Record>)>, StoreError> {
        self.inner.due(shard, until, limit).await
    }

    async fn postpone(
        &self,
        organisation: &OrganisationName,
        item: &Item,
        version: &Version,
        until: Timestamp,
    ) -> Result<(), CommitError> {
        self.written.note(organisation.as_str());
        self.inner.postpone(organisation, item, version, until).await
    }

    async fn commit(&self, organisation: &OrganisationName, changes: Vec<Change>) -> Result<(), CommitError> {
        self.written.note(organisation.as_str());
        self.inner.commit(organisation, changes).await
    }
}

impl<T: Objects> Objects for Noted<T> {
    async fn put(&self, name: &str, content: Vec<u8>) -> Result<(), StoreError> {
        self.written.note(name);
        self.inner.put(name, content).await
    }

    async fn put_once(&self, name: &str, content: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        self.written.note(name);
        self.inner.put_once(name, content).await
    }

    async fn keep(&self, name: &str) -> Result<(), StoreError> {
        self.written.note(name);
        self.inner.keep(name).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(name).await
    }
}

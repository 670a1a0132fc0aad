//! Ports that live in memory, over ports that may be real: what is read comes from beneath, what is written stays here.
//!
//! A dry run is the engine itself over these, and so are tests and simulations, over [`Nothing`]. Nothing is ever
//! written beneath, and nothing is decided here.

mod objects;
mod queue;
mod records;

use std::convert::Infallible;
use std::marker::PhantomData;

pub use objects::ObjectsOver;
pub use queue::Collected;
pub use records::Overlay;

use conductor_domain::name::OrganisationName;
use jiff::Timestamp;

use crate::Engine;
use crate::port::{Change, CommitError, Objects, Page, Ports, Records, StoreError, Version, Versioned};
use crate::record::{Item, Listing, Record, Set};

/// The ports of an engine that only imagines what it does, over the ports of another. There is no value of it.
#[derive(Debug)]
pub enum Imagined<P> {
    /// Never.
    #[doc(hidden)]
    Never(Infallible, PhantomData<fn() -> P>),
}

impl<P: Ports> Ports for Imagined<P> {
    type Records = Overlay<P::Records>;
    type Vault = ObjectsOver<P::Vault>;
    type Artifacts = ObjectsOver<P::Artifacts>;
    type Queue = Collected;
    type Clock = P::Clock;
}

impl<P: Ports> Engine<P> {
    /// The same engine over a fresh copy in memory of everything that it will read: what it does there, it does to
    /// nobody. Each call is a copy of its own.
    pub fn imagined(&self) -> Engine<Imagined<P>> {
        Engine {
            records: Overlay::new(self.records.clone()),
            vault: ObjectsOver::new(self.vault.clone()),
            artifacts: ObjectsOver::new(self.artifacts.clone()),
            queue: Collected::default(),
            clock: self.clock.clone(),
            settings: self.settings.clone(),
            stopping: self.stopping.clone(),
            hash_key: self.hash_key.clone(),
            paces: Default::default(),
            hints: self.hints.clone(),
            imagining: true,
        }
    }
}

/// Records and objects that hold nothing and take nothing: the base of a store that lives in memory alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

fn takes_nothing() -> StoreError {
    StoreError::Unreadable("nothing takes no writes".to_owned())
}

impl Records for Nothing {
    async fn get_many(
        &self,
        _: &OrganisationName,
        items: &[Item],
    ) -> Result<Vec<Option<Versioned<Record>>>, StoreError> {
        Ok(vec![None; items.len()])
    }

    async fn list(&self, _: &OrganisationName, _: &Set, _: Option<&str>, _: Option<u32>) -> Result<Page, StoreError> {
        Ok(Page { records: Vec::new(), next: None })
    }

    async fn listing(&self, _: &OrganisationName, _: &Listing, _: Option<&str>, _: u32) -> Result<Page, StoreError> {
        Ok(Page { records: Vec::new(), next: None })
    }

    async fn due(&self, _: u8, _: Timestamp, _: u32) -> Result<Vec<(OrganisationName, Versioned<Record>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn postpone(&self, _: &OrganisationName, item: &Item, _: &Version, _: Timestamp) -> Result<(), CommitError> {
        Err(CommitError::Conflict { which: vec![item.clone()] })
    }

    async fn commit(&self, _: &OrganisationName, _: Vec<Change>) -> Result<(), CommitError> {
        Err(takes_nothing().into())
    }
}

impl Objects for Nothing {
    async fn put(&self, _: &str, _: Vec<u8>) -> Result<(), StoreError> {
        Err(takes_nothing())
    }

    async fn put_once(&self, _: &str, _: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        Err(takes_nothing())
    }

    async fn keep(&self, _: &str) -> Result<(), StoreError> {
        Err(takes_nothing())
    }

    async fn get(&self, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

//! How long runs take: learned from each run, told of those to come. Nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use conductor_domain::operation::{During, Operation, Request};
use conductor_domain::principal::Caller;
use conductor_domain::resource::Resource;
use conductor_domain::template::{Pace, TemplateName};

use crate::port::{Ports, StoreError, Versioned};
use crate::record::Item;
use crate::work::Job;
use crate::{Causes, Engine, Error};

/// A template's name and version.
type Key = (TemplateName, semver::Version);

/// What this process has lately read or learned.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<HashMap<Key, Pace>>);

impl Paces {
    fn get(&self, key: &Key) -> Option<Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: Key, pace: Pace) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, pace);
    }
}

impl<P: Ports> Engine<P> {
    /// Takes note of how long a run took.
    pub(crate) async fn learn(&self, caller: &Caller, job: &Job, took: Duration) {
        match self.try_learn(caller, job, took).await {
            // Another run has just taught something else.
            Ok(()) | Err(Error::Conflict) => {}
            Err(error) => tracing::debug!(error = %Causes(&error), "how long a run took is not known to others"),
        }
    }

    async fn try_learn(&self, caller: &Caller, job: &Job, took: Duration) -> Result<(), Error> {
        let key = (job.template.template.clone(), job.template.version.clone());
        let near = |pace: &Pace| pace.learn(job.during, took.as_secs_f64()).is_none();
        if self.paces.get(&key).as_ref().is_some_and(near) {
            return Ok(());
        }
        let item = Item::Pace(key.0.clone(), key.1.clone());
        let read: Option<Versioned<Pace>> = self.read(caller.organisation(), item).await?;
        let known = read.as_ref().map_or_else(|| Pace::new(key.0.clone(), key.1.clone()), |read| read.value.clone());
        let Some(learned) = known.learn(job.during, took.as_secs_f64()) else {
            self.paces.put(key, known);
            return Ok(());
        };
        let mut draft = self.draft(caller, None);
        draft.put(read.as_ref(), learned.clone());
        draft.commit().await?;
        self.paces.put(key, learned);
        Ok(())
    }

    /// How long those of the operations should take that have not ended, in seconds, by number. Of an acquire that is the
    /// time to make the resource.
    pub(crate) async fn expected(
        &self,
        caller: &Caller,
        operations: &[Operation],
    ) -> Result<BTreeMap<u32, u32>, StoreError> {
        let open: Vec<&Operation> = operations.iter().filter(|operation| !operation.status.is_final()).collect();
        let released: BTreeSet<_> = open.iter().filter_map(|operation| released(operation)).collect();
        let items: Vec<Item> = released.into_iter().map(Item::Resource).collect();
        let resources: Vec<Versioned<Resource>> =
            self.read_all(caller.organisation(), &items).await?.into_iter().flatten().collect();
        let wanted: Vec<(u32, Key, During)> = open
            .iter()
            .filter_map(|operation| {
                let (key, during) = match &operation.request {
                    Request::Acquire(request) => ((request.template.clone(), request.version.clone()?), During::Create),
                    Request::Release(request) => {
                        let resource = resources.iter().find(|resource| resource.id == request.resource)?;
                        ((resource.value.template.clone(), resource.value.version.clone()?), During::Destroy)
                    }
                };
                Some((operation.number, key, during))
            })
            .collect();
        let keys: BTreeSet<&Key> = wanted.iter().map(|(_, key, _)| key).collect();
        let items: Vec<Item> = keys.iter().map(|(name, version)| Item::Pace(name.clone(), version.clone())).collect();
        let paces: Vec<Option<Versioned<Pace>>> = self.read_all(caller.organisation(), &items).await?;
        let paces: BTreeMap<&Key, Pace> =
            keys.into_iter().zip(paces).filter_map(|(key, pace)| Some((key, pace?.value))).collect();
        let seconds = |(number, key, during): &(u32, Key, During)| Some((*number, paces.get(key)?.of(*during)?));
        Ok(wanted.iter().filter_map(seconds).collect())
    }
}

fn released(operation: &Operation) -> Option<conductor_domain::ids::ResourceId> {
    match &operation.request {
        Request::Release(request) => Some(request.resource),
        Request::Acquire(_) => None,
    }
}

//! How long runs take: learned from each run, told of those to come. Nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use conductor_domain::name::OrganisationName;
use conductor_domain::operation::{During, Operation, Request};
use conductor_domain::principal::Caller;
use conductor_domain::resource::Resource;
use conductor_domain::template::{Pace, TemplateName};

use crate::commit::Reads;
use crate::port::{Clock, Ports, StoreError, Versioned};
use crate::record::Item;
use crate::work::Job;
use crate::{Causes, Engine, Error};

/// For so long what was read is shown without being read again.
const FRESH: Duration = Duration::from_secs(60);

/// A template version of a tenant.
type Key = (OrganisationName, TemplateName, semver::Version);

fn item((_, template, version): &Key) -> Item {
    Item::Pace(template.clone(), version.clone())
}

/// What this process has lately read or learned.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<HashMap<Key, Seen>>);

/// A pace, where there is one, and when it was seen.
#[derive(Debug, Clone)]
struct Seen {
    pace: Option<Pace>,
    at: Duration,
}

impl Paces {
    fn get(&self, key: &Key) -> Option<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: Key, pace: Option<Pace>, at: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Seen { pace, at });
    }

    /// What is known of these at that time, and which of them have to be read.
    fn lately<'k>(&self, keys: impl Iterator<Item = &'k Key>, now: Duration) -> (BTreeMap<Key, Pace>, Vec<&'k Key>) {
        let (mut known, mut missing) = (BTreeMap::new(), Vec::new());
        for key in keys {
            match self.get(key).filter(|seen| now.saturating_sub(seen.at) < FRESH) {
                Some(Seen { pace: Some(pace), .. }) => {
                    known.insert(key.clone(), pace);
                }
                Some(Seen { pace: None, .. }) => {}
                None => missing.push(key),
            }
        }
        (known, missing)
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
        let (template, version) = (&job.template.template, &job.template.version);
        let key = (caller.organisation().clone(), template.clone(), version.clone());
        let near = |pace: &Pace| pace.learn(job.during, took.as_secs_f64()).is_none();
        if self.paces.get(&key).and_then(|seen| seen.pace).as_ref().is_some_and(near) {
            return Ok(());
        }
        let read: Option<Versioned<Pace>> = self.read(caller.organisation(), item(&key)).await?;
        let known =
            read.as_ref().map_or_else(|| Pace::new(template.clone(), version.clone()), |read| read.value.clone());
        let now = self.clock.monotonic();
        let Some(learned) = known.learn(job.during, took.as_secs_f64()) else {
            self.paces.put(key, Some(known), now);
            return Ok(());
        };
        let mut draft = self.draft(caller, None);
        draft.put(read.as_ref(), learned.clone());
        draft.commit().await?;
        self.paces.put(key, Some(learned), now);
        Ok(())
    }

    /// Reads these items, and in the same request the paces of these versions: who gets them will be told how long it
    /// should take.
    pub(crate) async fn read_with_paces(
        &self,
        reads: &mut Reads<'_, P>,
        items: &[Item],
        versions: &BTreeSet<(TemplateName, semver::Version)>,
    ) -> Result<(), StoreError> {
        let now = self.clock.monotonic();
        let organisation = reads.organisation();
        let keys: Vec<Key> =
            versions.iter().map(|(name, version)| (organisation.clone(), name.clone(), version.clone())).collect();
        let (_, missing) = self.paces.lately(keys.iter(), now);
        let items: Vec<Item> = items.iter().cloned().chain(missing.iter().map(|key| item(key))).collect();
        reads.ahead(&items).await?;
        for key in missing {
            let pace = reads.get::<Pace>(&item(key))?.map(|read| read.value);
            self.paces.put(key.clone(), pace, now);
        }
        Ok(())
    }

    /// How long those of the operations should take that have not ended, in seconds, by number. Of an acquire that is the
    /// time to make the resource.
    pub(crate) async fn expected(
        &self,
        caller: &Caller,
        operations: &[Operation],
    ) -> Result<BTreeMap<u32, u32>, StoreError> {
        let organisation = caller.organisation();
        let open: Vec<&Operation> = operations.iter().filter(|operation| !operation.status.is_final()).collect();
        let released: BTreeSet<_> = open.iter().filter_map(|operation| released(operation)).collect();
        let items: Vec<Item> = released.into_iter().map(Item::Resource).collect();
        let resources: Vec<Versioned<Resource>> =
            self.read_all(organisation, &items).await?.into_iter().flatten().collect();
        let wanted: Vec<(u32, Key, During)> = open
            .iter()
            .filter_map(|operation| {
                let (template, version, during) = match &operation.request {
                    Request::Acquire(request) => (&request.template, request.version.clone()?, During::Create),
                    Request::Release(request) => {
                        let resource = resources.iter().find(|resource| resource.id == request.resource)?;
                        (&resource.value.template, resource.value.version.clone()?, During::Destroy)
                    }
                };
                Some((operation.number, (organisation.clone(), template.clone(), version), during))
            })
            .collect();
        let keys: BTreeSet<&Key> = wanted.iter().map(|(_, key, _)| key).collect();
        let now = self.clock.monotonic();
        let (mut paces, missing) = self.paces.lately(keys.into_iter(), now);
        let items: Vec<Item> = missing.iter().map(|key| item(key)).collect();
        let read: Vec<Option<Versioned<Pace>>> = self.read_all(organisation, &items).await?;
        for (key, read) in missing.into_iter().zip(read) {
            let pace = read.map(|read| read.value);
            self.paces.put(key.clone(), pace.clone(), now);
            paces.extend(pace.map(|pace| (key.clone(), pace)));
        }
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

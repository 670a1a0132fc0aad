//! A cloud that is a map, and the workers that change it. It takes nothing that is out of order: what it refused is told
//! at the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conductor_domain::Code;
use conductor_domain::consumer::ConsumerKey;
use conductor_domain::ids::OperationId;
use conductor_domain::log::Level;
use conductor_domain::operation::{Changes, During, ExecutorKind, Failure};
use conductor_domain::resource::Resource;
use conductor_engine::imagine::{Nothing, Overlay};
use conductor_engine::port::{Clock, Records, Versioned};
use conductor_engine::{Control, Entity, Executor, Item, Job, JobOutcome, Log, Produced, Ran, Record};

use crate::catalog;
use crate::clock::VirtualClock;
use crate::model::Thing;

/// The longest run, in seconds: longer than several heartbeats.
const LONGEST_RUN: usize = 14;

/// Everything in the cloud, and who is at work there; by the id of the resource.
#[derive(Debug, Default)]
struct Sky {
    things: BTreeMap<String, Thing>,
    made: BTreeMap<String, u32>,
    at_work: BTreeMap<String, (During, Vec<String>)>,
    /// By operation and epoch.
    said: BTreeMap<(OperationId, u64), Vec<String>>,
    wrong: Vec<String>,
}

/// The cloud; copies are the same one.
#[derive(Debug, Clone)]
pub struct Cloud {
    sky: Arc<Mutex<Sky>>,
    records: Overlay<Nothing>,
    clock: VirtualClock,
}

impl Cloud {
    /// Nothing is there yet. The records say what depends on what.
    pub fn new(records: Overlay<Nothing>, clock: VirtualClock) -> Self {
        Self { sky: Arc::default(), records, clock }
    }

    fn sky(&self) -> MutexGuard<'_, Sky> {
        self.sky.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there.
    pub fn things(&self) -> BTreeMap<String, Thing> {
        self.sky().things.clone()
    }

    /// What was out of order so far.
    pub fn wrong(&self) -> Vec<String> {
        self.sky().wrong.clone()
    }

    /// What a run said.
    pub fn said(&self, operation: OperationId, epoch: u64) -> Vec<String> {
        self.sky().said.get(&(operation, epoch)).cloned().unwrap_or_default()
    }

    fn say(&self, job: &Job, log: &Log, what: &str) {
        log.say(Level::Info, what);
        self.sky().said.entry((job.operation, job.epoch)).or_default().push(what.to_owned());
    }

    /// What is there and depends on the resource of a job.
    async fn users(&self, job: &Job) -> Vec<String> {
        let items: Vec<Item> = self.sky().things.keys().filter_map(|id| id.parse().ok()).map(Item::Resource).collect();
        let found = self.records.get_many(&job.organisation, &items).await.unwrap_or_default();
        let there = found.into_iter().flatten().filter_map(|found| Resource::from_record(found.value));
        let id = job.resource.id;
        let users: Vec<Resource> = there.filter(|user| user.depends_on.contains(&id)).collect();
        // An edge that is about to go, because what had it has changed, holds nothing.
        let edge = |user: &Resource| Item::Consumer(id, ConsumerKey::Resource { resource: user.id });
        let edges: Vec<Item> = users.iter().map(edge).collect();
        let edges = self.records.get_many(&job.organisation, &edges).await.unwrap_or_default();
        let stays = |found: &Versioned<Record>| match &found.value {
            Record::Consumer(consumer) => consumer.leaving.is_none(),
            _ => true,
        };
        let with_edge = users.into_iter().zip(edges);
        with_edge.filter(|(_, edge)| edge.as_ref().is_some_and(stays)).map(|(user, _)| user.name).collect()
    }

    /// Somebody who works there.
    pub fn worker(&self, name: String) -> Worker {
        Worker { name, cloud: self.clone() }
    }
}

impl Sky {
    /// `users` depend on the resource.
    fn begin(&mut self, job: &Job, users: &[String]) -> Result<(), String> {
        let id = job.resource.id.to_string();
        let needs: Vec<String> = job.depends_on.iter().map(ToString::to_string).collect();
        if let Some((other, _)) = self.at_work.get(&id) {
            return Err(format!("{other:?} is at work"));
        }
        if job.during == During::Destroy {
            let coming = self.at_work.iter().filter(|(_, (_, needs))| needs.contains(&id)).map(|(user, _)| user);
            if let Some(user) = users.iter().chain(coming).next() {
                return Err(format!("{user} depends on it"));
            }
        }
        let destroyed = |id: &String| matches!(self.at_work.get(id), Some((During::Destroy, _)));
        if let Some(missing) = needs.iter().find(|id| destroyed(id) || !self.things.contains_key(*id)) {
            return Err(format!("it depends on {missing}, which is not there"));
        }
        match (job.during, self.things.contains_key(&id), self.made.get(&id)) {
            (During::Create, true, _) => return Err("it is there".to_owned()),
            (During::Create, false, Some(_)) => return Err("it was there before".to_owned()),
            (During::Update | During::Destroy, false, _) => return Err("it is not there".to_owned()),
            (During::Create, false, None) | (During::Update | During::Destroy, true, _) => {}
        }
        self.at_work.insert(id, (job.during, needs));
        Ok(())
    }

    fn end(&mut self, job: &Job) -> Produced {
        let id = job.resource.id.to_string();
        self.at_work.remove(&id);
        let mut changes = Changes::default();
        match job.during {
            During::Create => {
                changes.add = 1;
                *self.made.entry(id.clone()).or_default() += 1;
            }
            During::Update => changes.change = 1,
            During::Destroy => {
                changes.destroy = 1;
                self.things.remove(&id);
                return Produced { changes, ..Produced::default() };
            }
        }
        let outputs = catalog::outputs(job.resource.template.kind(), &id, &job.inputs);
        let version = job.template.version.to_string();
        self.things.insert(id, Thing { version, inputs: job.inputs.clone() });
        Produced { outputs, changes }
    }
}

/// Runs jobs in the cloud, each for a while.
pub struct Worker {
    name: String,
    cloud: Cloud,
}

impl Worker {
    async fn take_a_while(&self) {
        let seconds = self.cloud.clock.below(LONGEST_RUN) as u64;
        self.cloud.clock.sleep(Duration::from_secs(seconds)).await;
    }
}

impl Executor for Worker {
    type Prepared = ();

    fn worker(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ExecutorKind {
        ExecutorKind::default()
    }

    async fn prepare(&self, job: &Job, log: &Log) -> Result<(), JobOutcome> {
        self.cloud.say(job, log, "prepares");
        self.cloud.clock.step_aside().await;
        Ok(())
    }

    async fn run(&self, job: &Job, (): (), control: Control) -> Ran {
        self.cloud.say(job, control.log(), "begins");
        let users = if job.during == During::Destroy { self.cloud.users(job).await } else { Vec::new() };
        let begun = self.cloud.sky().begin(job, &users);
        if let Err(why) = begun {
            let what = format!("{:?} of {} ({}): {why}", job.during, job.resource.name, job.resource.id);
            self.cloud.sky().wrong.push(what.clone());
            return JobOutcome::Failed(Failure::new(Code::TerraformFailed, what)).into();
        }
        self.take_a_while().await;
        self.cloud.say(job, control.log(), "ends");
        JobOutcome::Done(self.cloud.sky().end(job)).into()
    }
}

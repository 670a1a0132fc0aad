//! A cloud, the states that terraform keeps of it, the locks on those, and the terraform processes that live: each of
//! them apart, and none of them part of a worker.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use conductor_domain::consumer::Consumer;
use conductor_domain::ids::{DeploymentId, OperationId, ResourceId};
use conductor_domain::operation::{Changes, During, Lease, Operation};
use conductor_engine::{Interruption, Item, Job, Set};

use crate::catalog;
use crate::clock::SECOND;
use crate::hash::{Build, hash_of};
use crate::world::{ActorId, Core};

/// A terraform process, by its number.
pub(crate) type Pid = usize;

/// How long after the last heartbeat a worker that is not stopped may let terraform write: the time of a lease.
const LEASE: u64 = 30 * SECOND;

/// Something in the cloud.
#[derive(Debug, Clone)]
pub(crate) struct Thing {
    pub resource: ResourceId,
    pub address: &'static str,
    /// True where the lease said that it was begun when it was made.
    pub told: bool,
}

/// What a state says of an object.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub thing: u64,
    pub tainted: bool,
    pub made_by: OperationId,
    /// A number for the inputs that it has.
    pub inputs: u64,
}

/// A state.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub serial: u64,
    pub objects: BTreeMap<&'static str, Held>,
    /// What the last run that succeeded was given.
    pub inputs: Map<String, Value>,
}

/// What a process was started for.
#[derive(Debug)]
pub(crate) struct Order {
    pub resource: ResourceId,
    pub deployment: DeploymentId,
    pub number: u32,
    pub operation: OperationId,
    pub epoch: u64,
    pub during: During,
    pub module: &'static [&'static str],
    pub inputs: Map<String, Value>,
    pub print: u64,
    pub allow_replace: bool,
}

impl Order {
    /// What a job asks for.
    pub fn of(job: &Job) -> Self {
        Self {
            resource: job.resource.id,
            deployment: job.deployment,
            number: job.resource.reservation.as_ref().map_or(0, |reservation| reservation.number),
            operation: job.operation,
            epoch: job.epoch,
            during: job.during,
            module: catalog::module(job.template.template.kind()),
            inputs: job.inputs.clone(),
            print: hash_of(Value::Object(job.inputs.clone()).to_string().as_str()),
            allow_replace: job.allow_replace,
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone)]
pub(crate) enum Exit {
    Done(Changes),
    /// Somebody else has the lock.
    Locked,
    WouldReplace(Vec<String>),
    Failed,
    Hindered,
    /// It was asked to.
    Stopped(Interruption),
    /// The state lies aside, under this name.
    NotStored(String),
    /// Its credentials have ended.
    Expired,
    /// Nothing more is known of it.
    Killed,
}

/// A process, alive or not.
#[derive(Debug)]
pub(crate) struct Process {
    pub order: Arc<Order>,
    pub worker: ActorId,
    pub actor: Option<ActorId>,
    pub credentials_end: u64,
    pub alive: bool,
    /// It has got SIGTERM.
    pub stopped: bool,
    pub orphan: bool,
    /// It dies when it wants to say something.
    pub breaks: bool,
    pub begun: Vec<&'static str>,
    /// Those of them whose address the state had.
    pub replaced: Vec<&'static str>,
    pub exit: Option<Exit>,
}

/// The cloud and what terraform keeps of it.
#[derive(Debug, Default)]
pub(crate) struct Cloud {
    pub things: BTreeMap<u64, Thing>,
    pub states: HashMap<ResourceId, State, Build>,
    pub locks: HashMap<ResourceId, Pid, Build>,
    /// States that could not be stored, by name.
    pub aside: BTreeMap<String, State>,
    pub processes: Vec<Process>,
    made: u64,
}

impl Cloud {
    fn make(&mut self, thing: Thing) -> u64 {
        self.made += 1;
        self.things.insert(self.made, thing);
        self.made
    }

    /// What the state says, without what is not in the cloud any more.
    pub fn refreshed(&self, resource: ResourceId) -> State {
        let mut state = self.states.get(&resource).cloned().unwrap_or_default();
        state.objects.retain(|_, held| self.things.contains_key(&held.thing));
        state
    }
}

impl Core {
    /// A worker is about to run terraform: the promise says when it may.
    pub fn begin_process(&mut self, worker: ActorId, order: Order, credentials_end: u64) -> Pid {
        let (now, resource) = (self.now, order.resource);
        let mut others = self.cloud.processes.iter();
        if let Some(other) =
            others.find(|other| other.order.resource == resource && other.alive && now < other.credentials_end)
        {
            let detail = format!("{:?} for {order:?} while one of {:?} can write", order.during, other.order);
            self.violate("one_writer_of_a_state", detail);
        }
        self.check_lease(worker, &order);
        if order.during == During::Destroy {
            self.check_unused(resource);
        }
        self.note(worker, || format!("terraform {:?} of {resource} epoch {}", order.during, order.epoch));
        self.cloud.processes.push(Process {
            order: Arc::new(order),
            worker,
            actor: None,
            credentials_end,
            alive: true,
            stopped: false,
            orphan: false,
            breaks: false,
            begun: Vec::new(),
            replaced: Vec::new(),
            exit: None,
        });
        self.cloud.processes.len() - 1
    }

    /// Unless it was stopped since its last heartbeat, a worker that starts terraform has its lease, or its operation has
    /// been ended from outside at this moment.
    fn check_lease(&mut self, worker: ActorId, order: &Order) {
        let actor = &self.actors[worker];
        let operation = Item::Operation(order.deployment, order.number);
        let ended = self.memory.peek::<Operation>(&operation).is_none_or(|operation| operation.status.is_final());
        let lease = self.memory.peek::<Lease>(&Item::Lease(order.deployment, order.number));
        let ours = lease.is_some_and(|lease| lease.epoch == order.epoch && lease.worker == actor.name);
        if !(actor.froze || ended || ours) {
            let detail = format!("{} runs terraform for {order:?} under {lease:?}", actor.name);
            self.violate("terraform_starts_under_its_lease", detail);
        }
    }

    /// What is destroyed has no consumer but those that leave with it.
    fn check_unused(&mut self, resource: ResourceId) {
        let consumers: Vec<&Consumer> = self.memory.listed(catalog::organisation(), &Set::Consumers(resource));
        if let Some(consumer) = consumers.iter().find(|consumer| consumer.leaving.is_none()) {
            let detail = format!("{resource} is about to be destroyed, and used by {:?}", consumer.key);
            self.violate("nothing_used_is_destroyed", detail);
        }
    }

    /// Whether a process can write at this moment. While its worker lives and runs, its lease does.
    fn may_write(&mut self, pid: Pid) -> bool {
        let process = &self.cloud.processes[pid];
        if !process.alive || self.now >= process.credentials_end {
            return false;
        }
        let worker = &self.actors[process.worker];
        let late = worker.beat_at.is_some_and(|at| self.now > at + LEASE);
        if worker.live && !worker.froze && late {
            let detail =
                format!("{} lets terraform write although its last heartbeat is {:?}", worker.name, worker.beat_at);
            self.violate("terraform_stops_with_its_lease", detail);
        }
        true
    }

    /// Takes the lock; `None` where the credentials have ended.
    pub fn lock(&mut self, pid: Pid) -> Option<bool> {
        let resource = self.cloud.processes[pid].order.resource;
        self.may_write(pid).then(|| *self.cloud.locks.entry(resource).or_insert(pid) == pid)
    }

    /// Releases its own lock.
    pub fn unlock(&mut self, pid: Pid) {
        let resource = self.cloud.processes[pid].order.resource;
        if self.cloud.locks.get(&resource) == Some(&pid) {
            self.cloud.locks.remove(&resource);
        }
    }

    /// Removes the lock that a run left that is no more; answers with its id.
    pub fn remove_left_lock(&mut self, pid: Pid) -> Option<String> {
        let resource = self.cloud.processes[pid].order.resource;
        if !self.may_write(pid) {
            return None;
        }
        let left = self.cloud.locks.remove(&resource)?;
        Some(format!("lock-{left}"))
    }

    /// Makes an object; `None` where the credentials have ended.
    pub fn make(&mut self, pid: Pid, address: &'static str) -> Option<u64> {
        if !self.may_write(pid) {
            return None;
        }
        let Process { order, .. } = &self.cloud.processes[pid];
        let lease = self.memory.peek::<Lease>(&Item::Lease(order.deployment, order.number));
        let told =
            lease.is_some_and(|lease| lease.epoch == order.epoch && lease.begun.iter().any(|begun| begun == address));
        let resource = order.resource;
        Some(self.cloud.make(Thing { resource, address, told }))
    }

    /// Removes an object; false where the credentials have ended.
    pub fn unmake(&mut self, pid: Pid, thing: u64) -> bool {
        let may = self.may_write(pid);
        if may {
            self.cloud.things.remove(&thing);
        }
        may
    }

    /// Stores a state over the one that it came from; false where the credentials have ended.
    pub fn store(&mut self, pid: Pid, state: &mut State) -> bool {
        if !self.may_write(pid) {
            return false;
        }
        let order = self.cloud.processes[pid].order.clone();
        let there = self.cloud.states.get(&order.resource).map_or(0, |state| state.serial);
        if there != state.serial {
            let detail = format!("{order:?} stores a state that came from serial {} over {there}", state.serial);
            self.violate("states_are_never_overwritten", detail);
        }
        state.serial += 1;
        self.cloud.states.insert(order.resource, state.clone());
        true
    }

    /// Pushes the state that a run before this one could not store. `None`: it cannot now; false: it is there already.
    pub fn push(&mut self, pid: Pid, name: &str) -> Option<bool> {
        let resource = self.cloud.processes[pid].order.resource;
        let locked = self.cloud.locks.contains_key(&resource);
        let Some(mut state) = self.cloud.aside.get(name).filter(|_| !locked).cloned() else {
            return (!locked).then_some(false);
        };
        let pushed = self.store(pid, &mut state);
        if pushed {
            self.cloud.aside.remove(name);
        }
        pushed.then_some(true)
    }

    /// A worker asks its terraform to stop.
    pub fn stop(&mut self, pid: Pid) {
        self.cloud.processes[pid].stopped = true;
        if let Some(actor) = self.cloud.processes[pid].actor {
            self.note(actor, || "gets SIGTERM".to_owned());
            self.wake(actor);
        }
    }

    /// What a process had begun to make and the state does not have.
    pub fn unstored(&self, pid: Pid) -> Vec<String> {
        let process = &self.cloud.processes[pid];
        let state = self.cloud.states.get(&process.order.resource);
        let missing =
            process.begun.iter().filter(|begun| state.is_none_or(|state| !state.objects.contains_key(*begun)));
        missing.chain(&process.replaced).map(|begun| (*begun).to_owned()).collect()
    }

    /// Everything that a job asks for, at once: for the exhaustive search.
    pub fn apply_at_once(&mut self, pid: Pid) -> Changes {
        let order = self.cloud.processes[pid].order.clone();
        let mut state = self.cloud.refreshed(order.resource);
        let mut changes = Changes::default();
        if order.during == During::Destroy {
            for (_, held) in std::mem::take(&mut state.objects) {
                changes.destroy += u32::from(self.unmake(pid, held.thing));
            }
        } else {
            for &address in order.module {
                let thing = match state.objects.get(address) {
                    Some(held) => Some(held.thing),
                    None => self.make(pid, address),
                };
                let Some(thing) = thing else { continue };
                let held = Held { thing, tainted: false, made_by: order.operation, inputs: order.print };
                changes.add += u32::from(state.objects.insert(address, held).is_none());
            }
            state.inputs = order.inputs.clone();
        }
        self.store(pid, &mut state);
        changes
    }
}

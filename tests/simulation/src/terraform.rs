//! One terraform process: an actor of its own, that knows its worker only by what it says to it and by SIGTERM.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use conductor_domain::operation::{Changes, During, InFlight};
use conductor_engine::{Control, Interruption};

use crate::clock::SECOND;
use crate::cloud::{Exit, Held, Order, Pid, State};
use crate::weather::object_time;
use crate::world::Port;

/// Terraform stores its state so often while it changes.
const STORE_EVERY: u64 = 20 * SECOND;

/// Something that a plan has to do with an object.
#[derive(Debug, Clone, Copy)]
enum Act {
    Make(&'static str),
    Change(&'static str),
    Remove(&'static str),
}

/// Why a process comes to its end before it is done.
enum End {
    Stopped(Vec<InFlight>),
    WouldReplace(Vec<String>),
    Failed,
    Hindered,
    Expired,
    /// Nobody reads what it says any more.
    Broken,
}

/// Runs until its end.
pub(crate) async fn terraform(port: Port, pid: Pid, control: Control) {
    let order = port.core().cloud.processes[pid].order.clone();
    let (state, changes) = (State::default(), Changes::default());
    let run = Run { port: port.clone(), pid, control, order, state, changes, dirty: false, stored_at: 0, finished: 0 };
    let exit = run.play().await;
    let mut core = port.core();
    core.note(port.actor, || format!("{exit:?}"));
    core.exited(pid, exit);
}

struct Run {
    port: Port,
    pid: Pid,
    control: Control,
    order: Arc<Order>,
    state: State,
    changes: Changes,
    /// True where the state has changed since it was stored.
    dirty: bool,
    stored_at: u64,
    /// Objects that it is done with.
    finished: u32,
}

impl Run {
    async fn play(mut self) -> Exit {
        self.port.pass("takes the lock").await;
        let taken = self.port.core().lock(self.pid);
        match taken {
            Some(true) => {}
            Some(false) => return Exit::Locked,
            None => return Exit::Expired,
        }
        self.port.pass("reads the state").await;
        self.state = self.port.core().cloud.refreshed(self.order.resource);
        self.stored_at = self.port.core().now;
        let end = self.apply().await;
        self.close(end).await
    }

    async fn apply(&mut self) -> Result<(), End> {
        for act in plan(&self.state, &self.order).map_err(End::WouldReplace)? {
            if self.is_stopped() {
                return Err(End::Stopped(Vec::new()));
            }
            self.fail_sometimes()?;
            match act {
                Act::Make(address) => self.make(address).await?,
                Act::Change(address) => self.change(address).await?,
                Act::Remove(address) => self.remove(address).await?,
            }
        }
        Ok(())
    }

    async fn make(&mut self, address: &'static str) -> Result<(), End> {
        self.speaks()?;
        let (began, time, replaces) = {
            let mut core = self.port.core();
            let stored = core.cloud.states.get(&self.order.resource);
            let replaces = stored.is_some_and(|state| state.objects.contains_key(address));
            let process = &mut core.cloud.processes[self.pid];
            process.begun.push(address);
            process.replaced.extend(replaces.then_some(address));
            core.note(self.port.actor, || format!("begins to make {address}"));
            let long = core.weather.long;
            (core.now, object_time(&mut core.chance, long), replaces)
        };
        self.control.begins(address, replaces);
        let stopped = self.wait(time).await?;
        self.port.pass("makes it").await;
        let thing = self.port.core().make(self.pid, address).ok_or(End::Expired)?;
        let held = Held { thing, tainted: stopped, made_by: self.order.operation, inputs: self.order.print };
        self.state.objects.insert(address, held);
        self.dirty = true;
        if stopped {
            let seconds = (self.port.core().now - began) / SECOND;
            return Err(End::Stopped(vec![InFlight { address: address.to_owned(), seconds }]));
        }
        self.speaks()?;
        self.control.finished(address);
        self.finished += 1;
        self.changes.add += 1;
        Ok(())
    }

    async fn change(&mut self, address: &'static str) -> Result<(), End> {
        self.speaks()?;
        let time = self.object_time();
        self.wait(time).await?;
        self.port.pass("changes it").await;
        if let Some(held) = self.state.objects.get_mut(address) {
            held.inputs = self.order.print;
        }
        self.dirty = true;
        self.finished += 1;
        self.changes.change += 1;
        Ok(())
    }

    async fn remove(&mut self, address: &'static str) -> Result<(), End> {
        self.speaks()?;
        let time = self.object_time();
        self.wait(time).await?;
        self.port.pass("removes it").await;
        let Some(held) = self.state.objects.get(address) else { return Ok(()) };
        if !self.port.core().unmake(self.pid, held.thing) {
            return Err(End::Expired);
        }
        self.state.objects.remove(address);
        self.dirty = true;
        self.finished += 1;
        self.changes.destroy += 1;
        Ok(())
    }

    /// Lets time pass, and stores the state when it is time for that. True where it is asked to stop meanwhile.
    async fn wait(&mut self, time: u64) -> Result<bool, End> {
        let until = self.port.core().now + time;
        loop {
            if self.is_stopped() {
                return Ok(true);
            }
            let now = self.port.core().now;
            if now >= until {
                return Ok(false);
            }
            let store_at = self.stored_at + STORE_EVERY;
            if self.dirty && now >= store_at {
                self.store().await?;
                continue;
            }
            let next = if self.dirty { until.min(store_at) } else { until };
            self.nap(next - now).await;
        }
    }

    /// Sleeps until then, or until SIGTERM.
    async fn nap(&self, time: u64) {
        let mut nap = pin!(self.port.nap(time));
        poll_fn(|context| if self.is_stopped() { Poll::Ready(()) } else { nap.as_mut().poll(context) }).await;
    }

    async fn store(&mut self) -> Result<(), End> {
        self.port.pass("stores its state").await;
        let mut core = self.port.core();
        self.stored_at = core.now;
        self.dirty = false;
        if core.store(self.pid, &mut self.state) { Ok(()) } else { Err(End::Expired) }
    }

    /// Stores what there is, and releases the lock.
    async fn close(mut self, end: Result<(), End>) -> Exit {
        match &end {
            Err(End::Broken) => return Exit::Killed,
            Err(End::Expired) => return Exit::Expired,
            Err(End::WouldReplace(_) | End::Stopped(_) | End::Failed | End::Hindered) => {}
            Ok(()) => {
                self.state.inputs = self.order.inputs.clone();
                self.dirty = true;
            }
        }
        let mut aside = None;
        if self.dirty {
            if self.not_stored() {
                self.port.pass("cannot store its state").await;
                aside = Some(self.put_aside());
            } else if self.store().await.is_err() {
                return Exit::Expired;
            }
        }
        self.port.pass("releases the lock").await;
        self.port.core().unlock(self.pid);
        match (end, aside) {
            (_, Some(name)) => Exit::NotStored(name),
            (Ok(()), None) => Exit::Done(self.changes),
            (Err(End::WouldReplace(objects)), None) => Exit::WouldReplace(objects),
            (Err(End::Stopped(in_flight)), None) => Exit::Stopped(Interruption { in_flight, finished: self.finished }),
            (Err(End::Failed), None) => Exit::Failed,
            (Err(End::Hindered), None) => Exit::Hindered,
            (Err(End::Expired), None) => Exit::Expired,
            (Err(End::Broken), None) => Exit::Killed,
        }
    }

    fn not_stored(&self) -> bool {
        let mut core = self.port.core();
        let share = core.weather.not_stored;
        core.chance.sometimes(share)
    }

    /// What it could not store lies in its work folder, where only its worker can save it.
    fn put_aside(&self) -> String {
        let mut core = self.port.core();
        let name = format!("errored/{}/{}-{}", self.order.resource, self.order.operation, self.order.epoch);
        if !core.cloud.processes[self.pid].orphan {
            core.cloud.aside.insert(name.clone(), self.state.clone());
        }
        name
    }

    fn is_stopped(&self) -> bool {
        self.port.core().cloud.processes[self.pid].stopped
    }

    /// What has outlived its worker may die by a broken pipe.
    fn speaks(&self) -> Result<(), End> {
        let core = self.port.core();
        let process = &core.cloud.processes[self.pid];
        if process.orphan && process.breaks { Err(End::Broken) } else { Ok(()) }
    }

    fn fail_sometimes(&self) -> Result<(), End> {
        let mut core = self.port.core();
        let (fails, hindered) = (core.weather.terraform_fails, core.weather.terraform_hindered);
        if core.chance.sometimes(fails) {
            return Err(End::Failed);
        }
        if core.chance.sometimes(hindered) { Err(End::Hindered) } else { Ok(()) }
    }

    fn object_time(&self) -> u64 {
        let mut core = self.port.core();
        let long = core.weather.long;
        object_time(&mut core.chance, long)
    }
}

/// What has to be done, or what would be replaced although nobody allows it: what an operation before this one left
/// tainted.
fn plan(state: &State, order: &Order) -> Result<Vec<Act>, Vec<String>> {
    if order.during == During::Destroy {
        return Ok(state.objects.keys().rev().map(|&address| Act::Remove(address)).collect());
    }
    let mut acts = Vec::new();
    let mut replaced = Vec::new();
    for &address in order.module {
        match state.objects.get(address) {
            None => acts.push(Act::Make(address)),
            Some(held) if held.tainted => {
                if held.made_by != order.operation && !order.allow_replace {
                    replaced.push(address.to_owned());
                }
                acts.extend([Act::Remove(address), Act::Make(address)]);
            }
            Some(held) if held.inputs != order.print => acts.push(Act::Change(address)),
            Some(_) => {}
        }
    }
    if replaced.is_empty() { Ok(acts) } else { Err(replaced) }
}

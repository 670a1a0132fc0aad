//! What can happen to an actor at a step: it waits, is stopped for a while, or dies, and what it leaves behind then.

use conductor_engine::port::StoreError;
use conductor_engine::{Causes, Error, Swept};

use crate::clock::SECOND;
use crate::cloud::{Exit, Pid};
use crate::weather::freeze_time;
use crate::world::{ActorId, Core, Kind, Outage, Passage, Timer};

impl Core {
    /// An actor comes to a step, or comes back to it after it has let others go first.
    pub fn arrive(&mut self, actor: ActorId, waited: bool) -> Passage {
        if self.scripted {
            return if waited { Passage::Go } else { Passage::Wait };
        }
        if waited {
            let again = self.chance.sometimes(self.weather.dawdle);
            return if again { Passage::Wait } else { Passage::Go };
        }
        self.tally.steps += 1;
        if let Some(passage) = self.strike(actor) {
            return passage;
        }
        if self.chance.sometimes(self.weather.through) { Passage::Go } else { Passage::Wait }
    }

    fn strike(&mut self, actor: ActorId) -> Option<Passage> {
        if self.crash_in > 0 && (self.crash_anybody || self.actors[actor].kind == Kind::Worker) {
            self.crash_in -= 1;
            if self.crash_in == 0 {
                self.crash(actor);
                return Some(Passage::Never);
            }
        }
        if self.chance.sometimes(self.weather.crash) {
            let victim = self.victim(actor);
            self.crash(victim);
            if victim == actor {
                return Some(Passage::Never);
            }
        }
        if self.chance.sometimes(self.weather.freeze) {
            let victim = self.victim(actor);
            self.freeze(victim);
            if victim == actor {
                return Some(Passage::Wait);
            }
        }
        if self.chance.sometimes(self.weather.outage) {
            let whom = self.chance.sometimes(0.7).then_some(actor);
            let until = self.now + self.chance.between(3 * SECOND, 80 * SECOND);
            self.note(actor, || format!("the store does not answer {}", if whom.is_some() { "me" } else { "anybody" }));
            self.outages.push(Outage { whom, until });
        }
        None
    }

    /// Where terraform comes to a step, its worker may be met.
    fn victim(&mut self, actor: ActorId) -> ActorId {
        let process = self.actors[actor].process.map(|pid| &self.cloud.processes[pid]);
        let worker = process.map(|process| process.worker).filter(|worker| self.actors[*worker].live);
        match worker {
            Some(worker) if self.chance.sometimes(0.6) => worker,
            _ => actor,
        }
    }

    fn crash(&mut self, actor: ActorId) {
        if self.actors[actor].live {
            self.note(actor, || "dies".to_owned());
            self.tally.crashes += 1;
            self.doom(actor);
        }
    }

    /// Ends an actor where it stands. The scheduler drops its future.
    pub fn doom(&mut self, actor: ActorId) {
        if !self.actors[actor].live {
            return;
        }
        self.leave(actor);
        self.doomed.push(actor);
        match self.actors[actor].kind {
            Kind::Worker => self.leave_processes(actor),
            Kind::Terraform => {
                if let Some(pid) = self.actors[actor].process {
                    self.exited(pid, Exit::Killed);
                }
            }
            Kind::Api => self.ask_again(actor),
            Kind::Sweeper => {}
        }
    }

    /// An actor is no more, whether it has come to its end or died.
    pub fn leave(&mut self, actor: ActorId) {
        let one = &mut self.actors[actor];
        one.live = false;
        let (timer, worker) = (one.timer.take(), one.kind == Kind::Worker);
        self.workers -= usize::from(worker);
        if let Some(timer) = timer {
            self.timers.remove(&timer);
        }
    }

    fn leave_processes(&mut self, worker: ActorId) {
        for pid in 0..self.cloud.processes.len() {
            let process = &self.cloud.processes[pid];
            if !process.alive || process.worker != worker {
                continue;
            }
            let actor = process.actor;
            match actor {
                Some(actor) if self.chance.sometimes(self.weather.outlives) => {
                    let breaks = self.chance.sometimes(self.weather.breaks);
                    let process = &mut self.cloud.processes[pid];
                    (process.orphan, process.breaks) = (true, breaks);
                    self.note(actor, || "outlives its worker".to_owned());
                }
                Some(actor) => self.doom(actor),
                None => self.exited(pid, Exit::Killed),
            }
        }
    }

    /// A process has ended; its worker is told.
    pub fn exited(&mut self, pid: Pid, exit: Exit) {
        let process = &mut self.cloud.processes[pid];
        process.alive = false;
        if process.exit.is_none() {
            process.exit = Some(exit);
        }
        let worker = process.worker;
        self.wake(worker);
    }

    /// Kills a process, and all that it had not stored is lost.
    pub fn kill(&mut self, pid: Pid) {
        match self.cloud.processes[pid].actor {
            Some(actor) => self.doom(actor),
            None => self.exited(pid, Exit::Killed),
        }
    }

    fn freeze(&mut self, actor: ActorId) {
        let mut time = freeze_time(&mut self.chance);
        let process = self.actors[actor].process.map(|pid| &self.cloud.processes[pid]);
        if process.is_some_and(|process| !process.orphan) {
            // Alone it is stopped for less than a worker takes it to store what it has.
            time = time.min(30 * SECOND);
        }
        self.freeze_for(actor, time);
        if self.actors[actor].kind == Kind::Worker && self.chance.sometimes(0.5) {
            let with_it = self.cloud.processes.iter().filter(|process| process.alive && process.worker == actor);
            let processes: Vec<ActorId> = with_it.filter_map(|process| process.actor).collect();
            for process in processes {
                self.freeze_for(process, time);
            }
        }
    }

    fn freeze_for(&mut self, actor: ActorId, time: u64) {
        let until = self.now + time;
        let Some(slot) = self.actors[actor].slot.filter(|_| self.actors[actor].frozen_until < until) else { return };
        self.note(actor, || format!("is stopped for {} s", time / SECOND));
        self.actors[actor].frozen_until = until;
        self.actors[actor].froze = true;
        self.frozen |= 1 << slot;
        self.at(until, Timer::Thaw(actor));
    }

    /// Lets a stopped actor go on, unless it was stopped for longer since.
    pub fn thaw(&mut self, actor: ActorId) {
        if let Some(slot) = self.actors[actor].slot
            && self.actors[actor].frozen_until <= self.now
        {
            self.note(actor, || "goes on".to_owned());
            self.frozen &= !(1 << slot);
        }
    }

    /// The machine of a worker ends. One that is stopped may get a little more time than it knows of.
    pub fn deadline(&mut self, actor: ActorId) {
        let Some(one) = self.actors.get(actor).filter(|one| one.live) else { return };
        let frozen_until = one.frozen_until;
        if frozen_until > self.now && self.chance.sometimes(self.weather.overstays) {
            let again = frozen_until + self.chance.between(0, 20 * SECOND);
            self.actors[actor].timer = Some(self.at(again, Timer::Deadline(actor)));
            return;
        }
        self.note(actor, || "is at its deadline, and ends".to_owned());
        self.doom(actor);
    }

    /// A worker has come to its end.
    pub fn worked(&mut self, actor: ActorId, done: &Result<(), Error>) {
        self.note(actor, || format!("ends: {}", shown(done)));
        let left = self.cloud.processes.iter().any(|process| process.alive && process.worker == actor);
        if left {
            self.violate("no_process_outlives_its_handler", self.actors[actor].name.clone());
        }
        match done {
            Ok(()) => {
                if let Some(message) = self.actors[actor].message {
                    self.messages.remove(&message);
                }
            }
            Err(error) => self.judge(error),
        }
    }

    /// A sweep has come to its end. Without faults, what is due can be settled.
    pub fn swept(&mut self, actor: ActorId, calm_before: bool, done: &Result<Swept, Error>) {
        self.note(actor, || format!("ends: {done:?}"));
        match done {
            Ok(swept) if swept.failed > 0 && calm_before => self.violate("sweeps_settle", format!("{swept:?}")),
            Ok(_) => {}
            Err(error) => self.judge(error),
        }
    }

    /// Errors that mean a bug and nothing else.
    pub fn judge(&mut self, error: &Error) {
        match error {
            Error::Conflict | Error::Store(StoreError::Unavailable(_)) => {}
            Error::Refused(_) | Error::Illegal(_) | Error::Store(StoreError::Unreadable(_) | StoreError::Cursor) => {
                self.violate("no_internal_errors", Causes(error).to_string());
            }
        }
    }
}

fn shown(done: &Result<(), Error>) -> String {
    match done {
        Ok(()) => "well".to_owned(),
        Err(error) => Causes(error).to_string(),
    }
}

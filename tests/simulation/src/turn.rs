//! Whose turn it is: the seed decides among those who can act, and where nobody can, time goes on to what happens next.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use crate::clock::{HOUR, MINUTE, SECOND, moment, time_of_day};
use crate::world::{Core, Timer};

/// Within this everything is at rest once faults have stopped: what waits for a terraform that was left behind waits a
/// quarter of an hour and a bit, perhaps after one that it waits for itself. An operation that is forgotten would end only
/// with its own time, a day after it was planned.
pub const REST_WITHIN: u64 = 6 * HOUR;
/// Steps after which a schedule is taken to turn in circles.
const STEPS: u64 = 400_000;
/// Time between sweeps.
const SWEEP_EVERY: u64 = MINUTE;
/// Clocks are off by less; a sweep that finds nothing even on the fastest of them is left out.
const CLOCKS: u64 = 6 * SECOND;
/// Messages that are looked at for the next one: those after them come later, whatever their order.
const REORDERED: usize = 6;

/// What happens next.
pub(crate) enum Turn {
    /// An actor acts.
    Poll(u32),
    /// A worker takes this message.
    Work((u64, u64)),
    /// Somebody sweeps.
    Sweep,
    /// Somebody asks the API.
    Ask(usize),
    /// Time went on.
    Again,
    /// Nothing: everything is at rest, or something is wrong.
    End,
}

/// The place of one of the bits that are set.
fn one_of(mut bits: u64, number: u64) -> u32 {
    for _ in 0..number {
        bits &= bits - 1;
    }
    bits.trailing_zeros()
}

impl Core {
    /// Those who can act.
    pub fn runnable(&self) -> u64 {
        self.ready.load(Ordering::Relaxed) & self.seated & !self.frozen
    }

    /// What happens next.
    pub fn turn(&mut self) -> Turn {
        if self.violation.is_some() {
            return Turn::End;
        }
        if self.now > self.calm_at + REST_WITHIN || self.tally.steps > STEPS {
            let open: Vec<String> = self.memory.all_due().map(|(at, item)| format!("{item:?} since {at}")).collect();
            self.violate("everything_comes_to_rest", format!("due: {open:#?}"));
            return Turn::End;
        }
        if self.runnable() != 0 && self.chance.sometimes(self.weather.creep) {
            self.now += self.chance.below(self.weather.creep_most);
        }
        self.ring();
        if let Some(number) = self.asked.pop() {
            return Turn::Ask(number);
        }
        if let Some(message) = self.message() {
            return Turn::Work(message);
        }
        if self.sweeps() {
            return Turn::Sweep;
        }
        let runnable = self.runnable();
        if runnable != 0 {
            let number = self.chance.below(u64::from(runnable.count_ones()));
            self.active_at = self.now;
            return Turn::Poll(one_of(runnable, number));
        }
        self.jump()
    }

    /// Lets everything happen whose moment has come.
    pub fn ring(&mut self) {
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > self.now {
                return;
            }
            match first.remove() {
                Timer::Wake(_, waker) => waker.wake(),
                Timer::Thaw(actor) => self.thaw(actor),
                Timer::Deadline(actor) => self.deadline(actor),
                Timer::Ask(number) => self.asked.push(number),
                Timer::Calm => self.calm_down(),
            }
        }
    }

    fn calm_down(&mut self) {
        self.weather = self.weather.calmed();
        self.calm = true;
        self.outages.clear();
        if let Some(trace) = &mut self.trace {
            trace.push("faults stop".to_owned());
        }
    }

    /// A message that is there, if a worker is free.
    fn message(&mut self) -> Option<(u64, u64)> {
        if self.workers >= self.weather.workers {
            return None;
        }
        let there = self.messages.range(..=(self.now, u64::MAX)).take(REORDERED).count() as u64;
        if there == 0 {
            return None;
        }
        let which = self.chance.below(there) as usize;
        self.messages.range(..=(self.now, u64::MAX)).nth(which).map(|(key, _)| *key)
    }

    fn sweeps(&mut self) -> bool {
        if self.now < self.next_sweep {
            return false;
        }
        let late = if self.chance.sometimes(self.weather.late_sweep) { self.chance.below(3 * MINUTE) } else { 0 };
        // Two at once, where the next one is not late but early.
        let early = late > 0 && self.chance.sometimes(0.3);
        self.next_sweep = if early { self.now } else { self.now + SWEEP_EVERY + late };
        self.memory.first_due().is_some_and(|at| at <= time_of_day(self.now + CLOCKS, 0))
    }

    fn jump(&mut self) -> Turn {
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        let free = self.workers < self.weather.workers;
        let message = self.messages.first_key_value().map(|((at, _), _)| *at).filter(|_| free);
        let sweep = self.memory.first_due().map(|at| self.sweep_for(at));
        match [timer, message, sweep].into_iter().flatten().min() {
            Some(next) => {
                self.now = self.now.max(next);
                Turn::Again
            }
            None => Turn::End,
        }
    }

    /// The first sweep that may find what is due then.
    pub fn sweep_for(&self, due_at: Timestamp) -> u64 {
        let wanted = moment(due_at, 0).saturating_sub(CLOCKS);
        let missing = wanted.saturating_sub(self.next_sweep).div_ceil(SWEEP_EVERY);
        self.next_sweep + missing * SWEEP_EVERY
    }
}

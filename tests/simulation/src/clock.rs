//! Virtual time, in nanoseconds since the world began, and clocks that are off by a few seconds.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use conductor_domain::token::SECRET_BYTES;
use conductor_engine::port::Clock;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::world::{Port, Timer};

/// 2026-01-01, when every world begins.
const START: Timestamp = Timestamp::constant(1_767_225_600, 0);
/// A second.
pub const SECOND: u64 = 1_000_000_000;
/// A minute.
pub const MINUTE: u64 = 60 * SECOND;
/// An hour.
pub const HOUR: u64 = 60 * MINUTE;

/// A moment as a time of day, on a clock that is ahead by `skew` nanoseconds.
pub fn time_of_day(moment: u64, skew: i64) -> Timestamp {
    START + SignedDuration::from_nanos(moment as i64 + skew)
}

/// The moment at which a clock that is ahead by `skew` nanoseconds shows a time of day.
pub fn moment(time: Timestamp, skew: i64) -> u64 {
    let since = time.duration_since(START).as_nanos() - i128::from(skew);
    u64::try_from(since).unwrap_or(0)
}

impl Clock for Port {
    fn now(&self) -> Timestamp {
        let core = self.core();
        time_of_day(core.now, core.actors[self.actor].skew)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.core().now)
    }

    /// In an exhaustive search the moment between two tries of a lost race is no time, only a chance for others.
    async fn sleep(&self, time: Duration) {
        if self.scripted() && time < Duration::from_secs(1) {
            self.pass("try again").await;
            let mut core = self.core();
            core.actors[self.actor].trying = 0;
        } else {
            self.nap(time.as_nanos() as u64).await;
        }
    }

    /// UUIDv7: the time, who asks, and a count in the place of chance: the same whatever others do meanwhile.
    fn fresh_id(&self) -> Uuid {
        let mut core = self.core();
        let now = core.now;
        let actor = &mut core.actors[self.actor];
        actor.ids += 1;
        let milliseconds = time_of_day(now, actor.skew).as_millisecond() as u128;
        let unique = (u128::from(actor.tag) << 32) | u128::from(actor.ids);
        Uuid::from_u128((milliseconds << 80) | (0x7 << 76) | (0b10 << 62) | unique)
    }

    fn chance(&self) -> f64 {
        let mut core = self.core();
        if core.scripted { 0.5 } else { core.chance.unit() }
    }

    /// Of this fresh id: nobody here tries to guess.
    fn secret(&self) -> [u8; SECRET_BYTES] {
        let mut secret = [0; SECRET_BYTES];
        secret[..16].copy_from_slice(self.fresh_id().as_bytes());
        secret
    }
}

impl Port {
    /// Waits for so many nanoseconds.
    pub(crate) fn nap(&self, time: u64) -> Nap {
        Nap { port: self.clone(), time, until: None, timer: None }
    }
}

/// A wait; dropped, it is forgotten.
pub(crate) struct Nap {
    port: Port,
    time: u64,
    until: Option<u64>,
    timer: Option<(u64, u64)>,
}

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Nap { port, time, until, timer } = &mut *self;
        let mut core = port.core();
        let until = *until.get_or_insert(core.now + *time);
        if core.now >= until {
            if let Some(timer) = timer.take() {
                core.timers.remove(&timer);
            }
            return Poll::Ready(());
        }
        match timer.and_then(|timer| core.timers.get_mut(&timer)) {
            Some(Timer::Wake(_, waker)) => waker.clone_from(context.waker()),
            _ => *timer = Some(core.at(until, Timer::Wake(port.actor, context.waker().clone()))),
        }
        Poll::Pending
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.port.core().timers.remove(&timer);
        }
    }
}

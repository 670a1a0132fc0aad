//! Time that jumps to whatever is waited for next, and chance from a seed: the same seed is the same run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conductor_domain::token::SECRET_BYTES;
use conductor_engine::port::Clock;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;
use uuid::Uuid;

/// 2026-01-01, when every run begins.
const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// The clock of a run, over the paused time of its runtime; copies are the same clock.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    started: Instant,
    chance: Arc<Mutex<StdRng>>,
    ids: Arc<AtomicU64>,
}

impl VirtualClock {
    /// A clock that starts now. Wants a runtime whose time is paused.
    pub fn new(seed: u64) -> Self {
        let chance = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Self { started: Instant::now(), chance, ids: Arc::default() }
    }

    fn draw(&self) -> MutexGuard<'_, StdRng> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number below `count`, and 0 where that is 0.
    pub fn below(&self, count: usize) -> usize {
        self.draw().random_range(0..count.max(1))
    }

    /// True as often as `share` says, from 0 to 1.
    pub fn sometimes(&self, share: f64) -> bool {
        self.draw().random_bool(share)
    }

    /// Lets the others go first, or not.
    pub async fn step_aside(&self) {
        for _ in 0..self.below(3) {
            tokio::task::yield_now().await;
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        START + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// UUIDv7: the time, and a count in the place of chance, so that later ids are greater.
    fn fresh_id(&self) -> Uuid {
        let milliseconds = self.now().as_millisecond() as u128;
        let count = u128::from(self.ids.fetch_add(1, Ordering::Relaxed));
        Uuid::from_u128((milliseconds << 80) | (0x7 << 76) | (0b10 << 62) | count)
    }

    fn chance(&self) -> f64 {
        self.draw().random()
    }

    fn secret(&self) -> [u8; SECRET_BYTES] {
        self.draw().random()
    }
}

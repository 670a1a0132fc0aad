//! The system's time and chance.

use std::time::{Duration, Instant};

use conductor_domain::token::SECRET_BYTES;
use conductor_engine::port::Clock;
use jiff::Timestamp;
use uuid::Uuid;

/// The clock of the machine.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the edge where the clock is read")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where the clock is read")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn fresh_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn chance(&self) -> f64 {
        rand::random()
    }

    /// From a generator that is seeded by the operating system, and made for keys.
    fn secret(&self) -> [u8; SECRET_BYTES] {
        rand::random()
    }
}

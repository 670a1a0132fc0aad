//! What tests of the engine in memory stand on: time that jumps, a stack that is large enough, names.

use std::fmt::Debug;
use std::future::Future;
use std::panic::resume_unwind;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use conductor_domain::token::SECRET_BYTES;
use conductor_engine::port::Clock;
use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

/// Stack of a test, in bytes: without optimisation the engine's futures are large.
const STACK: usize = 64 << 20;
/// 2026-01-01, when every test begins.
const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// Runs a test whose time jumps to whatever is waited for next.
pub fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    let played = thread::Builder::new().stack_size(STACK).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(test());
    });
    if let Err(panic) = played.expect("a thread").join() {
        resume_unwind(panic);
    }
}

/// A name or an id that is one.
pub fn named<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("a name, a version, a grant or an id")
}

/// The paused time of the runtime, and counts in the place of chance.
#[derive(Debug, Clone)]
pub struct TestClock {
    started: Instant,
    drawn: Arc<AtomicU64>,
}

impl TestClock {
    pub fn new() -> Self {
        Self { started: Instant::now(), drawn: Arc::default() }
    }

    fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed)
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        START + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// UUIDv7: the time and a count, so that later ids are greater.
    fn fresh_id(&self) -> Uuid {
        let milliseconds = self.now().as_millisecond() as u128;
        Uuid::from_u128((milliseconds << 80) | (0x7 << 76) | (0b10 << 62) | u128::from(self.draw()))
    }

    fn chance(&self) -> f64 {
        0.5
    }

    fn secret(&self) -> [u8; SECRET_BYTES] {
        let mut secret = [0xa5; SECRET_BYTES];
        secret[..8].copy_from_slice(&self.draw().to_be_bytes());
        secret
    }
}

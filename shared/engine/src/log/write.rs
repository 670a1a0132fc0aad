//! Writing: what a run says is gathered and committed in chunks, under its operation's epoch.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use conductor_domain::log::{Chunk, KEPT, Level, Line};
use conductor_domain::operation::Lease;
use futures::lock::Mutex as AsyncMutex;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::lease::Keeper;
use crate::port::{Clock, Ports};
use crate::{Causes, Error};

/// Time between two chunks of a run: a line waits this long at most.
const BATCH_EVERY: Duration = Duration::from_millis(200);
/// Time between two chunks where more waits.
const TURN: Duration = Duration::from_millis(5);
/// The size from which a chunk is full, in bytes.
const MAX_CHUNK: usize = 16 * 1024;
/// The longest message, in bytes, and the longest address.
const MAX_MESSAGE: usize = 8 * 1024;
const MAX_ADDRESS: usize = 1024;
/// The most lines of a run, and their bytes; what is said after that is counted.
pub(super) const MAX_LINES: u32 = 10_000;
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// What a line takes beside its message, about.
const OVERHEAD: usize = 64;

/// Takes the lines of one run. Copies write into the same log.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    said: Mutex<Said>,
    news: Notify,
}

#[derive(Default)]
struct Said {
    waiting: VecDeque<Line>,
    lines: u32,
    bytes: usize,
    left_out: u32,
}

impl Log {
    /// A log whose lines nobody has written yet.
    pub(crate) fn new(clock: impl Clock + 'static) -> Self {
        let now = Box::new(move || clock.now());
        Self(Arc::new(Shared { now, said: Mutex::default(), news: Notify::new() }))
    }

    /// A line of ours, said now.
    pub fn say(&self, level: Level, message: impl Into<String>) {
        let at = (self.0.now)();
        self.line(Line { at, level, address: None, elapsed_seconds: None, message: message.into() });
    }

    /// Any line. One that is too long is shortened; too many are counted and left out.
    pub fn line(&self, mut line: Line) {
        shorten(&mut line.message, MAX_MESSAGE);
        line.address.iter_mut().for_each(|address| shorten(address, MAX_ADDRESS));
        let size = size(&line);
        let mut said = self.said();
        if said.lines >= MAX_LINES || said.bytes >= MAX_BYTES {
            said.left_out += 1;
            return;
        }
        said.lines += 1;
        said.bytes += size;
        said.waiting.push_back(line);
        drop(said);
        self.0.news.notify_one();
    }

    /// Whether there are lines that nobody has taken.
    fn waits(&self) -> bool {
        !self.said().waiting.is_empty()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run is over: says how many lines were left out.
    fn close(&self) {
        let mut said = self.said();
        let left_out = std::mem::take(&mut said.left_out);
        if left_out > 0 {
            let message =
                format!("{left_out} more lines are left out: a run may say {MAX_LINES}, or {MAX_BYTES} bytes");
            let at = (self.0.now)();
            said.waiting.push_back(Line { at, level: Level::Warn, address: None, elapsed_seconds: None, message });
        }
    }

    /// As many waiting lines as make a chunk.
    fn take(&self) -> Vec<Line> {
        let mut said = self.said();
        let (mut lines, mut full) = (Vec::new(), 0);
        while full < MAX_CHUNK
            && let Some(line) = said.waiting.pop_front()
        {
            full += size(&line);
            lines.push(line);
        }
        lines
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

fn size(line: &Line) -> usize {
    line.message.len() + line.address.as_ref().map_or(0, String::len) + OVERHEAD
}

/// At most so many bytes of a text, and a word that says so.
pub(crate) fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" … (shortened)");
    }
}

/// Commits what a run says, under its lease: so nobody writes lines after somebody else has taken over or ended the run.
pub(crate) struct Writer {
    log: Log,
    written: AsyncMutex<Written>,
}

#[derive(Default)]
struct Written {
    /// How many lines are committed.
    lines: u32,
    /// What was taken and perhaps not written.
    unsure: Vec<Line>,
}

impl Writer {
    pub fn new(clock: impl Clock + 'static) -> Self {
        Self { log: Log::new(clock), written: AsyncMutex::default() }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Writes what is said, as long as it is polled, the lease is ours and the store takes it.
    pub async fn run<P: Ports>(&self, keeper: &Keeper<'_, P>) {
        loop {
            self.log.0.news.notified().await;
            if self.write_until(keeper, || true).await.is_err() {
                futures::future::pending::<()>().await;
            }
            keeper.engine.clock.sleep(BATCH_EVERY).await;
        }
    }

    /// Writes the rest. While the store fails it tries again, for as long as `may` says.
    pub async fn finish<P: Ports>(&self, keeper: &Keeper<'_, P>, may: impl Fn() -> bool) {
        self.log.close();
        if let Err(error) = self.write_until(keeper, may).await {
            tracing::warn!(error = %Causes(&error), "the last lines of a log are lost");
        }
    }

    async fn write_until<P: Ports>(&self, keeper: &Keeper<'_, P>, may: impl Fn() -> bool) -> Result<(), Error> {
        let mut tries = keeper.engine.tries();
        loop {
            match self.write(keeper).await {
                Err(Error::Conflict) => return Err(Error::Conflict),
                Err(error) if !error.is_permanent() && may() => {
                    tracing::warn!(error = %Causes(&error), "lines of a log were not written; trying again");
                    keeper.engine.pause(&mut tries).await;
                }
                done => return done,
            }
        }
    }

    /// Writes all that waits. [`Error::Conflict`]: the lease is lost.
    async fn write<P: Ports>(&self, keeper: &Keeper<'_, P>) -> Result<(), Error> {
        let mut written = self.written.lock().await;
        loop {
            if written.unsure.is_empty() {
                written.unsure = self.log.take();
            }
            if written.unsure.is_empty() {
                return Ok(());
            }
            let last = written.lines + written.unsure.len() as u32;
            let chunk = |lease: &Lease| Chunk {
                deployment: lease.deployment,
                operation: lease.operation,
                epoch: lease.epoch,
                last,
                lines: written.unsure.clone(),
                expires_at: lease.heartbeat_at + KEPT,
            };
            match keeper.beat_with(chunk).await {
                Ok(()) => {}
                // It was written and the answer to that was lost, or a heartbeat's was, or somebody wrote into the lease.
                Err(Error::Conflict) => {
                    if !keeper.has_chunk(last).await? {
                        keeper.beat(|_| ()).await?;
                        continue;
                    }
                }
                Err(error) => return Err(error),
            }
            written.lines = last;
            written.unsure.clear();
            if !self.log.waits() {
                return Ok(());
            }
            // Heartbeats that have more to say have their turn.
            keeper.engine.clock.sleep(TURN).await;
        }
    }
}

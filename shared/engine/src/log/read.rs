//! Reading: steps and lines of a deployment in their order, from a position on, while it runs and afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use conductor_domain::deployment::{Deployment, DeploymentStatus};
use conductor_domain::ids::{DeploymentId, OperationId};
use conductor_domain::log::{Chunk, Level, Line, Step};
use conductor_domain::operation::Operation;
use conductor_domain::principal::Caller;
use conductor_domain::{Code, Refusal};
use futures::future::try_join_all;
use futures::lock::Mutex;

use super::position::{LogPosition, Place};
use crate::port::{Clock, Objects, Ports, Records, StoreError};
use crate::record::{Record, Set};
use crate::{Engine, Error};

/// A read ends once it has so many lines.
const ENOUGH: usize = 1_000;
/// Chunks of a run that are read at once.
const CHUNKS: u32 = 8;
/// Parts of an archive that a reader keeps.
const PARTS: usize = 8;
/// Runs that are read at a time.
const AT_ONCE: usize = 16;
/// How often a reader that has everything looks again: at what runs, and at all records of the deployment.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LIST_EVERY: Duration = Duration::from_millis(500);

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Only those of this operation.
    pub operation: Option<OperationId>,
    /// Only those that matter at least so much.
    pub level: Level,
}

/// A line, and where one is after it.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// The operation; none where it is about the deployment itself.
    pub operation: Option<OperationId>,
    /// The name of the operation's resource.
    pub resource: Option<String>,
    /// What was said.
    pub line: Line,
    /// Where a reader goes on after it.
    pub id: LogPosition,
}

/// What one read gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogRead {
    /// The lines, by time; those of an operation in their order.
    pub lines: Vec<LogLine>,
    /// How the deployment ended, once that is so and everything has been read.
    pub ended: Option<DeploymentStatus>,
}

/// Reads the log of one deployment.
pub struct LogReader<P: Ports> {
    engine: Arc<Engine<P>>,
    caller: Caller,
    deployment: DeploymentId,
    filter: LogFilter,
    position: LogPosition,
    /// Parts of the archive that were lately read.
    archived: Mutex<VecDeque<(String, Arc<Vec<Chunk>>)>>,
    seen: Option<Seen>,
}

/// The records of a deployment, as they were.
struct Seen {
    at: Duration,
    deployment: Deployment,
    operations: Vec<Operation>,
}

/// The steps of a record, and what follows a claim.
struct Track<'s> {
    number: u32,
    steps: &'s [Step],
    is_final: bool,
}

/// Lines of a track from its place on, each with the place after it.
type Told = VecDeque<(Line, Place)>;

impl<P: Ports> Engine<P> {
    /// A reader of a deployment's log that goes on after a position.
    ///
    /// # Errors
    ///
    /// [`Code::DeploymentNotFound`], [`Code::OperationNotFound`].
    pub async fn log(
        self: &Arc<Self>,
        caller: &Caller,
        id: DeploymentId,
        filter: LogFilter,
        after: LogPosition,
    ) -> Result<LogReader<P>, Error> {
        let mut reader = LogReader {
            engine: self.clone(),
            caller: caller.clone(),
            deployment: id,
            filter,
            position: after,
            archived: Mutex::default(),
            seen: None,
        };
        let seen = reader.look().await?;
        if let Some(wanted) = filter.operation
            && !seen.operations.iter().any(|operation| operation.id == wanted)
        {
            let detail = format!("the deployment {id} has no operation {wanted}");
            return Err(Refusal::new(Code::OperationNotFound, detail).into());
        }
        reader.seen = Some(seen);
        Ok(reader)
    }
}

impl<P: Ports> LogReader<P> {
    /// Where one is after everything that was given.
    pub fn position(&self) -> &LogPosition {
        &self.position
    }

    /// What there is now, in part where that is much; nothing: one has everything.
    pub async fn read(&mut self) -> Result<LogRead, Error> {
        loop {
            let before = self.position.clone();
            let read = self.read_once().await?;
            // Where all was below the level that is wanted, there may be more.
            if !read.lines.is_empty() || read.ended.is_some() || self.position == before {
                return Ok(read);
            }
        }
    }

    /// Reads until there is something, the deployment has ended, or the time is over.
    pub async fn follow(&mut self, time: Duration) -> Result<LogRead, Error> {
        let clock = self.engine.clock.clone();
        let until = clock.monotonic() + time;
        loop {
            let read = self.read_once().await?;
            if !read.lines.is_empty() || read.ended.is_some() || clock.monotonic() >= until {
                return Ok(read);
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Reads with the records as they were a moment ago: in between, only what runs can have said something.
    async fn read_once(&mut self) -> Result<LogRead, Error> {
        let now = self.engine.clock.monotonic();
        let seen = match self.seen.take() {
            Some(seen) if now.saturating_sub(seen.at) < LIST_EVERY => seen,
            _ => self.look().await?,
        };
        let read = self.read_from(&seen).await?;
        self.seen = Some(seen);
        Ok(read)
    }

    async fn look(&self) -> Result<Seen, Error> {
        let at = self.engine.clock.monotonic();
        let (mut deployment, mut operations) = (None, Vec::new());
        let mut after: Option<String> = None;
        loop {
            let set = Set::Deployment(self.deployment);
            let page = self.engine.records.list(self.caller.organisation(), &set, after.as_deref(), None).await?;
            for record in page.records {
                match record.value {
                    Record::Deployment(read) => deployment = Some(read),
                    Record::Operation(read) => operations.push(read),
                    _ => {}
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let missing = || Refusal::new(Code::DeploymentNotFound, format!("there is no deployment {}", self.deployment));
        Ok(Seen { at, deployment: deployment.ok_or_else(missing)?, operations })
    }

    async fn read_from(&mut self, seen: &Seen) -> Result<LogRead, Error> {
        let tracks = self.tracks(seen);
        let open: Vec<&Track<'_>> =
            tracks.iter().filter(|track| !self.position.whole.contains(&track.number)).collect();
        let mut told: Vec<(usize, Told, bool)> = Vec::new();
        let mut count = 0;
        for some in open.chunks(AT_ONCE) {
            let mut reads = Vec::with_capacity(some.len());
            for track in some {
                reads.push(self.tell(seen, track, ENOUGH / some.len()));
            }
            for (track, (lines, whole)) in some.iter().zip(try_join_all(reads).await?) {
                count += lines.len();
                let index = tracks.iter().position(|one| one.number == track.number).unwrap_or_default();
                told.push((index, lines, whole));
            }
            if count >= ENOUGH {
                break;
            }
        }
        let whole: Vec<u32> =
            told.iter().filter(|(.., whole)| *whole).map(|(index, ..)| tracks[*index].number).collect();
        let numbers: Vec<u32> = tracks.iter().map(|track| track.number).collect();
        let queues = told.into_iter().map(|(index, lines, _)| (numbers[index], lines)).collect();
        let lines = self.merge(seen, queues);
        for number in whole {
            self.position.places.remove(&number);
            self.position.whole.insert(number);
        }
        let all = numbers.iter().all(|number| self.position.whole.contains(number));
        let ended = (all && seen.deployment.status.is_final()).then_some(seen.deployment.status);
        Ok(LogRead { lines, ended })
    }

    fn tracks<'s>(&self, seen: &'s Seen) -> Vec<Track<'s>> {
        let own = Track { number: 0, steps: &seen.deployment.steps, is_final: seen.deployment.status.is_final() };
        let own = self.filter.operation.is_none().then_some(own);
        let wanted = |operation: &&Operation| self.filter.operation.is_none_or(|id| operation.id == id);
        let operations = seen.operations.iter().filter(wanted).map(|operation| Track {
            number: operation.number,
            steps: &operation.steps,
            is_final: operation.status.is_final(),
        });
        own.into_iter().chain(operations).collect()
    }

    /// Everything of a track from its place on, or enough of it; and whether that is all there will ever be.
    async fn tell(&self, seen: &Seen, track: &Track<'_>, enough: usize) -> Result<(Told, bool), Error> {
        let mut place = self.position.places.get(&track.number).copied().unwrap_or_default();
        let mut told = Told::new();
        loop {
            if let Some(epoch) = epoch_at(track.steps, place) {
                let chunks = self.chunks(seen, track.number, epoch, place.lines.saturating_add(1)).await?;
                let more = !chunks.is_empty();
                for chunk in chunks {
                    let first = chunk.last + 1 - chunk.lines.len() as u32;
                    for (number, line) in (first..).zip(chunk.lines) {
                        if number > place.lines {
                            place.lines = number;
                            told.push_back((line, place));
                        }
                    }
                }
                if more && told.len() >= enough {
                    return Ok((told, false));
                }
                if more {
                    continue;
                }
            }
            // The next step was committed after the last line of the run before it.
            match track.steps.get(place.steps as usize) {
                Some(step) => {
                    place = Place { steps: place.steps + 1, lines: 0 };
                    let Step { at, level, message, .. } = step.clone();
                    told.push_back((Line { at, level, message, address: None, elapsed_seconds: None }, place));
                }
                None => return Ok((told, track.is_final)),
            }
        }
    }

    /// The next chunks of a run, from the table or from the archive.
    async fn chunks(&self, seen: &Seen, operation: u32, epoch: u64, line: u32) -> Result<Vec<Chunk>, Error> {
        if let Some(archive) = &seen.deployment.log {
            let Some(part) = archive.parts.iter().find(|part| part.last >= (operation, epoch, line)) else {
                return Ok(Vec::new());
            };
            let chunks = self.part(&part.object).await?;
            let wanted = |chunk: &&Chunk| chunk.operation == operation && chunk.epoch == epoch && chunk.last >= line;
            return Ok(chunks.iter().filter(wanted).take(CHUNKS as usize).cloned().collect());
        }
        let set = Set::Run(self.deployment, operation, epoch, line);
        let page = self.engine.records.list(self.caller.organisation(), &set, None, Some(CHUNKS)).await?;
        let chunks: Result<Vec<Chunk>, StoreError> =
            page.records.into_iter().map(|record| Ok(record.typed()?.value)).collect();
        Ok(chunks?)
    }

    async fn part(&self, object: &str) -> Result<Arc<Vec<Chunk>>, Error> {
        let known = |parts: &VecDeque<(String, Arc<Vec<Chunk>>)>| {
            parts.iter().find(|(name, _)| name == object).map(|(_, chunks)| chunks.clone())
        };
        let mut parts = self.archived.lock().await;
        if let Some(chunks) = known(&parts) {
            return Ok(chunks);
        }
        let missing = || StoreError::Unreadable(format!("the archive {object} is gone"));
        let content = self.engine.vault.get(object).await?.ok_or_else(missing)?;
        let unreadable = |error: serde_json::Error| StoreError::Unreadable(format!("{object}: {error}"));
        let chunks: Arc<Vec<Chunk>> = Arc::new(serde_json::from_slice(&content).map_err(unreadable)?);
        parts.truncate(PARTS - 1);
        parts.push_front((object.to_owned(), chunks.clone()));
        Ok(chunks)
    }

    /// The lines of all tracks by time, without changing the order within one.
    fn merge(&mut self, seen: &Seen, mut queues: Vec<(u32, Told)>) -> Vec<LogLine> {
        let by_number: BTreeMap<u32, &Operation> = seen.operations.iter().map(|one| (one.number, one)).collect();
        let mut lines = Vec::new();
        loop {
            let heads = queues.iter().enumerate().filter_map(|(index, (_, told))| Some((told.front()?.0.at, index)));
            let Some((_, index)) = heads.min() else { return lines };
            let (number, told) = &mut queues[index];
            let Some((line, place)) = told.pop_front() else { return lines };
            self.position.places.insert(*number, place);
            if line.level >= self.filter.level {
                let operation = by_number.get(number);
                lines.push(LogLine {
                    operation: operation.map(|operation| operation.id),
                    resource: operation.map(|operation| operation.resource.clone()),
                    line,
                    id: self.position.clone(),
                });
            }
        }
    }
}

/// The run whose lines come next: that of the last step that one has, where it is a claim.
fn epoch_at(steps: &[Step], place: Place) -> Option<u64> {
    let last = (place.steps as usize).checked_sub(1)?;
    steps.get(last)?.epoch
}

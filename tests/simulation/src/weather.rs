//! How bad things are in a schedule: each kind of fault comes in some seeds and not in others, now and then or often.

use crate::chance::Chance;
use crate::clock::{MINUTE, SECOND};

/// Shares from 0 to 1, of steps where nothing else is said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Workers at a time.
    pub workers: usize,
    /// A step is taken at once, without letting others go first.
    pub through: f64,
    /// Others go first once more.
    pub dawdle: f64,
    /// Time goes on a little while somebody could act.
    pub creep: f64,
    /// The most that it goes on, in nanoseconds.
    pub creep_most: u64,
    /// The most that a clock is off, in nanoseconds.
    pub skew: u64,
    /// An actor dies.
    pub crash: f64,
    /// An actor is stopped for a while.
    pub freeze: f64,
    /// The store does not answer for a while, one actor or all.
    pub outage: f64,
    /// A call fails, and nothing happened.
    pub fails: f64,
    /// A call or its answer takes long.
    pub slow: f64,
    /// A commit happened, and its answer is lost.
    pub unknown: f64,
    /// A commit is told that it lost a race.
    pub conflict: f64,
    /// Lists come in small pages.
    pub small_pages: f64,
    /// The due index does not show a record for a while, of commits.
    pub hidden: f64,
    /// The due index shows what is not due.
    pub stale: f64,
    /// A sweep comes late, or two at once, of sweeps.
    pub late_sweep: f64,
    /// A message is lost, of messages.
    pub lost: f64,
    /// A message comes twice.
    pub twice: f64,
    /// A message comes late.
    pub late: f64,
    /// Preparing fails for a moment, of runs.
    pub hiccup: f64,
    /// Terraform fails, of objects.
    pub terraform_fails: f64,
    /// Terraform fails for a reason that passes, of objects.
    pub terraform_hindered: f64,
    /// The final state cannot be stored, of runs.
    pub not_stored: f64,
    /// Making an object takes long, of objects.
    pub long: f64,
    /// Terraform outlives its worker, of those that die.
    pub outlives: f64,
    /// What has outlived its worker dies when it wants to say something, of those.
    pub breaks: f64,
    /// A frozen machine outlives its deadline, of those.
    pub overstays: f64,
}

impl Weather {
    /// The weather of a seed.
    pub fn of(chance: &mut Chance) -> Self {
        let wildness = chance.one_of(&[0.0, 0.3, 1.0, 1.0, 2.0]);
        let mut share = |most: f64| if chance.sometimes(0.6) { most * wildness * chance.unit() } else { 0.0 };
        let mut weather = Self {
            crash: share(0.006),
            freeze: share(0.004),
            outage: share(0.001),
            fails: share(0.02),
            slow: share(0.02),
            unknown: share(0.04),
            conflict: share(0.03),
            small_pages: share(0.5),
            hidden: share(0.4),
            stale: share(0.4),
            late_sweep: share(0.4),
            lost: share(0.3),
            twice: share(0.3),
            late: share(0.3),
            hiccup: share(0.1),
            terraform_fails: share(0.03),
            terraform_hindered: share(0.05),
            not_stored: share(0.1),
            long: share(0.08),
            ..Self::default()
        };
        weather.workers = chance.between(2, 4) as usize;
        weather.through = chance.one_of(&[0.0, 0.3, 0.6, 0.8]);
        weather.dawdle = chance.one_of(&[0.0, 0.0, 0.2]);
        weather.creep = chance.one_of(&[0.0, 0.02, 0.06]);
        weather.creep_most = chance.one_of(&[SECOND / 1_000, SECOND / 20, SECOND / 3]);
        weather.skew = chance.one_of(&[0, SECOND, 5 * SECOND]);
        weather.outlives = chance.one_of(&[0.3, 0.7, 1.0]);
        weather.breaks = chance.one_of(&[0.0, 0.3, 0.7]);
        weather.overstays = chance.one_of(&[0.0, 0.5]);
        weather
    }

    /// The same once faults have stopped: only the order of steps is still by chance.
    pub fn calmed(self) -> Self {
        let Self { workers, through, dawdle, creep, creep_most, skew, .. } = self;
        let creep_most = creep_most.min(SECOND / 20);
        Self { workers, through, dawdle, creep, creep_most, skew, ..Self::default() }
    }
}

/// How long an actor is stopped, in nanoseconds: mostly about as long as a lease lasts, sometimes as long as credentials.
pub fn freeze_time(chance: &mut Chance) -> u64 {
    match chance.below(10) {
        0..4 => chance.between(SECOND / 10, 8 * SECOND),
        4..8 => chance.between(8 * SECOND, 100 * SECOND),
        _ => chance.between(2 * MINUTE, 25 * MINUTE),
    }
}

/// How long terraform takes for an object.
pub fn object_time(chance: &mut Chance, long: f64) -> u64 {
    if !chance.sometimes(long) {
        return chance.between(SECOND / 10, 4 * SECOND);
    }
    match chance.below(6) {
        0..4 => chance.between(5 * SECOND, 70 * SECOND),
        4 => chance.between(MINUTE, 6 * MINUTE),
        _ => chance.between(6 * MINUTE, 20 * MINUTE),
    }
}

//! Gates: folders that terraform's objects look into, so that they are made when a test wants it.

use std::fs;
use std::path::{Path, PathBuf};

use conductor_acceptance::unique;
use jiff::Timestamp;

use crate::eventually;

/// A folder in which the objects of [`crate::GATED`] say that they have begun, wait until they may go on, and say that
/// they are done. Without it they give up.
pub struct Gate(PathBuf);

impl Gate {
    /// A closed one.
    pub fn closed() -> Self {
        let folder = std::env::temp_dir().join(unique("gate"));
        fs::create_dir(&folder).expect("a folder for the gate");
        Self(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Lets the object of a name go on.
    pub fn open(&self, name: &str) {
        fs::write(self.0.join(format!("open-{name}")), "").expect("the gate can be opened");
    }

    /// Lets all go on.
    pub fn open_all(&self) {
        fs::write(self.0.join("open"), "").expect("the gate can be opened");
    }

    /// When the making of the object of a name was begun, each time.
    pub fn began(&self, name: &str) -> Vec<Timestamp> {
        self.times("began", name)
    }

    /// How often it was done.
    pub fn done(&self, name: &str) -> usize {
        self.times("done", name).len()
    }

    /// Waits until the making of the object of a name was begun so often.
    pub async fn reached(&self, name: &str, times: usize) {
        let what = format!("the making of {name} is begun {times} times");
        eventually(&what, async || (self.began(name).len() >= times).then_some(())).await;
    }

    fn times(&self, file: &str, name: &str) -> Vec<Timestamp> {
        let text = fs::read_to_string(self.0.join(file)).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let seconds = lines.filter(|(of, _)| *of == name).filter_map(|(_, seconds)| seconds.parse::<i64>().ok());
        seconds.map(|seconds| Timestamp::from_second(seconds).expect("a time")).collect()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Whoever still waits gives up.
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! A queue that keeps its wake-ups until somebody takes them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::port::{Depth, Depths, Queue, StoreError, Wake};

/// Wake-ups in memory, in the order in which they were sent; copies share them.
#[derive(Debug, Clone, Default)]
pub struct Collected(Arc<Mutex<VecDeque<Wake>>>);

impl Collected {
    fn wakes(&self) -> MutexGuard<'_, VecDeque<Wake>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the one that was sent first.
    pub fn take(&self) -> Option<Wake> {
        self.wakes().pop_front()
    }

    /// Takes all of them.
    pub fn drain(&self) -> Vec<Wake> {
        self.wakes().drain(..).collect()
    }
}

impl Queue for Collected {
    async fn send(&self, wakes: &[Wake], _: Duration) -> Result<(), StoreError> {
        self.wakes().extend(wakes.iter().cloned());
        Ok(())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn depths(&self) -> Result<Depths, StoreError> {
        let wakes = Depth { waiting: self.wakes().len() as u64, ..Depth::default() };
        Ok(Depths { wakes, ..Depths::default() })
    }
}

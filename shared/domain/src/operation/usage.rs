//! What an operation used, so that it can be priced.

use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// Requests to the stack's own services. What terraform asks of the cloud, and of its backend, is not among them.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// To the table.
    pub table: u64,
    /// To the vault and the artifacts.
    pub objects: u64,
    /// To the queues.
    pub queue: u64,
}

/// What an operation used from its claims to their ends.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Claims by the function.
    pub invocations: u64,
    /// The function's time, in milliseconds.
    pub function_millis: u64,
    /// See [`Requests`].
    pub requests: Requests,
}

impl Usage {
    /// True where nothing was used.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for Requests {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { table: self.table + other.table, objects: self.objects + other.objects, queue: self.queue + other.queue }
    }
}

impl Sub for Requests {
    type Output = Self;

    /// What was added since `other`.
    fn sub(self, other: Self) -> Self {
        Self {
            table: self.table.saturating_sub(other.table),
            objects: self.objects.saturating_sub(other.objects),
            queue: self.queue.saturating_sub(other.queue),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.invocations += other.invocations;
        self.function_millis += other.function_millis;
        self.requests = self.requests + other.requests;
    }
}

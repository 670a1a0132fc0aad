//! How often and how long an operation may be tried, and who carries it out.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Who carries out operations.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExecutorKind {
    /// The provisioner as a Lambda function: 15 minutes at a time.
    #[default]
    Lambda,
    /// The provisioner as a plain process, with a queue of its own.
    Worker,
}

/// The limits of an operation; a template version may have its own.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Claims that reserve the resource to run terraform: 1 to 100.
    pub attempts: u32,
    /// Minutes of running, all attempts together: 1 to 1440.
    pub running_minutes: u32,
    /// Minutes of waiting for a resource or a lock, at a time: 1 to 1440.
    pub waiting_minutes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempts: 5, running_minutes: 60, waiting_minutes: 120 }
    }
}

impl Limits {
    /// The name of a limit that is out of its range, and the range.
    pub fn fault(&self) -> Option<(&'static str, u32, u32)> {
        let ranges = [
            ("attempts", self.attempts, 100),
            ("runningMinutes", self.running_minutes, 1440),
            ("waitingMinutes", self.waiting_minutes, 1440),
        ];
        ranges.into_iter().find(|(_, value, most)| !(1..=*most).contains(value)).map(|(name, _, most)| (name, 1, most))
    }

    /// All the time that an operation may take once it waits for nothing that is planned before it: waiting, running, and
    /// an hour more.
    pub fn all(&self) -> SignedDuration {
        self.waiting() + self.running() + SignedDuration::from_hours(1)
    }

    /// The longest running time.
    pub fn running(&self) -> SignedDuration {
        SignedDuration::from_mins(i64::from(self.running_minutes))
    }

    /// The longest waiting time.
    pub fn waiting(&self) -> SignedDuration {
        SignedDuration::from_mins(i64::from(self.waiting_minutes))
    }
}

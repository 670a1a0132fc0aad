//! Applications: who consumes resources.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::{ApplicationName, EnvironmentName, WorkloadName};
use crate::score::Port;

/// An application of an organisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// Its name, unique in the organisation.
    pub name: ApplicationName,
    /// When it was made, by hand or by its first deployment.
    pub created_at: Timestamp,
    /// The environments that it was ever deployed to.
    #[serde(default)]
    pub environments: BTreeSet<EnvironmentName>,
    /// Its workloads, each with the named ports that its last Score file publishes.
    #[serde(default)]
    pub workloads: BTreeMap<WorkloadName, BTreeMap<String, Port>>,
}

impl Application {
    /// An application that was never deployed.
    pub fn new(name: ApplicationName, created_at: Timestamp) -> Self {
        Self { name, created_at, environments: BTreeSet::new(), workloads: BTreeMap::new() }
    }
}

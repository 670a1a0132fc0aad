//! Lanes: the deployments of one application in one environment, first come, first served.

use serde::{Deserialize, Serialize};

use crate::ids::DeploymentId;
use crate::name::{ApplicationName, EnvironmentName};

/// Which lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneKey {
    /// The environment.
    pub environment: EnvironmentName,
    /// The application.
    pub application: ApplicationName,
}

/// Numbers the submissions of a lane and names the deployment whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// Which lane.
    pub key: LaneKey,
    /// The number that the next submission gets; the first is 1.
    pub next: u64,
    /// Whose turn it is: planned, or about to be.
    pub current: Option<DeploymentId>,
}

/// A place in a lane's queue: a deployment that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LanePlace {
    /// Which lane.
    pub lane: LaneKey,
    /// Its number in the lane.
    pub number: u64,
    /// Which deployment.
    pub deployment: DeploymentId,
}

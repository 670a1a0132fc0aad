//! Lanes: the deployments of one application, pool or resource in one environment, first come, first served.

use serde::{Deserialize, Serialize};

use crate::ids::{DeploymentId, ResourceId};
use crate::name::{ApplicationName, EnvironmentName, PoolName};
use crate::pool::PoolKey;

/// Which lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneKey {
    /// The environment.
    pub environment: EnvironmentName,
    /// Whose deployments there.
    pub of: LaneOf,
}

/// Whose deployments a lane orders.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LaneOf {
    /// An application's: kinds `apply` and `teardown`.
    Application(ApplicationName),
    /// A pool's: kind `pool`.
    Pool(PoolName),
    /// A resource's: kind `release`.
    Resource(ResourceId),
}

impl LaneKey {
    /// The lane of an application.
    pub fn application(environment: EnvironmentName, application: ApplicationName) -> Self {
        Self { environment, of: LaneOf::Application(application) }
    }

    /// The application, where it is one's.
    pub fn application_name(&self) -> Option<&ApplicationName> {
        match &self.of {
            LaneOf::Application(name) => Some(name),
            LaneOf::Pool(_) | LaneOf::Resource(_) => None,
        }
    }

    /// The pool, where it is one's.
    pub fn pool(&self) -> Option<PoolKey> {
        match &self.of {
            LaneOf::Pool(name) => Some(PoolKey { environment: self.environment.clone(), name: name.clone() }),
            LaneOf::Application(_) | LaneOf::Resource(_) => None,
        }
    }
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
    /// Deployments with a smaller number that have not begun are cancelled; 0 for none.
    #[serde(default)]
    pub superseded_below: u64,
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

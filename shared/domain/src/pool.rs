//! Pools: resources made in advance, to be taken by whoever asks first.
//!
//! A pool is a consumer of its free members, and so nothing about them is special: making one is an acquire on behalf of
//! the pool, a claim puts a workload in the pool's place, and shrinking is a release.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::ResourceId;
use crate::name::{EnvironmentName, PoolName};
use crate::template::TemplateName;

/// The most free members that a pool can be asked to have.
pub const MAX_POOL_SIZE: u32 = 100;

/// Which pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolKey {
    /// The environment.
    pub environment: EnvironmentName,
    /// Its name there.
    pub name: PoolName,
}

/// How many may have a member.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PoolSharing {
    /// One.
    #[default]
    Dedicated,
    /// As many as `maxConsumers` says.
    Shared,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Which one.
    pub key: PoolKey,
    /// The template of its members.
    pub template: TemplateName,
    /// The version of new members.
    pub version: semver::Version,
    /// The parameters of new members; sensitive ones lie in the vault.
    pub parameters: Map<String, Value>,
    /// Names of the sensitive ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
    /// The vault object with the sensitive ones, a JSON object by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// How many free members there should be.
    pub size: u32,
    /// How many may have a member.
    pub sharing: PoolSharing,
    /// How many may have a shared member; none for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_consumers: Option<u32>,
    /// True where members stay when their last consumer leaves.
    #[serde(default)]
    pub retain: bool,
    /// True once it is being deleted: it goes when its last free member has gone.
    #[serde(default)]
    pub closing: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Pool {
    /// How many workloads may have a member.
    pub fn room(&self) -> Option<u32> {
        match self.sharing {
            PoolSharing::Dedicated => Some(1),
            PoolSharing::Shared => self.max_consumers,
        }
    }

    /// When the sweeper looks at it: whenever it has not done so for a while.
    pub fn due_at(&self) -> Timestamp {
        self.updated_at
    }
}

/// A resource that was made for a pool, as long as it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// For which pool.
    pub pool: PoolKey,
    /// True while the pool is a consumer of it.
    pub free: bool,
    /// Which resource.
    pub resource: ResourceId,
    /// True where it was made because no free one was left.
    #[serde(default)]
    pub on_demand: bool,
}

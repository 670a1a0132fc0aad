//! Who uses a resource: consumers, and their mirror image, the holdings of a workload.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::identity::Mode;
use crate::ids::{DeploymentId, OperationId, ResourceId};
use crate::name::{ApplicationName, EnvironmentName, WorkloadName};

/// A name in a workload's file, wherever the workload is deployed: what holds a resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldingKey {
    /// The environment.
    pub environment: EnvironmentName,
    /// The application.
    pub application: ApplicationName,
    /// The workload.
    pub workload: WorkloadName,
    /// The resource's name in the file; `<name>~<operation>` once displaced.
    pub resource: String,
}

/// Who uses a resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum ConsumerKey {
    /// A workload, under a name in its file.
    Workload(HoldingKey),
    /// A resource that depends on it.
    Resource {
        /// Which one.
        resource: ResourceId,
    },
}

impl ConsumerKey {
    /// The id in the API, derived from the key: 24 hex digits.
    pub fn id(&self) -> String {
        let text = match self {
            ConsumerKey::Workload(h) => {
                format!("workload\0{}\0{}\0{}\0{}", h.environment, h.application, h.workload, h.resource)
            }
            ConsumerKey::Resource { resource } => format!("resource\0{resource}"),
        };
        hex::encode(&Sha256::digest(text.as_bytes())[..12])
    }

    /// The workload, where it is one.
    pub fn workload(&self) -> Option<(&EnvironmentName, &ApplicationName, &WorkloadName)> {
        match self {
            ConsumerKey::Workload(h) => Some((&h.environment, &h.application, &h.workload)),
            ConsumerKey::Resource { .. } => None,
        }
    }
}

/// What made a consumer.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// A Score file.
    File,
    /// A request to the API.
    Api,
    /// Another resource's dependency.
    Dependency,
}

/// A consumer of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    /// Of which resource.
    pub resource: ResourceId,
    /// Who.
    pub key: ConsumerKey,
    /// What made it.
    pub origin: Origin,
    /// When.
    pub added_at: Timestamp,
    /// The release that is removing it, while the destroy has not succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<OperationId>,
}

/// What a workload holds under a name: written in one commit with its consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// Under which name.
    pub key: HoldingKey,
    /// Which resource.
    pub resource: ResourceId,
    /// Its type, without class.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it was found.
    pub mode: Mode,
    /// The deployment that took it.
    pub deployment: DeploymentId,
}

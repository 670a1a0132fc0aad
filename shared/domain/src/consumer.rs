//! Who uses a resource: consumers, and their mirror image, the holdings of a workload.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::identity::Mode;
use crate::ids::{DeploymentId, OperationId, ResourceId};
use crate::name::{ApplicationName, EnvironmentName, WorkloadName};
use crate::pool::PoolKey;

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
    /// An application, or one of its workloads, that the API named.
    Api {
        /// Its environment.
        environment: EnvironmentName,
        /// The application.
        application: ApplicationName,
        /// The workload; none for the whole application.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workload: Option<WorkloadName>,
    },
    /// The pool whose free member it is.
    Pool(PoolKey),
}

impl ConsumerKey {
    /// The id in the API, derived from the key: 24 hex digits.
    pub fn id(&self) -> String {
        let text = match self {
            ConsumerKey::Workload(h) => {
                format!("workload\0{}\0{}\0{}\0{}", h.environment, h.application, h.workload, h.resource)
            }
            ConsumerKey::Resource { resource } => format!("resource\0{resource}"),
            ConsumerKey::Api { environment, application, workload } => {
                let workload = workload.as_ref().map_or("", WorkloadName::as_str);
                format!("api\0{environment}\0{application}\0{workload}")
            }
            ConsumerKey::Pool(pool) => format!("pool\0{}\0{}", pool.environment, pool.name),
        };
        hex::encode(&Sha256::digest(text.as_bytes())[..12])
    }

    /// The workload, where a file of one made it.
    pub fn workload(&self) -> Option<(&EnvironmentName, &ApplicationName, &WorkloadName)> {
        match self {
            ConsumerKey::Workload(h) => Some((&h.environment, &h.application, &h.workload)),
            ConsumerKey::Resource { .. } | ConsumerKey::Api { .. } | ConsumerKey::Pool(_) => None,
        }
    }

    /// What made a consumer with this key.
    pub fn origin(&self) -> Origin {
        match self {
            ConsumerKey::Workload(_) => Origin::File,
            ConsumerKey::Resource { .. } => Origin::Dependency,
            ConsumerKey::Api { .. } => Origin::Api,
            ConsumerKey::Pool(_) => Origin::Pool,
        }
    }

    /// Who it is, for people; none for a resource, whose name must be looked up.
    pub fn label(&self) -> Option<String> {
        match self {
            ConsumerKey::Workload(h) => Some(format!("{}/{} in {}", h.application, h.workload, h.environment)),
            ConsumerKey::Api { environment, application, workload: Some(workload) } => {
                Some(format!("{application}/{workload} in {environment}"))
            }
            ConsumerKey::Api { environment, application, workload: None } => {
                Some(format!("{application} in {environment}"))
            }
            ConsumerKey::Pool(pool) => Some(format!("the pool {} in {}", pool.name, pool.environment)),
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
    /// A pool, for its free members.
    Pool,
}

/// A consumer of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    /// Of which resource.
    pub resource: ResourceId,
    /// Who.
    pub key: ConsumerKey,
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
    /// Keyed hash of the parameters that the workload last asked for, hex. Where a mode takes what is there, the same
    /// wish again changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
}

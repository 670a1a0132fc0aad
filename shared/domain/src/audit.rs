//! The audit trail: who did what to which record, when, from which request.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{AuditId, DeploymentId};

/// An event, appended in the same commit as the change that it tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// Its id.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// The principal.
    pub principal: String,
    /// The request, or the operation and epoch where a worker acted.
    pub request_id: String,
    /// What was done, such as `deployment.submitted`.
    pub action: String,
    /// The record's noun, such as `deployment`.
    pub noun: String,
    /// The record's id or name.
    pub subject: String,
    /// The deployment for which it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// What else a person would ask; never a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

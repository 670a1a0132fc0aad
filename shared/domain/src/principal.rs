//! Who asks. Every use-case takes a principal, and every record change names it.

use serde::{Deserialize, Serialize};

use crate::name::OrganisationName;

/// What kind of caller a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PrincipalKind {
    /// An AWS identity, as the API's IAM authorization saw it.
    Iam,
    /// Whoever reaches an API that is open on purpose: the local stack.
    Local,
    /// Conductor itself: the sweeper, a worker.
    System,
}

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// Who, within the organisation: an ARN, or a fixed word.
    pub id: String,
    /// What kind.
    pub kind: PrincipalKind,
    /// The tenant that it belongs to.
    pub organisation: OrganisationName,
    /// What it may do.
    pub roles: Vec<String>,
}

/// A principal together with the request that it made: what the audit trail names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// Which request.
    pub request_id: String,
}

impl Caller {
    /// Conductor itself, acting for an organisation.
    pub fn system(organisation: OrganisationName, request_id: impl Into<String>) -> Self {
        Self {
            principal: Principal {
                id: "conductor".to_owned(),
                kind: PrincipalKind::System,
                organisation,
                roles: Vec::new(),
            },
            request_id: request_id.into(),
        }
    }

    /// The tenant.
    pub fn organisation(&self) -> &OrganisationName {
        &self.principal.organisation
    }
}

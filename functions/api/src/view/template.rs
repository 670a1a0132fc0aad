//! Resource templates, as users see them.

use std::collections::BTreeMap;

use conductor_domain::operation::{ExecutorKind, Limits};
use conductor_domain::template::policy::Finding;
use conductor_domain::template::{Interface, Template, TemplateState, TemplateVersion};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A template.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateView {
    /// `<type>` or `<type>.<class>`.
    name: String,
    #[serde(rename = "type")]
    kind: String,
    class: String,
    /// The version that new resources get.
    newest: Option<String>,
    /// Versions and their states.
    versions: BTreeMap<String, TemplateState>,
}

impl From<Template> for TemplateView {
    fn from(template: Template) -> Self {
        Self {
            name: template.name.to_string(),
            kind: template.name.kind().to_owned(),
            class: template.name.class().to_owned(),
            newest: template.newest().map(ToString::to_string),
            versions: template.versions.into_iter().map(|(version, state)| (version.to_string(), state)).collect(),
        }
    }
}

/// A version of a template.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateVersionView {
    /// `<type>` or `<type>.<class>`.
    template: String,
    version: String,
    state: TemplateState,
    /// Of the archive, hex.
    sha256: String,
    /// Of the archive.
    bytes: u64,
    #[serde(flatten)]
    interface: Interface,
    engine: String,
    /// A constraint in terraform's words; empty for any.
    engine_version: String,
    /// Whether resources made from it stay when their last consumer leaves, unless the file says otherwise.
    retain: bool,
    /// Who runs it.
    executor: ExecutorKind,
    /// How often and how long its operations may be tried.
    limits: Limits,
    /// The AWS services that its sessions are narrowed to, as prefixes of actions; none where they are not narrowed.
    services: Vec<String>,
    /// Whether the process ends after its run.
    untrusted: bool,
    /// What the organisation's policy warned of when it was published.
    findings: Vec<Finding>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    created_by: String,
}

impl From<TemplateVersion> for TemplateVersionView {
    fn from(version: TemplateVersion) -> Self {
        Self {
            template: version.template.to_string(),
            version: version.version.to_string(),
            state: version.state,
            sha256: version.sha256,
            bytes: version.bytes,
            interface: version.interface,
            engine: version.engine,
            engine_version: version.engine_version,
            retain: version.retain,
            executor: version.executor,
            limits: version.limits,
            services: version.services,
            untrusted: version.untrusted,
            findings: version.findings,
            created_at: version.created_at,
            created_by: version.created_by,
        }
    }
}

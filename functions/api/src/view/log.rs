//! Lines of a log, as users see them.

use conductor_domain::deployment::DeploymentStatus;
use conductor_domain::log::Level;
use conductor_engine::LogLine;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A line of a log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLineView {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The id of the operation; `null` where it is about the deployment itself.
    operation: Option<String>,
    /// The name of the operation's resource in the file.
    resource: Option<String>,
    /// How much it matters.
    level: Level,
    /// The object of the module that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// For how long that has been worked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_seconds: Option<u64>,
    /// For a person; it may have several rows.
    message: String,
}

impl From<&LogLine> for LogLineView {
    fn from(line: &LogLine) -> Self {
        let said = line.line.clone();
        Self {
            at: said.at,
            operation: line.operation.map(|id| id.to_string()),
            resource: line.resource.clone(),
            level: said.level,
            address: said.address,
            elapsed_seconds: said.elapsed_seconds,
            message: said.message,
        }
    }
}

/// A part of a log, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPage {
    /// The lines.
    pub items: Vec<LogLineView>,
    /// Where the rest begins, also of what has not happened yet; none after the end.
    pub next_cursor: Option<String>,
    /// How the deployment ended, once these are its last lines.
    pub ended: Option<DeploymentStatus>,
}

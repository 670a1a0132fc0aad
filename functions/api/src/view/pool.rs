//! Pools, as users see them.

use std::collections::BTreeMap;

use conductor_domain::pool::{Pool, PoolSharing};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A pool, and how its members stand.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolView {
    name: String,
    environment: String,
    /// The type of its members, without class.
    #[serde(rename = "type")]
    kind: String,
    class: String,
    /// The version of new members.
    template_version: String,
    /// The parameters of new members; sensitive ones are `null`.
    parameters: BTreeMap<String, Value>,
    /// How many free members were asked for.
    size: u32,
    sharing: PoolSharing,
    /// How many may have a shared member; `null` for no limit.
    max_consumers: Option<u32>,
    /// Whether members stay when their last consumer leaves.
    retain: bool,
    /// True once it was deleted, while it still has free members.
    closing: bool,
    /// How many free members there should be.
    desired: u32,
    /// Members that can be had.
    free: u32,
    /// Members that somebody has.
    claimed: u32,
    /// Members that are being made.
    provisioning: u32,
    /// Members that could not be made; they are tried again.
    failed: u32,
    /// Of the members, those that were made because none was free.
    on_demand: u32,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<conductor_engine::PoolView> for PoolView {
    fn from(view: conductor_engine::PoolView) -> Self {
        let conductor_engine::PoolView { pool, free, claimed, provisioning, failed, on_demand } = view;
        let pool: Pool = pool.value;
        let hidden = pool.sensitive.into_iter().map(|name| (name, Value::Null));
        Self {
            name: pool.key.name.into(),
            environment: pool.key.environment.into(),
            kind: pool.template.kind().to_owned(),
            class: pool.template.class().to_owned(),
            template_version: pool.version.to_string(),
            parameters: pool.parameters.into_iter().chain(hidden).collect(),
            size: pool.size,
            sharing: pool.sharing,
            max_consumers: pool.max_consumers,
            retain: pool.retain,
            closing: pool.closing,
            desired: if pool.closing { 0 } else { pool.size },
            free,
            claimed,
            provisioning,
            failed,
            on_demand,
            created_at: pool.created_at,
            updated_at: pool.updated_at,
        }
    }
}

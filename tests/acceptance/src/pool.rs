//! Pools, and waiting for their members.

use serde_json::Value;

use crate::{Answer, Stack};

impl Stack {
    /// PUTs a pool.
    pub async fn put_pool(&self, environment: &str, pool: &str, body: &Value) -> Answer {
        self.put(&pool_path(environment, pool), body).await
    }

    /// A pool.
    pub async fn pool(&self, environment: &str, pool: &str) -> Value {
        self.get(&pool_path(environment, pool)).await.expect(200).body
    }

    /// A pool once so many of its members are free and so many are claimed, and no other one is on its way.
    pub async fn settled_pool(&self, environment: &str, pool: &str, free: u32, claimed: u32) -> Value {
        let what = format!("{free} free and {claimed} claimed members in the pool {pool}");
        self.eventually(&what, async || {
            let shown = self.pool(environment, pool).await;
            let stands = |name: &str, count: u32| shown[name] == count;
            let settled = stands("free", free) && stands("claimed", claimed);
            (settled && stands("provisioning", 0) && stands("failed", 0)).then_some(shown)
        })
        .await
    }
}

/// Where a pool is.
pub fn pool_path(environment: &str, pool: &str) -> String {
    format!("/v1/environments/{environment}/pools/{pool}")
}

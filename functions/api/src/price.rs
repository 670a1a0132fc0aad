//! What operations cost: the price table of the configuration, applied to what was used.

use conductor_domain::operation::{Requests, Usage};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Prices, as JSON in the variable `PRICES`; what it leaves out is as in [`Prices::default`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Prices {
    /// What the amounts are in.
    currency: String,
    /// A GB-second of the function.
    gb_second: f64,
    /// An invocation of the function.
    invocation: f64,
    /// A request to the table.
    table_request: f64,
    /// A request to a bucket.
    object_request: f64,
    /// A request to a queue.
    queue_request: f64,
    /// The function's memory, in MB: `PROVISIONER_MEMORY_MB`.
    #[serde(skip)]
    memory_mb: f64,
}

impl Default for Prices {
    /// AWS's list prices in us-east-1 for x86-64, without free tiers. A request to the table is taken to be a commit of five
    /// records, ten write units; one to a bucket a PUT.
    fn default() -> Self {
        Self {
            currency: "USD".to_owned(),
            gb_second: 0.000_016_666_7,
            invocation: 0.000_000_2,
            table_request: 0.000_006_25,
            object_request: 0.000_005,
            queue_request: 0.000_000_4,
            memory_mb: 0.0,
        }
    }
}

impl Prices {
    /// From the configuration's texts; `None` where they are not what they should be.
    pub fn read(prices: Option<&str>, memory_mb: &str) -> Option<Self> {
        let prices: Self = prices.map_or_else(|| Some(Self::default()), |text| serde_json::from_str(text).ok())?;
        let memory_mb = memory_mb.parse().ok().filter(|memory: &f64| *memory > 0.0)?;
        Some(Self { memory_mb, ..prices })
    }

    /// What that usage is, and costs.
    pub fn of(&self, usage: &Usage) -> UsageView {
        let gb_seconds = usage.function_millis as f64 / 1000.0 * self.memory_mb / 1024.0;
        let Requests { table, objects, queue } = usage.requests;
        let amount = gb_seconds * self.gb_second
            + usage.invocations as f64 * self.invocation
            + table as f64 * self.table_request
            + objects as f64 * self.object_request
            + queue as f64 * self.queue_request;
        UsageView {
            invocations: usage.invocations,
            gb_seconds,
            requests: usage.requests,
            cost: CostView { amount, currency: self.currency.clone() },
        }
    }
}

/// What was used, and what it costs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    /// Claims by the function; runs of workers are their own machine's.
    pub invocations: u64,
    /// The function's time, times its memory.
    pub gb_seconds: f64,
    /// Requests to the stack's own services, from claim to report.
    pub requests: Requests,
    /// By the price table of the configuration.
    pub cost: CostView,
}

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CostView {
    /// How much.
    pub amount: f64,
    /// Of what.
    pub currency: String,
}

impl std::fmt::Display for CostView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.6} {}", self.amount, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_priced() {
        let check = |prices: Option<&str>, expect: &str| {
            let prices = Prices::read(prices, "2048").expect("prices");
            let requests = Requests { table: 10, objects: 2, queue: 1 };
            let view = prices.of(&Usage { invocations: 1, function_millis: 3_000, requests });
            assert_eq!(format!("{} GB s, {}", view.gb_seconds, view.cost), expect);
        };
        check(None, "6 GB s, 0.000173 USD");
        check(Some(r#"{"currency": "EUR", "gbSecond": 1}"#), "6 GB s, 6.000073 EUR");
    }

    #[test]
    fn a_price_table_that_cannot_be_read_is_refused() {
        let check = |prices: Option<&str>, memory: &str| assert_eq!(Prices::read(prices, memory), None);
        check(Some("{"), "2048");
        check(Some(r#"{"gbSeconds": 1}"#), "2048");
        check(None, "a lot");
        check(None, "0");
    }
}

//! Requests, counted on the wire by what they are for. Pure, but for the counter itself.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// The table's operations, as DynamoDB's clients name them.
const DYNAMODB: &str = "DynamoDB_20120810.";
/// What stands in the partition of a run's lines, and before the number of a lease.
const LINES: &str = "#LOG#";
const LEASE: &str = "LEASE#";

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Requests to the table, but for the next two.
    Table,
    /// Writes of a lease by who holds it.
    Heartbeat,
    /// Writes of a run's lines.
    Lines,
    /// Requests to the bucket of Score files and sensitive values.
    Vault,
    /// Requests of functions to other buckets: templates, the toolchain, states.
    OtherObjects,
    /// Requests for sessions.
    Session,
    /// Requests of terraform and its providers.
    Terraform,
    /// Commits that happened, heartbeats and lines apart.
    Commit,
    /// Those that lost a race.
    Conflict,
    /// Those that only met another one in flight.
    Collision,
    /// Records read from the table itself.
    Read,
    /// Keys read from an index.
    Found,
}

const COUNTS: usize = Count::Found as usize + 1;

/// How many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally([u64; COUNTS]);

impl Tally {
    /// How many of one kind.
    pub fn of(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// Requests to the stack's own store: table and vault. The queue counts its own.
    pub fn store(&self) -> u64 {
        self.of(Count::Table) + self.of(Count::Vault)
    }

    /// What was added since.
    pub fn since(&self, before: &Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index] - before.0[index]))
    }

    fn add(&mut self, count: Count, more: u64) {
        self.0[count as usize] += more;
    }
}

/// A request and its answer.
pub struct Exchange<'a> {
    /// With the query.
    pub path: &'a str,
    /// The header `x-amz-target`.
    pub target: &'a str,
    /// The header `user-agent`.
    pub agent: &'a str,
    /// The body of the request.
    pub request: &'a [u8],
    /// The status of the answer.
    pub status: u16,
    /// The body of the answer.
    pub answer: &'a [u8],
}

/// Counts; copies count together.
#[derive(Clone)]
pub struct Counter {
    vault: String,
    tally: Arc<Mutex<Tally>>,
}

impl Counter {
    /// At nothing; the vault is a bucket of this name.
    pub fn new(vault: &str) -> Self {
        Self { vault: vault.to_owned(), tally: Arc::default() }
    }

    /// All so far.
    pub fn read(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request with its answer.
    pub fn count(&self, exchange: &Exchange<'_>) {
        count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner), exchange, &self.vault);
    }
}

fn count(tally: &mut Tally, exchange: &Exchange<'_>, vault: &str) {
    if exchange.agent.contains("Terraform") {
        return tally.add(Count::Terraform, 1);
    }
    if let Some(operation) = exchange.target.strip_prefix(DYNAMODB) {
        return count_of_table(tally, operation, exchange);
    }
    let bucket = exchange.path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
    let kind = match bucket {
        "" => Count::Session,
        bucket if bucket == vault => Count::Vault,
        _ => Count::OtherObjects,
    };
    tally.add(kind, 1);
}

fn count_of_table(tally: &mut Tally, operation: &str, exchange: &Exchange<'_>) {
    let request: Value = serde_json::from_slice(exchange.request).unwrap_or_default();
    let answer: Value = serde_json::from_slice(exchange.answer).unwrap_or_default();
    let keys = keys(operation, &request);
    let kind = if keys.iter().any(|(pk, _)| pk.contains(LINES)) {
        Count::Lines
    } else if operation == "PutItem" && keys.iter().any(|(_, sk)| sk.starts_with(LEASE)) {
        Count::Heartbeat
    } else {
        Count::Table
    };
    tally.add(kind, 1);
    if kind == Count::Table && matches!(operation, "PutItem" | "DeleteItem" | "TransactWriteItems") {
        let text = String::from_utf8_lossy(exchange.answer);
        if exchange.status == 200 {
            tally.add(Count::Commit, 1);
        } else if text.contains("ConditionalCheckFailed") {
            tally.add(Count::Conflict, 1);
        } else if text.contains("TransactionConflict") || text.contains("TransactionInProgress") {
            tally.add(Count::Collision, 1);
        }
    }
    let items = |value: &Value| value.as_array().map_or(0, Vec::len) as u64;
    match operation {
        "GetItem" => tally.add(Count::Read, u64::from(answer["Item"].is_object())),
        "BatchGetItem" => {
            let tables = answer["Responses"].as_object();
            tally.add(Count::Read, tables.map_or(0, |tables| tables.values().map(items).sum()));
        }
        "Query" if request["IndexName"].is_string() => tally.add(Count::Found, items(&answer["Items"])),
        "Query" => tally.add(Count::Read, items(&answer["Items"])),
        _ => {}
    }
}

/// The keys that a request is about, partition and sort key; none of a query's.
fn keys<'r>(operation: &str, request: &'r Value) -> Vec<(&'r str, &'r str)> {
    let key = |of: &'r Value| Some((of["pk"]["S"].as_str()?, of["sk"]["S"].as_str()?));
    match operation {
        "PutItem" => key(&request["Item"]).into_iter().collect(),
        "GetItem" | "DeleteItem" | "UpdateItem" => key(&request["Key"]).into_iter().collect(),
        "TransactWriteItems" => {
            let parts = request["TransactItems"].as_array().map_or(&[] as &[Value], Vec::as_slice);
            let part = |part: &'r Value| {
                let put = key(&part["Put"]["Item"]);
                put.or_else(|| ["Delete", "ConditionCheck", "Update"].iter().find_map(|kind| key(&part[*kind]["Key"])))
            };
            parts.iter().filter_map(part).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(pk: &str, sk: &str) -> Value {
        json!({"pk": {"S": format!("default#{pk}")}, "sk": {"S": sk}})
    }

    fn counted(exchange: &Exchange<'_>) -> Tally {
        let mut tally = Tally::default();
        count(&mut tally, exchange, "the-vault");
        tally
    }

    fn of_table(operation: &str, request: &Value, status: u16, answer: &Value) -> Tally {
        let (target, request, answer) = (format!("{DYNAMODB}{operation}"), request.to_string(), answer.to_string());
        let (request, answer) = (request.as_bytes(), answer.as_bytes());
        counted(&Exchange { path: "/", target: &target, agent: "aws-sdk-rust/1.3", request, status, answer })
    }

    fn expect(counts: &[(Count, u64)]) -> Tally {
        let mut tally = Tally::default();
        counts.iter().for_each(|(count, number)| tally.add(*count, *number));
        tally
    }

    #[test]
    fn heartbeats_and_lines_are_counted_apart() {
        let check = |operation: &str, request: Value, counts: &[(Count, u64)]| {
            assert_eq!(of_table(operation, &request, 200, &json!({})), expect(counts), "{operation} {request}");
        };
        check("PutItem", json!({"Item": key("DEP#1", "LEASE#000001")}), &[(Count::Heartbeat, 1)]);
        check("PutItem", json!({"Item": key("DEP#1", "META")}), &[(Count::Table, 1), (Count::Commit, 1)]);
        let put = |sk: &str| json!({"Put": {"Item": key("DEP#1", sk)}});
        let claim = json!({"TransactItems": [put("OP#000001"), put("LEASE#000001")]});
        check("TransactWriteItems", claim, &[(Count::Table, 1), (Count::Commit, 1)]);
        let held = json!({"ConditionCheck": {"Key": key("DEP#1", "LEASE#000001")}});
        let chunk = json!({"Put": {"Item": key("LOG#1", "000001#1#7")}});
        check("TransactWriteItems", json!({"TransactItems": [held, chunk]}), &[(Count::Lines, 1)]);
        check("GetItem", json!({"Key": key("LOG#1", "000001#1#7")}), &[(Count::Lines, 1)]);
        check("UpdateItem", json!({"Key": key("DEP#1", "META")}), &[(Count::Table, 1)]);
    }

    #[test]
    fn a_commit_happens_or_loses_a_race_or_meets_another() {
        let check = |reason: &str, count: Count| {
            let answer = json!({"__type": "TransactionCanceledException", "CancellationReasons": [{"Code": reason}]});
            let found = of_table("TransactWriteItems", &json!({"TransactItems": []}), 400, &answer);
            assert_eq!(found, expect(&[(Count::Table, 1), (count, 1)]), "{reason}");
        };
        check("ConditionalCheckFailed", Count::Conflict);
        check("TransactionConflict", Count::Collision);
    }

    #[test]
    fn what_is_read_is_counted_record_by_record() {
        let check = |operation: &str, request: Value, answer: Value, count: Count, number: u64| {
            let found = of_table(operation, &request, 200, &answer);
            assert_eq!(found, expect(&[(Count::Table, 1), (count, number)]), "{operation}");
        };
        check("GetItem", json!({"Key": key("A", "B")}), json!({"Item": {}}), Count::Read, 1);
        check("GetItem", json!({"Key": key("A", "B")}), json!({}), Count::Read, 0);
        check("BatchGetItem", json!({}), json!({"Responses": {"bench": [{}, {}]}}), Count::Read, 2);
        check("Query", json!({}), json!({"Items": [{}, {}, {}]}), Count::Read, 3);
        check("Query", json!({"IndexName": "due"}), json!({"Items": [{}]}), Count::Found, 1);
    }

    #[test]
    fn other_services_are_told_by_agent_and_path() {
        let check = |path: &str, agent: &str, count: Count| {
            let exchange = Exchange { path, target: "", agent, request: b"", status: 200, answer: b"" };
            assert_eq!(counted(&exchange), expect(&[(count, 1)]), "{path}");
        };
        let ours = "aws-sdk-rust/1.3.16 os/linux";
        check("/the-vault/scores/1", ours, Count::Vault);
        check("/the-vault?list-type=2", ours, Count::Vault);
        check("/the-vault-of-another/1", ours, Count::OtherObjects);
        check("/", ours, Count::Session);
        check("/states/1.tfstate", "APN/1.0 HashiCorp/1.0 Terraform/1.11.4", Count::Terraform);
    }

    #[test]
    fn what_was_added_since_is_the_difference() {
        let counter = Counter::new("the-vault");
        let exchange = Exchange { path: "/the-vault/1", target: "", agent: "", request: b"", status: 200, answer: b"" };
        counter.count(&exchange);
        let before = counter.read();
        counter.clone().count(&exchange);
        let since = counter.read().since(&before);
        assert_eq!((before.store(), since.store()), (1, 1));
    }
}

//! Metrics: which lines of the log CloudWatch counts, and how.
//!
//! A metric is no call. It is a number in the line that tells of an outcome, and the line's block `_aws` says so (the
//! embedded metric format); CloudWatch takes it from there. This module owns the one table of outcomes that are counted,
//! and writes that block. It measures nothing.

use serde_json::{Map, Value, json};

/// Where the metrics stand in CloudWatch.
pub(crate) const NAMESPACE: &str = "Conductor";
/// The dimension that all of them have: the stack's name.
pub(crate) const STACK: &str = "Stack";
/// The member of a line that CloudWatch reads.
pub(crate) const BLOCK: &str = "_aws";
/// The field that makes a line one that tells of an outcome.
pub(crate) const OUTCOME: &str = "outcome";

const COUNT: &str = "Count";
const MILLISECONDS: &str = "Milliseconds";
const SECONDS: &str = "Seconds";

/// What a line of an outcome adds to a metric.
enum Adds {
    /// One.
    One,
    /// The number in this field; a line without it adds nothing.
    Field(&'static str),
}

/// A metric, under the name that it has in CloudWatch.
struct Metric {
    name: &'static str,
    unit: &'static str,
    adds: Adds,
    /// It is counted for the stack, and for each value of each of these fields. Every value is a metric to be paid for:
    /// only fields that have few.
    by: &'static [&'static str],
}

const fn each(name: &'static str, by: &'static [&'static str]) -> Metric {
    Metric { name, unit: COUNT, adds: Adds::One, by }
}

const fn from(field: &'static str, name: &'static str, unit: &'static str, by: &'static [&'static str]) -> Metric {
    Metric { name, unit, adds: Adds::Field(field), by }
}

/// All outcomes that are counted. `docs/operations.md` lists the same, with what they mean.
const OUTCOMES: &[(&str, &[Metric])] = &[
    ("start", &[from("waitedMs", "TimeToStart", MILLISECONDS, &[])]),
    (
        "deployment",
        &[
            each("Deployments", &["status"]),
            // 1 or 0 in each line, so that its average is the rate.
            from("failed", "DeploymentFailures", COUNT, &[]),
            from("totalMs", "DeploymentTime", MILLISECONDS, &["status"]),
            from("runMs", "DeploymentRunTime", MILLISECONDS, &[]),
        ],
    ),
    (
        "operation",
        &[each("Operations", &["status", "effect"]), from("runMs", "OperationTime", MILLISECONDS, &["effect"])],
    ),
    ("retry", &[each("Retries", &[])]),
    ("interruption", &[each("Interruptions", &[])]),
    ("takeover", &[each("StaleHeartbeats", &[])]),
    ("wakeUp", &[each("WakeUpsSentAgain", &[])]),
    (
        "run",
        &[
            from("terraformMs", "TerraformTime", MILLISECONDS, &[]),
            from("toolchainMs", "ToolchainTime", MILLISECONDS, &[]),
            from("prepareMs", "PrepareTime", MILLISECONDS, &[]),
            from("lockReleased", "LockReleases", COUNT, &[]),
        ],
    ),
    ("toolchain", &[each("ToolchainFetches", &[])]),
    (
        "sweep",
        &[
            from("due", "DueRecords", COUNT, &[]),
            from("oldestDueSeconds", "OldestDue", SECONDS, &[]),
            from("longestDeploymentSeconds", "LongestDeployment", SECONDS, &[]),
        ],
    ),
    ("unsettled", &[each("UnsettledRecords", &[])]),
    ("storeFailure", &[from("count", "StoreFailures", COUNT, &["service"])]),
];

/// Adds to a line what makes CloudWatch count it; nothing where it tells of no outcome in the table. `at` is in
/// milliseconds since 1970.
pub(crate) fn count(line: &mut Map<String, Value>, stack: &str, at: i64) {
    let Some(outcome) = line.get(OUTCOME).and_then(Value::as_str) else { return };
    let Some((_, metrics)) = OUTCOMES.iter().find(|(name, _)| *name == outcome) else { return };
    let mut directives: Vec<(Vec<Vec<&str>>, Vec<Value>)> = Vec::new();
    let mut numbers: Vec<(&str, Value)> = Vec::new();
    for metric in *metrics {
        let Some(number) = number(metric, line) else { continue };
        let by = metric.by.iter().filter(|field| line.get(**field).is_some_and(is_dimension));
        let dimensions: Vec<Vec<&str>> = [vec![STACK]].into_iter().chain(by.map(|field| vec![STACK, *field])).collect();
        let definition = json!({"Name": metric.name, "Unit": metric.unit});
        match directives.iter_mut().find(|(other, _)| *other == dimensions) {
            Some((_, definitions)) => definitions.push(definition),
            None => directives.push((dimensions, vec![definition])),
        }
        numbers.push((metric.name, number));
    }
    if numbers.is_empty() {
        return;
    }
    let directives: Vec<Value> = directives
        .into_iter()
        .map(|(dimensions, metrics)| json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics}))
        .collect();
    line.extend(numbers.into_iter().map(|(name, number)| (name.to_owned(), number)));
    line.insert(STACK.to_owned(), Value::from(stack));
    line.insert(BLOCK.to_owned(), json!({"Timestamp": at, "CloudWatchMetrics": directives}));
}

fn number(metric: &Metric, line: &Map<String, Value>) -> Option<Value> {
    match metric.adds {
        Adds::One => Some(Value::from(1)),
        Adds::Field(field) => line.get(field).filter(|value| value.is_number()).cloned(),
    }
}

/// CloudWatch takes texts, and none that is empty.
fn is_dimension(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DOCUMENTATION: &str = include_str!("../../../docs/operations.md");

    fn all() -> impl Iterator<Item = (&'static str, &'static Metric)> {
        OUTCOMES.iter().flat_map(|(outcome, metrics)| metrics.iter().map(move |metric| (*outcome, metric)))
    }

    fn counted(line: Value) -> Map<String, Value> {
        let Value::Object(mut line) = line else { panic!("a line is an object") };
        count(&mut line, "conductor", 1_767_225_600_123);
        line
    }

    #[test]
    fn a_metric_has_a_name_of_its_own_that_no_field_has() {
        let names: Vec<&str> = all().map(|(_, metric)| metric.name).collect();
        let fields = all().flat_map(|(_, metric)| match metric.adds {
            Adds::Field(field) => [&[field][..], metric.by].concat(),
            Adds::One => metric.by.to_vec(),
        });
        let taken: BTreeSet<&str> = fields.chain([STACK, BLOCK, OUTCOME]).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert_eq!(names.iter().find(|name| taken.contains(*name)), None);
        let outcomes: BTreeSet<&str> = OUTCOMES.iter().map(|(outcome, _)| *outcome).collect();
        assert_eq!(outcomes.len(), OUTCOMES.len());
    }

    #[test]
    fn each_metric_is_in_the_documentation_and_no_other() {
        for (outcome, Metric { name, unit, adds, by }) in all() {
            let by: Vec<String> = by.iter().map(|field| format!("`{field}`")).collect();
            let by = if by.is_empty() { "–".to_owned() } else { by.join(", ") };
            let adds = match adds {
                Adds::One => "each line".to_owned(),
                Adds::Field(field) => format!("`{field}`"),
            };
            let row = format!("\n| `{name}` | {unit} | {by} | `{outcome}`: {adds} | ");
            assert!(DOCUMENTATION.contains(&row), "docs/operations.md has no row {row}");
        }
        let units = [COUNT, MILLISECONDS, SECONDS];
        let is_metric = |row: &&str| units.contains(&row.split('|').nth(2).unwrap_or_default().trim());
        assert_eq!(DOCUMENTATION.lines().filter(is_metric).count(), all().count());
    }

    #[test]
    fn metrics_with_the_same_dimensions_share_a_directive() {
        let line =
            counted(json!({"outcome": "deployment", "status": "Failed", "failed": 1, "totalMs": 5000, "runMs": 4000}));
        let expect = json!({
            "Timestamp": 1_767_225_600_123_i64,
            "CloudWatchMetrics": [
                {
                    "Namespace": "Conductor",
                    "Dimensions": [["Stack"], ["Stack", "status"]],
                    "Metrics": [
                        {"Name": "Deployments", "Unit": "Count"},
                        {"Name": "DeploymentTime", "Unit": "Milliseconds"},
                    ],
                },
                {
                    "Namespace": "Conductor",
                    "Dimensions": [["Stack"]],
                    "Metrics": [
                        {"Name": "DeploymentFailures", "Unit": "Count"},
                        {"Name": "DeploymentRunTime", "Unit": "Milliseconds"},
                    ],
                },
            ],
        });
        assert_eq!(line["_aws"], expect);
        assert_eq!(
            (&line["Stack"], &line["Deployments"], &line["DeploymentTime"]),
            (&json!("conductor"), &json!(1), &json!(5000))
        );
    }

    #[test]
    fn what_is_not_in_the_line_is_not_counted() {
        // It never started.
        let line = counted(json!({"outcome": "deployment", "status": "Cancelled", "failed": 0, "totalMs": 10}));
        assert!(!line["_aws"].to_string().contains("DeploymentRunTime"));
        // It has no effect, because it failed.
        let line = counted(json!({"outcome": "operation", "status": "Failed", "effect": ""}));
        let directives = json!([{"Namespace": "Conductor", "Dimensions": [["Stack"], ["Stack", "status"]],
            "Metrics": [{"Name": "Operations", "Unit": "Count"}]}]);
        assert_eq!(line["_aws"]["CloudWatchMetrics"], directives);
        for nothing in [
            json!({"message": "swept"}),
            json!({"outcome": "weather"}),
            json!({"outcome": 1}),
            json!({"outcome": "start"}),
            json!({"outcome": "start", "waitedMs": "5"}),
        ] {
            let line = counted(nothing.clone());
            assert_eq!(Value::Object(line), nothing);
        }
    }

    #[test]
    fn no_line_has_more_than_cloudwatch_takes() {
        for (outcome, metrics) in OUTCOMES {
            assert!(metrics.len() <= 100, "{outcome}");
            assert!(metrics.iter().all(|metric| metric.by.len() < 30), "{outcome}");
        }
    }
}

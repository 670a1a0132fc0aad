//! What ran when: a bar for each run of each operation, over one axis.

use std::collections::BTreeSet;
use std::fmt::Write;

use conductor_domain::deployment::Deployment;
use conductor_domain::operation::{Operation, OperationStatus};
use jiff::Timestamp;
use maud::{Markup, html};

use crate::dashboard::graph::short;
use crate::dashboard::page::{class, seconds, words};

/// The picture's measures, in pixels: the names, the bars beside them, the end, and a row.
const NAMES: i64 = 172;
const BARS: i64 = 720;
const RIGHT: i64 = 40;
const ROW: i64 = 20;
const AXIS: i64 = 22;
/// The shortest bar that can be seen.
const SHORTEST: i64 = 2;
/// Letters that fit beside the bars.
const NAME: usize = 22;
/// The most parts of the axis.
const PARTS: i64 = 8;
/// Lengths of a part of the axis, in seconds.
const STEPS: [i64; 16] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200];

/// Where times are on the axis.
#[derive(Debug, Clone, Copy)]
struct Scale {
    start: Timestamp,
    /// Of the whole axis; at least 1.
    seconds: f64,
}

impl Scale {
    /// From the start of the deployment to its end, or to now.
    fn of(deployment: &Deployment, operations: &[Operation], now: Timestamp) -> Self {
        let first = operations.iter().filter_map(|operation| operation.started_at).min();
        let start = deployment.started_at.into_iter().chain(first).min().unwrap_or(deployment.created_at);
        let end = deployment.completed_at.unwrap_or(now);
        Self { start, seconds: end.duration_since(start).as_secs_f64().max(1.0) }
    }

    fn x(&self, at: Timestamp) -> i64 {
        let share = at.duration_since(self.start).as_secs_f64() / self.seconds;
        NAMES + (share.clamp(0.0, 1.0) * BARS as f64).round() as i64
    }

    /// The length of a part of the axis, in seconds.
    fn step(&self) -> i64 {
        let wanted = (self.seconds / PARTS as f64).ceil() as i64;
        STEPS.into_iter().find(|step| *step >= wanted).unwrap_or_else(|| wanted.div_euclid(86_400) * 86_400 + 86_400)
    }

    /// The ends of the parts: how long after the start, and where.
    fn ticks(&self) -> Vec<(i64, i64)> {
        let step = self.step();
        let all = self.seconds.floor() as i64;
        let place = |second: i64| NAMES + (second as f64 / self.seconds * BARS as f64).round() as i64;
        (0..=all / step).map(|part| (part * step, place(part * step))).collect()
    }
}

/// The runs of a deployment's operations, the first that began on top.
pub(super) fn svg(deployment: &Deployment, operations: &[Operation], now: Timestamp) -> Markup {
    let mut begun: Vec<&Operation> = operations.iter().filter(|operation| operation.started_at.is_some()).collect();
    begun.sort_by_key(|operation| (operation.started_at, operation.number));
    if begun.is_empty() {
        return html! { p.quiet { "Nothing has run yet." } };
    }
    let scale = Scale::of(deployment, operations, now);
    let (width, height) = (NAMES + BARS + RIGHT, begun.len() as i64 * ROW + 4);
    let others = operations.len() - begun.len();
    html! {
        div.timeline-box tabindex="0" role="region" aria-label="What ran when" {
            (axis(&scale, width))
            svg.timeline width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="group"
                aria-label="A bar for each run of each operation" {
                path.grid d=(grid(&scale, height)) {}
                @for (row, operation) in (0..).zip(&begun) { (drawn(operation, row, &scale, now)) }
            }
        }
        @if others > 0 {
            p.quiet { (others) " more " (if others == 1 { "operation has" } else { "operations have" }) " not run." }
        }
    }
}

fn axis(scale: &Scale, width: i64) -> Markup {
    html! {
        svg.axis width=(width) height=(AXIS) viewBox={ "0 0 " (width) " " (AXIS) } aria-hidden="true" {
            @for (second, x) in scale.ticks() {
                text x=(x) y="14" { (seconds(second)) }
            }
        }
    }
}

fn grid(scale: &Scale, height: i64) -> String {
    let mut lines = String::new();
    for (_, x) in scale.ticks() {
        // Writing to a text does not fail.
        let _ = write!(lines, "M{x} 0v{height}");
    }
    lines
}

fn drawn(operation: &Operation, row: i64, scale: &Scale, now: Timestamp) -> Markup {
    let middle = row * ROW + ROW / 2;
    let runs = runs(operation, now);
    let mut bars = String::new();
    for (from, to) in &runs {
        let (x, end) = (scale.x(*from), scale.x(*to));
        let _ = write!(bars, "M{x} {middle}h{}", (end - x).max(SHORTEST));
    }
    let ran: i64 = runs.iter().map(|(from, to)| to.duration_since(*from).as_secs()).sum();
    let began = runs.first().map_or(0, |(from, _)| from.duration_since(scale.start).as_secs());
    html! {
        a href={ "#op-" (operation.number) } {
            title {
                (operation.resource) ": " (words(operation.status)) ", after " (seconds(began)) " for " (seconds(ran))
                @if runs.len() > 1 { " in " (runs.len()) " runs" }
            }
            text y=(middle + 4) { (short(&operation.resource, NAME)) }
            path class={ "bar status-" (class(operation.status)) } d=(bars) {}
        }
    }
}

/// When a worker had the operation: from each claim to what came next.
fn runs(operation: &Operation, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let warnings: BTreeSet<String> =
        operation.warnings.iter().map(|warning| format!("{}: {}", warning.code, warning.detail)).collect();
    let mut runs = Vec::new();
    let mut since = None;
    // A warning is no end of a run.
    for step in operation.steps.iter().filter(|step| !warnings.contains(&step.message)) {
        if let Some(from) = since.take() {
            runs.push((from, step.at));
        }
        since = step.epoch.map(|_| step.at);
    }
    let running = operation.status == OperationStatus::Running;
    let last = if running { now } else { operation.completed_at.unwrap_or(operation.entered_at) };
    // Who has no steps was written by an older release.
    let since = since.or(operation.started_at.filter(|_| runs.is_empty()));
    runs.extend(since.map(|from| (from, last.max(from))));
    runs
}

#[cfg(test)]
mod tests {
    use conductor_domain::Code;
    use conductor_domain::log::{Level, Step};
    use conductor_domain::operation::Warning;

    use super::super::tests::{deployment, now, operation};
    use super::*;

    fn at(second: i64) -> Timestamp {
        now() - jiff::SignedDuration::from_secs(100) + jiff::SignedDuration::from_secs(second)
    }

    fn scale(seconds: f64) -> Scale {
        Scale { start: at(0), seconds }
    }

    #[test]
    fn the_axis_has_a_handful_of_round_parts() {
        let check = |seconds: f64, step: i64, count: usize| {
            let scale = scale(seconds);
            assert_eq!((scale.step(), scale.ticks().len()), (step, count), "{seconds}");
        };
        check(1.0, 1, 2);
        check(8.0, 1, 9);
        check(9.0, 2, 5);
        check(60.0, 10, 7);
        check(100.0, 15, 7);
        check(3_600.0, 600, 7);
        check(86_400.0, 14_400, 7);
        check(400_000.0, 86_400, 5);
    }

    #[test]
    fn a_time_has_its_place_on_the_axis_and_none_beyond_it() {
        let check = |second: i64, expect: i64| assert_eq!(scale(100.0).x(at(second)), expect, "{second}");
        check(0, NAMES);
        check(50, NAMES + BARS / 2);
        check(100, NAMES + BARS);
        check(-5, NAMES);
        check(200, NAMES + BARS);
    }

    #[test]
    fn an_operation_has_a_bar_for_each_claim() {
        let claim = |second: i64| Step { epoch: Some(1), ..Step::new(at(second), Level::Info, "claimed") };
        let step = |second: i64, message: &str| Step::new(at(second), Level::Info, message);
        let check = |status: &str, steps: Vec<Step>, expect: &[(i64, i64)]| {
            let mut operation = operation(1, status, &[]);
            operation.warnings = vec![Warning { code: Code::LockReleased, detail: "gone".to_owned() }];
            (operation.steps, operation.started_at) = (steps, Some(at(1)));
            operation.completed_at = operation.status.is_final().then(|| at(90));
            let expect: Vec<_> = expect.iter().map(|(from, to)| (at(*from), at(*to))).collect();
            assert_eq!(runs(&operation, now()), expect, "{status}");
        };
        check("Succeeded", vec![], &[(1, 90)]);
        check("Succeeded", vec![step(0, "ready"), claim(5), step(90, "created")], &[(5, 90)]);
        check("Running", vec![claim(5)], &[(5, 100)]);
        check("Running", vec![claim(5), step(9, "retry in 3 s: x"), claim(12)], &[(5, 9), (12, 100)]);
        check("Running", vec![claim(5), step(9, "lock_released: gone")], &[(5, 100)]);
        check("Waiting", vec![claim(5), step(9, "waiting for a lock")], &[(5, 9)]);
    }

    #[test]
    fn every_operation_that_ran_is_a_row_that_leads_to_it() {
        let mut operations = vec![operation(1, "Succeeded", &[]), operation(2, "Running", &[])];
        operations.push(operation(3, "Waiting", &[]));
        operations[2].started_at = None;
        let shown = svg(&deployment("InProgress"), &operations, now()).into_string();
        assert!(shown.contains("href=\"#op-1\"") && shown.contains("href=\"#op-2\""), "{shown}");
        assert!(!shown.contains("#op-3") && shown.contains("1 more operation has not run."), "{shown}");
        let none = svg(&deployment("Pending"), &[], now()).into_string();
        assert_eq!(none, "<p class=\"quiet\">Nothing has run yet.</p>");
    }
}

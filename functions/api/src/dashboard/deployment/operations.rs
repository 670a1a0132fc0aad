//! The operations of a deployment: as a graph, and as a table with everything that is known of each.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::operation::{
    Action, Changes, ExecutorKind, Failure, Lease, Operation, OperationStatus, ParameterChange, Reason, WaitingFor,
};
use jiff::Timestamp;
use maud::{Markup, html};

use crate::dashboard::deployments::beginning;
use crate::dashboard::graph::{Node, svg};
use crate::dashboard::page::{badge, class, seconds, value, when, words};
use crate::dashboard::resources::Links;
use crate::price::Prices;

/// With more operations than this, only what needs a look is told step by step, of so many at most, and in short: the
/// page is to stay small where all of them have failed.
const ALL_IN_FULL: usize = 40;
const IN_SHORT: usize = 20;
/// Steps that are told of an operation, in full and in short; its log has all.
const STEPS: usize = 12;
const LAST_STEPS: usize = 3;
/// Letters of what terraform said, in short.
const LETTERS: usize = 500;
/// Columns of the table.
const COLUMNS: usize = 6;

/// What an operation waits for, drawn from left to right.
pub(super) fn graph(operations: &[Operation]) -> Markup {
    let places: BTreeMap<u32, usize> = operations.iter().map(|operation| operation.number).zip(0..).collect();
    let places = &places;
    let edges = operations.iter().zip(0..).flat_map(|(operation, to)| {
        operation.depends_on.iter().filter_map(move |number| Some((*places.get(number)?, to)))
    });
    let edges: Vec<(usize, usize)> = edges.collect();
    let nodes: Vec<Node> = operations.iter().map(node).collect();
    svg(&nodes, &edges, "The operations, each to the right of those that it waits for")
}

fn node(operation: &Operation) -> Node {
    let end = match operation.effect {
        Some(effect) => words(effect).to_lowercase(),
        None => action(operation).to_owned(),
    };
    Node {
        id: operation.number.to_string(),
        label: operation.resource.clone(),
        detail: format!("{} · {end}", words(operation.status)),
        class: class(operation.status),
        href: Some(format!("#op-{}", operation.number)),
    }
}

fn action(operation: &Operation) -> &'static str {
    match operation.action() {
        Action::Acquire => "acquire",
        Action::Release => "release",
    }
}

/// What is told of operations: themselves, and what is known of them by number.
pub(super) struct Told<'a> {
    pub operations: &'a [Operation],
    pub leases: &'a BTreeMap<u32, Lease>,
    /// How long those should take that have not ended, in seconds.
    pub expected: &'a BTreeMap<u32, u32>,
    pub prices: &'a Prices,
}

/// Whether there are more operations than can all be told of in full.
pub(super) fn are_many(operations: &[Operation]) -> bool {
    operations.len() > ALL_IN_FULL
}

/// The numbers of those that are told of step by step. Of many: of those that need a look, what failed first.
fn in_full(operations: &[Operation]) -> BTreeSet<u32> {
    let mut told: Vec<&Operation> = operations.iter().collect();
    if are_many(operations) {
        let failed = |status: OperationStatus| matches!(status, OperationStatus::Failed | OperationStatus::TimedOut);
        told.retain(|operation| needs_a_look(operation));
        told.sort_by_key(|operation| !failed(operation.status));
        told.truncate(IN_SHORT);
    }
    told.into_iter().map(|operation| operation.number).collect()
}

/// All operations, those that need a look in full.
pub(super) fn table(told: &Told<'_>, now: Timestamp, to: Links<'_>) -> Markup {
    let many = are_many(told.operations);
    let in_full = in_full(told.operations);
    html! {
        // Many have a box of their own, so that the log below them stays near.
        div.tall[many] tabindex=[many.then_some("0")] role=[many.then_some("region")]
            aria-label=[many.then_some("Operations")] {
            table.operations {
                thead {
                    tr {
                        th scope="col" { "Resource" }
                        th scope="col" { "Status" }
                        th scope="col" { "Effect" }
                        th.number scope="col" { "Time" }
                        th.number scope="col" { "Runs, cost" }
                        th.number scope="col" { "Changes" }
                    }
                }
                tbody {
                    @for operation in told.operations {
                        (row(operation, told, now, to))
                        @if in_full.contains(&operation.number) { (more(operation, many, now)) }
                    }
                }
            }
        }
        @if many { p.quiet { "Only what needs a look is told step by step, and not of all; the log has everything." } }
    }
}

fn row(operation: &Operation, told: &Told<'_>, now: Timestamp, to: Links<'_>) -> Markup {
    let (lease, expected) = (told.leases.get(&operation.number), told.expected.get(&operation.number));
    html! {
        tr #{ "op-" (operation.number) } data-op=(operation.id) {
            th scope="row" {
                @if let Some(id) = operation.resource_id {
                    a href=(to(&format!("/resources/{id}"))) { (operation.resource) }
                } @else {
                    (operation.resource)
                }
                small { (operation.kind) " · " (action(operation)) }
            }
            td { (badge(operation.status)) (standing(operation, lease, now)) }
            td {
                @if let Some(effect) = operation.effect { (words(effect)) }
                @if let Some(Reason { text, .. }) = &operation.reason { small { (text) } }
            }
            td.number { (time(operation, expected, now)) }
            td.number {
                @if operation.attempts > 0 { (operation.attempts) }
                @if !operation.usage.is_none() { small { (told.prices.of(&operation.usage).cost) } }
            }
            td.number { (changes(operation.changes)) }
        }
    }
}

/// What else there is to say of where it stands.
fn standing(operation: &Operation, lease: Option<&Lease>, now: Timestamp) -> Markup {
    let waits_for = match (operation.status, operation.waiting_for) {
        (OperationStatus::Waiting, Some(WaitingFor::Dependencies)) => Some("for what is before it"),
        (OperationStatus::Waiting, Some(WaitingFor::Resource)) => Some("for a resource that others work on"),
        (OperationStatus::Waiting, Some(WaitingFor::Lock)) => Some("for a lock"),
        (OperationStatus::Ready, _) if operation.executor == ExecutorKind::Worker => Some("for a worker"),
        _ => None,
    };
    let again = operation.not_before.filter(|at| *at > now);
    html! {
        @if let Some(what) = waits_for { small { (what) } }
        @if let Some(at) = again { small { "goes on " (when(at, now)) } }
        @if operation.status == OperationStatus::Running {
            @if let Some(lease) = lease { small { "heartbeat " (when(lease.heartbeat_at, now)) } }
        }
    }
}

/// From its first claim to its end, or for as long as it runs, and how long it should take.
fn time(operation: &Operation, expected: Option<&u32>, now: Timestamp) -> Markup {
    let expected = expected.filter(|_| !operation.status.is_final());
    html! {
        @if let Some(started_at) = operation.started_at {
            @let runs = operation.completed_at.is_none();
            @let length = operation.completed_at.unwrap_or(now).duration_since(started_at).as_secs();
            span data-since=[runs.then_some(started_at)] { (seconds(length)) }
        }
        @if let Some(expected) = expected { small { "of about " (seconds(i64::from(*expected))) } }
    }
}

fn changes(Changes { add, change, destroy }: Changes) -> Markup {
    html! {
        @if add > 0 { span.add title="added" { "+" (add) } }
        @if change > 0 { " " span.change title="changed" { "~" (change) } }
        @if destroy > 0 { " " span.destroy title="destroyed" { "−" (destroy) } }
    }
}

fn needs_a_look(operation: &Operation) -> bool {
    operation.error.is_some()
        || !operation.warnings.is_empty()
        || !operation.in_flight.is_empty()
        || operation.status == OperationStatus::Running
}

/// What a row has no room for; of one of many, in short.
fn more(operation: &Operation, many: bool, now: Timestamp) -> Markup {
    let Operation { error, warnings, in_flight, reason, steps, .. } = operation;
    let reason = reason.as_ref().filter(|reason| is_explained(reason));
    if error.is_none() && warnings.is_empty() && in_flight.is_empty() && reason.is_none() && steps.is_empty() {
        return html! {};
    }
    html! {
        tr.details {
            td colspan=(COLUMNS) {
                @if let Some(error) = error { (failure(error, many)) }
                @for warning in warnings {
                    div.notice.warning { p { code { (warning.code) } " " (warning.detail) } }
                }
                @if !in_flight.is_empty() && !operation.status.is_final() {
                    p.quiet {
                        "Stopped while it worked on "
                        @for (index, one) in in_flight.iter().enumerate() {
                            @if index > 0 { ", " }
                            code { (one.address) } " (" (seconds(i64::try_from(one.seconds).unwrap_or(i64::MAX))) ")"
                        }
                    }
                }
                @if let Some(reason) = reason { (explained(reason)) }
                @if !steps.is_empty() { (became(operation, if many { LAST_STEPS } else { STEPS }, now)) }
            }
        }
    }
}

/// Why something did not succeed, with terraform's own words; of one of many, the beginning of them.
pub(super) fn failure(error: &Failure, many: bool) -> Markup {
    let (count, letters) = if many { (1, LETTERS) } else { (usize::MAX, usize::MAX) };
    let others = error.diagnostics.len().saturating_sub(count);
    html! {
        div.notice.error {
            p { code { (error.code) } " " (beginning(&error.detail, letters)) }
            @for diagnostic in error.diagnostics.iter().take(count) {
                div.diagnostic {
                    p {
                        strong { (beginning(&diagnostic.summary, letters)) }
                        @if let Some(address) = &diagnostic.address { " " code { (beginning(address, letters)) } }
                    }
                    @if !diagnostic.detail.is_empty() { pre { (beginning(&diagnostic.detail, letters)) } }
                }
            }
            @if others > 0 { p.quiet { "The log has " (others) " more." } }
        }
    }
}

fn is_explained(reason: &Reason) -> bool {
    !reason.parameters.is_empty() || !reason.candidates.is_empty() || !reason.users.is_empty()
}

/// What a reason has beside its text.
pub(in crate::dashboard) fn explained(reason: &Reason) -> Markup {
    let Reason { parameters, candidates, users, .. } = reason;
    html! {
        @if !parameters.is_empty() {
            table.changes {
                thead {
                    tr { th scope="col" { "Parameter" } th scope="col" { "Was" } th scope="col" { "Is to be" } }
                }
                tbody { @for parameter in parameters { (changed(parameter)) } }
            }
        }
        @if !users.is_empty() { p { "Used by " (users.join(", ")) } }
        @if !candidates.is_empty() {
            ul.candidates {
                @for candidate in candidates {
                    li {
                        strong { (candidate.name) } " "
                        @if let Some(refused) = &candidate.refused { "was not taken: " (refused) } @else { "was taken" }
                    }
                }
            }
        }
    }
}

fn changed(ParameterChange { name, from, to, sensitive }: &ParameterChange) -> Markup {
    html! {
        tr {
            th scope="row" { (name) }
            @if *sensitive {
                td colspan="2" { "(sensitive)" }
            } @else {
                td { (value(from)) }
                td { (value(to)) }
            }
        }
    }
}

fn became(operation: &Operation, most: usize, now: Timestamp) -> Markup {
    let steps = &operation.steps;
    let earlier = steps.len().saturating_sub(most);
    html! {
        details.steps {
            summary { "What became of it" }
            @if earlier > 0 { p.quiet { "The first " (earlier) " steps are in the log." } }
            ol {
                @for step in &steps[earlier..] {
                    li class={ "level-" (step.level) } { (when(step.at, now)) " " (step.message) }
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use conductor_domain::Code;
    use conductor_domain::operation::{Diagnostic, Effect, InFlight, Warning, Weighed};
    use serde_json::json;

    use super::super::tests::{now, operation};
    use super::*;
    use crate::dashboard::resources::tests::{HOSTILE, assert_escaped, id, links};

    /// A failure with as much in it as one can have.
    pub fn broken() -> Failure {
        let detail = "x".repeat(8_000);
        let diagnostic = Diagnostic { summary: "no quota".to_owned(), detail, address: Some("a.b".to_owned()) };
        Failure { diagnostics: vec![diagnostic; 20], ..Failure::new(Code::TerraformFailed, "no quota") }
    }

    fn shown_all(operations: &[Operation]) -> Markup {
        let (leases, expected, prices) = (&BTreeMap::new(), &BTreeMap::new(), &Prices::default());
        table(&Told { operations, leases, expected, prices }, now(), &links)
    }

    fn shown(operation: Operation) -> Markup {
        shown_all(&[operation])
    }

    #[test]
    fn whatever_an_operation_says_is_shown_as_text() {
        let hostile = || HOSTILE.to_owned();
        let plain = || operation(1, "Failed", &[]);
        let check = |operation: Operation| assert_escaped(&shown(operation));
        check(Operation { resource: hostile(), ..plain() });
        check(Operation { kind: hostile(), ..plain() });
        check(Operation { error: Some(Failure::new(Code::TerraformFailed, hostile())), ..plain() });
        let diagnostic = Diagnostic { summary: hostile(), detail: hostile(), address: Some(hostile()) };
        let error = Failure { diagnostics: vec![diagnostic], ..Failure::new(Code::TerraformFailed, "") };
        check(Operation { error: Some(error), ..plain() });
        check(Operation { warnings: vec![Warning { code: Code::LockReleased, detail: hostile() }], ..plain() });
        let in_flight = vec![InFlight { address: hostile(), seconds: 3 }];
        check(Operation { in_flight, ..operation(1, "Ready", &[]) });
        let reason = Reason { text: hostile(), ..Reason::default() };
        check(Operation { reason: Some(reason), ..plain() });
        let (from, to) = (json!({HOSTILE: 1}), json!(HOSTILE));
        let change = ParameterChange { name: hostile(), from, to, sensitive: false };
        let weighed = Weighed { resource: id(1), name: hostile(), refused: Some(hostile()) };
        let (parameters, candidates, users) = (vec![change], vec![weighed], vec![hostile()]);
        check(Operation { reason: Some(Reason { parameters, candidates, users, ..Reason::default() }), ..plain() });
        assert_escaped(&graph(&[Operation { resource: hostile(), ..plain() }]));
    }

    #[test]
    fn a_sensitive_parameter_is_not_shown() {
        let parameters =
            vec![ParameterChange { name: "token".into(), from: json!("old"), to: json!("new"), sensitive: true }];
        let reason = Some(Reason { parameters, ..Reason::default() });
        let page = shown(Operation { reason, ..operation(1, "Succeeded", &[]) }).into_string();
        assert!(page.contains("token") && !page.contains("old") && !page.contains("new"), "{page}");
    }

    #[test]
    fn a_row_leads_to_its_resource_and_says_what_was_done() {
        let done = Operation {
            resource_id: Some(id(7)),
            effect: Some(Effect::Created),
            changes: Changes { add: 3, change: 0, destroy: 1 },
            ..operation(4, "Succeeded", &[])
        };
        let page = shown(done).into_string();
        for expect in [
            "<tr id=\"op-4\" data-op=",
            "href=\"/live/resources/00000000-0000-0000-0000-000000000007\"",
            "badge-succeeded",
            "Created",
            "+3",
            "−1",
        ] {
            assert!(page.contains(expect), "{expect}: {page}");
        }
    }

    #[test]
    fn of_many_operations_only_those_that_need_a_look_are_told_step_by_step() {
        let mut operations: Vec<Operation> = (1..=200).map(|number| operation(number, "Succeeded", &[])).collect();
        operations[6] =
            Operation { error: Some(Failure::new(Code::TerraformFailed, "no quota")), ..operation(7, "Failed", &[]) };
        let in_full =
            |operations: &[Operation]| shown_all(operations).into_string().matches("<tr class=\"details\">").count();
        assert_eq!(in_full(&operations), 1);
        assert_eq!(in_full(&operations[..20]), 20);
    }

    #[test]
    fn of_many_that_need_a_look_some_are_told_what_failed_first() {
        let stopped = |number: u32| Operation {
            error: Some(Failure::new(Code::Cancelled, "it was stopped")),
            ..operation(number, "Cancelled", &[])
        };
        let mut operations: Vec<Operation> = (1..=199).map(stopped).collect();
        operations.push(Operation { error: Some(broken()), ..operation(200, "Failed", &[]) });
        let told = in_full(&operations);
        assert_eq!((told.len(), told.contains(&200)), (IN_SHORT, true));
    }

    #[test]
    fn of_one_of_many_that_failed_the_beginning_is_told() {
        let told = |many: bool| failure(&broken(), many).into_string();
        let (whole, short) = (told(false), told(true));
        assert_eq!((whole.matches("class=\"diagnostic\"").count(), whole.contains(&"x".repeat(8_000))), (20, true));
        assert_eq!(short.matches("class=\"diagnostic\"").count(), 1);
        assert!(short.contains(&format!("<pre>{}…</pre>", "x".repeat(LETTERS))), "{short}");
        assert!(short.contains("The log has 19 more.") && !whole.contains("more."), "{short}");
    }
}

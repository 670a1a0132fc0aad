//! `/deployments/{id}`: how far it is, its operations as a graph, over time and one by one, what was asked for, who did
//! what; and beside it its log, which a script follows.
//!
//! It decides nothing. What changes while a deployment runs is in `#live`, and below the log in `#live-below`; the log
//! is in neither.

mod operations;
mod progress;
mod timeline;

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use conductor_domain::audit::AuditEvent;
use conductor_domain::deployment::{Cancel, CancelOutcome, Deployment, DeploymentStatus, Options, Rollback};
use conductor_domain::ids::DeploymentId;
use conductor_domain::lane::LaneOf;
use conductor_domain::log::Level;
use conductor_domain::operation::{Lease, Operation, Usage};
use conductor_engine::port::Clock;
use conductor_engine::{AuditFilter, Causes, LogFilter, LogPosition, ShownFile, Subject};
use jiff::Timestamp;
use maud::{Markup, html};

use super::deployments::{name, retryable, short_id};
use super::page::{Page, Section, badge, facts, href, query, render, value, when, words};
use super::resources::Links;
use crate::app::App;
use crate::extract::{Asking, Named, id as parse_id};
use crate::price::Prices;
use crate::problem::Refused;
use crate::routes::logs;

pub(super) use operations::explained;
use operations::{Told, are_many, failure};
pub(super) use progress::{Progress, running_time};

/// Audit events on the page.
const EVENTS: u32 = 25;
/// Sent by the script when it wants `#live` alone.
const LIVE: &str = "x-live";

/// The longest file that a page has itself, in bytes.
const SHORT_FILE: usize = 8 * 1024;
const UNREADABLE: &str = "The file cannot be read now.";
const NOT_PLANNED: &str =
    "What is sensitive in it is known once its operations are planned; until then it is not shown.";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/deployments/{id}", get(one))
        .route("/deployments/{id}/log", get(log))
        .route("/deployments/{id}/file", get(file_alone))
}

async fn one(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    let any = AuditFilter::default();
    let (view, (trail, rest)) = tokio::try_join!(
        app.engine.deployment(&caller, id),
        app.engine.audit_of(&caller, Subject::Deployment(id), &any, None, EVENTS),
    )?;
    let deployment = &view.deployment.value;
    let file = match headers.contains_key(LIVE) {
        true => File::Left,
        false => file(&app, deployment).await,
    };
    let shown = Shown {
        deployment,
        operations: &view.operations,
        leases: &view.leases,
        expected: &view.expected,
        trail: &trail,
        is_cut: rest.is_some(),
        file,
        prices: &app.config.prices,
        now: app.engine.clock.now(),
    };
    let body = page(&shown, &|path| href(&app, path));
    let title = format!("{} in {}: {}", name(deployment), deployment.lane.environment, words(deployment.status));
    Ok(render(Page { app: &app, title: &title, section: Section::Deployments, live: true, body }))
}

/// The log as text, for who has no script.
async fn log(State(app): State<App>, Asking(caller): Asking, Named(id): Named<String>) -> Result<Response, Refused> {
    let id: DeploymentId = parse_id(&id)?;
    let filter = LogFilter { operation: None, level: Level::default() };
    let reader = app.engine.log(&caller, id, filter, LogPosition::default()).await?;
    let rest = href(&app, format!("/v1/deployments/{id}/logs?cursor="));
    logs::text(reader, &rest).await
}

/// The file of a deployment as text.
async fn file_alone(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
) -> Result<Response, Refused> {
    let view = app.engine.deployment(&caller, parse_id(&id)?).await?;
    let text = match file(&app, &view.deployment).await {
        File::Shown(ShownFile::AsSent(text) | ShownFile::Masked(text)) => text,
        File::Shown(ShownFile::None) => "There is no file.".to_owned(),
        File::Shown(ShownFile::NotPlanned) => NOT_PLANNED.to_owned(),
        File::Left | File::Unreadable => UNREADABLE.to_owned(),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// The file of a deployment, as far as the page has it.
enum File {
    /// The script does not want it again.
    Left,
    /// The store does not give it.
    Unreadable,
    /// What may be shown of it.
    Shown(ShownFile),
}

async fn file(app: &App, deployment: &Deployment) -> File {
    match app.engine.shown_file(deployment).await {
        Ok(shown) => File::Shown(shown),
        Err(error) => {
            tracing::warn!(deployment = %deployment.id, error = %Causes(&error), "a file is not shown");
            File::Unreadable
        }
    }
}

/// What the page is made of.
struct Shown<'a> {
    deployment: &'a Deployment,
    operations: &'a [Operation],
    leases: &'a BTreeMap<u32, Lease>,
    expected: &'a BTreeMap<u32, u32>,
    trail: &'a [AuditEvent],
    /// True where there are more audit events than these.
    is_cut: bool,
    file: File,
    prices: &'a Prices,
    now: Timestamp,
}

fn page(shown: &Shown<'_>, to: Links<'_>) -> Markup {
    html! {
        (live(shown, to))
        (log_panel(shown.deployment, to))
        (trail(shown, to))
        (score(&shown.file, &to(&format!("/deployments/{}/file", shown.deployment.id))))
    }
}

/// What changes while the deployment runs, but the log and what is below it.
fn live(shown: &Shown<'_>, to: Links<'_>) -> Markup {
    let Shown { deployment, operations, now, .. } = shown;
    html! {
        div #live data-done[deployment.status.is_final()] {
            (head(deployment, to))
            (bar(shown))
            nav.jumps aria-label="On this page" {
                a href="#operations" { "Operations" }
                a href="#log-title" { "Log" }
                a href="#trail" { "Who did what" }
                @if deployment.score.is_some() { a href="#file" { "The file" } }
            }
            @if let Some(error) = &deployment.error { (failure(error, are_many(operations))) }
            @if let Some(cancel) = &deployment.cancel { (cancelled(cancel, *now, to)) }
            (facts(known(shown, to)))
            section aria-labelledby="operations" {
                h2 #operations { "Operations" }
                @if operations.is_empty() {
                    p.quiet { (unplanned(deployment)) }
                } @else {
                    (operations::graph(operations))
                    h3 { "What ran when" }
                    (timeline::svg(deployment, operations, *now))
                    h3 { "One by one" }
                    (operations::table(&told(shown), *now, to))
                }
            }
        }
    }
}

/// Who did what. The log matters more, and is above it.
fn trail(shown: &Shown<'_>, to: Links<'_>) -> Markup {
    let Shown { deployment, trail, is_cut, now, .. } = shown;
    html! {
        div #live-below {
            section aria-labelledby="trail" {
                h2 #trail { "Who did what" }
                (super::audit::table("Audit events, oldest first", trail, *now, to))
                @if *is_cut {
                    @let (id, day) = (deployment.id.to_string(), deployment.created_at.strftime("%F").to_string());
                    @let all = query("/audit", &[("day", Some(day.as_str())), ("deployment", Some(id.as_str()))]);
                    p { a href=(to(&all)) { "All that was done for it" } }
                }
            }
        }
    }
}

fn told<'a>(shown: &Shown<'a>) -> Told<'a> {
    let Shown { operations, leases, expected, prices, .. } = *shown;
    Told { operations, leases, expected, prices }
}

fn unplanned(deployment: &Deployment) -> &'static str {
    match deployment.status {
        DeploymentStatus::Pending => "They are planned when its turn has come.",
        DeploymentStatus::InProgress => "They are being planned.",
        _ => "There were none.",
    }
}

fn head(deployment: &Deployment, to: Links<'_>) -> Markup {
    let Deployment { id, kind, status, lane, cancel, .. } = deployment;
    let environment = &lane.environment;
    let path = format!("/deployments/{id}");
    html! {
        header.head {
            div {
                p.over { (words(kind)) " · " code { (short_id(*id)) } }
                h1 { (name(deployment)) " in " a href=(to(&format!("/environments/{environment}"))) { (environment) } }
            }
            (badge(status))
            nav.actions aria-label="Actions" {
                @if !status.is_final() {
                    a.button href=(to(&format!("{path}/cancel"))) {
                        @if cancel.is_some() { "Force the cancel…" } @else { "Cancel…" }
                    }
                }
                @if retryable(deployment) {
                    a.button href=(to(&format!("{path}/retry"))) { "Retry…" }
                }
                @if let Some(application) = lane.application_name() {
                    @let path = format!("/applications/{application}/environments/{environment}/teardown");
                    a.button.subtle href=(to(&path)) { "Tear down…" }
                }
            }
        }
    }
}

/// How far it is: in words that a screen reader says when they change, and as a bar.
fn bar(shown: &Shown<'_>) -> Markup {
    let Shown { deployment, operations, expected, now, .. } = shown;
    let progress = Progress::of(operations);
    let left = progress::estimate(deployment.status, operations, expected, *now);
    html! {
        div.progress {
            (progress.bar())
            p {
                span role="status" {
                    @if operations.is_empty() { (words(deployment.status)) } @else { (progress) " operations" }
                }
                " · "
                @if deployment.started_at.is_none() && !deployment.status.is_final() { "waiting for " }
                (running_time(deployment, *now))
                @if let Some(left) = left { " · " span.estimate { (left) } }
            }
        }
    }
}

fn cancelled(cancel: &Cancel, now: Timestamp, to: Links<'_>) -> Markup {
    let Cancel { requested_at, requested_by, rollback, forced_at, outcome, left, .. } = cancel;
    html! {
        div.notice.warning {
            p {
                "Cancelled by " (requested_by) " " (when(*requested_at, now)) ": "
                @match rollback {
                    Rollback::Created => "what it created or linked is let go of",
                    Rollback::None => "what it created or linked stays",
                }
                @if let Some(at) = forced_at { "; forced " (when(*at, now)) }
                "."
            }
            @match outcome {
                Some(CancelOutcome::Clean) => p { "Nothing of it is left." },
                Some(CancelOutcome::TooLate) => p { "Everything had succeeded before anything was stopped." },
                Some(CancelOutcome::Partial) => p { "Something of it is left:" },
                None => p { "It is under way." },
            }
            @if !left.is_empty() {
                ul {
                    @for one in left {
                        li {
                            a href=(to(&format!("/resources/{}", one.resource_id))) { (one.resource) }
                            ": " (one.detail)
                        }
                    }
                }
            }
        }
    }
}

/// What is known of the deployment as a whole.
fn known(shown: &Shown<'_>, to: Links<'_>) -> Vec<(&'static str, Markup)> {
    let Shown { deployment, now, .. } = *shown;
    let Deployment { lane, workload, retry_of, commit_id, metadata, requested_by, request_id, .. } = deployment;
    let mut known = vec![("Deployment", html! { code { (deployment.id) } })];
    match &lane.of {
        LaneOf::Application(application) => {
            let path = format!("/applications/{application}");
            known.push(("Application", html! { a href=(to(&path)) { (application) } }));
            let workload = workload.as_ref().map_or("all", |workload| workload.as_str());
            known.push(("Workload", html! { (workload) }));
        }
        LaneOf::Pool(pool) => {
            let path = format!("/environments/{}/pools/{pool}", lane.environment);
            known.push(("Pool", html! { a href=(to(&path)) { (pool) } }));
        }
        LaneOf::Resource(id) => {
            known.push(("Resource", html! { a href=(to(&format!("/resources/{id}"))) { (short_id(*id)) } }));
        }
    }
    known.push(("Asked for", html! { (when(deployment.created_at, now)) " by " (requested_by) }));
    known.extend(deployment.started_at.map(|at| ("Started", when(at, now))));
    known.extend(deployment.completed_at.map(|at| ("Ended", when(at, now))));
    known.extend(commit_id.as_ref().map(|commit| ("Commit", html! { code { (commit) } })));
    if let Some(id) = retry_of {
        let path = format!("/deployments/{id}");
        known.push(("Retry of", html! { a href=(to(&path)) { code { (short_id(*id)) } } }));
    }
    let said = said(&deployment.options);
    if !said.is_empty() {
        known.push(("Options", html! { (said.join("; ")) }));
    }
    known.extend((!metadata.is_empty()).then(|| ("Metadata", value(&metadata.clone().into()))));
    known.push(("Request", html! { code { (request_id) } }));
    known.extend(cost(shown));
    known
}

/// What its operations used by now, and what that costs.
fn cost(shown: &Shown<'_>) -> Vec<(&'static str, Markup)> {
    let mut used = Usage::default();
    shown.operations.iter().for_each(|operation| used += operation.usage);
    if used.is_none() {
        return Vec::new();
    }
    let used = shown.prices.of(&used);
    let requests = used.requests.table + used.requests.objects + used.requests.queue;
    vec![
        ("Used", html! { (format!("{:.1}", used.gb_seconds)) " GB s and " (requests) " requests" }),
        ("Cost", html! { (used.cost) }),
    ]
}

/// What a request said that is not the rule.
fn said(options: &Options) -> Vec<String> {
    let Options { prune, refresh, upgrade, allow_replace, allow_destroy } = options;
    let named = |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
    let said = [
        (!prune).then(|| "keeps what the file no longer names".to_owned()),
        refresh.then(|| "runs terraform on everything".to_owned()),
        upgrade.then(|| "moves to the newest template versions".to_owned()),
        named("may replace", allow_replace),
        named("may destroy", allow_destroy),
    ];
    said.into_iter().flatten().collect()
}

/// The log: its lines come by script.
fn log_panel(deployment: &Deployment, to: Links<'_>) -> Markup {
    let id = deployment.id;
    let text = to(&format!("/deployments/{id}/log"));
    html! {
        section.log-panel aria-labelledby="log-title" {
            div.log-head {
                h2 #log-title { "Log" }
                div.log-controls #log-controls hidden {
                    label {
                        span { "Operation" }
                        select #log-operation { option value="" { "All" } }
                    }
                    label {
                        span { "Level" }
                        select #log-level {
                            @for level in Level::ALL {
                                option value=(level) selected[level == Level::default()] { (level) }
                            }
                        }
                    }
                    label.check { input #log-follow type="checkbox" checked; span { "Follow" } }
                }
                span.quiet #log-state role="status" {}
                a href=(text) { "As text" }
            }
            noscript { p { "Without a script the log is here " a href=(text) { "as text" } "." } }
            p.quiet #log-cut hidden { "Only the newest 5,000 lines are kept on this page." }
            div.log #log role="log" aria-live="polite" aria-labelledby="log-title" tabindex="0"
                data-src=(to(&format!("/v1/deployments/{id}/logs"))) {}
        }
    }
}

fn score(file: &File, alone: &str) -> Markup {
    let (note, text) = match file {
        File::Left | File::Shown(ShownFile::None) => return html! {},
        File::Unreadable => (UNREADABLE, None),
        File::Shown(ShownFile::NotPlanned) => (NOT_PLANNED, None),
        File::Shown(ShownFile::AsSent(text)) => ("As it was sent.", Some(text)),
        File::Shown(ShownFile::Masked(text)) => {
            ("What is sensitive in it is masked; so it is written anew, without its comments.", Some(text))
        }
    };
    html! {
        section aria-labelledby="file" {
            h2 #file { "The file" }
            p.quiet { (note) }
            @match text {
                Some(text) if text.len() <= SHORT_FILE => details.file { summary { "Show it" } pre { (text) } },
                Some(text) => p { a href=(alone) { "Show it" } " (" (text.len() / 1024) " KiB)" },
                None => {},
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use conductor_domain::Code;
    use conductor_domain::ids::{GenericUuid, OperationId};
    use conductor_domain::operation::{Effect, Failure, Reason};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::dashboard::resources::tests::{HOSTILE, assert_escaped, id, links};

    pub use crate::dashboard::resources::tests::now;

    /// A deployment in this status, of the workload `web` of `orders`, that began 100 seconds ago.
    pub fn deployment(status: &str) -> Deployment {
        let is_final = !["Pending", "InProgress"].contains(&status);
        let value = json!({
            "id": Uuid::from_u128(1), "kind": "apply", "status": status, "enteredAt": now(), "number": 1,
            "lane": {"environment": "staging", "of": {"application": "orders"}}, "workload": "web",
            "options": {"prune": true, "refresh": false, "upgrade": false, "allowReplace": []},
            "requestedBy": "local", "requestId": "r1", "operations": 0, "acquires": 0, "releases": "undecided",
            "createdAt": now() - jiff::SignedDuration::from_secs(110),
            "startedAt": (status != "Pending").then(|| now() - jiff::SignedDuration::from_secs(100)),
            "completedAt": is_final.then(now)
        });
        serde_json::from_value(value).expect("a deployment")
    }

    /// The operation of a number, in this status for 30 seconds, after those of these numbers.
    pub fn operation(number: u32, status: &str, before: &[u32]) -> Operation {
        let entered_at = now() - jiff::SignedDuration::from_secs(30);
        let is_final = !["Waiting", "Ready", "Running"].contains(&status);
        let value = json!({
            "id": OperationId::from_untyped_uuid(Uuid::from_u128(u128::from(number))), "deployment": Uuid::from_u128(1),
            "number": number, "resource": format!("database-{number}"), "type": "postgres",
            "request": {
                "action": "acquire", "template": "postgres", "version": "1.0.0", "pinned": false,
                "sharing": {"mode": "dedicated"}, "dialect": "conductor", "given": false
            },
            "status": status, "enteredAt": entered_at, "dependsOn": before, "dependents": [], "epoch": 1, "attempts": 1,
            "startedAt": entered_at, "completedAt": is_final.then_some(entered_at), "expiresAt": now(),
            "steps": [{"at": entered_at, "level": "info", "epoch": 1, "message": "claimed"}]
        });
        serde_json::from_value(value).expect("an operation")
    }

    fn event() -> AuditEvent {
        crate::dashboard::audit::tests::event("deployment", "00000000-0000-0000-0000-000000000001")
    }

    fn shown_with(deployment: &Deployment, operations: &[Operation], file: File) -> Markup {
        let shown = Shown {
            deployment,
            operations,
            leases: &BTreeMap::new(),
            expected: &BTreeMap::from([(1, 60)]),
            trail: &[event()],
            is_cut: false,
            file,
            prices: &Prices::default(),
            now: now(),
        };
        page(&shown, &links)
    }

    fn shown(deployment: &Deployment) -> Markup {
        shown_with(deployment, &[operation(1, "Running", &[])], File::Left)
    }

    #[test]
    fn whatever_a_user_can_say_of_a_deployment_is_shown_as_text() {
        let hostile = || HOSTILE.to_owned();
        let plain = || deployment("Failed");
        let check = |deployment: Deployment| assert_escaped(&shown(&deployment));
        check(Deployment { commit_id: Some(hostile()), ..plain() });
        check(Deployment { requested_by: hostile(), ..plain() });
        check(Deployment { request_id: hostile(), ..plain() });
        check(Deployment { error: Some(Failure::new(Code::TerraformFailed, hostile())), ..plain() });
        let metadata = json!({HOSTILE: HOSTILE}).as_object().cloned().expect("an object");
        check(Deployment { metadata: json!({"a": HOSTILE}).as_object().cloned().expect("an object"), ..plain() });
        let page = shown(&Deployment { metadata, ..plain() }).into_string();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
        let options = Options { allow_replace: vec![hostile()], allow_destroy: vec![hostile()], ..Options::default() };
        check(Deployment { options, ..plain() });
        let left =
            vec![conductor_domain::deployment::Leftover { resource: hostile(), resource_id: id(3), detail: hostile() }];
        let cancel = Cancel {
            requested_at: now(),
            requested_by: hostile(),
            rollback: Rollback::Created,
            forced_at: None,
            rolls_back_after: None,
            outcome: Some(CancelOutcome::Partial),
            left,
        };
        check(Deployment { cancel: Some(cancel), ..plain() });
        let file = |file: ShownFile| shown_with(&plain(), &[], File::Shown(file));
        assert_escaped(&file(ShownFile::AsSent(hostile())));
        assert_escaped(&file(ShownFile::Masked(hostile())));
    }

    #[test]
    fn a_running_deployment_can_be_cancelled_and_one_that_failed_tried_again() {
        let check = |status: &str, cancel: bool, retry: bool| {
            let page = shown(&deployment(status)).into_string();
            assert_eq!((page.contains("/cancel\""), page.contains("/retry\"")), (cancel, retry), "{status}");
        };
        check("Pending", true, false);
        check("InProgress", true, false);
        check("Succeeded", false, false);
        check("Failed", false, true);
        check("TimedOut", false, true);
    }

    #[test]
    fn the_page_of_one_that_has_ended_is_not_asked_for_again() {
        let done = |status: &str| shown(&deployment(status)).into_string().contains("<div id=\"live\" data-done>");
        assert!(done("Cancelled") && !done("InProgress"));
    }

    #[test]
    fn the_log_is_outside_of_what_is_replaced_and_says_where_it_comes_from() {
        let page = shown(&deployment("InProgress")).into_string();
        let (live, log) = page.split_once("<section class=\"log-panel\"").expect("a log");
        assert_eq!(live.matches("<div").count(), live.matches("</div>").count());
        assert!(log.contains("data-src=\"/live/v1/deployments/00000000-0000-0000-0000-000000000001/logs\""), "{log}");
        assert!(!live.contains("id=\"trail\"") && log.contains("<div id=\"live-below\"><section"), "{log}");
    }

    #[test]
    fn a_file_that_was_not_planned_is_not_shown() {
        let page = shown_with(&deployment("Pending"), &[], File::Shown(ShownFile::NotPlanned)).into_string();
        assert!(page.contains("it is not shown") && !page.contains("<pre>"), "{page}");
    }

    #[test]
    fn progress_time_and_estimate_are_in_the_head() {
        let page = shown(&deployment("InProgress")).into_string();
        for expect in ["0 of 1", "1 min 40 s", "about 30 s left", "<progress max=\"1\" value=\"0\""] {
            assert!(page.contains(expect), "{expect}: {page}");
        }
    }

    #[test]
    fn what_was_used_and_what_it_costs_is_told_once_it_is_known() {
        let usage = Usage { invocations: 2, function_millis: 4_000, ..Usage::default() };
        let used = Operation { usage, ..operation(1, "Succeeded", &[]) };
        let page = shown_with(&deployment("Succeeded"), &[used], File::Left).into_string();
        assert!(page.contains("<dt>Cost</dt><dd>0.000000 USD</dd>"), "{page}");
        assert!(!shown(&deployment("Succeeded")).into_string().contains("<dt>Cost</dt>"));
    }

    #[test]
    fn a_long_file_is_a_page_of_its_own() {
        let check = |length: usize, expect: &str| {
            let file = File::Shown(ShownFile::AsSent("x".repeat(length)));
            let page = shown_with(&deployment("Succeeded"), &[], file).into_string();
            assert!(page.contains(expect) && page.len() < 100_000, "{length}");
        };
        check(SHORT_FILE, "<summary>Show it</summary>");
        check(SHORT_FILE + 1, "/file\">Show it</a>");
        check(256 * 1024, "/file\">Show it</a>");
    }

    #[test]
    fn the_page_of_200_operations_that_have_all_failed_is_small() {
        let failed = |number: u32| Operation {
            resource_id: Some(id(u128::from(number))),
            error: Some(operations::tests::broken()),
            ..operation(number, "Failed", &[number / 2])
        };
        let operations: Vec<Operation> = (1..=200).map(failed).collect();
        let deployment = Deployment { error: Some(operations::tests::broken()), ..deployment("Failed") };
        let page = shown_with(&deployment, &operations, File::Left).into_string();
        assert!(page.len() < 300_000, "{}", page.len());
        assert_eq!(page.matches("id=\"op-").count(), 200);
    }

    #[test]
    fn the_page_of_200_operations_is_small() {
        let ended = |number: u32| Operation {
            resource: format!("a-resource-with-a-long-name-{number}"),
            resource_id: Some(id(u128::from(number))),
            effect: Some(Effect::Created),
            usage: Usage { invocations: 1, ..Usage::default() },
            reason: Some(Reason {
                text: "there is no resource with this identity in the environment yet".to_owned(),
                ..Reason::default()
            }),
            ..operation(number, "Succeeded", &[number / 2, number / 3, number / 5])
        };
        let operations: Vec<Operation> = (1..=200).map(ended).collect();
        let trail = vec![event(); EVENTS as usize];
        let shown = Shown {
            deployment: &deployment("InProgress"),
            operations: &operations,
            leases: &BTreeMap::new(),
            expected: &BTreeMap::new(),
            trail: &trail,
            is_cut: true,
            file: File::Left,
            prices: &Prices::default(),
            now: now(),
        };
        let page = page(&shown, &|path| format!("/restapis/conductor/live/_user_request_{path}")).into_string();
        assert!(page.len() < 300_000, "{}", page.len());
        assert_eq!(page.matches("id=\"op-").count(), 200);
    }
}

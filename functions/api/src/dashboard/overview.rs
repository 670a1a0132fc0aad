//! `/`: how things stand. What failed comes first, then what runs, then what waits.
//!
//! It decides nothing.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use conductor_domain::deployment::{Deployment, DeploymentStatus};
use conductor_domain::ids::DeploymentId;
use conductor_engine::port::{Depth, Depths};
use conductor_engine::{Due, Item, Overview, Running};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::deployments::{name, short_id, table};
use super::page::{Page, Section, class, facts, href, query, render, seconds, when, words};
use super::resources::Links;
use crate::app::App;
use crate::extract::Asking;
use crate::problem::Refused;

/// The hours of the chart: those that 24 hours touch.
const HOURS: usize = 25;
const HOUR: i64 = 3_600;
/// The chart's measures, in pixels: an hour, the space between two, the highest bar, the space on both sides, the row of
/// times below.
const BAR: usize = 22;
const GAP: usize = 6;
const HIGHEST: usize = 110;
const SIDE: usize = 10;
const TIMES: usize = 22;
/// The lowest part of a bar that can be seen.
const LOWEST: usize = 3;
/// Every so many hours the chart says the time.
const EVERY: usize = 6;
/// Deployments that failed which are shown.
const FAILURES: usize = 10;
/// Operations that run which are shown.
const RUNNING: usize = 50;
/// A worker gives a sign of life every 5 seconds; without one for this long, something is wrong with it.
const SILENCE: i64 = 15;
/// The sweeper comes every minute; what is due for longer has been missed.
const MISSED: i64 = 120;
/// From the foot of a bar to its top, so that what went wrong stands at the same end.
const STACK: [DeploymentStatus; 6] = [
    DeploymentStatus::Succeeded,
    DeploymentStatus::Pending,
    DeploymentStatus::InProgress,
    DeploymentStatus::Cancelled,
    DeploymentStatus::TimedOut,
    DeploymentStatus::Failed,
];

type Counts = BTreeMap<DeploymentStatus, usize>;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/", get(overview))
}

async fn overview(State(app): State<App>, Asking(caller): Asking) -> Result<Response, Refused> {
    let overview = app.engine.overview(&caller).await?;
    let body = view(&overview, &|path| href(&app, path));
    Ok(render(Page { app: &app, title: "Overview", section: Section::Overview, live: true, body }))
}

fn view(overview: &Overview, to: Links<'_>) -> Markup {
    let Overview { at, deployments, cut, running, depths, oldest_due } = overview;
    html! {
        h1 { "Overview" }
        // It reads much, and what changes fast is on the deployments' own pages.
        div #live data-every="10" {
            (tiles(&counts(deployments), to))
            @if *cut {
                p.quiet { "Of the last 24 hours only the last " (deployments.len()) " deployments are looked at." }
            }
            (failures(deployments, *at, to))
            section aria-labelledby="running" {
                h2 #running { "Running operations" }
                (works(running, deployments, *at, to))
            }
            section aria-labelledby="hours" {
                h2 #hours { "The last 24 hours" }
                (chart(&hours(deployments, *at), *at))
            }
            section aria-labelledby="waiting" {
                h2 #waiting { "What waits" }
                (waiting(depths.as_ref(), oldest_due.as_ref(), *at, to))
            }
        }
    }
}

fn counts(deployments: &[Deployment]) -> Counts {
    let mut counts = Counts::new();
    for deployment in deployments {
        *counts.entry(deployment.status).or_default() += 1;
    }
    counts
}

/// How many deployments there are in each status: those that have not ended, and those that ended within 24 hours.
fn tiles(counts: &Counts, to: Links<'_>) -> Markup {
    html! {
        ul.tiles {
            @for status in DeploymentStatus::ALL {
                @let name = format!("{status:?}");
                @let count = counts.get(&status).copied().unwrap_or(0);
                li class={ "tile status-" (class(status)) @if count == 0 { " none" } } {
                    a href=(to(&query("/deployments", &[("status", Some(name.as_str()))]))) {
                        span.count { (count) }
                        span { (words(status)) }
                    }
                }
            }
        }
    }
}

fn failures(deployments: &[Deployment], now: Timestamp, to: Links<'_>) -> Markup {
    let failed = deployments
        .iter()
        .filter(|deployment| matches!(deployment.status, DeploymentStatus::Failed | DeploymentStatus::TimedOut));
    let failed: Vec<Deployment> = failed.take(FAILURES).cloned().collect();
    html! {
        section aria-labelledby="failures" {
            h2 #failures { "Failures" }
            @if failed.is_empty() {
                p.quiet { "No deployment has failed in the last 24 hours." }
            } @else {
                (table("The last that failed or timed out", &failed, now, to))
            }
        }
    }
}

/// The operations that run, the one whose worker has been silent for longest on top.
fn works(running: &[Running], deployments: &[Deployment], now: Timestamp, to: Links<'_>) -> Markup {
    if running.is_empty() {
        return html! { p.quiet { "Nothing runs." } };
    }
    let names: BTreeMap<DeploymentId, String> =
        deployments.iter().map(|one| (one.id, format!("{} in {}", name(one), one.lane.environment))).collect();
    html! {
        table.running {
            thead {
                tr {
                    th scope="col" { "Resource" }
                    th scope="col" { "Deployment" }
                    th.number scope="col" { "Running for" }
                    th.number scope="col" { "Last sign of life" }
                }
            }
            tbody {
                @for Running { operation, lease } in running.iter().take(RUNNING) {
                    @let silent = now.duration_since(lease.heartbeat_at).as_secs();
                    @let id = operation.deployment;
                    @let since = operation.claimed_at().unwrap_or(now);
                    tr {
                        th scope="row" {
                            a href=(to(&format!("/deployments/{id}#op-{}", operation.number))) { (operation.resource) }
                            small { (operation.kind) }
                        }
                        td {
                            a href=(to(&format!("/deployments/{id}"))) {
                                (names.get(&id).map_or("a deployment", String::as_str))
                            }
                        }
                        td.number { span data-since=(since) { (seconds(now.duration_since(since).as_secs())) } }
                        td.number .late[silent > SILENCE] {
                            (seconds(silent)) " ago"
                            @if silent > SILENCE { small { "silent" } }
                        }
                    }
                }
            }
        }
        @if running.len() > RUNNING { p.quiet { (running.len() - RUNNING) " more run." } }
    }
}

/// What began in each hour, the oldest first.
fn hours(deployments: &[Deployment], now: Timestamp) -> Vec<Counts> {
    let mut hours = vec![Counts::new(); HOURS];
    let hour = |at: Timestamp| at.as_second().div_euclid(HOUR);
    for deployment in deployments {
        let ago = usize::try_from(hour(now) - hour(deployment.created_at)).unwrap_or(0);
        if let Some(counts) = hours.iter_mut().rev().nth(ago) {
            *counts.entry(deployment.status).or_default() += 1;
        }
    }
    hours
}

/// The parts of an hour's bar from its foot to its top: status, distance from the top of the chart, height.
fn parts(counts: &Counts, most: usize) -> Vec<(DeploymentStatus, usize, usize)> {
    let mut top = HIGHEST;
    let shown = STACK.into_iter().filter_map(|status| Some((status, counts.get(&status).copied()?)));
    shown
        .map(|(status, count)| {
            let height = (count * HIGHEST / most.max(1)).max(LOWEST);
            top = top.saturating_sub(height);
            (status, top, height)
        })
        .collect()
}

fn chart(hours: &[Counts], now: Timestamp) -> Markup {
    let most = hours.iter().map(|counts| counts.values().sum::<usize>()).max().unwrap_or(0);
    if most == 0 {
        return html! { p.quiet { "Nothing was deployed." } };
    }
    let (width, height) = (SIDE * 2 + HOURS * (BAR + GAP), HIGHEST + TIMES);
    html! {
        div.scroll {
            svg.chart width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="img"
                aria-label="Deployments by hour and status; the table below says the same" {
                path.grid d={ "M0 " (HIGHEST) "h" (width) } {}
                @for (index, counts) in hours.iter().enumerate() {
                    @let x = SIDE + index * (BAR + GAP);
                    @if !counts.is_empty() {
                        g {
                            title { (time(index, now)) ": " (told(counts)) }
                            @for (status, y, height) in parts(counts, most) {
                                rect class={ "status-" (class(status)) } x=(x) y=(y) width=(BAR) height=(height) {}
                            }
                        }
                    }
                    @if (HOURS - 1 - index).is_multiple_of(EVERY) {
                        text x=(x + BAR / 2) y=(HIGHEST + 16) { (time(index, now)) }
                    }
                }
            }
        }
        details {
            summary { "As a table" }
            table.hours {
                thead {
                    tr {
                        th scope="col" { "Hour (UTC)" }
                        @for status in STACK { th.number scope="col" { (words(status)) } }
                    }
                }
                tbody {
                    @for (index, counts) in hours.iter().enumerate().filter(|(_, counts)| !counts.is_empty()) {
                        tr {
                            th scope="row" { (time(index, now)) }
                            @for status in STACK { td.number { (counts.get(&status).copied().unwrap_or(0)) } }
                        }
                    }
                }
            }
        }
    }
}

/// The beginning of an hour of the chart, in UTC.
fn time(index: usize, now: Timestamp) -> String {
    let ago = i64::try_from(HOURS - 1 - index).unwrap_or(0);
    (now - SignedDuration::from_hours(ago)).strftime("%H:00").to_string()
}

fn told(counts: &Counts) -> String {
    let told: Vec<String> =
        counts.iter().map(|(status, count)| format!("{count} {}", words(status).to_lowercase())).collect();
    told.join(", ")
}

fn waiting(depths: Option<&Depths>, due: Option<&Due>, now: Timestamp, to: Links<'_>) -> Markup {
    let mut rows = Vec::new();
    match depths {
        Some(Depths { wakes, workers, dead_letters }) => {
            rows.push(("Wake-ups", depth(*wakes)));
            rows.extend(workers.map(|workers| ("For workers", depth(workers))));
            rows.extend(dead_letters.map(|count| ("Dead letters", dead(count))));
        }
        None => rows.push(("Queues", html! { span.late { "do not answer" } })),
    }
    rows.push(("Longest overdue", overdue(due, now, to)));
    facts(rows)
}

fn depth(Depth { waiting, in_flight, delayed }: Depth) -> Markup {
    html! { (waiting) " waiting, " (in_flight) " being worked on, " (delayed) " for later" }
}

fn dead(count: u64) -> Markup {
    html! {
        @if count == 0 { "none" } @else { strong.late { (count) } " to be looked at" }
    }
}

fn overdue(due: Option<&Due>, now: Timestamp, to: Links<'_>) -> Markup {
    let Some(Due { item, since }) = due else { return html! { "nothing" } };
    let late = now.duration_since(*since).as_secs() > MISSED;
    let (what, path) = match item {
        Item::Deployment(id) => (format!("deployment {}", short_id(id)), Some(format!("/deployments/{id}"))),
        Item::Operation(id, number) | Item::Lease(id, number) => {
            let what = format!("operation {number} of deployment {}", short_id(id));
            (what, Some(format!("/deployments/{id}#op-{number}")))
        }
        Item::Resource(id) => (format!("resource {}", short_id(id)), Some(format!("/resources/{id}"))),
        other => (format!("{other:?}"), None),
    };
    html! {
        span.late[late] {
            @if let Some(path) = path { a href=(to(&path)) { (what) } } @else { (what) }
            ", due " (when(*since, now))
        }
    }
}

#[cfg(test)]
mod tests {
    use conductor_domain::ids::GenericUuid;
    use conductor_domain::operation::{Lease, Operation};
    use serde_json::json;
    use uuid::Uuid;

    use super::super::deployment::tests::{deployment, operation};
    use super::super::resources::tests::{HOSTILE, assert_escaped, links, now};
    use super::*;

    fn overview() -> Overview {
        Overview { at: now(), deployments: Vec::new(), cut: false, running: Vec::new(), depths: None, oldest_due: None }
    }

    fn shown(overview: &Overview) -> String {
        view(overview, &links).into_string()
    }

    fn running(operation: Operation, silent: i64) -> Running {
        let lease: Lease = serde_json::from_value(json!({
            "deployment": operation.deployment, "operation": operation.number, "epoch": 1, "worker": "w",
            "heartbeatAt": now() - SignedDuration::from_secs(silent), "expiresAt": now()
        }))
        .expect("a lease");
        Running { operation, lease }
    }

    #[test]
    fn whatever_a_user_can_say_is_shown_as_text() {
        let hostile = Operation { resource: HOSTILE.to_owned(), ..operation(1, "Running", &[]) };
        assert_escaped(&view(&Overview { running: vec![running(hostile, 1)], ..overview() }, &links));
        let failed = Deployment { commit_id: Some(HOSTILE.to_owned()), ..deployment("Failed") };
        assert_escaped(&view(&Overview { deployments: vec![failed], ..overview() }, &links));
    }

    #[test]
    fn deployments_are_counted_by_the_hour_in_which_they_were_asked_for() {
        let at = |created_at: &str| Deployment {
            created_at: created_at.parse().expect("a time"),
            ..deployment("Succeeded")
        };
        let all = ["2026-11-22T12:00:00Z", "2026-11-22T11:59:59Z", "2026-11-22T11:00:00Z", "2026-11-21T12:30:00Z"];
        let deployments: Vec<Deployment> = all.into_iter().map(at).collect();
        let hours = hours(&deployments, now());
        let sums: Vec<usize> = hours.iter().map(|hour| hour.values().sum()).collect();
        assert_eq!((sums[0], sums[23], sums[24], sums.iter().sum::<usize>()), (1, 2, 1, 4));
        assert_eq!((time(24, now()).as_str(), time(0, now()).as_str()), ("12:00", "12:00"));
    }

    #[test]
    fn the_parts_of_a_bar_stand_on_each_other_and_none_is_too_low_to_be_seen() {
        let counts = Counts::from([(DeploymentStatus::Failed, 1), (DeploymentStatus::Succeeded, 100)]);
        let expect = [(DeploymentStatus::Succeeded, 10, 100), (DeploymentStatus::Failed, 7, LOWEST)];
        assert_eq!(parts(&counts, 110), expect);
        assert!(parts(&Counts::new(), 0).is_empty());
    }

    #[test]
    fn only_what_failed_is_among_the_failures() {
        let page = shown(&Overview { deployments: vec![deployment("Succeeded")], ..overview() });
        assert!(page.contains("No deployment has failed"), "{page}");
        let deployments = vec![deployment("TimedOut"), deployment("Cancelled"), deployment("Failed")];
        let page = shown(&Overview { deployments, ..overview() });
        assert_eq!(page.matches("orders/web</a>").count(), 2, "{page}");
    }

    #[test]
    fn a_silent_worker_stands_out() {
        let page = |silent: i64| {
            shown(&Overview { running: vec![running(operation(1, "Running", &[]), silent)], ..overview() })
        };
        assert!(!page(5).contains("number late") && page(16).contains("number late"));
    }

    #[test]
    fn queues_and_what_is_due_are_told() {
        let check = |overview: Overview, expect: &str| {
            let page = shown(&overview);
            assert!(page.contains(expect), "{expect}: {page}");
        };
        check(overview(), "do not answer");
        check(overview(), "<dt>Longest overdue</dt><dd>nothing</dd>");
        let wakes = Depth { waiting: 4, in_flight: 2, delayed: 1 };
        let depths = |dead_letters: u64| Some(Depths { wakes, workers: None, dead_letters: Some(dead_letters) });
        check(Overview { depths: depths(0), ..overview() }, "4 waiting, 2 being worked on, 1 for later");
        check(Overview { depths: depths(0), ..overview() }, "<dd>none</dd>");
        check(Overview { depths: depths(3), ..overview() }, "<strong class=\"late\">3</strong>");
        let id = DeploymentId::from_untyped_uuid(Uuid::from_u128(9));
        let due = |seconds: i64| {
            let since = now() - SignedDuration::from_secs(seconds);
            Some(Due { item: Item::Operation(id, 3), since })
        };
        check(Overview { oldest_due: due(30), ..overview() }, "operation 3 of deployment 00000009");
        check(Overview { oldest_due: due(30), ..overview() }, "<span class=\"\">");
        check(Overview { oldest_due: due(300), ..overview() }, "<span class=\"late\">");
    }
}

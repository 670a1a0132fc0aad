//! `/audit`: who did what, day by day, and the table of audit events that other pages show.
//!
//! It decides nothing.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use conductor_domain::Code;
use conductor_domain::audit::AuditEvent;
use conductor_domain::ids::DeploymentId;
use conductor_engine::AuditFilter;
use conductor_engine::port::Clock;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use super::deployments::short_id;
use super::page::{Page, Section, exact, href, more, query, render, when};
use super::resources::{Links, field, given};
use crate::app::App;
use crate::extract::{Asked, Asking, id};
use crate::problem::Refused;

/// Events on a page.
const ON_A_PAGE: u32 = 100;
/// The kinds of records that have a trail.
const NOUNS: [&str; 8] =
    ["deployment", "resource", "environment", "application", "template", "pool", "policy", "token"];

pub(super) fn routes() -> Router<App> {
    Router::new().route("/audit", get(list))
}

#[derive(Debug, Default, Deserialize)]
struct ListQuery {
    day: Option<String>,
    noun: Option<String>,
    subject: Option<String>,
    principal: Option<String>,
    action: Option<String>,
    deployment: Option<String>,
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(asked): Asked<ListQuery>,
) -> Result<Response, Refused> {
    let now = app.engine.clock.now();
    let today = now.to_zoned(TimeZone::UTC).date();
    let day = asked.day(today)?;
    let cursor = given(&asked.cursor).map(str::to_owned);
    // A filter may read a month back.
    let live = cursor.is_none() && day == today && asked.path(day) == ListQuery::default().path(day);
    let (events, next) = app.engine.audit_events(&caller, &asked.filter(day)?, cursor, ON_A_PAGE).await?;
    let older = more(&app, &asked.path(day), next.as_deref());
    let body = view(&events, &asked, day, today, &older, now, &|path| href(&app, path));
    Ok(render(Page { app: &app, title: "Audit", section: Section::Audit, live, body }))
}

impl ListQuery {
    fn day(&self, today: Date) -> Result<Date, Refused> {
        let invalid = |text: &str| Refused::new(Code::QueryInvalid, format!("{text:?} is not a day"));
        given(&self.day).map_or(Ok(today), |text| text.parse().map_err(|_| invalid(text)))
    }

    fn filter(&self, day: Date) -> Result<AuditFilter, Refused> {
        let text = |field: &Option<String>| given(field).map(str::to_owned);
        Ok(AuditFilter {
            from: Some(day),
            to: Some(day),
            noun: text(&self.noun),
            subject: text(&self.subject),
            principal: text(&self.principal),
            action: text(&self.action),
            deployment: given(&self.deployment).map(id::<DeploymentId>).transpose()?,
            request_id: None,
        })
    }

    /// The same question about a day.
    fn path(&self, day: Date) -> String {
        let day = day.to_string();
        let parameters = [
            ("day", Some(day.as_str())),
            ("noun", given(&self.noun)),
            ("subject", given(&self.subject)),
            ("principal", given(&self.principal)),
            ("action", given(&self.action)),
            ("deployment", given(&self.deployment)),
        ];
        query("/audit", &parameters)
    }
}

fn view(
    events: &[AuditEvent],
    asked: &ListQuery,
    day: Date,
    today: Date,
    older: &Markup,
    now: Timestamp,
    to: Links<'_>,
) -> Markup {
    html! {
        h1 { "Audit" }
        (filters(asked, day, to))
        nav.days aria-label="Days" {
            @if let Ok(before) = day.yesterday() {
                a href=(to(&asked.path(before))) { "The day before" }
            }
            @if let Some(after) = day.tomorrow().ok().filter(|after| *after <= today) {
                " " a href=(to(&asked.path(after))) { "The day after" }
            }
        }
        div #live {
            @if events.is_empty() {
                p.quiet { "Nothing is shown of " (day) "." }
            } @else {
                (table(&format!("Events of {day} (UTC), newest first"), events, now, to))
            }
            (older)
        }
    }
}

fn filters(asked: &ListQuery, day: Date, to: Links<'_>) -> Markup {
    let chosen = given(&asked.noun);
    html! {
        form.filters method="get" action=(to("/audit")) {
            (field("Day (UTC)", "day", "date", Some(&day.to_string())))
            label {
                span { "Record" }
                select name="noun" {
                    option value="" { "Any" }
                    @for noun in NOUNS {
                        option value=(noun) selected[chosen == Some(noun)] { (noun) }
                    }
                }
            }
            (field("Its id or name", "subject", "text", given(&asked.subject)))
            (field("Principal", "principal", "text", given(&asked.principal)))
            (field("Action", "action", "text", given(&asked.action)))
            (field("Deployment", "deployment", "text", given(&asked.deployment)))
            button type="submit" { "Filter" }
            a href=(to("/audit")) { "Show today" }
        }
    }
}

/// Audit events as a table.
pub(super) fn table(caption: &str, events: &[AuditEvent], now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        div.scroll {
            table {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { "When" }
                        th scope="col" { "What" }
                        th scope="col" { "Record" }
                        th scope="col" { "Who" }
                        th scope="col" { "For" }
                    }
                }
                tbody {
                    @for event in events { (row(event, now, to)) }
                }
            }
        }
    }
}

fn row(event: &AuditEvent, now: Timestamp, to: Links<'_>) -> Markup {
    let AuditEvent { at, principal, request_id, action, noun, subject, deployment, detail, id: _ } = event;
    html! {
        tr {
            td { (when(*at, now)) small { (exact(*at)) } }
            th scope="row" {
                (action)
                @if let Some(detail) = detail { small { (detail) } }
            }
            td {
                (noun) " "
                @if let Some(path) = record(noun, subject) { a href=(to(&path)) { (subject) } } @else { (subject) }
            }
            td { (principal) small { "request " (request_id) } }
            td {
                @if let Some(deployment) = deployment {
                    a href=(to(&format!("/deployments/{deployment}"))) { "deployment " (short_id(deployment)) }
                }
            }
        }
    }
}

/// The page of a record. An id or a name is a segment of a path as it is.
fn record(noun: &str, subject: &str) -> Option<String> {
    match noun {
        "deployment" => Some(format!("/deployments/{subject}")),
        "resource" => Some(format!("/resources/{subject}")),
        "environment" => Some(format!("/environments/{subject}")),
        "application" => Some(format!("/applications/{subject}")),
        "template" => Some(format!("/templates/{subject}")),
        "pool" => {
            let (environment, pool) = subject.split_once('/')?;
            Some(format!("/environments/{environment}/pools/{pool}"))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use conductor_domain::ids::{AuditId, GenericUuid};
    use uuid::Uuid;

    use super::super::resources::tests::{HOSTILE, assert_escaped, links, now};
    use super::*;

    pub fn event(noun: &str, subject: &str) -> AuditEvent {
        AuditEvent {
            id: AuditId::from_untyped_uuid(Uuid::nil()),
            at: now(),
            principal: "local".to_owned(),
            request_id: "r1".to_owned(),
            action: "resource.created".to_owned(),
            noun: noun.to_owned(),
            subject: subject.to_owned(),
            deployment: Some(DeploymentId::from_untyped_uuid(Uuid::from_u128(7))),
            detail: None,
        }
    }

    #[test]
    fn an_event_leads_to_its_record() {
        let check = |noun: &str, subject: &str, expect: Option<&str>| {
            assert_eq!(record(noun, subject).as_deref(), expect, "{noun} {subject}");
        };
        check("deployment", "d", Some("/deployments/d"));
        check("resource", "r", Some("/resources/r"));
        check("environment", "dev", Some("/environments/dev"));
        check("application", "shop", Some("/applications/shop"));
        check("template", "postgres.large", Some("/templates/postgres.large"));
        check("pool", "dev/spare", Some("/environments/dev/pools/spare"));
        check("pool", "spare", None);
        check("secret", "x", None);
        let shown = table("", &[event("pool", "dev/spare")], now(), &links).into_string();
        assert!(shown.contains("href=\"/live/environments/dev/pools/spare\""), "{shown}");
        assert!(shown.contains("href=\"/live/deployments/00000000-0000-0000-0000-000000000007\""), "{shown}");
    }

    #[test]
    fn every_text_of_an_event_is_shown_as_text() {
        let hostile = || HOSTILE.to_owned();
        let plain = || event("resource", "x");
        let check = |event: AuditEvent| assert_escaped(&table("", &[event], now(), &links));
        check(AuditEvent { principal: hostile(), ..plain() });
        check(AuditEvent { request_id: hostile(), ..plain() });
        check(AuditEvent { action: hostile(), ..plain() });
        check(AuditEvent { noun: hostile(), ..plain() });
        check(AuditEvent { subject: hostile(), ..plain() });
        check(AuditEvent { detail: Some(hostile()), ..plain() });
    }

    #[test]
    fn a_filter_is_kept_from_day_to_day_and_shown_as_text() {
        let today: Date = "2026-11-22".parse().expect("a day");
        let asked = ListQuery { principal: Some(HOSTILE.to_owned()), ..ListQuery::default() };
        let shown = view(&[], &asked, today, today, &html! {}, now(), &links);
        assert_escaped(&shown);
        let shown = shown.into_string();
        assert!(shown.contains("/live/audit?day=2026-11-21&amp;principal=%22%27%3E%3Cscript"), "{shown}");
        assert!(!shown.contains("The day after"), "{shown}");
        let shown = view(&[], &asked, today.yesterday().expect("a day"), today, &html! {}, now(), &links);
        assert!(shown.into_string().contains("The day after"));
    }

    #[test]
    fn a_day_is_today_unless_one_is_given() {
        let today: Date = "2026-11-22".parse().expect("a day");
        let check = |day: Option<&str>, expect: Option<&str>| {
            let asked = ListQuery { day: day.map(str::to_owned), ..ListQuery::default() };
            assert_eq!(asked.day(today).ok().map(|day| day.to_string()).as_deref(), expect, "{day:?}");
        };
        check(None, Some("2026-11-22"));
        check(Some(""), Some("2026-11-22"));
        check(Some("2026-10-01"), Some("2026-10-01"));
        check(Some("yesterday"), None);
    }

    #[test]
    fn two_hundred_events_are_a_small_page() {
        let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
        let one = AuditEvent { request_id: format!("{uuid}/{uuid}#1"), ..event("resource", uuid) };
        let page = table("", &vec![one; 200], now(), &links).into_string();
        assert!(page.len() < 300_000, "{}", page.len());
    }
}

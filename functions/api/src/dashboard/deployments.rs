//! `/deployments`: the list of deployments, and what other pages say of one: its name, its row.
//!
//! It decides nothing.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use conductor_domain::Code;
use conductor_domain::deployment::{Deployment, DeploymentKind, DeploymentStatus};
use conductor_domain::lane::LaneOf;
use conductor_domain::name::{ApplicationName, EnvironmentName, NameError};
use conductor_engine::DeploymentFilter;
use conductor_engine::port::Clock;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::deployment::{Progress, running_time};
use super::page::{Page, Section, badge, href, more, query, render, when, words};
use super::resources::{Links, field, given};
use crate::app::App;
use crate::extract::{Asked, Asking};
use crate::problem::Refused;

/// Deployments on a page.
const ON_A_PAGE: u32 = 50;
/// Letters of a commit's id in the list.
const COMMIT: usize = 12;
/// Letters of an id that tell deployments apart: the last ones, as the first ones are the time.
const SHORT: usize = 8;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/deployments", get(list))
}

#[derive(Debug, Default, Deserialize)]
struct ListQuery {
    environment: Option<String>,
    application: Option<String>,
    status: Option<String>,
    text: Option<String>,
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(asked): Asked<ListQuery>,
) -> Result<Response, Refused> {
    let cursor = given(&asked.cursor).map(str::to_owned);
    let live = cursor.is_none();
    let list = app.engine.deployments(&caller, &asked.filter()?, cursor, ON_A_PAGE).await?;
    let deployments: Vec<Deployment> = list.items.into_iter().map(|read| read.value).collect();
    let older = more(&app, &asked.path(), list.next.as_deref());
    let body = view(&deployments, &asked, &older, app.engine.clock.now(), &|path| href(&app, path));
    Ok(render(Page { app: &app, title: "Deployments", section: Section::Deployments, live, body }))
}

impl ListQuery {
    fn filter(&self) -> Result<DeploymentFilter, Refused> {
        let invalid = |error: NameError| Refused::new(Code::QueryInvalid, error.to_string());
        Ok(DeploymentFilter {
            environment: given(&self.environment).map(EnvironmentName::new).transpose().map_err(invalid)?,
            application: given(&self.application).map(ApplicationName::new).transpose().map_err(invalid)?,
            status: given(&self.status).map(status).transpose()?,
            text: given(&self.text).map(str::to_owned),
        })
    }

    fn path(&self) -> String {
        let parameters = [
            ("environment", given(&self.environment)),
            ("application", given(&self.application)),
            ("status", given(&self.status)),
            ("text", given(&self.text)),
        ];
        query("/deployments", &parameters)
    }
}

fn status(text: &str) -> Result<DeploymentStatus, Refused> {
    let found = DeploymentStatus::ALL.into_iter().find(|status| format!("{status:?}") == text);
    found.ok_or_else(|| Refused::new(Code::QueryInvalid, format!("{text:?} is no status of a deployment")))
}

fn view(deployments: &[Deployment], asked: &ListQuery, older: &Markup, now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        h1 { "Deployments" }
        (filters(asked, to))
        div #live {
            @if deployments.is_empty() {
                p.quiet { "No deployment is shown: none of those that were looked at is like this." }
            } @else {
                (table("Deployments, newest first", deployments, now, to))
            }
            (older)
        }
    }
}

fn filters(asked: &ListQuery, to: Links<'_>) -> Markup {
    let chosen = given(&asked.status);
    html! {
        form.filters method="get" action=(to("/deployments")) {
            (field("Environment", "environment", "text", given(&asked.environment)))
            (field("Application", "application", "text", given(&asked.application)))
            label {
                span { "Status" }
                select name="status" {
                    option value="" { "Any" }
                    @for status in DeploymentStatus::ALL {
                        @let name = format!("{status:?}");
                        option value=(name) selected[chosen == Some(name.as_str())] { (words(status)) }
                    }
                }
            }
            (field("Id, name or commit", "text", "search", given(&asked.text)))
            button type="submit" { "Filter" }
            a href=(to("/deployments")) { "Show all" }
        }
    }
}

/// Deployments as a table.
pub(super) fn table(caption: &str, deployments: &[Deployment], now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        table.deployments {
            caption { (caption) }
            thead {
                tr {
                    th scope="col" { "Deployment" }
                    th scope="col" { "Status" }
                    th scope="col" { "Environment" }
                    th scope="col" { "Operations" }
                    th.number scope="col" { "Time" }
                    th scope="col" { "Asked for" }
                    th scope="col" { "Commit" }
                }
            }
            tbody {
                @for deployment in deployments { (row(deployment, now, to)) }
            }
        }
    }
}

fn row(deployment: &Deployment, now: Timestamp, to: Links<'_>) -> Markup {
    let Deployment { id, kind, status, lane, error, .. } = deployment;
    let progress = Progress::of_counts(&deployment.operation_counts);
    let environment = &lane.environment;
    html! {
        tr {
            th scope="row" {
                a href=(to(&format!("/deployments/{id}"))) { (name(deployment)) }
                small { (words(kind)) " · " (short_id(*id)) }
            }
            td {
                (badge(status))
                @if let Some(error) = error { small { (error.code) } }
            }
            td { a href=(to(&format!("/environments/{environment}"))) { (environment) } }
            td { @if progress.all > 0 { (progress) (progress.bar()) } }
            td.number { (running_time(deployment, now)) }
            td { (when(deployment.created_at, now)) small { (deployment.requested_by) } }
            td { @if let Some(commit) = &deployment.commit_id { code title=(commit) { (beginning(commit, COMMIT)) } } }
        }
    }
}

/// What a deployment is about.
pub(super) fn name(deployment: &Deployment) -> String {
    match (&deployment.lane.of, &deployment.workload) {
        (LaneOf::Application(application), Some(workload)) if application.as_str() != workload.as_str() => {
            format!("{application}/{workload}")
        }
        (LaneOf::Application(application), _) => application.to_string(),
        (LaneOf::Pool(pool), _) => format!("pool {pool}"),
        (LaneOf::Resource(id), _) => format!("resource {}", short_id(*id)),
    }
}

/// The part of an id by which people can tell it from others.
pub(super) fn short_id(id: impl std::fmt::Display) -> String {
    let id = id.to_string();
    id.get(id.len().saturating_sub(SHORT)..).unwrap_or(&id).to_owned()
}

/// A text, or so many letters of it.
pub(super) fn beginning(text: &str, most: usize) -> String {
    let mut letters = text.chars();
    let beginning: String = letters.by_ref().take(most).collect();
    if letters.next().is_some() { format!("{beginning}…") } else { beginning }
}

/// Whether a deployment may be tried again, as far as it says itself.
pub(super) fn retryable(deployment: &Deployment) -> bool {
    let again = match deployment.status {
        DeploymentStatus::Failed | DeploymentStatus::Cancelled | DeploymentStatus::TimedOut => true,
        DeploymentStatus::Pending | DeploymentStatus::InProgress | DeploymentStatus::Succeeded => false,
    };
    again && deployment.kind != DeploymentKind::Pool
}

#[cfg(test)]
mod tests {
    use conductor_domain::operation::OperationStatus;

    use super::super::deployment::tests::deployment;
    use super::super::resources::tests::{HOSTILE, assert_escaped, links, now};
    use super::*;

    #[test]
    fn what_a_user_can_say_is_shown_as_text() {
        let shown = |deployment: Deployment| view(&[deployment], &ListQuery::default(), &html! {}, now(), &links);
        assert_escaped(&shown(Deployment { commit_id: Some(HOSTILE.to_owned()), ..deployment("Failed") }));
        assert_escaped(&shown(Deployment { requested_by: HOSTILE.to_owned(), ..deployment("Failed") }));
        let asked = ListQuery { text: Some(HOSTILE.to_owned()), ..ListQuery::default() };
        assert_escaped(&view(&[], &asked, &html! {}, now(), &links));
    }

    #[test]
    fn a_field_that_is_left_empty_filters_nothing() {
        let asked = ListQuery { status: Some(String::new()), text: Some(" ".to_owned()), ..ListQuery::default() };
        let filter = asked.filter().expect("a filter");
        assert!(filter.status.is_none() && filter.text.is_none());
        assert_eq!(asked.path(), "/deployments");
        let asked = ListQuery { status: Some("TimedOut".to_owned()), ..ListQuery::default() };
        assert_eq!(asked.filter().expect("a filter").status, Some(DeploymentStatus::TimedOut));
        assert_eq!(asked.path(), "/deployments?status=TimedOut");
        let asked = ListQuery { status: Some("timedOut".to_owned()), ..ListQuery::default() };
        assert_eq!(asked.filter().expect_err("no status").0.code, Code::QueryInvalid);
    }

    #[test]
    fn a_row_says_how_far_a_deployment_is() {
        let mut one = deployment("InProgress");
        one.operation_counts = [(OperationStatus::Succeeded, 2), (OperationStatus::Waiting, 3)].into();
        let page = table("", &[one], now(), &links).into_string();
        assert!(page.contains("2 of 5<progress max=\"5\" value=\"2\""), "{page}");
        assert!(page.contains(">orders/web</a><small>Apply · 00000001</small>"), "{page}");
    }

    #[test]
    fn of_a_long_commit_the_beginning_is_shown() {
        let check = |commit: &str, expect: &str| assert_eq!(beginning(commit, COMMIT), expect);
        check("v1", "v1");
        check("123456789012", "123456789012");
        check("1234567890123", "123456789012…");
    }

    #[test]
    fn what_has_ended_without_success_may_be_tried_again_unless_it_is_a_pools() {
        let check = |status: &str, kind: DeploymentKind, expect: bool| {
            assert_eq!(retryable(&Deployment { kind, ..deployment(status) }), expect, "{status} {kind:?}");
        };
        check("Failed", DeploymentKind::Apply, true);
        check("Cancelled", DeploymentKind::Teardown, true);
        check("TimedOut", DeploymentKind::Release, true);
        check("Failed", DeploymentKind::Pool, false);
        check("Succeeded", DeploymentKind::Apply, false);
        check("InProgress", DeploymentKind::Apply, false);
    }
}

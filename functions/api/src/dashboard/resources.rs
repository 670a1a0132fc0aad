//! `/resources`: the list of resources; and what the pages of records have in common.
//!
//! It decides nothing.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use conductor_domain::Code;
use conductor_domain::name::{ApplicationName, EnvironmentName, NameError};
use conductor_domain::resource::{Resource, ResourceStatus};
use conductor_engine::ResourceFilter;
use conductor_engine::port::Clock;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{Page, Section, badge, href, more, query, render, when, words};
use crate::app::App;
use crate::extract::{Asked, Asking};
use crate::problem::Refused;

/// Resources on a page of the list.
const ON_A_PAGE: u32 = 100;

/// How links are made: from a path of the dashboard.
pub(super) type Links<'a> = &'a dyn Fn(&str) -> String;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/resources", get(list))
}

#[derive(Debug, Default, Deserialize)]
struct ListQuery {
    environment: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
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
    let list = app.engine.resources(&caller, &asked.filter()?, cursor, ON_A_PAGE).await?;
    let resources: Vec<Resource> = list.items.into_iter().map(|read| read.value).collect();
    let older = more(&app, &asked.path(), list.next.as_deref());
    let body = view(&resources, &asked, &older, app.engine.clock.now(), &|path| href(&app, path));
    Ok(render(Page { app: &app, title: "Resources", section: Section::Resources, live, body }))
}

/// What a form's field says; an empty one says nothing.
pub(super) fn given(field: &Option<String>) -> Option<&str> {
    field.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

impl ListQuery {
    fn filter(&self) -> Result<ResourceFilter, Refused> {
        let invalid = |error: NameError| Refused::new(Code::QueryInvalid, error.to_string());
        Ok(ResourceFilter {
            environment: given(&self.environment).map(EnvironmentName::new).transpose().map_err(invalid)?,
            kind: given(&self.kind).map(str::to_owned),
            application: given(&self.application).map(ApplicationName::new).transpose().map_err(invalid)?,
            status: given(&self.status).map(status).transpose()?,
            text: given(&self.text).map(str::to_owned),
        })
    }

    fn path(&self) -> String {
        let parameters = [
            ("environment", given(&self.environment)),
            ("type", given(&self.kind)),
            ("application", given(&self.application)),
            ("status", given(&self.status)),
            ("text", given(&self.text)),
        ];
        query("/resources", &parameters)
    }
}

fn status(text: &str) -> Result<ResourceStatus, Refused> {
    let found = ResourceStatus::ALL.into_iter().find(|status| format!("{status:?}") == text);
    found.ok_or_else(|| Refused::new(Code::QueryInvalid, format!("{text:?} is no status of a resource")))
}

fn view(resources: &[Resource], asked: &ListQuery, older: &Markup, now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        h1 { "Resources" }
        (filters(asked, to))
        div #live {
            @if resources.is_empty() {
                p.quiet { "No resource is shown: none of those that were looked at is like this." }
            } @else {
                (table("Resources, newest first", resources, now, to))
            }
            (older)
        }
    }
}

fn filters(asked: &ListQuery, to: Links<'_>) -> Markup {
    let chosen = given(&asked.status);
    html! {
        form.filters method="get" action=(to("/resources")) {
            (field("Environment", "environment", "text", given(&asked.environment)))
            (field("Type", "type", "text", given(&asked.kind)))
            (field("Application", "application", "text", given(&asked.application)))
            label {
                span { "Status" }
                select name="status" {
                    option value="" { "Any" }
                    @for status in ResourceStatus::ALL {
                        @let name = format!("{status:?}");
                        option value=(name) selected[chosen == Some(name.as_str())] { (words(status)) }
                    }
                }
            }
            (field("Text", "text", "search", given(&asked.text)))
            button type="submit" { "Filter" }
            a href=(to("/resources")) { "Show all" }
        }
    }
}

/// A field of a form with filters.
pub(super) fn field(label: &str, name: &str, kind: &str, value: Option<&str>) -> Markup {
    html! {
        label {
            span { (label) }
            input type=(kind) name=(name) value=(value.unwrap_or_default());
        }
    }
}

/// Resources as a table.
fn table(caption: &str, resources: &[Resource], now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        div.scroll {
            table {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { "Resource" }
                        th scope="col" { "Status" }
                        th scope="col" { "Template" }
                        th scope="col" { "Environment" }
                        th scope="col" { "Mode" }
                        th.number scope="col" { "Consumers" }
                        th scope="col" { "Changed" }
                    }
                }
                tbody {
                    @for resource in resources { (row(resource, now, to)) }
                }
            }
        }
    }
}

fn row(resource: &Resource, now: Timestamp, to: Links<'_>) -> Markup {
    let Resource { id, name, environment, .. } = resource;
    html! {
        tr {
            th scope="row" {
                a href=(to(&format!("/resources/{id}"))) { (name) }
                @for mark in marks(resource) { " " span.quiet { (mark) } }
            }
            td { (badge(resource.status)) }
            td { (template(resource, to)) }
            td { a href=(to(&format!("/environments/{environment}"))) { (environment) } }
            td { (words(resource.mode)) }
            td.number { (resource.consumers) }
            td { (when(resource.updated_at, now)) }
        }
    }
}

/// What a glance at a list should tell besides the status.
fn marks(resource: &Resource) -> impl Iterator<Item = &'static str> {
    let marks = [
        (resource.unstored.is_some(), "has objects in no state"),
        (resource.errored_state.is_some(), "has a state to be stored"),
        (resource.left_behind.is_some(), "left behind"),
        (resource.reservation.is_some(), "being worked on"),
        (resource.external.is_some(), "not made here"),
        (resource.published, "published"),
    ];
    marks.into_iter().filter(|(holds, _)| *holds).map(|(_, mark)| mark)
}

/// The template version of a resource; what Conductor did not make has none, and perhaps no template.
pub(super) fn template(resource: &Resource, to: Links<'_>) -> Markup {
    let name = &resource.template;
    html! {
        @if let Some(version) = &resource.version {
            @let version = version.to_string();
            a href=(to(&query(&format!("/templates/{name}"), &[("version", Some(version.as_str()))]))) {
                (name) " " (version)
            }
        } @else {
            (name)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use conductor_domain::ids::{GenericUuid, ResourceId};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    /// What would be an element, and would end an attribute, if it were not escaped.
    pub const HOSTILE: &str = "\"'><script>alert(1)</script>&amp;";

    /// The time at which the tests look.
    pub const NOW: &str = "2026-11-22T12:00:00Z";

    pub fn now() -> Timestamp {
        NOW.parse().expect("a time")
    }

    pub fn links(path: &str) -> String {
        format!("/live{path}")
    }

    pub fn id(number: u128) -> ResourceId {
        ResourceId::from_untyped_uuid(Uuid::from_u128(number))
    }

    /// The resource of a number.
    pub fn resource(number: u128, name: &str) -> Resource {
        let value = json!({
            "id": id(number), "name": name, "template": "postgres.large", "version": "1.2.3", "environment": "dev",
            "mode": "dedicated", "identity": "x", "status": "Active", "enteredAt": NOW, "consumers": 2, "waiters": 0,
            "stateLocation": {"backend": "s3", "location": "s3://states/conductor/dev/x.tfstate"},
            "createdAt": NOW, "updatedAt": NOW
        });
        serde_json::from_value(value).expect("a resource")
    }

    /// That a page shows a hostile text, and only as text.
    pub fn assert_escaped(page: &Markup) {
        let page = page.clone().into_string();
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"), "{page}");
        assert!(!page.contains("<script") && !page.contains("\"'>"), "{page}");
    }

    #[test]
    fn names_and_filters_are_shown_as_text() {
        let asked = ListQuery { text: Some(HOSTILE.to_owned()), ..ListQuery::default() };
        assert_escaped(&view(&[], &asked, &html! {}, now(), &links));
        let resources = [resource(1, HOSTILE)];
        assert_escaped(&view(&resources, &ListQuery::default(), &html! {}, now(), &links));
    }

    #[test]
    fn a_field_that_is_left_empty_filters_nothing() {
        let asked = ListQuery { status: Some(String::new()), kind: Some(" ".to_owned()), ..ListQuery::default() };
        let filter = asked.filter().expect("a filter");
        assert!(filter.status.is_none() && filter.kind.is_none() && filter.text.is_none());
        assert_eq!(asked.path(), "/resources");
        let asked = ListQuery { status: Some("Failed".to_owned()), text: Some("a b".to_owned()), ..asked };
        assert_eq!(asked.filter().expect("a filter").status, Some(ResourceStatus::Failed));
        assert_eq!(asked.path(), "/resources?status=Failed&text=a%20b");
        let asked = ListQuery { status: Some("failed".to_owned()), ..asked };
        assert_eq!(asked.filter().expect_err("no status").0.code, Code::QueryInvalid);
    }

    #[test]
    fn a_resource_that_needs_a_look_says_so_in_the_list() {
        let mut one = resource(1, "orders");
        let shown = |one: &Resource| table("", std::slice::from_ref(one), now(), &links).into_string();
        assert!(!shown(&one).contains("has a state to be stored"));
        one.errored_state = Some("errored/x".to_owned());
        assert!(shown(&one).contains("has a state to be stored"));
    }

    #[test]
    fn two_hundred_resources_are_a_small_page() {
        let resources: Vec<Resource> = (0..200).map(|number| resource(number, &"n".repeat(63))).collect();
        let page = view(&resources, &ListQuery::default(), &html! {}, now(), &links).into_string();
        assert!(page.len() < 300_000, "{}", page.len());
        assert_eq!(page.matches("<tr>").count(), 201);
    }
}

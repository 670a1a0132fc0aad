//! `/environments`: the list of environments.
//!
//! It decides nothing.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use conductor_domain::environment::Environment;
use conductor_engine::port::Clock;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{Page, Section, href, more, render, when};
use super::resources::{Links, given};
use crate::app::App;
use crate::extract::{Asked, Asking};
use crate::problem::Refused;

/// Environments on a page.
const ON_A_PAGE: u32 = 100;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/environments", get(list))
}

/// What a list without filters takes.
#[derive(Debug, Deserialize)]
pub(super) struct CursorQuery {
    cursor: Option<String>,
}

impl CursorQuery {
    /// Where the list goes on.
    pub(super) fn cursor(&self) -> Option<String> {
        given(&self.cursor).map(str::to_owned)
    }
}

async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(asked): Asked<CursorQuery>,
) -> Result<Response, Refused> {
    let list = app.engine.environments(&caller, asked.cursor(), ON_A_PAGE).await?;
    let environments: Vec<Environment> = list.items.into_iter().map(|read| read.value).collect();
    let older = more(&app, "/environments", list.next.as_deref());
    let body = view(&environments, &older, app.engine.clock.now(), &|path| href(&app, path));
    Ok(render(Page { app: &app, title: "Environments", section: Section::Environments, live: true, body }))
}

fn view(environments: &[Environment], older: &Markup, now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        h1 { "Environments" }
        p { a href=(to("/applications")) { "Applications" } ", who use what is in them" }
        div #live {
            @if environments.is_empty() {
                p.quiet { "There is no environment yet." }
            } @else {
                (table(environments, now, to))
            }
            (older)
        }
    }
}

fn table(environments: &[Environment], now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "Environments, newest first" }
                thead {
                    tr {
                        th scope="col" { "Environment" }
                        th scope="col" { "Type" }
                        th scope="col" { "Region" }
                        th scope="col" { "Protected" }
                        th scope="col" { "Ends" }
                        th scope="col" { "Changed" }
                    }
                }
                tbody {
                    @for environment in environments { (row(environment, now, to)) }
                }
            }
        }
    }
}

fn row(environment: &Environment, now: Timestamp, to: Links<'_>) -> Markup {
    let Environment { name, spec, updated_at, .. } = environment;
    html! {
        tr {
            th scope="row" { a href=(to(&format!("/environments/{name}"))) { (name) } }
            td { (spec.kind.as_deref().unwrap_or_default()) }
            td { (spec.region.as_deref().unwrap_or("the stack's own")) }
            td { @if spec.protected { "protected" } @else { "no" } }
            td { @if let Some(at) = spec.expires_at { (when(at, now)) } }
            td { (when(*updated_at, now)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use conductor_domain::environment::EnvironmentSpec;

    use super::super::resources::tests::{HOSTILE, assert_escaped, links, now};
    use super::*;

    #[test]
    fn what_is_said_of_an_environment_is_shown_as_text() {
        let check = |spec: EnvironmentSpec| {
            let name = "dev".parse().expect("a name");
            let environment = Environment { name, spec, created_at: now(), updated_at: now() };
            assert_escaped(&view(&[environment], &html! {}, now(), &links));
        };
        check(EnvironmentSpec { kind: Some(HOSTILE.to_owned()), ..EnvironmentSpec::default() });
        check(EnvironmentSpec { region: Some(HOSTILE.to_owned()), ..EnvironmentSpec::default() });
    }
}

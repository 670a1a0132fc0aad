//! `/applications` and `/applications/{application}`: who uses resources.
//!
//! It decides nothing.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use conductor_domain::application::Application;
use conductor_domain::name::ApplicationName;
use conductor_domain::score::Port;
use conductor_engine::port::Clock;
use jiff::Timestamp;
use maud::{Markup, html};

use super::environment::links;
use super::environments::CursorQuery;
use super::page::{Page, Section, href, more, query, render, when};
use super::resources::Links;
use crate::app::App;
use crate::extract::{Asked, Asking, Named};
use crate::problem::Refused;

/// Applications on a page.
const ON_A_PAGE: u32 = 100;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/applications", get(list)).route("/applications/{application}", get(one))
}

async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(asked): Asked<CursorQuery>,
) -> Result<Response, Refused> {
    let list = app.engine.applications(&caller, asked.cursor(), ON_A_PAGE).await?;
    let applications: Vec<Application> = list.items.into_iter().map(|read| read.value).collect();
    let older = more(&app, "/applications", list.next.as_deref());
    let body = all(&applications, &older, app.engine.clock.now(), &|path| href(&app, path));
    Ok(render(Page { app: &app, title: "Applications", section: Section::Environments, live: true, body }))
}

async fn one(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<ApplicationName>,
) -> Result<Response, Refused> {
    let application = app.engine.application(&caller, &name).await?.value;
    let body = view(&application, app.engine.clock.now(), &|path| href(&app, path));
    let title = format!("Application {name}");
    Ok(render(Page { app: &app, title: &title, section: Section::Environments, live: true, body }))
}

fn all(applications: &[Application], older: &Markup, now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        h1 { "Applications" }
        div #live {
            @if applications.is_empty() {
                p.quiet { "There is no application yet." }
            } @else {
                div.scroll {
                    table {
                        caption { "Applications, newest first" }
                        thead {
                            tr {
                                th scope="col" { "Application" }
                                th.number scope="col" { "Workloads" }
                                th.number scope="col" { "Environments" }
                                th scope="col" { "Created" }
                            }
                        }
                        tbody {
                            @for application in applications {
                                tr {
                                    th scope="row" {
                                        @let path = format!("/applications/{}", application.name);
                                        a href=(to(&path)) { (application.name) }
                                    }
                                    td.number { (application.workloads.len()) }
                                    td.number { (application.environments.len()) }
                                    td { (when(application.created_at, now)) }
                                }
                            }
                        }
                    }
                }
            }
            (older)
        }
    }
}

fn view(application: &Application, now: Timestamp, to: Links<'_>) -> Markup {
    let Application { name, created_at, environments, workloads } = application;
    let deployments = to(&query("/deployments", &[("application", Some(name.as_str()))]));
    let audit = to(&query("/audit", &[("noun", Some("application")), ("subject", Some(name.as_str()))]));
    html! {
        h1 { "Application " (name) }
        p {
            "Created " (when(*created_at, now)) ". "
            a href=(deployments) { "Deployments" } ", "
            a href=(audit) { "audit" }
        }
        div #live {
            section {
                h2 { "Environments that it was deployed to" }
                @if environments.is_empty() {
                    p.quiet { "None yet." }
                } @else {
                    div.scroll {
                        table {
                            thead { tr { th scope="col" { "Environment" } th scope="col" { "Actions" } } }
                            tbody {
                                @for environment in environments {
                                    tr {
                                        th scope="row" {
                                            a href=(to(&format!("/environments/{environment}"))) { (environment) }
                                        }
                                        td { (links(environment, name, to)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            section {
                h2 { "Workloads" }
                @if workloads.is_empty() {
                    p.quiet { "None yet." }
                } @else {
                    div.scroll {
                        table {
                            thead { tr { th scope="col" { "Workload" } th scope="col" { "Ports" } } }
                            tbody {
                                @for (workload, ports) in workloads {
                                    tr {
                                        th scope="row" { (workload) }
                                        td {
                                            @for (name, port) in ports {
                                                div { (name) ": " (published(port)) }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn published(port: &Port) -> String {
    let protocol = format!("{:?}", port.protocol).to_uppercase();
    format!("{}/{protocol} to {}", port.port, port.target_port)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::resources::tests::{HOSTILE, NOW, assert_escaped, links, now};
    use super::*;

    #[test]
    fn an_application_shows_where_it_is_and_what_it_publishes_as_text() {
        let ports = BTreeMap::from([(HOSTILE, json!({"port": 80, "protocol": "TCP", "targetPort": 8080}))]);
        let application: Application = serde_json::from_value(json!({
            "name": "shop", "createdAt": NOW, "environments": ["dev", "prod"], "workloads": {"web": ports}
        }))
        .expect("an application");
        let shown = view(&application, now(), &links);
        assert_escaped(&shown);
        let shown = shown.into_string();
        assert!(shown.contains("80/TCP to 8080"), "{shown}");
        for environment in ["dev", "prod"] {
            let teardown = format!("href=\"/live/applications/shop/environments/{environment}/teardown\"");
            assert!(shown.contains(&teardown), "{shown}");
        }
        let listed = all(&[application], &html! {}, now(), &links).into_string();
        assert!(listed.contains("/live/applications/shop\""), "{listed}");
    }
}

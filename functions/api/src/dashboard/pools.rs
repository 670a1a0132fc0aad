//! `/environments/{environment}/pools/{pool}`: a pool, and its members.
//!
//! It decides nothing. A sensitive parameter is named and not shown.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use conductor_domain::name::{EnvironmentName, PoolName};
use conductor_domain::pool::{Member, PoolKey, PoolSharing};
use conductor_domain::resource::Resource;
use conductor_engine::PoolView;
use conductor_engine::port::Clock;
use jiff::Timestamp;
use maud::{Markup, html};

use super::page::{Page, Section, badge, facts, href, query, render, when};
use super::resource::values;
use super::resources::{Links, template};
use crate::app::App;
use crate::extract::{Asking, Named};
use crate::problem::Refused;

/// Members on the page; there may be thousands that are taken.
const MEMBERS: usize = 200;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/environments/{environment}/pools/{pool}", get(one))
}

async fn one(
    State(app): State<App>,
    Asking(caller): Asking,
    Named((environment, name)): Named<(EnvironmentName, PoolName)>,
) -> Result<Response, Refused> {
    let key = PoolKey { environment, name };
    let (pool, members) = tokio::try_join!(app.engine.pool(&caller, &key), app.engine.pool_members(&caller, &key))?;
    let body = view(&pool, &members, app.engine.clock.now(), &|path| href(&app, path));
    let title = format!("Pool {}", key.name);
    Ok(render(Page { app: &app, title: &title, section: Section::Environments, live: true, body }))
}

fn view(view: &PoolView, members: &[(Member, Resource)], now: Timestamp, to: Links<'_>) -> Markup {
    let pool = &view.pool.value;
    let PoolKey { environment, name } = &pool.key;
    let subject = format!("{environment}/{name}");
    html! {
        h1 { "Pool " (name) }
        p {
            "in " a href=(to(&format!("/environments/{environment}"))) { (environment) } ", "
            a href=(to(&query("/audit", &[("noun", Some("pool")), ("subject", Some(subject.as_str()))]))) { "audit" }
        }
        div #live {
            @if pool.closing {
                p.notice { "It is being deleted: it goes with its last free member. What somebody has stays." }
            }
            section { h2 { "Members" } (counts(view)) (table(members, now, to)) }
            section { h2 { "What it makes" } (settings(view, now, to)) }
            section { h2 { "Parameters" } (values(pool.parameters.iter(), &pool.sensitive)) }
        }
    }
}

fn counts(view: &PoolView) -> Markup {
    let PoolView { pool, free, claimed, provisioning, failed, on_demand } = view;
    let desired = if pool.closing { 0 } else { pool.size };
    facts(vec![
        ("Free, as it should be", html! { (desired) }),
        ("Free", html! { (free) }),
        ("Taken", html! { (claimed) }),
        ("Being made", html! { (provisioning) }),
        ("Failed, to be tried again", html! { (failed) }),
        ("Made because none was free", html! { (on_demand) }),
    ])
}

fn settings(view: &PoolView, now: Timestamp, to: Links<'_>) -> Markup {
    let pool = &view.pool.value;
    let version = pool.version.to_string();
    let path = to(&query(&format!("/templates/{}", pool.template), &[("version", Some(version.as_str()))]));
    let sharing = match (pool.sharing, pool.max_consumers) {
        (PoolSharing::Dedicated, _) => "one consumer a member".to_owned(),
        (PoolSharing::Shared, None) => "any number of consumers a member".to_owned(),
        (PoolSharing::Shared, Some(most)) => format!("at most {most} consumers a member"),
    };
    let last = if pool.retain { "it stays" } else { "it is destroyed" };
    facts(vec![
        ("Template", html! { a href=(path) { (pool.template) " " (version) } }),
        ("Sharing", html! { (sharing) }),
        ("When a member's last consumer leaves", html! { (last) }),
        ("Created", when(pool.created_at, now)),
        ("Changed", when(pool.updated_at, now)),
    ])
}

fn table(members: &[(Member, Resource)], now: Timestamp, to: Links<'_>) -> Markup {
    if members.is_empty() {
        return html! { p.quiet { "It has no members." } };
    }
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th scope="col" { "Member" }
                        th scope="col" { "Standing" }
                        th scope="col" { "Status" }
                        th scope="col" { "Template" }
                        th.number scope="col" { "Consumers" }
                        th scope="col" { "Changed" }
                    }
                }
                tbody {
                    @for (member, resource) in members.iter().take(MEMBERS) { (row(member, resource, now, to)) }
                }
            }
        }
        @if members.len() > MEMBERS { p.quiet { "and " (members.len() - MEMBERS) " more" } }
    }
}

fn row(member: &Member, resource: &Resource, now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(to(&format!("/resources/{}", resource.id))) { (resource.name) } }
            td {
                @if member.free { "free" } @else { "taken" }
                @if member.on_demand { ", made because none was free" }
            }
            td { (badge(resource.status)) }
            td { (template(resource, to)) }
            td.number { (resource.consumers) }
            td { (when(resource.updated_at, now)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use conductor_domain::pool::Pool;
    use conductor_engine::port::{Version, Versioned};
    use serde_json::{Value, json};

    use super::super::resources::tests::{HOSTILE, NOW, assert_escaped, id, links, now, resource};
    use super::*;

    fn pool(parameters: Value) -> PoolView {
        let value: Pool = serde_json::from_value(json!({
            "key": {"environment": "dev", "name": "spare"}, "template": "postgres", "version": "1.2.3",
            "parameters": parameters, "sensitive": ["password"], "object": "vault/planted-2", "size": 3,
            "sharing": "dedicated", "createdAt": NOW, "updatedAt": NOW
        }))
        .expect("a pool");
        let pool = Versioned { value, version: Version("v1".to_owned()) };
        PoolView { pool, free: 1, claimed: 1, provisioning: 0, failed: 0, on_demand: 0 }
    }

    fn member(number: u128, name: &str, free: bool) -> (Member, Resource) {
        let pool = PoolKey { environment: "dev".parse().expect("a name"), name: "spare".parse().expect("a name") };
        (Member { pool, free, resource: id(number), on_demand: false }, resource(number, name))
    }

    #[test]
    fn names_and_parameters_of_a_pool_are_shown_as_text_and_sensitive_ones_not_at_all() {
        assert_escaped(&view(&pool(json!({"name": HOSTILE})), &[], now(), &links));
        assert_escaped(&view(&pool(json!({HOSTILE: 1})), &[], now(), &links));
        let shown = view(&pool(json!({"password": "planted-1"})), &[], now(), &links).into_string();
        assert!(!shown.contains("planted") && shown.contains("(sensitive)"), "{shown}");
        assert_escaped(&view(&pool(json!({})), &[member(1, HOSTILE, true)], now(), &links));
    }

    #[test]
    fn a_member_is_free_or_taken() {
        let shown = |free: bool| table(&[member(1, "spare-1", free)], now(), &links).into_string();
        assert!(shown(true).contains("<td>free</td>"));
        assert!(shown(false).contains("<td>taken</td>"));
    }

    #[test]
    fn a_pool_with_thousands_of_members_is_a_small_page() {
        let members: Vec<_> = (0..1_000).map(|number| member(number, &"n".repeat(63), false)).collect();
        let page = view(&pool(json!({})), &members, now(), &links).into_string();
        assert!(page.len() < 300_000, "{}", page.len());
        assert!(page.contains("and 800 more"));
    }
}

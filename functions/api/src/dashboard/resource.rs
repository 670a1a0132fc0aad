//! `/resources/{id}`: what a resource is, who uses it, what it stands on, and what was done to it.
//!
//! It decides nothing. A sensitive value is named and not shown; it has never been here.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use conductor_domain::audit::AuditEvent;
use conductor_domain::consumer::{Consumer, ConsumerKey, Origin};
use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_domain::name::{ApplicationName, EnvironmentName, WorkloadName};
use conductor_domain::resource::{LeftBehind, Reservation, Resource, Unstored};
use conductor_engine::port::Clock;
use conductor_engine::{AuditFilter, Edge, EdgeKind, Graph, Node, ResourceView, Subject};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::audit;
use super::deployments::short_id;
use super::environment::drawing;
use super::page::{Page, Section, badge, exact, facts, href, query, render, value, when, words};
use super::resources::{Links, given, template};
use crate::app::App;
use crate::extract::{Asked, Asking, Named, id as parse_id};
use crate::problem::Refused;

/// Rows of a table; the API has all of them.
const ROWS: usize = 100;
/// Audit events of the history that are shown at once.
const EVENTS: u32 = 50;
/// The most nodes of the picture.
const DRAWN: usize = 60;
/// A longer value is cut, in bytes: an output may have 64 KiB.
const LONGEST: usize = 4_000;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/resources/{id}", get(one))
}

#[derive(Debug, Deserialize)]
struct HistoryQuery {
    cursor: Option<String>,
}

async fn one(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(id): Named<String>,
    Asked(asked): Asked<HistoryQuery>,
) -> Result<Response, Refused> {
    let id: ResourceId = parse_id(&id)?;
    let (any, cursor) = (AuditFilter::default(), given(&asked.cursor).map(str::to_owned));
    let (found, mut graph, (history, later)) = tokio::try_join!(
        app.engine.resource(&caller, id),
        app.engine.resource_graph(&caller, id),
        app.engine.audit_of(&caller, Subject::Resource(id), &any, cursor, EVENTS),
    )?;
    nearest_first(&mut graph, &id.to_string());
    let shown = Shown { found: &found, graph: &graph, history: &history, later: later.as_deref() };
    let body = view(&shown, app.engine.clock.now(), &|path| href(&app, path));
    let title = format!("Resource {}", found.resource.name);
    Ok(render(Page { app: &app, title: &title, section: Section::Resources, live: true, body }))
}

struct Shown<'a> {
    found: &'a ResourceView,
    /// What it stands on and what stands on it, the nearest first.
    graph: &'a Graph,
    /// A part of its audit trail, oldest first.
    history: &'a [AuditEvent],
    /// Where the trail goes on.
    later: Option<&'a str>,
}

fn view(shown: &Shown<'_>, now: Timestamp, to: Links<'_>) -> Markup {
    let Shown { found, graph, history, later } = shown;
    let resource = &found.resource.value;
    html! {
        h1 { (resource.name) }
        div #live {
            (warnings(resource, now, to))
            section { h2 { "Resource" } (summary(resource, now, to)) }
            section { h2 { "Consumers" } (consumers(&found.consumers, graph, now, to)) }
            section { h2 { "Dependencies" } (dependencies(resource, graph, to)) }
            section { h2 { "Parameters" } (parameters(found)) }
            section { h2 { "Outputs" } (outputs(found)) }
            section { h2 { "State" } (state(resource)) }
            section { h2 { "Lineage" } (lineage(&found.lineage, now, to)) }
            section { h2 { "History" } (trail(resource, history, *later, now, to)) }
        }
    }
}

/// What a person or a next run has to see to.
fn warnings(resource: &Resource, now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        @if let Some(unstored) = &resource.unstored { (missing(unstored, now, to)) }
        @if let Some(left) = &resource.left_behind { (left_behind(left, now)) }
        @if let Some(state) = &resource.errored_state {
            p.notice.warning {
                strong { "A state is yet to be stored. " }
                "Terraform could not store it; it is kept as " code { (state) } ", and the next run pushes it first."
            }
        }
        @if let Some(reservation) = &resource.reservation { (worked_on(reservation, now, to)) }
    }
}

fn missing(unstored: &Unstored, now: Timestamp, to: Links<'_>) -> Markup {
    let Unstored { deployment, at, objects } = unstored;
    html! {
        div.notice.warning {
            p {
                strong { "These objects may exist although no state has them. " }
                "They were missed " (when(*at, now)) " in " (deployment_link(*deployment, to))
                ". Look for them; then say so with " code { "reconciled" } " in a PATCH of the resource."
            }
            ul { @for object in objects.iter().take(ROWS) { li { code { (object) } } } }
            (rest(objects.len()))
        }
    }
}

fn left_behind(left: &LeftBehind, now: Timestamp) -> Markup {
    let LeftBehind { operation, epoch, at, begun } = left;
    html! {
        div.notice.warning {
            p {
                strong { "A run was left behind " (when(*at, now)) ". " }
                "It was claim " (epoch) " of operation " code { (operation) } "; the next run sees to what it left."
            }
            @if !begun.is_empty() {
                p { "It had lately begun to make:" }
                ul { @for object in begun.iter().take(ROWS) { li { code { (object) } } } }
                (rest(begun.len()))
            }
        }
    }
}

fn worked_on(reservation: &Reservation, now: Timestamp, to: Links<'_>) -> Markup {
    let Reservation { deployment, number, epoch, dead_after, .. } = reservation;
    html! {
        p.notice {
            strong { "It is reserved " }
            "by operation " (number) " of " (deployment_link(*deployment, to)) ", claim " (epoch)
            ". What that claim started is over for certain " (when(*dead_after, now)) " (" (exact(*dead_after)) ")."
        }
    }
}

fn deployment_link(id: DeploymentId, to: Links<'_>) -> Markup {
    html! { a href=(to(&format!("/deployments/{id}"))) { "deployment " (short_id(id)) } }
}

fn environment_link(name: &EnvironmentName, to: Links<'_>) -> Markup {
    html! { a href=(to(&format!("/environments/{name}"))) { (name) } }
}

fn summary(resource: &Resource, now: Timestamp, to: Links<'_>) -> Markup {
    let made_by = |id: &Option<DeploymentId>| {
        html! {
            @if let Some(id) = id { (deployment_link(*id, to)) } @else { "not by Conductor" }
        }
    };
    let mut rows = vec![
        ("Status", html! { (badge(resource.status)) " since " (when(resource.entered_at, now)) }),
        ("Id", html! { code { (resource.id) } }),
        ("Template", template(resource, to)),
        ("Environment", environment_link(&resource.environment, to)),
        ("Mode", html! { (words(resource.mode)) }),
        ("Created", html! { (when(resource.created_at, now)) ", " (made_by(&resource.created_by)) }),
        ("Changed", html! { (when(resource.updated_at, now)) }),
    ];
    if let Some(id) = resource.updated_by {
        rows.push(("Last changed by", deployment_link(id, to)));
    }
    if let Some(application) = &resource.created_for {
        let path = to(&format!("/applications/{application}"));
        rows.push(("Made for", html! { a href=(path) { (application) } }));
    }
    if let Some(pool) = &resource.pool {
        let path = to(&format!("/environments/{}/pools/{}", pool.environment, pool.name));
        rows.push(("Pool", html! { a href=(path) { (pool.name) } }));
    }
    if let Some(external) = &resource.external {
        rows.push(("Its id where it lives", html! { code { (external) } }));
    }
    if let Some(most) = resource.max_consumers {
        rows.push(("Consumers allowed", html! { (most) " beside its dependents" }));
    }
    if resource.waiters > 0 {
        rows.push(("Waited for", html! { "by " (resource.waiters) " operations" }));
    }
    if resource.published {
        rows.push(("Published", html! { "every environment may name it" }));
    }
    let last = if resource.retain { "it stays" } else { "it is destroyed" };
    rows.push(("When its last consumer leaves", html! { (last) }));
    facts(rows)
}

fn consumers(consumers: &[Consumer], graph: &Graph, now: Timestamp, to: Links<'_>) -> Markup {
    if consumers.is_empty() {
        return html! { p.quiet { "Nobody uses it." } };
    }
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th scope="col" { "Who" }
                        th scope="col" { "Environment" }
                        th scope="col" { "By" }
                        th scope="col" { "Since" }
                        th scope="col" { "State" }
                    }
                }
                tbody {
                    @for consumer in consumers.iter().take(ROWS) { (consumer_row(consumer, graph, now, to)) }
                }
            }
        }
        (rest(consumers.len()))
    }
}

fn consumer_row(consumer: &Consumer, graph: &Graph, now: Timestamp, to: Links<'_>) -> Markup {
    let (who, environment) = user(&consumer.key, graph, to);
    let by = match consumer.key.origin() {
        Origin::File => "its Score file",
        Origin::Api => "the API",
        Origin::Dependency => "its dependency",
        Origin::Pool => "being free",
    };
    html! {
        tr {
            th scope="row" { (who) }
            td { @if let Some(environment) = environment { (environment_link(environment, to)) } }
            td { (by) }
            td { (when(consumer.added_at, now)) }
            td { @if consumer.leaving.is_some() { span.badge.badge-leaving { "Leaving" } } @else { "uses it" } }
        }
    }
}

/// Who it is, and where.
fn user<'a>(key: &'a ConsumerKey, graph: &'a Graph, to: Links<'_>) -> (Markup, Option<&'a EnvironmentName>) {
    match key {
        ConsumerKey::Workload(key) => {
            let who = html! {
                (of_application(&key.application, Some(&key.workload), to)) ", as " code { (key.resource) }
            };
            (who, Some(&key.environment))
        }
        ConsumerKey::Api { environment, application, workload } => {
            (of_application(application, workload.as_ref(), to), Some(environment))
        }
        ConsumerKey::Pool(key) => {
            let path = to(&format!("/environments/{}/pools/{}", key.environment, key.name));
            (html! { "pool " a href=(path) { (key.name) } }, Some(&key.environment))
        }
        ConsumerKey::Resource { resource } => {
            let id = resource.to_string();
            let node = graph.nodes.iter().find(|node| node.id == id);
            let name = node.map_or(id.as_str(), |node| node.name.as_str());
            let who = html! { "resource " a href=(to(&format!("/resources/{id}"))) { (name) } };
            (who, node.map(|node| &node.environment))
        }
    }
}

fn of_application(application: &ApplicationName, workload: Option<&WorkloadName>, to: Links<'_>) -> Markup {
    html! {
        a href=(to(&format!("/applications/{application}"))) { (application) }
        @if let Some(workload) = workload { "/" (workload) }
    }
}

/// Puts the resource itself first, then its users and what an edge leads to directly, then the rest: a picture that is
/// cut keeps what is near.
fn nearest_first(graph: &mut Graph, id: &str) {
    let near: BTreeSet<&str> = graph
        .edges
        .iter()
        .filter_map(|edge| match (edge.from == id, edge.to == id) {
            (true, _) => Some(edge.to.as_str()),
            (_, true) => Some(edge.from.as_str()),
            (false, false) => None,
        })
        .collect();
    graph.nodes.sort_by_key(|node| (node.id != id, !near.contains(node.id.as_str())));
}

fn dependencies(resource: &Resource, graph: &Graph, to: Links<'_>) -> Markup {
    let id = resource.id.to_string();
    let (needs, needed_by) = (reached(graph, &id, forth), reached(graph, &id, back));
    let label = format!("What {} depends on, what depends on it, and who uses it", resource.name);
    html! {
        @if graph.edges.is_empty() {
            p.quiet { "It depends on nothing, and nothing depends on it." }
        } @else {
            (drawing(graph, DRAWN, &resource.environment, &label, to))
        }
        @if !needs.is_empty() { h3 { "It depends on" } (neighbours(&needs, to)) }
        @if !needed_by.is_empty() { h3 { "What depends on it" } (neighbours(&needed_by, to)) }
    }
}

fn forth(edge: &Edge) -> (&str, &str) {
    (&edge.from, &edge.to)
}

fn back(edge: &Edge) -> (&str, &str) {
    (&edge.to, &edge.from)
}

/// The resources that dependencies lead to from one, the nearest first, and whether it is one that leads there. `way`
/// says from where to where an edge is walked.
fn reached<'a>(
    graph: &'a Graph,
    start: &'a str,
    way: impl Fn(&'a Edge) -> (&'a str, &'a str),
) -> Vec<(&'a Node, bool)> {
    let mut ways: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for edge in graph.edges.iter().filter(|edge| edge.kind == EdgeKind::DependsOn) {
        let (from, to) = way(edge);
        ways.entry(from).or_default().push(to);
    }
    let nodes: BTreeMap<&str, &Node> = graph.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let mut met: BTreeSet<&str> = BTreeSet::from([start]);
    let mut found = Vec::new();
    let mut here = vec![start];
    while !here.is_empty() {
        let direct = here == [start];
        let next = here.iter().filter_map(|id| ways.get(id)).flatten().copied();
        here = next.filter(|id| met.insert(*id)).collect();
        found.extend(here.iter().filter_map(|id| Some((*nodes.get(id)?, direct))));
    }
    found
}

fn neighbours(found: &[(&Node, bool)], to: Links<'_>) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th scope="col" { "Resource" }
                        th scope="col" { "Status" }
                        th scope="col" { "Template" }
                        th scope="col" { "Environment" }
                        th scope="col" { "How" }
                    }
                }
                tbody {
                    @for (node, direct) in found.iter().take(ROWS) {
                        tr {
                            th scope="row" { a href=(to(&format!("/resources/{}", node.id))) { (node.name) } }
                            td { @if let Some(status) = node.status { (badge(status)) } }
                            td { @if let Some(template) = &node.template { (template) } }
                            td { (environment_link(&node.environment, to)) }
                            td { @if *direct { "directly" } @else { "through others" } }
                        }
                    }
                }
            }
        }
        (rest(found.len()))
    }
}

fn parameters(found: &ResourceView) -> Markup {
    match &found.parameters {
        Some(parameters) => values(parameters.values.iter(), &parameters.sensitive),
        None => html! { p.quiet { "It was given none yet." } },
    }
}

fn outputs(found: &ResourceView) -> Markup {
    match &found.outputs {
        Some(outputs) => values(outputs.values.iter(), &outputs.sensitive),
        None => html! { p.quiet { "It has none yet." } },
    }
}

/// Values by name, and the names of those that are not shown.
pub(super) fn values<'a>(shown: impl Iterator<Item = (&'a String, &'a Value)>, sensitive: &'a [String]) -> Markup {
    let mut rows: BTreeMap<&str, Option<&Value>> = shown.map(|(name, value)| (name.as_str(), Some(value))).collect();
    rows.extend(sensitive.iter().map(|name| (name.as_str(), None)));
    if rows.is_empty() {
        return html! { p.quiet { "There are none." } };
    }
    let shown = rows.iter().take(ROWS).map(|(name, value)| {
        let value = match value {
            Some(value) => bounded(value),
            None => html! { span.quiet { "(sensitive)" } },
        };
        (*name, value)
    });
    html! { (facts(shown.collect())) (rest(rows.len())) }
}

/// A value as text, cut where it is too long for a page.
pub(super) fn bounded(found: &Value) -> Markup {
    let text = match found {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() <= LONGEST {
        return value(found);
    }
    let start: String = text.chars().take(LONGEST).collect();
    html! { (value(&Value::from(start))) p.quiet { "Cut: it has " (text.len()) " bytes. The API has all of it." } }
}

/// That a table does not have everything.
fn rest(all: usize) -> Markup {
    html! { @if all > ROWS { p.quiet { "and " (all - ROWS) " more, which the API lists" } } }
}

fn state(resource: &Resource) -> Markup {
    let location = &resource.state_location;
    facts(vec![("Backend", html! { (location.backend) }), ("Location", html! { code { (location.location) } })])
}

fn lineage(events: &[AuditEvent], now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        @if events.is_empty() {
            p.quiet { "No deployment has done anything to it." }
        } @else {
            (audit::table("What deployments did to it, newest first", events, now, to))
        }
    }
}

fn trail(resource: &Resource, events: &[AuditEvent], later: Option<&str>, now: Timestamp, to: Links<'_>) -> Markup {
    let path = format!("/resources/{}", resource.id);
    html! {
        (audit::table("Its audit trail, oldest first", events, now, to))
        @if let Some(cursor) = later {
            p.more { a.button rel="next" href=(to(&query(&path, &[("cursor", Some(cursor))]))) { "Later" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use conductor_domain::ids::{GenericUuid, OperationId};
    use conductor_domain::resource::{Outputs, Parameters, ResourceStatus, StateLocation};
    use conductor_engine::NodeKind;
    use conductor_engine::port::{Version, Versioned};
    use serde_json::json;
    use uuid::Uuid;

    use super::super::audit::tests::event;
    use super::super::resources::tests::{HOSTILE, assert_escaped, id, links, now, resource};
    use super::*;

    fn found(resource: Resource) -> ResourceView {
        let resource = Versioned { value: resource, version: Version("v1".to_owned()) };
        ResourceView { resource, parameters: None, outputs: None, consumers: Vec::new(), lineage: Vec::new() }
    }

    fn node(number: u128, name: &str) -> Node {
        Node {
            id: id(number).to_string(),
            kind: NodeKind::Resource,
            name: name.to_owned(),
            environment: "dev".parse().expect("a name"),
            template: Some("postgres".parse().expect("a template")),
            status: Some(ResourceStatus::Active),
            application: None,
            workload: None,
        }
    }

    /// Edges as `1>2`: the first depends on the second.
    fn graph(nodes: Vec<Node>, edges: &[(u128, u128)]) -> Graph {
        let edge = |(from, to): &(u128, u128)| Edge {
            from: id(*from).to_string(),
            to: id(*to).to_string(),
            kind: EdgeKind::DependsOn,
        };
        Graph { nodes, edges: edges.iter().map(edge).collect(), truncated: false }
    }

    fn page(found: &ResourceView, graph: &Graph) -> Markup {
        view(&Shown { found, graph, history: &[], later: None }, now(), &links)
    }

    fn alone(resource: Resource) -> Markup {
        page(&found(resource), &graph(Vec::new(), &[]))
    }

    fn consumer(key: Value) -> Consumer {
        let key = serde_json::from_value(key).expect("a consumer");
        Consumer { resource: id(1), key, added_at: now(), leaving: None }
    }

    #[test]
    fn every_text_of_a_resource_is_shown_as_text() {
        let hostile = || HOSTILE.to_owned();
        let plain = || resource(1, "orders");
        let (deployment, operation) =
            (DeploymentId::from_untyped_uuid(Uuid::nil()), OperationId::from_untyped_uuid(Uuid::nil()));
        assert_escaped(&alone(resource(1, HOSTILE)));
        assert_escaped(&alone(Resource { external: Some(hostile()), ..plain() }));
        assert_escaped(&alone(Resource { errored_state: Some(hostile()), ..plain() }));
        let location = StateLocation { backend: "local".to_owned(), location: hostile() };
        assert_escaped(&alone(Resource { state_location: location, ..plain() }));
        let unstored = Unstored { deployment, at: now(), objects: vec![hostile()] };
        assert_escaped(&alone(Resource { unstored: Some(unstored), ..plain() }));
        let left_behind = LeftBehind { operation, epoch: 1, at: now(), begun: vec![hostile()] };
        assert_escaped(&alone(Resource { left_behind: Some(left_behind), ..plain() }));
    }

    #[test]
    fn every_text_around_a_resource_is_shown_as_text() {
        let one = found(resource(1, "orders"));
        assert_escaped(&page(&one, &graph(vec![node(1, "orders"), node(2, HOSTILE)], &[(1, 2)])));
        assert_escaped(&page(&one, &graph(vec![node(1, "orders"), node(2, HOSTILE)], &[(2, 1)])));
        let key = json!({"kind": "workload", "environment": "dev", "application": "shop", "workload": "web",
            "resource": HOSTILE});
        let used = ResourceView { consumers: vec![consumer(key)], ..one.clone() };
        assert_escaped(&page(&used, &graph(Vec::new(), &[])));
        let told =
            ResourceView { lineage: vec![AuditEvent { detail: Some(HOSTILE.to_owned()), ..event("x", "y") }], ..one };
        assert_escaped(&page(&told, &graph(Vec::new(), &[])));
    }

    #[test]
    fn values_are_shown_as_text_and_sensitive_ones_not_at_all() {
        let parameters = Parameters {
            resource: id(1),
            values: [("name".to_owned(), json!(HOSTILE)), ("password".to_owned(), json!("planted-1"))]
                .into_iter()
                .collect(),
            sensitive: vec!["password".to_owned(), "token".to_owned()],
            object: Some("vault/planted-2".to_owned()),
            hash: "planted-3".to_owned(),
        };
        let outputs = Outputs {
            resource: id(1),
            values: BTreeMap::from([("host".to_owned(), json!({"a": "b"}))]),
            sensitive: vec!["secret-key".to_owned()],
            object: Some("vault/planted-4".to_owned()),
        };
        let one = ResourceView { parameters: Some(parameters), outputs: Some(outputs), ..found(resource(1, "orders")) };
        let shown = page(&one, &graph(Vec::new(), &[]));
        assert_escaped(&shown);
        let shown = shown.into_string();
        assert!(!shown.contains("planted"), "{shown}");
        assert_eq!(shown.matches("(sensitive)").count(), 3, "{shown}");
        assert!(shown.contains("secret-key"), "{shown}");
    }

    #[test]
    fn each_kind_of_consumer_leads_to_its_page() {
        let check = |key: Value, path: &str| {
            let graph = graph(vec![node(2, "web")], &[]);
            let shown = consumers(&[consumer(key.clone())], &graph, now(), &links).into_string();
            assert!(shown.contains(&format!("href=\"/live{path}\"")), "{key}: {shown}");
        };
        let workload = json!({"kind": "workload", "environment": "dev", "application": "shop", "workload": "web",
            "resource": "db"});
        check(workload, "/applications/shop");
        check(json!({"kind": "api", "environment": "prod", "application": "shop"}), "/environments/prod");
        check(json!({"kind": "pool", "environment": "dev", "name": "spare"}), "/environments/dev/pools/spare");
        check(json!({"kind": "resource", "resource": id(2)}), &format!("/resources/{}", id(2)));
    }

    #[test]
    fn a_consumer_that_leaves_is_marked() {
        let shown = |one: Consumer| consumers(&[one], &graph(Vec::new(), &[]), now(), &links).into_string();
        let stays = consumer(json!({"kind": "pool", "environment": "dev", "name": "spare"}));
        assert!(!shown(stays.clone()).contains("Leaving"));
        let leaving = Some(OperationId::from_untyped_uuid(Uuid::nil()));
        assert!(shown(Consumer { leaving, ..stays }).contains("Leaving"));
    }

    #[test]
    fn dependencies_are_walked_both_ways_the_nearest_first() {
        let names = ["", "a", "b", "c", "d"];
        let nodes = || -> Vec<Node> { (1..5).map(|number| node(number, names[number as usize])).collect() };
        let check = |edges: &[(u128, u128)], needs: &str, needed_by: &str| {
            let graph = graph(nodes(), edges);
            let start = id(2).to_string();
            let told = |found: Vec<(&Node, bool)>| {
                let names = found.iter().map(|(node, direct)| match direct {
                    true => node.name.clone(),
                    false => format!("({})", node.name),
                });
                names.collect::<Vec<_>>().join(" ")
            };
            assert_eq!(told(reached(&graph, &start, forth)), needs, "{edges:?}");
            assert_eq!(told(reached(&graph, &start, back)), needed_by, "{edges:?}");
        };
        check(&[], "", "");
        check(&[(1, 2), (2, 3), (3, 4)], "c (d)", "a");
        check(&[(2, 3), (2, 4), (3, 4)], "c d", "");
        check(&[(1, 2), (4, 1), (4, 2)], "", "a d");
        check(&[(2, 3), (3, 2)], "c", "c");
    }

    #[test]
    fn a_picture_that_is_cut_keeps_what_is_near() {
        let mut graph = graph((1..6).map(|number| node(number, "x")).collect(), &[(1, 2), (4, 3), (3, 5)]);
        nearest_first(&mut graph, &id(3).to_string());
        let order: Vec<&str> = graph.nodes.iter().map(|node| node.id.as_str()).collect();
        let expect: Vec<String> = [3, 4, 5, 1, 2].into_iter().map(|number| id(number).to_string()).collect();
        assert_eq!(order, expect);
    }

    #[test]
    fn a_long_output_is_cut() {
        let shown = bounded(&json!("x".repeat(60_000))).into_string();
        assert!(shown.len() < 5_000 && shown.contains("it has 60000 bytes"), "{}", shown.len());
        assert!(!bounded(&json!("x".repeat(4_000))).into_string().contains("Cut"));
    }

    #[test]
    fn a_resource_with_two_hundred_of_everything_is_a_small_page() {
        let nodes: Vec<Node> = (1..201).map(|number| node(number, &"n".repeat(63))).collect();
        let edges: Vec<(u128, u128)> = (2..201).map(|number| (number, 1)).collect();
        let users = (0..200).map(|user| {
            consumer(json!({"kind": "workload", "environment": "dev", "application": "shop",
                "workload": format!("w{user}"), "resource": "db"}))
        });
        let lineage = vec![event("resource", "01890a5d-ac96-774b-bcce-b302099a8057"); 50];
        let one = ResourceView { consumers: users.collect(), lineage: lineage.clone(), ..found(resource(1, "orders")) };
        let graph = graph(nodes, &edges);
        let shown = Shown { found: &one, graph: &graph, history: &lineage, later: Some("x") };
        let page = view(&shown, now(), &links).into_string();
        assert!(page.len() < 300_000, "{}", page.len());
        assert!(page.contains("and 100 more, which the API lists"), "{page}");
    }
}

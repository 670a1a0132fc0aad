//! `/environments/{environment}`: its settings, who is in it, its pools, and the picture of all its resources.
//!
//! It decides nothing. A default that may be a secret is named and not shown.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use conductor_domain::backend::{BackendSpec, TERRAFORM_CLOUD};
use conductor_domain::environment::{Environment, EnvironmentSpec, TypeDefaults};
use conductor_domain::name::{ApplicationName, EnvironmentName};
use conductor_domain::principal::Caller;
use conductor_domain::template::TemplateVersion;
use conductor_engine::port::Clock;
use conductor_engine::{Error, Graph, Node, NodeKind, PoolView};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use super::graph::{Node as Drawn, svg};
use super::page::{Page, Section, class, facts, href, query, render, when, words};
use super::resource::bounded;
use super::resources::Links;
use crate::app::App;
use crate::extract::{Asking, Named};
use crate::problem::Refused;

/// Items of a list that are read at once.
const AT_ONCE: u32 = 100;
/// Pages of a list that are read before the rest is left out.
const PAGES: usize = 10;
/// The most nodes of the picture: what a page of 300 KB has room for.
const DRAWN: usize = 250;

/// Names of inputs, by type of resource.
type Inputs = BTreeMap<String, BTreeSet<String>>;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/environments/{environment}", get(one))
}

async fn one(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<EnvironmentName>,
) -> Result<Response, Refused> {
    let environment = app.engine.environment(&caller, &name).await?.value;
    let (pools, graph, applications, open) = tokio::try_join!(
        app.engine.pools(&caller, &name),
        app.engine.environment_graph(&caller, &name),
        deployed_to(&app, &caller, &name),
        open_inputs(&app, &caller, &environment.spec.defaults),
    )?;
    let shown =
        Shown { environment: &environment, pools: &pools, graph: &graph, applications: &applications, open: &open };
    let body = view(&shown, app.engine.clock.now(), &|path| href(&app, path));
    let title = format!("Environment {name}");
    Ok(render(Page { app: &app, title: &title, section: Section::Environments, live: true, body }))
}

/// The applications that were ever deployed to an environment.
async fn deployed_to(
    app: &App,
    caller: &Caller,
    environment: &EnvironmentName,
) -> Result<BTreeSet<ApplicationName>, Error> {
    let mut found = BTreeSet::new();
    let mut after = None;
    for _ in 0..PAGES {
        let list = app.engine.applications(caller, after, AT_ONCE).await?;
        let applications = list.items.into_iter().map(|read| read.value);
        let here = applications.filter(|application| application.environments.contains(environment));
        found.extend(here.map(|application| application.name));
        after = list.next;
        if after.is_none() {
            break;
        }
    }
    Ok(found)
}

/// The parameters whose defaults may be shown.
async fn open_inputs(app: &App, caller: &Caller, defaults: &BTreeMap<String, TypeDefaults>) -> Result<Inputs, Error> {
    let mut versions = Vec::new();
    let mut after = None;
    if defaults.is_empty() {
        return Ok(Inputs::new());
    }
    for _ in 0..PAGES {
        let list = app.engine.templates(caller, after, AT_ONCE).await?;
        for template in list.items.iter().filter(|template| defaults.contains_key(template.name.kind())) {
            let read = app.engine.template_versions(caller, &template.name).await?;
            versions.extend(read.into_iter().map(|read| read.value));
        }
        after = list.next;
        if after.is_none() {
            return Ok(open(&versions));
        }
    }
    // A template that was not read may call any of them sensitive.
    Ok(Inputs::new())
}

/// Of all versions of all classes of a type: the inputs that one of them declares, and none calls sensitive.
fn open(versions: &[TemplateVersion]) -> Inputs {
    let mut open = Inputs::new();
    for version in versions {
        let names = version.interface.inputs.keys().cloned();
        open.entry(version.template.kind().to_owned()).or_default().extend(names);
    }
    for version in versions {
        let sensitive = version.interface.inputs.iter().filter(|(_, input)| input.sensitive);
        for (name, _) in sensitive {
            open.entry(version.template.kind().to_owned()).or_default().remove(name);
        }
    }
    open
}

struct Shown<'a> {
    environment: &'a Environment,
    pools: &'a [PoolView],
    graph: &'a Graph,
    /// Those that were ever deployed here.
    applications: &'a BTreeSet<ApplicationName>,
    /// The parameters whose defaults may be shown.
    open: &'a Inputs,
}

fn view(shown: &Shown<'_>, now: Timestamp, to: Links<'_>) -> Markup {
    let Shown { environment, pools, graph, applications, open } = shown;
    let name = &environment.name;
    let here = [("environment", Some(name.as_str()))];
    let trail = [("noun", Some("environment")), ("subject", Some(name.as_str()))];
    html! {
        h1 { "Environment " (name) }
        p {
            a href=(to(&query("/deployments", &here))) { "Deployments" } ", "
            a href=(to(&query("/resources", &here))) { "resources" } ", "
            a href=(to(&query("/audit", &trail))) { "audit" }
        }
        // Its graph is read with many queries.
        div #live data-every="10" {
            section { h2 { "Settings" } (settings(environment, now)) }
            section { h2 { "Applications" } (tenants(name, graph, applications, to)) }
            section { h2 { "Pools" } (pool_table(pools, to)) }
            section { h2 { "Resources" } (picture(name, graph, to)) }
            @if !environment.spec.defaults.is_empty() {
                section { h2 { "Defaults" } (defaults(&environment.spec.defaults, open)) }
            }
        }
    }
}

fn settings(environment: &Environment, now: Timestamp) -> Markup {
    let Environment { spec, created_at, updated_at, .. } = environment;
    let EnvironmentSpec { kind, region, credentials, backend, protected, expires_at, defaults: _ } = spec;
    let text = |found: Option<&str>, otherwise: &str| html! { (found.unwrap_or(otherwise)) };
    let role = html! {
        @if let Some(credentials) = credentials {
            @if let Some(role) = &credentials.role_arn {
                code { (role) }
                @if credentials.external_id.is_some() { " with an external id" }
            } @else { "none" }
            @if let Some(secret) = &credentials.secret_arn { ", variables from the secret " code { (secret) } }
        } @else {
            "the stack's own"
        }
    };
    let protection = if *protected { "destroys nothing that a request does not allow by name" } else { "none" };
    let mut rows = vec![
        ("Type", text(kind.as_deref(), "none")),
        ("Region", text(region.as_deref(), "the stack's own")),
        ("Role", role),
        ("Protection", html! { (protection) }),
        ("State backend", state_backend(backend.as_ref())),
        ("Created", when(*created_at, now)),
        ("Changed", when(*updated_at, now)),
    ];
    if let Some(at) = expires_at {
        rows.push(("Ends", when(*at, now)));
    }
    facts(rows)
}

fn state_backend(backend: Option<&BackendSpec>) -> Markup {
    let place = match backend {
        None | Some(BackendSpec::S3 {}) => return html! { "the stack's own bucket" },
        Some(BackendSpec::Azurerm { storage_account_name, container_name, .. }) => {
            format!("{storage_account_name}/{container_name}")
        }
        Some(BackendSpec::Http { address, .. }) => address.clone(),
        Some(BackendSpec::Remote { hostname, organization, .. }) => {
            format!("{}/{organization}", hostname.as_deref().unwrap_or(TERRAFORM_CLOUD))
        }
        Some(BackendSpec::Local { path }) => path.clone(),
    };
    html! {
        (backend.map_or("", BackendSpec::kind)) " " code { (place) }
        @if let Some(secret) = backend.and_then(BackendSpec::credentials_secret) {
            ", credentials in the secret " code { (secret) }
        }
    }
}

/// What an application holds here.
#[derive(Default)]
struct Tenancy<'a> {
    workloads: BTreeSet<&'a str>,
    resources: BTreeSet<&'a str>,
}

fn tenancies<'a>(
    environment: &EnvironmentName,
    graph: &'a Graph,
    applications: &'a BTreeSet<ApplicationName>,
) -> BTreeMap<&'a ApplicationName, Tenancy<'a>> {
    let mut found: BTreeMap<_, _> = applications.iter().map(|name| (name, Tenancy::default())).collect();
    let users = graph.nodes.iter().filter(|node| node.environment == *environment);
    let users: BTreeMap<&str, (&ApplicationName, &Node)> =
        users.filter_map(|node| Some((node.id.as_str(), (node.application.as_ref()?, node)))).collect();
    for (application, node) in users.values() {
        let workload = node.workload.as_ref().map(|workload| workload.as_str());
        found.entry(*application).or_default().workloads.extend(workload);
    }
    for edge in &graph.edges {
        if let Some((application, _)) = users.get(edge.from.as_str()) {
            found.entry(*application).or_default().resources.insert(edge.to.as_str());
        }
    }
    found
}

fn tenants(
    environment: &EnvironmentName,
    graph: &Graph,
    applications: &BTreeSet<ApplicationName>,
    to: Links<'_>,
) -> Markup {
    let found = tenancies(environment, graph, applications);
    if found.is_empty() {
        return html! { p.quiet { "No application was ever deployed here." } };
    }
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th scope="col" { "Application" }
                        th scope="col" { "Workloads that hold something" }
                        th.number scope="col" { "Resources" }
                        th scope="col" { "Actions" }
                    }
                }
                tbody {
                    @for (name, tenancy) in found {
                        tr {
                            th scope="row" { a href=(to(&format!("/applications/{name}"))) { (name) } }
                            td { (tenancy.workloads.into_iter().collect::<Vec<_>>().join(", ")) }
                            td.number { (tenancy.resources.len()) }
                            td { (links(environment, name, to)) }
                        }
                    }
                }
            }
        }
    }
}

/// Where to go from an application in an environment.
pub(super) fn links(environment: &EnvironmentName, application: &ApplicationName, to: Links<'_>) -> Markup {
    let both = [("environment", Some(environment.as_str())), ("application", Some(application.as_str()))];
    html! {
        a href=(to(&query("/deployments", &both))) { "Deployments" } " "
        a href=(to(&query("/resources", &both))) { "Resources" } " "
        a href=(to(&format!("/applications/{application}/environments/{environment}/teardown"))) { "Tear down…" }
    }
}

fn pool_table(pools: &[PoolView], to: Links<'_>) -> Markup {
    if pools.is_empty() {
        return html! { p.quiet { "There are no pools here." } };
    }
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th scope="col" { "Pool" }
                        th scope="col" { "Template" }
                        th.number scope="col" { "Size" }
                        th.number scope="col" { "Free" }
                        th.number scope="col" { "Taken" }
                        th.number scope="col" { "Being made" }
                        th.number scope="col" { "Failed" }
                    }
                }
                tbody {
                    @for view in pools {
                        @let key = &view.pool.key;
                        @let path = format!("/environments/{}/pools/{}", key.environment, key.name);
                        tr {
                            th scope="row" {
                                a href=(to(&path)) { (key.name) }
                                @if view.pool.closing { " " span.quiet { "closing" } }
                            }
                            td { (view.pool.template) " " (view.pool.value.version) }
                            td.number { (view.pool.size) }
                            td.number { (view.free) }
                            td.number { (view.claimed) }
                            td.number { (view.provisioning) }
                            td.number { (view.failed) }
                        }
                    }
                }
            }
        }
    }
}

fn picture(environment: &EnvironmentName, graph: &Graph, to: Links<'_>) -> Markup {
    if graph.nodes.is_empty() {
        return html! { p.quiet { "Nothing lives here, and nobody here uses anything." } };
    }
    let label = format!("Resources of {environment}, who uses them, and what they depend on");
    drawing(graph, DRAWN, environment, &label, to)
}

/// A graph as a picture, from users on the left to dependencies on the right. Of a large one: its first nodes, and what
/// is between them. `home` is the environment that need not be named.
pub(super) fn drawing(graph: &Graph, most: usize, home: &EnvironmentName, label: &str, to: Links<'_>) -> Markup {
    let nodes: Vec<Drawn> = graph.nodes.iter().take(most).map(|node| drawn(node, home, to)).collect();
    let places: BTreeMap<&str, usize> = nodes.iter().zip(0..).map(|(node, place)| (node.id.as_str(), place)).collect();
    let place = |id: &str| places.get(id).copied();
    let edges = graph.edges.iter().filter_map(|edge| Some((place(&edge.from)?, place(&edge.to)?)));
    let edges: Vec<(usize, usize)> = edges.collect();
    let left_out = graph.nodes.len() - nodes.len();
    html! {
        (svg(&nodes, &edges, label))
        @if left_out > 0 || graph.truncated {
            p.quiet {
                "The picture has " (nodes.len()) " of "
                @if graph.truncated { "more than " }
                (graph.nodes.len()) " resources and users."
            }
        }
    }
}

fn drawn(node: &Node, home: &EnvironmentName, to: Links<'_>) -> Drawn {
    let Node { id, kind, name, environment, template, status, application, workload: _ } = node;
    let of = |application: &Option<ApplicationName>| application.as_ref().map_or("", |name| name.as_str()).to_owned();
    let (mut detail, class, path) = match kind {
        NodeKind::Resource => {
            let template = template.as_ref().map(ToString::to_string).unwrap_or_default();
            let (word, class) = status.map(|status| (words(status), class(status))).unwrap_or_default();
            (format!("{template}, {word}"), class, format!("/resources/{id}"))
        }
        NodeKind::Workload => (
            format!("workload of {}", of(application)),
            "workload".to_owned(),
            format!("/applications/{}", of(application)),
        ),
        NodeKind::Application => {
            ("application".to_owned(), "application".to_owned(), format!("/applications/{}", of(application)))
        }
        NodeKind::Pool => ("pool".to_owned(), "pool".to_owned(), format!("/environments/{environment}/pools/{name}")),
    };
    if environment != home {
        detail.push_str(&format!(", in {environment}"));
    }
    Drawn { id: id.clone(), label: name.clone(), detail, class, href: Some(to(&path)) }
}

fn defaults(defaults: &BTreeMap<String, TypeDefaults>, open: &Inputs) -> Markup {
    html! {
        p.quiet {
            "A value is shown where a template of its type has the parameter and none of them calls it sensitive."
        }
        @for (kind, found) in defaults {
            h3 { (kind) }
            (of_type(found, open.get(kind)))
        }
    }
}

fn of_type(found: &TypeDefaults, open: Option<&BTreeSet<String>>) -> Markup {
    let TypeDefaults { class, version, parameters, fixed } = found;
    let given = parameters.iter().map(|(name, value)| (name, value, "files may say otherwise"));
    let fixed = fixed.iter().map(|(name, value)| (name, value, "fixed"));
    let rows: Vec<(&String, &Value, &str)> = given.chain(fixed).collect();
    html! {
        @if let Some(class) = class { p { "Class " code { (class) } } }
        @if let Some(version) = version { p { "Version " code { (version) } } }
        @if !rows.is_empty() {
            div.scroll {
                table {
                    thead {
                        tr { th scope="col" { "Parameter" } th scope="col" { "Value" } th scope="col" { "Rule" } }
                    }
                    tbody {
                        @for (name, value, rule) in rows {
                            tr {
                                th scope="row" { (name) }
                                td {
                                    @if open.is_some_and(|open| open.contains(name)) { (bounded(value)) }
                                    @else { span.quiet { "(not shown)" } }
                                }
                                td { (rule) }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use conductor_domain::resource::ResourceStatus;
    use conductor_engine::{Edge, EdgeKind};
    use serde_json::json;

    use super::super::resources::tests::{HOSTILE, assert_escaped, links, now};
    use super::super::templates::tests::version;
    use super::*;

    /// An environment as its PUT says it.
    fn environment(spec: Value) -> Environment {
        let spec: EnvironmentSpec = serde_json::from_value(spec).expect("an environment");
        Environment { name: "dev".parse().expect("a name"), spec, created_at: now(), updated_at: now() }
    }

    fn node(id: &str, kind: NodeKind, name: &str) -> Node {
        let of_application = matches!(kind, NodeKind::Workload | NodeKind::Application);
        let of_resource = kind == NodeKind::Resource;
        Node {
            id: id.to_owned(),
            kind,
            name: name.to_owned(),
            environment: "dev".parse().expect("a name"),
            template: of_resource.then(|| "postgres".parse().expect("a template")),
            status: of_resource.then_some(ResourceStatus::Active),
            application: of_application.then(|| "shop".parse().expect("a name")),
            workload: (kind == NodeKind::Workload).then(|| name.parse().expect("a name")),
        }
    }

    fn edge(from: &str, to: &str, kind: EdgeKind) -> Edge {
        Edge { from: from.to_owned(), to: to.to_owned(), kind }
    }

    fn page(environment: &Environment, graph: &Graph, open: &Inputs) -> Markup {
        let applications = BTreeSet::new();
        let shown = Shown { environment, pools: &[], graph, applications: &applications, open };
        view(&shown, now(), &links)
    }

    fn nothing() -> Graph {
        Graph { nodes: Vec::new(), edges: Vec::new(), truncated: false }
    }

    #[test]
    fn what_is_said_of_an_environment_is_shown_as_text() {
        let open = Inputs::from([("note".to_owned(), BTreeSet::from(["text".to_owned()]))]);
        let check = |spec: Value| assert_escaped(&page(&environment(spec), &nothing(), &open));
        check(json!({"type": HOSTILE}));
        check(json!({"region": HOSTILE}));
        check(json!({"credentials": {"roleArn": HOSTILE}}));
        check(json!({"backend": {"type": "local", "path": HOSTILE}}));
        check(json!({"defaults": {HOSTILE: {}}}));
        check(json!({"defaults": {"note": {"class": HOSTILE}}}));
        check(json!({"defaults": {"note": {"parameters": {HOSTILE: 1}}}}));
        check(json!({"defaults": {"note": {"parameters": {"text": HOSTILE}}}}));
        check(json!({"defaults": {"note": {"fixed": {"text": [HOSTILE]}}}}));
    }

    #[test]
    fn a_default_is_shown_only_where_every_template_of_its_type_calls_it_open() {
        let spec = json!({"defaults": {"postgres": {
            "parameters": {"size": "size-5", "password": "planted-1", "token": "planted-2", "unknown": "planted-3"},
            "fixed": {"password": "planted-4"}
        }, "other": {"parameters": {"size": "planted-5"}}},
            "credentials": {"roleArn": "arn:x", "externalId": "planted-6"}});
        let small = version(
            "postgres",
            json!({
                "size": {"type": "string", "required": false, "sensitive": false, "nullable": false},
                "password": {"type": "string", "required": false, "sensitive": true, "nullable": false},
                "token": {"type": "string", "required": false, "sensitive": false, "nullable": false}
            }),
        );
        let large = version(
            "postgres.large",
            json!({
                "token": {"type": "string", "required": false, "sensitive": true, "nullable": false}
            }),
        );
        let shown = page(&environment(spec), &nothing(), &open(&[small, large])).into_string();
        assert!(shown.contains("size-5") && shown.contains("password") && shown.contains("unknown"), "{shown}");
        assert!(!shown.contains("planted"), "{shown}");
    }

    #[test]
    fn an_application_is_listed_with_what_it_holds_and_a_way_to_tear_it_down() {
        let user = node("workload:dev/shop/web", NodeKind::Workload, "web");
        let graph = Graph {
            nodes: vec![node("r1", NodeKind::Resource, "db"), node("r2", NodeKind::Resource, "dns"), user],
            edges: vec![
                edge("workload:dev/shop/web", "r1", EdgeKind::Uses),
                edge("workload:dev/shop/web", "r2", EdgeKind::Uses),
                edge("r1", "r2", EdgeKind::DependsOn),
            ],
            truncated: false,
        };
        let dev: EnvironmentName = "dev".parse().expect("a name");
        let idle: BTreeSet<ApplicationName> = BTreeSet::from(["blog".parse().expect("a name")]);
        let found = tenancies(&dev, &graph, &idle);
        let found: Vec<_> =
            found.iter().map(|(name, one)| (name.as_str(), one.workloads.len(), one.resources.len())).collect();
        assert_eq!(found, [("blog", 0, 0), ("shop", 1, 2)]);
        let shown = page(&environment(json!({})), &graph, &Inputs::new()).into_string();
        assert!(shown.contains("/live/applications/shop/environments/dev/teardown"), "{shown}");
    }

    #[test]
    fn a_name_in_the_picture_is_shown_as_text() {
        let graph = Graph { nodes: vec![node("r1", NodeKind::Resource, HOSTILE)], ..nothing() };
        assert_escaped(&page(&environment(json!({})), &graph, &Inputs::new()));
    }

    #[test]
    fn a_picture_of_two_hundred_resources_is_a_small_page_and_a_larger_one_is_cut() {
        let graph = |resources: usize| {
            let ids = || (0..resources).map(|number| format!("01890a5d-ac96-774b-bcce-{number:012}"));
            let mut nodes: Vec<Node> =
                ids().map(|id| node(&id, NodeKind::Resource, &format!("orders.web.{id}"))).collect();
            nodes.extend(
                (0..50)
                    .map(|user| node(&format!("workload:dev/shop/w{user}"), NodeKind::Workload, &format!("w{user}"))),
            );
            let uses = ids()
                .zip(0..)
                .map(|(id, number)| edge(&format!("workload:dev/shop/w{}", number % 50), &id, EdgeKind::Uses));
            let needs = ids().zip(ids().skip(1)).map(|(from, to)| edge(&from, &to, EdgeKind::DependsOn));
            let edges = uses.chain(needs).collect();
            Graph { nodes, edges, truncated: false }
        };
        let shown = page(&environment(json!({})), &graph(200), &Inputs::new()).into_string();
        assert!(shown.len() < 300_000, "{}", shown.len());
        assert!(!shown.contains("The picture has"));
        let shown = page(&environment(json!({})), &graph(2_000), &Inputs::new()).into_string();
        assert!(shown.len() < 300_000, "{}", shown.len());
        assert!(shown.contains("The picture has 250 of 2050 resources and users."));
    }
}

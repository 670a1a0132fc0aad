//! `/templates` and `/templates/{name}`: what resources are made from.
//!
//! It decides nothing.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use conductor_domain::Code;
use conductor_domain::operation::Limits;
use conductor_domain::template::policy::Finding;
use conductor_domain::template::{Input, Output, ProviderNeed, Template, TemplateName, TemplateVersion, ValueType};
use conductor_engine::port::Clock;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::environments::CursorQuery;
use super::page::{Page, Section, badge, facts, href, more, query, render, value, when, words};
use super::resources::{Links, given};
use crate::app::App;
use crate::extract::{Asked, Asking, Named};
use crate::problem::Refused;

/// Templates on a page.
const ON_A_PAGE: u32 = 100;
/// Rows of a table; the API has all of them.
const ROWS: usize = 200;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/templates", get(list)).route("/templates/{name}", get(one))
}

async fn list(
    State(app): State<App>,
    Asking(caller): Asking,
    Asked(asked): Asked<CursorQuery>,
) -> Result<Response, Refused> {
    let list = app.engine.templates(&caller, asked.cursor(), ON_A_PAGE).await?;
    let templates: Vec<Template> = list.items.into_iter().map(|read| read.value).collect();
    let older = more(&app, "/templates", list.next.as_deref());
    let body = all(&templates, &older, &|path| href(&app, path));
    Ok(render(Page { app: &app, title: "Templates", section: Section::Templates, live: false, body }))
}

#[derive(Debug, Deserialize)]
struct VersionQuery {
    version: Option<String>,
}

async fn one(
    State(app): State<App>,
    Asking(caller): Asking,
    Named(name): Named<TemplateName>,
    Asked(asked): Asked<VersionQuery>,
) -> Result<Response, Refused> {
    let versions = app.engine.template_versions(&caller, &name).await?;
    let versions: Vec<TemplateVersion> = versions.into_iter().map(|read| read.value).collect();
    let chosen = choose(&name, &versions, given(&asked.version))?;
    let body = view(&name, &versions, chosen, app.engine.clock.now(), &|path| href(&app, path));
    let title = format!("Template {name}");
    Ok(render(Page { app: &app, title: &title, section: Section::Templates, live: false, body }))
}

/// The version that is asked for; the newest where none is.
fn choose<'a>(
    name: &TemplateName,
    versions: &'a [TemplateVersion],
    asked: Option<&str>,
) -> Result<Option<&'a TemplateVersion>, Refused> {
    let Some(asked) = asked else { return Ok(versions.first()) };
    let found = versions.iter().find(|version| version.version.to_string() == asked);
    let missing = || Refused::new(Code::TemplateNotFound, format!("there is no version {asked} of {name}"));
    found.map(Some).ok_or_else(missing)
}

fn all(templates: &[Template], older: &Markup, to: Links<'_>) -> Markup {
    html! {
        h1 { "Templates" }
        div #live {
            @if templates.is_empty() {
                p.quiet { "There is no template yet." }
            } @else {
                div.scroll {
                    table {
                        caption { "Resource templates" }
                        thead {
                            tr {
                                th scope="col" { "Template" }
                                th scope="col" { "Type" }
                                th scope="col" { "Class" }
                                th scope="col" { "New resources get" }
                                th.number scope="col" { "Versions" }
                            }
                        }
                        tbody {
                            @for template in templates {
                                tr {
                                    th scope="row" {
                                        a href=(to(&format!("/templates/{}", template.name))) { (template.name) }
                                    }
                                    td { (template.name.kind()) }
                                    td { (template.name.class()) }
                                    td { @if let Some(newest) = template.newest() { (newest) } @else { "nothing" } }
                                    td.number { (template.versions.len()) }
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

fn view(
    name: &TemplateName,
    versions: &[TemplateVersion],
    chosen: Option<&TemplateVersion>,
    now: Timestamp,
    to: Links<'_>,
) -> Markup {
    let text = name.to_string();
    html! {
        h1 { "Template " (name) }
        p {
            a href=(to(&query("/resources", &[("type", Some(name.kind()))]))) { "Resources of this type" } ", "
            a href=(to(&query("/audit", &[("noun", Some("template")), ("subject", Some(text.as_str()))]))) { "audit" }
        }
        div #live {
            section { h2 { "Versions" } (table(versions, chosen, now, to)) }
            @if let Some(version) = chosen { (details(version, now)) }
        }
    }
}

fn table(versions: &[TemplateVersion], chosen: Option<&TemplateVersion>, now: Timestamp, to: Links<'_>) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "Versions, newest first" }
                thead {
                    tr {
                        th scope="col" { "Version" }
                        th scope="col" { "State" }
                        th scope="col" { "Engine" }
                        th scope="col" { "Published" }
                        th scope="col" { "By" }
                    }
                }
                tbody {
                    @for version in versions.iter().take(ROWS) {
                        @let number = version.version.to_string();
                        @let path = format!("/templates/{}", version.template);
                        @let path = query(&path, &[("version", Some(number.as_str()))]);
                        @let shown = chosen.is_some_and(|chosen| chosen.version == version.version);
                        tr {
                            th scope="row" { a href=(to(&path)) aria-current=[shown.then_some("true")] { (number) } }
                            td { (badge(version.state)) }
                            td { (version.engine) " " (version.engine_version) }
                            td { (when(version.created_at, now)) }
                            td { (version.created_by) }
                        }
                    }
                }
            }
        }
        (rest(versions.len()))
    }
}

fn details(version: &TemplateVersion, now: Timestamp) -> Markup {
    let interface = &version.interface;
    html! {
        section { h2 { "Version " (version.version) } (settings(version, now)) }
        @if !version.findings.is_empty() {
            section { h2 { "Findings" } (findings(&version.findings)) }
        }
        section { h2 { "Inputs" } (rows(&["Input", "Type", "Rules", "Description"], interface.inputs.iter(), input)) }
        section { h2 { "Outputs" } (rows(&["Output", "Rules", "Description"], interface.outputs.iter(), output)) }
        section { h2 { "Providers" } (rows(&["Provider", "Source", "Version"], interface.providers.iter(), provider)) }
    }
}

fn settings(version: &TemplateVersion, now: Timestamp) -> Markup {
    let Limits { attempts, running_minutes, waiting_minutes } = version.limits;
    let limits = format!("{attempts} attempts, {running_minutes} min of running, {waiting_minutes} min of waiting");
    let last = if version.retain { "they stay" } else { "they are destroyed, unless the file says otherwise" };
    let after = if version.untrusted { "the process ends: it is not trusted" } else { "others run there" };
    let constraint = if version.engine_version.is_empty() { "any version" } else { version.engine_version.as_str() };
    facts(vec![
        ("State", badge(version.state)),
        ("SHA-256 of the archive", html! { code { (version.sha256) } }),
        ("Size of the archive", html! { (version.bytes) " bytes" }),
        ("Engine", html! { (version.engine) ", " (constraint) }),
        ("Run by", html! { (words(version.executor)) }),
        ("Limits of an operation", html! { (limits) }),
        ("When the last consumer of its resources leaves", html! { (last) }),
        ("AWS services that it reaches", services(&version.services)),
        ("After its run", html! { (after) }),
        ("Published", html! { (when(version.created_at, now)) " by " (version.created_by) }),
    ])
}

fn services(services: &[String]) -> Markup {
    html! {
        @if services.is_empty() {
            "all that the environment's role may"
        } @else {
            @for (index, service) in services.iter().enumerate() { @if index > 0 { ", " } code { (service) } }
        }
    }
}

/// What the policy warned of when the version was published.
fn findings(findings: &[Finding]) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "What the organisation's policy warned of when it was published" }
                thead {
                    tr { th scope="col" { "Where" } th scope="col" { "Rule" } th scope="col" { "Finding" } }
                }
                tbody {
                    @for finding in findings {
                        tr {
                            th scope="row" { code { (finding.file) ":" (finding.line) } }
                            td { (words(finding.rule)) }
                            td { (finding.detail) }
                        }
                    }
                }
            }
        }
    }
}

/// A table with a row for each name.
fn rows<'a, T: 'a>(
    heads: &[&str],
    found: impl ExactSizeIterator<Item = (&'a String, &'a T)>,
    cells: impl Fn(&T) -> Markup,
) -> Markup {
    let all = found.len();
    html! {
        @if all == 0 {
            p.quiet { "It has none." }
        } @else {
            div.scroll {
                table {
                    thead { tr { @for head in heads { th scope="col" { (head) } } } }
                    tbody {
                        @for (name, one) in found.take(ROWS) {
                            tr { th scope="row" { code { (name) } } (cells(one)) }
                        }
                    }
                }
            }
            (rest(all))
        }
    }
}

fn input(input: &Input) -> Markup {
    html! {
        td { (value(&Value::from(constraint(&input.value_type)))) }
        td {
            @if input.required { "required" } @else { "has a default" }
            @if input.sensitive { ", sensitive" }
            @if input.nullable { ", may be null" }
        }
        td { (described(input.description.as_deref())) }
    }
}

fn output(output: &Output) -> Markup {
    html! {
        td { @if output.sensitive { "sensitive" } }
        td { (described(output.description.as_deref())) }
    }
}

fn provider(provider: &ProviderNeed) -> Markup {
    html! {
        td { (provider.source) }
        td { @if provider.version.is_empty() { "any" } @else { code { (provider.version) } } }
    }
}

/// What the module says of an input or an output: perhaps much.
fn described(description: Option<&str>) -> Markup {
    const LONGEST: usize = 500;
    let text = description.unwrap_or_default();
    let start: String = text.chars().take(LONGEST).collect();
    html! { (start) @if start.len() < text.len() { "…" } }
}

/// That a table does not have everything.
fn rest(all: usize) -> Markup {
    html! { @if all > ROWS { p.quiet { "and " (all - ROWS) " more, which the API lists" } } }
}

/// A type as terraform writes it.
fn constraint(found: &ValueType) -> String {
    match found {
        ValueType::Any => "any".to_owned(),
        ValueType::String => "string".to_owned(),
        ValueType::Number => "number".to_owned(),
        ValueType::Bool => "bool".to_owned(),
        ValueType::List(inner) => format!("list({})", constraint(inner)),
        ValueType::Set(inner) => format!("set({})", constraint(inner)),
        ValueType::Map(inner) => format!("map({})", constraint(inner)),
        ValueType::Object(fields) => {
            let field = |optional: bool, inner: String| if optional { format!("optional({inner})") } else { inner };
            let fields = fields.iter().map(|(name, found)| {
                let inner = field(found.optional, constraint(&found.value_type));
                format!("{name} = {inner}")
            });
            format!("object({{{}}})", fields.collect::<Vec<_>>().join(", "))
        }
        ValueType::Tuple(types) => {
            format!("tuple([{}])", types.iter().map(constraint).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use conductor_domain::template::policy::{Rule, Verdict};
    use conductor_domain::template::{Interface, TemplateState};
    use serde_json::json;

    use super::super::resources::tests::{HOSTILE, NOW, assert_escaped, links, now};
    use super::*;

    /// A version of a template with some inputs.
    pub fn version(template: &str, inputs: Value) -> TemplateVersion {
        serde_json::from_value(json!({
            "template": template, "version": "1.2.3", "state": "Active", "sha256": "abc", "bytes": 10,
            "interface": {"inputs": inputs, "outputs": {}, "providers": {}}, "engine": "terraform",
            "engineVersion": ">= 1.11", "createdAt": NOW, "createdBy": "local"
        }))
        .expect("a version")
    }

    fn page(version: TemplateVersion) -> Markup {
        let versions = [version];
        view(&versions[0].template.clone(), &versions, versions.first(), now(), &links)
    }

    #[test]
    fn every_text_of_a_version_is_shown_as_text() {
        let plain = || version("postgres", json!({}));
        let with = |interface: Interface| page(TemplateVersion { interface, ..plain() });
        assert_escaped(&page(TemplateVersion { engine_version: HOSTILE.to_owned(), ..plain() }));
        assert_escaped(&page(TemplateVersion { created_by: HOSTILE.to_owned(), ..plain() }));
        let input =
            json!({"type": "string", "required": true, "sensitive": true, "nullable": false, "description": HOSTILE});
        assert_escaped(&page(version("postgres", json!({"size": input}))));
        let object = json!({"object": {HOSTILE: {"type": "string", "optional": true}}});
        let input = json!({"type": object, "required": true, "sensitive": true, "nullable": false});
        assert_escaped(&page(version("postgres", json!({"size": input}))));
        let output = Output { sensitive: false, description: Some(HOSTILE.to_owned()) };
        let outputs = BTreeMap::from([("host".to_owned(), output)]);
        assert_escaped(&with(Interface { outputs, ..Interface::default() }));
        let provider = ProviderNeed { source: HOSTILE.to_owned(), version: String::new() };
        let providers = BTreeMap::from([("aws".to_owned(), provider)]);
        assert_escaped(&with(Interface { providers, ..Interface::default() }));
        assert_escaped(&page(TemplateVersion { services: vec![HOSTILE.to_owned()], ..plain() }));
        let finding = |file: &str, detail: &str| Finding {
            rule: Rule::HttpData,
            action: Verdict::Warn,
            file: file.to_owned(),
            line: 7,
            detail: detail.to_owned(),
        };
        assert_escaped(&page(TemplateVersion { findings: vec![finding(HOSTILE, "x")], ..plain() }));
        assert_escaped(&page(TemplateVersion { findings: vec![finding("x", HOSTILE)], ..plain() }));
    }

    #[test]
    fn what_the_policy_warned_of_and_how_far_a_version_is_trusted_is_shown() {
        let check = |version: TemplateVersion, shown: &[&str], not: &[&str]| {
            let page = page(version).into_string();
            assert!(shown.iter().all(|text| page.contains(text)), "{shown:?}: {page}");
            assert!(!not.iter().any(|text| page.contains(text)), "{not:?}: {page}");
        };
        let plain = || version("postgres", json!({}));
        check(plain(), &["all that the environment's role may", "others run there"], &["Findings", "is not trusted"]);
        let services = vec!["rds".to_owned(), "kms".to_owned()];
        let findings = vec![Finding {
            rule: Rule::HttpData,
            action: Verdict::Warn,
            file: "main.tf".to_owned(),
            line: 7,
            detail: "it asks a server".to_owned(),
        }];
        let marked = TemplateVersion { services, untrusted: true, findings, ..plain() };
        let shown =
            ["<code>rds</code>, <code>kms</code>", "is not trusted", "main.tf:7", "Http data", "it asks a server"];
        check(marked, &shown, &["all that the environment's role may"]);
    }

    #[test]
    fn a_type_is_written_as_terraform_writes_it() {
        let check = |found: Value, expect: &str| {
            let found: ValueType = serde_json::from_value(found).expect("a type");
            assert_eq!(constraint(&found), expect);
        };
        check(json!("any"), "any");
        check(json!("string"), "string");
        check(json!({"list": "number"}), "list(number)");
        check(json!({"map": {"set": "bool"}}), "map(set(bool))");
        check(json!({"tuple": ["string", "number"]}), "tuple([string, number])");
        let object =
            json!({"a": {"type": "string", "optional": false}, "b": {"type": {"list": "any"}, "optional": true}});
        check(json!({"object": object}), "object({a = string, b = optional(list(any))})");
    }

    #[test]
    fn the_newest_version_is_shown_unless_another_is_asked_for() {
        let name: TemplateName = "postgres".parse().expect("a template");
        let at = |number: &str| TemplateVersion {
            version: number.parse().expect("a version"),
            ..version("postgres", json!({}))
        };
        let versions = [at("2.0.0"), at("1.0.0")];
        let check = |asked: Option<&str>, expect: Result<&str, Code>| {
            let found = choose(&name, &versions, asked).map_err(|refused| refused.0.code);
            let found = found.map(|found| found.expect("a version").version.to_string());
            assert_eq!(found, expect.map(str::to_owned), "{asked:?}");
        };
        check(None, Ok("2.0.0"));
        check(Some("1.0.0"), Ok("1.0.0"));
        check(Some("3.0.0"), Err(Code::TemplateNotFound));
    }

    #[test]
    fn templates_are_listed_with_the_version_that_new_resources_get() {
        let states = [("1.0.0", TemplateState::Active), ("2.0.0", TemplateState::Deprecated)];
        let states = states.map(|(version, state)| (version.parse::<semver::Version>().expect("a version"), state));
        let template = Template { name: "postgres".parse().expect("a template"), versions: BTreeMap::from(states) };
        let shown = all(&[template], &html! {}, &links).into_string();
        assert!(shown.contains("<td>1.0.0</td>") && shown.contains("/live/templates/postgres\""), "{shown}");
    }

    #[test]
    fn a_version_with_two_hundred_inputs_is_a_small_page() {
        let input = json!({"type": {"map": "string"}, "required": true, "sensitive": false, "nullable": true,
            "description": "d".repeat(500)});
        let inputs: serde_json::Map<String, Value> =
            (0..200).map(|number| (format!("input-{number}"), input.clone())).collect();
        let page = page(version("postgres", Value::Object(inputs))).into_string();
        assert!(page.len() < 300_000, "{}", page.len());
    }
}

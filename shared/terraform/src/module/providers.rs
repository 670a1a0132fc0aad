//! Which providers a module needs: those that it states, and those that the types of its resources imply.

use std::collections::{BTreeMap, BTreeSet};

use super::ModuleError;
use super::syntax::{Section, Value};
use super::tree::Folder;

/// Providers that are part of the engine.
const BUILT_IN: &str = "terraform.io/builtin/";

/// A provider that a folder needs, and where it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need<'a> {
    /// Its local name.
    pub name: String,
    /// Its full address.
    pub source: String,
    /// Its version constraint.
    pub version: Option<String>,
    pub file: &'a str,
    pub line: usize,
}

/// All that a folder needs but the built-in one: what is stated, in the order in which a later statement overrides an
/// earlier one, and then what is implied.
pub(super) fn of<'a>(folder: &Folder<'a>, registry: &str) -> Result<Vec<Need<'a>>, ModuleError> {
    let mut needs = Vec::new();
    let mut stated = BTreeSet::new();
    let mut used: BTreeMap<String, (&'a str, usize)> = BTreeMap::new();
    for (file, parsed) in &folder.files {
        let file = *file;
        for section in parsed.sections() {
            if section.kind == "terraform" {
                state(&section, file, registry, &mut stated, &mut needs)?;
            }
            imply(&section, file, &mut used);
        }
    }
    for (name, (file, line)) in used {
        if name != "terraform" && !stated.contains(&name) {
            needs.push(Need { source: address(&name, registry), name, version: None, file, line });
        }
    }
    Ok(needs)
}

fn state<'a>(
    settings: &Section<'_>,
    file: &'a str,
    registry: &str,
    stated: &mut BTreeSet<String>,
    needs: &mut Vec<Need<'a>>,
) -> Result<(), ModuleError> {
    for entry in settings.sections.iter().filter(|one| one.kind == "required_providers").flat_map(|one| &one.entries) {
        let (source, version) = requirement(entry.value).ok_or_else(|| ModuleError::HclInvalid {
            file: file.to_owned(),
            line: Some(entry.line),
            message: format!("the provider `{}` must have a source and a version in plain texts", entry.name),
        })?;
        let source = address(source.as_deref().unwrap_or(entry.name), registry);
        stated.insert(entry.name.to_owned());
        if !source.starts_with(BUILT_IN) {
            needs.push(Need { name: entry.name.to_owned(), source, version, file, line: entry.line });
        }
    }
    Ok(())
}

fn imply<'a>(section: &Section<'_>, file: &'a str, used: &mut BTreeMap<String, (&'a str, usize)>) {
    if let ("resource" | "data" | "ephemeral" | "action" | "list", [kind, _]) =
        (section.kind, section.labels.as_slice())
    {
        let named = section.entries.iter().find(|entry| entry.name == "provider");
        let named = named.and_then(|entry| entry.value.root());
        let implied = || kind.split('_').next().unwrap_or(kind).to_owned();
        used.entry(named.unwrap_or_else(implied)).or_insert((file, section.line));
    }
    section.sections.iter().for_each(|inner| imply(inner, file, used));
}

/// Source and version of an entry of `required_providers`: an object, or only a version as in old configurations. `None`
/// where they would have to be calculated: terraform takes any expression for a name or a text.
fn requirement(value: Value<'_>) -> Option<(Option<String>, Option<String>)> {
    if let Some(version) = value.text() {
        return Some((None, Some(version)));
    }
    let text = |name: &str| value.member(name).map_or(Some(None), |value| value.text().map(Some));
    if value.has_plain_names() { Some((text("source")?, text("version")?)) } else { None }
}

/// `aws`, `hashicorp/aws` or a full address → the full address.
fn address(source: &str, registry: &str) -> String {
    let source = source.to_lowercase();
    match source.split('/').count() {
        1 => format!("{registry}/hashicorp/{source}"),
        2 => format!("{registry}/{source}"),
        _ => source,
    }
}

#[cfg(test)]
mod tests {
    use super::super::syntax;
    use super::*;

    #[test]
    fn what_is_stated_and_what_is_implied_is_needed_and_has_its_place() {
        let hcl = r#"
            terraform {
              required_providers {
                cloud = {
                  source  = "Acme/Cloud"
                  version = "~> 1.0"
                  configuration_aliases = [cloud.west]
                }
                random = ">= 3"
                builtin = { source = "terraform.io/builtin/terraform" }
              }
            }
            resource "cloud_box" "a" {}
            data "google_project" "b" { provider = google-beta.west }
            resource "terraform_data" "c" {}
            check "d" {
              data "http" "e" { url = "" }
            }
        "#;
        let json = r#"{"resource": {"null_resource": {"a": {}}},
            "data": {"aws_x": {"b": {"provider": "cloud.west"}}},
            "terraform": {"required_providers": {"cloud": {"source": "a/b", "source": "host.example/c/d"}}}}"#;
        let parsed = |file, text: &str| (file, syntax::parse(file, text.as_bytes()).expect("a configuration"));
        let files = vec![parsed("a.tf", hcl), parsed("b.tf.json", json)];
        let found = of(&Folder { path: String::new(), files }, "registry.example").expect("providers");
        let found: Vec<String> = found
            .iter()
            .map(|need| {
                let version = need.version.as_deref().unwrap_or("any");
                format!("{}:{} {} = {} {version}", need.file, need.line, need.name, need.source)
            })
            .collect();
        let expect = [
            "a.tf:4 cloud = registry.example/acme/cloud ~> 1.0",
            "a.tf:9 random = registry.example/hashicorp/random >= 3",
            "b.tf.json:3 cloud = host.example/c/d any",
            "a.tf:14 google-beta = registry.example/hashicorp/google-beta any",
            "a.tf:17 http = registry.example/hashicorp/http any",
            "b.tf.json:1 null = registry.example/hashicorp/null any",
        ];
        assert_eq!(found, expect);
    }

    #[test]
    fn a_provider_that_is_known_only_when_terraform_runs_is_refused() {
        let check = |file: &str, text: &str| {
            let files = vec![(file, syntax::parse(file, text.as_bytes()).expect("a configuration"))];
            let found = of(&Folder { path: String::new(), files }, "registry.example").map_err(|error| error.code());
            assert_eq!(found, Err("template_hcl_invalid"), "{text}");
        };
        for requirement in [
            "{ (\"source\") = \"evil/x\" }",
            "{ \"${\"source\"}\" = \"evil/x\" }",
            "{ source = true ? \"evil/x\" : \"\" }",
            "{ source = \"acme/x\", version = local.version }",
            "{ source = \"${\"evil\"}/x\" }",
            "[\"evil/x\"]",
            "true ? \"1\" : \"2\"",
        ] {
            check("a.tf", &format!("terraform {{\n required_providers {{\n x = {requirement}\n }}\n}}\n"));
        }
        for requirement in [r#"{"source": "${\"evil\"}/x"}"#, r#"{"${\"source\"}": "evil/x"}"#, "[]"] {
            check("a.tf.json", &format!(r#"{{"terraform": {{"required_providers": {{"x": {requirement}}}}}}}"#));
        }
    }
}

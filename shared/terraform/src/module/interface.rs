//! What a module declares: variables, outputs, providers, and the terraform versions it works with. Follows module
//! calls inside of the archive, because what they need must be installed too. Never evaluates anything but constants.

use std::collections::{BTreeMap, BTreeSet};

use hcl::eval::{Context, Evaluate};
use hcl::expr::{Expression, ObjectKey, Operation};
use hcl::{Block, Body};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::types::{self, Type};
use super::{ModuleError, syntax};
use crate::engine::Engine;

/// What a module takes, gives and needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    /// Input variables by name.
    pub variables: BTreeMap<String, Variable>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, Output>,
    /// Providers by local name, those of module calls included; not the built-in one.
    pub providers: BTreeMap<String, Provider>,
    /// `required_version` of the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_version: Option<String>,
}

/// An input variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// Its type constraint.
    #[serde(rename = "type")]
    pub type_expr: Type,
    /// Whether it has no default.
    pub required: bool,
    /// The default, where it is a constant other than `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether terraform hides its value.
    pub sensitive: bool,
    /// Whether it may be `null`.
    pub nullable: bool,
    /// The author's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Whether terraform hides its value.
    pub sensitive: bool,
    /// The author's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A provider that the module needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Its full address: `registry.terraform.io/hashicorp/aws`.
    pub source: String,
    /// Its version constraint, as terraform writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Reads the module whose files these are.
pub(super) fn read(files: &BTreeMap<String, Vec<u8>>, engine: Engine) -> Result<Interface, ModuleError> {
    if syntax::configuration(files, "").is_empty() {
        return Err(ModuleError::NoConfiguration);
    }
    let mut pending = Vec::new();
    let mut interface = read_folder(files, "", engine, &mut pending)?;
    let mut seen = BTreeSet::from([String::new()]);
    while let Some(folder) = pending.pop() {
        if seen.insert(folder.clone()) {
            let called = read_folder(files, &folder, engine, &mut pending)?;
            called.providers.into_iter().for_each(|(name, provider)| require(&mut interface.providers, name, provider));
        }
    }
    Ok(interface)
}

/// Adds what a called module needs; a local name that means another provider there gets one of its own.
fn require(providers: &mut BTreeMap<String, Provider>, name: String, provider: Provider) {
    if let Some(known) = providers.values_mut().find(|known| known.source == provider.source) {
        known.version = match (known.version.take(), provider.version) {
            (Some(ours), Some(theirs)) if ours != theirs => Some(format!("{ours}, {theirs}")),
            (ours, theirs) => ours.or(theirs),
        };
        return;
    }
    let mut free = name.clone();
    let mut number = 2;
    while providers.contains_key(&free) {
        free = format!("{name}_{number}");
        number += 1;
    }
    providers.insert(free, provider);
}

type Attributes<'a> = BTreeMap<&'a str, &'a Expression>;

#[derive(Default)]
struct Declared<'a> {
    variables: BTreeMap<&'a str, (&'a str, Attributes<'a>)>,
    outputs: BTreeMap<&'a str, Attributes<'a>>,
    required: BTreeMap<&'a str, (Option<String>, Option<String>)>,
    used: BTreeSet<String>,
    required_version: Option<String>,
}

fn read_folder(
    files: &BTreeMap<String, Vec<u8>>,
    folder: &str,
    engine: Engine,
    pending: &mut Vec<String>,
) -> Result<Interface, ModuleError> {
    let mut parsed = Vec::new();
    for (file, content) in syntax::configuration(files, folder) {
        parsed.push((file, syntax::parse(file, content)?));
    }
    let mut declared = Declared::default();
    for (file, body) in &parsed {
        for block in body.blocks() {
            declare(&mut declared, file, folder, block, pending)?;
        }
    }
    finish(declared, engine.registry())
}

fn declare<'a>(
    declared: &mut Declared<'a>,
    file: &'a str,
    folder: &str,
    block: &'a Block,
    pending: &mut Vec<String>,
) -> Result<(), ModuleError> {
    let labels: Vec<&str> = block.labels().iter().map(|label| label.as_str()).collect();
    match (block.identifier(), labels.as_slice()) {
        ("terraform", _) => settings(declared, file, block.body())?,
        ("provider", [name]) => {
            return Err(ModuleError::Provider { file: file.to_owned(), name: (*name).to_owned() });
        }
        ("variable", [name]) => {
            let entry = declared.variables.entry(*name).or_insert_with(|| (file, Attributes::new()));
            entry.1.extend(attributes(block.body()));
        }
        ("output", [name]) => declared.outputs.entry(*name).or_default().extend(attributes(block.body())),
        ("resource" | "data" | "ephemeral", [kind, _]) => {
            let named = attributes(block.body()).get("provider").and_then(|expression| local_name(expression));
            let implied = kind.split('_').next().unwrap_or(kind);
            declared.used.insert(named.unwrap_or_else(|| implied.to_owned()));
        }
        ("module", [name]) => {
            let source = attributes(block.body()).get("source").and_then(|expression| text(expression));
            if let Some(source) = source.filter(|source| is_local(source)) {
                let outside = || ModuleError::ModuleSource { file: file.to_owned(), name: (*name).to_owned() };
                pending.push(join(folder, &source).ok_or_else(outside)?);
            }
        }
        _ => {}
    }
    Ok(())
}

fn settings<'a>(declared: &mut Declared<'a>, file: &str, body: &'a Body) -> Result<(), ModuleError> {
    if let Some(version) = attributes(body).get("required_version").and_then(|expression| text(expression)) {
        declared.required_version = Some(version);
    }
    for block in body.blocks() {
        match block.identifier() {
            "backend" => return Err(ModuleError::Backend { file: file.to_owned(), block: "backend" }),
            "cloud" => return Err(ModuleError::Backend { file: file.to_owned(), block: "cloud" }),
            "required_providers" => {
                for (name, expression) in attributes(block.body()) {
                    declared.required.insert(name, requirement(expression));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn finish(declared: Declared<'_>, registry: &str) -> Result<Interface, ModuleError> {
    let mut interface = Interface { required_version: declared.required_version, ..Interface::default() };
    for (name, (file, attributes)) in declared.variables {
        interface.variables.insert(name.to_owned(), variable(file, name, &attributes)?);
    }
    for (name, attributes) in declared.outputs {
        let output = Output { sensitive: flag(&attributes, "sensitive", false), description: described(&attributes) };
        interface.outputs.insert(name.to_owned(), output);
    }
    for (name, (source, version)) in &declared.required {
        let source = address(source.as_deref().unwrap_or(name), registry);
        if !source.starts_with("terraform.io/builtin/") {
            interface.providers.insert((*name).to_owned(), Provider { source, version: version.clone() });
        }
    }
    for name in declared.used {
        if name != "terraform" && !declared.required.contains_key(name.as_str()) {
            let provider = Provider { source: address(&name, registry), version: None };
            interface.providers.insert(name, provider);
        }
    }
    Ok(interface)
}

fn variable(file: &str, name: &str, attributes: &Attributes<'_>) -> Result<Variable, ModuleError> {
    let type_expr = match attributes.get("type") {
        None => Type::Any,
        Some(expression) => types::parse(expression).map_err(|reason| ModuleError::HclInvalid {
            file: file.to_owned(),
            line: None,
            message: format!("variable `{name}`: {reason}"),
        })?,
    };
    let default = attributes.get("default");
    Ok(Variable {
        type_expr,
        required: default.is_none(),
        default: default.and_then(|expression| constant(expression)).filter(|value| !value.is_null()),
        sensitive: flag(attributes, "sensitive", false),
        nullable: flag(attributes, "nullable", true),
        description: described(attributes),
    })
}

fn attributes(body: &Body) -> Attributes<'_> {
    body.attributes().map(|attribute| (attribute.key(), attribute.expr())).collect()
}

fn described(attributes: &Attributes<'_>) -> Option<String> {
    attributes.get("description").and_then(|expression| text(expression))
}

fn flag(attributes: &Attributes<'_>, name: &str, default: bool) -> bool {
    match attributes.get(name).and_then(|expression| constant(expression)) {
        Some(Value::Bool(value)) => value,
        Some(Value::String(value)) => value == "true",
        _ => default,
    }
}

fn constant(expression: &Expression) -> Option<Value> {
    if !is_plain(expression) {
        return None;
    }
    let value = expression.evaluate(&Context::new()).ok()?;
    serde_json::to_value(&value).ok()
}

/// Whether its value is as large as its text at most: loops could make a few bytes fill the memory.
fn is_plain(expression: &Expression) -> bool {
    match expression {
        Expression::Null | Expression::Bool(_) | Expression::Number(_) | Expression::String(_) => true,
        Expression::Array(items) => items.iter().all(is_plain),
        Expression::Object(entries) => entries.iter().all(|(key, value)| {
            let plain_key = match key {
                ObjectKey::Expression(key) => is_plain(key),
                _ => true,
            };
            plain_key && is_plain(value)
        }),
        Expression::TemplateExpr(template) => {
            let text = template.to_string();
            !text.contains("${") && !text.contains("%{")
        }
        Expression::Parenthesis(inner) => is_plain(inner),
        Expression::Operation(operation) => match &**operation {
            Operation::Unary(unary) => is_plain(&unary.expr),
            Operation::Binary(_) => false,
        },
        _ => false,
    }
}

fn text(expression: &Expression) -> Option<String> {
    constant(expression)?.as_str().map(str::to_owned)
}

/// `aws`, `aws.west` or, in JSON, `"aws.west"` → `aws`.
fn local_name(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Variable(name) => Some(name.as_str().to_owned()),
        Expression::Traversal(traversal) => local_name(&traversal.expr),
        Expression::String(name) => name.split('.').next().map(str::to_owned),
        _ => None,
    }
}

/// An entry of `required_providers`: an object, or only a version as in old configurations.
fn requirement(expression: &Expression) -> (Option<String>, Option<String>) {
    let Expression::Object(entries) = expression else {
        return (None, text(expression));
    };
    let get = |wanted: &str| {
        entries.iter().find_map(|(key, value)| {
            let named = match key {
                ObjectKey::Identifier(name) => name.as_str() == wanted,
                ObjectKey::Expression(Expression::String(name)) => name == wanted,
                _ => false,
            };
            if named { text(value) } else { None }
        })
    };
    (get("source"), get("version"))
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

fn is_local(source: &str) -> bool {
    source.starts_with("./") || source.starts_with("../") || source.starts_with('/') || matches!(source, "." | "..")
}

/// The folder that `source` means in `folder`; `None` where it is outside of the archive.
fn join(folder: &str, source: &str) -> Option<String> {
    if source.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        entries.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn read(files: &BTreeMap<String, Vec<u8>>) -> Result<Interface, ModuleError> {
        super::read(files, Engine::Terraform)
    }

    fn code(entries: &[(&str, &str)]) -> &'static str {
        match read(&files(entries)) {
            Ok(_) => "ok",
            Err(error) => error.code(),
        }
    }

    const HCL: &str = r#"
        terraform {
          required_version = ">= 1.5"
          required_providers {
            aws = { source = "hashicorp/aws", version = "~> 5.100" }
            builtin = { source = "terraform.io/builtin/terraform" }
          }
        }
        variable "name" {
          type        = string
          description = "What it is called"
        }
        variable "size" {
          type     = number
          default  = -3
          nullable = false
        }
        variable "password" {
          type      = string
          default   = null
          sensitive = true
        }
        resource "aws_s3_bucket" "it" { bucket = var.name }
        resource "terraform_data" "it" {}
        resource "random_id" "it" { byte_length = 4 }
        data "google_project" "it" { provider = google-beta.west }
        output "arn" { value = aws_s3_bucket.it.arn }
        output "password" {
          value     = var.password
          sensitive = true
        }
    "#;

    const JSON: &str = r#"{
        "terraform": {
          "required_version": ">= 1.5",
          "required_providers": {
            "aws": {"source": "hashicorp/aws", "version": "~> 5.100"},
            "builtin": {"source": "terraform.io/builtin/terraform"}
          }
        },
        "variable": {
          "name": {"type": "string", "description": "What it is called"},
          "size": [{"type": "number", "default": -3, "nullable": false}],
          "password": {"type": "string", "default": null, "sensitive": true}
        },
        "resource": {
          "aws_s3_bucket": {"it": {"bucket": "${var.name}"}},
          "terraform_data": {"it": {}},
          "random_id": {"it": {"byte_length": 4}}
        },
        "data": {"google_project": {"it": {"provider": "google-beta.west"}}},
        "output": {
          "arn": {"value": "${aws_s3_bucket.it.arn}"},
          "password": {"value": "${var.password}", "sensitive": true}
        }
    }"#;

    #[test]
    fn hcl_and_json_declare_the_same_interface() {
        let hcl = read(&files(&[("main.tf", HCL)])).expect("HCL is read");
        let json_form = read(&files(&[("main.tf.json", JSON)])).expect("JSON is read");
        assert_eq!(hcl, json_form);
        assert_eq!(
            serde_json::to_value(&hcl).expect("an interface is JSON"),
            json!({
                "variables": {
                    "name": {"type": "string", "required": true, "sensitive": false, "nullable": true,
                             "description": "What it is called"},
                    "password": {"type": "string", "required": false, "sensitive": true, "nullable": true},
                    "size": {"type": "number", "required": false, "default": -3, "sensitive": false, "nullable": false}
                },
                "outputs": {"arn": {"sensitive": false}, "password": {"sensitive": true}},
                "providers": {
                    "aws": {"source": "registry.terraform.io/hashicorp/aws", "version": "~> 5.100"},
                    "google-beta": {"source": "registry.terraform.io/hashicorp/google-beta"},
                    "random": {"source": "registry.terraform.io/hashicorp/random"}
                },
                "requiredVersion": ">= 1.5"
            })
        );
    }

    #[test]
    fn a_provider_without_a_host_comes_from_the_registry_of_the_engine() {
        let interface = super::read(&files(&[("main.tf", HCL)]), Engine::Tofu).expect("HCL is read");
        let sources: Vec<&str> = interface.providers.values().map(|provider| provider.source.as_str()).collect();
        assert_eq!(
            sources,
            [
                "registry.opentofu.org/hashicorp/aws",
                "registry.opentofu.org/hashicorp/google-beta",
                "registry.opentofu.org/hashicorp/random"
            ]
        );
        let full =
            "terraform {\n required_providers {\n aws = { source = \"registry.terraform.io/hashicorp/aws\" }\n }\n}\n";
        let interface = super::read(&files(&[("main.tf", full)]), Engine::Tofu).expect("HCL is read");
        assert_eq!(interface.providers["aws"].source, "registry.terraform.io/hashicorp/aws");
    }

    #[test]
    fn what_a_template_must_not_have_is_refused() {
        assert_eq!(code(&[("README.md", "")]), "template_no_configuration");
        assert_eq!(code(&[("sub/main.tf", "")]), "template_no_configuration");
        assert_eq!(code(&[("a.tf", "terraform {\n backend \"s3\" {}\n}\n")]), "template_backend");
        assert_eq!(code(&[("a.tf", "terraform {\n cloud {}\n}\n")]), "template_backend");
        assert_eq!(code(&[("a.tf.json", r#"{"terraform": [{"backend": {"s3": {}}}]}"#)]), "template_backend");
        assert_eq!(code(&[("a.tf.json", r#"{"terraform": {"cloud": {}}}"#)]), "template_backend");
        assert_eq!(code(&[("a.tf", "provider \"aws\" {}\n")]), "template_provider");
        assert_eq!(code(&[("a.tf.json", r#"{"provider": {"aws": [{}]}}"#)]), "template_provider");
        assert_eq!(code(&[("a.tf", "module \"x\" {\n source = \"../x\"\n}\n")]), "template_module_source");
        assert_eq!(code(&[("a.tf", "module \"x\" {\n source = \"/x\"\n}\n")]), "template_module_source");
        assert_eq!(code(&[("a.tf", "variable \"x\" {\n type = text\n}\n")]), "template_hcl_invalid");
    }

    #[test]
    fn what_does_not_parse_names_its_file_and_line() {
        let check = |file: &str, text: &str, expect: usize| match read(&files(&[(file, text)])) {
            Err(ModuleError::HclInvalid { file: named, line, .. }) => {
                assert_eq!((named.as_str(), line), (file, Some(expect)))
            }
            other => panic!("{file}: {other:?}"),
        };
        check("main.tf", "variable \"a\" {}\nvariable \"b\" {\n  type = = string\n}\n", 3);
        check("main.tf.json", "{\n \"variable\": }", 2);
    }

    #[test]
    fn modules_inside_of_the_archive_are_followed() {
        let interface = read(&files(&[
            ("main.tf", "module \"a\" {\n source = \"./parts/a\"\n}\n"),
            ("parts/a/main.tf", "module \"b\" {\n source = \"../b\"\n}\nresource \"aws_sqs_queue\" \"q\" {}\n"),
            ("parts/b/main.tf", "resource \"random_id\" \"i\" {}\nmodule \"a\" {\n source = \"../a\"\n}\n"),
            ("examples/broken.tf", "provider {{{"),
        ]))
        .expect("a module with parts");
        assert_eq!(interface.providers.keys().collect::<Vec<_>>(), ["aws", "random"]);
    }

    #[test]
    fn an_override_file_is_merged_into_what_it_overrides() {
        let interface = read(&files(&[
            ("a_override.tf", "variable \"x\" {\n default = 1\n}\n"),
            ("main.tf", "variable \"x\" {\n type = number\n}\n"),
        ]))
        .expect("two files");
        let variable = &interface.variables["x"];
        assert_eq!((&variable.type_expr, variable.required), (&Type::Number, false));
    }

    #[test]
    fn a_variable_may_be_null_unless_it_says_so() {
        let interface = read(&files(&[("main.tf", HCL)])).expect("HCL is read");
        assert!(interface.variables["name"].nullable);
        assert!(!interface.variables["size"].nullable);
    }
}

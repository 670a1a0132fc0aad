//! What a module declares: variables, outputs, providers, and the terraform versions it works with. What the modules in
//! the archive need that it calls must be installed too. Never evaluates anything but constants.

use std::collections::BTreeMap;

use hcl::eval::{Context, Evaluate};
use hcl::expr::{Expression, ObjectKey, Operation};
use hcl::{Block, Body, Identifier};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ModuleError;
use super::providers;
use super::tree::Folder;
use super::types::{self, Type};
use crate::engine::Engine;

/// What means something to a module call, and so cannot be the name of a variable.
const RESERVED: [&str; 10] =
    ["source", "version", "count", "for_each", "depends_on", "providers", "_", "lifecycle", "locals", "provider"];

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

/// Of the module whose folders these are, the root first.
pub(super) fn read(folders: Vec<Folder<'_>>, engine: Engine) -> Result<Interface, ModuleError> {
    let mut root: Option<Interface> = None;
    let mut all = Providers::default();
    for folder in folders {
        let needs = providers::of(&folder, engine.registry())?;
        let stated = needs.into_iter().map(|need| (need.name, Provider { source: need.source, version: need.version }));
        let needed: BTreeMap<String, Provider> = stated.collect();
        let declared = read_folder(folder)?;
        match root {
            None => {
                all = Providers::of_root(needed);
                root = Some(declared);
            }
            Some(_) => needed.into_iter().for_each(|(name, one)| all.require(name, one)),
        }
    }
    let root = root.ok_or(ModuleError::NoConfiguration)?;
    Ok(Interface { providers: all.named, ..root })
}

/// The providers of a module and of those that it calls.
#[derive(Default)]
struct Providers {
    named: BTreeMap<String, Provider>,
    /// The local name of each address; of several the first.
    names: BTreeMap<String, String>,
    /// How many local names have been made of one.
    numbers: BTreeMap<String, usize>,
}

impl Providers {
    fn of_root(named: BTreeMap<String, Provider>) -> Self {
        let mut names = BTreeMap::new();
        for (name, provider) in &named {
            names.entry(provider.source.clone()).or_insert_with(|| name.clone());
        }
        Self { named, names, numbers: BTreeMap::new() }
    }

    /// Adds what a called module needs; a local name that means another provider there gets one of its own.
    fn require(&mut self, name: String, provider: Provider) {
        if let Some(known) = self.names.get(&provider.source).and_then(|name| self.named.get_mut(name)) {
            match (&mut known.version, provider.version) {
                (Some(ours), Some(theirs)) if *ours != theirs => {
                    ours.push_str(", ");
                    ours.push_str(&theirs);
                }
                (Some(_), _) => {}
                (ours, theirs) => *ours = theirs,
            }
            return;
        }
        let mut free = name.clone();
        while self.named.contains_key(&free) {
            let number = self.numbers.entry(name.clone()).or_insert(1);
            *number += 1;
            free = format!("{name}_{number}");
        }
        self.names.insert(provider.source.clone(), free.clone());
        self.named.insert(free, provider);
    }
}

type Attributes<'a> = BTreeMap<&'a str, &'a Expression>;

#[derive(Default)]
struct Declared<'a> {
    variables: BTreeMap<&'a str, (&'a str, Attributes<'a>)>,
    outputs: BTreeMap<&'a str, Attributes<'a>>,
    required_version: Option<String>,
}

fn read_folder(folder: Folder<'_>) -> Result<Interface, ModuleError> {
    let bodies: Vec<(&str, Body)> = folder.files.into_iter().map(|(file, parsed)| (file, parsed.into_body())).collect();
    let mut declared = Declared::default();
    for (file, body) in &bodies {
        for block in body.blocks() {
            declare(&mut declared, file, block)?;
        }
    }
    finish(declared)
}

fn declare<'a>(declared: &mut Declared<'a>, file: &'a str, block: &'a Block) -> Result<(), ModuleError> {
    let labels: Vec<&str> = block.labels().iter().map(|label| label.as_str()).collect();
    match (block.identifier(), labels.as_slice()) {
        ("terraform", _) => settings(declared, file, block.body())?,
        ("provider", [name]) => {
            return Err(ModuleError::Provider { file: file.to_owned(), name: (*name).to_owned() });
        }
        ("variable", [name]) => {
            check_name(file, "variable", name)?;
            let entry = declared.variables.entry(*name).or_insert_with(|| (file, Attributes::new()));
            entry.1.extend(attributes(block.body()));
        }
        ("output", [name]) => {
            check_name(file, "output", name)?;
            declared.outputs.entry(*name).or_default().extend(attributes(block.body()));
        }
        _ => {}
    }
    Ok(())
}

/// The root module refers to both by their names: what is none could be an expression there.
fn check_name(file: &str, kind: &str, name: &str) -> Result<(), ModuleError> {
    let rule = if Identifier::new(name).is_err() {
        "a name begins with a letter or `_`, and has only letters, digits, `_` and `-`"
    } else if kind == "variable" && RESERVED.contains(&name) {
        "the name means something else in a module call"
    } else {
        return Ok(());
    };
    let message = format!("{kind} `{}`: {rule}", types::shown(name));
    Err(ModuleError::HclInvalid { file: file.to_owned(), line: None, message })
}

fn settings(declared: &mut Declared<'_>, file: &str, body: &Body) -> Result<(), ModuleError> {
    if let Some(version) = attributes(body).get("required_version").and_then(|expression| text(expression)) {
        declared.required_version = Some(version);
    }
    let refused = ["backend", "cloud", "state_store"];
    let found = body.blocks().find_map(|block| refused.into_iter().find(|kind| *kind == block.identifier()));
    found.map_or(Ok(()), |block| Err(ModuleError::Backend { file: file.to_owned(), block }))
}

fn finish(declared: Declared<'_>) -> Result<Interface, ModuleError> {
    let mut interface = Interface { required_version: declared.required_version, ..Interface::default() };
    for (name, (file, attributes)) in declared.variables {
        interface.variables.insert(name.to_owned(), variable(file, name, &attributes)?);
    }
    for (name, attributes) in declared.outputs {
        let output = Output { sensitive: flag(&attributes, "sensitive", false), description: described(&attributes) };
        interface.outputs.insert(name.to_owned(), output);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tree;
    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        entries.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn read(files: &BTreeMap<String, Vec<u8>>) -> Result<Interface, ModuleError> {
        read_as(files, Engine::Terraform)
    }

    fn read_as(files: &BTreeMap<String, Vec<u8>>, engine: Engine) -> Result<Interface, ModuleError> {
        super::read(tree::read(files, engine)?, engine)
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
        let interface = read_as(&files(&[("main.tf", HCL)]), Engine::Tofu).expect("HCL is read");
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
        let interface = read_as(&files(&[("main.tf", full)]), Engine::Tofu).expect("HCL is read");
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
        assert_eq!(code(&[("a.tf", "terraform {\n state_store \"x\" {}\n}\n")]), "template_backend");
        assert_eq!(code(&[("a.tf.json", r#"{"terraform": {"state_store": {"x": {}}}}"#)]), "template_backend");
        assert_eq!(code(&[("a.tf", "variable \"x\" {\n type = text\n}\n")]), "template_hcl_invalid");
    }

    #[test]
    fn what_is_refused_is_refused_in_every_file_that_is_read() {
        let main = ("main.tf", "module \"a\" {\n source = \"./a\"\n}\n");
        let called = ("a/a.tf", "");
        let provider = "provider \"aws\" {\n access_key = \"x\"\n}\n";
        for file in ["b.tf", "override.tf", "b_override.tf", "a/b.tf"] {
            assert_eq!(code(&[main, called, (file, provider)]), "template_provider", "{file}");
        }
        let marked = format!("\u{feff}{provider}");
        assert_eq!(code(&[main, called, ("b.tf", marked.as_str())]), "template_provider");
        // A second member of the same name does not hide the first, nor does a heredoc hide what comes after it.
        let json = r#"{"provider": {"aws": {}}, "provider": {}, "terraform": {}}"#;
        assert_eq!(code(&[main, called, ("b.tf.json", json)]), "template_provider");
        let hidden = format!("locals {{\n a = <<X\nX\n}}\n{provider}locals {{\n b = <<X\nX\n}}\n");
        assert_eq!(code(&[main, called, ("b.tf", hidden.as_str())]), "template_hcl_invalid");
        // The engine reads none of these.
        for file in ["b.txt", ".b.tf", "b.tf.bak", "c/b.tf", "b.TF", "b.tfvars"] {
            assert_eq!(code(&[main, called, (file, provider)]), "ok", "{file}");
        }
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
    fn a_local_name_that_means_another_provider_elsewhere_gets_one_of_its_own() {
        let needs = |entries: &str| format!("terraform {{\n required_providers {{\n{entries} }}\n}}\n");
        let call = |name: &str| format!("module \"{name}\" {{\n source = \"./{name}\"\n}}\n");
        let main = needs("a = { source = \"x/a\" }\na_2 = { source = \"x/two\" }\nb = { source = \"x/a\" }\n");
        let interface = read(&files(&[
            ("main.tf", &(main + &call("one") + &call("two"))),
            ("one/main.tf", &needs("a = { source = \"y/a\" }\nc = { source = \"x/a\", version = \">= 2\" }\n")),
            ("two/main.tf", &needs("a = { source = \"z/a\" }\nd = { source = \"x/a\", version = \"< 3\" }\n")),
        ]))
        .expect("a module with parts");
        let found: Vec<String> = interface
            .providers
            .iter()
            .map(|(name, one)| {
                let source = one.source.strip_prefix("registry.terraform.io/").unwrap_or(&one.source);
                format!("{name} = {source} {}", one.version.as_deref().unwrap_or("any"))
            })
            .collect();
        // The folder that is called last is read first.
        let expect = ["a = x/a < 3, >= 2", "a_2 = x/two any", "a_3 = z/a any", "a_4 = y/a any", "b = x/a any"];
        assert_eq!(found, expect);
    }

    #[test]
    fn names_that_the_root_module_refers_to_are_names() {
        let check = |name: &str, variable: &str, output: &str| {
            let quoted = serde_json::to_string(name).expect("JSON");
            for (kind, expect) in [("variable", variable), ("output", output)] {
                let json = format!("{{\"{kind}\": {{{quoted}: {{\"description\": \"x\"}}}}}}");
                assert_eq!(code(&[("a.tf.json", json.as_str())]), expect, "{json}");
                assert_eq!(code(&[("main.tf", ""), ("a_override.tf.json", json.as_str())]), expect, "{json}");
            }
        };
        let invalid = "template_hcl_invalid";
        for name in ["a", "_a", "a-b_1", "größe", "for", "source_1"] {
            check(name, "ok", "ok");
        }
        for name in ["", "1a", "-a", "a b", "a.b", "a}${file(\"/etc/passwd\")}", "${a}", "a\n", "a\"", "a/b"] {
            check(name, invalid, invalid);
        }
        for name in RESERVED {
            check(name, invalid, "ok");
        }
        assert_eq!(code(&[("main.tf", "variable \"a b\" {}\n")]), invalid);
        assert_eq!(code(&[("main.tf", "output \"a}\" { value = 1 }\n")]), invalid);
        assert_eq!(code(&[("main.tf", "variable version {}\n")]), invalid);
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

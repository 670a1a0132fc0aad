//! The catalog's templates as real modules, with the provider that is built into terraform: their outputs hang on the
//! same as those of the cloud in memory, and their state has everything that they got.

use conductor_domain::template::ValueType;

use crate::catalog;

/// `main.tf` of a version of a type's template.
pub fn main_tf(kind: &str, version: &str) -> String {
    let interface = catalog::interface(kind);
    let mut blocks = Vec::new();
    for (name, input) in &interface.inputs {
        let (constraint, sensitive) = (constraint(&input.value_type), input.sensitive);
        blocks.push(format!(
            "variable \"{name}\" {{\n  type      = {constraint}\n  default   = null\n  sensitive = {sensitive}\n}}\n"
        ));
    }
    let inputs: Vec<String> = interface.inputs.keys().map(|name| format!("{name} = var.{name}")).collect();
    let inputs = inputs.join(", ");
    blocks.push(format!(
        "resource \"terraform_data\" \"this\" {{\n  \
           input = jsonencode({{ version = \"{version}\", inputs = {{ {inputs} }} }})\n}}\n"
    ));
    for (name, output) in &interface.outputs {
        let (value, sensitive) = (value(kind, name), output.sensitive);
        blocks.push(format!("output \"{name}\" {{\n  value     = {value}\n  sensitive = {sensitive}\n}}\n"));
    }
    blocks.concat()
}

fn constraint(value_type: &ValueType) -> &'static str {
    match value_type {
        ValueType::Any => "any",
        ValueType::String => "string",
        ValueType::Number => "number",
        other => panic!("no input of the catalog is {other:?}"),
    }
}

/// The expression of an output, see [`catalog::outputs`].
fn value(kind: &str, output: &str) -> String {
    match output {
        "id" => format!("\"{kind}-${{terraform_data.this.id}}-${{jsonencode(var.cidr)}}\""),
        "port" => "5000 + (var.size == null ? 0 : var.size)".to_owned(),
        name => format!("\"{name}.{kind}.${{terraform_data.this.id}}\""),
    }
}

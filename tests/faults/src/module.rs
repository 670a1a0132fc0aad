//! The modules that the tests publish, and the files that name them.

use serde_json::{Value, json};

use crate::Gate;

pub use conductor_acceptance::TINY;

/// An object that is made at once, and then one for each name that waits at a gate.
pub const GATED: &str = r#"
variable "gate" {
  type = string
}
variable "names" {
  type = list(string)
}
resource "terraform_data" "free" {}
resource "terraform_data" "gated" {
  for_each   = toset(var.names)
  input      = each.key
  depends_on = [terraform_data.free]
  provisioner "local-exec" {
    command = <<-EOT
      echo "${each.key} $(date +%s)" >> '${var.gate}/began'
      until [ -e '${var.gate}/open' ] || [ -e '${var.gate}/open-${each.key}' ]; do
        [ -d '${var.gate}' ] || exit 1
        sleep 0.1
      done
      echo "${each.key} $(date +%s)" >> '${var.gate}/done'
    EOT
  }
}
output "ids" {
  value = { for name, made in terraform_data.gated : name => made.id }
}
"#;

/// A bucket with a name that is another one each time, and then an object that waits at a gate.
pub const BUCKET: &str = r#"
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
variable "gate" {
  type = string
}
variable "prefix" {
  type = string
}
resource "aws_s3_bucket" "this" {
  bucket_prefix = var.prefix
}
resource "terraform_data" "gated" {
  for_each = toset(["it"])
  input    = aws_s3_bucket.this.id
  provisioner "local-exec" {
    command = <<-EOT
      echo "${each.key} $(date +%s)" >> '${var.gate}/began'
      until [ -e '${var.gate}/open' ]; do
        [ -d '${var.gate}' ] || exit 1
        sleep 0.1
      done
      echo "${each.key} $(date +%s)" >> '${var.gate}/done'
    EOT
  }
}
output "bucket" {
  value = aws_s3_bucket.this.id
}
"#;

/// A module of objects that are made one after the other, each in `seconds`.
pub fn chain(names: &[&str]) -> String {
    let mut module = "variable \"gate\" {\n  type = string\n}\nvariable \"seconds\" {\n  type = number\n}\n".to_owned();
    for (index, name) in names.iter().enumerate() {
        let after = index.checked_sub(1).map_or_else(String::new, |before| format!("terraform_data.{}", names[before]));
        module.push_str(&format!(
            r#"
resource "terraform_data" "{name}" {{
  depends_on = [{after}]
  provisioner "local-exec" {{
    command = "sleep ${{var.seconds}} && echo \"{name} $(date +%s)\" >> '${{var.gate}}/done'"
  }}
}}
"#
        ));
    }
    module
}

/// The address of an object of [`GATED`].
pub fn gated_address(name: &str) -> String {
    format!("module.resource.terraform_data.gated[\"{name}\"]")
}

/// A resource of [`GATED`].
pub fn gated(kind: &str, gate: &Gate, names: &[&str]) -> Value {
    json!({"type": kind, "params": {"gate": gate.path(), "names": names}})
}

/// A file with these resources.
pub fn file(resources: Value) -> String {
    json!({"resources": resources}).to_string()
}

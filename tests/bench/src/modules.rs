//! The modules that both sides run, and the files that ask for them.

use serde_json::{Map, Value, json};

pub use conductor_acceptance::TINY;

/// The beginning of the names of the buckets that both sides make; `infra.local.bench` removes them.
pub const PREFIX: &str = "benchmark-";

/// One bucket of the AWS provider, with a name that is another one each time.
pub const BUCKET: &str = r#"
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
variable "prefix" {
  type = string
}
resource "aws_s3_bucket" "this" {
  bucket_prefix = var.prefix
}
output "bucket" {
  value = aws_s3_bucket.this.id
}
"#;

/// The resource of [`TINY`].
pub fn tiny(kind: &str) -> Value {
    json!({"type": kind, "params": tiny_inputs()})
}

/// What it is given.
pub fn tiny_inputs() -> Value {
    json!({"text": "hello"})
}

/// The resource of [`BUCKET`].
pub fn bucket(kind: &str) -> Value {
    json!({"type": kind, "params": bucket_inputs()})
}

/// What it is given.
pub fn bucket_inputs() -> Value {
    json!({"prefix": PREFIX})
}

/// A resource that is there under a name, and that its own user orders after another of the file.
pub fn link(kind: &str, name: &str, after: Option<String>) -> Value {
    let mut resource = json!({"type": kind, "reference": {"mode": "shared", "name": name}});
    if let Some(after) = after {
        resource["dependsOn"] = json!([after]);
    }
    resource
}

/// So many resources; `of` says what each is, by its number from 0.
pub fn many(count: usize, of: impl Fn(usize) -> Value) -> Value {
    Value::Object((0..count).map(|number| (name(number), of(number))).collect::<Map<_, _>>())
}

/// The name of a resource by its number: in the order of the numbers, which is that of the operations.
pub fn name(number: usize) -> String {
    format!("r{number:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_its_resources_in_order() {
        let file = many(2, |number| link("db", "there", number.checked_sub(1).map(name)));
        let there = json!({"mode": "shared", "name": "there"});
        let expect = json!({
            "r000": {"type": "db", "reference": there},
            "r001": {"type": "db", "reference": there, "dependsOn": ["r000"]},
        });
        assert_eq!(file, expect);
    }
}

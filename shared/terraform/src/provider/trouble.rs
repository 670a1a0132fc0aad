//! Which failures come from a provider that was running already, in terraform's words. Pure.
//!
//! The words are those of terraform 1.11.4, tried with the AWS provider 5.100: dead before terraform started, its
//! socket gone, of another protocol, killed while its schemas were read, it was configured, it made something. Those of
//! schemas that are missing are from its source.

use crate::events::{Diagnostic, Severity};

/// How terraform says that it cannot use a provider, or not any more.
const LOST: [&str; 6] = [
    "Reattachment process not found",
    "failed to instantiate provider",
    "no supported plugins for protocol",
    "Unsupported plugin method",
    "Plugin did not respond",
    "Invalid format for TF_REATTACH_PROVIDERS",
];

/// How the summary of an error tells that a provider has no schema of a type. It may be one that was left out; and
/// where there is no such type, terraform names another one that may have been meant, for which it must know all.
const MISSING: [&str; 13] = [
    "Invalid resource type",
    "Invalid data source",
    "Invalid ephemeral resource",
    "Missing resource type schema",
    "provider does not support",
    "does not support data source",
    "does not support ephemeral resource",
    "unknown resource type",
    "unknown data source",
    "unknown ephemeral resource",
    "no schema available for",
    "no resource type schema available",
    "missing schema for",
];

/// The call in which something is made, changed or destroyed.
const CHANGING: &str = "ApplyResourceChange";

/// Whether a run that failed with a kept provider shall run again without: the provider was lost or has not shown a
/// schema, and not while it changed something. One that is lost then is lost as one that terraform started itself would
/// be: what it was at is not known, and to begin again could make it twice.
pub fn runs_again(diagnostics: &[Diagnostic], stderr: &str) -> bool {
    let errors = || diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let texts = || errors().flat_map(|error| [error.summary.as_str(), error.detail.as_str()]).chain([stderr]);
    let says = |words: &str| texts().any(|text| text.contains(words));
    let misses = |words: &str| errors().any(|error| error.summary.contains(words));
    (LOST.into_iter().any(says) || MISSING.into_iter().any(misses)) && !says(CHANGING)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMAS: &str = "Failed to load plugin schemas";

    fn check(summary: &str, detail: &str, expect: bool) {
        let error = |severity| {
            let (summary, detail) = (summary.to_owned(), detail.to_owned());
            Diagnostic { severity, summary, detail, address: None, range: None }
        };
        assert_eq!(runs_again(&[error(Severity::Error)], ""), expect, "{summary}: {detail}");
        assert!(!runs_again(&[error(Severity::Warning)], ""), "a warning: {summary}: {detail}");
    }

    fn schemas(why: &str) -> String {
        format!(
            "Error while loading schemas for plugin components: Failed to obtain provider schema: Could not load the \
             schema for provider registry.terraform.io/hashicorp/aws: {why}.."
        )
    }

    #[test]
    fn a_provider_that_cannot_be_used_is_done_without() {
        let instantiated = "failed to instantiate provider \"registry.terraform.io/hashicorp/aws\" to obtain schema: ";
        let retrieved = "failed to retrieve schema from provider \"registry.terraform.io/hashicorp/aws\": ";
        check(SCHEMAS, &schemas(&format!("{instantiated}Reattachment process not found")), true);
        check(SCHEMAS, &schemas(&format!("{instantiated}no supported plugins for protocol 4")), true);
        let method = "Unsupported plugin method: The plugin6.(*GRPCProvider).GetProviderSchema method is not supported \
                      by this plugin.";
        check(SCHEMAS, &schemas(&format!("{retrieved}{method}")), true);
        let answer = "Plugin did not respond: The plugin encountered an error, and failed to respond to the \
                      plugin.(*GRPCProvider).GetProviderSchema call. The plugin logs may contain more details.";
        check(SCHEMAS, &schemas(&format!("{retrieved}{answer}")), true);
        check("Reattachment process not found", "", true);
        assert!(runs_again(&[], "Invalid format for TF_REATTACH_PROVIDERS: unexpected end of JSON input\n"));
    }

    #[test]
    fn a_provider_that_is_lost_is_done_without_unless_it_was_changing_something() {
        let lost = |call: &str| {
            format!(
                "The plugin encountered an error, and failed to respond to the plugin.(*GRPCProvider).{call} call. The \
                 plugin logs may contain more details."
            )
        };
        for call in ["ConfigureProvider", "ReadResource", "PlanResourceChange"] {
            check("Plugin did not respond", &lost(call), true);
        }
        check("Plugin did not respond", &lost("ApplyResourceChange"), false);
        let error = |call: &str| Diagnostic {
            severity: Severity::Error,
            summary: "Plugin did not respond".to_owned(),
            detail: lost(call),
            address: None,
            range: None,
        };
        assert!(!runs_again(&[error("PlanResourceChange"), error("ApplyResourceChange")], ""), "one of them was");
    }

    #[test]
    fn a_schema_that_was_not_shown_is_looked_for_without() {
        let provider = "provider \"registry.terraform.io/hashicorp/aws\"";
        check(
            "Invalid resource type",
            "The provider hashicorp/aws does not support resource type \"aws_s3_bukket\".",
            true,
        );
        check(
            "Invalid data source",
            "The provider hashicorp/aws does not support data source \"aws_s3_bukket\".",
            true,
        );
        check("Invalid ephemeral resource", "The provider hashicorp/aws does not support it.", true);
        check("Missing resource type schema", "No schema is available for aws_s3_bucket.it in hashicorp/aws.", true);
        check("provider does not support resource type \"aws_s3_bucket\"", "", true);
        check("provider does not support \"aws_s3_bucket\"", "", true);
        check(&format!("{provider} does not support data source \"aws_region\""), "", true);
        check(&format!("{provider} does not support ephemeral resource \"aws_secret\""), "", true);
        check("unknown resource type \"aws_s3_bucket\"", "", true);
        check("unknown data source \"aws_region\"", "", true);
        check("unknown ephemeral resource \"aws_secret\"", "", true);
        let state = "while reading state; this is a bug in Terraform and should be reported";
        check(&format!("no schema available for module.resource.aws_s3_bucket.it {state}"), "", true);
        check("failed to encode aws_s3_bucket.it in state: no resource type schema available", "", true);
        check("Changes.Encode: missing schema for aws_s3_bucket.it", "", true);
        check("Resource postcondition failed", "unknown resource type", false);
    }

    #[test]
    fn any_other_failure_is_the_templates() {
        check("failed to get shared config profile, provider", "", false);
        check("creating S3 Bucket (one): operation error S3: CreateBucket, https response error", "", false);
        check("Resource precondition failed", "The name is not good.", false);
        check(SCHEMAS, &schemas("there is no package for registry.terraform.io/hashicorp/aws 5.100.0 cached"), false);
        assert!(!runs_again(&[], ""));
    }
}

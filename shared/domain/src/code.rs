//! Every error that a user can meet: one table of stable codes with their HTTP status and title.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($variant:ident $code:tt $status:tt $title:tt;)*) => {
        /// A stable error code. The table in this file is the one that `openapi.json` and the docs list.
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $title] #[serde(rename = $code)] $variant,)*
        }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The code as it stands in `code` of a problem.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code),* }
            }

            /// The HTTP status; for a code that only an operation can end with, the status it would have.
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status),* }
            }

            /// The problem's title: the same for each occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title),* }
            }
        }
    };
}

codes! {
    BodyInvalid "body_invalid" 400 "The body is not what this route takes";
    QueryInvalid "query_invalid" 400 "A query parameter is not valid";
    CursorInvalid "cursor_invalid" 400 "The cursor is not one that a list gave";
    HeaderInvalid "header_invalid" 400 "A header is not valid";
    IdInvalid "id_invalid" 400 "The id is not a UUID";
    NameInvalid "name_invalid" 400 "A name is not valid";
    MediaTypeUnsupported "media_type_unsupported" 415 "The content type is not one that this route takes";
    NotAcceptable "not_acceptable" 406 "The route has no representation that Accept names";
    BodyTooLarge "body_too_large" 413 "The body is over 256 KiB";
    MethodNotAllowed "method_not_allowed" 405 "The route does not take this method";
    RouteNotFound "route_not_found" 404 "There is no such route";
    Unauthorized "unauthorized" 401 "The request has no principal";
    Forbidden "forbidden" 403 "The principal may not do this";
    CrossSiteRefused "cross_site_refused" 403 "A page of another site sent the request";
    SignInFailed "sign_in_failed" 403 "The sign-in did not succeed";
    IdentityProviderUnavailable "identity_provider_unavailable" 503 "The identity provider does not answer; try again";
    TokenInvalid "token_invalid" 422 "The token that is asked for is not valid";
    TokenNotFound "token_not_found" 404 "There is no such token";
    TooManyTokens "too_many_tokens" 409 "The organisation would have over 100 service tokens";

    RequestRefused "request_refused" 400 "The gateway refuses the request";
    AuthenticationMissing "authentication_missing" 403 "The request is not signed, or there is no such route";
    SignatureInvalid "signature_invalid" 403 "The request's signature is not valid";
    TokenExpired "token_expired" 403 "The request's credentials have expired";
    Throttled "throttled" 429 "Too many requests";
    GatewayTimeout "gateway_timeout" 504 "The function did not answer the gateway in time";

    ScoreInvalid "score_invalid" 422 "The Score file is not valid";
    YamlInvalid "yaml_invalid" 422 "The Score file is not valid YAML";
    ScoreTooLarge "score_too_large" 413 "The Score file is over 256 KiB";
    DependencyCycle "dependency_cycle" 422 "The resources depend on each other in a circle";
    PlaceholderInvalid "placeholder_invalid" 422 "A placeholder does not resolve";
    ResourceTypeUnknown "resource_type_unknown" 422 "There is no active template for a resource's type";
    TemplateVersionUnknown "template_version_unknown" 422 "There is no such version of the template";
    TemplateDeprecated "template_deprecated" 422 "The template version makes no new resources";
    ParametersInvalid "parameters_invalid" 422 "A resource's parameters do not fit its template";
    ParametersTooLarge "parameters_too_large" 413 "A resource's parameters are over 64 KiB";
    DeploymentTooLarge "deployment_too_large" 413 "A deployment's metadata, options and services are over 128 KiB";
    TooManyOperations "too_many_operations" 422 "The file names over 500 resources";
    TooManyDependencies "too_many_dependencies" 422 "A resource would have over 20 dependencies";
    ChangeTooLarge "change_too_large" 422 "The change touches more records than one commit can";
    TooManyConsumers "too_many_consumers" 409 "A resource would have over 1,000 consumers";
    PoolUnknown "pool_unknown" 422 "The file names a pool that the environment does not have";
    ResourceUnusable "resource_unusable" 422 "The existing resource is not there, not Active, or not visible from here";
    ServicePortAmbiguous "service_port_ambiguous" 422 "The service has not exactly one port";

    EnvironmentNotFound "environment_not_found" 404 "There is no such environment";
    EnvironmentUnknown "environment_unknown" 422 "The deployment names an environment that does not exist";
    EnvironmentInUse "environment_in_use" 409 "The environment has resources";
    ApplicationNotFound "application_not_found" 404 "There is no such application";
    ApplicationInUse "application_in_use" 409 "The application has resources or unfinished deployments";
    DeploymentNotFound "deployment_not_found" 404 "There is no such deployment";
    OperationNotFound "operation_not_found" 404 "The deployment has no such operation";
    ResourceNotFound "resource_not_found" 404 "There is no such resource";
    ResourceInUse "resource_in_use" 409 "The resource is in use";
    ResourceExists "resource_exists" 409 "The resource is known already";
    ResourceExternal "resource_external" 409 "Conductor did not make the resource, and does not change it";
    ConsumerNotFound "consumer_not_found" 404 "The resource has no such consumer";
    ConsumerFromFile "consumer_from_file" 409 "A Score file made the consumer; deploy or tear down its workload";
    PoolNotFound "pool_not_found" 404 "There is no such pool";
    EnvironmentProtected "environment_protected" 409 "The environment is protected from destroying anything";
    DeploymentUnfinished "deployment_unfinished" 409 "The deployment has not succeeded";
    NotRetryable "not_retryable" 409 "Only what failed, was cancelled or timed out can be tried again";
    Superseded "superseded" 409 "A later deployment took its place";
    OutputNotFound "output_not_found" 404 "The resource has no such output";
    TemplateNotFound "template_not_found" 404 "There is no such resource template or version";
    VersionInvalid "version_invalid" 400 "The version is not a semantic version";

    IdempotencyKeyReused "idempotency_key_reused" 422 "The idempotency key was used for another request";
    PreconditionFailed "precondition_failed" 412 "The record has another version than If-Match says";
    Contended "contended" 503 "Too many requests change the same record; try again";
    StoreUnavailable "store_unavailable" 503 "The store does not answer; try again";
    Internal "internal" 500 "Something is wrong in Conductor";

    TemplateTooLarge "template_too_large" 413 "The template archive is over its limit";
    TemplateInterfaceTooLarge "template_interface_too_large" 413 "What is kept of a template version is over 256 KiB";
    TemplateInvalid "template_invalid" 422 "The template archive is not valid";
    TemplatePolicy "template_policy" 422 "The template does what the organisation's policy denies";
    TemplateVersionExists "template_version_exists" 409 "The version exists with another content";

    TypeConflict "type_conflict" 409 "The shared name belongs to a resource of another type";
    ParametersConflict "parameters_conflict" 409 "The shared resource has other parameters, and others use it";
    WouldReplace "would_replace" 409 "The plan deletes or replaces what the resource already has";
    TerraformFailed "terraform_failed" 502 "Terraform failed";
    OutputMissing "output_missing" 422 "A placeholder names an output that the resource does not have";
    OutputTooLarge "output_too_large" 413 "An output is over 64 KiB, or a resource's outputs over 256 KiB";
    ToolchainUnavailable "toolchain_unavailable" 503 "No packed engine or provider fits the template";
    CredentialsRefused "credentials_refused" 403 "The environment's role cannot be assumed";
    NotAvailable "not_available" 501 "This is not available yet";
    Expired "expired" 504 "The operation did not end in its time";
    WaitedTooLong "waited_too_long" 504 "The operation waited too long for a resource or a lock";
    RanTooLong "ran_too_long" 504 "The operation's attempts took too long together";
    AttemptsExhausted "attempts_exhausted" 504 "The operation was tried too often";
    ExceedsBudget "exceeds_budget" 504 "One object takes longer than a run may";
    ExecutorUnavailable "executor_unavailable" 422 "The template wants a worker, and the stack has none";
    Cancelled "cancelled" 409 "The deployment was cancelled";
    DeploymentFinished "deployment_finished" 409 "The deployment has ended";
    ForceTooSoon "force_too_soon" 409 "A cancel is forced 30 seconds after the first request at the earliest";
    StateMayBeIncomplete "state_may_be_incomplete" 500 "Objects may exist that no state has";
    LockReleased "lock_released" 500 "The lock of a run that was left behind was removed";
    StateRecovered "state_recovered" 500 "A state that could not be stored was pushed by the next run";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One place in the input that breaks a rule.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the input.
    pub pointer: String,
    /// The rule, and what was found instead.
    pub detail: String,
    /// A finer code where there is one, such as `unknown_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Line in the text, from 1, where the input was text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl Fault {
    /// A fault at a pointer, without a place in a text.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into(), code: None, line: None, column: None }
    }
}

impl From<crate::score::Problem> for Fault {
    fn from(problem: crate::score::Problem) -> Self {
        Self {
            pointer: problem.pointer,
            detail: problem.detail,
            code: Some(problem.code.to_owned()),
            line: problem.line,
            column: problem.column,
        }
    }
}

/// The most places that a refusal names: an answer has a largest size.
pub const MAX_FAULTS: usize = 100;

/// A request that is refused, or an operation that failed, by a rule: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// Which rule.
    pub code: Code,
    /// This occurrence, for a person; never holds a secret.
    pub detail: String,
    /// The places in the input.
    pub faults: Vec<Fault>,
}

impl Refusal {
    /// A refusal with no places in the input.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), faults: Vec::new() }
    }

    /// A refusal that points at places in the input, the first [`MAX_FAULTS`] of them; the first one's text is the detail.
    pub fn at(code: Code, mut faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [] => code.title().to_owned(),
            [one] => one.detail.clone(),
            [first, rest @ ..] => format!("{} (and {} more)", first.detail, rest.len()),
        };
        faults.truncate(MAX_FAULTS);
        Self { code, detail, faults }
    }
}

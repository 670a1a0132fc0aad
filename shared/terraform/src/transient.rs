//! Which errors pass, so that another attempt may end better. Pure.
//!
//! Terraform has no codes for that, so words decide: exact ones, as the SDKs of clouds, Go's network and terraform's
//! backends write them. A name or a message of a template may hold any word (`timeout`, `throttling`), so nothing looser
//! counts. What is not known here does not pass.

use crate::events::{Diagnostic, Severity};
use crate::lock;

/// Codes that are also plain words: they count where a service's answer stands around them, see [`names`].
const CODES: [&str; 15] = [
    // throttled
    "Throttling",
    "ThrottledException",
    "RequestThrottled",
    "TooManyRequests",
    "SlowDown",
    "BandwidthLimitExceeded",
    // the service's own trouble
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ServerInternal",
    "ServiceUnavailable",
    "Unavailable",
    // time-outs
    "RequestTimeout",
    "RequestTimeoutException",
    "OperationAborted",
];

/// Words that count wherever they stand.
const PHRASES: [&str; 44] = [
    // credentials that ended a moment before the next ones were read
    "ExpiredToken",
    // somebody else changes the same thing
    "OperationAbortedException",
    // a machine or a network that is slow
    ": connection timed out",
    ": no route to host",
    "timeout while waiting for plugin to start",
    // throttled
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceeded",
    "RequestThrottledException",
    "EC2ThrottledException",
    "PriorRequestNotComplete",
    "Rate exceeded",
    "429 Too Many Requests",
    // the service's own trouble
    "InternalServerException",
    "InternalServiceException",
    "ServiceUnavailableException",
    "500 Internal Server Error",
    "502 Bad Gateway",
    "503 Service Unavailable",
    "504 Gateway Timeout",
    "Bad Gateway",
    "Gateway Timeout",
    "Gateway Time-out",
    // time-outs
    "i/o timeout",
    "context deadline exceeded",
    "TLS handshake timeout",
    "(Client.Timeout exceeded while awaiting headers)",
    "(Client.Timeout or context cancellation while reading body)",
    // broken connections
    "connection reset by peer",
    "connect: connection refused",
    "connect: network is unreachable",
    "write: broken pipe",
    "unexpected EOF",
    "\": EOF",
    "http2: client connection lost",
    "http2: server sent GOAWAY",
    "http: server closed idle connection",
    "use of closed network connection",
    // names
    ": no such host",
    ": server misbehaving",
    "Temporary failure in name resolution",
    "temporary failure in name resolution",
    // clients that tried more than once: Go's (HTTP backend, registries), which does so for 429, 5xx and the network
    "giving up after ",
];

/// What stands before an HTTP status: SDKs of AWS (both), of Azure (both), terraform's HTTP backend (both).
const BEFORE_STATUS: [&str; 6] =
    ["StatusCode: ", "status code: ", "StatusCode=", "unexpected status ", "HTTP error: ", "HTTP response code "];

const STATUSES: [&str; 5] = ["429", "500", "502", "503", "504"];

/// In an error about the lock, these say that nobody has it: terraform may not take it.
const LOCK_REFUSED: [&str; 6] =
    ["AccessDenied", "StatusCode: 401", "StatusCode: 403", "StatusCode: 404", "requires auth", "invalid auth"];

/// The summary of terraform's error where it could not store its state. It only says what follows from another.
pub const NOT_STORED: &str = "Failed to persist state to backend";

/// Whether a command that failed like this may succeed later: everything that went wrong passes. The error output counts
/// where there are no diagnostics.
pub fn passes(diagnostics: &[Diagnostic], stderr: &str) -> bool {
    let own = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Error && diagnostic.summary != NOT_STORED;
    let mut errors = diagnostics.iter().filter(own).peekable();
    if errors.peek().is_none() {
        return text_passes(stderr);
    }
    errors.all(|error| text_passes(&format!("{}\n{}", error.summary, error.detail)))
}

fn text_passes(text: &str) -> bool {
    let locked = || text.contains(lock::NOT_ACQUIRED) && !LOCK_REFUSED.iter().any(|words| text.contains(words));
    PHRASES.iter().any(|phrase| text.contains(phrase))
        || CODES.iter().any(|code| names(text, code))
        || BEFORE_STATUS.iter().any(|before| has_status(text, before))
        || locked()
}

/// `api error <code>: …`, `<code>: … status code: …`, `<Code><code></Code>`, `Code="<code>"`.
fn names(text: &str, code: &str) -> bool {
    text.match_indices(code).any(|(start, _)| {
        let (before, after) = (&text[..start], &text[start + code.len()..]);
        let begins = !before.ends_with(|last: char| last.is_alphanumeric() || "_-.".contains(last));
        (before.ends_with("api error ") && after.starts_with(':'))
            || (begins && after.starts_with(": ") && after.contains("status code: "))
            || (before.ends_with("<Code>") && after.starts_with('<'))
            || (before.ends_with("Code=\"") && after.starts_with('"'))
    })
}

fn has_status(text: &str, before: &str) -> bool {
    text.split(before).skip(1).any(|rest| {
        let status = rest.split(|character: char| !character.is_ascii_digit()).next();
        status.is_some_and(|status| STATUSES.contains(&status))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(severity: Severity, summary: &str, detail: &str) -> Diagnostic {
        Diagnostic { severity, summary: summary.to_owned(), detail: detail.to_owned(), address: None, range: None }
    }

    fn error(summary: &str, detail: &str) -> Diagnostic {
        diagnostic(Severity::Error, summary, detail)
    }

    #[test]
    fn what_passes() {
        let check = |summary: &str, detail: &str| {
            assert!(passes(&[error(summary, detail)], ""), "{summary}: {detail}");
            assert!(passes(&[], &format!("Error: {summary}\n\n{detail}\n")), "{summary}: {detail}");
        };
        check(
            "creating SQS Queue (orders): operation error SQS: CreateQueue, https response error StatusCode: 400, \
             RequestID: 1, api error ThrottlingException: Rate exceeded",
            "",
        );
        check("creating IAM Role (r)", "operation error IAM: CreateRole, api error Throttling: Rate exceeded");
        check("creating S3 Bucket (b)", "api error SlowDown: Please reduce your request rate.");
        check(
            "reading EC2 Instance",
            "RequestLimitExceeded: Request limit exceeded.\n\tstatus code: 503, request id: 1",
        );
        check("putting item", "api error ProvisionedThroughputExceededException: The level of … was exceeded");
        check(
            "listing",
            "https response error StatusCode: 503, RequestID: 1, HostID: 2, api error ServiceUnavailable: …",
        );
        check("reading", "https response error StatusCode: 500, RequestID: , api error UnknownError: UnknownError");
        check("reading", "InternalError: We encountered an internal error.\n\tstatus code: 400, request id: 1");
        check("reading", "<Error><Code>InternalError</Code><Message>…</Message></Error>");
        check("creating Resource Group", "unexpected status 503 (503 Service Unavailable) with error: …");
        check("creating", "StatusCode=429 -- Original Error: Code=\"TooManyRequests\" Message=\"…\"");
        check("Failed to get existing workspaces", "Unexpected HTTP response code 502");
        check("reading", "Get \"https://s3.amazonaws.com/\": dial tcp 1.2.3.4:443: i/o timeout");
        check("reading", "Get \"https://s3.amazonaws.com/\": net/http: TLS handshake timeout");
        check("reading", "Get \"https://s3.amazonaws.com/\": context deadline exceeded");
        check("reading", "read tcp 10.0.0.1:5->1.2.3.4:443: read: connection reset by peer");
        check("reading", "dial tcp 127.0.0.1:4566: connect: connection refused");
        check("reading", "Post \"https://sts.amazonaws.com/\": unexpected EOF");
        check("reading", "Post \"https://sts.amazonaws.com/\": EOF");
        check("putting", "api error RequestTimeout: Your socket connection to the server was not read from …");
        check("reading", "dial tcp: lookup sqs.eu-central-1.amazonaws.com on 169.254.78.1:53: no such host");
        check("reading", "lookup sts.amazonaws.com: Temporary failure in name resolution");
        check(
            "Error acquiring the state lock",
            "Error message: operation error S3: PutObject, https response error StatusCode: 412, api error \
             PreconditionFailed: …\nLock Info:\n  ID:        1\n",
        );
        check(
            "Failed to query available provider packages",
            "Could not retrieve the list of available versions for provider hashicorp/aws: could not connect to \
             registry.terraform.io: failed to request discovery document: 502 Bad Gateway",
        );
        check(
            "Failed to install provider",
            "Error while installing hashicorp/aws v5.100.0: releases.hashicorp.com: read: connection reset by peer",
        );
        check(
            "Failed to save state",
            "Error saving state: POST http://127.0.0.1:1/s?ID=2 giving up after 3 attempt(s)",
        );
    }

    #[test]
    fn what_does_not_pass() {
        let check = |summary: &str, detail: &str| {
            assert!(!passes(&[error(summary, detail)], ""), "{summary}: {detail}");
            assert!(!passes(&[], &format!("Error: {summary}\n\n{detail}\n")), "{summary}: {detail}");
        };
        check("", "");
        check("Invalid value for variable", "The variable \"timeout\" must be a number of seconds.");
        check("Invalid value for variable", "Throttling: must be true or false.");
        check("Invalid resource name", "\"InternalError\" and \"SlowDown\" are no names.");
        check("expected throttling_burst_limit to be at most 500, got 503", "");
        check("creating SQS Queue (timeout)", "api error QueueAlreadyExists: …, StatusCode: 400");
        check("creating IAM Role (r)", "https response error StatusCode: 403, api error AccessDenied: …");
        check("creating EIP", "api error AddressLimitExceeded: The maximum number of addresses has been reached.");
        check("creating", "StatusCode: 5031");
        check("waiting for RDS DB Instance (db) create", "timeout while waiting for state to become 'available'");
        check(
            "Error acquiring the state lock",
            "Error message: StatusCode: 403, api error AccessDenied: Access Denied",
        );
        check("Error acquiring the state lock", "Error message: HTTP remote state endpoint requires auth");
        check("Failed to query available provider packages", "hashicorp/none was not found in registry.terraform.io");
        check("local-exec provisioner error", "Error running command 'false': exit status 1. Output: ");
        check("Resource precondition failed", "The name is not good.");
    }

    #[test]
    fn everything_that_went_wrong_must_pass() {
        let slow = error("creating S3 Bucket (b)", "api error SlowDown: Please reduce your request rate.");
        let refused = error("creating IAM Role (r)", "api error AccessDenied: …");
        let warned = diagnostic(Severity::Warning, "Argument is deprecated", "Use another.");
        let follows =
            error(NOT_STORED, "The error shown above has prevented Terraform from writing the updated state.");
        let check = |diagnostics: &[&Diagnostic], stderr: &str, expect: bool| {
            let diagnostics: Vec<Diagnostic> = diagnostics.iter().map(|one| (*one).clone()).collect();
            assert_eq!(passes(&diagnostics, stderr), expect, "{diagnostics:?} {stderr}");
        };
        check(&[&slow, &slow], "", true);
        check(&[&slow, &warned], "", true);
        check(&[&slow, &refused], "", false);
        check(&[&slow, &follows], "", true);
        check(&[&follows], "", false);
        check(&[&refused], "i/o timeout", false);
        check(&[&warned], "i/o timeout", true);
        check(&[], "", false);
    }
}

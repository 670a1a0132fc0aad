//! Why a step towards a run, or of it, did not work, and whether that passes.

use std::io;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use conductor_domain::Code;
use conductor_domain::operation::Failure;
use conductor_engine::{Causes, JobOutcome};
use conductor_terraform::process::ProcessError;

/// Codes with which AWS says "not now" although the status is none of 5xx and 429. A session that has expired is another
/// one in the next attempt.
const PASSING: [&str; 14] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
    "RequestTimeout",
    "RequestTimeoutException",
    "OperationAborted",
    "ConditionalRequestConflict",
    "ExpiredToken",
    "ExpiredTokenException",
];

/// A failure, and whether it passes.
#[derive(Debug)]
pub struct Fault {
    /// What the operation says, if it ends with it.
    pub failure: Failure,
    /// True where another attempt may end better.
    pub passes: bool,
}

impl Fault {
    /// Another attempt would end like this one.
    pub fn lasts(failure: Failure) -> Self {
        Self { failure, passes: false }
    }

    /// Another attempt may end better.
    pub fn passes(failure: Failure) -> Self {
        Self { failure, passes: true }
    }

    /// A call to AWS that failed.
    pub fn of_call<E: ProvideErrorMetadata>(failure: Failure, error: &SdkError<E>) -> Self {
        Self { failure, passes: call_passes(error) }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::lasts(failure)
    }
}

impl From<Fault> for JobOutcome {
    fn from(fault: Fault) -> Self {
        if fault.passes { JobOutcome::Hindered(fault.failure) } else { JobOutcome::Failed(fault.failure) }
    }
}

/// Whether a call to AWS may succeed later: it was throttled, not answered, or answered with 5xx.
pub fn call_passes<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            status >= 500 || status == 429 || error.code().is_some_and(|code| PASSING.contains(&code))
        }
        // Neither dispatched nor answered, or answered with something that broke off.
        _ => true,
    }
}

/// Something of a run is left that cannot be removed: this process ends, because the next run could meet it.
pub fn not_cleared(error: &io::Error) -> ! {
    tracing::error!(error = %Causes(error), "what a run left cannot be removed");
    std::process::exit(1)
}

/// A terraform that could not be run to its end. Where processes of it live on, this process ends: it could not fence
/// them.
pub fn not_ended(error: ProcessError) -> Fault {
    tracing::error!(error = %Causes(&error), "a terraform process could not be run to its end");
    if matches!(error, ProcessError::ProcessLeft { .. }) {
        std::process::exit(1);
    }
    Fault::lasts(Failure::new(Code::TerraformFailed, error.to_string()))
}

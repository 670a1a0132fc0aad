//! The one error of the engine's use-cases.

use conductor_domain::operation::IllegalTransition;
use conductor_domain::{Code, Refusal};

use crate::port::{CommitError, StoreError};

/// Why a use-case did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule says no; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody else was faster; read and decide again.
    #[error("lost a race")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug: a decision that the states do not allow.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
}

impl Error {
    /// True where trying again cannot help.
    pub fn is_permanent(&self) -> bool {
        match self {
            Error::Refused(_) | Error::Illegal(_) | Error::Store(StoreError::Unreadable(_) | StoreError::Cursor) => {
                true
            }
            Error::Conflict | Error::Store(StoreError::Unavailable(_)) => false,
        }
    }

    /// The refusal that a user sees: everything else is shown without its cause.
    pub fn refusal(&self) -> Refusal {
        match self {
            Error::Refused(refusal) => refusal.clone(),
            Error::Conflict => Refusal::new(Code::Contended, Code::Contended.title()),
            Error::Store(StoreError::Unavailable(_)) => {
                Refusal::new(Code::StoreUnavailable, Code::StoreUnavailable.title())
            }
            Error::Store(StoreError::Cursor) => Refusal::new(Code::CursorInvalid, Code::CursorInvalid.title()),
            Error::Store(StoreError::Unreadable(_)) | Error::Illegal(_) => {
                Refusal::new(Code::Internal, Code::Internal.title())
            }
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict { which } => {
                tracing::debug!(?which, "conflict");
                Error::Conflict
            }
            CommitError::Store(error) => Error::Store(error),
        }
    }
}

/// An error with its causes, on one line.
pub struct Causes<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut next = Some(self.0);
        let mut before = "";
        while let Some(error) = next {
            write!(f, "{before}{error}")?;
            before = ": ";
            next = error.source();
        }
        Ok(())
    }
}

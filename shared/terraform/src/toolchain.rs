//! Terraform and its providers in a local folder: which artifact is meant ([`Manifest`]), and that it is there
//! ([`Toolchain::ensure`]). Knows nothing of where artifacts are stored: it reads ranges through [`Source`].

mod constraint;
mod download;
mod folder;
mod manifest;

use std::io;
use std::ops::Range;

use bytes::Bytes;
use thiserror::Error;

pub use constraint::{Constraint, ConstraintError};
pub use folder::{Tool, Toolchain};
pub use manifest::{Artifact, ArtifactKind, Manifest, ManifestError, current_platform};

/// Where artifacts are stored.
pub trait Source: Send + Sync {
    /// The bytes `range` of the object `key`; all of them, or an error.
    fn get_range(&self, key: &str, range: Range<u64>) -> impl Future<Output = Result<Bytes, SourceError>> + Send;
}

/// Why a [`Source`] could not read.
#[derive(Debug, Error)]
#[error("an artifact could not be read")]
pub struct SourceError {
    #[source]
    error: Box<dyn std::error::Error + Send + Sync>,
    passes: bool,
}

impl SourceError {
    /// Wraps the error of whatever stores the artifacts, and whether it passes.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>, passes: bool) -> Self {
        Self { error: error.into(), passes }
    }
}

/// Why an artifact is not there.
#[derive(Debug, Error)]
pub enum ToolchainError {
    /// It could not be read.
    #[error("`{key}` could not be downloaded")]
    Source {
        /// The artifact's key.
        key: String,
        /// The source's error.
        #[source]
        source: SourceError,
    },
    /// The source gave more or less than was asked for.
    #[error("`{key}` has a part of {got} bytes where {wanted} were asked for")]
    Part {
        /// The artifact's key.
        key: String,
        /// Bytes asked for.
        wanted: u64,
        /// Bytes that came.
        got: u64,
    },
    /// What came is not what the manifest names. Nothing of it is left.
    #[error("`{key}` has the SHA-256 {actual}; the manifest says {expected}")]
    Digest {
        /// The artifact's key.
        key: String,
        /// By the manifest.
        expected: String,
        /// Of what came.
        actual: String,
    },
    /// It cannot be unpacked. Nothing of it is left.
    #[error("`{key}` could not be unpacked")]
    Unpack {
        /// The artifact's key.
        key: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// There is no room, even with everything gone that nobody uses.
    #[error("`{key}` needs {needed} bytes, and {free} of {room} can be freed")]
    NoRoom {
        /// The artifact's key.
        key: String,
        /// Its unpacked size.
        needed: u64,
        /// What is free or could be freed, in bytes.
        free: u64,
        /// What the folder may hold, in bytes.
        room: u64,
    },
    /// What is there is not what the manifest says, or nobody can say, and it cannot be removed: somebody uses it.
    #[error("`{0}` is unpacked already, by another process, and cannot be verified")]
    Changed(String),
    /// The folder cannot be read or written.
    #[error("the toolchain folder cannot be used")]
    Folder(#[source] io::Error),
    /// The manifest names an artifact by something that is no SHA-256.
    #[error("`{0}` is not a SHA-256")]
    Name(String),
}

impl ToolchainError {
    /// Whether it may be there later: the source could not be read just now, or what others use fills the folder.
    pub fn passes(&self) -> bool {
        match self {
            Self::Source { source, .. } => source.passes,
            Self::Part { .. } | Self::Changed(_) => true,
            Self::NoRoom { needed, room, .. } => needed <= room,
            Self::Digest { .. } | Self::Unpack { .. } | Self::Folder(_) | Self::Name(_) => false,
        }
    }
}

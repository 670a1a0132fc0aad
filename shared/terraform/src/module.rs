//! Reads a template: the files of a zip archive, the interface that its configuration declares, and what it does that
//! somebody may want to forbid.
//!
//! Pure: bytes in, a [`Module`] or a reason out. It never unpacks to disk and trusts no number that the archive states
//! about itself.

mod agreement;
mod archive;
mod inspect;
mod interface;
mod json;
mod needs;
mod paths;
mod providers;
mod syntax;
mod tree;
mod types;

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::engine::Engine;

pub use archive::Limits;
pub use inspect::{Use, What};
pub use interface::{Interface, Output, Provider, Variable};
pub use needs::Needs;
pub use types::{Field, Type};

/// A template's files, by their path in the archive, and what its root declares.
#[derive(Clone, PartialEq)]
pub struct Module {
    /// Path (with `/`, relative, never leaving the root) → content.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What the root of the module takes, gives and needs.
    pub interface: Interface,
    /// Whether modules are called that are not in the archive: nobody knows what they do.
    pub calls_others: bool,
}

/// Reads a zip archive as this engine would. Fails with the first rule that it breaks.
pub fn open(zip: &[u8], limits: &Limits, engine: Engine) -> Result<Module, ModuleError> {
    from_files(archive::read(zip, limits)?, engine)
}

/// The same from files that are unpacked already; the rules of archives are not checked.
pub fn from_files(files: BTreeMap<String, Vec<u8>>, engine: Engine) -> Result<Module, ModuleError> {
    let folders = tree::read(&files, engine)?;
    let calls_others = tree::calls_others(&folders)?;
    let interface = interface::read(folders, engine)?;
    Ok(Module { files, interface, calls_others })
}

/// The same as [`open`], and what the module does that somebody may want to forbid, in all that this engine reads of
/// it.
pub fn inspect(zip: &[u8], limits: &Limits, engine: Engine) -> Result<(Module, Vec<Use>), ModuleError> {
    let files = archive::read(zip, limits)?;
    let folders = tree::read(&files, engine)?;
    let uses = inspect::read(&folders, &files, engine)?;
    let calls_others = tree::calls_others(&folders)?;
    let interface = interface::read(folders, engine)?;
    Ok((Module { files, interface, calls_others }, uses))
}

impl Module {
    /// SHA-256 (hex) over paths and contents: equal for equal modules, whatever archive they came in.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for (path, content) in &self.files {
            hasher.update((path.len() as u64).to_be_bytes());
            hasher.update(path.as_bytes());
            hasher.update((content.len() as u64).to_be_bytes());
            hasher.update(content);
        }
        hex::encode(hasher.finalize())
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("files", &self.files.keys().collect::<Vec<_>>())
            .field("interface", &self.interface)
            .finish()
    }
}

/// Why a template is refused. [`ModuleError::code`] is stable; the message names the file and the rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModuleError {
    /// The archive itself is too large.
    #[error("the archive has {bytes} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Size of the archive.
        bytes: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// What it unpacks to is too large.
    #[error("`{file}`: the archive unpacks to more than {limit} bytes")]
    UnpacksTooLarge {
        /// The file at which the limit was passed.
        file: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// Not a zip archive, or a damaged, encrypted or unsupported one.
    #[error("not a readable zip archive: {reason}")]
    NotAZip {
        /// What the reader said.
        reason: String,
    },
    /// A path that could leave the folder that it is unpacked to.
    #[error("`{file}`: the path {rule}")]
    UnsafePath {
        /// The entry.
        file: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A symbolic link or special file.
    #[error("`{file}`: links and special files are not allowed in a template")]
    Symlink {
        /// The entry.
        file: String,
    },
    /// Too many entries.
    #[error("the archive has {files} entries; at most {limit} are allowed")]
    TooManyFiles {
        /// Entries in the archive.
        files: usize,
        /// The limit.
        limit: usize,
    },
    /// It unpacks to too many times its size.
    #[error("`{file}`: the archive unpacks to more than {limit} times its size")]
    Ratio {
        /// The file at which the limit was passed.
        file: String,
        /// The limit, as a factor.
        limit: u64,
    },
    /// Two entries with one path, or a file where another entry needs a folder.
    #[error("`{file}` is in the archive more than once")]
    Duplicate {
        /// The path.
        file: String,
    },
    /// No configuration at the root.
    #[error("the archive has no `.tf` or `.tf.json` file at its root")]
    NoConfiguration,
    /// A file that the engine would read in place of one that is looked at here.
    #[error("`{file}`: {engine} prefers it to the `.tf` file of its name; name it `.tf`")]
    EngineFile {
        /// The file.
        file: String,
        /// The engine.
        engine: Engine,
    },
    /// A `backend` or `cloud` block.
    #[error("`{file}`: a template must not have a `{block}` block; where its state is kept is not its own choice")]
    Backend {
        /// The file.
        file: String,
        /// `backend` or `cloud`.
        block: &'static str,
    },
    /// A `provider` block.
    #[error("`{file}`: a template must not configure the provider `{name}`; its environment does")]
    Provider {
        /// The file.
        file: String,
        /// The provider's local name.
        name: String,
    },
    /// A module source that leaves the archive.
    #[error("`{file}`: module `{name}` takes its source from outside the template")]
    ModuleSource {
        /// The file.
        file: String,
        /// The module call's name.
        name: String,
    },
    /// A module source that is no folder of the archive with a configuration.
    #[error("`{file}`: the module folder `{folder}` has no `.tf` or `.tf.json` file in the archive")]
    ModuleMissing {
        /// The file that calls it.
        file: String,
        /// Its path in the archive.
        folder: String,
    },
    /// A module source that is not a constant.
    #[error("`{file}`: module `{name}` must say where it is taken from in a plain text")]
    ModuleSourceUnknown {
        /// The file.
        file: String,
        /// The module call's name.
        name: String,
    },
    /// More than a person would look at.
    #[error("the template has over {limit} programs, foreign modules, foreign files and providers")]
    TooManyUses {
        /// The limit.
        limit: usize,
    },
    /// More than can be read in good time.
    #[error("`{file}`: with it there are over {items} `=` and `:`, or over {bytes} bytes, to be read")]
    TooComplex {
        /// The file at which the limit was passed.
        file: String,
        /// The most `=` and `:` of all files together.
        items: usize,
        /// The most bytes of all files together.
        bytes: usize,
    },
    /// The configuration cannot be read.
    #[error("`{file}`{}: {message}", at(.line))]
    HclInvalid {
        /// The file.
        file: String,
        /// Line, from 1, where it is known.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
}

impl ModuleError {
    /// A stable name of the rule.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::UnpacksTooLarge { .. } => "template_too_large",
            Self::NotAZip { .. } => "template_not_a_zip",
            Self::UnsafePath { .. } => "template_unsafe_path",
            Self::Symlink { .. } => "template_symlink",
            Self::TooManyFiles { .. } => "template_too_many_files",
            Self::Ratio { .. } => "template_ratio",
            Self::Duplicate { .. } => "template_duplicate_file",
            Self::NoConfiguration => "template_no_configuration",
            Self::EngineFile { .. } => "template_engine_file",
            Self::Backend { .. } => "template_backend",
            Self::Provider { .. } => "template_provider",
            Self::ModuleSource { .. } | Self::ModuleMissing { .. } | Self::ModuleSourceUnknown { .. } => {
                "template_module_source"
            }
            Self::TooManyUses { .. } => "template_too_many_uses",
            Self::TooComplex { .. } => "template_too_complex",
            Self::HclInvalid { .. } => "template_hcl_invalid",
        }
    }
}

fn at(line: &Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

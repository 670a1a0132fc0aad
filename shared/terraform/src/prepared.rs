//! A work folder in which `init` need not run: it ran once, for this template, engine and providers, and what it left
//! (links to providers, the lock file, the list of modules, the record of the backend) is copied for each run, with this
//! run's backend settings in the record. A prepared folder itself holds no settings: they may have secrets.
//!
//! That works because the root module's backend block is empty: the hash by which terraform knows whether the
//! configuration has changed is that of an empty block, whatever the settings are (tried with 1.11.4 and S3).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::watch;

use crate::command::{Command, Init};
use crate::events::Event;
use crate::process::{Control, Exit, ProcessError, Status, Terraform};
use crate::project::{self, BACKEND_FILE, Backend, write_private};

const DATA: &str = ".terraform";
const LOCK_FILE: &str = ".terraform.lock.hcl";
const RECORD: &str = ".terraform/terraform.tfstate";

/// What a prepared folder depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The SHA-256 of the module's archive.
    pub module: String,
    /// The SHA-256 of the engine's.
    pub engine: String,
    /// Those of the providers' by full address.
    pub providers: BTreeMap<String, String>,
    /// [`Backend::kind`].
    pub backend: &'static str,
}

/// A prepared folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    folder: PathBuf,
}

/// Why a folder could not be prepared.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// Files could not be read or written.
    #[error("the prepared folder cannot be used")]
    Folder(#[from] io::Error),
    /// Terraform could not be run.
    #[error("init could not be run")]
    Process(#[from] ProcessError),
    /// Terraform says no; its diagnostics say why.
    #[error("init failed: {:?}", .0.status)]
    Init(Box<Exit>),
    /// What it left is not what this was made for.
    #[error("init left no record of the backend that can be read")]
    Record,
}

impl Identity {
    /// The folder's name.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let providers = self.providers.iter().flat_map(|(source, version)| [source.as_str(), version.as_str()]);
        for part in [self.module.as_str(), self.engine.as_str(), self.backend].into_iter().chain(providers) {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hex::encode(hasher.finalize())
    }
}

impl Prepared {
    /// Finds or makes the prepared folder below `root`. `configuration` is that of any project of this identity
    /// ([`project::Project::configuration`]); `backend` is one that can be reached now. Processes that do it at once
    /// each run `init`, and one result stays.
    pub async fn ensure(
        root: &Path,
        identity: &Identity,
        configuration: &BTreeMap<String, Vec<u8>>,
        backend: &Backend,
        terraform: &Terraform,
        control: &mut watch::Receiver<Control>,
    ) -> Result<Self, PrepareError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let folder = root.join(identity.digest());
        if folder.join(RECORD).is_file() {
            return Ok(Self { folder });
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let partial = Partial(root.join(format!(".partial-{}-{}-{number}", identity.digest(), std::process::id())));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&partial.0)?;
        project::write(&partial.0, configuration)?;
        let exit = init(terraform, &partial.0, backend, control, |_| {}).await?;
        if exit.status != Status::Succeeded {
            return Err(PrepareError::Init(Box::new(exit)));
        }
        let record = partial.0.join(RECORD);
        let blank = patched(&fs::read(&record)?, backend.kind(), BTreeMap::new()).ok_or(PrepareError::Record)?;
        write_private(&record, &blank)?;
        if let Err(error) = fs::rename(&partial.0, &folder)
            && !folder.join(RECORD).is_file()
        {
            return Err(error.into());
        }
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes `work`, which holds the project's files, ready to run without `init`, on this run's `backend`.
    pub fn copy_into(&self, work: &Path, backend: &Backend) -> Result<(), PrepareError> {
        copy_tree(&self.folder.join(DATA), &work.join(DATA))?;
        match fs::copy(self.folder.join(LOCK_FILE), work.join(LOCK_FILE)) {
            Ok(_) => {}
            // A module without providers has none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let record = fs::read(self.folder.join(RECORD))?;
        let record = patched(&record, backend.kind(), backend.settings()).ok_or(PrepareError::Record)?;
        write_private(&work.join(RECORD), &record)?;
        Ok(())
    }
}

/// A folder that is gone when it is let go, unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A plain `init` in `work`, which also replaces what a prepared folder left there. The backend's settings are in a file
/// while it runs, and then in the record only.
pub async fn init(
    terraform: &Terraform,
    work: &Path,
    backend: &Backend,
    control: &mut watch::Receiver<Control>,
    on_event: impl FnMut(&Event),
) -> Result<Exit, PrepareError> {
    let file = work.join(BACKEND_FILE);
    write_private(&file, &backend.file(terraform.engine))?;
    let init = Init { backend_config: Some(BACKEND_FILE.into()), reconfigure: true, without_backend: false };
    let exit = terraform.run(&Command::Init(init), work, control, on_event).await;
    fs::remove_file(&file)?;
    Ok(exit?)
}

/// The backend's record with other settings. All that are not named become `null`, so nothing stays of another run's.
fn patched(record: &[u8], kind: &str, settings: BTreeMap<String, Value>) -> Option<Vec<u8>> {
    let mut record: Value = serde_json::from_slice(record).ok()?;
    let known = record.get_mut("backend")?;
    if known.get("type")?.as_str()? != kind {
        return None;
    }
    let config = known.get_mut("config")?.as_object_mut()?;
    config.values_mut().for_each(|value| *value = Value::Null);
    for (name, value) in settings {
        *config.get_mut(&name)? = value;
    }
    Some(record.to_string().into_bytes())
}

/// Folders, files and links, links as links.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::project::S3Backend;

    #[test]
    fn the_record_gets_this_runs_settings_and_keeps_its_hash() {
        let record = json!({"version": 3, "terraform_version": "1.11.4", "backend": {"type": "s3", "hash": 1_410_938_009, "config": {
            "bucket": "other", "key": "prep/prep.tfstate", "region": "r", "use_lockfile": true, "profile": "old",
            "shared_credentials_files": ["/old/credentials"], "encrypt": null
        }}});
        let backend = Backend::S3(S3Backend {
            bucket: "b".into(),
            key: "k".into(),
            region: "r".into(),
            credentials_file: Some("/w/credentials".into()),
            ..S3Backend::default()
        });
        let patched = patched(record.to_string().as_bytes(), "s3", backend.settings()).expect("a record");
        assert_eq!(
            serde_json::from_slice::<Value>(&patched).expect("JSON"),
            json!({"version": 3, "terraform_version": "1.11.4", "backend": {"type": "s3", "hash": 1_410_938_009, "config": {
                "bucket": "b", "key": "k", "region": "r", "use_lockfile": true, "profile": null,
                "shared_credentials_files": ["/w/credentials"], "encrypt": null
            }}})
        );
    }

    #[test]
    fn a_record_of_another_backend_or_of_unknown_shape_is_refused() {
        let backend = Backend::S3(S3Backend::default());
        for record in
            ["", "{}", r#"{"backend":{"type":"local","config":{}}}"#, r#"{"backend":{"type":"s3","config":{}}}"#]
        {
            assert_eq!(patched(record.as_bytes(), "s3", backend.settings()), None, "{record}");
        }
    }

    #[test]
    fn the_identity_tells_everything_apart() {
        let one = Identity { module: "m".into(), engine: "1".into(), providers: BTreeMap::new(), backend: "s3" };
        let more = BTreeMap::from([("aws".to_owned(), "5".to_owned())]);
        let others = [
            Identity { module: "n".into(), ..one.clone() },
            Identity { engine: "2".into(), ..one.clone() },
            Identity { providers: more, ..one.clone() },
            Identity { backend: "local", ..one.clone() },
        ];
        assert!(others.iter().all(|other| other.digest() != one.digest()));
    }
}

//! A provider's program: where it is in its folder, and that it is the one that the manifest names.
//!
//! Terraform hashes a provider's folder in each command; where the provider runs already it does not. So the program is
//! hashed here, once in the life of this process. After that its [`Seal`] is compared. That a process runs this file is
//! seen from `/proc`, and what runs cannot be written to.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::ProviderError;
use crate::seal::{Seal, digest};

/// The programs that this process has verified.
#[derive(Debug, Default)]
pub struct Programs(Mutex<BTreeMap<PathBuf, (String, Seal)>>);

impl Programs {
    /// Makes sure that a program has this SHA-256, in hex: reads all of it the first time, and asks the kernel later.
    pub(super) async fn verified(&self, program: &Path, sha256: &str) -> Result<Seal, ProviderError> {
        let name = program.display().to_string();
        let failed = |source| ProviderError::Start { program: name.clone(), source };
        let now = Seal::of(&fs::metadata(program).map_err(failed)?);
        if self.known(program).is_some_and(|(digest, seal)| digest == sha256 && seal == now) {
            return Ok(now);
        }
        let path = program.to_owned();
        let read = tokio::task::spawn_blocking(move || digest(&path)).await;
        let (actual, seal) = read.map_err(io::Error::other).flatten().map_err(failed)?;
        if !actual.eq_ignore_ascii_case(sha256) {
            return Err(ProviderError::Digest { program: name, expected: sha256.to_owned(), actual });
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(program.to_owned(), (sha256.to_owned(), seal));
        Ok(seal)
    }

    fn known(&self, program: &Path) -> Option<(String, Seal)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(program).cloned()
    }
}

/// The program of the provider `source` in its folder, by terraform's rule: `terraform-provider-aws`, perhaps with `_`
/// and more after it. `None` where there is none, or more than one.
pub fn program(folder: &Path, source: &str) -> Option<PathBuf> {
    let name = format!("terraform-provider-{}", source.rsplit('/').next()?);
    let is_program = |path: &PathBuf| {
        let file = path.file_name().and_then(OsStr::to_str);
        file.and_then(|file| file.strip_prefix(&name)).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let mut found = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(is_program);
    let program = found.next()?;
    found.next().is_none().then_some(program)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn sha256(content: &str) -> String {
        hex::encode(Sha256::digest(content))
    }

    #[tokio::test]
    async fn a_program_is_read_once_and_again_where_anything_about_it_has_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, programs) = (folder.path().join("program"), Programs::default());
        let is_verified =
            async |content: &str| programs.verified(&path, &sha256(content)).await.map_err(|error| error.to_string());
        fs::write(&path, "one").expect("written");
        let first = is_verified("one").await.expect("verified");
        // A digest that is wrong, so that it shows whether the file is read: it is not, where nothing has changed.
        programs.0.lock().expect("known").insert(path.clone(), (sha256("two"), first));
        assert_eq!(is_verified("two").await, Ok(first));

        assert!(is_verified("three").await.is_err_and(|error| error.contains("is meant")), "another digest is meant");
        fs::write(&path, "seven").expect("written again");
        assert!(is_verified("two").await.is_err_and(|error| error.contains(&sha256("seven"))));
        is_verified("seven").await.expect("verified");
        fs::write(folder.path().join("other"), "eight").expect("written");
        fs::rename(folder.path().join("other"), &path).expect("replaced");
        assert!(is_verified("seven").await.is_err_and(|error| error.contains(&sha256("eight"))));
        fs::remove_file(&path).expect("removed");
        assert!(is_verified("eight").await.is_err());
    }

    #[test]
    fn a_process_runs_the_file_that_it_was_started_from() {
        let own = std::env::current_exe().expect("this program");
        let pid = i32::try_from(std::process::id()).expect("an id");
        let expect = Seal::of(&fs::metadata(own).expect("the program"));
        assert_eq!(Seal::of_process(pid).expect("the program"), expect);
    }

    #[test]
    fn the_program_is_found_in_its_folder() {
        let check = |files: &[&str], expect: Option<&str>| {
            let folder = tempfile::tempdir().expect("a folder");
            for file in files {
                fs::write(folder.path().join(file), "").expect("written");
            }
            let found = program(folder.path(), "registry.terraform.io/hashicorp/aws");
            assert_eq!(found, expect.map(|file| folder.path().join(file)), "{files:?}");
        };
        check(&["LICENSE.txt", "terraform-provider-aws_v5.100.0_x5"], Some("terraform-provider-aws_v5.100.0_x5"));
        check(&["terraform-provider-aws"], Some("terraform-provider-aws"));
        check(&["terraform-provider-awscc_v1.0.0_x5"], None);
        check(&["terraform-provider-aws_v5.100.0_x5", "terraform-provider-aws_v5.99.0_x5"], None);
        check(&[], None);
    }
}

//! Prepared folders that later runs use. Programs of templates can reach them: one that was changed is of no use any more.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use conductor_terraform::seal::Seals;

use crate::scratch;

/// The prepared folders of this process, as it made them.
pub struct Kept {
    folder: PathBuf,
    sealed: Mutex<BTreeMap<String, Seals>>,
}

impl Kept {
    /// They lie below `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, sealed: Mutex::default() }
    }

    /// Whether one is there, and as it was made.
    pub fn has(&self, name: &str) -> bool {
        let sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Seals::of(&self.folder.join(name));
        matches!((sealed.get(name), now), (Some(sealed), Ok(now)) if *sealed == now)
    }

    /// Moves one here, in the place of whatever is there.
    pub fn take(&self, name: String, prepared: &Path) -> io::Result<()> {
        let place = self.folder.join(&name);
        scratch::remove(&place)?;
        fs::create_dir_all(&self.folder)?;
        let seals = Seals::of(prepared)?;
        fs::rename(prepared, place)?;
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).insert(name, seals);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_folder_that_was_changed_or_is_not_this_processs_own_is_made_anew() {
        let root = tempfile::tempdir().expect("a folder");
        let kept = Kept::new(root.path().join("kept"));
        let made = || {
            let folder = root.path().join("made");
            fs::create_dir_all(folder.join("data")).expect("folders");
            fs::write(folder.join("data/record"), "{}").expect("a file");
            folder
        };
        assert!(!kept.has("one"), "there is none");
        kept.take("one".to_owned(), &made()).expect("kept");
        assert!(kept.has("one"));
        fs::write(root.path().join("kept/one/data/record"), "changed").expect("changed");
        assert!(!kept.has("one"));
        kept.take("one".to_owned(), &made()).expect("kept again");
        assert!(kept.has("one"));

        fs::rename(made(), root.path().join("kept/two")).expect("put there");
        assert!(!kept.has("two"), "somebody else put it there");
        assert!(!Kept::new(root.path().join("kept")).has("one"), "another process");
    }
}

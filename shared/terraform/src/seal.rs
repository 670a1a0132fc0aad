//! Whether files are still those that were verified, by the kernel's own marks: whoever writes to one or puts another in
//! its place changes the number of its place or the time of its last change, which nobody can set.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

const CHUNK: usize = 1 << 20;

/// A file as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    changed_at: (i64, i64),
}

impl Seal {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            changed_at: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Of the file that a process runs.
    pub(crate) fn of_process(pid: i32) -> io::Result<Self> {
        Ok(Self::of(&fs::metadata(format!("/proc/{pid}/exe"))?))
    }
}

/// All files and links in a folder. It may be renamed, and still has the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seals(BTreeMap<PathBuf, Seal>);

impl Seals {
    /// As they are now.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let mut found = BTreeMap::new();
        collect(folder, Path::new(""), &mut found)?;
        Ok(Self(found))
    }
}

fn collect(folder: &Path, below: &Path, found: &mut BTreeMap<PathBuf, Seal>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, metadata) = (below.join(entry.file_name()), entry.metadata()?);
        if metadata.is_dir() {
            collect(&entry.path(), &path, found)?;
        } else {
            found.insert(path, Seal::of(&metadata));
        }
    }
    Ok(())
}

/// The SHA-256 of a file, in hex, and what the file was while it was read.
pub(crate) fn digest(path: &Path) -> io::Result<(String, Seal)> {
    let mut file = File::open(path)?;
    let before = Seal::of(&file.metadata()?);
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    if Seal::of(&file.metadata()?) != before {
        return Err(io::Error::other("it was changed while it was read"));
    }
    Ok((hex::encode(hasher.finalize()), before))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_the_same_until_anything_in_it_is_changed() {
        let check = |change: &dyn Fn(&Path) -> io::Result<()>, same: bool, what: &str| {
            let root = tempfile::tempdir().expect("a folder");
            let (made, folder) = (root.path().join("made"), root.path().join("folder"));
            fs::create_dir_all(made.join("below")).expect("folders");
            fs::write(made.join("below/file"), "one").expect("a file");
            symlink("file", made.join("below/link")).expect("a link");
            let sealed = Seals::of(&made).expect("sealed");
            fs::rename(&made, &folder).expect("moved into place");
            change(&folder).expect("changed");
            assert_eq!(Seals::of(&folder).expect("sealed") == sealed, same, "{what}");
        };
        check(&|folder: &Path| fs::read(folder.join("below/file")).map(|_| ()), true, "read");
        check(&|folder: &Path| fs::write(folder.join("below/file"), "three"), false, "written");
        check(&|folder: &Path| fs::write(folder.join("other"), "one"), false, "one more");
        check(&|folder: &Path| fs::remove_file(folder.join("below/link")), false, "one less");
        let replaced = |folder: &Path| {
            fs::write(folder.join("new"), "two")?;
            fs::rename(folder.join("new"), folder.join("below/file"))
        };
        check(&replaced, false, "replaced");
        let linked = |folder: &Path| {
            fs::rename(folder.join("below"), folder.with_file_name("away"))?;
            symlink(folder.with_file_name("away"), folder.join("below"))
        };
        check(&linked, false, "a folder that has become a link");
    }
}

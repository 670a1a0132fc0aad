//! The folder of unpacked artifacts, `<root>/<sha256>`. Several processes may share it: a download holds one lock, users
//! hold another, and whatever is moved in or out is renamed. Locks are the kernel's (`flock`), so a crash frees them.
//!
//! Programs of templates run as the same user and can change what lies here. So each use compares it with what this
//! process has unpacked or verified.
#![allow(clippy::disallowed_methods, reason = "this is the edge: file times are compared with the clock")]

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Artifact, ArtifactKind, Source, ToolchainError, download};
use crate::provider;
use crate::seal::{self, Seals};

/// Left by a process that died; no download takes longer.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// How often a waiting process looks whether another has finished the download.
const POLL: Duration = Duration::from_millis(50);

const PARTIAL: &str = ".partial-";
const EVICTED: &str = ".evicted-";
const USERS: &str = ".users-";
const DOWNLOAD: &str = ".download-";

/// A folder of unpacked artifacts.
#[derive(Debug, Clone)]
pub struct Toolchain {
    root: PathBuf,
    room: u64,
    /// What this process has unpacked or verified, by name.
    sealed: Arc<Mutex<BTreeMap<String, Seals>>>,
}

/// An artifact that is there. While it, or a clone of it, lives, nobody evicts it.
#[derive(Debug, Clone)]
pub struct Tool {
    path: PathBuf,
    _lock: Arc<File>,
}

impl Tool {
    /// The folder that it is unpacked to.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Toolchain {
    /// A folder that holds at most `room` bytes of unpacked artifacts. It is made when it is needed.
    pub fn new(root: PathBuf, room: u64) -> Self {
        Self { root, room, sealed: Arc::default() }
    }

    /// Makes sure that `artifact` is there, and is what the manifest says. What was changed since it was unpacked is
    /// removed and fetched anew; so is what another process unpacked, unless its program has the manifest's digest.
    pub async fn ensure(&self, artifact: &Artifact, source: &impl Source) -> Result<Tool, ToolchainError> {
        let name = artifact.sha256.to_ascii_lowercase();
        if name.len() != 64 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ToolchainError::Name(artifact.sha256.clone()));
        }
        fs::create_dir_all(&self.root).map_err(ToolchainError::Folder)?;
        if let Some(tool) = self.verified(artifact, &name).await? {
            return Ok(tool);
        }
        let download = open(&self.root.join(format!("{DOWNLOAD}{name}"))).map_err(ToolchainError::Folder)?;
        while !try_lock(&download).map_err(ToolchainError::Folder)? {
            tokio::time::sleep(POLL).await;
        }
        if let Some(tool) = self.verified(artifact, &name).await? {
            return Ok(tool);
        }
        if fs::symlink_metadata(self.root.join(&name)).is_ok() && !self.evict(&name).map_err(ToolchainError::Folder)? {
            return Err(ToolchainError::Changed(artifact.key.clone()));
        }
        self.make_room(artifact)?;
        let partial = self.beside(PARTIAL, &name);
        if let Err(error) = download::unpack(artifact, source, partial.clone()).await {
            remove(&partial);
            return Err(error);
        }
        let moved = Seals::of(&partial).and_then(|seals| {
            fs::rename(&partial, self.root.join(&name))?;
            Ok(seals)
        });
        match moved {
            Ok(seals) => self.seal(&name, seals),
            Err(error) => {
                remove(&partial);
                return Err(ToolchainError::Folder(error));
            }
        }
        self.verified(artifact, &name).await?.ok_or_else(|| ToolchainError::Changed(artifact.key.clone()))
    }

    /// The artifact, if it is there and still what this process knows, or else what the manifest says.
    async fn verified(&self, artifact: &Artifact, name: &str) -> Result<Option<Tool>, ToolchainError> {
        let Some(tool) = self.present(name).await.map_err(ToolchainError::Folder)? else { return Ok(None) };
        // A program may have taken the rights to it away; then it is no more what it was.
        let Ok(seals) = Seals::of(tool.path()) else { return Ok(None) };
        if self.known(name).as_ref() == Some(&seals) {
            return Ok(Some(tool));
        }
        if !is_meant(artifact, tool.path()).await {
            tracing::warn!(name, "what lies in the toolchain folder is not what was unpacked there");
            return Ok(None);
        }
        self.seal(name, seals);
        Ok(Some(tool))
    }

    fn known(&self, name: &str) -> Option<Seals> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn seal(&self, name: &str, seals: Seals) {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), seals);
    }

    /// The artifact, if it is there, marked as used now.
    async fn present(&self, name: &str) -> io::Result<Option<Tool>> {
        let path = self.root.join(name);
        if !path.is_dir() {
            return Ok(None);
        }
        let lock = open(&self.root.join(format!("{USERS}{name}")))?;
        // Somebody who evicts it holds the lock for no longer than a rename takes.
        while !try_lock_shared(&lock)? {
            tokio::time::sleep(POLL).await;
        }
        if !path.is_dir() {
            return Ok(None);
        }
        lock.set_modified(SystemTime::now())?;
        Ok(Some(Tool { path, _lock: Arc::new(lock) }))
    }

    /// Removes what dead processes left, and then, least recently used first, what nobody uses.
    fn make_room(&self, artifact: &Artifact) -> Result<(), ToolchainError> {
        let mut there = self.inventory().map_err(ToolchainError::Folder)?;
        there.sort_by_key(|entry| entry.used);
        let mut used: u64 = there.iter().map(|entry| entry.bytes).sum();
        for entry in &there {
            if used.saturating_add(artifact.unpacked_bytes) <= self.room {
                break;
            }
            if self.evict(&entry.name).map_err(ToolchainError::Folder)? {
                used = used.saturating_sub(entry.bytes);
                tracing::info!(name = entry.name, bytes = entry.bytes, "evicted from the toolchain folder");
            }
        }
        if used.saturating_add(artifact.unpacked_bytes) <= self.room {
            return Ok(());
        }
        Err(ToolchainError::NoRoom {
            key: artifact.key.clone(),
            needed: artifact.unpacked_bytes,
            free: self.room.saturating_sub(used),
            room: self.room,
        })
    }

    fn inventory(&self) -> io::Result<Vec<Entry>> {
        let mut there = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(PARTIAL) || name.starts_with(EVICTED) {
                if older_than(&entry.path(), LEFT_BEHIND) {
                    remove(&entry.path());
                }
            } else if !name.starts_with('.') && entry.path().is_dir() {
                let marked = modified(&self.root.join(format!("{USERS}{name}")));
                let used = marked.or_else(|| modified(&entry.path())).unwrap_or(SystemTime::UNIX_EPOCH);
                there.push(Entry { bytes: size(&entry.path()), name, used });
            }
        }
        Ok(there)
    }

    /// Whether it is gone; it is not where somebody uses it.
    fn evict(&self, name: &str) -> io::Result<bool> {
        let lock = open(&self.root.join(format!("{USERS}{name}")))?;
        if !try_lock(&lock)? {
            return Ok(false);
        }
        let away = self.beside(EVICTED, name);
        let gone = fs::rename(self.root.join(name), &away);
        drop(lock);
        remove(&away);
        match gone {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn beside(&self, prefix: &str, name: &str) -> PathBuf {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        self.root.join(format!("{prefix}{name}-{}-{number}", std::process::id()))
    }
}

/// Whether the program in an unpacked artifact is the one that the manifest names.
async fn is_meant(artifact: &Artifact, folder: &Path) -> bool {
    let program = match artifact.kind {
        ArtifactKind::Engine => Some(folder.join(&artifact.name)),
        ArtifactKind::Provider => provider::program(folder, &artifact.name),
    };
    let (Some(program), Some(sha256)) = (program, &artifact.program_sha256) else { return false };
    // Who may change what a link leads to changes nothing here.
    if !fs::symlink_metadata(&program).is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let read = tokio::task::spawn_blocking(move || seal::digest(&program)).await;
    matches!(read, Ok(Ok((actual, _))) if actual.eq_ignore_ascii_case(sha256))
}

struct Entry {
    name: String,
    bytes: u64,
    used: SystemTime,
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

fn try_lock(file: &File) -> io::Result<bool> {
    locked(file.try_lock())
}

fn try_lock_shared(file: &File) -> io::Result<bool> {
    locked(file.try_lock_shared())
}

fn locked(outcome: Result<(), TryLockError>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes a folder that is nobody's any more; what cannot be removed is left to the next who looks.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a folder could not be removed");
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn older_than(path: &Path, age: Duration) -> bool {
    modified(path).and_then(|then| SystemTime::now().duration_since(then).ok()).is_some_and(|past| past > age)
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::AtomicUsize;

    use bytes::Bytes;
    use sha2::{Digest, Sha256};

    use super::super::{ArtifactKind, SourceError};
    use super::*;

    /// An object in memory, which counts how often it is read.
    struct Memory {
        object: Bytes,
        reads: AtomicUsize,
    }

    impl Source for Memory {
        async fn get_range(&self, _key: &str, range: Range<u64>) -> Result<Bytes, SourceError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let lasts = |error: std::num::TryFromIntError| SourceError::new(error, false);
            let range = usize::try_from(range.start).map_err(lasts)?..usize::try_from(range.end).map_err(lasts)?;
            tokio::task::yield_now().await;
            Ok(self.object.slice(range))
        }
    }

    fn packed(content: &[u8]) -> (Artifact, Memory) {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, "terraform", content).expect("an entry");
        let archive = builder.into_inner().expect("an archive");
        let object = zstd::encode_all(archive.as_slice(), 1).expect("compressed");
        let sha256 = hex::encode(Sha256::digest(&object));
        let artifact = Artifact {
            kind: ArtifactKind::Engine,
            name: "terraform".to_owned(),
            version: "1.11.4".to_owned(),
            platform: "linux_amd64".to_owned(),
            key: format!("toolchain/{sha256}.tar.zst"),
            bytes: object.len() as u64,
            unpacked_bytes: content.len() as u64,
            sha256,
            program_sha256: Some(hex::encode(Sha256::digest(content))),
        };
        (artifact, Memory { object: object.into(), reads: AtomicUsize::new(0) })
    }

    fn visible(root: &Path) -> Vec<String> {
        let names =
            fs::read_dir(root).expect("a folder").flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| !name.starts_with(USERS) && !name.starts_with(DOWNLOAD)).collect()
    }

    #[tokio::test]
    async fn an_artifact_is_unpacked_once_and_found_again() {
        let root = tempfile::tempdir().expect("a folder");
        let toolchain = Toolchain::new(root.path().to_owned(), 1 << 30);
        // Over one part, and hard to compress.
        let content: Vec<u8> =
            (0..9_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(20 << 20).collect();
        let (artifact, source) = packed(&content);
        let tool = toolchain.ensure(&artifact, &source).await.expect("unpacked");
        assert_eq!(fs::read(tool.path().join("terraform")).expect("the program"), content);
        let reads = source.reads.load(Ordering::Relaxed);
        assert!(reads > 1, "read in parts");
        toolchain.ensure(&artifact, &source).await.expect("found");
        assert_eq!(source.reads.load(Ordering::Relaxed), reads);
        assert_eq!(visible(root.path()), [artifact.sha256]);
    }

    #[tokio::test]
    async fn two_that_want_it_at_once_both_get_it() {
        let root = tempfile::tempdir().expect("a folder");
        let (one, two) =
            (Toolchain::new(root.path().to_owned(), 1 << 30), Toolchain::new(root.path().to_owned(), 1 << 30));
        let (artifact, source) = packed(b"program");
        let (first, second) = tokio::join!(one.ensure(&artifact, &source), two.ensure(&artifact, &source));
        assert_eq!(first.expect("one").path(), second.expect("two").path());
        assert_eq!(source.reads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_wrong_digest_leaves_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let toolchain = Toolchain::new(root.path().to_owned(), 1 << 30);
        let (mut artifact, source) = packed(b"program");
        artifact.sha256 = "0".repeat(64);
        let error = toolchain.ensure(&artifact, &source).await.expect_err("refused");
        assert!(matches!(error, ToolchainError::Digest { .. }), "{error}");
        assert!(visible(root.path()).is_empty());
    }

    #[tokio::test]
    async fn what_was_changed_is_fetched_anew() {
        let check = async |change: &dyn Fn(&Path) -> io::Result<()>, what: &str| {
            let root = tempfile::tempdir().expect("a folder");
            let toolchain = Toolchain::new(root.path().to_owned(), 1 << 30);
            let (mut artifact, source) = packed(b"program");
            // Then all depends on what this process knows.
            artifact.program_sha256 = None;
            let tool = toolchain.ensure(&artifact, &source).await.expect("unpacked").path().to_owned();
            change(&tool).expect("changed");
            toolchain.ensure(&artifact, &source).await.expect("fetched anew");
            assert_eq!(source.reads.load(Ordering::Relaxed), 2, "{what}");
            assert_eq!(fs::read(tool.join("terraform")).expect("the program"), b"program", "{what}");
            assert_eq!(fs::read_dir(&tool).expect("a folder").count(), 1, "{what}");
        };
        check(&|tool: &Path| fs::write(tool.join("terraform"), "another program"), "written").await;
        let replaced = |tool: &Path| {
            fs::write(tool.join("new"), "another")?;
            fs::rename(tool.join("new"), tool.join("terraform"))
        };
        check(&replaced, "replaced").await;
        check(&|tool: &Path| fs::write(tool.join("more"), ""), "one more").await;
        let linked = |tool: &Path| {
            fs::rename(tool, tool.with_file_name("away"))?;
            fs::create_dir(tool)?;
            std::os::unix::fs::symlink("../away/terraform", tool.join("terraform"))
        };
        check(&linked, "a link").await;
    }

    #[tokio::test]
    async fn what_another_process_unpacked_counts_where_its_program_is_the_manifests() {
        let root = tempfile::tempdir().expect("a folder");
        let process = || Toolchain::new(root.path().to_owned(), 1 << 30);
        let (artifact, source) = packed(b"program");
        let reads = || source.reads.load(Ordering::Relaxed);
        let held = process().ensure(&artifact, &source).await.expect("unpacked");
        process().ensure(&artifact, &source).await.expect("verified");
        assert_eq!(reads(), 1);

        let nameless = Artifact { program_sha256: None, ..artifact.clone() };
        let error = process().ensure(&nameless, &source).await.expect_err("somebody uses it");
        assert!(matches!(error, ToolchainError::Changed(_)) && error.passes(), "{error}");
        let program = held.path().join("terraform");
        drop(held);
        process().ensure(&nameless, &source).await.expect("fetched anew");
        assert_eq!(reads(), 2);

        fs::write(&program, "another program").expect("changed");
        process().ensure(&artifact, &source).await.expect("fetched anew");
        assert_eq!((reads(), fs::read(&program).expect("the program").as_slice()), (3, b"program".as_slice()));
    }

    #[tokio::test]
    async fn the_least_recently_used_makes_room_and_what_is_in_use_stays() {
        let root = tempfile::tempdir().expect("a folder");
        let toolchain = Toolchain::new(root.path().to_owned(), 25);
        let (old, old_source) = packed(&[1; 10]);
        let (new, new_source) = packed(&[2; 10]);
        let (next, next_source) = packed(&[3; 10]);
        let held = toolchain.ensure(&old, &old_source).await.expect("old");
        drop(toolchain.ensure(&new, &new_source).await.expect("new"));
        // `old` is the least recently used, but in use.
        let next_held = toolchain.ensure(&next, &next_source).await.expect("next");
        assert!(root.path().join(&old.sha256).is_dir() && !root.path().join(&new.sha256).exists());
        let error = toolchain.ensure(&new, &new_source).await.expect_err("no room");
        assert!(matches!(error, ToolchainError::NoRoom { .. }), "{error}");
        drop((held, next_held));
        toolchain.ensure(&new, &new_source).await.expect("room again");
        assert!(!root.path().join(&old.sha256).exists());
    }
}

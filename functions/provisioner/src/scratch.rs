//! This process's own part of the disk: the work folder, the sockets of its provider, folders that it prepares and links
//! to providers. A lock says that it is in use; the kernel lets that go when the process is gone, however it ended. What
//! processes left that are gone is removed, and with it whatever still runs there.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use conductor_domain::ids::{GenericUuid, OperationId};
use nix::unistd::geteuid;
use uuid::Uuid;

use crate::strays;

/// Where all processes have their folders.
const WORK: &str = "work";
/// The lock of one, in its folder.
const HELD: &str = ".held";
/// What else there may be between runs: the work folder, empty, and the sockets.
const IDLE: &str = "idle";
const PROVIDERS: &str = "providers";
/// Prepared folders for later runs.
const KEPT: &str = "kept";
/// Of one run: folders that are being prepared, or that no other run shall use, and the links to its providers.
const PREPARED: &str = "prepared";
const MIRROR: &str = "mirror";
/// How much of a random name is enough.
const NAME: usize = 8;
/// How long the path of a socket may be, in bytes, without the zero at its end (`unix(7)`).
const SOCKET: usize = 107;
/// The longest path of a socket below `/work/<name>`: that of the providers which this process starts, `providers/<number>`,
/// or of those which terraform starts, in its `TMPDIR`, `<name>-<epoch>`. Both end in `plugin<u32>` (go-plugin 1.6).
const BELOW: usize = "/work/".len() + NAME + "/providers/999999".len() + "/plugin4294967295".len();

/// The folder of this process.
pub struct Scratch {
    work: PathBuf,
    folder: PathBuf,
    held: File,
}

impl Scratch {
    /// Takes one below `root`. `alone`: nobody else can be at work below `root`, so all that is there was left, and goes.
    pub async fn take(root: &Path, alone: bool) -> io::Result<Self> {
        check_length(root)?;
        if alone && root.exists() {
            tracing::warn!("a process was here before, and what it left is removed");
            strays::end_in(root).await?;
            remove(root)?;
        }
        own(root)?;
        let work = root.join(WORK);
        fs::create_dir_all(&work)?;
        let (folder, held) = hold(&work)?;
        let scratch = Self { work, folder, held };
        scratch.clear_others().await?;
        Ok(scratch)
    }

    /// The work folder of a run.
    pub fn run(&self, operation: OperationId, epoch: u64) -> PathBuf {
        let operation = operation.into_untyped_uuid().simple().to_string();
        // The end of such an id is its random part.
        self.folder.join(format!("{}-{epoch}", &operation[operation.len() - NAME..]))
    }

    /// Where it is between runs.
    pub fn idle(&self) -> PathBuf {
        self.folder.join(IDLE)
    }

    /// Where the sockets of providers are.
    pub fn providers(&self) -> PathBuf {
        self.folder.join(PROVIDERS)
    }

    /// Where folders are prepared.
    pub fn prepared(&self) -> PathBuf {
        self.folder.join(PREPARED)
    }

    /// Where prepared folders lie that later runs may use.
    pub fn kept(&self) -> PathBuf {
        self.folder.join(KEPT)
    }

    /// Where terraform finds the providers of this run.
    pub fn mirror(&self) -> PathBuf {
        self.folder.join(MIRROR)
    }

    /// Removes what was left: by runs of this process, and by processes that are gone. To be called between runs.
    pub async fn clear(&self) -> io::Result<()> {
        self.clear_own()?;
        self.clear_others().await
    }

    fn clear_own(&self) -> io::Result<()> {
        if !is_at(&self.held, &self.folder.join(HELD)) {
            return Err(io::Error::other("the folder of this process is not its own any more"));
        }
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (name, path, is_folder) = (entry.file_name(), entry.path(), entry.file_type()?.is_dir());
            let stays = match name.to_str() {
                Some(HELD) => true,
                Some(PROVIDERS | KEPT) => is_folder,
                Some(IDLE) => is_folder && fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()),
                _ => false,
            };
            if stays {
                continue;
            }
            if name != PREPARED && name != MIRROR {
                tracing::warn!(folder = %path.display(), "what a run left is removed");
            }
            remove(&path)?;
        }
        Ok(())
    }

    async fn clear_others(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.work)? {
            let entry = entry?;
            let path = entry.path();
            if path == self.folder {
                continue;
            }
            if !entry.file_type()?.is_dir() {
                remove(&path)?;
                continue;
            }
            let Some(_held) = abandoned(&path)? else { continue };
            tracing::warn!(folder = %path.display(), "what a process left that is gone is removed");
            let ended = strays::end_in(&path).await;
            match ended.and_then(|()| remove(&path)) {
                // Another process has removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "the folder of this process was left behind");
        }
    }
}

/// Where a path is too long, a provider fails without a word.
fn check_length(root: &Path) -> io::Result<()> {
    let longest = SOCKET - BELOW;
    if root.as_os_str().len() <= longest {
        return Ok(());
    }
    let why = format!("{} is too long for sockets below it: at most {longest} bytes; set TMPDIR", root.display());
    Err(io::Error::new(io::ErrorKind::InvalidFilename, why))
}

/// Makes the root, or sees that it is this user's alone. On a machine with several users anybody could have made it, and
/// what lies there is run.
fn own(root: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    let metadata = fs::symlink_metadata(root)?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() {
        let why = format!("{} is no folder of this user's own", root.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    fs::set_permissions(root, Permissions::from_mode(0o700))
}

/// A new folder, and the lock that says that it is in use.
fn hold(work: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let folder = work.join(&Uuid::new_v4().simple().to_string()[..NAME]);
        DirBuilder::new().mode(0o700).create(&folder)?;
        // Until it is locked, somebody may take it for one that was left, and remove it.
        let Some(held) = abandoned(&folder)? else { continue };
        if is_at(&held, &folder.join(HELD)) {
            return Ok((folder, held));
        }
    }
}

/// The lock of a folder that nobody uses; `None` where somebody does, or has just removed it.
fn abandoned(folder: &Path) -> io::Result<Option<File>> {
    let opened = || {
        // A template may have taken its own rights to it away, or put something else where the lock was.
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        let held = folder.join(HELD);
        if fs::symlink_metadata(&held).is_ok_and(|there| !there.is_file()) {
            remove(&held)?;
        }
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW);
        options.open(held)
    };
    let held = match opened() {
        Ok(held) => held,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match held.try_lock() {
        Ok(()) => Ok(Some(held)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether this file is what lies there.
fn is_at(file: &File, path: &Path) -> bool {
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (here, there) = (file.metadata().map(place), fs::symlink_metadata(path).map(place));
    matches!((here, there), (Ok(here), Ok(there)) if here == there)
}

/// Removes what is there with everything in it, links as links, also where a program has taken the rights to a folder away.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_dir() => return fs::remove_file(path),
        Ok(_) => {}
    }
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    open_up(path)?;
    fs::remove_dir_all(path)
}

fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::strays::tests::ALONE;

    /// One whose id ends in `89abcdef`.
    fn operation() -> OperationId {
        OperationId::from_untyped_uuid(Uuid::from_u128(0x0123_4567_89ab_cdef))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder").flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    async fn taken(root: &Path) -> Scratch {
        Scratch::take(root, false).await.expect("a folder of its own")
    }

    /// As a process leaves it that was killed in the middle of a run.
    fn killed(mut scratch: Scratch) -> PathBuf {
        fs::create_dir_all(scratch.run(operation(), 1)).expect("a work folder");
        fs::write(scratch.run(operation(), 1).join("credentials"), "secret").expect("credentials");
        fs::create_dir_all(scratch.prepared().join(".partial-1")).expect("half of a prepared folder");
        fs::create_dir_all(scratch.providers().join("1-0")).expect("a socket's folder");
        let folder = scratch.folder.clone();
        // The kernel closes the file; nobody runs destructors.
        scratch.held = File::open("/dev/null").expect("another file");
        std::mem::forget(scratch);
        folder
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not() {
        // A child that another test forks just now would have the lock a little longer.
        let _alone = ALONE.lock().await;
        let root = tempfile::tempdir().expect("a folder");
        let lives = taken(root.path()).await;
        fs::create_dir(lives.run(operation(), 2)).expect("a work folder");
        fs::write(lives.run(operation(), 2).join("credentials"), "secret").expect("credentials");
        let left = killed(taken(root.path()).await);
        assert!(left.join("89abcdef-1/credentials").is_file(), "it is there");

        fs::remove_file(left.join(HELD)).expect("its lock goes");
        fs::create_dir(left.join(HELD)).expect("something else in its place");

        let next = taken(root.path()).await;
        assert!(!left.exists());
        assert!(lives.run(operation(), 2).join("credentials").is_file());
        let left = killed(taken(root.path()).await);
        next.clear().await.expect("cleared");
        assert!(!left.exists(), "also by one that was there before");
        assert!(lives.run(operation(), 2).join("credentials").is_file());
    }

    #[tokio::test]
    async fn between_runs_only_an_empty_work_folder_the_sockets_and_what_is_kept_stay() {
        let root = tempfile::tempdir().expect("a folder");
        let scratch = taken(root.path()).await;
        fs::create_dir_all(scratch.run(operation(), 1).join("module")).expect("a work folder");
        fs::create_dir_all(scratch.prepared().join("digest")).expect("a prepared folder");
        fs::create_dir_all(scratch.mirror().join("digest")).expect("links");
        fs::create_dir_all(scratch.kept().join("digest")).expect("a prepared folder for all");
        fs::create_dir_all(scratch.providers().join("1-0")).expect("a socket's folder");
        fs::create_dir(scratch.idle()).expect("an idle folder");
        scratch.clear().await.expect("cleared");
        assert_eq!(names(&scratch.folder), [HELD, IDLE, KEPT, PROVIDERS]);
        assert!(scratch.kept().join("digest").is_dir());
        assert!(scratch.providers().join("1-0").is_dir());

        fs::write(scratch.idle().join("credentials"), "secret").expect("credentials");
        scratch.clear().await.expect("cleared");
        assert_eq!(names(&scratch.folder), [HELD, KEPT, PROVIDERS], "one that is not empty is none");
        let elsewhere = tempfile::tempdir().expect("a folder");
        symlink(elsewhere.path(), scratch.idle()).expect("a link");
        scratch.clear().await.expect("cleared");
        assert_eq!(names(&scratch.folder), [HELD, KEPT, PROVIDERS], "nor is a link");
        assert!(elsewhere.path().is_dir());
    }

    #[tokio::test]
    async fn a_folder_whose_rights_were_taken_away_is_removed() {
        let root = tempfile::tempdir().expect("a folder");
        let scratch = taken(root.path()).await;
        let deep = scratch.run(operation(), 1).join("cache/deep");
        fs::create_dir_all(&deep).expect("folders");
        fs::write(deep.join("file"), "").expect("a file");
        for folder in [deep.as_path(), &scratch.run(operation(), 1)] {
            fs::set_permissions(folder, Permissions::from_mode(0o000)).expect("rights are taken away");
        }
        scratch.clear().await.expect("cleared");
        assert_eq!(names(&scratch.folder), [HELD]);
    }

    #[tokio::test]
    async fn a_process_whose_lock_was_taken_away_does_not_go_on() {
        let root = tempfile::tempdir().expect("a folder");
        let scratch = taken(root.path()).await;
        fs::remove_file(scratch.folder.join(HELD)).expect("removed");
        assert!(scratch.clear().await.is_err());
        fs::write(scratch.folder.join(HELD), "").expect("another one");
        assert!(scratch.clear().await.is_err());
    }

    #[tokio::test]
    async fn what_is_run_lies_where_nobody_else_can_write() {
        let root = tempfile::tempdir().expect("a folder");
        let below = root.path().join("conductor");
        fs::create_dir(&below).expect("a folder");
        fs::set_permissions(&below, Permissions::from_mode(0o777)).expect("rights for everybody");
        drop(taken(&below).await);
        assert_eq!(fs::metadata(&below).expect("it is there").mode() & 0o777, 0o700);
        let link = root.path().join("link");
        symlink(&below, &link).expect("a link");
        assert!(Scratch::take(&link, false).await.is_err(), "a link may be somebody else's");
        // Only root can give a folder away, and not everywhere.
        if geteuid().is_root() && chown(&below, Some(65_534), None).is_ok() {
            assert!(Scratch::take(&below, false).await.is_err(), "it is somebody else's");
        }
    }

    #[tokio::test]
    async fn no_sockets_path_is_too_long() {
        let root = tempfile::tempdir().expect("a folder");
        let mut root = root.path().join("x");
        let longest = SOCKET - BELOW;
        let missing = longest - root.as_os_str().len();
        root.as_mut_os_string().push("x".repeat(missing));
        let scratch = taken(&root).await;
        let folders = [scratch.run(operation(), 9_999), scratch.providers().join("999999")];
        for folder in &folders {
            fs::create_dir_all(folder).expect("a folder");
            UnixListener::bind(folder.join(format!("plugin{}", u32::MAX))).expect("a socket");
        }
        let longer = folders[1].join(format!("plugin{}0", u32::MAX));
        assert!(UnixListener::bind(longer).is_err(), "there is no room left");
        drop(scratch);
        root.as_mut_os_string().push("x");
        let error = Scratch::take(&root, false).await.err().expect("one more is too long");
        assert!(error.to_string().contains(&format!("at most {longest} bytes")), "{error}");
    }

    #[tokio::test]
    async fn who_is_alone_begins_with_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let below = root.path().join("conductor");
        fs::create_dir_all(below.join("toolchain/changed-by-a-template")).expect("folders");
        let beside = taken(&below).await;
        assert!(below.join("toolchain").is_dir(), "others may use it");
        drop(beside);
        let alone = Scratch::take(&below, true).await.expect("a folder");
        assert_eq!(names(&below), [WORK]);
        assert_eq!(names(&below.join(WORK)).len(), 1);
        drop(alone);
        assert!(names(&below.join(WORK)).is_empty(), "who ends by itself leaves nothing");
    }
}

//! Processes that a run left: what its programs started and what is in terraform's group no more.
//!
//! This process adopts them ([`crate::confine`]), so they descend from it whatever they do. Of a process that is gone
//! nobody is left to ask: its are known by where they work.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid, getsid};

/// How often is looked whether the killed are gone, and how many times: five seconds.
const POLL: Duration = Duration::from_millis(5);
const LOOKS: u32 = 1_000;
/// After so many looks nobody awaits the dead any more: who has started them is told at once.
const UNAWAITED: u32 = 100;

/// Ends all that descends from this process, but for what it runs itself between runs.
#[derive(Default)]
pub struct Strays {
    spared: Mutex<BTreeSet<Process>>,
}

/// A process, told by its beginning from a later one of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    id: i32,
    began: u64,
}

/// A process as `/proc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    process: Process,
    parent: i32,
    group: i32,
    session: i32,
    is_dead: bool,
}

impl Strays {
    /// What runs now is this process's own. To be called before a run starts anything.
    pub fn spare_present(&self) {
        let present = descendants(&all(), getpid().as_raw()).into_iter().map(|seen| seen.process).collect();
        *self.spared.lock().unwrap_or_else(PoisonError::into_inner) = present;
    }

    /// Kills everything else. Fails where some of it lives on.
    ///
    /// What forks and exits faster than it can be read in `/proc` is never seen alive. But whoever exits was adopted, and
    /// stays there until this process reaps it: so it is over only when no child is seen, be it alive or dead.
    pub async fn end(&self) -> io::Result<()> {
        let spared = self.spared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kill_all(|look| {
            let own = getpid().as_raw();
            let is_left = |seen: &Seen| !spared.contains(&seen.process) && (!seen.is_dead || seen.parent == own);
            let strays: Vec<Seen> = descendants(&all(), own).into_iter().filter(is_left).collect();
            reap(&strays, look >= UNAWAITED);
            strays
        })
        .await
    }
}

/// Kills whatever works in a folder or below it, or has its home there.
pub async fn end_in(folder: &Path) -> io::Result<()> {
    let place = fs::canonicalize(folder)?;
    kill_all(|_| {
        let others = all().into_iter().filter(|seen| seen.process.id != getpid().as_raw());
        others.filter(|seen| is_of(seen.process.id, folder, &place)).collect()
    })
    .await
}

async fn kill_all(find: impl Fn(u32) -> Vec<Seen>) -> io::Result<()> {
    let mut told = false;
    for look in 0..LOOKS {
        let left = find(look);
        if left.is_empty() {
            return Ok(());
        }
        let alive: Vec<i32> = left.iter().filter(|seen| !seen.is_dead).map(|seen| seen.process.id).collect();
        if !alive.is_empty() && !std::mem::replace(&mut told, true) {
            tracing::warn!(ids = ?alive, "processes that a run left are killed");
        }
        for id in alive {
            // Whoever is gone meanwhile needs no signal.
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
        tokio::time::sleep(POLL).await;
    }
    Err(io::Error::other("processes live on after SIGKILL"))
}

/// Lets the adopted dead go. The leader of a group in this session may be one that is awaited, and then is not ours to
/// reap, unless it has been dead for long.
fn reap(here: &[Seen], all: bool) {
    let (own, session) = (getpid().as_raw(), getsid(None).map_or(0, Pid::as_raw));
    let is_awaited = |seen: &&Seen| seen.session == session && seen.group == seen.process.id;
    for seen in here.iter().filter(|seen| seen.is_dead && seen.parent == own && (all || !is_awaited(seen))) {
        let _ = waitpid(Pid::from_raw(seen.process.id), Some(WaitPidFlag::WNOHANG));
    }
}

fn is_of(id: i32, folder: &Path, place: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{id}"));
    fs::read_link(process.join("cwd")).is_ok_and(|works| works.starts_with(place))
        || fs::read(process.join("environ")).is_ok_and(|variables| is_told(&variables, folder))
}

/// Whether the environment of a process is that of a terraform in this folder, or comes from it.
fn is_told(variables: &[u8], folder: &Path) -> bool {
    variables.split(|byte| *byte == 0).any(|variable| {
        let value = variable.strip_prefix(b"HOME=").or_else(|| variable.strip_prefix(b"TMPDIR="));
        value.is_some_and(|value| Path::new(OsStr::from_bytes(value)).starts_with(folder))
    })
}

/// All processes of this machine.
fn all() -> Vec<Seen> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(|id| seen(&String::from_utf8_lossy(&fs::read(format!("/proc/{id}/stat")).ok()?))).collect()
}

/// `<id> (<name>) <state> <parent> <group> <session> …`; the name may hold anything, also `)`.
fn seen(stat: &str) -> Option<Seen> {
    let (id, _) = stat.split_once(' ')?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<i32>().ok();
    Some(Seen {
        process: Process { id: id.parse().ok()?, began: fields.get(19)?.parse().ok()? },
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        is_dead: matches!(fields.first(), Some(&("Z" | "X"))),
    })
}

/// Those that one process, or something that it started, has started.
fn descendants(all: &[Seen], of: i32) -> Vec<Seen> {
    let (mut found, mut parents): (Vec<Seen>, Vec<i32>) = (Vec::new(), vec![of]);
    while let Some(parent) = parents.pop() {
        for child in all.iter().filter(|seen| seen.parent == parent && seen.process.id != of) {
            // Ids that were given anew while they were read could make a circle.
            if !found.contains(child) {
                parents.push(child.process.id);
                found.push(*child);
            }
        }
    }
    found
}

#[cfg(test)]
pub(crate) mod tests {
    use std::process::Command;

    use nix::errno::Errno;
    use nix::sys::prctl;
    use tokio::sync::Mutex;

    use super::*;

    /// Tests that start processes take turns: one of them ends whatever descends from the test.
    pub(crate) static ALONE: Mutex<()> = Mutex::const_new(());

    fn stat(id: i32, name: &str, state: &str, parent: i32) -> String {
        format!("{id} ({name}) {state} {parent} 7 8 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 {} 10 20 30", id * 10)
    }

    #[test]
    fn a_process_is_read_from_stat() {
        let process = Process { id: 43, began: 430 };
        let expect = Seen { process, parent: 1, group: 7, session: 8, is_dead: false };
        assert_eq!(seen(&stat(43, "terraform", "S", 1)), Some(expect));
        assert_eq!(seen(&stat(43, "a) Z 9 9", "R", 1)), Some(expect));
        assert_eq!(seen(&stat(43, "x", "Z", 1)), Some(Seen { is_dead: true, ..expect }));
        assert_eq!(seen(""), None);
        assert_eq!(seen("43 (x) S 1"), None);
    }

    #[test]
    fn what_descends_from_a_process_is_found_over_any_number_of_steps() {
        let all: Vec<Seen> = [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (21, 20)]
            .into_iter()
            .filter_map(|(id, parent)| seen(&stat(id, "x", "S", parent)))
            .collect();
        let mut found: Vec<i32> = descendants(&all, 10).iter().map(|seen| seen.process.id).collect();
        found.sort_unstable();
        assert_eq!(found, [11, 12]);
        assert!(descendants(&all, 12).is_empty());
    }

    #[test]
    fn a_terraforms_environment_is_known_by_its_folder() {
        let check = |variables: &str, expect: bool| {
            let variables = variables.replace(' ', "\0");
            assert_eq!(is_told(variables.as_bytes(), Path::new("/t/work/a")), expect, "{variables}");
        };
        check("PATH=/bin HOME=/t/work/a/op-1 X=y", true);
        check("TMPDIR=/t/work/a", true);
        check("HOME=/t/work/ab/op-1", false);
        check("XHOME=/t/work/a", false);
        check("", false);
    }

    /// A process that leaves the group and the session of the shell that starts it, which ends at once. It is there, with
    /// its own folder and environment, when its output ends.
    #[expect(clippy::disallowed_methods, reason = "the test needs processes")]
    fn escaped(before: &str) -> i32 {
        let script = format!("{before} setsid sh -c 'echo $$; exec sleep 1000 > /dev/null 2>&1' &");
        let output = Command::new("/bin/sh").args(["-c", &script]).output().expect("a shell");
        String::from_utf8(output.stdout).expect("UTF-8").trim().parse().expect("an id")
    }

    fn lives(id: i32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        seen(&stat).is_some_and(|seen| !seen.is_dead)
    }

    #[tokio::test]
    async fn what_has_left_terraforms_group_is_ended_and_what_runs_on_by_itself_is_not() {
        let _alone = ALONE.lock().await;
        prctl::set_child_subreaper(true).expect("the orphans are given to this process");
        let strays = Strays::default();
        let own = escaped("");
        strays.spare_present();
        let stray = escaped("");
        assert!(lives(own) && lives(stray));
        strays.end().await.expect("ended");
        assert!(lives(own) && !lives(stray));
        Strays::default().end().await.expect("ended");
        assert!(!lives(own));
    }

    /// A process that forks and exits, and whose child does the same, so many times.
    fn chain(length: u32) {
        // SAFETY: the child only forks and exits, which a process with threads may do.
        if unsafe { libc::fork() } == 0 {
            for _ in 0..length {
                // SAFETY: as above.
                if unsafe { libc::fork() } != 0 {
                    break;
                }
            }
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
    }

    #[tokio::test]
    async fn what_forks_faster_than_it_is_seen_is_not_taken_for_gone() {
        let _alone = ALONE.lock().await;
        prctl::set_child_subreaper(true).expect("the orphans are given to this process");
        for _ in 0..3 {
            chain(5_000);
            // It may be too fast to be killed, and is told of then; it ends by itself.
            while Strays::default().end().await.is_err() {}
            assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD), "there is a child still");
        }
    }

    #[tokio::test]
    async fn what_a_process_that_is_gone_has_started_is_known_by_where_it_works() {
        let _alone = ALONE.lock().await;
        prctl::set_child_subreaper(true).expect("the orphans are given to this process");
        let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let works = escaped(&format!("cd '{}';", folder.path().display()));
        let lives_there = escaped(&format!("HOME='{}/x'", folder.path().display()));
        let elsewhere = escaped(&format!("cd '{}';", other.path().display()));
        assert!(lives(works) && lives(lives_there) && lives(elsewhere));
        end_in(folder.path()).await.expect("ended");
        assert!(!lives(works) && !lives(lives_there) && lives(elsewhere));
        Strays::default().end().await.expect("ended");
        assert!(!lives(elsewhere));
    }
}

//! The terraform of an operation and the provisioner that runs it, as processes of this machine.
//!
//! An operation's terraform is known by its work folder, which is named after the operation; its provisioner is whoever
//! started it. Nobody else gets a signal.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A terraform that runs for an operation.
pub struct Running {
    terraform: Pid,
    provisioner: Pid,
    folder: PathBuf,
}

/// A process in a work folder.
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    folder: PathBuf,
}

impl Running {
    /// The terraform of an operation, if there is one and a provisioner is its parent.
    pub fn of(operation: &str) -> Option<Self> {
        // A provider that is kept works in the same folder.
        let leads = |process: &Process| {
            process.pid == process.group && name(process.pid).is_some_and(|name| name == "terraform")
        };
        let terraform = processes().into_iter().find(|process| is_of(&process.folder, operation) && leads(process))?;
        let Process { pid, parent, folder, .. } = terraform;
        let running = Self { terraform: Pid::from_raw(pid), provisioner: Pid::from_raw(parent), folder };
        (name(parent)? == "bootstrap").then_some(running)
    }

    /// Its work folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// True while terraform lives; a dead one that nobody has reaped does not.
    pub fn lives(&self) -> bool {
        fs::read_link(format!("/proc/{}/cwd", self.terraform)).is_ok_and(|folder| folder == self.folder)
    }

    /// SIGKILL to the provisioner, and then to terraform with all that it started.
    pub fn kill(&self) {
        sent(kill(self.provisioner, Signal::SIGKILL));
        sent(killpg(self.terraform, Signal::SIGKILL));
    }

    /// SIGSTOP to both, and to all that terraform started.
    pub fn freeze(&self) {
        self.freeze_provisioner();
        self.freeze_terraform();
    }

    /// SIGSTOP to the provisioner alone.
    pub fn freeze_provisioner(&self) {
        sent(kill(self.provisioner, Signal::SIGSTOP));
    }

    /// SIGSTOP to terraform and all that it started.
    pub fn freeze_terraform(&self) {
        sent(killpg(self.terraform, Signal::SIGSTOP));
    }

    /// Both go on.
    pub fn thaw(&self) {
        sent(killpg(self.terraform, Signal::SIGCONT));
        sent(kill(self.provisioner, Signal::SIGCONT));
    }
}

/// The name of a process's program.
fn name(pid: i32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

/// Whoever is gone already needs no signal.
fn sent(result: nix::Result<()>) {
    match result {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("a signal was not sent: {error}"),
    }
}

/// Where processes of this machine work for operations.
pub(crate) fn work_folders() -> Vec<PathBuf> {
    processes().into_iter().map(|process| process.folder).collect()
}

/// Whether this is the work folder of an operation: the end of its id, and the epoch.
pub(crate) fn is_of(folder: &Path, operation: &str) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()?.rsplit_once('-'));
    name.is_some_and(|(of, _)| !of.is_empty() && operation.ends_with(of))
}

/// The processes in work folders.
fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc can be read").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(process).collect()
}

fn process(pid: i32) -> Option<Process> {
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    folder.parent()?.parent().filter(|parent| parent.ends_with("conductor/work"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; after it come the state, the parent and the group.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
    let mut next = || fields.next()?.parse::<i32>().ok();
    Some(Process { pid, parent: next()?, group: next()?, folder })
}

//! A share of this machine, as a function of a given size has it: processor time and memory, held by the kernel's control
//! groups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use conductor_runtime::Function;
use uuid::Uuid;

const GROUPS: &str = "/sys/fs/cgroup";
/// The size at which a function has one processor (AWS, "Configure Lambda function memory").
const ONE_PROCESSOR: f64 = 1769.0;
/// The time of which a group has its part, in microseconds; the kernel's own default.
const PERIOD: f64 = 100_000.0;
/// How often it is looked whether a group can be removed, and how many times: five seconds.
const POLL: Duration = Duration::from_millis(10);
const LOOKS: u32 = 500;

/// The groups of one function and of all that it starts; gone when they are let go of, which has to be after the function.
pub struct Share(Vec<PathBuf>);

/// The processors of a function of this size, in MB.
pub fn processors(megabytes: u32) -> f64 {
    f64::from(megabytes) / ONE_PROCESSOR
}

impl Share {
    /// Puts a function into groups of its own. An error where this user may not make any.
    pub fn give(function: &Function, megabytes: u32) -> io::Result<Self> {
        let name = format!("conductor-bench-{}", Uuid::new_v4().simple());
        let time = (processors(megabytes) * PERIOD).round();
        let bytes = u64::from(megabytes) << 20;
        let root = Path::new(GROUPS);
        let settings = if root.join("cgroup.controllers").exists() {
            let folder = root.join(&name);
            vec![(folder.clone(), "cpu.max", format!("{time} {PERIOD}")), (folder, "memory.max", bytes.to_string())]
        } else {
            vec![
                (root.join("cpu").join(&name), "cpu.cfs_quota_us", time.to_string()),
                (root.join("memory").join(&name), "memory.limit_in_bytes", bytes.to_string()),
            ]
        };
        let mut share = Self(Vec::new());
        for (folder, setting, value) in settings {
            if !share.0.contains(&folder) {
                fs::create_dir(&folder)?;
                share.0.push(folder.clone());
            }
            fs::write(folder.join(setting), value)?;
        }
        for folder in &share.0 {
            fs::write(folder.join("cgroup.procs"), function.process_id().to_string())?;
        }
        Ok(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        for folder in &self.0 {
            // What was in it is dying.
            for _ in 0..LOOKS {
                if fs::remove_dir(folder).is_ok() {
                    break;
                }
                sleep(POLL);
            }
        }
    }
}

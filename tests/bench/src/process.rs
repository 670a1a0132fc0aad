//! What the kernel knows of an instance's process.

use std::time::Duration;

use conductor_runtime::Function;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The processor time that it has used, without that of processes that it started.
pub fn cpu(function: &Function) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(function.process_id())).expect("the process lives");
    clock_gettime(clock).expect("the process lives").into()
}

/// The most memory that it has had, in bytes.
pub fn peak_bytes(function: &Function) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", function.process_id())).expect("it lives");
    let size = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    size.and_then(|size| size.parse::<u64>().ok()).expect("a size in kB") * 1024
}

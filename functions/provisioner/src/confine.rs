//! What this process takes from itself and from all that it starts. Before it has a second thread: capabilities and
//! `no_new_privs` are each thread's own, and threads inherit them.

use std::io;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::geteuid;

/// More capabilities than there are.
const CAPABILITIES: libc::c_ulong = 64;
/// `CAP_SYS_PTRACE`: who has it looks into every process.
const SYS_PTRACE: libc::c_ulong = 19;

/// Keeps what a template starts out of this process.
pub fn confine() -> io::Result<()> {
    // Otherwise it could read this process's keys from /proc.
    prctl::set_dumpable(false)?;
    // So that what leaves terraform's group can be found: it is this process's child when its own parent ends.
    prctl::set_child_subreaper(true)?;
    // No program gets more rights than this process has.
    prctl::set_no_new_privs()?;
    give_no_capabilities()
}

/// A program of root's gets what is left in the bounding set, any other what is in the ambient one. Where this process
/// may not take from the first, it is mostly not root's.
fn give_no_capabilities() -> io::Result<()> {
    // A kernel that does not know of these has none to give.
    match capabilities(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong) {
        Ok(_) | Err(Errno::EINVAL) => {}
        Err(error) => return Err(error.into()),
    }
    for capability in 0..CAPABILITIES {
        match capabilities(libc::PR_CAPBSET_DROP, capability) {
            Ok(_) => {}
            Err(Errno::EINVAL | Errno::EPERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if geteuid().is_root() && capabilities(libc::PR_CAPBSET_READ, SYS_PTRACE) == Ok(1) {
        let why = "it runs as root and cannot give up CAP_SYS_PTRACE: templates could look into it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

#[allow(unsafe_code, reason = "neither the standard library nor nix has this call")]
fn capabilities(call: libc::c_int, what: libc::c_ulong) -> Result<libc::c_int, Errno> {
    let unused: libc::c_ulong = 0;
    // SAFETY: the call takes numbers and touches no memory.
    Errno::result(unsafe { libc::prctl(call, what, unused, unused, unused) })
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;

    use super::*;
    use crate::strays::tests::ALONE;

    #[expect(clippy::disallowed_methods, reason = "the test needs a program")]
    fn said(script: &str) -> String {
        let output = Command::new("/bin/sh").args(["-c", script]).output().expect("a shell");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    #[test]
    fn what_it_starts_has_no_capabilities_and_cannot_look_into_it() {
        let _alone = ALONE.blocking_lock();
        let look = format!("cat /proc/{}/environ > /dev/null 2>&1 && echo sees || echo blind", std::process::id());
        let open = format!("( : < /proc/{}/mem ) 2> /dev/null && echo sees || echo blind", std::process::id());
        assert_eq!(said(&look), "sees", "before");
        let confined = thread::spawn(move || {
            confine().expect("confined");
            let rights = said("grep -E 'CapEff|NoNewPrivs' /proc/self/status | tr -s '\\t\\n' ' '");
            (said(&look), said(&open), rights)
        });
        let (look, open, rights) = confined.join().expect("no panic");
        assert_eq!((look.as_str(), open.as_str()), ("blind", "blind"));
        assert_eq!(rights, "CapEff: 0000000000000000 NoNewPrivs: 1");
    }
}

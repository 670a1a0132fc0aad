//! A provider that runs on when terraform ends, for the next terraform to use (`TF_REATTACH_PROVIDERS`): neither is it
//! hashed and started again by each command, nor by each run.
//!
//! [`Provider`] is one such process, in a group of its own. [`Providers`] keeps one between runs, decides when it may
//! be used again, and ends it. [`runs_again`] knows which failures come from that. Why it is safe, and when it is not
//! done: `docs/adr/0019-a-provider-is-kept-running.md`.
//!
//! Where it is known what a run needs ([`Needs`]), a relay stands before the provider, which shows no other schemas:
//! `docs/adr/0023-reduced-schemas.md`.
//!
//! It has no keys but those that it reads from the file that the configuration of each run names: its environment is
//! built from nothing and holds none.

mod answers;
mod handshake;
mod kept;
mod program;
mod relay;
mod schemas;
mod trouble;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::oneshot;

use crate::module::Needs;
use crate::process::group::{self, Ended, Group, Killer, Launch, Running};
use crate::process::{Environment, ProcessError, SEARCH};
use crate::seal::Seal;
use answers::Answers;
use handshake::Address;
use relay::Relay;

pub use kept::{Lent, Limits, Providers, Unfit, Wanted, may_serve, may_stay};
pub use program::{Programs, program};
pub use trouble::runs_again;

/// What terraform shows to a provider so that it knows by whom it is started. No secret: it is in terraform's source.
const COOKIE: (&str, &str) =
    ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2");

/// How long it may take to end after SIGTERM. The AWS provider (5.100) does not catch that, and ends at once.
const STOPPING: Duration = Duration::from_secs(2);

/// What is kept of what it says at its start, in bytes.
const LONGEST: usize = 4096;

/// A running provider. Dropping it kills its group, without waiting for it.
pub struct Provider {
    group: Group,
    ended: oneshot::Receiver<Ended>,
    address: Address,
    folder: Folder,
}

/// Why there is no running provider.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// It could not be started, or its program could not be read.
    #[error("the provider `{program}` could not be started")]
    Start {
        /// The program.
        program: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The program is not the one that is meant.
    #[error("the provider `{program}` has the SHA-256 {actual}; {expected} is meant")]
    Digest {
        /// The program.
        program: String,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The process runs something else than what was verified.
    #[error("the provider `{0}` was changed after it had been verified")]
    Changed(String),
    /// It does not say where it listens.
    #[error("the provider `{program}` does not say where it listens: {said}")]
    Handshake {
        /// The program.
        program: String,
        /// The beginning of what it says.
        said: String,
    },
    /// It has not said in time where it listens.
    #[error("the provider `{program}` has not said within {deadline:?} where it listens")]
    Late {
        /// The program.
        program: String,
        /// The time that it had.
        deadline: Duration,
    },
    /// The one that was kept could not be ended.
    #[error("the provider that was kept has not ended")]
    Stop(#[source] ProcessError),
}

impl Provider {
    /// Starts it and waits until it listens, in a folder of its own below `sockets`. Of `environment` it has the search
    /// path and the endpoint, not the rest, which may have secrets.
    pub async fn start(
        wanted: &Wanted,
        environment: &Environment,
        programs: &Programs,
        sockets: &Path,
        deadline: Duration,
    ) -> Result<Self, ProviderError> {
        let seal = programs.verified(&wanted.program, &wanted.sha256).await?;
        Self::launch(wanted, Vec::new(), environment, seal, sockets, deadline).await
    }

    async fn launch(
        wanted: &Wanted,
        argv: Vec<OsString>,
        environment: &Environment,
        seal: Seal,
        sockets: &Path,
        deadline: Duration,
    ) -> Result<Self, ProviderError> {
        let program = wanted.program.display().to_string();
        let failed = |source| ProviderError::Start { program: program.clone(), source };
        let folder = Folder::new(sockets).map_err(failed)?;
        let launch = Launch {
            binary: wanted.program.clone(),
            argv,
            variables: variables(&folder.0, environment),
            work: wanted.work.clone(),
        };
        let Running { group, stdout, stderr, ended } = group::start(launch).await.map_err(failed)?;
        let mut stdout = BufReader::new(ChildStdout::from_std(stdout).map_err(failed)?);
        let complaints = tokio::spawn(beginning(ChildStderr::from_std(stderr).map_err(failed)?));

        let mut line = String::new();
        let spoken = tokio::time::timeout(deadline, (&mut stdout).take(LONGEST as u64).read_line(&mut line)).await;
        let unusable = match (spoken, handshake::parse(&line, &folder.0)) {
            (Ok(Ok(_)), Some(address)) if Seal::of_process(group.id()).is_ok_and(|running| running == seal) => {
                // Nobody reads what it says, but it must not wait for that.
                tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
                return Ok(Self { group, ended, address, folder });
            }
            (Ok(Ok(_)), Some(_)) => Some(ProviderError::Changed(program.clone())),
            (Err(_), _) => Some(ProviderError::Late { program: program.clone(), deadline }),
            (Ok(_), _) => None,
        };
        drop(group);
        // Until it is gone, and its error output has ended.
        let _ = ended.await;
        let complaints = tokio::time::timeout(STOPPING, complaints).await.ok().and_then(Result::ok).unwrap_or_default();
        let said = format!("{} {complaints}", line.trim());
        Err(unusable.unwrap_or(ProviderError::Handshake { program, said: said.trim().to_owned() }))
    }

    /// How terraform finds it: its entry of `TF_REATTACH_PROVIDERS`. With `Test` terraform leaves it running when it
    /// ends; where terraform cannot reach the socket, it kills what has that id.
    pub fn reattach(&self) -> Value {
        self.reattach_at(&self.address.socket)
    }

    /// The same by a socket that leads to it.
    fn reattach_at(&self, socket: &Path) -> Value {
        json!({
            "Protocol": "grpc",
            "ProtocolVersion": self.address.protocol,
            "Pid": self.group.id(),
            "Test": true,
            "Addr": {"Network": "unix", "String": socket.to_string_lossy()},
        })
    }

    /// What stands before it for one run, with a socket in its folder. There can be one at a time.
    fn relay(&self, needs: Needs, answers: Arc<Answers>) -> io::Result<Relay> {
        Relay::start(self.folder.0.join("relay"), self.address.socket.clone(), needs, answers)
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.group.is_alive()
    }

    /// Whether it runs and can be reached.
    pub fn answers(&self) -> bool {
        self.is_alive() && UnixStream::connect(&self.address.socket).is_ok()
    }

    /// Whether this is its working directory, in which it looks for the files that a template names.
    pub fn works_in(&self, folder: &Path) -> bool {
        let place = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        let here = place(&PathBuf::from(format!("/proc/{}/cwd", self.group.id())));
        here.is_some() && here == place(folder)
    }

    /// How much memory it has, in bytes, files that are mapped included.
    pub fn resident_bytes(&self) -> Option<u64> {
        resident(&fs::read_to_string(format!("/proc/{}/status", self.group.id())).ok()?)
    }

    /// What kills it from elsewhere.
    fn killer(&self) -> Killer {
        self.group.killer()
    }

    /// Ends it, with all of its group.
    pub async fn stop(mut self) -> Result<(), ProcessError> {
        self.group.terminate();
        let ended = match tokio::time::timeout(STOPPING, &mut self.ended).await {
            Ok(ended) => ended,
            Err(_) => {
                self.group.kill();
                (&mut self.ended).await
            }
        };
        let unseen = |_| ProcessError::Wait(io::Error::other("the thread that awaits the provider has died"));
        let Ended { left, .. } = ended.map_err(unseen)?;
        if left.is_empty() { Ok(()) } else { Err(ProcessError::ProcessLeft { pids: left }) }
    }
}

/// The folder of one socket, into which only this user may look. It is gone when it is let go. What it is in belongs to
/// this process alone.
struct Folder(PathBuf);

impl Folder {
    fn new(below: &Path) -> io::Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let path = below.join(COUNTER.fetch_add(1, Ordering::Relaxed).to_string());
        // What is there already was left by somebody who is gone.
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Every variable of a provider.
fn variables(folder: &Path, environment: &Environment) -> BTreeMap<OsString, OsString> {
    let mut variables: BTreeMap<OsString, OsString> = BTreeMap::from([
        (COOKIE.0.into(), COOKIE.1.into()),
        ("PLUGIN_PROTOCOL_VERSIONS".into(), "5,6".into()),
        ("PLUGIN_UNIX_SOCKET_DIR".into(), folder.into()),
        ("PATH".into(), environment.search.as_deref().unwrap_or(SEARCH).into()),
        ("HOME".into(), folder.into()),
        ("TMPDIR".into(), folder.into()),
        ("AWS_EC2_METADATA_DISABLED".into(), "true".into()),
        // All that it is told is in its configuration: a file in its home would be a run's, and read in the next one.
        ("AWS_CONFIG_FILE".into(), "/dev/null".into()),
    ]);
    if let Some(url) = &environment.endpoint_url {
        variables.insert("AWS_ENDPOINT_URL".into(), url.into());
    }
    variables
}

/// Reads to the end, or the process would wait for room; gives the beginning.
async fn beginning(mut output: impl AsyncRead + Unpin) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; LONGEST]);
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        let room = LONGEST - kept.len();
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// What `/proc/<pid>/status` says of memory, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use sha2::{Digest, Sha256};
    use tempfile::TempDir;

    use super::*;

    const LISTENS: &str = "printf '1|5|unix|%s/plugin1|grpc|\\n' \"$TMPDIR\"";

    /// A shell as the provider: a program that says and does what a test wants.
    async fn shell(script: &str, deadline: Duration) -> (TempDir, Result<Provider, ProviderError>) {
        let folder = tempfile::tempdir().expect("a folder");
        let program = PathBuf::from("/bin/sh");
        let wanted = Wanted {
            key: "acme/dev".to_owned(),
            source: "registry.terraform.io/hashicorp/aws".to_owned(),
            version: "5.100.0".to_owned(),
            sha256: hex::encode(Sha256::digest(fs::read(&program).expect("a shell"))),
            program,
            work: folder.path().join("work"),
        };
        fs::create_dir(&wanted.work).expect("a work folder");
        let seal = Programs::default().verified(&wanted.program, &wanted.sha256).await.expect("verified");
        let (argv, sockets) = (vec!["-c".into(), script.into()], folder.path().join("sockets"));
        let started = Provider::launch(&wanted, argv, &Environment::default(), seal, &sockets, deadline).await;
        (folder, started)
    }

    fn lives(pid: &str) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_provider_is_found_by_its_socket_and_ends_with_all_of_its_group() {
        let script = format!("sleep 1000 & echo $! > child; {LISTENS}; wait");
        let (folder, started) = shell(&script, DEADLINE).await;
        let provider = started.expect("a provider");
        let sockets = folder.path().join("sockets");
        let own = fs::read_dir(&sockets).expect("a folder").flatten().next().expect("one").path();
        assert_eq!(fs::metadata(&own).expect("the folder").permissions().mode() & 0o777, 0o700);
        let entry = provider.reattach();
        assert_eq!(entry["Addr"]["String"], json!(own.join("plugin1").to_string_lossy()));
        assert_eq!((&entry["Test"], &entry["ProtocolVersion"]), (&json!(true), &json!(5)));
        assert!(provider.is_alive() && !provider.answers(), "a shell does not listen");
        let relay = provider.relay(Needs::default(), Arc::default()).expect("a relay");
        assert_eq!(relay.socket(), own.join("relay"));
        let by_relay = provider.reattach_at(relay.socket());
        assert_eq!(by_relay["Addr"]["String"], json!(own.join("relay").to_string_lossy()));
        assert_eq!((&by_relay["Pid"], &by_relay["Test"]), (&entry["Pid"], &json!(true)));
        assert!(UnixStream::connect(relay.socket()).is_ok());
        drop(relay);
        assert!(!own.join("relay").exists());
        let (work, renamed) = (folder.path().join("work"), folder.path().join("renamed"));
        assert!(provider.works_in(&work) && !provider.works_in(folder.path()));
        fs::rename(&work, &renamed).expect("renamed");
        fs::create_dir(&work).expect("another of that name");
        assert!(provider.works_in(&renamed) && !provider.works_in(&work));
        assert!(provider.resident_bytes().is_some_and(|bytes| bytes > 100_000));
        let child = fs::read_to_string(renamed.join("child")).expect("the child's id");
        assert!(lives(&child));
        provider.stop().await.expect("it ends");
        assert!(!lives(&child) && !lives(&entry["Pid"].to_string()));
        assert_eq!(fs::read_dir(&sockets).expect("a folder").count(), 0);
    }

    #[tokio::test]
    async fn one_that_does_not_heed_sigterm_is_killed() {
        let (_folder, started) = shell(&format!("trap '' TERM; {LISTENS}; while :; do sleep 1; done"), DEADLINE).await;
        let provider = started.expect("a provider");
        let id = provider.reattach()["Pid"].to_string();
        provider.stop().await.expect("it ends");
        assert!(!lives(&id));
    }

    #[tokio::test]
    async fn one_that_has_died_is_known_to_be_dead() {
        let (folder, started) = shell(&format!("{LISTENS}; while [ ! -e gate ]; do sleep 0.01; done"), DEADLINE).await;
        let provider = started.expect("a provider");
        assert!(provider.is_alive());
        fs::write(folder.path().join("work/gate"), "").expect("the gate is open");
        let dead = async {
            while provider.is_alive() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, dead).await.expect("it has died");
        assert!(!provider.answers());
        provider.stop().await.expect("nothing of it is left");
    }

    #[tokio::test]
    async fn one_that_does_not_say_where_it_listens_is_refused_with_what_it_says() {
        let check = async |script: &str, expect: &str| {
            let (folder, started) = shell(script, DEADLINE).await;
            match started.err().expect("refused") {
                ProviderError::Handshake { said, .. } => assert_eq!(said, expect),
                other => panic!("{other}"),
            }
            assert_eq!(fs::read_dir(folder.path().join("sockets")).expect("a folder").count(), 0);
        };
        check("echo why >&2; echo hello; sleep 1000", "hello why").await;
        check("echo This binary is a plugin. >&2; exit 1", "This binary is a plugin.").await;
        check("echo '1|5|unix|/elsewhere/plugin1|grpc|'; sleep 1000", "1|5|unix|/elsewhere/plugin1|grpc|").await;
    }

    #[tokio::test]
    async fn one_that_says_nothing_has_a_deadline() {
        let (_folder, started) = shell("sleep 1000", Duration::from_millis(100)).await;
        assert!(matches!(started.err().expect("refused"), ProviderError::Late { .. }));
    }

    #[tokio::test]
    async fn a_process_that_runs_something_else_than_what_was_verified_is_refused() {
        let (_folder, started) = shell(&format!("{LISTENS} > line; exec tail -n 1 -f line"), DEADLINE).await;
        assert!(matches!(started.err().expect("refused"), ProviderError::Changed(_)));
    }

    #[test]
    fn the_environment_is_built_from_nothing() {
        let check = |environment: &Environment, expect: &str| {
            let variables = variables(Path::new("/s"), environment);
            let lines: Vec<String> = variables
                .iter()
                .filter(|(name, _)| *name != COOKIE.0)
                .map(|(name, value)| format!("{}={}", name.display(), value.display()))
                .collect();
            assert_eq!(lines.join(" "), expect);
        };
        check(
            &Environment::default(),
            "AWS_CONFIG_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true HOME=/s PATH=/usr/bin:/bin PLUGIN_PROTOCOL_VERSIONS=5,6 \
             PLUGIN_UNIX_SOCKET_DIR=/s TMPDIR=/s",
        );
        let all = Environment {
            endpoint_url: Some("http://127.0.0.1:4566".to_owned()),
            search: Some("/p".to_owned()),
            more: BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter2".to_owned())]),
        };
        check(
            &all,
            "AWS_CONFIG_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true AWS_ENDPOINT_URL=http://127.0.0.1:4566 HOME=/s PATH=/p \
             PLUGIN_PROTOCOL_VERSIONS=5,6 PLUGIN_UNIX_SOCKET_DIR=/s TMPDIR=/s",
        );
    }

    #[test]
    fn memory_is_read_from_status() {
        let check = |status: &str, expect: Option<u64>| assert_eq!(resident(status), expect, "{status}");
        check("Name:\tterraform-provi\nVmHWM:\t  529308 kB\nVmRSS:\t  529308 kB\nThreads:\t8\n", Some(542_011_392));
        check("Name:\tVmRSS: 1 kB\n", None);
        check("VmRSS:\tmuch\n", None);
        check("", None);
    }
}

//! The driver with the real terraform on `PATH` and its state on a server that speaks the HTTP backend.

mod state_server;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use conductor_terraform::command::{Command, ForceUnlock};
use conductor_terraform::engine::Engine;
use conductor_terraform::prepared::{self, Identity, PrepareError, Prepared};
use conductor_terraform::process::{Control, Environment, Status, Terraform};
use conductor_terraform::project::{self, Backend, BackendCredentials, HttpBackend, Project};
use conductor_terraform::pull::{PullError, pull};
use conductor_terraform::push::{is_refused, push};
use conductor_terraform::run::{self, Action, Outcome, RunRequest, UpdateRule};
use conductor_terraform::{lock, mirror, module, state, transient};
use serde_json::json;
use state_server::StateServer;
use tempfile::TempDir;
use tokio::sync::watch;

/// `conductor:hunter2-${http}`, as basic authentication has it.
const AUTHORIZATION: &str = "Basic Y29uZHVjdG9yOmh1bnRlcjItJHtodHRwfQ==";
const PASSWORD: &str = "hunter2-${http}";
const PATH: &str = "/acme/prod/one";

const TEMPLATE: &str = r#"
    variable "name" { type = string }
    resource "terraform_data" "it" { input = var.name }
    output "name" { value = terraform_data.it.output }
    output "secret" {
      value     = "hidden"
      sensitive = true
    }
"#;

struct Bench {
    folder: TempDir,
    terraform: Terraform,
    server: StateServer,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = folder.path().join("mirror");
    mirror::assemble(&mirror, &[]).expect("a mirror");
    let cli_config = folder.path().join("cli.tfrc");
    fs::write(&cli_config, mirror::cli_config(&mirror)).expect("a CLI configuration");
    let path = std::env::var_os("PATH").expect("PATH is set");
    let binary: Option<PathBuf> =
        std::env::split_paths(&path).map(|folder| folder.join("terraform")).find(|program| program.is_file());
    let binary = binary.expect("terraform is on PATH");
    let (engine, environment) = (Engine::Terraform, Environment::default());
    let terraform = Terraform { engine, binary, cli_config, environment };
    Bench { folder, terraform, server: StateServer::start(Some(AUTHORIZATION)) }
}

impl Bench {
    fn backend(&self, password: &str) -> Backend {
        let content = json!({"username": "conductor", "password": password}).to_string();
        let credentials = BackendCredentials::parse("http", &content).expect("credentials");
        Backend::Http(HttpBackend { address: format!("{}{PATH}", self.server.url()), lock: true, credentials })
    }

    /// A work folder as the provisioner makes it.
    async fn work(&self, name: &str, backend: &Backend) -> Result<TempDir, PrepareError> {
        let work = tempfile::tempdir_in(self.folder.path()).expect("a work folder");
        let files = BTreeMap::from([("main.tf".to_owned(), TEMPLATE.as_bytes().to_vec())]);
        let module = module::from_files(files, Engine::Terraform).expect("a template");
        let project = Project {
            module: &module,
            engine_version: None,
            inputs: &BTreeMap::from([("name".to_owned(), json!(name))]),
            sensitive_inputs: &BTreeSet::new(),
            provider_versions: &BTreeMap::new(),
            providers: &BTreeMap::new(),
            backend,
        };
        project::write(work.path(), &project.files()).expect("the project is written");
        let identity = Identity {
            module: module.digest(),
            engine: "any".to_owned(),
            providers: BTreeMap::new(),
            backend: backend.kind(),
        };
        let root = self.folder.path().join("prepared");
        let mut control = watch::channel(Control::Run).1;
        let configuration = project.configuration();
        let prepared =
            Prepared::ensure(&root, &identity, &configuration, backend, &self.terraform, &mut control).await?;
        prepared.copy_into(work.path(), backend)?;
        Ok(work)
    }

    async fn attempt(&self, work: &Path, action: Action) -> Outcome {
        let request = RunRequest {
            terraform: &self.terraform,
            work,
            action,
            rule: UpdateRule::default(),
            lock_timeout: Duration::ZERO,
        };
        run::run(request, watch::channel(Control::Run).1, |_| {}).await.expect("an outcome")
    }

    async fn run(&self, name: &str, action: Action) -> Outcome {
        let work = self.work(name, &self.backend(PASSWORD)).await.expect("prepared");
        self.attempt(work.path(), action).await
    }

    /// What terraform itself reads.
    async fn pull(&self) -> Option<state::State> {
        let work = self.work("any", &self.backend(PASSWORD)).await.expect("prepared");
        pull(&self.terraform, work.path(), &mut watch::channel(Control::Run).1).await.expect("pulled")
    }
}

#[tokio::test]
async fn a_state_is_made_changed_and_emptied_on_the_server_under_its_lock() {
    let bench = bench();
    assert_eq!(bench.pull().await, None, "there is no state yet");
    assert!(matches!(bench.run("one", Action::Create).await, Outcome::Applied(_)));
    let state = bench.pull().await.expect("a state");
    assert_eq!((state.resources(), &state.outputs["name"].value), (1, &json!("one")));
    assert_eq!(state.outputs["secret"].value, json!("hidden"));
    let kept = bench.server.state(PATH).expect("the server has it");
    assert_eq!(state::parse(kept.as_bytes()).expect("a state"), state);

    assert!(matches!(bench.run("two", Action::Update).await, Outcome::Applied(_)));
    assert_eq!(bench.pull().await.expect("a state").outputs["name"].value, json!("two"));

    match bench.run("two", Action::Destroy).await {
        Outcome::Applied(applied) => assert_eq!(applied.changes.destroy, 1),
        other => panic!("{other:?}"),
    }
    let state = bench.pull().await.expect("terraform leaves an empty state");
    assert_eq!((state.resources(), state.outputs.len()), (0, 0));
    assert_eq!(bench.server.count("DELETE"), 0, "and deletes none");
    assert_eq!((bench.server.locks(), bench.server.count("LOCK")), (0, bench.server.count("UNLOCK")));
    assert!(bench.server.count("LOCK") >= 3);
}

#[tokio::test]
async fn a_lock_that_somebody_holds_is_named() {
    let bench = bench();
    bench.server.lock(PATH);
    match bench.run("one", Action::Create).await {
        Outcome::Failed(failure) => {
            let diagnostic = failure.diagnostics.first().expect("a diagnostic");
            assert_eq!(diagnostic.summary, "Error acquiring the state lock");
            assert!(diagnostic.detail.contains("somebody-else"), "{}", diagnostic.detail);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((bench.server.state(PATH), bench.server.locks()), (None, 1), "nothing was done");
}

#[tokio::test]
async fn a_lock_is_removed_by_the_id_that_the_error_names() {
    let bench = bench();
    bench.server.lock(PATH);
    let work = bench.work("one", &bench.backend(PASSWORD)).await.expect("prepared");
    let id = match bench.attempt(work.path(), Action::Create).await {
        Outcome::Failed(failure) => {
            assert!(transient::passes(&failure.diagnostics, &failure.stderr), "{:?}", failure.diagnostics);
            lock::in_the_way(&failure.diagnostics, &failure.stderr).expect("an id")
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(id, "somebody-else");
    let (_told, mut control) = watch::channel(Control::Run);
    let unlock = Command::ForceUnlock(ForceUnlock { id });
    let exit = bench.terraform.run(&unlock, work.path(), &mut control, |_| {}).await.expect("it ends");
    assert_eq!((exit.status, bench.server.locks()), (Status::Succeeded, 0), "{}", exit.stderr);
    assert!(matches!(bench.attempt(work.path(), Action::Create).await, Outcome::Applied(_)));
}

#[tokio::test]
async fn a_state_that_could_not_be_stored_is_left_and_pushed_later() {
    let bench = bench();
    let address = "module.resource.terraform_data.it";
    let work = bench.work("one", &bench.backend(PASSWORD)).await.expect("prepared");
    bench.server.refuse("POST", Some(503));
    let errored = match bench.attempt(work.path(), Action::Create).await {
        Outcome::Failed(failure) => {
            assert!(transient::passes(&failure.diagnostics, &failure.stderr), "{:?}", failure.diagnostics);
            assert!(!failure.killed && !failure.lock_left);
            failure.errored_state.expect("the state is left")
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((bench.server.state(PATH), bench.server.locks()), (None, 0));
    let left = state::parse(&fs::read(&errored).expect("a file")).expect("a state");
    assert!(left.addresses.contains(address));

    bench.server.refuse("POST", None);
    let next = bench.work("one", &bench.backend(PASSWORD)).await.expect("prepared");
    let (_told, mut control) = watch::channel(Control::Run);
    let exit = push(&bench.terraform, next.path(), &errored, Duration::ZERO, &mut control).await.expect("it ends");
    assert_eq!((exit.status, bench.server.locks()), (Status::Succeeded, 0), "{}", exit.stderr);
    assert!(bench.pull().await.expect("a state").addresses.contains(address));
    match bench.attempt(next.path(), Action::Update).await {
        Outcome::Applied(applied) => assert_eq!(applied.changes.add, 0, "it is known"),
        other => panic!("{other:?}"),
    }

    let exit = push(&bench.terraform, next.path(), &errored, Duration::ZERO, &mut control).await.expect("it ends");
    assert!(is_refused(&exit) && !lock::is_left(&exit), "what is stored by now is another state: {}", exit.stderr);
}

#[tokio::test]
async fn a_server_that_refuses_fails_the_preparation_and_the_pull() {
    let bench = bench();
    let wrong = bench.backend("wrong-password");
    match bench.work("one", &wrong).await {
        Err(PrepareError::Init(exit)) => {
            let said = format!("{:?}{}", exit.summary.diagnostics, exit.stderr);
            assert!(said.contains("auth") && !said.contains("wrong-password"), "{said}");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
    let left = fs::read_dir(bench.folder.path().join("prepared")).expect("the folder").count();
    assert_eq!(left, 0, "nothing half-made is left");

    let work = bench.work("one", &bench.backend(PASSWORD)).await.expect("prepared");
    let exit = prepared::init(&bench.terraform, work.path(), &wrong, &mut watch::channel(Control::Run).1, |_| {}).await;
    assert!(matches!(exit.expect("init ends").status, Status::Failed(_)));
    let unauthorized = bench.work("one", &wrong).await.expect("prepared before");
    let pulled = pull(&bench.terraform, unauthorized.path(), &mut watch::channel(Control::Run).1).await;
    match pulled {
        Err(PullError::Failed { stderr }) => assert!(!stderr.contains("wrong-password"), "{stderr}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_password_is_in_one_private_file_of_the_work_folder_and_in_no_prepared_one() {
    let bench = bench();
    let work = bench.work("one", &bench.backend(PASSWORD)).await.expect("prepared");
    let with_password = |root: &Path| {
        let mut found = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if String::from_utf8_lossy(&fs::read(&path).expect("a file")).contains(PASSWORD) {
                    found.push(path);
                }
            }
        }
        found
    };
    assert_eq!(with_password(&bench.folder.path().join("prepared")), Vec::<PathBuf>::new());
    let record = work.path().join(".terraform/terraform.tfstate");
    assert_eq!(with_password(work.path()), std::slice::from_ref(&record));
    assert_eq!(fs::metadata(&record).expect("the record").permissions().mode() & 0o777, 0o600);
}

//! The driver with the real terraform on `PATH`: its built-in provider and a local backend, so no network.
#![allow(clippy::disallowed_methods, reason = "a test looks for terraform, and at the processes of this machine")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conductor_terraform::engine::Engine;
use conductor_terraform::events::{Body, Event};
use conductor_terraform::prepared::{self, Identity, Prepared};
use conductor_terraform::process::{Control, Environment, Status, Terraform};
use conductor_terraform::project::{self, Backend, Project};
use conductor_terraform::run::{self, Action, Outcome, RunRequest, UpdateRule};
use conductor_terraform::{command::Command, mirror, module, state};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

const TEMPLATE: &str = r#"
    variable "name" { type = string }
    variable "password" {
      type      = string
      default   = "hunter2"
      sensitive = true
    }
    resource "terraform_data" "updated" { input = var.name }
    output "name" { value = terraform_data.updated.output }
    output "password" {
      value     = var.password
      sensitive = true
    }
"#;

const REPLACED: &str = r#"resource "terraform_data" "replaced" { triggers_replace = var.name }"#;

const FAILING: &str = r#"
    resource "terraform_data" "failing" {
      lifecycle {
        precondition {
          condition     = var.name == "good"
          error_message = "The name is not good."
        }
      }
    }
"#;

/// A resource with a state of its own, and a work folder that is made anew for each run.
struct Bench {
    folder: TempDir,
    terraform: Terraform,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = folder.path().join("mirror");
    mirror::assemble(&mirror, &[]).expect("a mirror");
    let cli_config = folder.path().join("cli.tfrc");
    fs::write(&cli_config, mirror::cli_config(&mirror)).expect("a CLI configuration");
    let (engine, environment) = (Engine::Terraform, Environment::default());
    let terraform = Terraform { engine, binary: terraform_on_path(), cli_config, environment };
    Bench { folder, terraform }
}

fn terraform_on_path() -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH is set");
    std::env::split_paths(&path)
        .map(|folder| folder.join("terraform"))
        .find(|program| program.is_file())
        .expect("terraform is on PATH")
}

impl Bench {
    fn backend(&self) -> Backend {
        Backend::Local { path: self.folder.path().join("state.json") }
    }

    fn state(&self) -> state::State {
        let content = fs::read(self.folder.path().join("state.json")).expect("a state");
        state::parse(&content).expect("a state of a known format")
    }

    /// A work folder with everything that a run needs, prepared as the provisioner does it.
    async fn work(&self, template: &[&str], name: &str) -> TempDir {
        let work = tempfile::tempdir_in(self.folder.path()).expect("a work folder");
        let files = BTreeMap::from([("main.tf".to_owned(), template.join("\n").into_bytes())]);
        let module = module::from_files(files, Engine::Terraform).expect("a template");
        let inputs = BTreeMap::from([("name".to_owned(), json!(name))]);
        let backend = self.backend();
        let project = Project {
            module: &module,
            engine_version: None,
            inputs: &inputs,
            sensitive_inputs: &BTreeSet::new(),
            provider_versions: &BTreeMap::new(),
            providers: &BTreeMap::new(),
            backend: &backend,
        };
        project::write(work.path(), &project.files()).expect("the project is written");
        let identity = Identity {
            module: module.digest(),
            engine: "any".to_owned(),
            providers: BTreeMap::new(),
            backend: backend.kind(),
        };
        let root = self.folder.path().join("prepared");
        // The prepared folder knows another state; this run's is set when it is copied.
        let elsewhere = Backend::Local { path: self.folder.path().join("elsewhere.json") };
        let mut control = watch::channel(Control::Run).1;
        let configuration = project.configuration();
        let prepared =
            Prepared::ensure(&root, &identity, &configuration, &elsewhere, &self.terraform, &mut control).await;
        prepared.expect("prepared").copy_into(work.path(), &backend).expect("copied");
        work
    }

    fn request<'a>(&'a self, work: &'a Path, action: Action) -> RunRequest<'a> {
        let (rule, lock_timeout) = (UpdateRule::default(), Duration::ZERO);
        RunRequest { terraform: &self.terraform, work, action, rule, lock_timeout }
    }

    async fn run(&self, template: &[&str], name: &str, action: Action) -> Outcome {
        let work = self.work(template, name).await;
        let control = watch::channel(Control::Run).1;
        run::run(self.request(work.path(), action), control, |_| {}).await.expect("an outcome")
    }
}

fn outputs(outcome: Outcome) -> BTreeMap<String, Value> {
    match outcome {
        Outcome::Applied(applied) => applied.outputs.expect("outputs"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_resource_is_created_updated_in_place_and_destroyed() {
    let bench = bench();
    let created = outputs(bench.run(&[TEMPLATE], "one ${path.root}", Action::Create).await);
    assert_eq!(created, BTreeMap::from([("name".to_owned(), json!("one ${path.root}"))]), "taken literally");
    assert_eq!(bench.state().outputs["password"].value, json!("hunter2"));
    assert!(bench.state().addresses.contains("module.resource.terraform_data.updated"));
    assert!(!bench.folder.path().join("elsewhere.json").exists(), "the state is where this run's backend is");

    let updated = outputs(bench.run(&[TEMPLATE], "two", Action::Update).await);
    assert_eq!(updated["name"], json!("two"));

    match bench.run(&[TEMPLATE], "two", Action::Update).await {
        Outcome::Applied(applied) => assert!(applied.outputs.is_none(), "nothing was to be changed"),
        other => panic!("{other:?}"),
    }

    match bench.run(&[TEMPLATE], "two", Action::Destroy).await {
        Outcome::Applied(applied) => assert_eq!(applied.changes.destroy, 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.state().resources(), 0);
}

#[tokio::test]
async fn an_update_that_would_replace_is_refused_unless_it_is_allowed() {
    let bench = bench();
    outputs(bench.run(&[TEMPLATE, REPLACED], "one", Action::Create).await);
    let serial = bench.state().serial;
    let address = "module.resource.terraform_data.replaced";
    match bench.run(&[TEMPLATE, REPLACED], "two", Action::Update).await {
        Outcome::WouldReplace { changes } => {
            assert_eq!(changes.iter().map(|change| change.address.as_str()).collect::<Vec<_>>(), [address]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.state().serial, serial, "nothing was changed");

    let work = bench.work(&[TEMPLATE, REPLACED], "two").await;
    let mut request = bench.request(work.path(), Action::Update);
    request.rule.allowed.insert(address.to_owned());
    let outcome = run::run(request, watch::channel(Control::Run).1, |_| {}).await.expect("an outcome");
    assert_eq!(outputs(outcome)["name"], json!("two"));
}

#[tokio::test]
async fn a_failure_brings_terraforms_own_words() {
    let bench = bench();
    match bench.run(&[TEMPLATE, FAILING], "bad", Action::Create).await {
        Outcome::Failed(failure) => {
            let diagnostic = failure.diagnostics.first().expect("a diagnostic");
            assert_eq!(diagnostic.summary, "Resource precondition failed");
            assert_eq!(diagnostic.detail, "The name is not good.");
            assert_eq!(failure.during, Action::Create);
            assert!(!failure.needs_init());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_folder_that_is_not_initialised_asks_for_init_and_then_works() {
    let bench = bench();
    let work = bench.work(&[TEMPLATE], "one").await;
    fs::remove_dir_all(work.path().join(".terraform")).expect("removed");
    let (_told, mut control) = watch::channel(Control::Run);
    let outcome = run::run(bench.request(work.path(), Action::Create), control.clone(), |_| {}).await;
    assert!(matches!(outcome.expect("an outcome"), Outcome::Failed(failure) if failure.needs_init()));
    let exit = prepared::init(&bench.terraform, work.path(), &bench.backend(), &mut control, |_| {}).await;
    assert_eq!(exit.expect("init ends").status, Status::Succeeded);
    let outcome = run::run(bench.request(work.path(), Action::Create), control, |_| {}).await;
    assert_eq!(outputs(outcome.expect("an outcome"))["name"], json!("one"));
}

/// Half a minute for `sleep`, by which its process can be found. All marks have one length, so that none is part of another.
fn mark() -> String {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    format!("30.{:010}{:04}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// A template whose only resource takes half a minute, in a process that can be found by the mark.
fn slow() -> (String, String) {
    let mark = mark();
    let template = format!(
        "variable \"name\" {{ type = string }}\nresource \"terraform_data\" \"slow\" {{\n  provisioner \"local-exec\" {{\n    \
         command = \"echo started; sleep {mark}; true\"\n  }}\n}}\n"
    );
    (template, mark)
}

/// The same with a resource before it that takes no time; the slow one takes none either once the file `gate` is there.
fn gated(gate: &Path) -> (String, String) {
    let (mark, gate) = (mark(), gate.display());
    let template = format!(
        "variable \"name\" {{ type = string }}\nresource \"terraform_data\" \"quick\" {{ input = var.name }}\n\
         resource \"terraform_data\" \"slow\" {{\n  depends_on = [terraform_data.quick]\n  provisioner \"local-exec\" {{\n    \
         command = \"echo started; test -e {gate} || sleep {mark}; true\"\n  }}\n}}\n"
    );
    (template, mark)
}

fn processes_with(mark: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let arguments = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    arguments.filter(|arguments| String::from_utf8_lossy(arguments).contains(mark)).count()
}

async fn stopped(bench: &Bench, template: &str, mark: &str, how: Control) -> Outcome {
    let work = bench.work(&[template], "one").await;
    let (tell, told) = watch::channel(Control::Run);
    let mut seen = 0;
    let outcome = run::run(bench.request(work.path(), Action::Create), told, |event: &Event| {
        if matches!(event.body, Body::ProvisionProgress(_)) && event.message.ends_with("(local-exec): started") {
            seen += processes_with(mark);
            tell.send_replace(how);
        }
    })
    .await;
    assert!(seen > 0, "the provisioner ran");
    outcome.expect("an outcome")
}

#[tokio::test]
async fn sigterm_interrupts_stores_the_state_and_leaves_no_process() {
    let bench = bench();
    let (template, mark) = slow();
    match stopped(&bench, &template, &mark, Control::Terminate).await {
        Outcome::Interrupted(interruption) => {
            assert!(!interruption.killed && !interruption.lock_left);
            let in_flight: Vec<&str> = interruption.in_flight.iter().map(|slow| slow.address.as_str()).collect();
            assert_eq!(in_flight, ["module.resource.terraform_data.slow"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(processes_with(&mark), 0);
    assert_eq!(bench.state().resources(), 1, "tainted, and known");
}

#[tokio::test]
async fn sigkill_leaves_no_process() {
    let bench = bench();
    let (template, mark) = slow();
    match stopped(&bench, &template, &mark, Control::Kill).await {
        Outcome::Interrupted(interruption) => assert!(interruption.killed && interruption.lock_left),
        other => panic!("{other:?}"),
    }
    assert_eq!(processes_with(&mark), 0);
}

#[tokio::test]
async fn what_an_attempt_left_tainted_is_remade_unless_it_was_there_before() {
    let bench = bench();
    let gate = bench.folder.path().join("gate");
    let (template, mark) = gated(&gate);
    match stopped(&bench, &template, &mark, Control::Terminate).await {
        Outcome::Interrupted(interruption) => {
            assert_eq!((interruption.in_flight.len(), interruption.finished), (1, 1), "{interruption:?}");
        }
        other => panic!("{other:?}"),
    }
    fs::write(&gate, "").expect("the gate is open");
    let update = async |protected: &[&str]| {
        let work = bench.work(&[template.as_str()], "one").await;
        let mut request = bench.request(work.path(), Action::Update);
        request.rule.protected = Some(protected.iter().map(|address| (*address).to_owned()).collect());
        run::run(request, watch::channel(Control::Run).1, |_| {}).await.expect("an outcome")
    };
    let (quick, slow) = ("module.resource.terraform_data.quick", "module.resource.terraform_data.slow");
    assert_eq!(bench.state().addresses.iter().collect::<Vec<_>>(), [quick, slow]);
    match update(&[quick, slow]).await {
        Outcome::WouldReplace { changes } => {
            let changes: Vec<_> =
                changes.iter().map(|change| (change.address.as_str(), change.reason.as_deref())).collect();
            assert_eq!(changes, [(slow, Some("tainted"))]);
        }
        other => panic!("{other:?}"),
    }
    match update(&[quick]).await {
        Outcome::Applied(applied) => assert_eq!((applied.changes.add, applied.changes.destroy), (1, 1)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_stopped_before_it_starts_does_not_start() {
    let bench = bench();
    let work = bench.work(&[TEMPLATE], "one").await;
    let (_tell, told) = watch::channel(Control::Terminate);
    let outcome = run::run(bench.request(work.path(), Action::Create), told, |_| panic!("no event")).await;
    assert!(matches!(outcome.expect("an outcome"), Outcome::Interrupted(_)));
}

#[tokio::test]
async fn documents_are_kept_as_they_are() {
    let bench = bench();
    let work = tempfile::tempdir_in(bench.folder.path()).expect("a work folder");
    let mut control = watch::channel(Control::Run).1;
    let exit = bench.terraform.run(&Command::Version, work.path(), &mut control, |_| {}).await.expect("it ends");
    let version: Value = serde_json::from_slice(&exit.stdout.0).expect("JSON");
    assert!(version["terraform_version"].is_string());
}

//! A provider that is kept running, with the real terraform on `PATH` and the real AWS provider: where this machine has
//! it in a filesystem mirror (`CONDUCTOR_PROVIDER_MIRROR`, terraform's own mirror folders, or one below `/opt` or
//! `/usr/local/share`), else these tests say so and do nothing. In AWS's place is a server of the test's own.
#![allow(clippy::disallowed_methods, reason = "a test looks for terraform, and at the processes of this machine")]

mod aws_server;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use aws_server::{AwsServer, NEVER};
use conductor_terraform::engine::Engine;
use conductor_terraform::events::{Body, Changes, Diagnostic};
use conductor_terraform::mirror::{self, MirroredProvider};
use conductor_terraform::module::{self, Module, Needs};
use conductor_terraform::prepared::{Identity, Prepared};
use conductor_terraform::process::{Control, Environment, Terraform};
use conductor_terraform::project::{
    self, AwsProvider, Backend, CREDENTIALS_FILE, Credentials, Profile, Project, credentials_file, write_private,
};
use conductor_terraform::provider::{self, Lent, Limits, Providers, Wanted};
use conductor_terraform::run::{self, Action, Applied, Outcome, RunRequest, UpdateRule};
use conductor_terraform::state::{self, State};
use conductor_terraform::toolchain;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use semver::Version;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard, watch};

const SOURCE: &str = "registry.terraform.io/hashicorp/aws";
const DEADLINE: Duration = Duration::from_secs(30);

const TEMPLATE: &str = r#"
    terraform {
      required_providers { aws = { source = "hashicorp/aws" } }
    }
    variable "name" { type = string }
    data "aws_caller_identity" "me" {}
    resource "aws_cloudwatch_log_group" "it" { name = var.name }
    output "arn" { value = aws_cloudwatch_log_group.it.arn }
    output "user" { value = data.aws_caller_identity.me.arn }
"#;

/// The provider reads a file of the template, by a relative path, and is refused.
const REFUSED: &str = r#"
    resource "aws_s3_object" "file" {
      bucket = "bucket"
      key    = "key"
      source = "${path.module}/main.tf"
    }
"#;

/// The template when it names the log group no longer.
const LET_GO: &str = r#"
    terraform {
      required_providers { aws = { source = "hashicorp/aws" } }
    }
    variable "name" { type = string }
    data "aws_caller_identity" "me" {}
    output "user" { value = data.aws_caller_identity.me.arn }
"#;

/// A provider of 700 MB and a terraform: one test at a time.
static TURN: Mutex<()> = Mutex::const_new(());

struct Bench {
    providers: Providers,
    aws: AwsServer,
    terraform: Terraform,
    program: Program,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

#[derive(Clone)]
struct Program {
    version: String,
    folder: PathBuf,
    path: PathBuf,
    sha256: String,
}

/// The newest AWS provider of this machine.
fn program() -> Option<&'static Program> {
    static PROGRAM: OnceLock<Option<Program>> = OnceLock::new();
    let find = || {
        let found = mirrors().into_iter().flat_map(|mirror| folders(&mirror.join(SOURCE)));
        let version = |folder: &PathBuf| Version::parse(folder.file_name()?.to_str()?).ok();
        let (version, folder) = found.filter_map(|folder| Some((version(&folder)?, folder))).max()?;
        let folder = folder.join(toolchain::current_platform());
        let path = provider::program(&folder, SOURCE)?;
        let sha256 = sha256(&path).expect("the provider can be read");
        Some(Program { version: version.to_string(), folder, path, sha256 })
    };
    PROGRAM.get_or_init(find).as_ref()
}

fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher, mut buffer) = (fs::File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn mirrors() -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os("CONDUCTOR_PROVIDER_MIRROR") {
        return vec![named.into()];
    }
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let data = std::env::var_os("XDG_DATA_HOME").map_or_else(|| home.join(".local/share"), PathBuf::from);
    let implied = [
        home.join(".terraform.d/plugins"),
        data.join("terraform/plugins"),
        "/usr/local/share/terraform/plugins".into(),
        "/usr/share/terraform/plugins".into(),
        "/opt".into(),
    ];
    let below = ["/opt", "/usr/local/share"].into_iter().flat_map(|folder| folders(Path::new(folder)));
    implied.into_iter().chain(below).collect()
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn terraform_on_path() -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH is set");
    std::env::split_paths(&path)
        .map(|folder| folder.join("terraform"))
        .find(|program| program.is_file())
        .expect("terraform is on PATH")
}

async fn bench() -> Option<Bench> {
    let Some(program) = program().cloned() else {
        eprintln!("skipped: no AWS provider in a filesystem mirror; name one in CONDUCTOR_PROVIDER_MIRROR");
        return None;
    };
    let turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = folder.path().join("mirror");
    let mirrored = MirroredProvider {
        source: SOURCE.to_owned(),
        version: program.version.clone(),
        platform: toolchain::current_platform(),
        folder: program.folder.clone(),
    };
    mirror::assemble(&mirror, &[mirrored]).expect("a mirror");
    let cli_config = folder.path().join("cli.tfrc");
    fs::write(&cli_config, mirror::cli_config(&mirror)).expect("a CLI configuration");
    fs::create_dir(folder.path().join("work")).expect("a work folder");
    let aws = AwsServer::start();
    let environment = Environment { endpoint_url: Some(aws.url()), ..Environment::default() };
    let terraform = Terraform { engine: Engine::Terraform, binary: terraform_on_path(), cli_config, environment };
    let providers = Providers::new(folder.path().join("s"), Limits::default());
    Some(Bench { providers, aws, terraform, program, folder, _turn: turn })
}

impl Bench {
    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn state_file(&self) -> PathBuf {
        self.folder.path().join("state.json")
    }

    /// The state, but for what is made up anew for each.
    fn state(&self) -> Value {
        let content = fs::read(self.state_file()).expect("a state");
        let mut state: Value = serde_json::from_slice(&content).expect("JSON");
        state["lineage"] = Value::Null;
        state
    }

    /// The state as the provisioner reads it.
    fn known_state(&self) -> Option<State> {
        let content = fs::read(self.state_file()).ok()?;
        Some(state::parse(&content).expect("a state"))
    }

    /// As if nothing had been made.
    fn forget(&self) {
        self.aws.forget();
        fs::remove_file(self.state_file()).expect("a state");
    }

    /// Makes the work folder ready, as the provisioner does it, for whom this key is.
    async fn prepare(&self, template: &[&str], name: &str, key: &str) -> Module {
        let work = self.work();
        project::empty(&work).expect("emptied");
        let files = BTreeMap::from([("main.tf".to_owned(), template.concat().into_bytes())]);
        let module = module::from_files(files, Engine::Terraform).expect("a template");
        let inputs = BTreeMap::from([("name".to_owned(), json!(name))]);
        let provider = AwsProvider {
            region: "eu-central-1".to_owned(),
            profile: Some("provider".to_owned()),
            credentials_file: Some(work.join(CREDENTIALS_FILE)),
            emulated: true,
            default_tags: BTreeMap::new(),
        };
        let keys = Credentials {
            access_key_id: key.to_owned(),
            secret_access_key: "hunter2".to_owned(),
            session_token: None,
            expires_at: None,
        };
        let keys = credentials_file(&[("provider", Profile::Keys(&keys))]).expect("a credentials file");
        write_private(&work.join(CREDENTIALS_FILE), keys.as_bytes()).expect("the keys are written");
        let versions = BTreeMap::from([(SOURCE.to_owned(), self.program.version.clone())]);
        let backend = Backend::Local { path: self.state_file() };
        let project = Project {
            module: &module,
            engine_version: None,
            inputs: &inputs,
            sensitive_inputs: &BTreeSet::new(),
            provider_versions: &versions,
            providers: &BTreeMap::from([("aws".to_owned(), provider.config())]),
            backend: &backend,
        };
        project::write(&work, &project.files()).expect("the project is written");
        let (engine, kind) = ("any".to_owned(), backend.kind());
        let identity = Identity { module: module.digest(), engine, providers: versions.clone(), backend: kind };
        let (root, mut control) = (self.folder.path().join("prepared"), watch::channel(Control::Run).1);
        let configuration = project.configuration();
        let prepared =
            Prepared::ensure(&root, &identity, &configuration, &backend, &self.terraform, &mut control).await;
        prepared.expect("prepared").copy_into(&work, &backend).expect("copied");
        module
    }

    async fn run(&self, terraform: &Terraform, action: Action) -> Outcome {
        let (work, lock_timeout) = (self.work(), Duration::ZERO);
        let request = RunRequest { terraform, work: &work, action, rule: UpdateRule::default(), lock_timeout };
        run::run(request, watch::channel(Control::Run).1, |_| {}).await.expect("an outcome")
    }

    async fn lend(&self, key: &str) -> Lent {
        let Program { version, path, sha256, .. } = self.program.clone();
        let (key, source, work) = (key.to_owned(), SOURCE.to_owned(), self.work());
        let wanted = Wanted { key, source, version, program: path, sha256, work };
        self.providers.lend(wanted, &self.terraform).await.expect("a provider")
    }

    /// One run with a kept provider, and the id of its process.
    async fn kept(&self, action: Action, needs: Option<Needs>) -> (Outcome, i32) {
        let mut lent = self.lend("dev").await;
        let sees_all = needs.is_none();
        let served = lent.serve(&self.terraform, &watch::channel(Control::Run).1, needs);
        let (id, socket) = attached(&served);
        assert_eq!(socket.ends_with("relay"), !sees_all);
        let outcome = self.run(&served, action).await;
        lent.after(&outcome).await.expect("kept or ended");
        (outcome, id)
    }

    /// The same for what template and state need.
    async fn reduced(&self, action: Action, module: &Module) -> (Outcome, i32) {
        let needs = Needs::of(module, self.known_state().as_ref());
        self.kept(action, Some(needs.expect("it is known"))).await
    }

    fn id(&self, lent: &mut Lent) -> i32 {
        attached(&lent.serve(&self.terraform, &watch::channel(Control::Run).1, None)).0
    }
}

/// The id of the provider that terraform is given, and the socket.
fn attached(served: &Terraform) -> (i32, PathBuf) {
    let attached: Value = serde_json::from_str(&served.environment.more["TF_REATTACH_PROVIDERS"]).expect("JSON");
    let entry = &attached[SOURCE];
    let (id, socket) = (entry["Pid"].as_i64().expect("an id"), entry["Addr"]["String"].as_str().expect("a socket"));
    (i32::try_from(id).expect("an id of a process"), socket.into())
}

fn lives(id: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

async fn is_gone(id: i32) {
    let gone = async {
        while lives(id) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the provider has ended");
}

fn outputs(outcome: Outcome) -> BTreeMap<String, Value> {
    match outcome {
        Outcome::Applied(applied) => applied.outputs.expect("outputs"),
        other => panic!("{other:?}"),
    }
}

/// All that a run that did not fail tells.
fn told(outcome: &Outcome) -> (String, Option<BTreeMap<String, Value>>) {
    let outputs = match outcome {
        Outcome::Applied(applied) => applied.outputs.clone(),
        Outcome::WouldReplace { .. } => None,
        other => panic!("{other:?}"),
    };
    (format!("{outcome:?}"), outputs)
}

fn runs_again(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed(failure) => provider::runs_again(&failure.diagnostics, &failure.stderr),
        other => panic!("{other:?}"),
    }
}

fn errors(outcome: Outcome) -> Vec<Diagnostic> {
    match outcome {
        Outcome::Failed(failure) => failure.diagnostics,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_kept_provider_gives_the_state_the_outputs_and_the_errors_that_a_new_one_gives() {
    let Some(bench) = bench().await else { return };
    let key = "KEYONE";
    bench.prepare(&[TEMPLATE], "one", key).await;
    let plain = (outputs(bench.run(&bench.terraform, Action::Create).await), bench.state());
    assert_eq!(plain.0["user"], json!("arn:aws:iam::123456789012:user/KEYONE"));
    bench.forget();
    bench.prepare(&[TEMPLATE], "one", key).await;
    let (outcome, first) = bench.kept(Action::Create, None).await;
    assert_eq!((outputs(outcome), bench.state()), plain);
    assert!(lives(first), "it is kept");

    bench.prepare(&[TEMPLATE], "one", key).await;
    let (unchanged, second) = bench.kept(Action::Update, None).await;
    assert!(matches!(unchanged, Outcome::Applied(Applied { outputs: None, .. })), "{unchanged:?}");
    assert_eq!(second, first);
    bench.prepare(&[TEMPLATE], "one", key).await;
    let (destroyed, third) = bench.kept(Action::Destroy, None).await;
    assert!(matches!(&destroyed, Outcome::Applied(applied) if applied.changes.destroy == 1), "{destroyed:?}");
    assert_eq!((third, bench.aws.groups()), (first, Vec::new()));

    bench.prepare(&[TEMPLATE, REFUSED], "two", key).await;
    let plain = errors(bench.run(&bench.terraform, Action::Create).await);
    assert!(plain.iter().any(|error| error.summary.contains("AccessDenied")), "{plain:?}");
    bench.forget();
    bench.prepare(&[TEMPLATE, REFUSED], "two", key).await;
    let (outcome, last) = bench.kept(Action::Create, None).await;
    assert_eq!(errors(outcome), plain);
    assert_eq!(last, first);
    assert!(!lives(last), "it is not kept after a failure");
}

#[tokio::test]
async fn a_run_that_sees_the_schemas_that_it_needs_gives_what_one_gives_that_sees_all() {
    let Some(bench) = bench().await else { return };
    let key = "KEYONE";
    let changed = TEMPLATE.replace("{ name = var.name }", "{\n name = var.name\n retention_in_days = 7\n}");
    let steps = [(TEMPLATE, Action::Create), (changed.as_str(), Action::Update), (LET_GO, Action::Update)];
    let mut plain = Vec::new();
    for (template, action) in steps {
        bench.prepare(&[template], "one", key).await;
        plain.push((told(&bench.run(&bench.terraform, action).await), bench.state()));
    }
    assert!(plain[1].0.0.contains("change: 1") && plain[2].0.0.starts_with("WouldReplace"), "{plain:?}");
    bench.forget();

    let mut ids = BTreeSet::new();
    for ((template, action), expect) in steps.into_iter().zip(plain) {
        let module = bench.prepare(&[template], "one", key).await;
        let (outcome, id) = bench.reduced(action, &module).await;
        assert_eq!((told(&outcome), bench.state()), expect);
        ids.insert(id);
    }
    let module = bench.prepare(&[LET_GO], "one", key).await;
    let (destroyed, id) = bench.reduced(Action::Destroy, &module).await;
    ids.insert(id);
    assert!(matches!(&destroyed, Outcome::Applied(applied) if applied.changes.destroy == 1), "{destroyed:?}");
    assert_eq!((bench.aws.groups(), ids.len()), (Vec::new(), 1), "one process has served all");

    bench.prepare(&[TEMPLATE, REFUSED], "two", key).await;
    let plain = errors(bench.run(&bench.terraform, Action::Create).await);
    bench.forget();
    let module = bench.prepare(&[TEMPLATE, REFUSED], "two", key).await;
    let outcome = bench.reduced(Action::Create, &module).await.0;
    assert!(!runs_again(&outcome), "{outcome:?}");
    assert_eq!(errors(outcome), plain);
}

#[tokio::test]
async fn a_schema_that_was_left_out_makes_terraform_run_again() {
    let Some(bench) = bench().await else { return };
    bench.prepare(&[TEMPLATE], "one", "KEYONE").await;
    let (outcome, first) = bench.kept(Action::Create, Some(Needs::default())).await;
    assert!(runs_again(&outcome), "{outcome:?}");
    assert!(bench.aws.groups().is_empty() && !lives(first));

    let module = bench.prepare(&[TEMPLATE], "one", "KEYONE").await;
    let (created, _) = bench.reduced(Action::Create, &module).await;
    assert_eq!(outputs(created)["user"], json!("arn:aws:iam::123456789012:user/KEYONE"));
    let module = bench.prepare(&[LET_GO], "one", "KEYONE").await;
    let outcome = bench.kept(Action::Update, Needs::of(&module, None)).await.0;
    assert!(runs_again(&outcome), "{outcome:?}");
    assert_eq!(bench.aws.groups(), ["one"]);
}

#[tokio::test]
async fn keys_are_read_anew_by_each_run() {
    let Some(bench) = bench().await else { return };
    bench.prepare(&[TEMPLATE], "one", "KEYONE").await;
    let (created, first) = bench.kept(Action::Create, None).await;
    assert_eq!(outputs(created)["user"], json!("arn:aws:iam::123456789012:user/KEYONE"));
    bench.prepare(&[TEMPLATE], "one", "KEYTWO").await;
    let (updated, second) = bench.kept(Action::Update, None).await;
    assert_eq!(outputs(updated)["user"], json!("arn:aws:iam::123456789012:user/KEYTWO"));
    assert_eq!(first, second, "the same process");
    bench.providers.end().await.expect("ended");
    assert!(!lives(first));
}

#[tokio::test]
async fn a_provider_that_was_lost_is_done_without() {
    let Some(bench) = bench().await else { return };
    let module = bench.prepare(&[TEMPLATE], "one", "KEYONE").await;
    for needs in [None, Needs::of(&module, None)] {
        let mut lent = bench.lend("dev").await;
        let id = bench.id(&mut lent);
        let served = lent.serve(&bench.terraform, &watch::channel(Control::Run).1, needs);
        kill(Pid::from_raw(id), Signal::SIGKILL).expect("killed");
        is_gone(id).await;
        let outcome = bench.run(&served, Action::Create).await;
        assert!(runs_again(&outcome), "{outcome:?}");
        lent.after(&outcome).await.expect("nothing of it is left");
    }
    let made = outputs(bench.run(&bench.terraform, Action::Create).await);
    assert_eq!(made["user"], json!("arn:aws:iam::123456789012:user/KEYONE"));
}

#[tokio::test]
async fn what_kills_terraform_kills_the_provider() {
    let Some(bench) = bench().await else { return };
    bench.prepare(&[TEMPLATE], NEVER, "KEYONE").await;
    let mut lent = bench.lend("dev").await;
    let (tell, told) = watch::channel(Control::Run);
    let id = bench.id(&mut lent);
    let served = lent.serve(&bench.terraform, &told, None);
    let (work, rule, lock_timeout) = (bench.work(), UpdateRule::default(), Duration::ZERO);
    let request = RunRequest { terraform: &served, work: &work, action: Action::Create, rule, lock_timeout };
    let address = "module.resource.aws_cloudwatch_log_group.it";
    let outcome = run::run(request, told, |event| {
        if matches!(&event.body, Body::ApplyStart(hook) if hook.address == address) {
            tell.send_replace(Control::Kill);
        }
    })
    .await
    .expect("an outcome");
    assert!(matches!(&outcome, Outcome::Interrupted(interruption) if interruption.killed), "{outcome:?}");
    is_gone(id).await;
    lent.after(&outcome).await.expect("nothing of it is left");
    assert_eq!(bench.aws.groups(), Vec::<String>::new());
}

#[tokio::test]
async fn a_provider_serves_one_key_and_ends_with_whoever_does_not_give_it_back() {
    let Some(bench) = bench().await else { return };
    let good = || Outcome::Applied(Applied { outputs: None, changes: Changes::default() });
    let mut lent = bench.lend("dev").await;
    let first = bench.id(&mut lent);
    lent.after(&good()).await.expect("kept");
    let mut lent = bench.lend("dev").await;
    assert_eq!(bench.id(&mut lent), first);
    lent.after(&good()).await.expect("kept");

    let mut lent = bench.lend("prod").await;
    let second = bench.id(&mut lent);
    assert!(second != first && lives(second) && !lives(first));
    drop(lent);
    is_gone(second).await;

    let mut lent = bench.lend("prod").await;
    let third = bench.id(&mut lent);
    lent.after(&good()).await.expect("kept");
    bench.providers.end_unless("prod").await.expect("it stays");
    assert!(lives(third));
    bench.providers.end_unless("dev").await.expect("ended");
    assert!(!lives(third));
    bench.providers.end().await.expect("there is none");
    assert_eq!(folders(&bench.folder.path().join("s")), Vec::<PathBuf>::new());
}

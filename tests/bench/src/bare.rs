//! What people do instead: terraform by hand, with the same module, the state in S3 with its lock, the same emulator,
//! and providers from a mirror on the disk. Each root is a fresh folder with a state of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use conductor_acceptance::unique;
use conductor_terraform::mirror::{MirroredProvider, assemble, cli_config};
use conductor_terraform::toolchain::current_platform;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;

use crate::ground::{Ground, Provider};

/// The commands that a runner gives one after another, up to the outputs.
const SIX: [&[&str]; 6] = [
    &["init", "-input=false", "-no-color"],
    &["validate", "-no-color"],
    &["plan", "-input=false", "-no-color", "-out=plan.bin"],
    &["show", "-json", "plan.bin"],
    &["apply", "-input=false", "-no-color", "plan.bin"],
    &["output", "-json"],
];
const INIT: &[&str] = SIX[0];
const APPLY: &[&str] = &["apply", "-input=false", "-no-color", "-auto-approve"];
const PLAN: &[&str] = &["plan", "-input=false", "-no-color"];

/// Terraform by hand.
pub struct Bare<'g> {
    ground: &'g Ground,
    cli_config: PathBuf,
    /// Whose provider it needs.
    provider: Option<&'g Provider>,
}

/// A root module in a folder of its own.
pub struct Root<'b> {
    bare: &'b Bare<'b>,
    folder: TempDir,
}

impl<'g> Bare<'g> {
    /// With a provider, or with none but the built-in one.
    pub fn new(ground: &'g Ground, provider: Option<&'g Provider>) -> Self {
        let mirror = ground.scratch().join("mirror");
        let providers: Vec<MirroredProvider> = provider
            .iter()
            .map(|provider| MirroredProvider {
                source: provider.source.clone(),
                version: provider.version.clone(),
                platform: current_platform(),
                folder: provider.folder.clone(),
            })
            .collect();
        assemble(&mirror, &providers).expect("a mirror");
        let file = ground.scratch().join("bare.tfrc");
        fs::write(&file, cli_config(&mirror)).expect("the configuration can be written");
        Self { ground, cli_config: file, provider }
    }

    /// A root that calls a module so often, each time with these inputs.
    pub fn root(&self, module: &str, calls: usize, inputs: &Value) -> Root<'_> {
        let folder = self.ground.folder();
        fs::create_dir(folder.path().join("module")).expect("a folder for the module");
        fs::write(folder.path().join("module/main.tf"), module).expect("the module can be written");
        let root = self.configuration(calls, inputs).to_string();
        fs::write(folder.path().join("main.tf.json"), root).expect("the root can be written");
        Root { bare: self, folder }
    }

    fn configuration(&self, calls: usize, inputs: &Value) -> Value {
        let stack = &self.ground.stack;
        let backend = json!({
            "bucket": stack.value("stateBucket"),
            "key": format!("bare/{}.tfstate", unique("root")),
            "region": stack.value("region"),
            "use_lockfile": true,
            "use_path_style": true,
            "skip_credentials_validation": true,
            "skip_metadata_api_check": true,
            "skip_region_validation": true,
            "skip_requesting_account_id": true,
        });
        let module = |number: usize| {
            let mut call = inputs.as_object().cloned().unwrap_or_default();
            call.insert("source".to_owned(), json!("./module"));
            (format!("m{number}"), Value::Object(call))
        };
        let mut root = json!({
            "terraform": {"backend": {"s3": backend}},
            "module": (0..calls).map(module).collect::<Map<_, _>>(),
            "output": {"all": {"value": "${module.m0}"}},
        });
        if let Some(provider) = self.provider {
            let required = json!({"source": provider.source, "version": provider.version});
            root["terraform"]["required_providers"] = json!({"aws": required});
            root["provider"] = json!({"aws": {
                "region": stack.value("region"),
                "s3_use_path_style": true,
                "skip_credentials_validation": true,
                "skip_metadata_api_check": true,
                "skip_region_validation": true,
            }});
        }
        root
    }
}

impl Root<'_> {
    /// `init` and `apply`, in seconds.
    pub async fn init_and_apply(&self) -> f64 {
        self.init().await + self.run(APPLY).await
    }

    /// `init`, in seconds.
    pub async fn init(&self) -> f64 {
        self.run(INIT).await
    }

    /// `plan`, in seconds.
    pub async fn plan(&self) -> f64 {
        self.run(PLAN).await
    }

    /// What a runner does, command by command, in seconds.
    pub async fn six(&self) -> f64 {
        let mut seconds = 0.0;
        for command in SIX {
            seconds += self.run(command).await;
        }
        seconds
    }

    async fn run(&self, arguments: &[&str]) -> f64 {
        let ground = self.bare.ground;
        let environment = [
            ("PATH", "/usr/bin:/bin"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", ground.stack.value("region")),
            ("AWS_ENDPOINT_URL", ground.endpoint()),
            ("CHECKPOINT_DISABLE", "1"),
            ("TF_IN_AUTOMATION", "1"),
        ];
        let mut command = command(&ground.machine.terraform, arguments, self.folder.path());
        command.env_clear().envs(environment).env("HOME", ground.scratch());
        command.env("TF_CLI_CONFIG_FILE", &self.bare.cli_config);
        timed(command).await.as_secs_f64()
    }
}

/// A program in a folder, as it would be typed.
#[expect(clippy::disallowed_methods, reason = "what Conductor is compared with are processes")]
pub fn command(program: &Path, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs it to its end, which must be a good one.
pub async fn timed(mut command: Command) -> Duration {
    let began = Instant::now();
    let output = command.output().await.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let took = began.elapsed();
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {}", said());
    took
}

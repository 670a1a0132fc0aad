//! What everything stands on: the stack `bench`, which nobody else works, and what this machine has for bare terraform.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use conductor_acceptance::Stack;
use conductor_faults::{Cloud, Functions, checkout};
use serde::Deserialize;
use tempfile::TempDir;

use crate::functions::Program;

/// What `infra.local.bench` writes down.
const MACHINE: &str = ".local/bench.json";

/// What there is for bare terraform.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The binary that is packed for the functions too.
    pub terraform: PathBuf,
    /// Its version.
    pub terraform_version: String,
    /// The AWS provider, where it is to be had.
    pub provider: Option<Provider>,
    /// Where the zip archives can be downloaded, terraform's first.
    pub archives: Vec<String>,
}

/// The AWS provider.
#[derive(Debug, Deserialize)]
pub struct Provider {
    /// Its full address.
    pub source: String,
    /// Its version.
    pub version: String,
    /// Where it is, unpacked.
    pub folder: PathBuf,
}

/// What everything stands on.
pub struct Ground {
    /// The stack.
    pub stack: Stack,
    /// The machine.
    pub machine: Machine,
    /// The variables of each function, by its name.
    pub(crate) variables: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// A session of the role that may run terraform, as variables.
    pub(crate) session: BTreeMap<String, String>,
    scratch: TempDir,
}

impl Ground {
    /// The one that `make bench` has prepared.
    pub async fn load() -> Self {
        let stack = Stack::described("stack-bench.json", "make bench");
        let text = std::fs::read_to_string(checkout().join(MACHINE)).expect("`make bench` has looked at the machine");
        let machine = serde_json::from_str(&text).expect("what is known of the machine can be read");
        let functions = Functions::of(&stack);
        let mut variables = BTreeMap::new();
        for program in Program::ALL {
            variables.insert(program.name(), functions.variables(stack.function(program.name())).await);
        }
        let session = Cloud::of(&stack).session(stack.value("workerRoleArn")).await;
        let scratch = TempDir::with_prefix("conductor-bench-").expect("a folder");
        Self { stack, machine, variables, session, scratch }
    }

    /// Where AWS is emulated.
    pub fn endpoint(&self) -> &str {
        self.stack.value("awsEndpointUrl")
    }

    /// A folder that is gone in the end.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A fresh folder, gone when it is let go of.
    pub fn folder(&self) -> TempDir {
        TempDir::new_in(self.scratch.path()).expect("a folder")
    }

    /// The AWS provider, or why there is none.
    pub fn provider(&self) -> Result<&Provider, &'static str> {
        self.machine.provider.as_ref().ok_or("there is no AWS provider on this machine")
    }
}

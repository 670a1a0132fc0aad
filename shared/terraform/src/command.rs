//! Terraform's commands as typed options, and the argument list of each; OpenTofu takes the same. Pure; the rest of the
//! crate never writes an argument by hand.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// A terraform command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `init`
    Init(Init),
    /// `validate -json`
    Validate,
    /// `plan`
    Plan(Plan),
    /// `apply`
    Apply(Apply),
    /// `output -json`
    Output,
    /// `show -json`
    Show(Show),
    /// `state pull`
    StatePull,
    /// `state push`
    StatePush(StatePush),
    /// `force-unlock -force`
    ForceUnlock(ForceUnlock),
    /// `version -json`
    Version,
}

/// Options of `init`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Init {
    /// `-backend-config=<file>`; see [`crate::project::Backend::file`]. Settings never stand in the arguments themselves.
    pub backend_config: Option<PathBuf>,
    /// `-backend=false`: only modules and providers.
    pub without_backend: bool,
    /// `-reconfigure`: forget the backend of before, and move no state.
    pub reconfigure: bool,
}

/// Options of `plan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the plan is stored.
    pub out: Option<PathBuf>,
    /// Plan to destroy everything.
    pub destroy: bool,
    /// Only compare the state with what is there.
    pub refresh_only: bool,
    /// Look at what is there first.
    pub refresh: bool,
    /// Take the state's lock.
    pub lock: bool,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
    /// Speak JSON.
    pub json: bool,
}

impl Default for Plan {
    /// A plan to create or update, nowhere stored, with lock and refresh, in JSON.
    fn default() -> Self {
        Self {
            out: None,
            destroy: false,
            refresh_only: false,
            refresh: true,
            lock: true,
            lock_timeout: Duration::ZERO,
            json: true,
        }
    }
}

/// Options of `apply`. There is no way to apply without the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    /// A stored plan; then `destroy` and `auto_approve` have no meaning.
    pub plan: Option<PathBuf>,
    /// Destroy everything.
    pub destroy: bool,
    /// Ask nobody. Without it, and without a plan, terraform only plans and then fails.
    pub auto_approve: bool,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
    /// Speak JSON.
    pub json: bool,
}

impl Default for Apply {
    /// Create or update, approved, in JSON.
    fn default() -> Self {
        Self { plan: None, destroy: false, auto_approve: true, lock_timeout: Duration::ZERO, json: true }
    }
}

/// Options of `show`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Show {
    /// A stored plan; without one, the state.
    pub plan: Option<PathBuf>,
}

/// Options of `state push`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePush {
    /// The state's file.
    pub file: PathBuf,
    /// Also over another lineage or a higher serial.
    pub force: bool,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
}

/// Options of `force-unlock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForceUnlock {
    /// The lock's id, as the lock itself states it.
    pub id: String,
}

impl Command {
    /// The arguments, without the program's name.
    pub fn argv(&self) -> Vec<OsString> {
        match self {
            Self::Init(init) => init.argv(),
            Self::Validate => words(&["validate", "-json", "-no-color"]),
            Self::Plan(plan) => plan.argv(),
            Self::Apply(apply) => apply.argv(),
            Self::Output => words(&["output", "-json", "-no-color"]),
            Self::Show(show) => with_path(words(&["show", "-json", "-no-color"]), show.plan.as_ref()),
            Self::StatePull => words(&["state", "pull", "-no-color"]),
            Self::StatePush(push) => {
                let mut argv = words(&["state", "push", "-no-color"]);
                if push.force {
                    argv.push("-force".into());
                }
                argv.push(timeout(push.lock_timeout));
                with_path(argv, Some(&push.file))
            }
            Self::ForceUnlock(unlock) => {
                let mut argv = words(&["force-unlock", "-force"]);
                argv.push(unlock.id.clone().into());
                argv
            }
            Self::Version => words(&["version", "-json"]),
        }
    }

    /// Whether its output is a stream of [`crate::events::Event`]s; otherwise it is kept as it is.
    pub fn speaks_events(&self) -> bool {
        match self {
            Self::Init(_) => true,
            Self::Plan(plan) => plan.json,
            Self::Apply(apply) => apply.json,
            Self::Validate
            | Self::Output
            | Self::Show(_)
            | Self::StatePull
            | Self::StatePush(_)
            | Self::ForceUnlock(_)
            | Self::Version => false,
        }
    }

    /// The exit code that means "well, and there is something to change".
    pub fn changes_code(&self) -> Option<i32> {
        matches!(self, Self::Plan(_)).then_some(2)
    }
}

impl Init {
    fn argv(&self) -> Vec<OsString> {
        let mut argv = words(&["init", "-json", "-input=false", "-no-color"]);
        if self.without_backend {
            argv.push("-backend=false".into());
        }
        if self.reconfigure {
            argv.push("-reconfigure".into());
        }
        if let Some(file) = &self.backend_config {
            let mut argument = OsString::from("-backend-config=");
            argument.push(file);
            argv.push(argument);
        }
        argv
    }
}

impl Plan {
    fn argv(&self) -> Vec<OsString> {
        let mut argv = words(&["plan", "-input=false", "-no-color", "-detailed-exitcode"]);
        let flags = [
            (self.json, "-json"),
            (self.destroy, "-destroy"),
            (self.refresh_only, "-refresh-only"),
            (!self.refresh, "-refresh=false"),
            (!self.lock, "-lock=false"),
        ];
        argv.extend(chosen(&flags));
        argv.push(timeout(self.lock_timeout));
        if let Some(out) = &self.out {
            let mut argument = OsString::from("-out=");
            argument.push(out);
            argv.push(argument);
        }
        argv
    }
}

impl Apply {
    fn argv(&self) -> Vec<OsString> {
        let mut argv = words(&["apply", "-input=false", "-no-color"]);
        let fresh = self.plan.is_none();
        argv.extend(chosen(&[
            (self.json, "-json"),
            (fresh && self.destroy, "-destroy"),
            (fresh && self.auto_approve, "-auto-approve"),
        ]));
        argv.push(timeout(self.lock_timeout));
        with_path(argv, self.plan.as_ref())
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn chosen(flags: &[(bool, &'static str)]) -> Vec<OsString> {
    flags.iter().filter(|(chosen, _)| *chosen).map(|(_, flag)| OsString::from(flag)).collect()
}

fn timeout(wait: Duration) -> OsString {
    format!("-lock-timeout={}s", wait.as_secs()).into()
}

fn with_path(mut argv: Vec<OsString>, path: Option<&PathBuf>) -> Vec<OsString> {
    argv.extend(path.map(|path| path.clone().into_os_string()));
    argv
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: Command, expect: &str) {
        let argv: Vec<String> = command.argv().into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(argv.join(" "), expect);
    }

    #[test]
    fn init_defaults_and_everything_overridden() {
        check(Command::Init(Init::default()), "init -json -input=false -no-color");
        let backend_config = Some("b.json".into());
        check(
            Command::Init(Init { backend_config, without_backend: true, reconfigure: true }),
            "init -json -input=false -no-color -backend=false -reconfigure -backend-config=b.json",
        );
    }

    #[test]
    fn plan_defaults_and_everything_overridden() {
        check(Command::Plan(Plan::default()), "plan -input=false -no-color -detailed-exitcode -json -lock-timeout=0s");
        check(
            Command::Plan(Plan {
                out: Some("p.bin".into()),
                destroy: true,
                refresh_only: true,
                refresh: false,
                lock: false,
                lock_timeout: Duration::from_secs(7),
                json: false,
            }),
            "plan -input=false -no-color -detailed-exitcode -destroy -refresh-only -refresh=false -lock=false \
             -lock-timeout=7s -out=p.bin",
        );
    }

    #[test]
    fn apply_defaults_and_everything_overridden() {
        check(Command::Apply(Apply::default()), "apply -input=false -no-color -json -auto-approve -lock-timeout=0s");
        check(
            Command::Apply(Apply { destroy: true, lock_timeout: Duration::from_secs(7), ..Apply::default() }),
            "apply -input=false -no-color -json -destroy -auto-approve -lock-timeout=7s",
        );
        let all = Apply {
            plan: Some("p.bin".into()),
            destroy: true,
            auto_approve: true,
            lock_timeout: Duration::from_secs(7),
            json: false,
        };
        check(Command::Apply(all), "apply -input=false -no-color -lock-timeout=7s p.bin");
    }

    #[test]
    fn the_other_commands() {
        check(Command::Validate, "validate -json -no-color");
        check(Command::Output, "output -json -no-color");
        check(Command::Show(Show::default()), "show -json -no-color");
        check(Command::Show(Show { plan: Some("p.bin".into()) }), "show -json -no-color p.bin");
        check(Command::StatePull, "state pull -no-color");
        let push = StatePush { file: "e.tfstate".into(), force: false, lock_timeout: Duration::ZERO };
        check(Command::StatePush(push.clone()), "state push -no-color -lock-timeout=0s e.tfstate");
        let push = StatePush { force: true, lock_timeout: Duration::from_secs(7), ..push };
        check(Command::StatePush(push), "state push -no-color -force -lock-timeout=7s e.tfstate");
        check(Command::ForceUnlock(ForceUnlock { id: "a-b".to_owned() }), "force-unlock -force a-b");
        check(Command::Version, "version -json");
    }

    #[test]
    fn only_init_plan_and_apply_speak_events() {
        assert!(Command::Plan(Plan::default()).speaks_events());
        assert!(!Command::Plan(Plan { json: false, ..Plan::default() }).speaks_events());
        assert!(Command::Apply(Apply::default()).speaks_events());
        assert!(Command::Init(Init::default()).speaks_events());
        assert!(!Command::StatePull.speaks_events());
    }
}

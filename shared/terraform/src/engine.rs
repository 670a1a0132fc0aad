//! The programs that run a configuration, and all in which they differ for this crate: the name, the registry of
//! providers whose source names no host, the files that they read, and whether backend settings may be expressions.
//! Argument lists, exit codes, variables, state and events are the same; of the events only the first one's key is not,
//! which [`crate::events`] knows.
//!
//! Of OpenTofu this follows its source (1.8.0, 1.10.0, and its main branch before 1.13); nothing of it was tried with
//! the program itself.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

const TERRAFORM_REGISTRY: &str = "registry.terraform.io";
const TOFU_REGISTRY: &str = "registry.opentofu.org";

/// A program that runs configurations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Engine {
    /// HashiCorp's.
    #[default]
    Terraform,
    /// OpenTofu.
    Tofu,
}

/// A name that is no engine's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no engine: there are `terraform` and `tofu`")]
pub struct UnknownEngine(String);

impl Engine {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Terraform, Self::Tofu];

    /// Its name: that of its program, too, and of its artifact.
    pub fn name(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
            Self::Tofu => "tofu",
        }
    }

    /// The host of providers whose source names none.
    pub fn registry(self) -> &'static str {
        match self {
            Self::Terraform => TERRAFORM_REGISTRY,
            Self::Tofu => TOFU_REGISTRY,
        }
    }

    /// Whether it takes texts in a file of backend settings for templates, and not as they are.
    pub fn evaluates_backend_settings(self) -> bool {
        self == Self::Tofu
    }

    /// Whether it reads this file as configuration in place of the `.tf` file of the same name, so that what was looked
    /// at is not what would run.
    pub fn prefers(self, file: &str) -> bool {
        self == Self::Tofu && (file.ends_with(".tofu") || file.ends_with(".tofu.json"))
    }
}

/// The address under which a provider of OpenTofu's registry is packed, where it is not under its own: both registries
/// have the same provider there.
pub fn packed_address(source: &str) -> Option<String> {
    let path = source.strip_prefix(TOFU_REGISTRY)?.strip_prefix('/')?;
    Some(format!("{TERRAFORM_REGISTRY}/{path}"))
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        let found = Self::ALL.into_iter().find(|engine| engine.name() == name);
        found.ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_known_by_its_name() {
        for engine in Engine::ALL {
            assert_eq!(engine.to_string().parse::<Engine>(), Ok(engine));
        }
        for name in ["", "opentofu", "Terraform"] {
            assert_eq!(name.parse::<Engine>(), Err(UnknownEngine(name.to_owned())));
        }
    }

    #[test]
    fn only_tofu_has_files_of_its_own() {
        let check = |file: &str, expect: bool| {
            assert_eq!((Engine::Terraform.prefers(file), Engine::Tofu.prefers(file)), (false, expect), "{file}");
        };
        check("main.tofu", true);
        check("sub/main.tofu.json", true);
        check("main.tf", false);
        check("main.tofutest.hcl", false);
    }

    #[test]
    fn a_provider_of_tofus_registry_is_packed_under_the_other_address() {
        let packed = packed_address("registry.opentofu.org/hashicorp/aws");
        assert_eq!(packed.as_deref(), Some("registry.terraform.io/hashicorp/aws"));
        for source in
            ["registry.terraform.io/hashicorp/aws", "registry.opentofu.org.example.com/a/b", "example.com/a/b"]
        {
            assert_eq!(packed_address(source), None, "{source}");
        }
    }
}

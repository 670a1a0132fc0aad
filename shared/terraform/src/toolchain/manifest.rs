//! The list of artifacts, as the packer writes it, and which of them a template means. Pure.

use semver::Version;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::constraint::{Constraint, ConstraintError};

/// The list of artifacts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 1.
    pub schema_version: u32,
    /// Every artifact, of every platform.
    pub artifacts: Vec<Artifact>,
}

/// A packed program: a tar archive, compressed with zstd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// What it is.
    pub kind: ArtifactKind,
    /// `terraform`, `tofu`, or a provider's full address.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `linux_amd64`, as terraform names it.
    pub platform: String,
    /// The object that holds it.
    pub key: String,
    /// SHA-256 of the object, in hex.
    pub sha256: String,
    /// Size of the object.
    pub bytes: u64,
    /// Size of the files in it.
    pub unpacked_bytes: u64,
    /// SHA-256 of the program in it, in hex. A provider that has none is never kept running, and what has none is used
    /// by the process alone that has unpacked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_sha256: Option<String>,
}

/// What an [`Artifact`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArtifactKind {
    /// A program that runs configurations, under its name at the root of the archive.
    Engine,
    /// A provider: the content of its folder in a filesystem mirror.
    Provider,
}

/// Why there is no artifact.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// Nothing satisfies the constraint.
    #[error("there is no `{name}` {constraint}; there is {available:?}")]
    Missing {
        /// What was asked for.
        name: String,
        /// In which versions.
        constraint: String,
        /// The versions that there are.
        available: Vec<String>,
    },
    /// The constraint cannot be read.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
}

/// This machine's platform, as terraform names it: `linux_amd64`.
pub fn current_platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}_{architecture}", std::env::consts::OS)
}

impl Manifest {
    /// Only what runs on `platform`.
    pub fn for_platform(&self, platform: &str) -> Self {
        let artifacts = self.artifacts.iter().filter(|artifact| artifact.platform == platform).cloned().collect();
        Self { schema_version: self.schema_version, artifacts }
    }

    /// The newest engine `name` that satisfies `constraint` (a version is one).
    pub fn engine(&self, name: &str, constraint: &str) -> Result<&Artifact, ManifestError> {
        self.newest(ArtifactKind::Engine, name, constraint)
    }

    /// The newest provider at the full address `source` that satisfies `constraint` (empty: any).
    pub fn provider(&self, source: &str, constraint: &str) -> Result<&Artifact, ManifestError> {
        self.newest(ArtifactKind::Provider, source, constraint)
    }

    fn newest(&self, kind: ArtifactKind, name: &str, constraint: &str) -> Result<&Artifact, ManifestError> {
        let wanted: Constraint = constraint.parse()?;
        let there: Vec<(Version, &Artifact)> = self
            .artifacts
            .iter()
            .filter(|artifact| artifact.kind == kind && artifact.name == name)
            .filter_map(|artifact| Some((Version::parse(&artifact.version).ok()?, artifact)))
            .collect();
        there
            .iter()
            .filter(|(version, _)| wanted.matches(version))
            .max_by(|a, b| a.0.cmp(&b.0))
            .map(|(_, artifact)| *artifact)
            .ok_or_else(|| ManifestError::Missing {
                name: name.to_owned(),
                constraint: constraint.to_owned(),
                available: there.iter().map(|(version, _)| version.to_string()).collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Manifest {
        let artifact = |kind: &str, name: &str, version: &str, platform: &str| {
            json!({"kind": kind, "name": name, "version": version, "platform": platform, "sha256": "ab",
                   "key": format!("toolchain/{version}-{platform}.tar.zst"), "bytes": 1, "unpackedBytes": 2})
        };
        let aws = "registry.terraform.io/hashicorp/aws";
        serde_json::from_value(json!({"schemaVersion": 1, "artifacts": [
            artifact("engine", "terraform", "1.11.4", "linux_amd64"),
            artifact("engine", "terraform", "1.11.4", "linux_arm64"),
            artifact("provider", aws, "5.100.0", "linux_amd64"),
            artifact("provider", aws, "5.9.0", "linux_amd64"),
            artifact("provider", aws, "6.0.0-beta1", "linux_amd64"),
        ]}))
        .expect("a manifest")
    }

    #[test]
    fn the_newest_that_satisfies_is_meant() {
        let manifest = manifest().for_platform("linux_amd64");
        let aws = "registry.terraform.io/hashicorp/aws";
        let key = |found: Result<&Artifact, ManifestError>| found.map(|artifact| artifact.key.clone()).ok();
        assert_eq!(key(manifest.provider(aws, "~> 5.0")).as_deref(), Some("toolchain/5.100.0-linux_amd64.tar.zst"));
        assert_eq!(key(manifest.provider(aws, "")).as_deref(), Some("toolchain/5.100.0-linux_amd64.tar.zst"));
        assert_eq!(key(manifest.provider(aws, "< 5.10")).as_deref(), Some("toolchain/5.9.0-linux_amd64.tar.zst"));
        assert_eq!(
            key(manifest.engine("terraform", "1.11.4")).as_deref(),
            Some("toolchain/1.11.4-linux_amd64.tar.zst")
        );
        assert_eq!(manifest.artifacts.len(), 4);
    }

    #[test]
    fn what_is_missing_is_named() {
        let manifest = manifest();
        let missing = manifest.engine("tofu", ">= 1").expect_err("not there");
        assert_eq!(missing.to_string(), "there is no `tofu` >= 1; there is []");
        assert!(matches!(manifest.engine("terraform", "newest"), Err(ManifestError::Constraint(_))));
    }
}

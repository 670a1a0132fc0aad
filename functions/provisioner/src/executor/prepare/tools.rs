//! Engine and providers of a run: which are meant, that they are unpacked in the toolchain's folder, and where terraform
//! finds them.

use std::path::PathBuf;

use conductor_domain::Code;
use conductor_domain::log::Level;
use conductor_domain::operation::Failure;
use conductor_engine::Job;
use conductor_engine::port::Clock;
use conductor_terraform::engine;
use conductor_terraform::mirror::{self, MirroredProvider};
use conductor_terraform::toolchain::{Artifact, Manifest, ManifestError, Tool, current_platform};
use sha2::{Digest, Sha256};

use super::super::Terraforming;
use super::super::lines::Lines;
use crate::fault::Fault;

/// Engine and providers of a run, unpacked.
pub(super) struct Tools {
    pub(super) terraform: Tool,
    pub(super) engine: Artifact,
    pub(super) providers: Vec<(Artifact, Tool)>,
    /// How long it took until they were.
    pub(super) millis: u64,
}

impl Terraforming {
    pub(super) async fn tools(&self, job: &Job, lines: &Lines) -> Result<Tools, Fault> {
        let began = self.clock.monotonic();
        let (engine, providers) = match self.choose(job, false).await {
            Ok(chosen) => chosen,
            // Perhaps it was packed since this process last looked.
            Err(_) => self.choose(job, true).await?,
        };
        let fetch = |artifact: Artifact| self.fetch(artifact, lines);
        let (engine, providers) =
            futures::future::try_join(fetch(engine), futures::future::try_join_all(providers.into_iter().map(&fetch)))
                .await?;
        let millis = self.millis_since(began);
        let with = match providers.len() {
            0 => String::new(),
            1 => " and 1 provider".to_owned(),
            more => format!(" and {more} providers"),
        };
        lines.say(Level::Info, format!("{} {}{with} ready in {millis} ms", engine.0.name, engine.0.version));
        Ok(Tools { terraform: engine.1, engine: engine.0, providers, millis })
    }

    async fn fetch(&self, artifact: Artifact, lines: &Lines) -> Result<(Artifact, Tool), Fault> {
        let (download, began) = (self.artifacts.download(), self.clock.monotonic());
        let Artifact { name, version, .. } = &artifact;
        let tool = self.toolchain.ensure(&artifact, &download).await.map_err(|error| {
            let detail = format!("{name} {version} cannot be fetched: {error}");
            Fault { failure: Failure::new(Code::ToolchainUnavailable, detail), passes: error.passes() }
        })?;
        let (bytes, millis) = (download.bytes(), self.millis_since(began));
        if bytes > 0 {
            tracing::info!(outcome = "toolchain", name, version, bytes, ms = millis, "an archive was fetched");
            let megabytes = bytes.div_ceil(1_000_000);
            lines.say(Level::Info, format!("fetched {name} {version} ({megabytes} MB) in {millis} ms"));
        }
        Ok((artifact, tool))
    }

    async fn choose(&self, job: &Job, anew: bool) -> Result<(Artifact, Vec<Artifact>), Fault> {
        let manifest = self.artifacts.manifest(anew).await?;
        let missing = |error: ManifestError| Failure::new(Code::ToolchainUnavailable, error.to_string());
        let engine = manifest.engine(&job.template.engine, &job.template.engine_version).map_err(missing)?;
        let needs = job.template.interface.providers.values();
        let providers: Result<Vec<Artifact>, _> =
            needs.map(|need| provider(&manifest, &need.source, &need.version)).collect();
        Ok((engine.clone(), providers.map_err(missing)?))
    }

    /// Where terraform finds exactly these providers.
    pub(super) fn mirror(&self, tools: &Tools) -> std::io::Result<PathBuf> {
        let mut digest = Sha256::new();
        for (artifact, _) in &tools.providers {
            digest.update(artifact.sha256.as_bytes());
        }
        let mirror = self.scratch.mirror().join(hex::encode(digest.finalize()));
        let providers: Vec<MirroredProvider> = tools
            .providers
            .iter()
            .map(|(artifact, tool)| MirroredProvider {
                source: artifact.name.clone(),
                version: artifact.version.clone(),
                platform: current_platform(),
                folder: tool.path().to_path_buf(),
            })
            .collect();
        mirror::assemble(&mirror, &providers)?;
        Ok(mirror)
    }
}

/// A packed provider under the address that the template has for it; the one of OpenTofu's registry may be packed under
/// the other's.
fn provider(manifest: &Manifest, source: &str, version: &str) -> Result<Artifact, ManifestError> {
    let found = manifest.provider(source, version).or_else(|missing| {
        let packed = engine::packed_address(source);
        packed.and_then(|packed| manifest.provider(&packed, version).ok()).ok_or(missing)
    })?;
    Ok(Artifact { name: source.to_owned(), ..found.clone() })
}

//! The artifact bucket: the toolchain's manifest and archives, and the archives of templates.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use bytes::Bytes;
use conductor_domain::Code;
use conductor_domain::operation::Failure;
use conductor_engine::port::{Meter, Service};
use conductor_terraform::engine::Engine;
use conductor_terraform::module::{self, Module};
use conductor_terraform::toolchain::{Manifest, Source, SourceError, current_platform};
use sha2::{Digest, Sha256};

use crate::fault::{Fault, call_passes};

/// Where the packer writes the list of what it packed (`infra/toolchain`).
const MANIFEST: &str = "toolchain/manifest.json";
/// Modules that are kept open; a template is a few KB.
const KEPT_MODULES: usize = 32;

/// An opened module, by its archive's SHA-256 and the program that runs it.
type Kept = ((String, Engine), Arc<Module>);

/// The artifact bucket.
pub struct Artifacts {
    s3: Client,
    bucket: String,
    meter: Meter,
    manifest: Mutex<Option<Arc<Manifest>>>,
    modules: Mutex<Vec<Kept>>,
}

impl Artifacts {
    /// A bucket by its name, and who counts the requests to it.
    pub fn new(s3: Client, bucket: String, meter: Meter) -> Self {
        Self { s3, bucket, meter, manifest: Mutex::default(), modules: Mutex::default() }
    }

    /// A source of the toolchain's archives.
    pub fn download(&self) -> Download<'_> {
        Download { artifacts: self, bytes: AtomicU64::new(0) }
    }

    async fn object(&self, name: &str) -> Result<Vec<u8>, Fault> {
        self.meter.count(Service::Objects);
        let unavailable = |detail: String| Failure::new(Code::ToolchainUnavailable, detail);
        let found = self.s3.get_object().bucket(&self.bucket).key(name).send().await;
        let object = found.map_err(|error| {
            let why = error.code().unwrap_or("no answer");
            Fault::of_call(unavailable(format!("the artifact {name} cannot be read: {why}")), &error)
        })?;
        let broken = |_| Fault::passes(unavailable(format!("the artifact {name} broke off")));
        Ok(object.body.collect().await.map_err(broken)?.to_vec())
    }

    /// What is packed for this machine; `anew` reads it again, because something was missing.
    pub async fn manifest(&self, anew: bool) -> Result<Arc<Manifest>, Fault> {
        let kept = self.manifest.lock().ok().and_then(|kept| kept.clone());
        if let (Some(manifest), false) = (kept, anew) {
            return Ok(manifest);
        }
        let content = self.object(MANIFEST).await?;
        let manifest: Manifest = serde_json::from_slice(&content)
            .map_err(|error| Failure::new(Code::ToolchainUnavailable, format!("{MANIFEST}: {error}")))?;
        let manifest = Arc::new(manifest.for_platform(&current_platform()));
        if let Ok(mut kept) = self.manifest.lock() {
            *kept = Some(manifest.clone());
        }
        Ok(manifest)
    }

    /// A template's module as this engine reads it: fetched once, checked against its digest.
    pub async fn module(&self, name: &str, sha256: &str, engine: Engine) -> Result<Arc<Module>, Fault> {
        let kept = self.modules.lock().ok();
        let wanted = (sha256.to_owned(), engine);
        let kept = kept.and_then(|kept| kept.iter().find(|(key, _)| *key == wanted).map(|(_, module)| module.clone()));
        if let Some(module) = kept {
            return Ok(module);
        }
        let content = self.object(name).await?;
        let broken = |detail: String| Failure::new(Code::TemplateInvalid, detail);
        if hex::encode(Sha256::digest(&content)) != sha256 {
            return Err(broken(format!("the artifact {name} is not what was published")).into());
        }
        let module = module::open(&content, &module::Limits::default(), engine);
        let module = Arc::new(module.map_err(|error| broken(error.to_string()))?);
        if let Ok(mut kept) = self.modules.lock() {
            kept.truncate(KEPT_MODULES - 1);
            kept.insert(0, (wanted, module.clone()));
        }
        Ok(module)
    }
}

/// The bucket while archives are read from it.
pub struct Download<'a> {
    artifacts: &'a Artifacts,
    bytes: AtomicU64,
}

impl Download<'_> {
    /// How much was read.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Source for Download<'_> {
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, SourceError> {
        let range = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let Artifacts { s3, bucket, meter, .. } = self.artifacts;
        meter.count(Service::Objects);
        let request = s3.get_object().bucket(bucket).key(key).range(range);
        let object = request.send().await.map_err(|error| {
            let passes = call_passes(&error);
            SourceError::new(error, passes)
        })?;
        let read = object.body.collect().await.map_err(|error| SourceError::new(error, true))?.into_bytes();
        self.bytes.fetch_add(read.len() as u64, Ordering::Relaxed);
        Ok(read)
    }
}

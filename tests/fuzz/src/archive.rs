//! Archives of templates, as they come in.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use conductor_terraform::engine::Engine;
use conductor_terraform::module::{self, Limits, Module};

use crate::configuration::refused;

/// So small that an input reaches them.
const LIMITS: Limits = Limits { archive_bytes: 32 << 10, files: 16, ratio: 100, unpacked_bytes: 256 << 10 };

/// Bytes that claim to be a zip archive.
pub fn archive(data: &[u8]) {
    for limits in [LIMITS, Limits::default()] {
        match module::open(data, &limits, Engine::Terraform) {
            Ok(module) => taken(data, &limits, &module),
            Err(error) => refused(data.len(), &error),
        }
        if let Err(error) = module::inspect(data, &limits, Engine::Terraform) {
            refused(data.len(), &error);
        }
    }
}

fn taken(data: &[u8], limits: &Limits, module: &Module) {
    let given = data.len() as u64;
    let unpacked: u64 = module.files.values().map(|content| content.len() as u64).sum();
    assert!(given <= limits.archive_bytes && module.files.len() <= limits.files, "{module:?}");
    assert!(unpacked <= limits.unpacked_bytes && unpacked <= given * limits.ratio, "{unpacked} bytes from {given}");
    let mut folders = BTreeSet::new();
    for file in module.files.keys() {
        let path = Path::new(file);
        let parts: Vec<&str> = file.split('/').collect();
        let normal = path.components().filter(|part| matches!(part, Component::Normal(_))).count();
        assert!(normal == parts.len() && normal == path.components().count(), "{file:?} leaves its folder");
        assert!(!file.chars().any(|character| character.is_control() || character == '\\'), "{file:?}");
        folders.extend(path.ancestors().skip(1).filter_map(Path::to_str));
    }
    assert!(module.files.keys().all(|file| !folders.contains(file.as_str())), "a file is a folder too: {module:?}");
    // What was inspected is what will run.
    let again = module::from_files(module.files.clone(), Engine::Terraform);
    assert_eq!(again.map(|again| again.digest()), Ok(module.digest()));
}

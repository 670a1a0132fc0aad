//! A filesystem mirror made of links, so that terraform finds unpacked providers, and the CLI configuration that makes
//! it look nowhere else.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A provider to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirroredProvider {
    /// Its full address: `registry.terraform.io/hashicorp/aws`.
    pub source: String,
    /// Its version.
    pub version: String,
    /// `linux_amd64`.
    pub platform: String,
    /// The folder that holds it.
    pub folder: PathBuf,
}

/// Makes `<mirror>/<source>/<version>/<platform>` a link to each provider's folder. Several processes may do so at once.
pub fn assemble(mirror: &Path, providers: &[MirroredProvider]) -> io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    fs::create_dir_all(mirror)?;
    for provider in providers {
        let version = mirror.join(&provider.source).join(&provider.version);
        let link = version.join(&provider.platform);
        if fs::read_link(&link).is_ok_and(|target| target == provider.folder) {
            continue;
        }
        fs::create_dir_all(&version)?;
        // Beside the hosts, where terraform takes it for nothing.
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let fresh = mirror.join(format!(".link-{}-{number}", std::process::id()));
        symlink(&provider.folder, &fresh)?;
        if let Err(error) = fs::rename(&fresh, &link) {
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
    }
    Ok(())
}

/// The content of a CLI configuration file: providers come from `mirror` alone, and nothing calls home.
pub fn cli_config(mirror: &Path) -> String {
    let path = mirror.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "disable_checkpoint = true\n\nprovider_installation {{\n  filesystem_mirror {{\n    path    = \"{path}\"\n    \
         include = [\"*/*/*\"]\n  }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_and_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let mirror = folder.path().join("mirror");
        let mut provider = MirroredProvider {
            source: "registry.terraform.io/hashicorp/aws".to_owned(),
            version: "5.100.0".to_owned(),
            platform: "linux_amd64".to_owned(),
            folder: folder.path().join("one"),
        };
        let link = mirror.join("registry.terraform.io/hashicorp/aws/5.100.0/linux_amd64");
        for name in ["one", "one", "two"] {
            provider.folder = folder.path().join(name);
            assemble(&mirror, std::slice::from_ref(&provider)).expect("assembled");
            assert_eq!(fs::read_link(&link).expect("a link"), provider.folder);
        }
        assert_eq!(fs::read_dir(&mirror).expect("a folder").count(), 1);
    }

    #[test]
    fn the_configuration_names_the_mirror_only() {
        assert_eq!(
            cli_config(Path::new("/t/mirror")),
            "disable_checkpoint = true\n\nprovider_installation {\n  filesystem_mirror {\n    path    = \"/t/mirror\"\n    \
             include = [\"*/*/*\"]\n  }\n}\n"
        );
    }
}

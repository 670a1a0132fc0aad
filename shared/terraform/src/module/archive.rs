//! The files of a zip archive, held against limits while they are read. Owns the rules of paths and sizes; knows
//! nothing of terraform.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::ModuleError;

/// What a template archive may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the archive, in bytes.
    pub archive_bytes: u64,
    /// Entries, folders included.
    pub files: usize,
    /// How many times the archive's size its content may be.
    pub ratio: u64,
    /// Size of everything unpacked, in bytes.
    pub unpacked_bytes: u64,
}

impl Default for Limits {
    /// 4 MiB, 9,999 entries, 100 times, 64 MiB.
    fn default() -> Self {
        Self { archive_bytes: 4 << 20, files: 9_999, ratio: 100, unpacked_bytes: 64 << 20 }
    }
}

const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

pub(super) fn read(zip: &[u8], limits: &Limits) -> Result<BTreeMap<String, Vec<u8>>, ModuleError> {
    let size = zip.len() as u64;
    if size > limits.archive_bytes {
        return Err(ModuleError::TooLarge { bytes: size, limit: limits.archive_bytes });
    }
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(unreadable)?;
    if archive.len() > limits.files {
        return Err(ModuleError::TooManyFiles { files: archive.len(), limit: limits.files });
    }
    if archive.has_duplicate_names() {
        return Err(ModuleError::Duplicate { file: "a path".to_owned() });
    }
    // Each of them would be unpacked again: a small archive would take much time, even where nothing comes out of it.
    if archive.has_overlapping_files().map_err(unreadable)? {
        return Err(ModuleError::NotAZip { reason: "two of its entries share their data".to_owned() });
    }
    let allowed = limits.unpacked_bytes.min(size.saturating_mul(limits.ratio));
    let mut total = 0;
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(unreadable)?;
        let name = match entry.name() {
            Ok(name) => name.into_owned(),
            Err(error) => return Err(unreadable(error)),
        };
        if let Err(rule) = safe(&name) {
            return Err(ModuleError::UnsafePath { file: name, rule });
        }
        let kind = entry.unix_mode().unwrap_or(0) & FILE_TYPE;
        if entry.is_symlink() || ![0, REGULAR, FOLDER].contains(&kind) {
            return Err(ModuleError::Symlink { file: name });
        }
        if entry.is_dir() {
            continue;
        }
        // One byte more than is left, so that passing the limit shows, whatever the headers say.
        let mut content = Vec::new();
        entry
            .take(allowed - total + 1)
            .read_to_end(&mut content)
            .map_err(|error| ModuleError::NotAZip { reason: format!("`{name}`: {error}") })?;
        total += content.len() as u64;
        if total > limits.unpacked_bytes {
            return Err(ModuleError::UnpacksTooLarge { file: name, limit: limits.unpacked_bytes });
        }
        if total > allowed {
            return Err(ModuleError::Ratio { file: name, limit: limits.ratio });
        }
        if files.insert(name.clone(), content).is_some() {
            return Err(ModuleError::Duplicate { file: name });
        }
    }
    no_file_is_a_folder(&files)?;
    Ok(files)
}

fn unreadable(error: zip::result::ZipError) -> ModuleError {
    ModuleError::NotAZip { reason: error.to_string() }
}

/// A path that stays below the folder that it is unpacked to, on every system.
fn safe(path: &str) -> Result<(), &'static str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() || path.starts_with('/') {
        return Err("is absolute or empty");
    }
    if path.contains('\\') {
        return Err("has a backslash");
    }
    // Terraform composes the letters of a path that stands in a configuration: it could mean another file than it says.
    if !path.is_ascii() {
        return Err("has a character that is not ASCII");
    }
    if path.chars().any(char::is_control) {
        return Err("has a control character");
    }
    if path.as_bytes().get(1) == Some(&b':') {
        return Err("names a drive");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("has an empty part, `.` or `..`");
    }
    Ok(())
}

fn no_file_is_a_folder(files: &BTreeMap<String, Vec<u8>>) -> Result<(), ModuleError> {
    let folders: BTreeSet<&str> =
        files.keys().flat_map(|path| path.match_indices('/').map(|(end, _)| &path[..end])).collect();
    match files.keys().find(|path| folders.contains(path.as_str())) {
        Some(path) => Err(ModuleError::Duplicate { file: path.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

    fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        for (name, content) in entries {
            writer.start_file(*name, options).expect("an entry starts");
            writer.write_all(content).expect("an entry is written");
        }
        writer.finish().expect("the archive ends").into_inner()
    }

    fn code(zip: &[u8], limits: &Limits) -> &'static str {
        match read(zip, limits) {
            Ok(_) => "ok",
            Err(error) => error.code(),
        }
    }

    #[test]
    fn files_are_read_as_they_are() {
        let zip = zip_of(&[("main.tf", b"# a"), ("policy/read.json", b"{}")]);
        let files = read(&zip, &Limits::default()).expect("a good archive");
        assert_eq!(files.get("main.tf").map(Vec::as_slice), Some(&b"# a"[..]));
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn paths_that_could_leave_the_folder_are_refused() {
        for path in ["../a.tf", "a/../b.tf", "/etc/a.tf", "a\\b.tf", "a//b.tf", "./a.tf", "c:a.tf", "", "a\n.tf"] {
            assert!(safe(path).is_err(), "{path:?}");
        }
        for path in ["a.tf", "a/b/c.tf", "..a.tf", "a..tf", "folder/"] {
            assert!(safe(path).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn each_limit_has_its_code() {
        let limits = Limits::default();
        assert_eq!(code(b"not a zip", &limits), "template_not_a_zip");
        assert_eq!(code(&vec![0; (4 << 20) + 1], &limits), "template_too_large");
        assert_eq!(code(&zip_of(&[("a.tf", &vec![b' '; 8 << 20])]), &limits), "template_ratio");
        let small = Limits { unpacked_bytes: 10, ..limits };
        assert_eq!(code(&zip_of(&[("a.tf", b"12345678901")]), &small), "template_too_large");
        let few = Limits { files: 1, ..limits };
        assert_eq!(code(&zip_of(&[("a.tf", b""), ("b.tf", b"")]), &few), "template_too_many_files");
        assert_eq!(code(&zip_of(&[("a", b""), ("a/b.tf", b"")]), &limits), "template_duplicate_file");
    }

    #[test]
    fn entries_that_share_their_data_are_refused() {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("a.tf", SimpleFileOptions::default()).expect("an entry starts");
        writer.write_all(b"# a").expect("an entry is written");
        writer.shallow_copy_file("a.tf", "b.tf").expect("an entry of the same data");
        let zip = writer.finish().expect("the archive ends").into_inner();
        assert_eq!(code(&zip, &Limits::default()), "template_not_a_zip");
    }

    #[test]
    fn a_symlink_is_refused() {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.add_symlink("main.tf", "/etc/passwd", SimpleFileOptions::default()).expect("a link is written");
        let zip = writer.finish().expect("the archive ends").into_inner();
        assert_eq!(code(&zip, &Limits::default()), "template_symlink");
    }
}

//! The folders of an archive that the engine reads: its root, and those that module calls in it name. Each is parsed
//! once.

use std::collections::{BTreeMap, BTreeSet};

use super::ModuleError;
use super::syntax::{self, Budget, Parsed, Section};
use crate::engine::Engine;

/// A folder that is a module.
pub(super) struct Folder<'a> {
    /// Its path in the archive; `""` is the root.
    pub path: String,
    /// Its configuration files by their paths in the archive, overriding ones last.
    pub files: Vec<(&'a str, Parsed)>,
}

/// Whether any of them calls a module that is not in the archive.
pub(super) fn calls_others(folders: &[Folder<'_>]) -> Result<bool, ModuleError> {
    for folder in folders {
        for (file, parsed) in &folder.files {
            for section in parsed.sections() {
                if let Some(Source::Remote(_)) = source(file, &folder.path, &section)? {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Where a called module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// In a folder of the archive.
    Local(String),
    /// Elsewhere: as it is written.
    Remote(String),
}

/// All of them, the root first.
pub(super) fn read(files: &BTreeMap<String, Vec<u8>>, engine: Engine) -> Result<Vec<Folder<'_>>, ModuleError> {
    if let Some(file) = files.keys().find(|file| engine.prefers(file)) {
        return Err(ModuleError::EngineFile { file: file.clone(), engine });
    }
    if syntax::configuration(files, "").is_empty() {
        return Err(ModuleError::NoConfiguration);
    }
    let mut folders = Vec::new();
    let mut seen = BTreeSet::new();
    let mut pending = vec![(String::new(), None)];
    let mut budget = Budget::default();
    while let Some((path, caller)) = pending.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let mut folder = Folder { path, files: Vec::new() };
        for (file, content) in syntax::configuration(files, &folder.path) {
            budget.spend(file, content)?;
            let parsed = syntax::parse(file, content)?;
            for section in parsed.sections() {
                if let Some(Source::Local(called)) = source(file, &folder.path, &section)? {
                    pending.push((called, Some(file)));
                }
            }
            folder.files.push((file, parsed));
        }
        // Terraform would fail, or find by another rule what nobody has looked at.
        if let (Some(file), []) = (caller, folder.files.as_slice()) {
            return Err(ModuleError::ModuleMissing { file: file.to_owned(), folder: folder.path });
        }
        folders.push(folder);
    }
    Ok(folders)
}

/// Where the module is that a block calls; `None` where it calls none.
pub(super) fn source(file: &str, folder: &str, section: &Section<'_>) -> Result<Option<Source>, ModuleError> {
    let ("module", [name]) = (section.kind, section.labels.as_slice()) else { return Ok(None) };
    let Some(entry) = section.entries.iter().find(|entry| entry.name == "source") else { return Ok(None) };
    let Some(written) = entry.value.text() else {
        return Err(ModuleError::ModuleSourceUnknown { file: file.to_owned(), name: (*name).to_owned() });
    };
    let outside = || ModuleError::ModuleSource { file: file.to_owned(), name: (*name).to_owned() };
    // Terraform takes a backslash for a slash, on every system.
    let path = written.replace('\\', "/");
    if path.starts_with("./") || path.starts_with("../") || path == "." || path == ".." {
        return join(folder, &path).map(|path| Some(Source::Local(path))).ok_or_else(outside);
    }
    if path.starts_with('/') || path.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        return Err(outside());
    }
    Ok(Some(Source::Remote(written)))
}

/// What a relative path means in a folder; `None` where it is outside of the archive.
pub(super) fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(entries: &[(&str, &str)], engine: Engine) -> Result<Vec<String>, &'static str> {
        let files = entries.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        match read(&files, engine) {
            Ok(folders) => Ok(folders.into_iter().map(|folder| folder.path).collect()),
            Err(error) => Err(error.code()),
        }
    }

    #[test]
    fn modules_inside_of_the_archive_are_followed_however_their_path_is_written() {
        for source in ["./parts/a", ".\\parts\\a", "./parts\\a", "./b/../parts//a/.", "./parts/a/"] {
            let call = format!("module \"x\" {{\n source = {source:?}\n}}\n");
            let found = folders(&[("main.tf", call.as_str()), ("parts/a/main.tf", "")], Engine::Terraform);
            assert_eq!(found, Ok(vec![String::new(), "parts/a".to_owned()]), "{source}");
        }
        let json = r#"{"module": [{"x": {"source": "./parts/a"}}], "module": {"y": [{"source": "./b"}]}}"#;
        let found = folders(&[("main.tf.json", json), ("parts/a/a.tf", ""), ("b/b.tf", "")], Engine::Terraform);
        assert_eq!(found, Ok(["", "b", "parts/a"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_module_that_is_elsewhere_on_this_machine_or_nobody_knows_where_is_refused() {
        let check = |source: &str| {
            let call = format!("module \"x\" {{\n source = {source}\n}}\n");
            let found = folders(&[("main.tf", call.as_str())], Engine::Tofu);
            assert_eq!(found, Err("template_module_source"), "{source}");
        };
        for source in ["../x", "./..", "..", "./a/../../x", "..\\\\x", "/x", "file:///x", "FILE::/x", "\\\\x"] {
            check(&format!("\"{source}\""));
        }
        for source in ["var.source", "\"./${var.part}\"", "local.a", "join(\"/\", [\".\", \"a\"])"] {
            check(source);
        }
        let json = r#"{"module": {"x": {"source": "./${\"a\"}"}}}"#;
        assert_eq!(folders(&[("a.tf.json", json)], Engine::Terraform), Err("template_module_source"));
    }

    #[test]
    fn a_module_that_is_not_in_the_archive_is_refused_in_whatever_way_its_path_is_written() {
        for source in ["./parts/b", "./parts/a/c", "./parts/e\\u0301", "./parts/\u{212a}", "./docs"] {
            let call = format!("module \"x\" {{\n source = \"{source}\"\n}}\n");
            let entries =
                [("main.tf", call.as_str()), ("parts/a/main.tf", ""), ("parts/K/main.tf", ""), ("docs/a.md", "")];
            assert_eq!(folders(&entries, Engine::Terraform), Err("template_module_source"), "{source}");
        }
    }

    #[test]
    fn all_that_is_read_may_have_so_many_attributes_together() {
        let attributes = |count: usize| -> String {
            let lines: String = (0..count).map(|index| format!("  a{index} = 1\n")).collect();
            format!("locals {{\n{lines}}}\n")
        };
        let check = |root: usize, called: usize, expect: Result<(), &str>| {
            let main = format!("module \"x\" {{\n  source = \"./parts\"\n}}\n{}", attributes(root));
            let (parts, examples) = (attributes(called), attributes(20_000));
            let entries =
                [("main.tf", main.as_str()), ("parts/a.tf", parts.as_str()), ("examples/a.tf", examples.as_str())];
            assert_eq!(folders(&entries, Engine::Terraform).map(|_| ()), expect, "{root} and {called}");
        };
        check(4_999, 5_000, Ok(()));
        check(4_999, 5_001, Err("template_too_complex"));
        check(10_000, 0, Err("template_too_complex"));
    }

    #[test]
    fn a_file_that_the_engine_prefers_is_refused() {
        let check = |file: &str, engine: Engine, expect: Result<(), &str>| {
            assert_eq!(folders(&[("main.tf", ""), (file, "")], engine).map(|_| ()), expect, "{file}");
        };
        check("main.tofu", Engine::Terraform, Ok(()));
        check("main.tofu", Engine::Tofu, Err("template_engine_file"));
        check("sub/a.tofu.json", Engine::Tofu, Err("template_engine_file"));
        check("other.tf", Engine::Tofu, Ok(()));
    }
}

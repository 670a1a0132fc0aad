//! What a module does that somebody may want to forbid: programs, other machines, foreign modules, foreign files,
//! providers. Looks at every file that the engine reads; says what stands where, and decides nothing.
//!
//! Where it cannot be told what something will be when it runs, the worst is said.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use hcl::edit::expr::{ForIntro, FuncCall};
use hcl::edit::template::ForTemplateExpr;
use hcl::edit::visit::{self, Visit};
use hcl::edit::{Decorated, Ident, Span};

use super::json::Json;
use super::paths::{self, Reach};
use super::syntax::{self, Budget, Entry, Lines, Section, Value};
use super::tree::{self, Folder, Source};
use super::{ModuleError, providers};
use crate::engine::Engine;

/// The most things that a module may do: more than a person would look at.
const MAX_USES: usize = 1_000;
/// The longest text of the module that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// Something that a module does, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// What it does.
    pub what: What,
    /// The file in the archive.
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
    /// What stands there, for a person.
    pub detail: String,
}

/// What a module can do that somebody may want to forbid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Runs a program where terraform runs.
    LocalExec,
    /// Works on another machine.
    RemoteExec,
    /// Takes data from a program.
    ExternalData,
    /// Takes data from an HTTP server.
    HttpData,
    /// Calls a module that is not in the archive.
    ModuleSource {
        /// Where it comes from, as it is written.
        source: String,
    },
    /// Reaches files outside of the module.
    Files,
    /// Needs a provider.
    Provider {
        /// Its full address.
        source: String,
        /// All constraints on its version together; none for any.
        version: Option<String>,
    },
    /// Sends settings of its own to a provider.
    ProviderSettings,
}

/// Attributes that are paths, of resources and data that are about nothing but local files.
const PATHS: [(&str, &[&str]); 3] = [
    ("local_file", &["filename"]),
    ("local_sensitive_file", &["filename"]),
    ("archive_file", &["source_file", "source_dir", "output_path"]),
];

/// All that a module does, file by file, and then the providers that it needs.
pub(super) fn read(
    folders: &[Folder<'_>],
    files: &BTreeMap<String, Vec<u8>>,
    engine: Engine,
) -> Result<Vec<Use>, ModuleError> {
    let (rendered, budget) = (BTreeSet::new(), Budget::default());
    let mut inspection = Inspection { files, engine, uses: Vec::new(), rendered, budget };
    for folder in folders {
        for (file, parsed) in &folder.files {
            let place = Place { file, folder: &folder.path };
            for section in parsed.sections() {
                inspection.section(place, "", &section)?;
            }
        }
    }
    inspection.providers(folders)?;
    if inspection.uses.len() > MAX_USES {
        return Err(ModuleError::TooManyUses { limit: MAX_USES });
    }
    Ok(inspection.uses)
}

struct Inspection<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    engine: Engine,
    uses: Vec<Use>,
    /// Template files that have been looked at.
    rendered: BTreeSet<String>,
    /// What is left for them.
    budget: Budget,
}

/// Where something stands: the file, and the folder that is `path.module` there.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    folder: &'a str,
}

impl Inspection<'_> {
    fn add(&mut self, what: What, file: &str, line: usize, detail: String) {
        if self.uses.len() <= MAX_USES {
            self.uses.push(Use { what, file: shown(file), line, detail });
        }
    }

    fn section(&mut self, place: Place<'_>, parent: &str, section: &Section<'_>) -> Result<(), ModuleError> {
        let Section { kind, line, .. } = *section;
        match (kind, section.labels.as_slice()) {
            ("provisioner", [name, ..]) => {
                let what = if *name == "local-exec" { What::LocalExec } else { What::RemoteExec };
                self.add(what, place.file, line, format!("`provisioner \"{}\"`", shown(name)));
            }
            ("connection", _) if matches!(parent, "resource" | "removed" | "provisioner") => {
                self.add(What::RemoteExec, place.file, line, "`connection` to another machine".to_owned());
            }
            ("provider_meta", [name, ..]) if parent == "terraform" => {
                let detail = format!("`provider_meta` sends settings to the provider `{}`", shown(name));
                self.add(What::ProviderSettings, place.file, line, detail);
            }
            ("resource" | "data" | "ephemeral" | "action" | "list", [of, _]) => self.object(place, section, of),
            _ => {}
        }
        if let Some(Source::Remote(source)) = tree::source(place.file, place.folder, section)? {
            let line = section.entries.iter().find(|entry| entry.name == "source").map_or(line, |entry| entry.line);
            let name = shown(&section.labels.join("."));
            let detail = format!("the module `{name}` is taken from `{}`", shown(&source));
            self.add(What::ModuleSource { source }, place.file, line, detail);
        }
        for entry in &section.entries {
            self.value(place, entry.value)?;
        }
        for inner in &section.sections {
            self.section(place, kind, inner)?;
        }
        Ok(())
    }

    /// A resource, or what is like one, of this type.
    fn object(&mut self, place: Place<'_>, section: &Section<'_>, of: &str) {
        let Section { kind, line, .. } = *section;
        let (what, why) = match (kind, of) {
            (_, "external") => (What::ExternalData, "takes data from a program"),
            (_, "http") => (What::HttpData, "takes data from an HTTP server"),
            (_, "local_command") => (What::LocalExec, "runs a program"),
            (_, "terraform_remote_state") => (What::Files, "reads another state"),
            ("resource", "local_file" | "local_sensitive_file") => (What::Files, "writes a file where terraform runs"),
            _ => {
                let listed = PATHS.iter().find(|(kind, _)| *kind == of).map_or(&[][..], |(_, names)| *names);
                for entry in section.entries.iter().filter(|entry| listed.contains(&entry.name)) {
                    self.path(place, of, entry);
                }
                return;
            }
        };
        self.add(what, place.file, line, format!("`{kind} \"{of}\"` {why}"));
    }

    fn path(&mut self, place: Place<'_>, of: &str, entry: &Entry<'_>) {
        let name = format!("`{}` of `{of}`", entry.name);
        if let Some(detail) = beyond(&name, &paths::of_value(entry.value, place.folder)) {
            self.add(What::Files, place.file, entry.line, detail);
        }
    }

    fn value(&mut self, place: Place<'_>, value: Value<'_>) -> Result<(), ModuleError> {
        match value {
            Value::Hcl(expression, lines) => {
                Calls { inspection: self, place, at: At::Lines(lines), renders: false }.visit_expr(expression);
                Ok(())
            }
            Value::Json(json) => self.json(place, json),
        }
    }

    /// Every text in JSON is taken for a template, also where terraform takes it as it is.
    fn json(&mut self, place: Place<'_>, json: &Json) -> Result<(), ModuleError> {
        match json {
            Json::Scalar(_) => Ok(()),
            Json::Text(text, line) => self.text(place, text, *line),
            Json::List(items) => items.iter().try_for_each(|item| self.json(place, item)),
            Json::Object(members) => members.iter().try_for_each(|member| {
                self.text(place, &member.name, member.line)?;
                self.json(place, &member.value)
            }),
        }
    }

    fn text(&mut self, place: Place<'_>, text: &str, line: usize) -> Result<(), ModuleError> {
        if syntax::is_template(text) {
            let template = syntax::template(text).map_err(|(_, message)| ModuleError::HclInvalid {
                file: place.file.to_owned(),
                line: Some(line),
                message,
            })?;
            Calls { inspection: self, place, at: At::Line(line), renders: false }.visit_template(&template);
        }
        Ok(())
    }

    /// A file that `templatefile` renders: its functions reach files like those of the configuration, but it has no
    /// `path.module` of its own.
    fn template_file(&mut self, place: Place<'_>, line: usize, path: &str) {
        let Some(content) = self.files.get(path) else {
            let detail = format!("`templatefile` renders `{}`, which is not in the archive", shown(path));
            return self.add(What::Files, place.file, line, detail);
        };
        if !self.rendered.insert(path.to_owned()) {
            return;
        }
        let spent = self.budget.spend(path, content).map_err(|_| (1, "there is too much to be read".to_owned()));
        let read = spent.and_then(|()| std::str::from_utf8(content).map_err(|_| (1, "not UTF-8".to_owned())));
        match read.and_then(|text| syntax::template(text).map(|template| (template, Lines::of(text)))) {
            Ok((template, lines)) => {
                let place = Place { file: path, ..place };
                Calls { inspection: self, place, at: At::Lines(&lines), renders: true }.visit_template(&template);
            }
            Err((line, message)) => {
                let detail = format!("which files this template reaches cannot be told: {message}");
                self.add(What::Files, path, line, detail);
            }
        }
    }

    fn providers(&mut self, folders: &[Folder<'_>]) -> Result<(), ModuleError> {
        let mut found: BTreeMap<String, (&str, usize, Vec<String>)> = BTreeMap::new();
        let needs: Result<Vec<_>, _> =
            folders.iter().map(|folder| providers::of(folder, self.engine.registry())).collect();
        for need in needs?.into_iter().flatten() {
            let (.., versions) = found.entry(need.source).or_insert((need.file, need.line, Vec::new()));
            if let Some(version) = need.version
                && !versions.contains(&version)
            {
                versions.push(version);
            }
        }
        for (source, (file, line, versions)) in found {
            let detail = format!("the provider {}", shown(&source));
            let version = (!versions.is_empty()).then(|| versions.join(", "));
            self.add(What::Provider { source, version }, file, line, detail);
        }
        Ok(())
    }
}

/// How the line of something is known.
#[derive(Clone, Copy)]
enum At<'a> {
    /// By its place in a text.
    Lines(&'a Lines),
    /// It has none of its own.
    Line(usize),
}

/// Looks for what reaches files, in an expression or a template.
struct Calls<'i, 'f, 'p> {
    inspection: &'i mut Inspection<'f>,
    place: Place<'p>,
    at: At<'p>,
    /// Whether this is a file that is rendered.
    renders: bool,
}

impl Calls<'_, '_, '_> {
    fn line(&self, span: Option<Range<usize>>) -> usize {
        match self.at {
            At::Lines(lines) => lines.start(span),
            At::Line(line) => line,
        }
    }

    fn call(&mut self, call: &FuncCall) {
        // Each built-in function has this second name.
        let is_core = match call.name.namespace.as_slice() {
            [] => true,
            [namespace] => namespace.as_str() == "core",
            _ => false,
        };
        let name = call.name.name.as_str();
        let line = self.line(call.name.name.span());
        // Terraform does not let what this one renders reach files; OpenTofu does.
        if is_core && name == "templatestring" && self.inspection.engine == Engine::Tofu {
            let detail = "`templatestring` renders a text that is known only when it runs".to_owned();
            return self.inspection.add(What::Files, self.place.file, line, detail);
        }
        if !is_core || !(name.starts_with("file") || name == "templatefile") {
            return;
        }
        if self.renders {
            let detail = format!("`{name}` in a file that is rendered: hand in what it shall read as a variable");
            return self.inspection.add(What::Files, self.place.file, line, detail);
        }
        let Some(path) = call.args.get(0) else { return };
        let reach = paths::of_expression(path, self.place.folder);
        if let Some(detail) = beyond(&format!("`{name}`"), &reach) {
            return self.inspection.add(What::Files, self.place.file, line, detail);
        }
        if name == "fileset" && !call.args.get(1).is_some_and(paths::stays_below) {
            let detail = "`fileset` looks for a pattern that may lead out of the module".to_owned();
            return self.inspection.add(What::Files, self.place.file, line, detail);
        }
        if let (Reach::Inside(path), "templatefile") = (reach, name) {
            self.inspection.template_file(self.place, line, &path);
        }
    }

    /// A loop's variable of that name would stand in the place of `path.module`.
    fn loops_over(&mut self, variables: [Option<&Decorated<Ident>>; 2]) {
        for variable in variables.into_iter().flatten().filter(|variable| variable.as_str() == "path") {
            let line = self.line(variable.span());
            let detail = "the loop's variable `path` hides what `path.module` is".to_owned();
            self.inspection.add(What::Files, self.place.file, line, detail);
        }
    }
}

impl Visit for Calls<'_, '_, '_> {
    fn visit_func_call(&mut self, call: &FuncCall) {
        self.call(call);
        visit::visit_func_call(self, call);
    }

    fn visit_for_intro(&mut self, intro: &ForIntro) {
        self.loops_over([intro.key_var.as_ref(), Some(&intro.value_var)]);
        visit::visit_for_intro(self, intro);
    }

    fn visit_for_template_expr(&mut self, directive: &ForTemplateExpr) {
        self.loops_over([directive.key_var.as_ref(), Some(&directive.value_var)]);
        // The visitor itself leaves it out.
        self.visit_expr(&directive.collection_expr);
        visit::visit_for_template_expr(self, directive);
    }
}

/// What is to be said of a path; nothing where it is inside.
fn beyond(name: &str, reach: &Reach) -> Option<String> {
    match reach {
        Reach::Inside(_) => None,
        Reach::Outside(path) => Some(format!("{name} reaches `{}`, which is not below `path.module`", shown(path))),
        Reach::Unknown => {
            Some(format!("{name} reaches a path that is known only when it runs: `path.module` and a text is not one"))
        }
    }
}

/// A text of the module, as much of it as a person reads, on one line.
fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(MAX_SHOWN).map(plain).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;

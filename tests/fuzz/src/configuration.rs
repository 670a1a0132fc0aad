//! Configuration of templates, HCL and its JSON form, as it is looked at when a template is published.
//!
//! An input is one file, `main.tf.json` where it begins with a brace, else `main.tf`; or several, each after a line
//! `%%%% <path>`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Cursor, Write};

use conductor_terraform::engine::Engine;
use conductor_terraform::module::{self, Interface, Limits, Module, ModuleError, Use, What};
use conductor_terraform::project::{Backend, Project, ROOT_FILE};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::scanner;

const SEPARATOR: &str = "%%%% ";
/// An input's value, which no configuration may hold.
const VALUE: &str = "a-value-of-${var.x}";
/// The longest text that is shown of something that a module does, in characters.
const MAX_SHOWN: usize = 1000;

/// Files that claim to be a module.
pub fn configuration(data: &[u8]) {
    let files = files(data);
    let archive = archive(&files);
    for engine in Engine::ALL {
        let read = module::from_files(files.clone(), engine);
        let inspected = archive.as_ref().map(|archive| module::inspect(archive, &Limits::default(), engine));
        match (&read, inspected) {
            (Ok(module), Some(Ok((inspected, uses)))) => {
                assert_eq!(*module, inspected, "what is inspected is not what runs");
                shown(module, &uses);
                nothing_is_hidden(module, &uses, engine);
            }
            (Err(_), Some(Ok(_))) => panic!("it can be inspected, and not be read"),
            (_, Some(Err(error))) => refused(data.len(), &error),
            (_, None) => {}
        }
        match read {
            Ok(module) => taken(&module),
            Err(error) => refused(data.len(), &error),
        }
    }
}

/// Why something is refused: with a code, and not at greater length than what was given.
pub fn refused(given: usize, error: &ModuleError) {
    assert!(error.code().starts_with("template_"), "{error:?}");
    let said = error.to_string().len();
    assert!(said <= 8 * given + 4096, "{said} bytes about {given}");
}

/// The files as an archive; none where their paths are not plain ones.
fn archive(files: &BTreeMap<String, Vec<u8>>) -> Option<Vec<u8>> {
    let plain = |part: &str| {
        let known = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        known && !matches!(part, "" | "." | "..")
    };
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (file, content) in files {
        if !file.split('/').all(plain) {
            return None;
        }
        writer.start_file(file.as_str(), options).ok()?;
        writer.write_all(content).ok()?;
    }
    Some(writer.finish().ok()?.into_inner())
}

fn files(data: &[u8]) -> BTreeMap<String, Vec<u8>> {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(parts) = text.strip_prefix(SEPARATOR)
    {
        let separator = format!("\n{SEPARATOR}");
        let file = |part: &str| {
            let (path, content) = part.split_once('\n').unwrap_or((part, ""));
            (path.to_owned(), content.as_bytes().to_vec())
        };
        return parts.split(&separator).map(file).collect();
    }
    let is_json = data.trim_ascii_start().starts_with(b"{");
    let file = if is_json { "main.tf.json" } else { "main.tf" };
    BTreeMap::from([(file.to_owned(), data.to_vec())])
}

fn taken(module: &Module) {
    let interface = serde_json::to_value(&module.interface).expect("JSON");
    let again: Interface = serde_json::from_value(interface).expect("an interface");
    assert_eq!(again, module.interface);
    let digest = module.digest();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
    let inputs = module.interface.variables.keys().map(|name| (name.clone(), Value::from(VALUE))).collect();
    let project = Project {
        module,
        engine_version: None,
        inputs: &inputs,
        sensitive_inputs: &BTreeSet::new(),
        provider_versions: &BTreeMap::new(),
        providers: &BTreeMap::new(),
        backend: &Backend::Local { path: "state.json".into() },
    };
    let files = project.configuration();
    let root = &files[ROOT_FILE];
    let parsed: Value = serde_json::from_slice(root).expect("the root module is JSON");
    assert_eq!(parsed["module"]["resource"]["source"], "./module");
    assert!(!String::from_utf8_lossy(root).contains(VALUE), "a value is configuration");
    assert_eq!(files.len(), module.files.len() + 1, "a file of the template is another's");
}

/// What a module does is told with its file and line, in words that a person reads.
fn shown(module: &Module, uses: &[Use]) {
    for Use { file, line, detail, .. } in uses {
        assert!(detail.chars().count() <= MAX_SHOWN, "{file}, line {line}: {detail}");
        let Some(content) = module.files.get(file) else { continue };
        let lines = content.iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!((1..=lines).contains(line), "{file} has {lines} lines, and not {line}");
    }
}

/// What terraform would take for a variable, an output, a provider's settings, a backend or a provisioner was seen as
/// such: so nothing else can hide either. Said of modules of one file that this side of the test is sure about.
fn nothing_is_hidden(module: &Module, uses: &[Use], engine: Engine) {
    let files = Vec::from_iter(&module.files);
    let ([(file, content)], Engine::Terraform) = (files.as_slice(), engine) else { return };
    let Ok(text) = std::str::from_utf8(content) else { panic!("{file} is taken, and no text") };
    let blocks = if file.ends_with(".json") { in_json(text) } else { in_hcl(text) };
    let Some(blocks) = blocks else { return };
    let named = |wanted: &str| -> BTreeSet<&str> {
        blocks.iter().filter(|(kind, _)| kind == wanted).map(|(_, name)| name.as_str()).collect()
    };
    let variables: BTreeSet<&str> = module.interface.variables.keys().map(String::as_str).collect();
    assert_eq!(named("variable"), variables, "variables of {text}");
    let outputs: BTreeSet<&str> = module.interface.outputs.keys().map(String::as_str).collect();
    assert_eq!(named("output"), outputs, "outputs of {text}");
    for kind in ["provider", "backend", "cloud"] {
        assert_eq!(named(kind), BTreeSet::new(), "{kind} of {text}");
    }
    let told = |what: What| uses.iter().filter(|told| told.what == what).count();
    let (local, remote): (Vec<_>, Vec<_>) =
        blocks.iter().filter(|(kind, _)| kind == "provisioner").partition(|(_, name)| name == "local-exec");
    assert!(local.len() <= told(What::LocalExec) && remote.len() <= told(What::RemoteExec), "provisioners of {text}");
}

/// Kinds and names of blocks.
type Blocks = Vec<(String, String)>;

fn in_hcl(text: &str) -> Option<Blocks> {
    let found = scanner::blocks(text)?;
    let mut blocks = Blocks::new();
    for header in found.root {
        match (header.kind, header.labels.as_slice()) {
            (kind @ ("variable" | "output" | "provider"), [name]) => blocks.push((kind.to_owned(), (*name).to_owned())),
            // Terraform refuses these.
            ("variable" | "output" | "provider", _) => return None,
            _ => {}
        }
    }
    blocks.extend(found.provisioners.into_iter().map(|name| ("provisioner".to_owned(), name.to_owned())));
    Some(blocks)
}

fn in_json(text: &str) -> Option<Blocks> {
    let Json::Object(members) = serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).ok()? else {
        return None;
    };
    let mut blocks = Blocks::new();
    for (kind, value) in &members {
        match kind.as_str() {
            "variable" | "output" | "provider" => add(kind, value, &mut blocks),
            "terraform" => {
                let settings = within(value).filter(|(kind, _)| kind == "backend" || kind == "cloud");
                settings.for_each(|(kind, value)| add(kind, value, &mut blocks));
            }
            "resource" => {
                let named = within(value).flat_map(|(_, names)| within(names));
                let parts = named.flat_map(|(_, body)| within(body)).filter(|(kind, _)| kind == "provisioner");
                parts.for_each(|(kind, value)| add(kind, value, &mut blocks));
            }
            _ => {}
        }
    }
    Some(blocks)
}

/// Adds a block for each name under which a value has an object.
fn add(kind: &str, value: &Json, blocks: &mut Blocks) {
    let named = within(value).filter(|(_, value)| !bodies(value).is_empty());
    blocks.extend(named.map(|(name, _)| (kind.to_owned(), name.clone())));
}

/// The members of all objects that a value is, or is a list of, without comments.
fn within(value: &Json) -> impl Iterator<Item = &(String, Json)> {
    bodies(value).into_iter().flatten().filter(|(name, _)| name != "//")
}

/// The objects that a value is, or is a list of.
fn bodies(value: &Json) -> Vec<&[(String, Json)]> {
    match value {
        Json::Object(members) => vec![members.as_slice()],
        Json::List(items) => items.iter().flat_map(bodies).collect(),
        Json::Scalar => Vec::new(),
    }
}

/// JSON with all members of an object, also two of one name: terraform looks at both.
enum Json {
    Scalar,
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Scalar)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Scalar)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Scalar)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Scalar)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Scalar)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Json, E> {
        Ok(Json::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}

//! Every input of the corpus is replayed, and a few that differ from it a little: what a fuzzer has found stays found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use conductor_fuzz::TARGETS;

/// Of each input so many others are made.
const CHANGES: usize = 24;
/// What one input, and the inputs of one target together, may take of the repository.
const MAX_INPUT: usize = 8 << 10;
const MAX_CORPUS: usize = 128 << 10;
/// Of the main thread: without optimisation a parser takes several times the stack that it takes in a function.
const STACK: usize = 8 << 20;
/// What parsers of texts stumble over.
const BYTES: &[u8] = b"\0\t\n\r \"#$%&'(*-./01:<=>?[\\]_{|}~\x7f\xc2\xa0\xff";

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The inputs of a target, by their file's name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(target)).unwrap_or_else(|error| panic!("the corpus of {target}: {error}"));
    let mut inputs: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("an input"))
        })
        .collect();
    inputs.sort();
    inputs
}

#[track_caller]
fn replay(target: &str) {
    let (_, run) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target");
    let inputs = corpus(target);
    assert!(!inputs.is_empty(), "{target} has no input");
    let replayed = thread::Builder::new().stack_size(STACK).spawn(move || {
        for (name, input) in inputs {
            eprintln!("{name}");
            run(&input);
            for change in 0..CHANGES {
                eprintln!("{name}, changed: {change}");
                run(&changed(&input, change));
            }
        }
    });
    assert!(replayed.expect("a thread").join().is_ok(), "{target}: the last input that is named above");
}

/// The input cut off, or with another byte in it, or with a part of it twice.
fn changed(input: &[u8], change: usize) -> Vec<u8> {
    let at = input.len() * (change / 3) / CHANGES.div_ceil(3);
    let (before, after) = input.split_at(at);
    match change % 3 {
        0 => before.to_vec(),
        1 => {
            let byte = BYTES[(at + change) % BYTES.len()];
            [before, &[byte], after.get(1..).unwrap_or_default()].concat()
        }
        _ => {
            let part = &after[..after.len().min(change)];
            [before, part, after].concat()
        }
    }
}

macro_rules! replays {
    ($($target:ident)*) => {
        $(#[test] fn $target() { replay(stringify!($target)); })*

        /// The targets that are replayed here.
        const REPLAYED: &[&str] = &[$(stringify!($target)),*];
    };
}

replays! { archive backend configuration events mask names placeholders position score state }

#[test]
fn every_target_is_replayed_has_a_corpus_and_a_program() {
    let named = |entries: fs::ReadDir| -> BTreeSet<String> {
        let stem = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
        entries.map(|entry| stem(entry.expect("an entry").path())).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let replayed: BTreeSet<String> = REPLAYED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(targets, replayed);
    assert_eq!(targets, named(fs::read_dir(folder("")).expect("the corpus")));
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    assert_eq!(targets, named(fs::read_dir(fuzz.join("targets")).expect("the programs")));
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("their manifest");
    for target in targets {
        assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
        let program = fs::read_to_string(fuzz.join(format!("targets/{target}.rs"))).expect("a program");
        assert!(program.contains(&format!("conductor_fuzz::{target}(data)")), "{target}");
    }
}

#[test]
fn the_corpus_is_small() {
    for (target, _) in TARGETS {
        let inputs = corpus(target);
        for (name, input) in &inputs {
            assert!(input.len() <= MAX_INPUT, "{target}/{name} has {} bytes", input.len());
        }
        let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
        assert!(bytes <= MAX_CORPUS, "{target} has {bytes} bytes");
    }
}

//! The Score front end: from a file's text to what its workload needs, in which order.
//!
//! Owns both dialects (Score v1b1 as specified, and Conductor's own), their rules, placeholders and the order of
//! resources. Pure: no I/O, no clock; and it knows no templates, so whether a resource *type* exists is not its matter.
//!
//! Text becomes a tree that knows its lines (`yaml`), the tree is held against the dialect's rules (`shape`, `schema`),
//! and becomes a [`ScoreFile`] (`read`, `extras`). Every problem is reported, not only the first
//! (but at most [`MAX_PROBLEMS`]).

mod extras;
mod graph;
mod hint;
mod model;
mod pattern;
mod placeholder;
mod problem;
mod read;
mod resolve;
mod schema;
mod shape;
mod sharing;
mod shown;
mod yaml;

pub use graph::{EdgeKind, Plan, order};
pub use model::{
    DependsOn, Dialect, Matching, MatchingPolicy, MatchingScope, Port, Protocol, Requirement, ScoreFile, Service,
    Sharing,
};
pub use placeholder::{
    Part, Placed, PlaceholderError, Reference, Root, check_references, expandable, references, scan,
};
pub use problem::{Problem, code};
pub use resolve::{ResolveError, Resolved, Tainted, resolve};
pub use shown::shown;

use serde_json::Value;

use yaml::Node;

/// The longest Score file that is read, in bytes (the limit of a body in the HTTP API).
pub const MAX_FILE_BYTES: usize = 256 * 1024;

/// The most problems that are reported of one file: its first ones.
pub const MAX_PROBLEMS: usize = 100;

/// The resource type that names another workload; it takes part in placeholders but is no operation.
pub const SERVICE_TYPE: &str = "service";

/// Reads a Score file from YAML or JSON text, in the dialect that its `apiVersion` (or the lack of one) says.
///
/// # Errors
///
/// Everything that is wrong with the file, in the order of its lines. Cycles and unknown dependencies are [`order`]'s.
pub fn parse(text: &str) -> Result<ScoreFile, Vec<Problem>> {
    let tree = yaml::tree(text).map_err(|problem| vec![problem])?;
    from_tree(&tree)
}

/// Reads a Score file that is JSON already; its problems have pointers, but no lines.
///
/// # Errors
///
/// Everything that is wrong with the file.
pub fn parse_value(value: Value) -> Result<ScoreFile, Vec<Problem>> {
    from_tree(&Node::from(value))
}

/// Holds a value against Score v1b1 alone, as the official JSON Schema would: no annotations of ours, no placeholders.
#[must_use]
pub fn check_schema(value: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let tree = Node::from(value.clone());
    shape::check(schema::root(Dialect::ScoreV1b1), &tree, "", &mut problems);
    problems
}

/// Adds lines and columns to problems that were found after parsing, when only pointers were known.
#[must_use]
pub fn locate(text: &str, problems: Vec<Problem>) -> Vec<Problem> {
    match yaml::tree(text) {
        Ok(tree) => locate_in(&tree, problems),
        Err(_) => problems,
    }
}

fn from_tree(tree: &Node) -> Result<ScoreFile, Vec<Problem>> {
    if let Some(problem) = tree.excess() {
        return Err(vec![problem]);
    }
    let dialect = match tree.get("apiVersion") {
        Some(_) => Dialect::ScoreV1b1,
        None => Dialect::Conductor,
    };
    let mut problems = Vec::new();
    shape::duplicate_keys(tree, "", &mut problems);
    shape::check(schema::root(dialect), tree, "", &mut problems);
    let file = read::read(tree, dialect, &mut problems);
    // In a file with broken parts, every placeholder that names one of them would be a second complaint.
    if problems.is_empty() {
        problems = locate_in(tree, check_references(&file));
    }
    if problems.is_empty() {
        return Ok(file);
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems.truncate(MAX_PROBLEMS);
    Err(problems)
}

/// Where things stand in a text, as line and column from 1, by their pointers; of what is not there, its nearest parent.
#[must_use]
pub fn places(text: &str, pointers: &[&str]) -> Vec<(Option<u32>, Option<u32>)> {
    let Ok(tree) = yaml::tree(text) else { return vec![(None, None); pointers.len()] };
    pointers
        .iter()
        .map(|pointer| {
            let parents = std::iter::successors(Some(*pointer), |path| path.rfind('/').map(|end| &path[..end]));
            let position = parents.filter_map(|path| tree.position_of(path)).next();
            (position.map(|p| p.line), position.map(|p| p.column))
        })
        .collect()
}

fn locate_in(tree: &Node, problems: Vec<Problem>) -> Vec<Problem> {
    problems
        .into_iter()
        .map(|problem| {
            let position = problem.line.is_none().then(|| tree.position_of(&problem.pointer)).flatten();
            match position {
                Some(_) => problem.at(position),
                None => problem,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;

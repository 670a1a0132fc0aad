//! The order of a file's resources: what depends on what, and a plan that is the same for the same file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hint::did_you_mean;
use super::model::{Dialect, Requirement, ScoreFile};
use super::placeholder::{Root, names, problem, references};
use super::problem::{Problem, child, code};
use super::{MAX_PROBLEMS, SERVICE_TYPE};

/// Why a resource depends on another; where there are several reasons, the last of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EdgeKind {
    /// The file names it, but may do without it.
    Weak,
    /// The file names it.
    Strong,
    /// A placeholder needs one of its outputs, or its name.
    Output,
}

/// The resources in the order in which they can be acquired, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Every resource that is an operation, dependencies first, ties by name.
    pub order: Vec<String>,
    /// For each of them, what it depends on.
    pub edges: BTreeMap<String, BTreeMap<String, EdgeKind>>,
}

/// Orders a file's resources. Resources of type `service` are no operations, and stay out of it.
///
/// # Errors
///
/// Dependencies that are not in the file (the first [`MAX_PROBLEMS`]), placeholders that cannot be read, and a cycle with
/// its whole path.
pub fn order(file: &ScoreFile) -> Result<Plan, Vec<Problem>> {
    let edges = edges(file)?;
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, dependencies) in &edges {
        waiting.insert(name, dependencies.len());
        for dependency in dependencies.keys() {
            dependents.entry(dependency).or_default().push(name);
        }
    }
    let mut order = Vec::with_capacity(edges.len());
    // A set as the queue of what is ready, so that ties are broken by name.
    let mut ready: BTreeSet<&str> = waiting.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    while let Some(name) = ready.pop_first() {
        waiting.remove(name);
        for dependent in dependents.remove(name).unwrap_or_default() {
            if let Some(count) = waiting.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(dependent);
                }
            }
        }
        order.push(name.to_owned());
    }
    match cycle(&edges, |name| waiting.contains_key(name)) {
        None => Ok(Plan { order, edges }),
        Some(path) => {
            let pointer = path.first().map(|name| child("/resources", name)).unwrap_or_default();
            let detail = format!("the resources depend on each other: {}", path.join(" → "));
            Err(vec![Problem::new(code::DEPENDENCY_CYCLE, pointer, detail)])
        }
    }
}

type Edges = BTreeMap<String, BTreeMap<String, EdgeKind>>;

fn edges(file: &ScoreFile) -> Result<Edges, Vec<Problem>> {
    let mut edges = Edges::new();
    let mut problems = Vec::new();
    let names = names(file);
    for (name, requirement) in &file.resources {
        if requirement.kind == SERVICE_TYPE {
            continue;
        }
        let mut found = declared(file, name, requirement, &mut problems);
        found.extend(by_placeholders(file.dialect, &names, name, requirement, &mut problems));
        let mut dependencies = BTreeMap::new();
        for (dependency, kind) in found {
            let is_service = file.resources.get(&dependency).is_some_and(|found| found.kind == SERVICE_TYPE);
            if !is_service {
                let strongest = dependencies.entry(dependency).or_insert(kind);
                *strongest = kind.max(*strongest);
            }
        }
        edges.insert(name.clone(), dependencies);
    }
    if problems.is_empty() { Ok(edges) } else { Err(problems) }
}

fn declared(
    file: &ScoreFile,
    name: &str,
    requirement: &Requirement,
    problems: &mut Vec<Problem>,
) -> Vec<(String, EdgeKind)> {
    let mut found = Vec::new();
    for (index, depends_on) in requirement.depends_on.iter().enumerate() {
        let dependency = &depends_on.resource;
        match (file.resources.contains_key(dependency), depends_on.optional) {
            (true, true) => found.push((dependency.clone(), EdgeKind::Weak)),
            (true, false) => found.push((dependency.clone(), EdgeKind::Strong)),
            (false, true) => {}
            (false, false) if problems.len() >= MAX_PROBLEMS => {}
            (false, false) => {
                let hint = did_you_mean(dependency, file.resources.keys().map(String::as_str));
                let detail = format!("`{name}` depends on `{dependency}`, which is not in the file{hint}");
                let base = child("/resources", name);
                let pointer = match file.dialect {
                    Dialect::Conductor => format!("{base}/dependsOn/{index}"),
                    Dialect::ScoreV1b1 => format!("{base}/metadata/annotations/conductor.dev~1depends-on"),
                };
                problems.push(Problem::new(code::UNKNOWN_DEPENDENCY, pointer, detail));
            }
        }
    }
    found
}

fn by_placeholders(
    dialect: Dialect,
    names: &BTreeSet<&str>,
    name: &str,
    requirement: &Requirement,
    problems: &mut Vec<Problem>,
) -> Vec<(String, EdgeKind)> {
    let Some(params) = &requirement.params else { return Vec::new() };
    let base = format!("{}/params", child("/resources", name));
    match references(&Value::Object(params.clone()), dialect, names) {
        Ok(found) => found
            .into_iter()
            .filter_map(|(_, reference)| match reference.root {
                Root::Resource { name, .. } => Some((name, EdgeKind::Output)),
                Root::Metadata { .. } => None,
            })
            .collect(),
        Err(errors) => {
            problems.extend(errors.iter().map(|(pointer, error)| problem(&base, pointer, error)));
            Vec::new()
        }
    }
}

/// A cycle among those that still wait, each for another of them: its path, from its first name back to it.
fn cycle(edges: &Edges, waits: impl Fn(&str) -> bool) -> Option<Vec<String>> {
    let mut path: Vec<&String> = Vec::new();
    let mut current = edges.keys().find(|name| waits(name))?;
    let start = loop {
        if let Some(start) = path.iter().position(|seen| *seen == current) {
            break start;
        }
        path.push(current);
        current = edges.get(current)?.keys().find(|name| waits(name))?;
    };
    let mut names: Vec<String> = path.into_iter().skip(start).cloned().collect();
    let smallest = names.iter().enumerate().min_by_key(|(_, name)| *name).map(|(index, _)| index)?;
    names.rotate_left(smallest);
    names.extend(names.first().cloned());
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::parse;

    /// A file whose resources and dependencies are written as `a < b c?; d`: `a` depends on `b`, and perhaps on `c`.
    fn file(shorthand: &str) -> ScoreFile {
        let mut text = String::from("resources:\n");
        for line in shorthand.split(';') {
            let (name, dependencies) = line.split_once('<').unwrap_or((line, ""));
            let dependencies: Vec<String> = dependencies
                .split_whitespace()
                .map(|name| match name.strip_suffix('?') {
                    Some(name) => format!("{{resource: {name}, optional: true}}"),
                    None => name.to_owned(),
                })
                .collect();
            let kind = if name.trim().starts_with("svc") { "service" } else { "thing" };
            text.push_str(&format!("  {}: {{type: {kind}, dependsOn: [{}]}}\n", name.trim(), dependencies.join(", ")));
        }
        parse(&text).expect(&text)
    }

    fn shown(file: &ScoreFile) -> String {
        match order(file) {
            Ok(plan) => plan.order.join(" "),
            Err(problems) => {
                let details: Vec<_> = problems.into_iter().map(|problem| problem.detail).collect();
                details.join("\n")
            }
        }
    }

    #[test]
    fn dependencies_come_first_and_ties_go_by_name() {
        let check = |shorthand: &str, expect: &str| assert_eq!(shown(&file(shorthand)), expect, "{shorthand}");
        check("c; b; a", "a b c");
        check("a < b; b < c; c", "c b a");
        check("a < d; b; c; d < c", "b c d a");
        check("app < db queue; db < net; queue < net; net", "net db queue app");
        check("a < b?; b", "b a");
        check("a < gone?", "a");
        check("a < svc-x; svc-x", "a");
    }

    #[test]
    fn a_cycle_is_refused_with_its_whole_path() {
        let check = |shorthand: &str, path: &str| {
            let expect = format!("the resources depend on each other: {path}");
            assert_eq!(shown(&file(shorthand)), expect, "{shorthand}");
        };
        check("a < a", "a → a");
        check("a < b; b < c; c < a", "a → b → c → a");
        check("z < y; y < x; x < y; free", "x → y → x");
        check("a < b?; b < a", "a → b → a");
    }

    #[test]
    fn a_dependency_that_is_not_there_is_refused() {
        let problems = order(&file("a < dbs; db")).expect_err("unknown");
        let [problem] = problems.as_slice() else { panic!("one problem: {problems:?}") };
        assert_eq!(problem.code, code::UNKNOWN_DEPENDENCY);
        assert_eq!(problem.pointer, "/resources/a/dependsOn/0");
        assert_eq!(problem.detail, "`a` depends on `dbs`, which is not in the file; did you mean `db`?");
    }

    #[test]
    fn of_many_problems_the_first_are_reported() {
        let problems = order(&file(&format!("a <{}", " gone".repeat(500)))).expect_err("unknown");
        assert_eq!(problems.len(), MAX_PROBLEMS);
    }

    #[test]
    fn placeholders_make_edges_and_outputs_are_the_strongest() {
        let file = parse(
            "resources:\n  net: {type: net}\n  peer: {type: service}\n  db:\n    type: db\n    dependsOn: [net]\n    \
             params: {id: '${net.id}', host: '${peer.host}', list: ['${resources.key}']}\n  key: {type: key}\n",
        )
        .expect("a file");
        let plan = order(&file).expect("a plan");
        assert_eq!(plan.order, ["key", "net", "db"]);
        let edges = plan.edges.get("db").expect("db");
        assert_eq!(
            *edges,
            BTreeMap::from([("key".to_owned(), EdgeKind::Output), ("net".to_owned(), EdgeKind::Output)])
        );
    }

    proptest::proptest! {
        #[test]
        fn every_file_is_ordered_or_has_a_cycle(edges in proptest::collection::vec((0_usize..8, 0_usize..8), 0..16)) {
            let lines: Vec<String> = (0..8)
                .map(|from| {
                    let to: Vec<String> =
                        edges.iter().filter(|(start, _)| *start == from).map(|(_, end)| format!("r{end}")).collect();
                    format!("r{from} < {}", to.join(" "))
                })
                .collect();
            let file = file(&lines.join(";"));
            match order(&file) {
                Ok(plan) => {
                    proptest::prop_assert_eq!(plan.order.len(), 8);
                    for (index, name) in plan.order.iter().enumerate() {
                        for dependency in plan.edges[name].keys() {
                            let before = plan.order.iter().position(|other| other == dependency);
                            proptest::prop_assert!(before < Some(index), "{} before {}", dependency, name);
                        }
                    }
                }
                Err(problems) => proptest::prop_assert_eq!(problems.len(), 1),
            }
        }
    }
}

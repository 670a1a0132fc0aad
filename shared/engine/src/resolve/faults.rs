//! What is wrong with a file, and where.

use conductor_domain::code::Fault;
use conductor_domain::score::Dialect;
use conductor_domain::{Code, Refusal};

/// Faults of a file, under the code of the first.
pub(super) struct Faults {
    dialect: Dialect,
    code: Option<Code>,
    faults: Vec<Fault>,
}

impl Faults {
    pub fn of(dialect: Dialect) -> Self {
        Self { dialect, code: None, faults: Vec::new() }
    }

    /// Where a file of this dialect says one of Conductor's extras of a resource.
    pub fn extra(&self, name: &str, key: &str) -> String {
        match self.dialect {
            Dialect::Conductor => format!("/resources/{name}/{key}"),
            Dialect::ScoreV1b1 => {
                // What stands in an annotation's text has no pointer of its own.
                let kebab: String = key
                    .split('/')
                    .next()
                    .unwrap_or(key)
                    .chars()
                    .flat_map(|c| c.is_ascii_uppercase().then_some('-').into_iter().chain([c.to_ascii_lowercase()]))
                    .collect();
                format!("/resources/{name}/metadata/annotations/conductor.dev~1{kebab}")
            }
        }
    }

    pub fn add(&mut self, code: Code, pointer: String, detail: String) {
        self.extend(code, vec![Fault::at(pointer, detail)]);
    }

    pub fn extend(&mut self, code: Code, faults: Vec<Fault>) {
        if !faults.is_empty() {
            self.code.get_or_insert(code);
        }
        self.faults.extend(faults);
    }

    pub fn none(&self) -> Result<(), Refusal> {
        match self.code {
            Some(code) => Err(Refusal::at(code, self.faults.clone())),
            None => Ok(()),
        }
    }
}

//! What the functions log: how long each run of terraform took is in no record.

use std::collections::BTreeMap;
use std::fs;

use conductor_runtime::log_file;
use serde_json::Value;

/// The lines from some moment on.
pub struct Journal {
    from: usize,
}

/// The times of the last run of a deployment, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Terraform's own.
    pub terraform: f64,
    /// Until engine and providers were there.
    pub toolchain: f64,
}

impl Journal {
    /// From now on.
    pub fn begin() -> Self {
        Self { from: fs::metadata(log_file()).map_or(0, |file| file.len() as usize) }
    }

    /// The runs, by deployment.
    pub fn runs(&self) -> BTreeMap<String, Run> {
        let content = fs::read(log_file()).expect("the functions' log can be read");
        let lines = String::from_utf8_lossy(content.get(self.from..).unwrap_or_default()).into_owned();
        lines.lines().filter_map(run).collect()
    }
}

fn run(line: &str) -> Option<(String, Run)> {
    let line: Value = serde_json::from_str(line).ok().filter(|line: &Value| line["outcome"] == "run")?;
    let run = Run { terraform: line["terraformMs"].as_f64()?, toolchain: line["toolchainMs"].as_f64()? };
    Some((line["deployment"].as_str()?.to_owned(), run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_a_line_that_says_so() {
        let line = r#"{"outcome":"run","deployment":"d-1","terraformMs":210,"toolchainMs":0,"prepareMs":9}"#;
        assert_eq!(run(line), Some(("d-1".to_owned(), Run { terraform: 210.0, toolchain: 0.0 })));
        for other in ["panicked at", r#"{"outcome":"operation","deployment":"d-1"}"#, r#"{"outcome":"run"}"#] {
            assert_eq!(run(other), None, "{other}");
        }
    }
}

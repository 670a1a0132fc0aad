//! The state through the backend itself, for backends that nothing else here can read.

use std::path::Path;

use thiserror::Error;
use tokio::sync::watch;

use crate::command::Command;
use crate::process::{Control, ProcessError, Status, Terraform};
use crate::state::{self, State, StateError};

/// Why a state could not be read.
#[derive(Debug, Error)]
pub enum PullError {
    /// Terraform could not be run.
    #[error("the state could not be pulled")]
    Process(#[from] ProcessError),
    /// Terraform says no.
    #[error("the state could not be pulled")]
    Failed {
        /// The end of its error output. May hold secrets: mask it.
        stderr: String,
    },
    /// What came is no state that can be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Reads the state of a work folder that is prepared or initialised; `None` where there is none. Takes no lock.
pub async fn pull(
    terraform: &Terraform,
    work: &Path,
    control: &mut watch::Receiver<Control>,
) -> Result<Option<State>, PullError> {
    let exit = terraform.run(&Command::StatePull, work, control, |_| {}).await?;
    if exit.status != Status::Succeeded {
        return Err(PullError::Failed { stderr: exit.stderr });
    }
    Ok(read(&exit.stdout.0)?)
}

/// Where there is no state, terraform prints nothing, or, on the HTTP backend, one without lineage (tried with 1.11.4).
fn read(content: &[u8]) -> Result<Option<State>, StateError> {
    if content.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    state::parse(content).map(|state| Some(state).filter(|state| !state.lineage.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_state_is_told_from_an_empty_one() {
        let check = |content: &str, expect: Option<u64>| {
            let state = read(content.as_bytes()).expect("it can be read");
            assert_eq!(state.map(|state| state.serial), expect, "{content}");
        };
        let state = |serial: u64, lineage: &str| {
            json!({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage,
                   "outputs": {}, "resources": [], "check_results": null})
            .to_string()
        };
        check("", None);
        check("\n", None);
        check(&state(0, ""), None);
        check(&state(2, "406da596"), Some(2));
        assert!(read(b"Error").is_err());
    }
}

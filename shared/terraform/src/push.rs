//! A state that terraform could not store, stored after all.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use crate::command::{Command, StatePush};
use crate::process::{Control, Exit, ProcessError, Status, Terraform};

/// How terraform 1.11.4 says that what is stored is not the state of before: it has another lineage, or a serial that is
/// as high or higher (each tried).
const REFUSALS: [&str; 2] = ["cannot import state with ", "cannot overwrite existing state with "];

/// Stores the state in `file` from a work folder that is prepared or initialised, under the lock. Over nothing else than
/// the state of before, or an empty one.
pub async fn push(
    terraform: &Terraform,
    work: &Path,
    file: &Path,
    lock_timeout: Duration,
    control: &mut watch::Receiver<Control>,
) -> Result<Exit, ProcessError> {
    let command = Command::StatePush(StatePush { file: file.to_owned(), force: false, lock_timeout });
    terraform.run(&command, work, control, |_| {}).await
}

/// Whether a push has failed because of what is stored.
pub fn is_refused(exit: &Exit) -> bool {
    exit.status != Status::Succeeded && REFUSALS.iter().any(|words| exit.stderr.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::RunSummary;
    use crate::process::Output;

    #[test]
    fn a_refusal_is_told_from_another_failure() {
        let check = |status: Status, stderr: &str, expect: bool| {
            let (summary, stdout, stopped) = (RunSummary::default(), Output::default(), Control::Run);
            let exit = Exit { status, summary, stderr: stderr.to_owned(), stdout, stopped };
            assert_eq!(is_refused(&exit), expect, "{stderr}");
        };
        let lineage =
            "Failed to write state: cannot import state with lineage \"a\" over unrelated state with lineage \"b\"\n";
        check(Status::Failed(1), lineage, true);
        check(
            Status::Failed(1),
            "Failed to write state: cannot import state with serial 1 over newer state with serial 2\n",
            true,
        );
        check(
            Status::Failed(1),
            "Failed to write state: cannot overwrite existing state with serial 2 with a different state that has the same serial\n",
            true,
        );
        check(
            Status::Failed(1),
            "Failed to persist state: Failed to upload state: giving up after 3 attempt(s)\n",
            false,
        );
        check(Status::Succeeded, lineage, false);
    }
}

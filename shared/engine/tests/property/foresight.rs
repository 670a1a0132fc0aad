//! Whether a dry run was right: what then happens is among what it said, and where it said several things it said what
//! decides. Pure.

use conductor_domain::Code;
use conductor_domain::deployment::DeploymentStatus;
use conductor_domain::operation::{Action, OperationStatus, Prospect};

use crate::model::{Answer, Operation, Seen};

/// What a dry run said.
#[derive(Debug)]
pub enum Foresight {
    /// That the request is refused.
    Refused(Code),
    /// What would happen.
    Told {
        /// To each operation.
        operations: Vec<Told>,
        /// That it cannot be planned.
        error: Option<Code>,
        /// True where it would have to wait for others.
        waits: bool,
    },
}

/// What a dry run said of an operation.
#[derive(Debug, Clone)]
pub struct Told {
    /// The name in the file, or of the resource.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// What may become of it.
    pub prospects: Vec<Prospect>,
    /// What decides between them.
    pub decided_by: Vec<String>,
}

/// What a dry run said that did not happen, or did not say that happened.
pub fn compare(foresight: &Foresight, answer: &Answer, seen: &Seen) -> Vec<String> {
    let (operations, error, waits) = match (foresight, answer) {
        (Foresight::Refused(foreseen), Answer::Refused(code)) if foreseen == code => return Vec::new(),
        (Foresight::Told { operations, error, waits }, Answer::Deployment(_)) => (operations, error, waits),
        _ => return vec![format!("foreseen: {foresight:?}; answered: {answer:?}")],
    };
    let found = match answer {
        Answer::Deployment(id) => seen.deployment(id),
        Answer::Done | Answer::Refused(_) => None,
    };
    let Some(deployment) = found else { return vec![format!("{answer:?} is not there")] };
    let mut wrong = Vec::new();
    if *waits {
        wrong.push(format!("{} was to wait, and there was nobody", deployment.id));
    }
    if deployment.operations.is_empty() && deployment.status == DeploymentStatus::Failed && *error != deployment.error {
        wrong.push(format!("{} cannot be planned: {:?}; foreseen: {error:?}", deployment.id, deployment.error));
    }
    let undecided = operations.iter().any(|told| told.action == Action::Acquire && told.prospects.len() > 1);
    let mut left = operations.clone();
    for operation in &deployment.operations {
        let fits = |told: &Told| {
            plain(&told.name) == plain(&operation.name)
                && told.action == operation.action
                && outcome(operation).is_some_and(|outcome| told.prospects.contains(&outcome))
        };
        match left.iter().position(fits) {
            Some(index) => {
                left.remove(index);
            }
            // What is let go of by something that is not decided is not known either.
            None if operation.action == Action::Release && undecided => {}
            None => wrong.push(format!("not foreseen: {operation:#?}; foreseen: {operations:#?}")),
        }
    }
    let open = operations.iter().filter(|told| told.prospects.len() > 1 && told.decided_by.is_empty());
    wrong.extend(open.map(|told| format!("nobody decides: {told:?}")));
    let empty = operations.iter().filter(|told| told.prospects.is_empty());
    wrong.extend(empty.map(|told| format!("nothing foreseen: {told:?}")));
    wrong
}

/// What became of an operation, in a dry run's words.
fn outcome(operation: &Operation) -> Option<Prospect> {
    match operation.status {
        OperationStatus::Succeeded => operation.effect.map(Prospect::from),
        OperationStatus::Failed => match operation.error {
            Some(Code::ParametersConflict | Code::TypeConflict | Code::ResourceExternal) => Some(Prospect::Conflict),
            _ => Some(Prospect::Failed),
        },
        OperationStatus::Cancelled | OperationStatus::TimedOut => Some(Prospect::Failed),
        OperationStatus::Skipped => Some(Prospect::Skipped),
        OperationStatus::Waiting | OperationStatus::Ready | OperationStatus::Running => None,
    }
}

/// A name without the part of an id that was made for it, which is another one in a dry run.
fn plain(name: &str) -> &str {
    let name = name.split('~').next().unwrap_or(name);
    match name.rsplit_once('.') {
        Some((stem, id)) if id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => stem,
        _ => name,
    }
}

//! The state × event tables, as they were reviewed: a transition that appears or goes is seen here.

use std::fmt::{Debug, Write};

use conductor_domain::deployment::{DeploymentEvent, DeploymentStatus, Ending, ending};
use conductor_domain::operation::{OperationEvent, OperationStatus};
use conductor_domain::resource::{ResourceEvent, ResourceStatus};

fn table<S: Debug + Copy + PartialEq, E: Debug + Copy>(
    states: &[S],
    events: &[E],
    after: impl Fn(S, E) -> Option<S>,
) -> String {
    let mut text = String::new();
    for state in states {
        for event in events {
            if let Some(next) = after(*state, *event) {
                let _ = writeln!(text, "{state:?} --{event:?}--> {next:?}");
            }
        }
        if events.iter().all(|event| after(*state, *event).is_none()) {
            let _ = writeln!(text, "{state:?} is final");
        }
    }
    text
}

#[test]
fn operations() {
    insta::assert_snapshot!(table(&OperationStatus::ALL, &OperationEvent::ALL, OperationStatus::after));
}

#[test]
fn deployments() {
    insta::assert_snapshot!(table(&DeploymentStatus::ALL, &DeploymentEvent::ALL, DeploymentStatus::after));
}

#[test]
fn resources() {
    insta::assert_snapshot!(table(&ResourceStatus::ALL, &ResourceEvent::ALL, ResourceStatus::after));
}

#[test]
fn a_final_status_takes_no_event() {
    for status in OperationStatus::ALL {
        let moves = OperationEvent::ALL.iter().any(|event| status.after(*event).is_some());
        assert_eq!(status.is_final(), !moves, "{status:?}");
    }
    for status in DeploymentStatus::ALL {
        let moves = DeploymentEvent::ALL.iter().any(|event| status.after(*event).is_some());
        assert_eq!(status.is_final(), !moves, "{status:?}");
    }
}

#[test]
fn a_deployment_ends_as_the_worst_of_its_operations() {
    use OperationStatus as S;
    let check = |statuses: &[S], expect: Ending| assert_eq!(ending(statuses.iter().copied()), expect, "{statuses:?}");
    check(&[], Ending::Succeeded);
    check(&[S::Succeeded], Ending::Succeeded);
    check(&[S::Succeeded, S::Cancelled], Ending::Cancelled);
    check(&[S::Cancelled, S::Failed, S::Skipped], Ending::Failed);
    check(&[S::Failed, S::TimedOut], Ending::TimedOut);
    check(&[S::TimedOut, S::Failed, S::Cancelled], Ending::TimedOut);
}

#[test]
fn the_docs_list_every_error_code_with_its_status() {
    let docs = include_str!("../../../docs/api.md");
    for code in conductor_domain::Code::ALL {
        let row = format!("| `{code}` | {} |", code.status());
        assert!(docs.contains(&row), "docs/api.md has no row {row}");
    }
}

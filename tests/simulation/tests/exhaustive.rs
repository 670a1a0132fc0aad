//! All interleavings of small worlds, and how many states they have.

use std::time::Instant;

use conductor_domain::deployment::Rollback;
use conductor_simulation::on_large_stack;
use conductor_simulation::small::{Small, explore};

#[expect(clippy::disallowed_methods, reason = "how fast a search is, is real time")]
fn now() -> Instant {
    Instant::now()
}

fn holds(what: &str, small: Small) {
    let began = now();
    match on_large_stack(|| explore(small)) {
        Ok(explored) => println!(
            "{what}: {} distinct states, {} paths of which {} came to rest, up to {} choices each, in {:.1} s",
            explored.states,
            explored.paths,
            explored.ends,
            explored.deepest,
            began.elapsed().as_secs_f64()
        ),
        Err(failure) => panic!("{what}: {failure}"),
    }
}

#[test]
fn two_workers_a_sweeper_and_a_cancel_in_every_order() {
    let small = Small { copies: 1, cancel: Some(Rollback::None), jump_before: &["terraform"], sweeps: 1 };
    holds("two workers, a sweeper, a cancel; a lease that ends while terraform is about to run", small);
}

#[test]
fn two_workers_with_the_same_message_and_a_cancel() {
    let small = Small { copies: 2, cancel: Some(Rollback::Created), jump_before: &[], sweeps: 0 };
    holds("two workers with the same message, a cancel", small);
}

#[test]
fn a_cancel_without_rollback_at_any_time() {
    let small = Small { copies: 2, cancel: Some(Rollback::None), jump_before: &[], sweeps: 0 };
    holds("two workers, a cancel without rollback", small);
}

#[test]
fn a_lease_that_ends_at_any_time() {
    let small = Small { copies: 1, cancel: None, jump_before: &["terraform", "commits"], sweeps: 1 };
    holds("two workers, a sweeper; a lease that ends at any time", small);
}

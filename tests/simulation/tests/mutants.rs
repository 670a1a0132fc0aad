//! Bugs planted in the engine one at a time: each is found, by an invariant that is about it.
#![cfg(feature = "mutants")]

use conductor_engine::mutant::Mutant;
use conductor_simulation::{NAMES, search_with, setting, threads};

/// Schedules in which a bug has to be found.
const SEEDS: u64 = 20_000;

fn bites(mutant: Mutant, expected: &[&str]) {
    assert!(expected.iter().all(|name| NAMES.contains(name)), "{expected:?} are not all invariants");
    let (first, seeds) = (setting("CONDUCTOR_SEED", 1), setting("CONDUCTOR_SEEDS", SEEDS));
    let found = search_with(first, seeds, threads(), || Mutant::plant(Some(mutant)));
    let Some(failure) = found.failure else { panic!("{mutant:?} is not found in {} schedules", found.schedules) };
    println!("{mutant:?}: {} in seed {}", failure.violation.invariant, failure.seed);
    assert!(expected.contains(&failure.violation.invariant), "{mutant:?} is found by another invariant\n{failure}");
}

macro_rules! mutants {
    ($($name:ident $mutant:ident: $($invariant:literal)+;)*) => {
        $(#[test]
        fn $name() {
            bites(Mutant::$mutant, &[$($invariant),+]);
        })*

        #[test]
        fn every_mutant_has_its_test() {
            let tested = [$(Mutant::$mutant),*];
            assert!(Mutant::ALL.iter().all(|mutant| tested.contains(mutant)));
        }
    };
}

mutants! {
    an_unchecked_version UncheckedVersion:
        "final_statuses_stay" "epochs_grow" "markers_mirror_open_operations" "leases_mirror_running_operations"
        "waiters_mirror_waiting_operations" "only_the_holder_moves_a_running_operation" "reservations_have_an_owner"
        "one_writer_of_a_state" "terraform_starts_under_its_lease";
    a_report_without_a_lease ReportWithoutLease:
        "only_the_holder_moves_a_running_operation" "leases_mirror_running_operations" "reservations_have_an_owner"
        "final_statuses_stay" "epochs_grow" "terraform_starts_under_its_lease" "one_writer_of_a_state";
    a_late_fence LateFence:
        "terraform_stops_with_its_lease";
    a_consumer_without_its_resource ConsumerWithoutResource:
        "consumers_are_counted";
    an_unchecked_guard UncheckedGuard:
        "candidates_are_guarded" "no_second_match";
    an_identity_freed_early IdentityFreedEarly:
        "identities_have_one_resource";
    a_settle_that_forgets_a_state SettleForgetsState:
        "everything_comes_to_rest";
    a_waiter_without_a_check WaiterWithoutCheck:
        "waiters_are_counted";
    terraform_before_dead_after TerraformBeforeDeadAfter:
        "one_writer_of_a_state" "the_cloud_is_what_the_records_say";
    a_release_that_ignores_dependents ReleaseIgnoresDependents:
        "nothing_used_is_destroyed";
}

//! Bugs that can be planted one at a time, to show that the simulation finds them. Without the feature `mutants` there are
//! none.

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A commit writes over whatever version of an operation is there.
    UncheckedVersion,
    /// A report is committed whoever has the lease now.
    ReportWithoutLease,
    /// Terraform is stopped 40 seconds after the last heartbeat, ten after the lease has ended.
    LateFence,
    /// A consumer is added without writing its resource.
    ConsumerWithoutResource,
    /// Whoever makes a candidate does not write the guard of its scope.
    UncheckedGuard,
    /// An identity is free as soon as its resource is about to be destroyed.
    IdentityFreedEarly,
    /// Settling takes an operation that timed out or was cancelled for one that goes on.
    SettleForgetsState,
    /// An operation waits for a resource without writing it.
    WaiterWithoutCheck,
    /// Terraform runs again as soon as a lease has ended.
    TerraformBeforeDeadAfter,
    /// The last user of a resource takes it along, although others depend on it.
    ReleaseIgnoresDependents,
}

#[cfg(feature = "mutants")]
mod planted {
    use std::cell::Cell;

    use super::Mutant;

    impl Mutant {
        /// All of them.
        pub const ALL: [Mutant; 10] = [
            Self::UncheckedVersion,
            Self::ReportWithoutLease,
            Self::LateFence,
            Self::ConsumerWithoutResource,
            Self::UncheckedGuard,
            Self::IdentityFreedEarly,
            Self::SettleForgetsState,
            Self::WaiterWithoutCheck,
            Self::TerraformBeforeDeadAfter,
            Self::ReleaseIgnoresDependents,
        ];

        /// Plants a bug for this thread, or none.
        pub fn plant(mutant: Option<Mutant>) {
            PLANTED.set(mutant);
        }

        pub(crate) fn lives(self) -> bool {
            PLANTED.get() == Some(self)
        }
    }

    thread_local! {
        static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
    }
}

#[cfg(not(feature = "mutants"))]
impl Mutant {
    pub(crate) const fn lives(self) -> bool {
        false
    }
}

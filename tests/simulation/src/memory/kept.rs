//! Looking at records without copying them.

use conductor_domain::candidate::{Candidate, CandidateGuard};
use conductor_domain::consumer::{Consumer, Holding};
use conductor_domain::deployment::Deployment;
use conductor_domain::lane::{Lane, LanePlace};
use conductor_domain::log::Chunk;
use conductor_domain::operation::{Lease, Operation};
use conductor_domain::resource::{Parameters, Resource, Waiter};
use conductor_engine::{Audited, Identified, Open, Record};

/// A type of record that is looked at.
pub trait Kept: Sized + 'static {
    /// The record as that type; `None` where it is another.
    fn of(record: &Record) -> Option<&Self>;
}

macro_rules! kept {
    ($($type:ident)*) => {
        $(impl Kept for $type {
            fn of(record: &Record) -> Option<&Self> {
                match record {
                    Record::$type(body) => Some(body),
                    _ => None,
                }
            }
        })*
    };
}

kept! {
    Audited Candidate CandidateGuard Chunk Consumer Deployment Holding Identified Lane LanePlace Lease Open Operation
    Parameters Resource Waiter
}

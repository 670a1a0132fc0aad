//! The time of day, which the functions' own records have too.

use jiff::Timestamp;

/// Now.
#[expect(clippy::disallowed_methods, reason = "what is measured is compared with the times in records")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// From one time to a later one, in milliseconds.
pub fn millis(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

//! Where it is kept: the engine's ports on DynamoDB, S3 and SQS, and the system's clock.
//!
//! The only crate that knows DynamoDB, S3 and SQS. It decides nothing.

mod aws;
mod clock;
mod failure;
mod objects;
mod queue;
mod records;
mod skew;

pub use aws::{AwsConfig, http_client, load_config};
pub use clock::SystemClock;
pub use objects::Bucket;
pub use queue::WakeQueue;
pub use records::Table;

use conductor_engine::port::{Meter, Ports};
use conductor_engine::{Settings, Timings};
use jiff::SignedDuration;

/// The ports of a deployed stack.
pub enum Aws {}

impl Ports for Aws {
    type Records = Table;
    type Vault = Bucket;
    type Artifacts = Bucket;
    type Queue = WakeQueue;
    type Clock = SystemClock;
}

/// An engine on AWS.
pub type Engine = conductor_engine::Engine<Aws>;

/// What an engine on AWS is made of.
#[derive(Debug, Clone)]
pub struct Names {
    /// The table.
    pub table: String,
    /// The URL of the wake-up queue.
    pub wake_queue_url: String,
    /// The URL of the queue of workers that are plain processes, where there are any.
    pub worker_queue_url: Option<String>,
    /// The URL of the queue of messages that were given up, for who counts them.
    pub dead_letter_queue_url: Option<String>,
    /// The bucket of Score files and sensitive values.
    pub vault_bucket: String,
    /// The bucket of toolchains and templates.
    pub artifact_bucket: String,
    /// The bucket of terraform states; only named, never read here.
    pub state_bucket: String,
}

/// Makes an engine from a loaded configuration.
pub fn engine(config: &AwsConfig, names: Names, timings: Timings) -> Engine {
    let s3 = aws::s3(config);
    let (workers, meter) = (names.worker_queue_url.is_some(), Meter::default());
    Engine::new(
        Table::new(aws_sdk_dynamodb::Client::new(config), names.table, meter.clone()),
        Bucket::new(s3.clone(), names.vault_bucket, meter.clone()),
        Bucket::new(s3, names.artifact_bucket, meter.clone()),
        WakeQueue::new(
            aws_sdk_sqs::Client::new(config),
            names.wake_queue_url,
            names.worker_queue_url,
            names.dead_letter_queue_url,
            meter.clone(),
        ),
        SystemClock::new(),
        Settings { state_bucket: names.state_bucket, workers, timings, meter },
    )
}

/// The timings that a configuration gives. `seconds` reads a variable; what it does not have is as in
/// [`Timings::default`].
pub fn timings<E>(seconds: impl Fn(&'static str) -> Result<Option<i64>, E>) -> Result<Timings, E> {
    let default = Timings::default();
    let read = |name: &'static str, default: SignedDuration| -> Result<SignedDuration, E> {
        Ok(seconds(name)?.map_or(default, SignedDuration::from_secs))
    };
    Ok(Timings {
        stop_before_deadline: read("STOP_BEFORE_DEADLINE_SECONDS", default.stop_before_deadline)?,
        worth_starting: read("WORTH_STARTING_SECONDS", default.worth_starting)?,
        session: read("SESSION_SECONDS", default.session)?,
        quarantine: read("QUARANTINE_SECONDS", default.quarantine)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_that_are_not_given_are_the_usual_ones() {
        let none = timings(|_| Ok::<_, ()>(None));
        assert_eq!(none, Ok(Timings::default()));
        let given = |name: &'static str| Ok::<_, ()>((name == "SESSION_SECONDS").then_some(60));
        let expect = Timings { session: SignedDuration::from_secs(60), ..Timings::default() };
        assert_eq!(timings(given), Ok(expect));
        let refused = timings(|name| if name == "QUARANTINE_SECONDS" { Err(name) } else { Ok(None) });
        assert_eq!(refused, Err("QUARANTINE_SECONDS"));
    }
}

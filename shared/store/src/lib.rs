//! Where it is kept: the engine's ports on DynamoDB, S3 and SQS, and the system's clock.
//!
//! The only crate that knows DynamoDB, S3 and SQS. It decides nothing.

mod aws;
mod clock;
mod objects;
mod queue;
mod records;
mod skew;

pub use aws::{AwsConfig, http_client, load_config};
pub use clock::SystemClock;
pub use objects::Bucket;
pub use queue::WakeQueue;
pub use records::Table;

use conductor_engine::port::Ports;

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
    /// The bucket of Score files and sensitive values.
    pub vault_bucket: String,
    /// The bucket of toolchains and templates.
    pub artifact_bucket: String,
    /// The bucket of terraform states; only named, never read here.
    pub state_bucket: String,
}

/// Makes an engine from a loaded configuration.
pub fn engine(config: &AwsConfig, names: Names) -> Engine {
    let s3 = aws::s3(config);
    Engine::new(
        Table::new(aws_sdk_dynamodb::Client::new(config), names.table),
        Bucket::new(s3.clone(), names.vault_bucket),
        Bucket::new(s3, names.artifact_bucket),
        WakeQueue::new(aws_sdk_sqs::Client::new(config), names.wake_queue_url),
        SystemClock::new(),
        conductor_engine::Settings { state_bucket: names.state_bucket },
    )
}

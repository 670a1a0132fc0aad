//! From an SQS event to the engine: a message that cannot be read goes to the dead-letter queue, one whose work failed
//! stays in the queue.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use conductor_engine::Causes;
use conductor_engine::port::Wake;
use conductor_store::{AwsConfig, Engine};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::LambdaEvent;

use crate::config::Config;
use crate::executor::Terraforming;

/// The most that a worker's clock may differ; leases and the fence leave this much room.
const MAX_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// What stays warm between invocations.
pub struct Handler {
    engine: Engine,
    executor: Terraforming,
    sqs: aws_sdk_sqs::Client,
    dead_letter_queue_url: String,
}

impl Handler {
    /// Clients and folders, made once.
    pub fn new(config: &Config, aws: &AwsConfig) -> Result<Self, std::io::Error> {
        Ok(Self {
            engine: conductor_store::engine(aws, config.names.clone()),
            executor: Terraforming::new(config, aws)?,
            sqs: aws_sdk_sqs::Client::new(aws),
            dead_letter_queue_url: config.dead_letter_queue_url.clone(),
        })
    }

    /// Refuses a machine whose clock is wrong: its leases and reservations would mean nothing to others.
    pub async fn check_clock(&self) -> Result<(), lambda_runtime::Error> {
        let skew = self.engine.records.clock_skew().await?;
        if skew.abs() > MAX_SKEW {
            return Err(
                format!("this machine's clock is {skew:#} away from the table's; {MAX_SKEW:#} are allowed").into()
            );
        }
        Ok(())
    }

    /// One invocation.
    pub async fn handle(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, lambda_runtime::Error> {
        let deadline = Timestamp::from_millisecond(event.context.deadline as i64)?;
        let mut failed = SqsBatchResponse::default();
        for message in event.payload.records {
            let id = message.message_id.clone().unwrap_or_default();
            if let Err(error) = self.one(message, deadline).await {
                tracing::error!(message = id, error = %Causes(error.as_ref()), "a wake-up failed");
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = id;
                failed.batch_item_failures.push(failure);
            }
        }
        Ok(failed)
    }

    async fn one(&self, message: SqsMessage, deadline: Timestamp) -> Result<(), lambda_runtime::Error> {
        let body = message.body.unwrap_or_default();
        match serde_json::from_str::<Wake>(&body) {
            Ok(wake) => Ok(self.engine.work(wake, &self.executor, deadline).await?),
            Err(error) => {
                tracing::error!(%error, "a message cannot be read, and goes to the dead-letter queue");
                let request = self.sqs.send_message().queue_url(&self.dead_letter_queue_url).message_body(body);
                request.send().await?;
                Ok(())
            }
        }
    }
}

//! From a message to the engine: one that cannot be read goes to the dead-letter queue, one whose work failed stays in
//! its queue.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use conductor_domain::operation::ExecutorKind;
use conductor_engine::Causes;
use conductor_engine::port::Wake;
use conductor_store::{AwsConfig, Engine};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Error, LambdaEvent};

use crate::config::Config;
use crate::executor::Terraforming;

/// The most that a worker's clock may differ; leases and the fence leave this much room.
const MAX_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// What stays warm between messages.
pub struct Handler {
    engine: Engine,
    executor: Terraforming,
    sqs: aws_sdk_sqs::Client,
    dead_letter_queue_url: String,
}

impl Handler {
    /// What the function and a worker begin with. Refuses a machine whose clock is wrong.
    pub async fn start(kind: ExecutorKind) -> Result<(Self, Config, AwsConfig), Error> {
        conductor_telemetry::start_logs();
        // Otherwise a child of terraform could read this process's keys from /proc.
        nix::sys::prctl::set_dumpable(false)?;
        let config = Config::from_env()?;
        let aws = conductor_store::load_config().await;
        let engine = conductor_store::engine(&aws, config.names.clone(), config.timings);
        let handler = Self {
            executor: Terraforming::new(&config, &aws, kind, engine.meter())?,
            engine,
            sqs: aws_sdk_sqs::Client::new(&aws),
            dead_letter_queue_url: config.dead_letter_queue_url.clone(),
        };
        handler.check_clock().await?;
        Ok((handler, config, aws))
    }

    /// The leases and reservations of a machine whose clock is wrong would mean nothing to others.
    async fn check_clock(&self) -> Result<(), Error> {
        let skew = self.engine.records.clock_skew().await?;
        if skew.abs() > MAX_SKEW {
            return Err(
                format!("this machine's clock is {skew:#} away from the table's; {MAX_SKEW:#} are allowed").into()
            );
        }
        Ok(())
    }

    /// One invocation of the function.
    pub async fn handle(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        let deadline = Timestamp::from_millisecond(event.context.deadline as i64)?;
        let mut failed = SqsBatchResponse::default();
        for message in event.payload.records {
            let id = message.message_id.unwrap_or_default();
            if let Err(error) = self.one(&message.body.unwrap_or_default(), Some(deadline)).await {
                tracing::error!(messageId = id, error = %Causes(error.as_ref()), "a wake-up failed");
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = id;
                failed.batch_item_failures.push(failure);
            }
        }
        Ok(failed)
    }

    /// Works one message, until the deadline if there is one.
    pub async fn one(&self, body: &str, deadline: Option<Timestamp>) -> Result<(), Error> {
        match serde_json::from_str::<Wake>(body) {
            Ok(wake) => Ok(self.engine.work(wake, &self.executor, deadline).await?),
            Err(error) => {
                tracing::error!(%error, "a message cannot be read, and goes to the dead-letter queue");
                let request = self.sqs.send_message().queue_url(&self.dead_letter_queue_url).message_body(body);
                request.send().await?;
                Ok(())
            }
        }
    }

    /// Stops what runs as at a deadline; nothing more is started.
    pub fn stop(&self) {
        self.engine.stop_working();
    }
}

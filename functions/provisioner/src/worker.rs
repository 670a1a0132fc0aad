//! The provisioner as a plain process: it polls the workers' queue itself, works one message at a time, and has no
//! deadline. More operations at once are more processes.
//!
//! A message is deleted once its work is done, as the function's are, and a failed one comes again after the queue's
//! visibility time. It also does when the work takes longer than that: whoever receives it then finds the operation
//! claimed, and does nothing. So nobody has to keep it hidden.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::Message;
use conductor_domain::operation::ExecutorKind;
use conductor_engine::Causes;
use conductor_store::AwsConfig;
use conductor_telemetry::ConfigError;
use lambda_runtime::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Instrument;

use crate::handler::Handler;

/// How long SQS waits for a message: its longest, in seconds.
const POLL: i32 = 20;
/// How long a poll may take.
const POLL_TIME: Duration = Duration::from_secs(30);
/// Time until the next poll, where one failed.
const PAUSE: Duration = Duration::from_secs(5);

/// Works messages until told to stop, or until it is spent; with `once`, one at most. A stop is as a deadline to what runs: it stores its state,
/// and another worker goes on with it.
pub async fn run(once: bool) -> Result<(), Error> {
    let mut stop = Stop::new()?;
    let (handler, config, aws) = Handler::start(ExecutorKind::Worker).await?;
    let url = config.names.worker_queue_url.ok_or(ConfigError::Missing("WORKER_QUEUE_URL"))?;
    tracing::info!(queue = url, "waiting for wake-ups");
    let queue = Queue::new(&aws, url);
    loop {
        let received = tokio::select! {
            () = stop.told() => return Ok(()),
            received = queue.receive() => received,
        };
        let message = match received {
            Ok(Some(message)) => message,
            Ok(None) if once => return Ok(()),
            Ok(None) => continue,
            Err(error) if once => return Err(error),
            Err(error) => {
                tracing::error!(error = %Causes(error.as_ref()), "the queue cannot be read");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let span = tracing::info_span!("message", requestId = message.message_id());
        let mut work = std::pin::pin!(handler.one(message.body().unwrap_or_default(), None).instrument(span));
        let (done, stopped) = tokio::select! {
            done = &mut work => (done, false),
            () = stop.told() => {
                tracing::info!("told to stop");
                handler.stop();
                (work.await, true)
            }
        };
        match &done {
            Ok(()) => queue.delete(&message).await,
            Err(error) => tracing::error!(error = %Causes(error.as_ref()), "a wake-up failed"),
        }
        // Whoever runs this process starts another one.
        if once || stopped || handler.is_spent() {
            return done;
        }
    }
}

/// Whoever runs this process tells it to stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}

/// The workers' queue.
struct Queue {
    sqs: Client,
    url: String,
}

impl Queue {
    fn new(aws: &AwsConfig, url: String) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(POLL_TIME).build();
        let config = aws_sdk_sqs::config::Builder::from(aws).timeout_config(timeouts).build();
        Self { sqs: Client::from_conf(config), url }
    }

    async fn receive(&self) -> Result<Option<Message>, Error> {
        let request = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(1).wait_time_seconds(POLL);
        Ok(request.send().await?.messages.unwrap_or_default().pop())
    }

    /// A message that stays comes again, and finds nothing to do.
    async fn delete(&self, message: &Message) {
        let request = self.sqs.delete_message().queue_url(&self.url);
        let request = request.set_receipt_handle(message.receipt_handle.clone());
        if let Err(error) = request.send().await {
            tracing::debug!(error = %Causes(&error), "a message was not deleted");
        }
    }
}

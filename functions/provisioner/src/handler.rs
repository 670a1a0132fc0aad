//! From a message to the engine: one that cannot be read goes to the dead-letter queue, one whose work failed stays in
//! its queue.
//!
//! A process that has run a template that is not trusted is spent: it starts nothing more, and ends once its message is
//! answered for (`docs/adr/0024-what-a-run-leaves.md`).

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use conductor_domain::operation::ExecutorKind;
use conductor_engine::port::Wake;
use conductor_engine::{Causes, Control, Executor, Job, JobOutcome, Log, Ran};
use conductor_store::{AwsConfig, Engine};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::tower::util::MapResponseLayer;
use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn};

use crate::config::Config;
use crate::executor::Terraforming;

/// The most that a worker's clock may differ; leases and the fence leave this much room.
const MAX_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// The function: works until there are no more messages, or until it is spent.
pub async fn serve() -> Result<(), Error> {
    let (handler, ..) = Handler::start(ExecutorKind::Lambda).await?;
    let handler = &handler;
    let service = service_fn(|event: LambdaEvent<SqsEvent>| handler.handle(event));
    // After the answer has been sent, and before the next message is asked for.
    let answered = MapResponseLayer::new(|()| {
        if handler.is_spent() {
            tracing::info!("this process has run what is not trusted, and ends");
            std::process::exit(0);
        }
    });
    Runtime::new(service).layer(TracingLayer::new()).layer(answered).run().await
}

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
        let config = Config::from_env()?;
        let aws = conductor_store::load_config().await;
        let engine = conductor_store::engine(&aws, config.names.clone(), config.timings);
        let handler = Self {
            executor: Terraforming::new(&config, &aws, kind, engine.meter()).await?,
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
            Ok(wake) => Ok(self.engine.work(wake, self, deadline).await?),
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

    /// Whether this process has run what is not trusted.
    pub fn is_spent(&self) -> bool {
        self.executor.is_spent()
    }
}

/// The engine's executor: that of this process, for as long as it is not spent.
impl Executor for Handler {
    type Prepared = <Terraforming as Executor>::Prepared;

    fn worker(&self) -> &str {
        self.executor.worker()
    }

    fn kind(&self) -> ExecutorKind {
        self.executor.kind()
    }

    async fn prepare(&self, job: &Job, log: &Log) -> Result<Self::Prepared, JobOutcome> {
        self.executor.prepare(job, log).await
    }

    async fn run(&self, job: &Job, prepared: Self::Prepared, control: Control) -> Ran {
        let ran = self.executor.run(job, prepared, control).await;
        if self.is_spent() {
            self.engine.stop_working();
        }
        ran
    }
}

//! Wake-ups on SQS: those for the function on one queue, those for plain workers on another.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use conductor_domain::operation::ExecutorKind;
use conductor_engine::port::{Depth, Depths, Meter, Queue, Service, StoreError, Wake};

use crate::failure::unavailable;

/// SQS's limit for a batch.
const BATCH: usize = 10;
/// SQS's limit for a delay.
const LONGEST_DELAY: i32 = 900;
/// What makes a [`Depth`], in the order of its fields.
const COUNTS: [QueueAttributeName; 3] = [
    QueueAttributeName::ApproximateNumberOfMessages,
    QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    QueueAttributeName::ApproximateNumberOfMessagesDelayed,
];

/// The queues of wake-ups.
#[derive(Debug, Clone)]
pub struct WakeQueue {
    sqs: Client,
    url: String,
    worker_url: Option<String>,
    dead_letter_url: Option<String>,
    meter: Meter,
}

impl WakeQueue {
    /// The function's queue, the workers' and the one of dead letters, by their URLs. Without workers the function gets
    /// all. Dead letters are only counted.
    pub fn new(
        sqs: Client,
        url: String,
        worker_url: Option<String>,
        dead_letter_url: Option<String>,
        meter: Meter,
    ) -> Self {
        Self { sqs, url, worker_url, dead_letter_url, meter }
    }

    fn url(&self, executor: ExecutorKind) -> &str {
        match (executor, &self.worker_url) {
            (ExecutorKind::Worker, Some(url)) => url,
            (ExecutorKind::Worker, None) | (ExecutorKind::Lambda, _) => &self.url,
        }
    }

    async fn depth(&self, url: &str) -> Result<Depth, StoreError> {
        let request = self.sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(COUNTS.to_vec()));
        let answer = request.send().await.map_err(unavailable)?;
        let count = |name: &QueueAttributeName| {
            let count = answer.attributes().and_then(|attributes| attributes.get(name));
            count.and_then(|count| count.parse().ok()).unwrap_or(0)
        };
        let [waiting, in_flight, delayed] = COUNTS.each_ref().map(count);
        Ok(Depth { waiting, in_flight, delayed })
    }

    async fn depth_if_there(&self, url: Option<&str>) -> Result<Option<Depth>, StoreError> {
        match url {
            Some(url) => self.depth(url).await.map(Some),
            None => Ok(None),
        }
    }

    async fn send_to(&self, url: &str, wakes: &[&Wake], after: Duration) -> Result<(), StoreError> {
        // Without one, the queue's own delay holds.
        let delay = Some(delay(after)).filter(|seconds| *seconds > 0);
        for part in wakes.chunks(BATCH) {
            let mut entries = Vec::with_capacity(part.len());
            for (index, wake) in part.iter().enumerate() {
                let body = serde_json::to_string(wake).map_err(unavailable)?;
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body);
                let entry = entry.set_delay_seconds(delay).build();
                entries.push(entry.map_err(unavailable)?);
            }
            self.meter.count(Service::Queue);
            let request = self.sqs.send_message_batch().queue_url(url).set_entries(Some(entries));
            let sent = request.send().await.map_err(unavailable)?;
            if !sent.failed().is_empty() {
                // The due index sends them again.
                tracing::warn!(failed = sent.failed().len(), "some wake-ups were not sent");
            }
        }
        Ok(())
    }
}

impl Queue for WakeQueue {
    async fn send(&self, wakes: &[Wake], after: Duration) -> Result<(), StoreError> {
        for executor in [ExecutorKind::Lambda, ExecutorKind::Worker] {
            let wakes: Vec<&Wake> = wakes.iter().filter(|wake| wake.executor == executor).collect();
            self.send_to(self.url(executor), &wakes, after).await?;
        }
        Ok(())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        for url in [Some(&self.url), self.worker_url.as_ref()].into_iter().flatten() {
            let request = self.sqs.get_queue_attributes().queue_url(url);
            request.send().await.map_err(unavailable)?;
        }
        Ok(())
    }

    async fn depths(&self) -> Result<Depths, StoreError> {
        let (wakes, workers, dead_letters) = futures::future::try_join3(
            self.depth(&self.url),
            self.depth_if_there(self.worker_url.as_deref()),
            self.depth_if_there(self.dead_letter_url.as_deref()),
        )
        .await?;
        let dead_letters = dead_letters.map(|depth| depth.waiting + depth.in_flight + depth.delayed);
        Ok(Depths { wakes, workers, dead_letters })
    }
}

/// In whole seconds, never sooner than asked: an early wake-up finds nothing to do.
fn delay(after: Duration) -> i32 {
    let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
    i32::try_from(seconds).map_or(LONGEST_DELAY, |seconds| seconds.min(LONGEST_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_never_shorter_than_asked_and_never_longer_than_sqs_allows() {
        let check = |after: Duration, expect: i32| assert_eq!(delay(after), expect, "{after:?}");
        check(Duration::ZERO, 0);
        check(Duration::from_millis(1), 1);
        check(Duration::from_secs(30), 30);
        check(Duration::from_millis(30_001), 31);
        check(Duration::from_secs(900), 900);
        check(Duration::from_secs(901), 900);
        check(Duration::MAX, 900);
    }
}

//! Wake-ups on SQS.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use conductor_engine::port::{Queue, StoreError, Wake};

/// SQS's limit for a batch.
const BATCH: usize = 10;

/// The queue of wake-ups.
#[derive(Debug, Clone)]
pub struct WakeQueue {
    sqs: Client,
    url: String,
}

impl WakeQueue {
    /// A queue by its URL.
    pub fn new(sqs: Client, url: String) -> Self {
        Self { sqs, url }
    }
}

impl Queue for WakeQueue {
    async fn send(&self, wakes: &[Wake]) -> Result<(), StoreError> {
        for part in wakes.chunks(BATCH) {
            let mut entries = Vec::with_capacity(part.len());
            for (index, wake) in part.iter().enumerate() {
                let body = serde_json::to_string(wake).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body).build();
                entries.push(entry.map_err(|error| StoreError::Unavailable(Box::new(error)))?);
            }
            let request = self.sqs.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
            let sent = request.send().await.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
            if !sent.failed().is_empty() {
                // The due index sends them again.
                tracing::warn!(failed = sent.failed().len(), "some wake-ups were not sent");
            }
        }
        Ok(())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let request = self.sqs.get_queue_attributes().queue_url(&self.url);
        request.send().await.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        Ok(())
    }
}

//! The log of a deployment: the lines that a run says are written in chunks while it runs ([`write`]), read together with
//! the steps of the records ([`read`]), and archived once the deployment has ended.
//!
//! A line is masked before it comes here.

mod position;
mod read;
mod write;

use conductor_domain::deployment::Deployment;
use conductor_domain::log::{Archive, ArchivePart, Chunk};
use conductor_domain::operation::Operation;
use conductor_domain::principal::Caller;

pub use position::{LogPosition, LogPositionError};
pub use read::{LogFilter, LogLine, LogRead, LogReader};
pub use write::Log;
pub(crate) use write::{Writer, shorten};

use crate::port::{Objects, Ports, Records, StoreError, Versioned};
use crate::record::Set;
use crate::{Engine, Error};

/// The size from which an object of an archive is full, in bytes of text: a reader fetches it whole.
const PART: usize = 512 * 1024;

/// The archive of a deployment of which nothing ran, so that there are no lines.
pub(crate) fn nothing_said(operations: &[Versioned<Operation>]) -> Option<Archive> {
    operations.iter().all(|operation| operation.attempts == 0).then(Archive::default)
}

impl<P: Ports> Engine<P> {
    /// Copies the lines of a deployment that has ended into the vault. Again: does nothing.
    pub(crate) async fn archive(&self, caller: &Caller, deployment: &Versioned<Deployment>) -> Result<(), Error> {
        if deployment.log.is_some() {
            return Ok(());
        }
        let operations: Vec<Versioned<Operation>> =
            self.list_all(caller.organisation(), &Set::Operations(deployment.id)).await?;
        let mut parts: Vec<ArchivePart> = Vec::new();
        let (mut chunks, mut size): (Vec<Chunk>, usize) = (Vec::new(), 0);
        for operation in operations.iter().filter(|operation| operation.attempts > 0) {
            let mut after: Option<String> = None;
            loop {
                let set = Set::Log(deployment.id, operation.number);
                let page = self.records.list(caller.organisation(), &set, after.as_deref(), None).await?;
                for record in page.records {
                    let chunk: Chunk = record.typed()?.value;
                    size += chunk.lines.iter().map(|line| line.message.len()).sum::<usize>();
                    chunks.push(chunk);
                    if size >= PART {
                        parts.extend(self.store_part(deployment, parts.len(), std::mem::take(&mut chunks)).await?);
                        size = 0;
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        parts.extend(self.store_part(deployment, parts.len(), chunks).await?);
        let mut draft = self.draft(caller, Some(deployment.id));
        draft.update(deployment, Deployment { log: Some(Archive { parts }), ..deployment.value.clone() });
        draft.commit().await
    }

    async fn store_part(
        &self,
        deployment: &Deployment,
        number: usize,
        chunks: Vec<Chunk>,
    ) -> Result<Option<ArchivePart>, StoreError> {
        let Some(last) = chunks.last().map(|chunk| (chunk.operation, chunk.epoch, chunk.last)) else { return Ok(None) };
        let object = format!("deployments/{}/log/{number}", deployment.id);
        let content = serde_json::to_vec(&chunks).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        self.vault.put_once(&object, content).await?;
        Ok(Some(ArchivePart { object, last }))
    }
}

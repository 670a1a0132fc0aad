//! One artifact, downloaded in parallel ranges and unpacked while it arrives. Memory is bounded: parts in flight, parts
//! waiting to be unpacked, nothing else.

use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{Artifact, Source, ToolchainError};

/// Size of a range.
const PART: u64 = 8 << 20;

/// Ranges asked for at once. One S3 connection gives some 90 MB/s, so eight fill a function's network.
const IN_FLIGHT: usize = 8;

/// Parts that may wait to be unpacked.
const WAITING: usize = 4;

/// Beyond the files' own size: headers and padding of the archive.
const ARCHIVE_OVERHEAD: u64 = 16 << 20;

/// Downloads, verifies and unpacks into `target`, which must not exist. On an error what is there is worthless.
pub(super) async fn unpack(artifact: &Artifact, source: &impl Source, target: PathBuf) -> Result<(), ToolchainError> {
    let (parts, received) = mpsc::channel(WAITING);
    let limit = artifact.unpacked_bytes.saturating_add(ARCHIVE_OVERHEAD);
    let unpacking = tokio::task::spawn_blocking(move || unpack_parts(received, &target, limit));
    let fetched = fetch(artifact, source, parts).await;
    let unpacked = unpacking.await;
    // A failed download cuts the archive off, which is no news about the archive.
    fetched?;
    let failed = |error| ToolchainError::Unpack { key: artifact.key.clone(), source: error };
    let actual = unpacked.map_err(io::Error::other).flatten().map_err(failed)?;
    if actual.eq_ignore_ascii_case(&artifact.sha256) {
        return Ok(());
    }
    Err(ToolchainError::Digest { key: artifact.key.clone(), expected: artifact.sha256.clone(), actual })
}

/// Sends the parts in order. Ends early, without an error, when nobody takes them any more.
async fn fetch(artifact: &Artifact, source: &impl Source, parts: mpsc::Sender<Bytes>) -> Result<(), ToolchainError> {
    let key = artifact.key.as_str();
    let mut ranges = ranges(artifact.bytes, PART).into_iter();
    let mut flights = FuturesOrdered::new();
    let mut lengths = std::collections::VecDeque::new();
    loop {
        while flights.len() < IN_FLIGHT {
            let Some(range) = ranges.next() else { break };
            lengths.push_back(range.end - range.start);
            flights.push_back(source.get_range(key, range));
        }
        let (Some(part), Some(wanted)) = (flights.next().await, lengths.pop_front()) else {
            return Ok(());
        };
        let part = part.map_err(|source| ToolchainError::Source { key: key.to_owned(), source })?;
        let got = part.len() as u64;
        if got != wanted {
            return Err(ToolchainError::Part { key: key.to_owned(), wanted, got });
        }
        if parts.send(part).await.is_err() {
            return Ok(());
        }
    }
}

fn ranges(bytes: u64, part: u64) -> Vec<Range<u64>> {
    (0..bytes.div_ceil(part)).map(|index| index * part..bytes.min((index + 1) * part)).collect()
}

/// Unpacks what is received, to its end, and gives its SHA-256.
fn unpack_parts(received: mpsc::Receiver<Bytes>, target: &Path, limit: u64) -> io::Result<String> {
    let mut parts = Parts { received, current: Bytes::new(), hasher: Sha256::new() };
    std::fs::create_dir_all(target)?;
    let decoder = zstd::stream::read::Decoder::new(&mut parts)?;
    tar::Archive::new(decoder.take(limit)).unpack(target)?;
    io::copy(&mut parts, &mut io::sink())?;
    Ok(hex::encode(parts.hasher.finalize()))
}

/// Received parts as one stream, hashed on the way.
struct Parts {
    received: mpsc::Receiver<Bytes>,
    current: Bytes,
    hasher: Sha256,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.received.blocking_recv() {
                Some(part) => {
                    self.hasher.update(&part);
                    self.current = part;
                }
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_everything_once() {
        assert_eq!(ranges(0, 4), Vec::<Range<u64>>::new());
        assert_eq!(ranges(4, 4), std::iter::once(0..4).collect::<Vec<_>>());
        assert_eq!(ranges(9, 4), [0..4, 4..8, 8..9]);
    }
}

//! Objects on S3: immutable, and dropped by the bucket's lifecycle while they are tagged `pending`.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use conductor_engine::port::{Meter, Objects, Service, StoreError};

use crate::failure::unavailable;

/// The tag by which the bucket's lifecycle rule knows what nobody has kept (`template.yaml`).
const PENDING: &str = "pending=true";

/// A bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    s3: Client,
    name: String,
    meter: Meter,
}

impl Bucket {
    /// A bucket by its name.
    pub fn new(s3: Client, name: String, meter: Meter) -> Self {
        Self { s3, name, meter }
    }
}

impl Objects for Bucket {
    async fn put(&self, name: &str, content: Vec<u8>) -> Result<(), StoreError> {
        self.meter.count(Service::Objects);
        let request = self.s3.put_object().bucket(&self.name).key(name).tagging(PENDING);
        request.body(ByteStream::from(content)).send().await.map_err(unavailable)?;
        Ok(())
    }

    async fn put_once(&self, name: &str, content: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        self.meter.count(Service::Objects);
        let request = self.s3.put_object().bucket(&self.name).key(name).if_none_match("*");
        match request.body(ByteStream::from(content.clone())).send().await {
            Ok(_) => Ok(content),
            // 412: there is one; 409: another put of the same name is under way.
            Err(SdkError::ServiceError(error)) if matches!(error.raw().status().as_u16(), 409 | 412) => {
                // Not there: what was in the way of this has failed.
                self.get(name).await?.ok_or_else(|| unavailable(SdkError::ServiceError(error)))
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn keep(&self, name: &str) -> Result<(), StoreError> {
        self.meter.count(Service::Objects);
        match self.s3.delete_object_tagging().bucket(&self.name).key(name).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchKey") => {
                tracing::error!(name, "an object that a record names is gone");
                Ok(())
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.meter.count(Service::Objects);
        match self.s3.get_object().bucket(&self.name).key(name).send().await {
            Ok(object) => Ok(Some(object.body.collect().await.map_err(unavailable)?.to_vec())),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }
}

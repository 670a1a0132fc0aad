//! The lock beside a state in the stack's own bucket, removed with the operation's own session, by id and ETag.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use conductor_domain::Code;
use conductor_domain::operation::Failure;
use conductor_terraform::lock;
use jiff::Timestamp;

use crate::fault::Fault;

/// The lock object of one operation.
pub struct LockObject {
    s3: Client,
    bucket: String,
    key: String,
}

impl LockObject {
    /// An object by its key.
    pub fn new(s3: Client, bucket: String, key: String) -> Self {
        Self { s3, bucket, key }
    }

    /// Removes the lock and answers with its id; `None` where there is none, or somebody else's in its place by now. With
    /// `since`, only a lock that was taken on this machine, then or later.
    pub async fn remove(&self, since: Option<Timestamp>) -> Result<Option<String>, Fault> {
        let found = match self.s3.get_object().bucket(&self.bucket).key(&self.key).send().await {
            Ok(found) => found,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(kept("read", &error)),
        };
        let etag = found.e_tag.clone();
        let content = found.body.collect().await.map_err(|_| {
            Fault::passes(Failure::new(Code::TerraformFailed, "the state's lock cannot be read: it broke off"))
        })?;
        let lock = lock::parse(&content.into_bytes());
        let taken = lock.as_ref().and_then(|lock| lock.created.parse::<Timestamp>().ok());
        let here = lock.as_ref().is_some_and(|lock| is_here(&lock.who));
        if since.is_some_and(|since| !here || taken.is_none_or(|taken| taken < since)) {
            return Ok(None);
        }
        let id = lock.map_or_else(|| "of an unknown format".to_owned(), |lock| lock.id);
        let request = self.s3.delete_object().bucket(&self.bucket).key(&self.key).set_if_match(etag);
        match request.send().await {
            Ok(_) => Ok(Some(id)),
            // 404: it is gone; 412: there is another one.
            Err(SdkError::ServiceError(answer)) if matches!(answer.raw().status().as_u16(), 404 | 412) => Ok(None),
            Err(error) => Err(kept("removed", &error)),
        }
    }
}

/// Whether a lock's `user@host` is this machine.
fn is_here(who: &str) -> bool {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
    host.is_some_and(|host| who.rsplit_once('@').is_some_and(|(_, theirs)| theirs == host))
}

fn kept<E: ProvideErrorMetadata>(what: &str, error: &SdkError<E>) -> Fault {
    let why = error.code().unwrap_or("no answer");
    Fault::of_call(Failure::new(Code::TerraformFailed, format!("the state's lock cannot be {what}: {why}")), error)
}

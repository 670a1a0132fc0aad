//! Idempotency keys: the same key with the same request is answered with what that request made.

use conductor_domain::principal::Caller;
use conductor_domain::{Code, Refusal};
use jiff::{SignedDuration, Timestamp};

use crate::commit::Draft;
use crate::port::{Clock, Ports, Versioned};
use crate::record::{Idempotency, Item};
use crate::{Engine, Error};

/// How long a key is kept.
const KEY_TIME: SignedDuration = SignedDuration::from_hours(24);

/// The key that a request came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key.
    pub key: String,
    /// SHA-256 of everything that makes the request the same one, hex.
    pub request: String,
}

impl IdempotencyKey {
    pub(crate) fn item(&self, caller: &Caller) -> Item {
        Item::Idempotency(caller.principal.id.clone(), self.key.clone())
    }

    /// What the same request made before; refused where the key was used for another.
    pub(crate) fn made<'u>(&self, used: Option<&'u Idempotency>, now: Timestamp) -> Result<Option<&'u str>, Refusal> {
        match used.filter(|used| used.expires_at > now) {
            None => Ok(None),
            Some(used) if used.request == self.request => Ok(Some(&used.made)),
            Some(_) => Err(Refusal::new(Code::IdempotencyKeyReused, Code::IdempotencyKeyReused.title())),
        }
    }
}

impl<P: Ports> Engine<P> {
    /// The record of a key, and what the same request made before.
    pub(crate) async fn repeated(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
    ) -> Result<(Option<Versioned<Idempotency>>, Option<String>), Error> {
        let Some(key) = key else { return Ok((None, None)) };
        let used: Option<Versioned<Idempotency>> = self.read(caller.organisation(), key.item(caller)).await?;
        let made = key.made(used.as_deref(), self.clock.now())?.map(str::to_owned);
        Ok((used, made))
    }
}

impl<P: Ports> Draft<'_, P> {
    /// Records what a request with a key made.
    pub(crate) fn remember(
        &mut self,
        key: Option<&IdempotencyKey>,
        used: Option<&Versioned<Idempotency>>,
        made: impl ToString,
    ) {
        let Some(IdempotencyKey { key, request }) = key.cloned() else { return };
        let (principal, expires_at) = (self.principal().to_owned(), self.now() + KEY_TIME);
        self.put(used, Idempotency { principal, key, request, made: made.to_string(), expires_at });
    }
}

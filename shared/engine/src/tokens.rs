//! Tokens: service tokens are made, listed and revoked by an administrator, sessions begun by who has signed in. Whoever
//! shows one is its principal. No error, log line or audit event has a secret or its hash.

use conductor_domain::access::{Grant, Right};
use conductor_domain::ids::{GenericUuid, TokenId};
use conductor_domain::principal::{Caller, Principal, PrincipalKind};
use conductor_domain::token::{self, Bearer, MAX_TOKENS, TOKEN_TIME, Token, TokenKind};
use conductor_domain::{Code, Refusal};
use jiff::{SignedDuration, Timestamp};

use crate::port::{Clock, Page, Ports, Records, Versioned};
use crate::query::List;
use crate::record::{Item, Listing, Subject, TokenRoll};
use crate::{Causes, Engine, Error};

/// Sessions that are read at once, of all principals.
const SESSIONS_PAGE: u32 = 100;

/// A service token that is asked for.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What people call it; its bearer is `token:<name>`.
    pub name: String,
    /// What its bearer may do.
    pub roles: Vec<Grant>,
    /// When it ends; in 90 days where nothing is said, in 366 at the latest.
    pub expires_at: Option<Timestamp>,
}

impl<P: Ports> Engine<P> {
    /// Makes a service token. The text beside it is what its bearer shows; it cannot be had again.
    ///
    /// # Errors
    ///
    /// [`Code::TokenInvalid`]; [`Code::TooManyTokens`].
    pub async fn create_token(&self, caller: &Caller, new: NewToken) -> Result<(Versioned<Token>, String), Error> {
        caller.demand(Right::Administer, None)?;
        let mut tries = self.tries();
        loop {
            match self.try_create_token(caller, &new).await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    async fn try_create_token(&self, caller: &Caller, new: &NewToken) -> Result<(Versioned<Token>, String), Error> {
        let organisation = caller.organisation();
        let now = self.clock.now();
        let expires_at = new.expires_at.unwrap_or(now + TOKEN_TIME);
        let faults = token::faults(&new.name, &new.roles, expires_at, now);
        if !faults.is_empty() {
            return Err(Refusal::at(Code::TokenInvalid, faults).into());
        }
        let read: Option<Versioned<TokenRoll>> = self.read(organisation, Item::TokenRoll).await?;
        let mut roll = read.as_deref().cloned().unwrap_or_default();
        roll.tokens.retain(|_, ends| *ends > now);
        if roll.tokens.len() >= MAX_TOKENS {
            let detail = format!("{MAX_TOKENS} service tokens have not expired; revoke one that is not needed");
            return Err(Refusal::new(Code::TooManyTokens, detail).into());
        }
        let id = TokenId::from_untyped_uuid(self.clock.fresh_id());
        let bearer = Bearer::new(organisation.clone(), id, self.clock.secret());
        let principal = Principal {
            id: format!("token:{}", new.name),
            kind: PrincipalKind::Token,
            organisation: organisation.clone(),
            roles: new.roles.clone(),
        };
        roll.tokens.insert(id, expires_at);
        let mut draft = self.draft(caller, None);
        draft.put(read.as_ref(), roll);
        let token = draft.create(Token {
            id,
            kind: TokenKind::Service,
            name: new.name.clone(),
            hash: bearer.hash(),
            principal,
            created_by: caller.principal.id.clone(),
            created_at: now,
            expires_at,
            last_used_at: None,
        });
        let roles: Vec<String> = new.roles.iter().map(ToString::to_string).collect();
        let detail = format!("{}: {}, until {expires_at}", new.name, roles.join(", "));
        draft.audit(Subject::Token(id), "token.created", Some(detail));
        draft.commit().await?;
        Ok((token, bearer.text()))
    }

    /// Service tokens that have not expired, newest first.
    pub async fn tokens(&self, caller: &Caller, after: Option<String>, limit: u32) -> Result<List<Token>, Error> {
        caller.demand(Right::Administer, None)?;
        let now = self.clock.now();
        self.filtered(caller, &Listing::Tokens, after, limit, |token: &Token| token.lives(now)).await
    }

    /// Reads a service token that has not expired.
    pub async fn token(&self, caller: &Caller, id: TokenId) -> Result<Versioned<Token>, Error> {
        caller.demand(Right::Administer, None)?;
        let found: Option<Versioned<Token>> = self.read(caller.organisation(), Item::Token(id)).await?;
        let now = self.clock.now();
        let found = found.filter(|token| token.kind == TokenKind::Service && token.lives(now));
        found.ok_or_else(|| Refusal::new(Code::TokenNotFound, format!("there is no token {id}")).into())
    }

    /// Ends a service token: whoever shows it from now on is nobody.
    pub async fn revoke_token(&self, caller: &Caller, id: TokenId) -> Result<(), Error> {
        let mut tries = self.tries();
        loop {
            let token = self.token(caller, id).await?;
            let read: Option<Versioned<TokenRoll>> = self.read(caller.organisation(), Item::TokenRoll).await?;
            let mut draft = self.draft(caller, None);
            draft.delete(&token);
            if let Some(read) = &read {
                let mut roll = read.value.clone();
                roll.tokens.remove(&id);
                draft.update(read, roll);
            }
            draft.audit(Subject::Token(id), "token.revoked", Some(token.name.clone()));
            match draft.commit().await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    /// Begins a session of the caller, who has signed in; the answer is what the browser shows from now on.
    pub async fn start_session(&self, caller: &Caller, lifetime: SignedDuration) -> Result<String, Error> {
        let id = TokenId::from_untyped_uuid(self.clock.fresh_id());
        let bearer = Bearer::new(caller.organisation().clone(), id, self.clock.secret());
        let (now, principal) = (self.clock.now(), caller.principal.clone());
        let mut draft = self.draft(caller, None);
        draft.create(Token {
            id,
            kind: TokenKind::Session,
            name: principal.id.clone(),
            hash: bearer.hash(),
            created_by: principal.id.clone(),
            principal,
            created_at: now,
            expires_at: now + lifetime,
            last_used_at: None,
        });
        draft.audit(Subject::Token(id), "session.started", Some(caller.principal.id.clone()));
        draft.commit().await?;
        Ok(bearer.text())
    }

    /// Signs out: ends the session that this text shows; nothing, where it shows none.
    pub async fn end_session(&self, secret: &str, request_id: &str) -> Result<(), Error> {
        let mut tries = self.tries();
        loop {
            let shown = self.shown(secret).await?;
            let Some(session) = shown.filter(|token| token.kind == TokenKind::Session) else { return Ok(()) };
            let caller = Caller { principal: session.principal.clone(), request_id: request_id.to_owned() };
            let mut draft = self.draft(&caller, None);
            draft.delete(&session);
            draft.audit(Subject::Token(session.id), "session.ended", Some(session.principal.id.clone()));
            match draft.commit().await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    /// Ends every session of a principal. The list that they are found in is eventually consistent: one that began within
    /// the last seconds may not be in it yet.
    pub async fn end_sessions(&self, caller: &Caller, principal: &str) -> Result<(), Error> {
        caller.demand(Right::Administer, None)?;
        let mut after: Option<String> = None;
        loop {
            let Page { records, next } = self
                .records
                .listing(caller.organisation(), &Listing::Sessions, after.as_deref(), SESSIONS_PAGE)
                .await?;
            for record in records {
                let listed: Versioned<Token> = record.typed()?;
                if listed.principal.id == principal {
                    self.end_listed(caller, listed.id).await?;
                }
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Ends a session that a list had, if it is still there.
    async fn end_listed(&self, caller: &Caller, id: TokenId) -> Result<(), Error> {
        let mut tries = self.tries();
        loop {
            let read: Option<Versioned<Token>> = self.read(caller.organisation(), Item::Token(id)).await?;
            let Some(session) = read else { return Ok(()) };
            let mut draft = self.draft(caller, None);
            draft.delete(&session);
            draft.audit(Subject::Token(id), "session.ended", Some(session.principal.id.clone()));
            match draft.commit().await {
                Err(Error::Conflict) => self.again(&mut tries).await?,
                done => return done,
            }
        }
    }

    /// Who shows this text; `None` where it is no token, of none that is there, or of one that has expired.
    pub async fn bearer(&self, secret: &str) -> Result<Option<Principal>, Error> {
        let Some(token) = self.shown(secret).await? else { return Ok(None) };
        let now = self.clock.now();
        if token.notes_use(now) {
            let caller = Caller::system(token.principal.organisation.clone(), "bearer");
            let mut draft = self.draft(&caller, None);
            draft.update(&token, Token { last_used_at: Some(now), ..token.value.clone() });
            match draft.commit().await {
                // Somebody else has noted it, or revoked the token at this moment.
                Ok(()) | Err(Error::Conflict) => {}
                Err(error) => tracing::warn!(token = %token.id, error = %Causes(&error), "its use was not noted"),
            }
        }
        Ok(Some(token.value.principal))
    }

    /// The same, without a note of its use: for who may not write.
    pub async fn bearer_unnoted(&self, secret: &str) -> Result<Option<Principal>, Error> {
        Ok(self.shown(secret).await?.map(|token| token.value.principal))
    }

    /// The token that a text shows. Where to look is all that is taken from the text.
    async fn shown(&self, text: &str) -> Result<Option<Versioned<Token>>, Error> {
        let Some(bearer) = Bearer::parse(text) else { return Ok(None) };
        let found: Option<Versioned<Token>> = self.read(&bearer.organisation, Item::Token(bearer.id)).await?;
        let now = self.clock.now();
        Ok(found.filter(|token| token.lives(now) && token.is_shown_by(&bearer)))
    }
}

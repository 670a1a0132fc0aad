//! Tokens: how a pipeline, or the browser of who has signed in, shows who it is. The secret is shown once; the record has
//! its hash.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::access::Grant;
use crate::code::Fault;
use crate::ids::{GenericUuid, TokenId};
use crate::name::OrganisationName;
use crate::principal::Principal;

/// How long a service token lives where nothing is said.
pub const TOKEN_TIME: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How long a service token may live.
pub const MAX_TOKEN_TIME: SignedDuration = SignedDuration::from_hours(366 * 24);
/// The most service tokens of an organisation that have not expired.
pub const MAX_TOKENS: usize = 100;
/// The longest name of a service token, in characters.
pub const MAX_TOKEN_NAME: usize = 100;
/// The most roles of a service token.
pub const MAX_GRANTS: usize = 100;
/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// How far the last use may lag behind: each note of it is a write.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// What a token's text begins with, so that who looks for secrets in files and logs can find one.
const PREFIX: &str = "cdr";

/// Whose token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenKind {
    /// A pipeline's: made, listed and revoked over the API.
    Service,
    /// A browser's, whose user has signed in.
    Session,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub kind: TokenKind,
    /// What people call it; of a session, its principal's id.
    pub name: String,
    /// SHA-256 of its secret, hex.
    pub hash: String,
    /// What its bearer is.
    pub principal: Principal,
    /// The principal who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last shown, at most ten minutes late; following a log that streams does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

impl Token {
    /// Whether it has not expired.
    pub fn lives(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Whether this text is its own: its id, its organisation, its secret. Takes as long for a wrong secret as for the
    /// right one.
    pub fn is_shown_by(&self, bearer: &Bearer) -> bool {
        let secret = bool::from(self.hash.as_bytes().ct_eq(bearer.hash().as_bytes()));
        secret && self.id == bearer.id && self.principal.organisation == bearer.organisation
    }

    /// Whether its use at this time has to be noted.
    pub fn notes_use(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|last| now.duration_since(last) >= NOTED_EVERY)
    }
}

/// What a bearer shows: `cdr_<organisation>_<id>_<secret>`. The organisation and the id say where its token lies, and
/// prove nothing. It cannot be printed by mistake: only [`Bearer::text`] has the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer {
    /// In whose records the token lies.
    pub organisation: OrganisationName,
    /// The token.
    pub id: TokenId,
    secret: String,
}

impl Bearer {
    /// Of a new token, with a secret that nobody can guess.
    pub fn new(organisation: OrganisationName, id: TokenId, secret: [u8; SECRET_BYTES]) -> Self {
        Self { organisation, id, secret: URL_SAFE_NO_PAD.encode(secret) }
    }

    /// Reads a text; `None` where it is none that [`Bearer::text`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        // A secret may have `_` in it, a name of an organisation never.
        let mut parts = text.splitn(4, '_');
        let (prefix, organisation, id, secret) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let secret: [u8; SECRET_BYTES] = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        let id = TokenId::from_untyped_uuid(Uuid::try_parse(id).ok()?);
        let bearer = Self::new(OrganisationName::new(organisation).ok()?, id, secret);
        (prefix == PREFIX && bearer.text() == text).then_some(bearer)
    }

    /// The text, secret and all.
    pub fn text(&self) -> String {
        format!("{PREFIX}_{}_{}_{}", self.organisation, self.id.into_untyped_uuid().simple(), self.secret)
    }

    /// SHA-256 of the secret, hex. It needs no salt: nobody can go through 2^256 secrets.
    pub fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.secret.as_bytes()))
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer({} of {})", self.id, self.organisation)
    }
}

/// What is wrong with a service token that is asked for.
pub fn faults(name: &str, roles: &[Grant], expires_at: Timestamp, now: Timestamp) -> Vec<Fault> {
    let mut faults = Vec::new();
    if name.is_empty() || name.chars().count() > MAX_TOKEN_NAME || name.chars().any(char::is_control) {
        let detail = format!("must be 1 to {MAX_TOKEN_NAME} characters, none of them a control one");
        faults.push(Fault::at("/name", detail));
    }
    if roles.is_empty() || roles.len() > MAX_GRANTS {
        faults.push(Fault::at("/roles", format!("must be 1 to {MAX_GRANTS} roles")));
    }
    let time = expires_at.duration_since(now);
    if time <= SignedDuration::ZERO || time > MAX_TOKEN_TIME {
        let days = MAX_TOKEN_TIME.as_hours() / 24;
        faults.push(Fault::at("/expiresAt", format!("must be in the future, and at most {days} days away")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::PrincipalKind;

    const ID: &str = "01890a5dac96774bbcceb302099a8057";

    fn organisation(name: &str) -> OrganisationName {
        name.parse().expect("a name")
    }

    fn bearer() -> Bearer {
        let id = TokenId::from_untyped_uuid(Uuid::try_parse(ID).expect("an id"));
        Bearer::new(organisation("acme-2"), id, [0xfb; SECRET_BYTES])
    }

    fn token() -> Token {
        let bearer = bearer();
        Token {
            id: bearer.id,
            kind: TokenKind::Service,
            name: "ci".to_owned(),
            hash: bearer.hash(),
            principal: Principal {
                id: "token:ci".to_owned(),
                kind: PrincipalKind::Token,
                organisation: bearer.organisation.clone(),
                roles: vec!["deployer:staging".parse().expect("a grant")],
            },
            created_by: "local".to_owned(),
            created_at: at("2026-01-01T00:00:00Z"),
            expires_at: at("2026-01-02T00:00:00Z"),
            last_used_at: None,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_text_says_where_its_token_lies() {
        let text = bearer().text();
        assert_eq!(text, format!("cdr_acme-2_{ID}_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s"));
        assert_eq!(Bearer::parse(&text), Some(bearer()));
    }

    #[test]
    fn no_other_text_is_read() {
        let text = bearer().text();
        let secret = text.rsplit_once(ID).expect("the id").1.to_owned();
        let changed = [
            String::new(),
            "cdr".to_owned(),
            "cdr___".to_owned(),
            text.to_uppercase(),
            text.replace("cdr_", "abc_"),
            text.replace("acme-2", "acme_2"),
            text.replace("acme-2", ""),
            text.replace(ID, &ID.to_uppercase()),
            text.replace(ID, "01890a5d-ac96-774b-bcce-b302099a8057"),
            text.replace(ID, "1"),
            text.replace(&secret, "_"),
            format!("{text}A"),
            format!("{text} "),
            format!(" {text}"),
            format!("{text}\n"),
            text.chars().take(text.len() - 1).collect(),
            // The last character has two bits that no byte needs.
            format!("{}t", text.strip_suffix('s').expect("its last character")),
        ];
        for other in changed {
            assert_ne!(other, text);
            assert_eq!(Bearer::parse(&other), None, "{other:?}");
        }
    }

    #[test]
    fn a_token_is_shown_by_its_own_text_alone() {
        let own = bearer();
        let mut secret = [0xfb; SECRET_BYTES];
        secret[SECRET_BYTES - 1] ^= 1;
        let check = |token: &Token, bearer: &Bearer, expect: bool| {
            assert_eq!(token.is_shown_by(bearer), expect, "{bearer:?}");
        };
        check(&token(), &own, true);
        check(&token(), &Bearer::new(own.organisation.clone(), own.id, secret), false);
        check(&token(), &Bearer { id: TokenId::from_untyped_uuid(Uuid::nil()), ..own.clone() }, false);
        check(&token(), &Bearer { organisation: organisation("other"), ..own.clone() }, false);
        check(&Token { hash: String::new(), ..token() }, &own, false);
    }

    #[test]
    fn neither_the_record_nor_a_printed_bearer_has_the_secret() {
        let (token, bearer) = (token(), bearer());
        let stored = serde_json::to_string(&token).expect("JSON");
        assert_eq!(serde_json::from_str::<Token>(&stored).expect("a token"), token);
        assert!(stored.contains(r#""roles":["deployer:staging"]"#), "{stored}");
        for text in [stored, format!("{token:?}"), format!("{bearer:?}")] {
            assert!(!text.contains(&bearer.secret), "{text}");
        }
        assert!(!format!("{bearer:?}").contains(&bearer.hash()));
    }

    #[test]
    fn a_token_lives_until_it_expires() {
        let check = |now: &str, expect: bool| assert_eq!(token().lives(at(now)), expect, "{now}");
        check("2026-01-01T23:59:59.999Z", true);
        check("2026-01-02T00:00:00Z", false);
    }

    #[test]
    fn a_use_is_noted_every_ten_minutes() {
        let check = |last: Option<&str>, expect: bool| {
            let token = Token { last_used_at: last.map(at), ..token() };
            assert_eq!(token.notes_use(at("2026-01-01T12:00:00Z")), expect, "{last:?}");
        };
        check(None, true);
        check(Some("2026-01-01T11:49:59Z"), true);
        check(Some("2026-01-01T11:50:00Z"), true);
        check(Some("2026-01-01T11:50:01Z"), false);
        // Another machine's clock may be ahead.
        check(Some("2026-01-01T12:00:01Z"), false);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let now = at("2026-01-01T00:00:00Z");
        let check = |name: &str, roles: usize, expires_at: Timestamp, expect: &[&str]| {
            let roles = vec!["viewer".parse().expect("a grant"); roles];
            let found = faults(name, &roles, expires_at, now);
            let found: Vec<&str> = found.iter().map(|fault| fault.pointer.as_str()).collect();
            assert_eq!(found, expect, "{name:?} {} {expires_at}", roles.len());
        };
        let soon = now + SignedDuration::from_secs(1);
        check("ci", 1, soon, &[]);
        check(&"ä".repeat(100), 100, now + MAX_TOKEN_TIME, &[]);
        check("", 1, soon, &["/name"]);
        check(&"a".repeat(101), 1, soon, &["/name"]);
        check("a\nb", 1, soon, &["/name"]);
        check("ci", 0, soon, &["/roles"]);
        check("ci", 101, soon, &["/roles"]);
        check("ci", 1, now, &["/expiresAt"]);
        check("ci", 1, now - SignedDuration::from_secs(1), &["/expiresAt"]);
        check("ci", 1, now + MAX_TOKEN_TIME + SignedDuration::from_secs(1), &["/expiresAt"]);
        check("", 0, Timestamp::MIN, &["/name", "/roles", "/expiresAt"]);
        check("ci", 1, Timestamp::MAX, &["/expiresAt"]);
    }
}

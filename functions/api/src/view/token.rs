//! Tokens, and who shows them.

use conductor_domain::access::Grant;
use conductor_domain::principal::{Principal, PrincipalKind};
use conductor_domain::token::Token;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A service token. Its secret is shown once, by who made it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenView {
    id: String,
    /// What people call it.
    name: String,
    /// What its bearer may do.
    #[schema(value_type = Vec<String>)]
    roles: Vec<Grant>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// By whom.
    created_by: String,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// When it was last shown, at most ten minutes late; following a log that streams does not count.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            id: token.id.to_string(),
            name: token.name,
            roles: token.principal.roles,
            created_at: token.created_at,
            created_by: token.created_by,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
        }
    }
}

/// A service token that was made at this moment.
#[derive(Serialize, ToSchema)]
pub struct NewTokenView {
    #[serde(flatten)]
    token_view: TokenView,
    /// What its bearer shows, as `Authorization: Bearer <token>`. It cannot be had again.
    token: String,
}

impl NewTokenView {
    /// The token with its secret.
    pub fn new(token: Token, secret: String) -> Self {
        Self { token_view: token.into(), token: secret }
    }
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct PrincipalView {
    /// Who, within the organisation: an ARN, an issuer and its subject, `token:<name>`, or `local`.
    id: String,
    /// What kind.
    kind: PrincipalKind,
    /// The tenant that it belongs to.
    organisation: String,
    /// What it may do: `viewer`, `deployer`, `platform`, `secretReader`, `admin`; `deployer:staging` in that
    /// environment alone.
    #[schema(value_type = Vec<String>)]
    roles: Vec<Grant>,
}

impl From<Principal> for PrincipalView {
    fn from(Principal { id, kind, organisation, roles }: Principal) -> Self {
        Self { id, kind, organisation: organisation.into(), roles }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_shown_without_its_hash_and_with_its_secret_once() {
        let stored = json!({
            "id": "01890a5d-ac96-774b-bcce-b302099a8057", "kind": "service", "name": "ci", "hash": "the-hash",
            "principal": {"id": "token:ci", "kind": "token", "organisation": "home", "roles": ["deployer:staging"]},
            "createdBy": "local", "createdAt": "2026-01-01T00:00:00Z", "expiresAt": "2026-01-02T00:00:00Z",
        });
        let token: Token = serde_json::from_value(stored).expect("a token");
        let mut expect = json!({
            "id": "01890a5d-ac96-774b-bcce-b302099a8057", "name": "ci", "roles": ["deployer:staging"],
            "createdBy": "local", "createdAt": "2026-01-01T00:00:00Z", "expiresAt": "2026-01-02T00:00:00Z",
            "lastUsedAt": null,
        });
        assert_eq!(serde_json::to_value(TokenView::from(token.clone())).expect("JSON"), expect);
        expect["token"] = json!("the-secret");
        let new = NewTokenView::new(token, "the-secret".to_owned());
        assert_eq!(serde_json::to_value(new).expect("JSON"), expect);
    }
}

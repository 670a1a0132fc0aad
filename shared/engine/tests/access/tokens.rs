//! Tokens: what their bearers are, until when, and who can find out anything about them.

use std::time::Duration;

use conductor_domain::Code;
use conductor_domain::ids::TokenId;
use conductor_domain::principal::{Caller, Principal, PrincipalKind};
use conductor_domain::token::{Bearer, MAX_TOKENS, Token};
use conductor_engine::port::{Clock, Records};
use conductor_engine::{AuditFilter, Entity, Error, Item, NewToken, Subject};
use futures::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};

use crate::common::{named, run};
use crate::memory::{World, caller};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn new(name: &str) -> NewToken {
    NewToken { name: name.to_owned(), roles: vec![named("deployer:staging"), named("viewer")], expires_at: None }
}

impl World {
    async fn create(&self, new: NewToken) -> Result<(Token, String), Code> {
        let created = self.engine.create_token(&caller("acme", &["admin"]), new).await;
        created.map(|(token, text)| (token.value, text)).map_err(code)
    }

    async fn bearer(&self, text: &str) -> Option<Principal> {
        self.engine.bearer(text).await.expect("an answer")
    }

    async fn revoke(&self, id: TokenId) -> Result<(), Code> {
        self.engine.revoke_token(&caller("acme", &["admin"]), id).await.map_err(code)
    }

    /// The names of the tokens that an administrator is shown.
    async fn listed(&self, organisation: &str) -> Vec<String> {
        let list = self.engine.tokens(&caller(organisation, &["admin"]), None, 100).await.expect("a list");
        list.items.into_iter().map(|token| token.value.name).collect()
    }

    async fn stored(&self, id: TokenId) -> Option<Token> {
        let found = self.engine.records.get_many(&named("acme"), &[Item::Token(id)]).await.expect("an answer");
        found.into_iter().flatten().find_map(|found| Token::from_record(found.value))
    }

    fn ends_in(&self, time: Duration) -> Option<Timestamp> {
        Some(self.engine.clock.now() + time)
    }
}

fn code(error: Error) -> Code {
    error.refusal().code
}

fn pipeline(name: &str) -> Principal {
    Principal {
        id: format!("token:{name}"),
        kind: PrincipalKind::Token,
        organisation: named("acme"),
        roles: vec![named("deployer:staging"), named("viewer")],
    }
}

fn user() -> Principal {
    Principal {
        id: "https://idp.example|42".to_owned(),
        kind: PrincipalKind::Oidc,
        organisation: named("acme"),
        roles: vec![named("platform")],
    }
}

#[test]
fn who_shows_a_service_token_is_its_principal_until_it_is_revoked() {
    run(|| async {
        let world = World::new();
        let (first, text) = world.create(new("ci")).await.expect("a token");
        let (second, other) = world.create(new("nightly")).await.expect("a token");
        assert_eq!(first.principal, pipeline("ci"));
        assert_eq!((first.created_by.as_str(), first.last_used_at), ("somebody", None));
        assert_eq!(first.expires_at.duration_since(first.created_at), SignedDuration::from_hours(90 * 24));
        assert_eq!(world.bearer(&text).await, Some(pipeline("ci")));
        assert_eq!(world.bearer(&other).await, Some(pipeline("nightly")));
        assert_eq!(world.listed("acme").await, ["nightly", "ci"]);
        assert_eq!(world.listed("other").await, Vec::<String>::new());

        assert_eq!(world.revoke(first.id).await, Ok(()));
        assert_eq!(world.bearer(&text).await, None);
        assert_eq!(world.revoke(first.id).await, Err(Code::TokenNotFound));
        assert_eq!(world.bearer(&other).await, Some(pipeline("nightly")));
        assert_eq!(world.listed("acme").await, ["nightly"]);
        let admin = caller("acme", &["admin"]);
        let read = world.engine.token(&admin, second.id).await.expect("it is there").value;
        assert_eq!((read.id, read.hash), (second.id, second.hash));
        assert_eq!(world.engine.token(&admin, first.id).await.map_err(code).err(), Some(Code::TokenNotFound));
    });
}

#[test]
fn a_token_ends_by_itself_and_is_nowhere_from_then_on() {
    run(|| async {
        let world = World::new();
        let soon = NewToken { expires_at: world.ends_in(HOUR), ..new("ci") };
        let (token, text) = world.create(soon).await.expect("a token");
        tokio::time::sleep(HOUR - MINUTE).await;
        assert_eq!(world.bearer(&text).await, Some(pipeline("ci")));
        tokio::time::sleep(MINUTE).await;
        assert_eq!(world.bearer(&text).await, None);
        assert_eq!(world.listed("acme").await, Vec::<String>::new());
        assert_eq!(world.revoke(token.id).await, Err(Code::TokenNotFound));
        // The store forgets it some time later.
        assert!(world.stored(token.id).await.is_some());
    });
}

#[test]
fn a_token_that_is_asked_for_wrongly_is_not_made() {
    run(|| async {
        let world = World::new();
        for wrong in [
            NewToken { name: String::new(), ..new("ci") },
            NewToken { roles: Vec::new(), ..new("ci") },
            NewToken { expires_at: world.ends_in(Duration::ZERO), ..new("ci") },
            NewToken { expires_at: world.ends_in(367 * DAY), ..new("ci") },
        ] {
            assert_eq!(world.create(wrong.clone()).await.map(|_| ()), Err(Code::TokenInvalid), "{wrong:?}");
        }
        assert_eq!(world.written(), Vec::<String>::new());
    });
}

#[test]
fn an_organisation_has_a_hundred_service_tokens_at_most_also_where_two_are_made_at_once() {
    run(|| async {
        let world = World::new();
        let short = NewToken { expires_at: world.ends_in(HOUR), ..new("short") };
        world.create(short).await.expect("a token");
        let mut last = None;
        for number in 2..MAX_TOKENS {
            last = Some(world.create(new(&number.to_string())).await.expect("a token").0.id);
        }
        let two = join_all(["a", "b"].map(|name| world.create(new(name)))).await;
        let refused: Vec<Code> = two.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused, [Code::TooManyTokens]);
        let other = world.engine.create_token(&caller("other", &["admin"]), new("ci")).await;
        assert!(other.is_ok(), "{:?}", other.err());

        assert_eq!(world.revoke(last.expect("a token")).await, Ok(()));
        world.create(new("in its place")).await.expect("a token");
        assert_eq!(world.create(new("one more")).await.err(), Some(Code::TooManyTokens));
        tokio::time::sleep(HOUR).await;
        world.create(new("in the place of what has expired")).await.expect("a token");
        assert_eq!(world.create(new("one more")).await.err(), Some(Code::TooManyTokens));
    });
}

#[test]
fn the_last_use_is_noted_every_ten_minutes() {
    run(|| async {
        let world = World::new();
        let (token, text) = world.create(new("ci")).await.expect("a token");
        world.written();
        for (wait, noted) in [(MINUTE, true), (9 * MINUTE, false), (MINUTE, true), (9 * MINUTE, false)] {
            tokio::time::sleep(wait).await;
            assert_eq!(world.bearer(&text).await, Some(pipeline("ci")));
            let (written, last) = (world.written(), world.stored(token.id).await.and_then(|token| token.last_used_at));
            assert_eq!(written.len(), usize::from(noted), "{written:?}");
            assert_eq!(last == Some(world.engine.clock.now()), noted);
        }
    });
}

#[test]
fn a_token_that_is_revoked_while_it_is_shown_does_not_come_back() {
    run(|| async {
        let world = World::new();
        // In every order of what the two read and write.
        for later in 0..4 {
            let (token, text) = world.create(new("ci")).await.expect("a token");
            let show = async {
                for _ in 0..later {
                    tokio::task::yield_now().await;
                }
                world.bearer(&text).await
            };
            let (revoked, _) = join(world.revoke(token.id), show).await;
            assert_eq!((revoked, world.stored(token.id).await), (Ok(()), None), "{later}");
            assert_eq!(world.bearer(&text).await, None);
        }
    });
}

#[test]
fn no_other_text_shows_a_token() {
    run(|| async {
        let world = World::new();
        let (token, text) = world.create(new("ci")).await.expect("a token");
        let (_, other) = world.create(new("nightly")).await.expect("a token");
        world.engine.create_token(&caller("other", &["admin"]), new("ci")).await.expect("a token");
        world.written();
        let secret = |text: &str| text.splitn(4, '_').nth(3).map(str::to_owned).expect("a secret");
        let wrong = [
            text.replace("cdr_acme_", "cdr_other_"),
            text.replace("cdr_acme_", "cdr_nobody_"),
            text.replace(&secret(&text), &secret(&other)),
            text.replace(&secret(&text), &token.hash),
            Bearer::new(named("acme"), token.id, [0; 32]).text(),
            token.id.to_string(),
            String::new(),
        ];
        for wrong in wrong {
            assert_ne!(wrong, text);
            assert_eq!(world.bearer(&wrong).await, None, "{wrong}");
            world.engine.end_session(&wrong, "r1").await.expect("nothing is done");
        }
        assert_eq!(world.written(), Vec::<String>::new());
    });
}

#[test]
fn a_session_is_whoever_signed_in_and_no_service_token() {
    run(|| async {
        let world = World::new();
        let time = SignedDuration::from_hours(8);
        let signed_in = Caller { principal: user(), request_id: "r1".to_owned() };
        let start = || async { world.engine.start_session(&signed_in, time).await.expect("a session") };
        let (first, second) = (start().await, start().await);
        assert_eq!(world.bearer(&first).await, Some(user()));
        assert_eq!(world.listed("acme").await, Vec::<String>::new());
        let id = Bearer::parse(&first).expect("it is a token's text").id;
        assert_eq!(world.revoke(id).await, Err(Code::TokenNotFound));
        let admin = caller("acme", &["admin"]);
        assert_eq!(world.engine.token(&admin, id).await.map_err(code).err(), Some(Code::TokenNotFound));

        world.engine.end_session(&first, "r1").await.expect("it is ended");
        assert_eq!(world.bearer(&first).await, None);
        assert_eq!(world.bearer(&second).await, Some(user()));
        world.engine.end_session(&first, "r1").await.expect("nothing is left to do");
        let trail = world.engine.audit_of(&admin, Subject::Token(id), &AuditFilter::default(), None, 10).await;
        let (events, _) = trail.expect("a trail");
        let told: Vec<_> = events.iter().map(|event| (event.action.as_str(), event.principal.as_str())).collect();
        assert_eq!(told, [("session.started", user().id.as_str()), ("session.ended", user().id.as_str())]);
        tokio::time::sleep(8 * HOUR).await;
        assert_eq!(world.bearer(&second).await, None);
    });
}

#[test]
fn an_administrator_ends_all_sessions_of_a_principal_and_nothing_else() {
    run(|| async {
        let world = World::new();
        let time = SignedDuration::from_hours(8);
        let start = async |principal| {
            let caller = Caller { principal, request_id: "r1".to_owned() };
            world.engine.start_session(&caller, time).await.expect("one")
        };
        let other = Principal { id: "https://idp.example|43".to_owned(), ..user() };
        // More than a page of others before and between.
        let mut others = Vec::new();
        let first = start(user()).await;
        for _ in 0..120 {
            others.push(start(other.clone()).await);
        }
        let second = start(user()).await;
        // A service token of that name is no session.
        let (_, token) = world.create(new(&user().id)).await.expect("a token");
        let stranger = caller("other", &["admin"]);
        world.engine.end_sessions(&stranger, &user().id).await.expect("there are none");
        assert_eq!(world.bearer(&first).await, Some(user()));

        let admin = caller("acme", &["admin"]);
        world.engine.end_sessions(&admin, &user().id).await.expect("they are ended");
        for ended in [&first, &second] {
            assert_eq!(world.bearer(ended).await, None);
        }
        for kept in &others {
            assert_eq!(world.bearer(kept).await, Some(other.clone()));
        }
        assert!(world.bearer(&token).await.is_some());
        for text in [&first, &second] {
            let of = Subject::Token(Bearer::parse(text).expect("it is a token's text").id);
            let trail = world.engine.audit_of(&admin, of, &AuditFilter::default(), None, 10).await;
            let (events, _) = trail.expect("a trail");
            let told: Vec<_> = events.iter().map(|event| (event.action.as_str(), event.detail.as_deref())).collect();
            let user = user();
            let whose = Some(user.id.as_str());
            assert_eq!(told, [("session.started", whose), ("session.ended", whose)]);
        }
        world.written();
        world.engine.end_sessions(&admin, &user().id).await.expect("nothing is left to do");
        assert_eq!(world.written(), Vec::<String>::new());
    });
}

#[test]
fn a_session_that_is_ended_while_it_is_shown_does_not_come_back() {
    run(|| async {
        let world = World::new();
        let (time, admin) = (SignedDuration::from_hours(8), caller("acme", &["admin"]));
        // In every order of what the two read and write.
        for later in 0..4 {
            let caller = Caller { principal: user(), request_id: "r1".to_owned() };
            let text = world.engine.start_session(&caller, time).await.expect("a session");
            let show = async {
                for _ in 0..later {
                    tokio::task::yield_now().await;
                }
                world.bearer(&text).await
            };
            let (ended, _) = join(world.engine.end_sessions(&admin, &user().id), show).await;
            ended.expect("it is ended");
            assert_eq!(world.bearer(&text).await, None, "{later}");
        }
    });
}

#[test]
fn who_may_not_write_sees_whose_a_token_is_and_notes_nothing() {
    run(|| async {
        let world = World::new();
        let (token, text) = world.create(new("ci")).await.expect("a token");
        world.written();
        assert_eq!(world.engine.bearer_unnoted(&text).await.expect("an answer"), Some(pipeline("ci")));
        assert_eq!(world.written(), Vec::<String>::new());
        assert_eq!(world.revoke(token.id).await, Ok(()));
        assert_eq!(world.engine.bearer_unnoted(&text).await.expect("an answer"), None);
    });
}

#[test]
fn signing_out_does_not_end_a_service_token() {
    run(|| async {
        let world = World::new();
        let (_, text) = world.create(new("ci")).await.expect("a token");
        world.engine.end_session(&text, "r1").await.expect("nothing is done");
        assert_eq!(world.bearer(&text).await, Some(pipeline("ci")));
    });
}

#[test]
fn the_trail_tells_who_made_and_revoked_a_token_and_nothing_of_its_secret() {
    run(|| async {
        let world = World::new();
        let (token, text) = world.create(new("ci")).await.expect("a token");
        let secret = text.splitn(4, '_').nth(3).expect("a secret");
        let stored = world.stored(token.id).await.expect("it is there");
        assert!(!serde_json::to_string(&stored).expect("JSON").contains(secret));
        assert_eq!(world.revoke(token.id).await, Ok(()));
        let admin = caller("acme", &["admin"]);
        let of = Subject::Token(token.id);
        let trail = world.engine.audit_of(&admin, of, &AuditFilter::default(), None, 10).await;
        let (events, _) = trail.expect("a trail");
        let told: Vec<(&str, &str, &str)> = events
            .iter()
            .map(|event| (event.principal.as_str(), event.action.as_str(), event.detail.as_deref().unwrap_or_default()))
            .collect();
        let expect = [
            ("somebody", "token.created", "ci: deployer:staging, viewer, until 2026-04-01T00:00:00Z"),
            ("somebody", "token.revoked", "ci"),
        ];
        assert_eq!(told, expect);
        assert!(events.iter().all(|event| event.noun == "token" && event.subject == token.id.to_string()));
        let all = serde_json::to_string(&events).expect("JSON");
        assert!(!all.contains(secret) && !all.contains(&token.hash), "{all}");
    });
}

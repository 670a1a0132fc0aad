//! Every request × every role: who has the right is let through, everybody else is refused, and nothing is written.

use conductor_domain::Code;
use conductor_domain::access::Right;
use conductor_domain::environment::EnvironmentSpec;
use conductor_domain::name::EnvironmentName;
use conductor_engine::{Error, Precondition};
use serde_json::json;

use crate::common::{named, run};
use crate::memory::{World, caller, refusal};
use crate::request::{ELSEWHERE, HERE, Known, REQUESTS, Request, consumer, furnished};

const ROLES: [&str; 9] = [
    "viewer",
    "deployer",
    "deployer:staging",
    "deployer:production",
    "platform",
    "secretReader",
    "secretReader:staging",
    "secretReader:production",
    "admin",
];

/// The roles that may make a request of what is in the environment `staging`.
fn allowed(right: Right) -> &'static [&'static str] {
    match right {
        Right::View => &ROLES,
        Right::Deploy => &["deployer", "deployer:staging", "admin"],
        Right::ReadSecrets => &["secretReader", "secretReader:staging", "admin"],
        Right::ManagePlatform => &["platform", "admin"],
        Right::Administer => &["admin"],
    }
}

/// Where the right is asked for.
fn place(right: Right) -> Option<EnvironmentName> {
    matches!(right, Right::Deploy | Right::ReadSecrets).then(|| named(HERE))
}

#[test]
fn who_does_not_have_the_right_is_refused_and_nothing_is_written() {
    run(|| async {
        for (request, right) in REQUESTS {
            let (world, known) = furnished().await;
            let expect = right.refused(place(*right).as_ref());
            let refused = ROLES.iter().filter(|role| !allowed(*right).contains(role)).map(|role| vec![*role]);
            for roles in refused.chain([Vec::new()]) {
                let outcome = request.perform(&world, &known, &caller("acme", &roles)).await;
                assert_eq!(refusal(outcome, (request, &roles)), expect, "{request:?} as {roles:?}");
                assert_eq!(world.written(), Vec::<String>::new(), "{request:?} as {roles:?}");
            }
        }
    });
}

#[test]
fn who_has_the_right_is_let_through() {
    run(|| async {
        for (request, right) in REQUESTS {
            for role in allowed(*right) {
                let (world, known) = furnished().await;
                let outcome = request.perform(&world, &known, &caller("acme", &[*role])).await;
                assert!(outcome.is_ok(), "{request:?} as {role}: {outcome:?}");
                let reads = [Request::DryRun, Request::DryRunTeardown, Request::ListTokens, Request::GetToken];
                assert_eq!(world.written().is_empty(), reads.contains(request), "{request:?} as {role}");
            }
        }
    });
}

#[test]
fn what_is_not_there_is_not_found_whoever_asks() {
    use Request as R;
    run(|| async {
        let world = World::new();
        for request in [
            R::DeleteEnvironment,
            R::DeleteApplication,
            R::ChangeTemplateVersion,
            R::PutPool,
            R::DeletePool,
            R::ChangeResource,
            R::Teardown,
            R::DryRunTeardown,
            R::Retry,
            R::Cancel,
            R::RemoveConsumer,
            R::DeleteResource,
            R::ReadSecret,
        ] {
            let outcome = request.perform(&world, &Known::nothing(), &caller("acme", &["viewer"])).await;
            let refusal = refusal(outcome, request);
            assert_eq!(refusal.code.status(), 404, "{request:?}: {refusal}");
        }
        assert_eq!(world.written(), Vec::<String>::new());
    });
}

#[test]
fn an_administrator_of_another_organisation_neither_finds_nor_changes_anything() {
    use Request as R;
    run(|| async {
        // These name nothing of another organisation; what they make or end is their own.
        let own = [
            R::PutEnvironment,
            R::PutApplication,
            R::Publish,
            R::Register,
            R::CreateToken,
            R::ListTokens,
            R::EndSessions,
        ];
        for (request, _) in REQUESTS {
            let (world, known) = furnished().await;
            let stranger = caller("other", &["admin"]);
            let spec = EnvironmentSpec::default();
            world
                .engine
                .put_environment(&stranger, &named(HERE), spec, &Precondition::None)
                .await
                .expect("an environment");
            world.written();
            let outcome = request.perform(&world, &known, &stranger).await;
            let written = world.written();
            match outcome {
                Ok(()) => assert!(own.contains(request), "{request:?} is done"),
                Err(Error::Refused(refusal)) => {
                    assert!(!own.contains(request), "{request:?}: {refusal}");
                    assert!(matches!(refusal.code.status(), 404 | 422), "{request:?}: {refusal}");
                }
                Err(error) => panic!("{request:?}: {error}"),
            }
            assert!(written.iter().all(|what| what != "acme"), "{request:?}: {written:?}");
        }
    });
}

#[test]
fn whoever_sees_a_resource_reads_what_is_not_sensitive_of_it() {
    run(|| async {
        let (world, known) = furnished().await;
        let outcome = world.engine.output(&caller("acme", &["viewer"]), known.used, "host").await;
        assert_eq!(outcome.expect("it is shown"), (json!("db.local"), false));
        assert_eq!(world.written(), Vec::<String>::new());
    });
}

#[test]
fn a_consumer_of_another_environment_takes_the_right_in_both() {
    run(|| async {
        let (world, known) = furnished().await;
        let engine = &world.engine;
        let new = || consumer("web", ELSEWHERE);
        for (role, missing) in [("deployer:staging", ELSEWHERE), ("deployer:production", HERE)] {
            let added = engine.add_consumer(&caller("acme", &[role]), known.used, new(), None).await;
            assert_eq!(refusal(added, role), Right::Deploy.refused(Some(&named(missing))));
        }
        let both = caller("acme", &["deployer:staging", "deployer:production"]);
        let (added, _) = engine.add_consumer(&both, known.used, new(), None).await.expect("it is added");
        world.written();
        for role in ["deployer:staging", "deployer:production"] {
            let caller = caller("acme", &[role]);
            let removed = engine.remove_consumer(&caller, known.used, &added.key.id(), false).await;
            assert_eq!(refusal(removed, role).code, Code::Forbidden);
        }
        assert_eq!(world.written(), Vec::<String>::new());
        let removed = engine.remove_consumer(&both, known.used, &added.key.id(), false).await;
        assert_eq!(removed.expect("it is removed"), None);
    });
}

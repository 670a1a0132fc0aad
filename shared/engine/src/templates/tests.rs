use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use conductor_domain::name::OrganisationName;
use conductor_domain::template::Output;
use conductor_domain::template::policy::{Rule, What};
use conductor_domain::token::SECRET_BYTES;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::imagine::{Collected, Nothing, ObjectsOver, Overlay};
use crate::query::AuditFilter;
use crate::{Settings, Timings};

/// Ports in memory.
pub(crate) enum Memory {}

impl Ports for Memory {
    type Records = Overlay<Nothing>;
    type Vault = ObjectsOver<Nothing>;
    type Artifacts = ObjectsOver<Nothing>;
    type Queue = Collected;
    type Clock = Counting;
}

/// A clock that stands still and never gives an id twice.
#[derive(Clone, Default)]
pub(crate) struct Counting(std::sync::Arc<AtomicU64>);

impl Clock for Counting {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {}

    fn fresh_id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)))
    }

    fn chance(&self) -> f64 {
        0.0
    }

    fn secret(&self) -> [u8; SECRET_BYTES] {
        [0; SECRET_BYTES]
    }
}

pub(crate) fn engine() -> Engine<Memory> {
    let settings = Settings {
        state_bucket: String::new(),
        workers: false,
        timings: Timings::default(),
        meter: Default::default(),
    };
    let nothing = || ObjectsOver::new(Nothing);
    Engine::new(Overlay::new(Nothing), nothing(), nothing(), Collected::default(), Counting::default(), settings)
}

pub(crate) fn caller() -> Caller {
    let organisation: OrganisationName = "acme".parse().expect("a name");
    Caller::system(organisation, "test")
}

fn new(version: &str, uses: &[What]) -> NewVersion {
    let uses = (1..).zip(uses).map(|(line, what)| Use {
        what: what.clone(),
        file: "main.tf".to_owned(),
        line,
        detail: format!("{what:?}"),
    });
    NewVersion {
        template: TemplateName::new("note", None),
        version: version.parse().expect("a version"),
        archive: version.as_bytes().to_vec(),
        sha256: format!("sha-{version}"),
        interface: Interface::default(),
        engine: "terraform".to_owned(),
        engine_version: String::new(),
        uses: uses.collect(),
    }
}

/// What became of publishing a version that does this: the findings that it keeps, or those that it is refused for.
async fn published(engine: &Engine<Memory>, version: &str, uses: &[What]) -> Result<Vec<(Rule, u32)>, Vec<String>> {
    match engine.publish(&caller(), new(version, uses)).await {
        Ok(put) => Ok(put.record.value.findings.iter().map(|finding| (finding.rule, finding.line)).collect()),
        Err(Error::Refused(refusal)) => {
            assert_eq!(refusal.code, Code::TemplatePolicy, "{refusal}");
            Err(refusal.faults.into_iter().map(|fault| fault.pointer).collect())
        }
        Err(error) => panic!("{error}"),
    }
}

/// Why a version is refused that says so much of an output, and does this.
async fn refusal_of_a_description(engine: &Engine<Memory>, bytes: usize, uses: &[What]) -> Option<Code> {
    let mut new = new("1.0.0", uses);
    let output = Output { sensitive: false, description: Some("x".repeat(bytes)) };
    new.interface.outputs.insert("name".to_owned(), output);
    engine.publish(&caller(), new).await.err().map(|error| error.refusal().code)
}

async fn says(engine: &Engine<Memory>, policy: Value) {
    let spec: PolicySpec = serde_json::from_value(policy).expect("a policy");
    engine.put_template_policy(&caller(), spec, &Precondition::None).await.expect("it is taken");
}

#[tokio::test]
async fn what_the_policy_denies_is_not_published_and_its_archive_not_kept() {
    let engine = engine();
    let uses = [What::HttpData, What::LocalExec, What::Files];
    let refused = published(&engine, "1.0.0", &uses).await;
    assert_eq!(refused, Err(vec!["main.tf:2".to_owned(), "main.tf:3".to_owned()]));
    let version = "1.0.0".parse().expect("a version");
    let missing = engine.template_version(&caller(), &TemplateName::new("note", None), &version).await;
    assert!(matches!(missing, Err(Error::Refused(refusal)) if refusal.code == Code::TemplateNotFound));
    assert_eq!(engine.artifacts.get(&archive_name("sha-1.0.0")).await.expect("the bucket answers"), None);

    says(&engine, json!({"rules": {"localExec": "allow", "files": "allow"}})).await;
    assert_eq!(published(&engine, "1.0.0", &uses).await, Ok(vec![(Rule::HttpData, 1)]));
    let kept = engine.artifacts.get(&archive_name("sha-1.0.0")).await.expect("the bucket answers");
    assert_eq!(kept, Some(b"1.0.0".to_vec()));
}

#[tokio::test]
async fn what_would_not_fit_into_the_record_is_refused_and_its_archive_not_kept() {
    let engine = engine();
    let too_large = Some(Code::TemplateInterfaceTooLarge);
    assert_eq!(refusal_of_a_description(&engine, MAX_VERSION, &[]).await, too_large);
    let warned = vec![What::HttpData; MAX_FINDINGS];
    assert_eq!(refusal_of_a_description(&engine, MAX_VERSION - 4096, &warned).await, too_large);
    assert_eq!(engine.artifacts.get(&archive_name("sha-1.0.0")).await.expect("the bucket answers"), None);
    assert_eq!(refusal_of_a_description(&engine, MAX_VERSION - 4096, &[]).await, None);
}

#[tokio::test]
async fn a_policy_holds_for_what_is_published_from_then_on() {
    let engine = engine();
    says(&engine, json!({"rules": {"localExec": "warn"}})).await;
    let first = Ok(vec![(Rule::LocalExec, 1)]);
    assert_eq!(published(&engine, "1.0.0", &[What::LocalExec]).await, first);

    says(&engine, json!({"rules": {"localExec": "deny"}})).await;
    let denied = Err(vec!["main.tf:1".to_owned()]);
    assert_eq!(published(&engine, "2.0.0", &[What::LocalExec]).await, denied);
    // What is there stays, and the same again is no change.
    assert_eq!(published(&engine, "1.0.0", &[What::LocalExec]).await, first);

    says(&engine, json!({"rules": {"localExec": "allow"}})).await;
    assert_eq!(published(&engine, "2.0.0", &[What::LocalExec]).await, Ok(Vec::new()));
    assert_eq!(published(&engine, "1.0.0", &[What::LocalExec]).await, first);
}

#[tokio::test]
async fn a_refusal_and_a_version_name_so_many_findings_and_no_more() {
    let engine = engine();
    let many = |what: What| vec![what; MAX_FINDINGS + 5];
    let refused = published(&engine, "1.0.0", &many(What::LocalExec)).await;
    assert_eq!(refused.map_err(|pointers| pointers.len()), Err(MAX_FINDINGS));
    let warned = published(&engine, "1.0.0", &many(What::HttpData)).await;
    assert_eq!(warned.map(|findings| findings.len()), Ok(MAX_FINDINGS));
}

#[tokio::test]
async fn a_policy_is_changed_by_who_knows_it_and_the_change_is_told() {
    let engine = engine();
    assert_eq!(engine.template_policy(&caller()).await.expect("it is read"), None);
    let spec =
        |action: &str| -> PolicySpec { serde_json::from_value(json!({"rules": {"files": action}})).expect("a policy") };
    let put = |action: &'static str, precondition: Precondition| {
        let engine = &engine;
        let spec = spec(action);
        async move { engine.put_template_policy(&caller(), spec, &precondition).await }
    };
    let code = |result: Result<Versioned<TemplatePolicy>, Error>| result.map_err(|error| error.refusal().code);
    assert_eq!(code(put("warn", Precondition::Any).await), Err(Code::PreconditionFailed));
    let first = put("warn", Precondition::None).await.expect("it is taken");
    let version = |read: &Versioned<TemplatePolicy>| Precondition::Version(read.version.0.clone());
    // The same again is no change.
    assert_eq!(put("warn", version(&first)).await.expect("it is taken"), first);
    let second = put("allow", version(&first)).await.expect("it is taken");
    assert_eq!(code(put("deny", version(&first)).await), Err(Code::PreconditionFailed));
    assert_eq!(engine.template_policy(&caller()).await.expect("it is read"), Some(second));

    let wrong = serde_json::from_value(json!({"providers": [{"source": "aws"}]})).expect("a policy");
    let refused = engine.put_template_policy(&caller(), wrong, &Precondition::None).await;
    assert_eq!(code(refused), Err(Code::BodyInvalid));

    let any = AuditFilter::default();
    let (events, _) = engine.audit_of(&caller(), Subject::TemplatePolicy, &any, None, 10).await.expect("a trail");
    let told: Vec<&str> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(told, ["policy.changed", "policy.changed"]);
}

#[tokio::test]
async fn only_who_manages_the_platform_says_what_templates_may_do() {
    let engine = engine();
    let mut deployer = caller();
    deployer.principal.kind = conductor_domain::principal::PrincipalKind::Token;
    deployer.principal.roles = vec!["deployer".parse().expect("a grant")];
    let refused = engine.put_template_policy(&deployer, PolicySpec::default(), &Precondition::None).await;
    assert!(matches!(refused, Err(Error::Refused(refusal)) if refusal.code == Code::Forbidden));
    assert_eq!(engine.template_policy(&deployer).await.expect("it is read"), None);
}

#[tokio::test]
async fn services_are_kept_once_and_in_order_and_must_be_names() {
    let engine = engine();
    published(&engine, "1.0.0", &[]).await.expect("it is published");
    let (name, version) = (TemplateName::new("note", None), "1.0.0".parse().expect("a version"));
    let services = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>());
    let change = |services: Option<Vec<String>>, untrusted: Option<bool>| TemplateChange {
        services,
        untrusted,
        ..TemplateChange::default()
    };
    let caller = caller();
    let patch = |change: TemplateChange| {
        let (engine, caller, name, version) = (&engine, &caller, &name, &version);
        async move { engine.change_template_version(caller, name, version, &change, &Precondition::None).await }
    };
    let changed = patch(change(services(&["sqs", "s3", "sqs"]), Some(true))).await.expect("it is taken");
    assert_eq!((changed.services.clone(), changed.untrusted), (vec!["s3".to_owned(), "sqs".to_owned()], true));
    let kept = patch(TemplateChange { retain: Some(true), ..TemplateChange::default() }).await.expect("it is taken");
    assert_eq!((&kept.services, kept.untrusted), (&changed.services, true));
    let refused = patch(change(services(&["s3:*"]), None)).await;
    assert!(matches!(refused, Err(Error::Refused(refusal)) if refusal.faults[0].pointer == "/services/0"));
    let cleared = patch(change(services(&[]), Some(false))).await.expect("it is taken");
    assert_eq!((cleared.services.len(), cleared.untrusted), (0, false));
}

//! Short sessions for each operation: the provider's is the environment's role, with the operation in its tags and no
//! more than the services that the template names; the backend's may touch one state and its lock.
//!
//! In the function their keys stand in the credentials file and outlive it. A plain worker has no deadline: its terraform
//! asks for keys with `credential_process`, and gets those that [`Sessions::refresh`] wrote under a live lease.

use std::convert::Infallible;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_sdk_sts::Client;
use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_sdk_sts::types::Tag;
use conductor_domain::Code;
use conductor_domain::operation::{ExecutorKind, Failure};
use conductor_engine::port::Clock;
use conductor_engine::{Control, Job};
use conductor_store::{AwsConfig, SystemClock};
use conductor_terraform::mask::Masker;
use conductor_terraform::project::{CREDENTIALS_FILE, Credentials, Profile, credentials_file, write_private};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::config::Config;
use crate::fault::Fault;

/// The profiles of a run.
const BACKEND: &str = "backend";
const PROVIDER: &str = "provider";
/// How long sessions may take to be had, so that they end before the lease says.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// Sessions are renewed when two thirds of their time have passed.
const RENEWED_AFTER: (u32, u32) = (2, 3);
/// Tries to renew in a session's time, where the first does not succeed.
const TRIES: u32 = 30;

/// Takes sessions.
pub struct Sessions {
    sts: Client,
    clock: SystemClock,
    state_role_arn: String,
    state_bucket: String,
    kms_key_arn: Option<String>,
    default_target: Option<(String, Option<String>)>,
    /// How long they live.
    time: SignedDuration,
    /// By how much clocks may differ.
    quarantine: SignedDuration,
    /// This program, where terraform asks it for keys.
    program: Option<PathBuf>,
}

/// The keys that one run has, by its profiles.
pub struct Keyring {
    folder: PathBuf,
    /// The key of the state that the backend's session may touch, and that session, where there is one.
    backend: Option<(String, Mutex<Credentials>)>,
    /// Whether there is a session for the provider.
    provider: bool,
    /// Knows all keys that the run has had.
    masker: Masker,
}

impl Keyring {
    /// The newest keys of the backend, where the state is in the stack's own bucket.
    pub fn backend(&self) -> Option<Credentials> {
        let (_, keys) = self.backend.as_ref()?;
        Some(keys.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn file(&self, profile: &str) -> PathBuf {
        printed_file(&self.folder, profile)
    }
}

/// A session, and its end.
struct Session {
    keys: Credentials,
    ends_at: Timestamp,
}

impl Sessions {
    /// For the roles of a stack. Fails where a worker cannot find its own program.
    pub fn new(config: &Config, aws: &AwsConfig, kind: ExecutorKind) -> io::Result<Self> {
        let program = match kind {
            ExecutorKind::Lambda => None,
            ExecutorKind::Worker => Some(std::env::current_exe()?),
        };
        Ok(Self {
            sts: Client::new(aws),
            clock: SystemClock::new(),
            state_role_arn: config.state_role_arn.clone(),
            state_bucket: config.names.state_bucket.clone(),
            kms_key_arn: config.kms_key_arn.clone(),
            default_target: config.default_target.clone(),
            time: config.timings.session,
            quarantine: config.timings.quarantine,
            program,
        })
    }

    /// A session that may touch one state and its lock, and nothing else.
    pub async fn backend(&self, job: &Job, key: &str) -> Result<Credentials, Fault> {
        self.backend_session(job, key).await.map(|session| session.keys)
    }

    /// A session of the environment's role; `None` where neither it nor the stack names one.
    pub async fn provider(&self, job: &Job) -> Result<Option<Credentials>, Fault> {
        Ok(self.provider_session(job).await?.map(|session| session.keys))
    }

    /// Writes the credentials file of a work folder: `backend` is the key of its state and the session for it. The masker
    /// is told of these keys and of those that follow.
    pub fn keyring(
        &self,
        folder: &Path,
        backend: Option<(String, Credentials)>,
        provider: Option<Credentials>,
        masker: &Masker,
    ) -> io::Result<Keyring> {
        masker.learn(backend.iter().map(|(_, keys)| keys).chain(&provider).flat_map(Credentials::secrets));
        let given = [(BACKEND, backend.as_ref().map(|(_, keys)| keys)), (PROVIDER, provider.as_ref())];
        let files = given.map(|(profile, _)| printed_file(folder, profile));
        let mut profiles = Vec::new();
        for ((profile, keys), file) in given.into_iter().zip(&files) {
            let Some(keys) = keys else { continue };
            match &self.program {
                None => profiles.push((profile, Profile::Keys(keys))),
                Some(program) => {
                    write_private(file, keys.printed().as_bytes())?;
                    profiles.push((profile, Profile::Process { program, file }));
                }
            }
        }
        write_private(&folder.join(CREDENTIALS_FILE), credentials_file(&profiles)?.as_bytes())?;
        Ok(Keyring {
            folder: folder.to_owned(),
            backend: backend.map(|(key, keys)| (key, Mutex::new(keys))),
            provider: provider.is_some(),
            masker: masker.clone(),
        })
    }

    /// Gives a worker's terraform new keys, which end before the lease says. False where the lease is lost: it must not
    /// run. In the function it has had them.
    pub async fn refresh(&self, job: &Job, keyring: &Keyring, control: &Control) -> Result<bool, Fault> {
        if self.program.is_none() {
            return Ok(true);
        }
        let dead_after = self.clock.now() + self.time + MARGIN;
        if !control.extend(dead_after).await {
            return Ok(false);
        }
        let backend = async {
            match &keyring.backend {
                Some((key, _)) => self.backend_session(job, key).await.map(Some),
                None => Ok(None),
            }
        };
        let provider = async { if keyring.provider { self.provider_session(job).await } else { Ok(None) } };
        let (backend, provider) = futures::future::try_join(backend, provider).await?;
        for (profile, session) in [(BACKEND, &backend), (PROVIDER, &provider)] {
            let Some(session) = session else { continue };
            keyring.masker.learn(session.keys.secrets());
            // This process may have been stopped for any time since the lease was extended.
            if session.ends_at > dead_after {
                let detail = "the session came too late to end before the lease says";
                return Err(Fault::passes(Failure::new(Code::CredentialsRefused, detail)));
            }
            write_private(&keyring.file(profile), session.keys.printed().as_bytes()).map_err(|error| {
                Fault::lasts(Failure::new(Code::Internal, format!("keys cannot be written: {error}")))
            })?;
        }
        if let (Some((_, held)), Some(session)) = (&keyring.backend, backend) {
            *held.lock().unwrap_or_else(PoisonError::into_inner) = session.keys;
        }
        Ok(true)
    }

    /// Refreshes a worker's keys in time, for as long as the lease is ours. Never ends.
    pub async fn renew(&self, job: &Job, keyring: &Keyring, control: &Control) -> Infallible {
        if self.program.is_some() {
            let time = self.time.unsigned_abs();
            let (part, whole) = RENEWED_AFTER;
            let mut wait = time * part / whole;
            loop {
                self.clock.sleep(wait).await;
                wait = match self.refresh(job, keyring, control).await {
                    Ok(true) => time * part / whole,
                    Ok(false) => break,
                    Err(fault) => {
                        tracing::warn!(detail = fault.failure.detail, "the keys of a run were not renewed");
                        time / TRIES
                    }
                };
            }
        }
        std::future::pending().await
    }

    async fn backend_session(&self, job: &Job, key: &str) -> Result<Session, Fault> {
        let bucket = bucket_arn(&self.state_role_arn, &self.state_bucket);
        // Terraform lists workspaces (`env:/`) at each start, and S3 answers 404 for what is not there only to those who
        // may list.
        let mut policy = json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                    "Resource": [format!("{bucket}/{key}"), format!("{bucket}/{key}.tflock")],
                },
                {
                    "Effect": "Allow",
                    "Action": "s3:ListBucket",
                    "Resource": bucket,
                    "Condition": {"StringLikeIfExists": {"s3:prefix": ["env:/*", key]}},
                },
            ],
        });
        if let (Some(key), Some(statements)) = (&self.kms_key_arn, policy["Statement"].as_array_mut()) {
            statements
                .push(json!({"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": key}));
        }
        // The state role lets in nobody whose session has another name, and an environment's cannot have this one.
        let name = format!("state-{}", job.operation);
        self.assume(job, &self.state_role_arn, name, None, Some(policy.to_string())).await
    }

    /// The role of the environment, and the external id that it asks for. The stack's own is for environments that say
    /// nothing of credentials.
    pub fn target(&self, job: &Job) -> Option<(String, Option<String>)> {
        match &job.environment.spec.credentials {
            Some(own) => own.role_arn.clone().map(|role| (role, own.external_id.clone())),
            None => self.default_target.clone(),
        }
    }

    async fn provider_session(&self, job: &Job) -> Result<Option<Session>, Fault> {
        let Some((role, external_id)) = self.target(job) else { return Ok(None) };
        if role == self.state_role_arn {
            return Err(Failure::new(Code::CredentialsRefused, format!("{role} is Conductor's own")).into());
        }
        let name = format!("conductor-{}", job.operation);
        self.assume(job, &role, name, external_id, narrowed(&job.template.services)).await.map(Some)
    }

    async fn assume(
        &self,
        job: &Job,
        role: &str,
        name: String,
        external_id: Option<String>,
        policy: Option<String>,
    ) -> Result<Session, Fault> {
        let refused = |why: &str| Failure::new(Code::CredentialsRefused, format!("{role} cannot be assumed: {why}"));
        let tag = |(key, value): (&str, String)| Tag::builder().key(key).value(value).build();
        let tags: Result<Vec<Tag>, _> = tags(job).into_iter().map(tag).collect();
        let tags = tags.map_err(|error| refused(&error.to_string()))?;
        let request = self
            .sts
            .assume_role()
            .role_arn(role)
            .role_session_name(name)
            .duration_seconds(self.time.as_secs() as i32)
            .set_external_id(external_id)
            .set_policy(policy)
            .set_tags(Some(tags));
        let session = request.send().await;
        let session = session.map_err(|error| Fault::of_call(refused(error.code().unwrap_or("no answer")), &error))?;
        let keys = session.credentials.ok_or_else(|| refused("no credentials in the answer"))?;
        let ends_at = Timestamp::from_second(keys.expiration.secs()).map_err(|_| refused("they never end"))?;
        let keys = Credentials {
            access_key_id: keys.access_key_id,
            secret_access_key: keys.secret_access_key,
            session_token: Some(keys.session_token),
            // Whoever caches keys takes the next ones, which are there by then, before these end.
            expires_at: Some((ends_at - self.time / 10).to_string()),
        };
        // A worker says before how long its sessions live; a function said so when it reserved the resource.
        let dead_after = job.resource.reservation.as_ref().map(|reservation| reservation.dead_after);
        if self.program.is_none() && dead_after.is_some_and(|dead_after| ends_at + self.quarantine > dead_after) {
            let detail = "the credentials would live longer than the reservation says: it took too long to get them";
            return Err(Fault::passes(Failure::new(Code::CredentialsRefused, detail)));
        }
        Ok(Session { keys, ends_at })
    }
}

/// The ARN of a bucket in the partition of a role: `arn:aws:…`, `arn:aws-cn:…`.
fn bucket_arn(role: &str, bucket: &str) -> String {
    let partition = role.split(':').nth(1).unwrap_or("aws");
    format!("arn:{partition}:s3:::{bucket}")
}

/// What a session may do at most, where a template's version names services: everything in those, of what its role may.
fn narrowed(services: &[String]) -> Option<String> {
    let actions: Vec<String> = services.iter().map(|service| format!("{service}:*")).collect();
    let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]});
    (!services.is_empty()).then(|| policy.to_string())
}

/// For whom a session is: policies of the environment's account can ask for it (`aws:PrincipalTag/…`), and its trail names
/// it.
fn tags(job: &Job) -> Vec<(&'static str, String)> {
    let mut tags = vec![
        ("conductor:organisation", job.organisation.to_string()),
        ("conductor:environment", job.environment.name.to_string()),
        ("conductor:operation", job.operation.to_string()),
    ];
    let application = job.resource.created_for.as_ref();
    tags.extend(application.map(|application| ("conductor:application", application.to_string())));
    tags
}

/// What terraform runs this program for: prints a file that [`Sessions::refresh`] wrote.
pub fn print(file: &Path) -> io::Result<()> {
    io::stdout().write_all(&fs::read(file)?)
}

fn printed_file(folder: &Path, profile: &str) -> PathBuf {
    folder.join(format!("{profile}.json"))
}

#[cfg(test)]
mod tests {
    use conductor_domain::template::MAX_SERVICES;
    use serde_json::Value;

    use super::*;

    /// The longest session policy that STS takes, in characters.
    const MAX_POLICY: usize = 2_048;

    #[test]
    fn the_state_bucket_is_in_the_partition_of_its_role() {
        let check = |role: &str, expect: &str| assert_eq!(bucket_arn(role, "states"), expect);
        check("arn:aws:iam::123456789012:role/state", "arn:aws:s3:::states");
        check("arn:aws-cn:iam::123456789012:role/state", "arn:aws-cn:s3:::states");
        check("arn:aws-us-gov:iam::123456789012:role/state", "arn:aws-us-gov:s3:::states");
    }

    #[test]
    fn a_template_that_names_services_gets_no_others() {
        let policy = narrowed(&["s3".to_owned(), "dynamodb".to_owned()]).expect("a policy");
        let policy: Value = serde_json::from_str(&policy).expect("JSON");
        let statement = json!({"Effect": "Allow", "Action": ["s3:*", "dynamodb:*"], "Resource": "*"});
        assert_eq!(policy, json!({"Version": "2012-10-17", "Statement": [statement]}));
    }

    #[test]
    fn a_template_that_names_none_has_all_of_the_role() {
        assert_eq!(narrowed(&[]), None);
    }

    #[test]
    fn all_the_services_that_a_template_may_name_fit_into_a_policy() {
        let policy = narrowed(&vec!["s".repeat(40); MAX_SERVICES]).expect("a policy");
        assert!(policy.len() <= MAX_POLICY / 2, "{}: tags have to fit too", policy.len());
    }
}

//! Two short sessions for each operation: the provider's is the environment's role, the backend's may touch one state
//! and its lock.

use aws_sdk_sts::Client;
use aws_sdk_sts::error::ProvideErrorMetadata;
use conductor_domain::Code;
use conductor_domain::operation::Failure;
use conductor_engine::Job;
use conductor_terraform::project::Credentials;
use serde_json::json;

/// The shortest session that STS gives. The reservation's `dead_after` counts on it.
const SESSION_SECONDS: i32 = 900;

/// Takes sessions.
pub struct Sessions {
    sts: Client,
    state_role_arn: String,
    state_bucket: String,
    default_target: Option<(String, Option<String>)>,
}

impl Sessions {
    /// For the roles of a stack.
    pub fn new(
        sts: Client,
        state_role_arn: String,
        state_bucket: String,
        default_target: Option<(String, Option<String>)>,
    ) -> Self {
        Self { sts, state_role_arn, state_bucket, default_target }
    }

    /// A session that may touch one state and its lock, and nothing else.
    pub async fn backend(&self, job: &Job, key: &str) -> Result<Credentials, Failure> {
        let bucket = format!("arn:aws:s3:::{}", self.state_bucket);
        // Terraform lists workspaces (`env:/`) at each start, and S3 answers 404 for what is not there only to those who
        // may list.
        let policy = json!({
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
        self.assume(job, &self.state_role_arn, None, Some(policy.to_string())).await
    }

    /// A session of the environment's role; `None` where neither it nor the stack names one.
    pub async fn provider(&self, job: &Job) -> Result<Option<Credentials>, Failure> {
        let named = job.environment.spec.credentials.as_ref();
        let named = named.map(|credentials| (credentials.role_arn.clone(), credentials.external_id.clone()));
        match named.or_else(|| self.default_target.clone()) {
            Some((role, external_id)) => self.assume(job, &role, external_id, None).await.map(Some),
            None => Ok(None),
        }
    }

    async fn assume(
        &self,
        job: &Job,
        role: &str,
        external_id: Option<String>,
        policy: Option<String>,
    ) -> Result<Credentials, Failure> {
        let request = self
            .sts
            .assume_role()
            .role_arn(role)
            .role_session_name(format!("conductor-{}", job.operation))
            .duration_seconds(SESSION_SECONDS)
            .set_external_id(external_id)
            .set_policy(policy);
        let refused = |why: &str| Failure::new(Code::CredentialsRefused, format!("{role} cannot be assumed: {why}"));
        let session = request.send().await.map_err(|error| refused(error.code().unwrap_or("no answer")))?;
        let keys = session.credentials.ok_or_else(|| refused("no credentials in the answer"))?;
        Ok(Credentials {
            access_key_id: keys.access_key_id,
            secret_access_key: keys.secret_access_key,
            session_token: Some(keys.session_token),
        })
    }
}

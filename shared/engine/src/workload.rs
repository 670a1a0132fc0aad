//! A deployment's workload as it shall run: the containers of its Score file with a value for every placeholder.
//!
//! No sensitive value is read for it: what one would touch is masked.

use std::collections::{BTreeMap, BTreeSet};

use conductor_domain::deployment::DeploymentStatus;
use conductor_domain::ids::{DeploymentId, ResourceId};
use conductor_domain::name::{ApplicationName, EnvironmentName, WorkloadName};
use conductor_domain::operation::{Action, Operation};
use conductor_domain::principal::Caller;
use conductor_domain::resource::Outputs;
use conductor_domain::score::{self, PlaceholderError, Port, Reference, ResolveError, Root, ScoreFile};
use conductor_domain::{Code, Refusal};
use serde_json::{Value, json};

use crate::port::{Ports, StoreError, Versioned};
use crate::query::DeploymentView;
use crate::record::Item;
use crate::resolve::Known;
use crate::{Engine, Error};

/// What stands for a sensitive value, and for a text that would have one in it.
const MASK: &str = "(sensitive)";
/// The most that placeholders may put into a workload, as JSON: an answer of the API has at most 6 MB.
const MAX_RESOLVED: usize = 1024 * 1024;

/// A workload with nothing left to resolve.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The application.
    pub application: ApplicationName,
    /// The workload.
    pub workload: WorkloadName,
    /// Where it is deployed.
    pub environment: EnvironmentName,
    /// The containers of its Score file, by name.
    pub containers: Value,
    /// What it publishes, by name.
    pub ports: BTreeMap<String, Port>,
    /// Pointers to what is masked, such as `/containers/main/variables/PASSWORD`.
    pub masked: Vec<String>,
}

impl<P: Ports> Engine<P> {
    /// The workload of a deployment that has succeeded, with the outputs that its resources have by now.
    ///
    /// # Errors
    ///
    /// [`Code::DeploymentNotFound`]; [`Code::DeploymentUnfinished`], also where the deployment has no Score file;
    /// [`Code::OutputMissing`] where a resource has gone or lost an output since; [`Code::PlaceholderInvalid`] where the
    /// outputs would be over 1 MiB.
    pub async fn workload(&self, caller: &Caller, id: DeploymentId) -> Result<Workload, Error> {
        let DeploymentView { deployment, operations, .. } = self.deployment(caller, id).await?;
        let deployment = deployment.value;
        let none = || {
            let detail = format!("the deployment {id} has no Score file, and so no workload");
            Refusal::new(Code::DeploymentUnfinished, detail)
        };
        let application = deployment.lane.application_name().ok_or_else(none)?.clone();
        let (Some(object), Some(workload)) = (&deployment.score, &deployment.workload) else {
            return Err(none().into());
        };
        if deployment.status != DeploymentStatus::Succeeded {
            let detail = format!("the deployment {id} is {:?}", deployment.status);
            return Err(Refusal::new(Code::DeploymentUnfinished, detail).into());
        }
        let text = self.score_text(object).await?;
        let file =
            score::parse(&text).map_err(|_| StoreError::Unreadable(format!("{object} is no Score file any more")))?;
        let mut known = Known { metadata: deployment.file_metadata, ..Known::default() };
        for (name, service) in &deployment.services {
            known.shown.insert(name.clone(), service.as_object().cloned().unwrap_or_default());
        }
        let mut hidden: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, outputs) in self.outputs_of(caller, operations).await? {
            hidden.insert(name.clone(), outputs.sensitive.into_iter().collect());
            known.shown.insert(name, outputs.values.into_iter().collect());
        }
        let (containers, masked) = fill(&file, &known, &hidden)?;
        Ok(Workload {
            deployment: id,
            application,
            workload: workload.clone(),
            environment: deployment.lane.environment,
            containers,
            ports: file.service.map(|service| service.ports).unwrap_or_default(),
            masked,
        })
    }

    /// The outputs of what was acquired, by name in the file.
    async fn outputs_of(
        &self,
        caller: &Caller,
        operations: Vec<Operation>,
    ) -> Result<Vec<(String, Outputs)>, StoreError> {
        let acquired: Vec<(String, ResourceId)> = operations
            .into_iter()
            .filter(|operation| operation.action() == Action::Acquire)
            .filter_map(|operation| Some((operation.resource, operation.resource_id?)))
            .collect();
        let items: Vec<Item> = acquired.iter().map(|(_, id)| Item::Outputs(*id)).collect();
        let read: Vec<Option<Versioned<Outputs>>> = self.read_all(caller.organisation(), &items).await?;
        Ok(acquired.into_iter().zip(read).filter_map(|((name, _), read)| Some((name, read?.value))).collect())
    }
}

/// The containers of a file, resolved, and pointers to what is masked in them. `hidden` has the names of sensitive
/// outputs by resource.
fn fill(
    file: &ScoreFile,
    known: &Known,
    hidden: &BTreeMap<String, BTreeSet<String>>,
) -> Result<(Value, Vec<String>), Refusal> {
    let mut whole = json!({"containers": file.containers});
    let mut masked = Vec::new();
    let mut bytes = 0;
    let mut look_up = |reference: &Reference| -> Result<score::Resolved, PlaceholderError> {
        let found = if is_hidden(reference, hidden) {
            score::Resolved { value: Value::from(MASK), sensitive: true }
        } else {
            known.look_up(reference)?
        };
        bytes += found.value.to_string().len();
        if bytes > MAX_RESOLVED {
            let rule = "makes the workload longer than 1 MiB";
            return Err(PlaceholderError::Invalid { placeholder: reference.source.clone(), rule });
        }
        Ok(found)
    };
    for (pointer, value) in score::expandable(file) {
        if !pointer.starts_with("/containers/") {
            continue;
        }
        let resolved =
            score::resolve(value, file.dialect, &mut look_up).map_err(|error| unresolved(&pointer, &error))?;
        let mut value = resolved.value;
        for inner in &resolved.sensitive {
            if let Some(text) = value.pointer_mut(inner) {
                *text = Value::from(MASK);
            }
            masked.push(format!("{pointer}{inner}"));
        }
        if let Some(place) = whole.pointer_mut(&pointer) {
            *place = value;
        }
    }
    Ok((whole["containers"].take(), masked))
}

fn is_hidden(reference: &Reference, hidden: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let Root::Resource { name, path } = &reference.root else { return false };
    path.first().is_some_and(|output| hidden.get(name).is_some_and(|names| names.contains(output)))
}

fn unresolved(pointer: &str, error: &ResolveError) -> Refusal {
    let code = match error.error {
        PlaceholderError::Invalid { .. } => Code::PlaceholderInvalid,
        PlaceholderError::UnknownRoot { .. }
        | PlaceholderError::UnknownResource { .. }
        | PlaceholderError::UnknownOutput { .. }
        | PlaceholderError::UnknownMetadata { .. } => Code::OutputMissing,
    };
    Refusal::new(code, format!("{pointer}{}: {}", error.pointer, error.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container with this content, beside a database with the outputs `host`, `port` and `tags`, a sensitive
    /// `password` and a sensitive `login`.
    fn filled(container: &Value) -> Result<(Value, Vec<String>), Refusal> {
        let mut container = container.clone();
        container["image"] = json!("busybox");
        let text = json!({
            "apiVersion": "score.dev/v1b1", "metadata": {"name": "web"}, "containers": {"main": container},
            "resources": {"db": {"type": "postgres"}}
        });
        let file = score::parse(&text.to_string()).expect("a file");
        let outputs = json!({"host": "db.local", "port": 5432, "tags": {"a": [1]}});
        let known = Known {
            metadata: file.metadata.clone(),
            shown: BTreeMap::from([("db".to_owned(), outputs.as_object().cloned().unwrap_or_default())]),
            ..Known::default()
        };
        let hidden = BTreeMap::from([("db".to_owned(), ["password", "login"].map(str::to_owned).into())]);
        let (mut containers, masked) = fill(&file, &known, &hidden)?;
        let mut main = containers["main"].take();
        main.as_object_mut().expect("a container").remove("image");
        Ok((main, masked))
    }

    #[test]
    fn placeholders_get_their_values_where_score_expands_them() {
        let check = |container: Value, expect: Value| {
            let (filled, masked) = filled(&container).expect("resolves");
            assert_eq!(filled, expect);
            assert_eq!(masked, Vec::<String>::new());
        };
        check(
            json!({"variables": {"URL": "pg://${resources.db.host}:${resources.db.port}", "NAME": "${metadata.name}"}}),
            json!({"variables": {"URL": "pg://db.local:5432", "NAME": "web"}}),
        );
        check(json!({"variables": {"A": "${resources.db.tags}"}}), json!({"variables": {"A": {"a": [1]}}}));
        check(
            json!({"variables": {"A": "$${resources.db.host}"}}),
            json!({"variables": {"A": "${resources.db.host}"}}),
        );
        check(json!({"command": ["${resources.db.host}"]}), json!({"command": ["${resources.db.host}"]}));
        check(
            json!({"files": {"/etc/a": {"content": "${resources.db.host} $$"}}}),
            json!({"files": {"/etc/a": {"content": "db.local $"}}}),
        );
        for literal in [
            json!({"files": {"/etc/a": {"content": "${resources.db.host} $$", "noExpand": true}}}),
            json!({"files": {"/etc/a": {"source": "${resources.db.host}"}}}),
            json!({"files": {"/etc/a": {"binaryContent": "JHt4fQ=="}}}),
        ] {
            check(literal.clone(), literal);
        }
    }

    #[test]
    fn whatever_a_sensitive_output_touches_is_masked_whole() {
        let check = |container: Value, expect: Value, pointers: &[&str]| {
            let (filled, masked) = filled(&container).expect("resolves");
            assert_eq!(filled, expect);
            assert_eq!(masked, pointers);
        };
        check(
            json!({"variables": {"P": "${resources.db.password}", "H": "${resources.db.host}"}}),
            json!({"variables": {"P": "(sensitive)", "H": "db.local"}}),
            &["/containers/main/variables/P"],
        );
        check(
            json!({"variables": {"U": "pg://u:${resources.db.password}@${resources.db.host}"}}),
            json!({"variables": {"U": "(sensitive)"}}),
            &["/containers/main/variables/U"],
        );
        check(
            json!({"files": {"/etc/a": {"content": "x ${resources.db.login.name} y"}}}),
            json!({"files": {"/etc/a": {"content": "(sensitive)"}}}),
            &["/containers/main/files/~1etc~1a/content"],
        );
    }

    #[test]
    fn an_output_that_is_not_there_is_named_with_its_place() {
        let refusal = filled(&json!({"variables": {"A": "${resources.db.gone}"}})).expect_err("no such output");
        assert_eq!(refusal.code, Code::OutputMissing);
        assert_eq!(
            refusal.detail,
            "/containers/main/variables/A: `${resources.db.gone}` names the output `gone`, which `db` does not have"
        );
    }
}

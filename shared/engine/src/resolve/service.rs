//! What a file's `service` resources are: other workloads, and the ports that they publish.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use conductor_domain::application::Application;
use conductor_domain::name::{ApplicationName, WorkloadName};
use conductor_domain::score::{Port, SERVICE_TYPE, ScoreFile, Sharing};

use crate::commit::Reads;
use crate::port::Ports;
use crate::record::Item;
use crate::{Engine, Error};

impl<P: Ports> Engine<P> {
    /// What the file's `service` resources are: workloads of this application first, then applications.
    pub(super) async fn services(
        &self,
        reads: &mut Reads<'_, P>,
        application: &ApplicationName,
        file: &ScoreFile,
    ) -> Result<BTreeMap<String, Value>, Error> {
        let wanted: BTreeMap<&String, String> = file
            .resources
            .iter()
            .filter(|(_, requirement)| requirement.kind == SERVICE_TYPE)
            .map(|(name, requirement)| {
                let target = match &requirement.sharing {
                    Sharing::ScoreId { id } => id.clone(),
                    _ => name.clone(),
                };
                (name, target)
            })
            .collect();
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut names: BTreeSet<ApplicationName> =
            wanted.values().filter_map(|target| ApplicationName::new(target.as_str()).ok()).collect();
        names.insert(application.clone());
        let items: Vec<Item> = names.into_iter().map(Item::Application).collect();
        let applications: Vec<Application> =
            reads.all(&items).await?.into_iter().flatten().map(|read| read.value).collect();
        Ok(wanted
            .into_iter()
            .map(|(name, target)| (name.clone(), service(&target, application, &applications)))
            .collect())
    }
}

/// The outputs of a service: `port` only where the workload publishes exactly one.
fn service(target: &str, own: &ApplicationName, applications: &[Application]) -> Value {
    let ports_of = |application: &Application, workload: &str| -> Option<BTreeMap<String, Port>> {
        application.workloads.get(&WorkloadName::new(workload).ok()?).cloned()
    };
    let named = |application: &&Application| application.name.as_str() == target;
    let ports = applications
        .iter()
        .find(|application| application.name == *own)
        .and_then(|application| ports_of(application, target))
        .or_else(|| {
            let other = applications.iter().find(named)?;
            ports_of(other, target).or_else(|| match other.workloads.len() {
                1 => other.workloads.values().next().cloned(),
                _ => None,
            })
        })
        .unwrap_or_default();
    let mut outputs = json!({"name": target, "host": target});
    let mut distinct = ports.values();
    if let (Some(port), None, Some(outputs)) = (distinct.next(), distinct.next(), outputs.as_object_mut()) {
        outputs.insert("port".to_owned(), json!(port.port));
    }
    outputs
}

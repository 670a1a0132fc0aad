//! From a tree to a [`ScoreFile`].
//!
//! Reading never fails: what a broken tree does not say is left out, for `shape` has reported it. Only what takes more
//! than one value to judge is reported here.

use std::collections::BTreeMap;

use super::extras::{self, Extras};
use super::model::{DependsOn, Dialect, Port, Protocol, Requirement, ScoreFile, Service};
use super::problem::{Problem, child};
use super::sharing::sharing;
use super::yaml::{Kind, Node};

/// Reads the whole file.
pub(super) fn read(root: &Node, dialect: Dialect, problems: &mut Vec<Problem>) -> ScoreFile {
    problems.extend(extras::annotations_out_of_place(root, "", "belongs to a resource, not to the workload"));
    let metadata = root.get("metadata");
    ScoreFile {
        dialect,
        name: metadata.and_then(|metadata| text(metadata, "name")),
        metadata: metadata.map(Node::to_map).unwrap_or_default(),
        containers: root.get("containers").map(Node::to_map).unwrap_or_default(),
        service: root.get("service").map(service),
        resources: resources(root, dialect, problems),
    }
}

fn service(node: &Node) -> Service {
    let ports = node.get("ports").map(Node::entries).unwrap_or_default();
    Service { ports: ports.iter().filter_map(|entry| Some((entry.key.text.clone(), port(&entry.value)?))).collect() }
}

fn port(node: &Node) -> Option<Port> {
    let number = |key: &str| node.get(key).and_then(Node::integer).and_then(|number| u16::try_from(number).ok());
    let port = number("port")?;
    let protocol = match node.get("protocol").and_then(Node::text) {
        Some("UDP") => Protocol::Udp,
        _ => Protocol::Tcp,
    };
    Some(Port { port, protocol, target_port: number("targetPort").unwrap_or(port) })
}

fn resources(root: &Node, dialect: Dialect, problems: &mut Vec<Problem>) -> BTreeMap<String, Requirement> {
    let entries = root.get("resources").map(Node::entries).unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            let pointer = child("/resources", &entry.key.text);
            (entry.key.text.clone(), requirement(&entry.value, dialect, &pointer, problems))
        })
        .collect()
}

fn requirement(node: &Node, dialect: Dialect, pointer: &str, problems: &mut Vec<Problem>) -> Requirement {
    let extras = extras::of_resource(node, dialect, pointer, problems);
    let extra = |key: &str| extras.get(key).map(|placed| &placed.node);
    Requirement {
        kind: text(node, "type").unwrap_or_default(),
        class: text(node, "class").filter(|class| class != "default"),
        sharing: sharing(node, &extras, pointer, problems),
        params: node.get("params").map(Node::to_map),
        metadata: node.get("metadata").map(Node::to_map).unwrap_or_default(),
        depends_on: depends_on(&extras),
        template_version: extra("templateVersion")
            .and_then(Node::text)
            .and_then(|version| semver::Version::parse(version).ok()),
        moved_from: extra("movedFrom").and_then(Node::text).map(str::to_owned),
        retain: extra("retain").and_then(Node::boolean),
    }
}

fn depends_on(extras: &Extras) -> Vec<DependsOn> {
    let items = extras.get("dependsOn").map(|placed| placed.node.items()).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| match &item.kind {
            Kind::Text(resource) => Some(DependsOn { resource: resource.clone(), optional: false }),
            _ => Some(DependsOn {
                resource: text(item, "resource")?,
                optional: item.get("optional").and_then(Node::boolean).unwrap_or(false),
            }),
        })
        .collect()
}

fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::text).map(str::to_owned)
}

//! Whether the graph of an environment shows what its resources say. Pure.

use std::collections::BTreeSet;

use conductor_domain::resource::ResourceStatus;

use crate::view::{GraphView, ResourceView, User};

/// What the graph of an environment lacks, or shows although it is not so. The names are the stack's.
pub fn differences(environment: &str, graph: &GraphView, resources: &[&ResourceView]) -> Vec<String> {
    let is_here =
        |resource: &&&ResourceView| resource.environment == environment && resource.status != ResourceStatus::Deleted;
    let here: Vec<&&ResourceView> = resources.iter().filter(is_here).collect();
    let ids: BTreeSet<&str> = here.iter().map(|resource| resource.id.as_str()).collect();
    let nodes = graph.nodes.iter().filter(|node| {
        node.kind == "resource" && node.environment == environment && node.status != Some(ResourceStatus::Deleted)
    });
    let shown: BTreeSet<&str> = nodes.map(|node| node.id.as_str()).collect();

    let mut edges: BTreeSet<(String, &str, &str)> = BTreeSet::new();
    for resource in &here {
        let users = resource.consumers.iter().filter_map(|consumer| node_of(&consumer.user));
        edges.extend(users.map(|user| (user, "uses", resource.id.as_str())));
        edges.extend(resource.depends_on.iter().map(|other| (resource.id.clone(), "dependsOn", other.as_str())));
    }
    // Edges at resources of other environments are for their own graphs.
    let drawn = graph.edges.iter().filter(|edge| match edge.kind.as_str() {
        "uses" => ids.contains(edge.to.as_str()),
        _ => ids.contains(edge.from.as_str()),
    });
    let drawn: BTreeSet<(String, &str, &str)> =
        drawn.map(|edge| (edge.from.clone(), edge.kind.as_str(), edge.to.as_str())).collect();

    let mut wrong = Vec::new();
    if graph.truncated {
        wrong.push(format!("the graph of {environment} is truncated"));
    }
    wrong.extend(ids.difference(&shown).map(|id| format!("the graph of {environment} lacks {id}")));
    wrong.extend(shown.difference(&ids).map(|id| format!("the graph of {environment} has {id}, which is not there")));
    wrong.extend(edges.difference(&drawn).map(|edge| format!("the graph of {environment} lacks {edge:?}")));
    wrong.extend(
        drawn.difference(&edges).map(|edge| format!("the graph of {environment} has {edge:?}, which is not so")),
    );
    wrong
}

/// The node of who uses a resource; none for a resource, which is a node itself.
fn node_of(user: &User) -> Option<String> {
    match user {
        User::Workload { environment, application, workload, .. }
        | User::Application { environment, application, workload: Some(workload) } => {
            Some(format!("workload:{environment}/{application}/{workload}"))
        }
        User::Application { environment, application, workload: None } => {
            Some(format!("application:{environment}/{application}"))
        }
        User::Pool { environment, pool } => Some(format!("pool:{environment}/{pool}")),
        User::Resource { .. } => None,
    }
}

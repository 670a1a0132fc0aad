//! Graphs and impacts, as users see them.

use conductor_domain::resource::ResourceStatus;
use conductor_engine::{Affected, Dependent, Edge, EdgeKind, Graph, Impact, Node, NodeKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::resource::User;

/// The resources of an environment, who uses them, and what they depend on.
#[derive(Debug, Serialize, ToSchema)]
pub struct GraphView {
    /// Resources first, then who uses them.
    nodes: Vec<NodeView>,
    edges: Vec<EdgeView>,
    /// True where there is more than 2,000 nodes and 10,000 edges.
    truncated: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct NodeView {
    /// The id of a resource; `workload:<env>/<app>/<workload>`, `application:<env>/<app>` or `pool:<env>/<pool>`.
    id: String,
    /// `resource`, `workload`, `application` or `pool`.
    kind: &'static str,
    name: String,
    environment: String,
    /// Of a resource.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    resource_type: Option<String>,
    /// Of a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// Of a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<ResourceStatus>,
    /// Of a workload or application.
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<String>,
    /// Of a workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct EdgeView {
    /// The id of the node that needs the other.
    from: String,
    /// The id of the other, always a resource.
    to: String,
    /// `uses`, or `dependsOn` from a resource.
    kind: &'static str,
}

/// Who would lose what if a resource were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImpactView {
    /// The resource's id.
    resource: String,
    name: String,
    /// True where it is there, and nobody uses it.
    deletable: bool,
    /// The resources that depend on it, directly or through others, the nearest first.
    dependents: Vec<DependentView>,
    /// Who uses it, or one of those.
    consumers: Vec<AffectedView>,
    /// True where more is hit than these 2,000.
    truncated: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct DependentView {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    class: String,
    environment: String,
    /// Names of the resources on the way to it: from the one that would go, to itself.
    path: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AffectedView {
    #[serde(flatten)]
    user: User,
    /// Names of the resources on the way to it: from the one that would go, to the one that it uses.
    path: Vec<String>,
}

impl From<Graph> for GraphView {
    fn from(graph: Graph) -> Self {
        Self {
            nodes: graph.nodes.into_iter().map(NodeView::from).collect(),
            edges: graph.edges.into_iter().map(EdgeView::from).collect(),
            truncated: graph.truncated,
        }
    }
}

impl From<Node> for NodeView {
    fn from(node: Node) -> Self {
        Self {
            id: node.id,
            kind: match node.kind {
                NodeKind::Resource => "resource",
                NodeKind::Workload => "workload",
                NodeKind::Application => "application",
                NodeKind::Pool => "pool",
            },
            name: node.name,
            environment: node.environment.into(),
            resource_type: node.template.as_ref().map(|template| template.kind().to_owned()),
            class: node.template.as_ref().map(|template| template.class().to_owned()),
            status: node.status,
            application: node.application.map(String::from),
            workload: node.workload.map(String::from),
        }
    }
}

impl From<Edge> for EdgeView {
    fn from(edge: Edge) -> Self {
        let kind = match edge.kind {
            EdgeKind::Uses => "uses",
            EdgeKind::DependsOn => "dependsOn",
        };
        Self { from: edge.from, to: edge.to, kind }
    }
}

impl From<Impact> for ImpactView {
    fn from(impact: Impact) -> Self {
        Self {
            resource: impact.resource.id.to_string(),
            name: impact.resource.name,
            deletable: impact.deletable,
            dependents: impact.dependents.into_iter().map(DependentView::from).collect(),
            consumers: impact.consumers.into_iter().map(AffectedView::from).collect(),
            truncated: impact.truncated,
        }
    }
}

impl From<Dependent> for DependentView {
    fn from(dependent: Dependent) -> Self {
        Self {
            id: dependent.id.to_string(),
            name: dependent.name,
            kind: dependent.template.kind().to_owned(),
            class: dependent.template.class().to_owned(),
            environment: dependent.environment.into(),
            path: dependent.path,
        }
    }
}

impl From<Affected> for AffectedView {
    fn from(affected: Affected) -> Self {
        Self { user: affected.key.into(), path: affected.path }
    }
}

//! How a fleet runs on a cluster: how many pods, what they are given, how they are reached.
//! **Owns:** these fields, their bounds and defaults. **Never:** anything that a relay outside of a cluster needs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration, TopologySpreadConstraint};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, text};

/// As many pods as their CPU asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(cel::REPLICAS_ORDER).message("minReplicas must not be above maxReplicas"))]
pub struct Autoscaling {
    /// The fewest pods.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// The most pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// The CPU that pods should use on average, in percent of what they request.
    #[serde(default = "cpu")]
    #[schemars(range(min = 10, max = 1000))]
    pub cpu: i32,
}

fn two() -> i32 {
    2
}

fn cpu() -> i32 {
    70
}

/// How clients reach the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(cel::LOCAL_TRAFFIC).message("externalTrafficPolicy needs type NodePort or LoadBalancer"),
    validation = Rule::new(cel::LOAD_BALANCER).message("loadBalancerClass and loadBalancerSourceRanges need type LoadBalancer")
)]
pub struct Service {
    /// ClusterIP, NodePort or LoadBalancer.
    #[serde(rename = "type", default)]
    pub type_: ServiceType,
    /// With Local, connections keep the client's address, and come in by nodes with a relay only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// Whose load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Networks that the load balancer lets in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 3, max = 43), regex(pattern = text::CIDR)))]
    pub load_balancer_source_ranges: Vec<String>,
    /// Annotations, such as those that load balancers read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = { "type": "string", "maxLength": 4096 }))]
    pub annotations: BTreeMap<String, String>,
}

/// Who can reach a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// The cluster's pods.
    #[default]
    ClusterIP,
    /// Whoever reaches a node.
    NodePort,
    /// Whoever reaches the load balancer.
    LoadBalancer,
}

/// Where a connection from outside may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficPolicy {
    /// To a pod on any node; it sees the node's address.
    Cluster,
    /// To a pod on the node where it came in; it sees the client's address.
    Local,
}

/// What the relays' pods are given beyond what they need.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// The relay's image; the operator's own choice, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Names of Secrets with which images are pulled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = text::OBJECT_NAME)))]
    pub image_pull_secrets: Vec<String>,
    /// CPU and memory of the relay. Absent: 100m and 128Mi are requested, memory is limited to 512Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Labels of the nodes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = { "type": "string", "maxLength": 63 }))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that don't matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// How pods are spread. Absent: over zones and nodes, as far as that goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// How much the pods matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Labels of the pods, beside those that are ours.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = { "type": "string", "maxLength": 63 }))]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = { "type": "string", "maxLength": 4096 }))]
    pub annotations: BTreeMap<String, String>,
}

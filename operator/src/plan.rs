//! What a MailRelay needs on the cluster, as objects: a pure function of what is known.
//! **Owns:** which children there are, their order, whose they are. **Never:** a client, a clock, what is there already (apply compares).

mod autoscale;
mod config;
pub mod events;
mod monitor;
mod network;
pub mod queue;
pub mod rollout;
mod service;
pub mod status;
mod workload;

use std::collections::BTreeMap;

use k8s_openapi::{
    Resource,
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::core::ApiResource;
use postrider_crds::MailRelay;
use serde::Serialize;
use serde_json::Value;

use crate::{
    names::{self, Key},
    validate::Valid,
};

pub use config::{PublishedConfig, digest_of};
pub use workload::wanted_replicas;

/// The kinds of children, in the order in which they are applied: what others need comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A server's settings.
    ConfigMap,
    /// The configuration, or a password.
    Secret,
    /// What pods run as; it may do nothing.
    ServiceAccount,
    /// A name and address.
    Service,
    /// Who reaches a pod.
    NetworkPolicy,
    /// How many pods may go at a time.
    PodDisruptionBudget,
    /// Queue servers.
    StatefulSet,
    /// Relays.
    Deployment,
    /// How many relays.
    HorizontalPodAutoscaler,
    /// What Prometheus scrapes, where its operator is.
    PodMonitor,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::ConfigMap,
        Self::Secret,
        Self::ServiceAccount,
        Self::Service,
        Self::NetworkPolicy,
        Self::PodDisruptionBudget,
        Self::StatefulSet,
        Self::Deployment,
        Self::HorizontalPodAutoscaler,
        Self::PodMonitor,
    ];

    /// Its name in manifests, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::StatefulSet => "StatefulSet",
            Self::Deployment => "Deployment",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::PodMonitor => "PodMonitor",
        }
    }

    /// Group, version and plural.
    pub fn resource(self) -> ApiResource {
        fn of<K: kube::Resource<DynamicType = ()>>() -> ApiResource {
            ApiResource::erase::<K>(&())
        }
        match self {
            Self::ConfigMap => of::<ConfigMap>(),
            Self::Secret => of::<Secret>(),
            Self::ServiceAccount => of::<ServiceAccount>(),
            Self::Service => of::<Service>(),
            Self::NetworkPolicy => of::<NetworkPolicy>(),
            Self::PodDisruptionBudget => of::<PodDisruptionBudget>(),
            Self::StatefulSet => of::<StatefulSet>(),
            Self::Deployment => of::<Deployment>(),
            Self::HorizontalPodAutoscaler => of::<HorizontalPodAutoscaler>(),
            Self::PodMonitor => monitor::resource(),
        }
    }
}

/// An object as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub key: Key,
    /// All of it.
    pub value: Value,
}

/// Everything that should be there for one MailRelay.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration, as it is published.
    pub config: PublishedConfig,
    /// All children, in the order in which they are applied.
    pub children: Vec<Object>,
}

/// What should be there.
///
/// # Errors
/// The configuration doesn't fit into a Secret.
pub fn plan(valid: &Valid) -> Result<Plan, config::TooLarge> {
    let published = config::publish(&valid.config)?;
    let relay = &*valid.relay;
    let mut children =
        vec![config::secret(relay, &published), workload::service_account(relay, names::RELAY)];
    children.push(service::service(relay));
    children.push(network::relay(relay));
    children.extend(workload::budget(relay));
    children.push(workload::deployment(valid));
    children.extend(autoscale::autoscaler(relay));
    if valid.has_pod_monitor {
        children.push(monitor::pod_monitor(relay));
    }
    if let Some(servers) = &valid.servers {
        children.extend(queue::children(relay, servers, &valid.images));
    }
    children.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    Ok(Plan { config: published, children })
}

/// The metadata of a child: named, labelled, owned.
fn metadata(relay: &MailRelay, name: &str, what: &str) -> ObjectMeta {
    let owner = relay.metadata.name.clone().unwrap_or_default();
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: relay.metadata.namespace.clone(),
        labels: Some(names::labels(&owner, what)),
        owner_references: Some(vec![OwnerReference {
            api_version: format!("{}/{}", postrider_crds::GROUP, postrider_crds::VERSION),
            kind: "MailRelay".to_owned(),
            name: owner,
            uid: relay.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

/// An object of a typed value.
fn object<K: Resource + Serialize>(kind: Kind, metadata: &ObjectMeta, typed: &K) -> Object {
    let mut value = serde_json::to_value(typed).expect("an object of Kubernetes is JSON");
    // What the API server keeps itself isn't ours to apply.
    if let Some(members) = value.as_object_mut() {
        members.remove("status");
    }
    Object { kind, key: Key::of(metadata), value }
}

fn name_of(relay: &MailRelay) -> &str {
    relay.metadata.name.as_deref().unwrap_or_default()
}

fn owned(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
pub(crate) mod tests;

//! Pods: the relays', and those that may be clients.
//! **Owns:** what is kept of each. **Never:** what they tell (reporter asks them).

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1 as api;
use postrider_core::manifests;

use crate::{names, report::Report};

/// A relay's pod, and what it told last.
#[derive(Debug, Clone, PartialEq)]
pub struct RelayPod {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// Its address, once it has one.
    pub address: Option<IpAddr>,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Whether it is going, or gone and not yet forgotten.
    pub is_ending: bool,
    /// The hash that it was nudged with.
    pub annotated_hash: Option<String>,
    /// What it told.
    pub report: Option<Report>,
}

impl RelayPod {
    /// What is kept of a pod.
    pub fn of(pod: &api::Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let annotations = pod.metadata.annotations.as_ref();
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            address: status.pod_ip.and_then(|address| address.parse().ok()),
            is_ready: conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True"),
            is_ending: is_over || pod.metadata.deletion_timestamp.is_some(),
            annotated_hash: annotations.and_then(|all| all.get(names::CONFIG_HASH).cloned()),
            report: None,
        }
    }
}

/// What is kept of a pod that may be a client; nothing, if it has no address of its own.
pub fn client_of(pod: &api::Pod) -> Option<manifests::Pod> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    // A pod in its node's network has the address of all that run there.
    if is_over || spec.host_network == Some(true) {
        return None;
    }
    let addresses = status.pod_ips.iter().flatten().filter_map(|one| one.ip.parse().ok());
    let addresses: Vec<IpAddr> = addresses.collect();
    let labels: BTreeMap<String, String> = pod.metadata.labels.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    (!addresses.is_empty()).then_some(manifests::Pod { namespace, labels, addresses })
}

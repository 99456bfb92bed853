//! What tells Prometheus' operator to scrape a fleet's pods, where that operator is.
//! **Owns:** the PodMonitor. **Never:** waits for its kind.

use kube::core::{ApiResource, GroupVersionKind};
use postrider_crds::MailRelay;
use serde_json::json;

use super::{Kind, Object, metadata, name_of};
use crate::names::{self, Key};

pub(super) fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", "PodMonitor"))
}

pub(super) fn pod_monitor(relay: &MailRelay) -> Object {
    let metadata = metadata(relay, name_of(relay), names::RELAY);
    let value = json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata,
        "spec": {
            "selector": { "matchLabels": names::selector(name_of(relay), names::RELAY) },
            "podMetricsEndpoints": [{
                "port": "admin",
                "path": "/metrics",
                "relabelings": [{
                    "action": "replace",
                    "sourceLabels": ["__meta_kubernetes_pod_label_app_kubernetes_io_instance"],
                    "targetLabel": "relay",
                }],
            }],
        },
    });
    Object { kind: Kind::PodMonitor, key: Key::of(&metadata), value }
}

//! Who reaches a fleet's pods.
//! **Owns:** ingress: the relays by their listeners' and admin ports, the queue's servers by the relays alone. **Never:** egress (a relay's
//! mail goes to any host).

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use postrider_core::config::bound_port;
use postrider_crds::MailRelay;

use super::{Kind, Object, metadata, name_of, object};
use crate::names;

/// The queue servers' port.
pub(super) const QUEUE_PORT: i32 = 6379;

pub(super) fn relay(relay: &MailRelay) -> Object {
    let ports = relay.spec.listeners.iter().map(|listener| port(bound_port(listener.port)));
    let ports = ports.chain([port(names::ADMIN_PORT)]).collect();
    policy(relay, name_of(relay), names::RELAY, NetworkPolicyIngressRule { ports: Some(ports), from: None })
}

pub(super) fn queue(relay: &MailRelay) -> Object {
    let relays = NetworkPolicyPeer {
        pod_selector: Some(selector(relay, names::RELAY)),
        ..NetworkPolicyPeer::default()
    };
    let rule = NetworkPolicyIngressRule { ports: Some(vec![port(QUEUE_PORT)]), from: Some(vec![relays]) };
    policy(relay, &names::queue(name_of(relay)), names::QUEUE, rule)
}

fn policy(relay: &MailRelay, name: &str, what: &str, ingress: NetworkPolicyIngressRule) -> Object {
    let metadata = metadata(relay, name, what);
    let spec = NetworkPolicySpec {
        pod_selector: Some(selector(relay, what)),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![ingress]),
        egress: None,
    };
    let policy = NetworkPolicy { metadata: metadata.clone(), spec: Some(spec) };
    object(Kind::NetworkPolicy, &metadata, &policy)
}

fn selector(relay: &MailRelay, what: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(names::selector(name_of(relay), what)), ..LabelSelector::default() }
}

fn port(number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}

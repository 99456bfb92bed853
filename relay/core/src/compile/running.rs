//! How a fleet is to run on a cluster: `replicas`, `autoscaling`, `service`, the managed queue's sizes.
//! **Owns:** what the schema's CEL rules say of these, for manifests that no API server has seen. **Never:** acts by them (the operator does).

use postrider_crds::{MailRelaySpec, ServiceType};

use super::Problem;
use crate::config::bound_port;

/// The least storage of a managed server.
const LEAST_STORAGE: u64 = 1 << 30;
/// The memory that messages may take in one.
const MEMORY: std::ops::RangeInclusive<u64> = (64 << 20)..=(256 << 30);

/// The relay's port for people and machines.
const ADMIN_PORT: i32 = 9090;

pub(super) fn check(spec: &MailRelaySpec, problems: &mut Vec<Problem>) {
    check_ports(spec, problems);
    let mut wrong = |field: &str, found: String, expected: &str| {
        problems.push(Problem::invalid(field, found, expected));
    };
    if let Some(auto) = &spec.autoscaling {
        if spec.replicas.is_some() {
            wrong("spec.replicas", "it beside autoscaling".to_owned(), "one of them");
        }
        if auto.min_replicas > auto.max_replicas {
            let found = format!("{} above maxReplicas {}", auto.min_replicas, auto.max_replicas);
            wrong("spec.autoscaling.minReplicas", found, "maxReplicas at most");
        }
    }
    let service = &spec.service;
    if service.type_ == ServiceType::ClusterIP && service.external_traffic_policy.is_some() {
        let field = "spec.service.externalTrafficPolicy";
        wrong(field, "it with type ClusterIP".to_owned(), "it with type NodePort or LoadBalancer");
    }
    let for_balancers = [
        ("loadBalancerClass", service.load_balancer_class.is_some()),
        ("loadBalancerSourceRanges", !service.load_balancer_source_ranges.is_empty()),
    ];
    for (name, is_set) in for_balancers {
        if is_set && service.type_ != ServiceType::LoadBalancer {
            let field = format!("spec.service.{name}");
            wrong(&field, format!("it with type {:?}", service.type_), "it with type LoadBalancer");
        }
    }
    if let Some(managed) = &spec.queue.managed {
        if managed.storage.bytes() < LEAST_STORAGE {
            wrong("spec.queue.managed.storage", managed.storage.to_string(), "1Gi at least");
        }
        if !MEMORY.contains(&managed.memory.bytes()) {
            wrong("spec.queue.managed.memory", managed.memory.to_string(), "64Mi to 256Gi");
        }
    }
}

/// Low ports are bound higher up: they must not meet others there.
fn check_ports(spec: &MailRelaySpec, problems: &mut Vec<Problem>) {
    for (index, one) in spec.listeners.iter().enumerate() {
        let field = format!("spec.listeners[{index}].port");
        if one.port == ADMIN_PORT {
            let found = format!("{ADMIN_PORT}, where relays serve /metrics and probes");
            problems.push(Problem::invalid(&field, found, "another port"));
        }
        let others = spec.listeners.iter().take(index).filter(|other| other.port != one.port);
        if let Some(other) = others.into_iter().find(|other| bound_port(other.port) == bound_port(one.port)) {
            let found = format!(
                "{}, which the pod binds at {}, as it does port {} of listener {:?}",
                one.port,
                bound_port(one.port),
                other.port,
                other.name
            );
            problems.push(Problem::invalid(&field, found, "another port"));
        }
    }
}

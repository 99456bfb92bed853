//! The Service by which clients reach a fleet.
//! **Owns:** its ports, what `spec.service` means. **Never:** waits for an address.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use postrider_core::config::bound_port;
use postrider_crds::{MailRelay, ServiceType, TrafficPolicy};

use super::{Kind, Object, metadata, name_of, object};
use crate::names;

pub(super) fn service(relay: &MailRelay) -> Object {
    let name = name_of(relay);
    let exposure = &relay.spec.service;
    let mut metadata = metadata(relay, name, names::RELAY);
    if !exposure.annotations.is_empty() {
        metadata.annotations = Some(exposure.annotations.clone());
    }
    let ports = relay.spec.listeners.iter().map(|listener| ServicePort {
        name: Some(listener.name.clone()),
        port: listener.port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(bound_port(listener.port))),
        ..ServicePort::default()
    });
    let ranges = &exposure.load_balancer_source_ranges;
    let spec = ServiceSpec {
        type_: Some(type_name(exposure.type_).to_owned()),
        selector: Some(names::selector(name, names::RELAY)),
        ports: Some(ports.collect()),
        external_traffic_policy: exposure.external_traffic_policy.map(|policy| match policy {
            TrafficPolicy::Cluster => "Cluster".to_owned(),
            TrafficPolicy::Local => "Local".to_owned(),
        }),
        load_balancer_class: exposure.load_balancer_class.clone(),
        load_balancer_source_ranges: Some(ranges.clone()).filter(|ranges| !ranges.is_empty()),
        ..ServiceSpec::default()
    };
    let service = Service { metadata: metadata.clone(), spec: Some(spec), status: None };
    object(Kind::Service, &metadata, &service)
}

fn type_name(type_: ServiceType) -> &'static str {
    match type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}

//! The objects of a whole fleet, as files to look at; and what must hold of any.

use std::sync::Arc;

use postrider_core::manifests;
use serde_json::Value;

use super::*;
use crate::{
    gather::Snapshot,
    validate::{self, Images},
};

/// What is known of a MailRelay that has just been applied.
pub(crate) fn snapshot(manifest: &str) -> Snapshot {
    let loaded = manifests::load([("relay.yaml", manifest)]);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    let mut relay = loaded.resources.relays[0].clone();
    relay.metadata.uid = Some("6f1c".to_owned());
    relay.metadata.generation = Some(1);
    let mut resources = loaded.resources;
    resources.relays = vec![relay.clone()];
    Snapshot {
        relay: Arc::new(relay),
        resources,
        children: BTreeMap::new(),
        pods: Vec::new(),
        password: None,
        fresh_password: "fresh".to_owned(),
        has_pod_monitor: true,
        images: Images {
            relay: "relay:1".to_owned(),
            queue: "queue:1".to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
        },
    }
}

pub(crate) const MANAGED: &str = "
apiVersion: postrider.dev/v1alpha1
kind: MailRelay
metadata: {name: outbound, namespace: mail}
spec:
  hostname: mail.example.com
  replicas: 3
  listeners:
  - {name: smtp, port: 25, allowedClients: {cidrs: [10.0.0.0/8]}}
  queue: {managed: {shards: 2, storage: 20Gi, memory: 1Gi}}
  service: {type: LoadBalancer, externalTrafficPolicy: Local, annotations: {example.com/pool: mail}}
";

fn planned(snapshot: &Snapshot) -> Plan {
    let judged = validate::validate(snapshot);
    plan(&judged.valid.expect("it can be used")).expect("it fits")
}

fn find(plan: &Plan, kind: Kind, name: &str) -> Value {
    let found = plan.children.iter().find(|one| one.kind == kind && one.key.name == name);
    found.unwrap_or_else(|| panic!("a {kind:?} {name}")).value.clone()
}

#[test]
fn a_fleet_is_these_objects() {
    let plan = planned(&snapshot(MANAGED));
    let mut text = String::new();
    for object in &plan.children {
        let mut value = object.value.clone();
        if object.kind == Kind::Secret {
            // What a compressed file looks like is of no matter here.
            for one in value["data"].as_object_mut().expect("data").values_mut() {
                *one = "(left out)".into();
            }
            value["metadata"]["annotations"] = Value::Null;
        }
        text.push_str(&format!("---\n{}", serde_json::to_string_pretty(&value).expect("JSON")));
        text.push('\n');
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/plan/managed.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().expect("a folder")).expect("made");
        std::fs::write(path, &text).expect("written");
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text == expected, "found\n{text}\nexpected what tests/fixtures/plan/managed.json has");
}

#[test]
fn the_same_is_planned_as_the_same_bytes() {
    let snapshot = snapshot(MANAGED);
    assert_eq!(planned(&snapshot).children, planned(&snapshot).children);
}

#[test]
fn a_changed_rule_does_not_change_the_pods() {
    let before = planned(&snapshot(MANAGED));
    let rule = "
---
apiVersion: postrider.dev/v1alpha1
kind: RoutingRule
metadata: {name: drop, namespace: mail}
spec: {parentRefs: [{name: outbound}], route: {type: Discard}}
";
    let after = planned(&snapshot(&format!("{MANAGED}{rule}")));
    let differing: Vec<&Object> =
        after.children.iter().filter(|one| !before.children.contains(one)).collect();
    assert_eq!(differing.len(), 1);
    assert_eq!((differing[0].kind, differing[0].key.name.as_str()), (Kind::Secret, "outbound-config"));
}

/// Everything that is run is as a restricted namespace wants it, and none of it can speak to the API server.
#[test]
fn all_pods_are_restricted_and_hold_no_token() {
    let plan = planned(&snapshot(MANAGED));
    for (kind, name) in [(Kind::Deployment, "outbound"), (Kind::StatefulSet, "outbound-queue")] {
        let pod = find(&plan, kind, name)["spec"]["template"]["spec"].clone();
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        for container in pod["containers"].as_array().expect("containers") {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["capabilities"]["drop"][0], "ALL", "{name}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert!(container["env"].is_null(), "no secret in an environment");
        }
    }
}

#[test]
fn while_the_autoscaler_decides_its_decision_stays() {
    let manifest = MANAGED.replace("replicas: 3", "autoscaling: {minReplicas: 2, maxReplicas: 9}");
    let mut snapshot = snapshot(&manifest);
    assert_eq!(find(&planned(&snapshot), Kind::Deployment, "outbound")["spec"]["replicas"], 2);
    snapshot.children.insert((Kind::Deployment, "outbound".into()), Arc::new(live(Kind::Deployment, 7)));
    assert_eq!(find(&planned(&snapshot), Kind::Deployment, "outbound")["spec"]["replicas"], 7);
    snapshot.children.insert((Kind::Deployment, "outbound".into()), Arc::new(live(Kind::Deployment, 20)));
    assert_eq!(find(&planned(&snapshot), Kind::Deployment, "outbound")["spec"]["replicas"], 9);
}

/// A child of which only the replicas matter.
pub(crate) fn live(kind: Kind, replicas: i32) -> crate::gather::Child {
    let resource = kind.resource();
    let value = serde_json::json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        "metadata": { "name": "x", "namespace": "mail" }, "spec": { "replicas": replicas },
    });
    crate::gather::Child::of(kind, serde_json::from_value(value).expect("an object"))
}

#[test]
fn grace_is_the_drain_and_a_while() {
    let manifest = format!("{MANAGED}  drain: {{delay: 5s, timeout: 1m}}\n");
    let deployment = find(&planned(&snapshot(&manifest)), Kind::Deployment, "outbound");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 80);
    assert_eq!(pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"], 5);
}

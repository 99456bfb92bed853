//! What is kept of an object.

use serde_json::json;

use super::*;

fn deployment(managers: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "outbound", "namespace": "mail", "uid": "1", "resourceVersion": "7", "generation": 3,
            "managedFields": managers,
        },
        "spec": {
            "replicas": 2,
            "paused": true,
            "template": { "spec": { "containers": [
                { "name": "relay", "image": "relay:1", "env": [{ "name": "X", "value": "1" }] },
                { "name": "spy", "image": "spy:1" },
            ] } },
        },
        "status": { "observedGeneration": 3, "replicas": 2, "readyReplicas": 1, "updatedReplicas": 2 },
    }))
    .expect("an object")
}

fn entry(manager: &str, subresource: Option<&str>, fields: &Value) -> Value {
    let mut entry = json!({
        "manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
        "fieldsV1": { "f:spec": fields },
    });
    if let Some(subresource) = subresource {
        entry["subresource"] = json!(subresource);
    }
    entry
}

#[test]
fn fields_that_others_added_are_found_and_those_of_subresources_are_not() {
    let ours = json!({ "f:replicas": {}, "f:template": { "f:spec": { "f:containers": {
        "k:{\"name\":\"relay\"}": { ".": {}, "f:name": {}, "f:image": {} } } } } });
    let theirs = json!({ "f:paused": {}, "f:template": {
        "f:metadata": { "f:annotations": { "f:kubectl.kubernetes.io~1restartedAt": {} } },
        "f:spec": { "f:containers": {
            "k:{\"name\":\"relay\"}": { "f:env": { ".": {}, "k:{\"name\":\"X\"}": { ".": {}, "f:name": {}, "f:value": {} } } },
            "k:{\"name\":\"spy\"}": { ".": {}, "f:name": {}, "f:image": {} } } } } });
    let managers = json!([
        entry("postrider", None, &ours),
        entry("kubectl-edit", None, &theirs),
        entry("kube-controller-manager", Some("scale"), &json!({ "f:replicas": {} })),
    ]);
    let child = Child::of(Kind::Deployment, deployment(&managers));
    assert_eq!(
        child.foreign,
        ["/spec/paused", "/spec/template/spec/containers/0/env", "/spec/template/spec/containers/1",]
    );
    assert_eq!(child.progress, Progress { is_seen: true, replicas: 2, updated: 2, ready: 1 });
}

#[test]
fn values_of_secrets_are_not_kept() {
    let secret = json!({
        "metadata": { "name": "a", "namespace": "mail" }, "data": { "password": "Y2FuYXJ5" },
    });
    let child = Child::of(Kind::Secret, serde_json::from_value(secret).expect("an object"));
    assert!(!child.body.contains("Y2FuYXJ5") && child.body.contains("sha256:"));
}

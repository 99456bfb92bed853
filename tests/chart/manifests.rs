//! What the chart makes is what each Kubernetes knows.
//! **Owns:** every set of values against every minor; that the check can fail. **Never:** what admission decides.

use std::collections::BTreeMap;

use postrider_tests::{
    helm::{Release, Rendered, render_as, root},
    schemas::{KUBERNETES, Schemas},
};
use serde_json::{Value, json};

use crate::sets;

fn schemas(version: &str) -> Schemas {
    let mut schemas = Schemas::of_kubernetes(version).unwrap().with_monitoring().unwrap();
    for file in ["mailrelays.yaml", "routingrules.yaml"] {
        schemas.add_crd(&std::fs::read_to_string(root().join("crds").join(file)).unwrap()).unwrap();
    }
    schemas
}

#[test]
fn every_object_is_one_that_each_kubernetes_knows() {
    let sets = sets::rendered();
    let mut objects = 0;
    for version in KUBERNETES {
        let schemas = schemas(version);
        for (name, rendered) in &sets {
            for object in &rendered.0 {
                assert_eq!(schemas.check(object), Vec::<String>::new(), "Kubernetes {version}, {name}");
                objects += 1;
            }
        }
    }
    assert!(objects > 500, "only {objects} objects were looked at");
}

#[test]
fn the_examples_are_of_the_kinds_that_the_chart_defines() {
    let schemas = schemas(KUBERNETES[0]);
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            for object in Rendered::parse(&std::fs::read_to_string(&path).unwrap()).unwrap().0 {
                assert_eq!(schemas.check(&object), Vec::<String>::new(), "{}", path.display());
            }
        }
    }
}

#[test]
fn what_kubernetes_does_not_know_is_seen() {
    let schemas = schemas(KUBERNETES[0]);
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "replicas": 2,
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{
            "name": "c", "image": "i", "env": [{"name": "A", "value": "1"}],
            "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}, "livenessProbe": {"httpGet": {"port": "health"}}}]}}}});
    assert_eq!(schemas.check(&deployment), Vec::<String>::new());
    let container = "/spec/template/spec/containers/0";
    for (place, value, expected) in [
        ("/spec/replicas", json!("2"), "Deployment a.spec.replicas: found \"2\"; expected integer"),
        ("/spec/replicas", json!(3_000_000_000_u32), "expected integer"),
        ("/spec/template/spec/containers", json!({}), "expected a list"),
        ("/spec/selector/matchLabels/a", json!(1), "matchLabels.a: found 1; expected string"),
        ("/spec/selector/matchLabels/a", json!(true), "expected string"),
        (&format!("{container}/name"), Value::Null, "containers[0]: found no name; expected it"),
        (&format!("{container}/env"), json!([{"name": "A"}, {"name": "A"}]), "env: found name \"A\" twice"),
        (
            &format!("{container}/livenessProbe"),
            json!({"httpget": {}}),
            "livenessProbe.httpget: found a field that isn't defined",
        ),
        ("/kind", json!("Deploymnet"), "found kind Deploymnet, apps/v1"),
        ("/apiVersion", json!("apps/v1beta1"), "found kind Deployment, apps/v1beta1"),
    ] {
        let mut wrong = deployment.clone();
        *wrong.pointer_mut(place).unwrap() = value;
        let told = schemas.check(&wrong);
        assert!(told.len() == 1 && told[0].contains(expected), "{place}: {told:?}");
    }
    let monitor = |endpoint: Value| {
        json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": "m"},
        "spec": {"selector": {}, "endpoints": [endpoint]}})
    };
    assert_eq!(schemas.check(&monitor(json!({"port": "metrics"}))), Vec::<String>::new());
    assert_eq!(schemas.check(&monitor(json!({"prot": "metrics"}))).len(), 1);
    assert_eq!(schemas.check(&monitor(json!({"scheme": "gopher"}))).len(), 1);
}

#[test]
fn names_and_labels_keep_to_kubernetes_limits() {
    let long = "a-release-with-a-name-of-the-most-letters-helm-takes-.".trim_end_matches(['-', '.']);
    let is_label = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric();
        text.len() <= 63 && text.starts_with(plain) && text.ends_with(plain)
    };
    for name in ["p", "mail-postrider", long, &long[..53.min(long.len())]] {
        for values in ["", "watchNamespaces: [mail]", sets::EVERYTHING] {
            let release = Release { name: name.to_owned(), ..Release::default() };
            for object in render_as(&release, values).unwrap().0 {
                let metadata = &object["metadata"];
                assert!(
                    is_label(metadata["name"].as_str().unwrap().split('.').next().unwrap()),
                    "{metadata}"
                );
                let labels: BTreeMap<String, String> =
                    serde_json::from_value(metadata["labels"].clone()).unwrap();
                assert!(labels.values().all(|value| is_label(value)), "{metadata}");
                assert_eq!(labels["app.kubernetes.io/managed-by"], "Helm");
            }
        }
    }
}

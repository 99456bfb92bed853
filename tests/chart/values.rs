//! Values: each is known, does something, and a wrong one is told.
//! **Owns:** values.yaml beside values.schema.json. **Never:** what a value does (the other modules).

use std::collections::BTreeSet;

use postrider_tests::helm::{Release, Rendered, both, chart, render};
use serde_json::{Value, json};

fn defaults() -> Value {
    serde_yaml_ng::from_str(&std::fs::read_to_string(chart().join("values.yaml")).unwrap()).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json")).unwrap()).unwrap()
}

/// `{a: {b: value}}` for `a.b`.
fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, name| json!({name: inner}))
}

/// The paths that a schema closes, and those of its leaves.
fn walk(schema: &Value, path: &str, closed: &mut BTreeSet<String>, leaves: &mut BTreeSet<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match schema["properties"].as_object() {
        None => drop(leaves.insert(path.to_owned())),
        Some(properties) => {
            assert_eq!(schema["additionalProperties"], false, "{path}: values that nobody reads would pass");
            closed.insert(path.to_owned());
            for (name, inner) in properties {
                walk(inner, &below(name), closed, leaves);
            }
        }
    }
}

fn paths() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut closed, mut leaves) = (BTreeSet::new(), BTreeSet::new());
    walk(&schema(), "", &mut closed, &mut leaves);
    (closed, leaves)
}

#[test]
fn every_value_of_the_schema_has_a_default_and_every_default_is_in_the_schema() {
    const WITHOUT: &[&str] = &["global", "resources.claims"];
    let (closed, leaves) = paths();
    let defaults = defaults();
    let pointer = |path: &str| format!("/{}", path.replace('.', "/"));
    for leaf in leaves.iter().filter(|leaf| !WITHOUT.contains(&leaf.as_str())) {
        assert!(defaults.pointer(&pointer(leaf)).is_some(), "{leaf} stands in no values.yaml");
    }
    for path in closed.iter().filter(|path| !path.is_empty()) {
        assert!(defaults.pointer(&pointer(path)).is_some_and(Value::is_object), "{path}");
    }
    // That the schema takes the defaults is shown by every rendering.
    render("").unwrap();
}

#[test]
fn an_unknown_value_is_refused_wherever_it_stands() {
    for path in paths().0 {
        let path = if path.is_empty() { "nonsense".to_owned() } else { format!("{path}.nonsense") };
        let told = render(&nested(&path, json!(1)).to_string()).unwrap_err().to_string();
        assert!(
            told.contains("Helm 3") && told.contains("Helm 4") && told.contains("nonsense"),
            "{path}: {told}"
        );
    }
}

#[test]
fn a_wrong_value_is_told_with_its_place() {
    for (path, value) in [
        ("replicas", json!("two")),
        ("replicas", json!(-1)),
        ("image.pullPolicy", json!("Sometimes")),
        ("image.digest", json!("sha256:abc")),
        ("image.tag", json!(1.2)),
        ("image.repository", json!("")),
        ("watchNamespaces", json!("mail")),
        ("watchNamespaces", json!(["mail", "mail"])),
        ("watchNamespaces", json!(["Mail"])),
        ("secrets.namespaces", json!(["*"])),
        ("nameservers", json!(["ns.example.com"])),
        ("commonLabels", json!({"a": 1})),
        ("metrics.serviceMonitor.interval", json!("soon")),
        ("networkPolicy.apiServerCIDRs", json!(["10.0.0.1"])),
        ("networkPolicy.apiServerPorts", json!([])),
        ("podDisruptionBudget.maxUnavailable", json!("half")),
        ("fullnameOverride", json!("Post")),
        ("test.relay", json!("outbound")),
        ("test.to", json!("nobody")),
        ("test.port", json!(0)),
    ] {
        let told = render(&nested(path, value.clone()).to_string()).unwrap_err().to_string();
        let place = path.rsplit('.').next().unwrap();
        assert!(
            told.contains("Helm 3") && told.contains("Helm 4") && told.contains(place),
            "{path}: {value}: {told}"
        );
    }
}

#[test]
fn values_that_contradict_each_other_are_told() {
    let told =
        render("{watchNamespaces: [mail], secrets: {namespaces: [mail, shop]}}").unwrap_err().to_string();
    let expected = "secrets.namespaces[1]: found \"shop\"; expected one of watchNamespaces (mail)";
    assert!(told.contains(expected), "{told}");
    let told = render("serviceAccount: {create: false}").unwrap_err().to_string();
    assert!(told.contains("serviceAccount.name: found none; expected"), "{told}");
}

/// Another value for each, with what else must be set for it to show.
fn others<'p>() -> Vec<(&'p str, Value, &'static str)> {
    // Long on purpose: a table, an entry for each value.
    let labels = || json!({"a": "b"});
    let monitored = "metrics: {serviceMonitor: {enabled: true}}";
    let (drawn, alerted) = ("dashboards: {enabled: true}", "alerts: {enabled: true}");
    let guarded = "networkPolicy: {enabled: true}";
    let tested = "test: {relay: mail/outbound}";
    vec![
        ("image.registry", json!("r.example"), ""),
        ("image.repository", json!("r"), ""),
        ("image.tag", json!("t"), ""),
        ("image.digest", json!(format!("sha256:{:064}", 1)), ""),
        ("image.pullPolicy", json!("Never"), ""),
        ("relay.image.registry", json!("r.example"), ""),
        ("relay.image.repository", json!("r"), ""),
        ("relay.image.tag", json!("t"), ""),
        ("relay.image.digest", json!(format!("sha256:{:064}", 1)), ""),
        ("relay.image.pullPolicy", json!("Never"), ""),
        ("queue.image.registry", json!("r.example"), ""),
        ("queue.image.repository", json!("r"), ""),
        ("queue.image.tag", json!("t"), ""),
        ("queue.image.digest", json!(format!("sha256:{:064}", 1)), ""),
        ("imagePullSecrets", json!([{"name": "a"}]), ""),
        ("watchNamespaces", json!(["mail"]), ""),
        ("secrets.namespaces", json!(["mail"]), ""),
        ("rbac.create", json!(false), ""),
        ("rbac.aggregate", json!(false), ""),
        ("serviceAccount.create", json!(false), "serviceAccount: {name: a}"),
        ("serviceAccount.name", json!("a"), ""),
        ("serviceAccount.annotations", labels(), ""),
        ("crds.create", json!(false), ""),
        ("crds.keep", json!(false), ""),
        ("replicas", json!(3), ""),
        ("logLevel", json!("debug"), ""),
        ("nameservers", json!(["192.0.2.53"]), ""),
        ("resources.requests", json!({"cpu": 1}), ""),
        ("resources.limits", json!({"cpu": 1}), ""),
        ("resources.claims", json!([{"name": "a"}]), ""),
        ("podDisruptionBudget.enabled", json!(false), ""),
        ("podDisruptionBudget.maxUnavailable", json!("50%"), ""),
        ("topologySpreadConstraints", json!([{"topologyKey": "a"}]), ""),
        ("nodeSelector", labels(), ""),
        ("tolerations", json!([{"key": "a"}]), ""),
        ("affinity", json!({"nodeAffinity": {}}), ""),
        ("priorityClassName", json!("a"), ""),
        ("terminationGracePeriodSeconds", json!(5), ""),
        ("podLabels", labels(), ""),
        ("podAnnotations", labels(), ""),
        ("commonLabels", labels(), ""),
        ("podSecurityContext", json!({"fsGroup": 1}), ""),
        ("securityContext", json!({"runAsUser": 1}), ""),
        ("fullnameOverride", json!("a"), ""),
        ("metrics.serviceMonitor.enabled", json!(true), ""),
        ("metrics.serviceMonitor.interval", json!("5s"), monitored),
        ("metrics.serviceMonitor.labels", labels(), monitored),
        ("metrics.podMonitor.enabled", json!(false), ""),
        ("dashboards.enabled", json!(true), ""),
        ("dashboards.label", json!("a"), drawn),
        ("dashboards.labelValue", json!("b"), drawn),
        ("dashboards.annotations", labels(), drawn),
        ("alerts.enabled", json!(true), ""),
        ("alerts.labels", labels(), alerted),
        ("alerts.runbookBaseUrl", json!("https://runbooks.example"), alerted),
        ("alerts.grafanaUrl", json!("https://grafana.example"), alerted),
        ("networkPolicy.enabled", json!(true), ""),
        ("networkPolicy.metricsFrom", json!([{"podSelector": {}}]), guarded),
        ("networkPolicy.apiServerCIDRs", json!(["10.0.0.1/32"]), guarded),
        ("networkPolicy.apiServerPorts", json!([8443]), guarded),
        ("test.relay", json!("mail/outbound"), ""),
        ("test.port", json!(587), tested),
        ("test.from", json!("a@app.example"), tested),
        ("test.to", json!("b@far.example"), tested),
        ("test.podLabels", labels(), tested),
    ]
}

#[test]
fn no_value_is_without_effect() {
    // The two Helms are compared elsewhere; one will do here.
    let helm = &both().unwrap()[0];
    let objects = |values: &[&Value]| {
        let all = values.iter().fold(json!({}), |all, more| merged(all, more));
        Rendered::parse(&helm.template(&Release::default(), &all.to_string()).unwrap()).unwrap()
    };
    let mut others = others();
    let thresholds: Vec<String> =
        paths().1.into_iter().filter(|leaf| leaf.starts_with("alerts.thresholds.")).collect();
    others.extend(thresholds.iter().map(|path| (path.as_str(), json!(0.123), "alerts: {enabled: true}")));
    let named: BTreeSet<&str> = others.iter().map(|(path, ..)| *path).collect();
    // Helm's own, of which this chart reads nothing.
    for leaf in paths().1.iter().filter(|leaf| *leaf != "global") {
        assert!(named.contains(leaf.as_str()), "{leaf}: name another value for it here");
    }
    for (path, value, beside) in others {
        let beside: Value = serde_yaml_ng::from_str(beside).unwrap();
        let other = nested(path, value);
        assert!(objects(&[&beside]) != objects(&[&beside, &other]), "{other} changes nothing");
    }
}

fn merged(mut into: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        let inner = into[name].take();
        into[name] =
            if inner.is_object() && value.is_object() { merged(inner, value) } else { value.clone() };
    }
    into
}

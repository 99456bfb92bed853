//! The pods that the chart makes: unprivileged, and alone in having what they have.
//! **Owns:** Pod Security, tokens, selectors, images. **Never:** what is in the images.

use postrider_tests::helm::{Rendered, render};
use serde_json::{Value, json};

use crate::sets;

/// The pods of a rendering: their metadata and spec.
fn pods(rendered: &Rendered) -> Vec<(&Value, &Value)> {
    let of_deployment = |object: &'_ Value| -> Option<bool> { Some(object["kind"] == "Deployment") };
    let pod = |object: &'_ Value| object["kind"] == "Pod";
    rendered
        .0
        .iter()
        .filter_map(|object| match (of_deployment(object), pod(object)) {
            (Some(true), _) => {
                Some((&object["spec"]["template"]["metadata"], &object["spec"]["template"]["spec"]))
            }
            (_, true) => Some((&object["metadata"], &object["spec"])),
            _ => None,
        })
        .collect()
}

/// Why a pod doesn't pass the Pod Security Standard "restricted"; nothing if it does.
/// kubernetes.io/docs/concepts/security/pod-security-standards
fn violations(spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[field] == true {
            found.push(field.to_owned());
        }
    }
    const VOLUMES: &[&str] = &[
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        if !volume.as_object().unwrap().keys().any(|kind| VOLUMES.contains(&kind.as_str())) {
            found.push(format!("volume {volume}"));
        }
    }
    let containers = ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|kind| spec[kind].as_array().into_iter().flatten());
    for container in containers {
        let (own, pod) = (&container["securityContext"], &spec["securityContext"]);
        let of = |field: &str| if own[field].is_null() { pod[field].clone() } else { own[field].clone() };
        let must = [
            ("allowPrivilegeEscalation", own["allowPrivilegeEscalation"] == false),
            ("privileged", own["privileged"] != true),
            ("capabilities.drop", own["capabilities"]["drop"] == json!(["ALL"])),
            ("capabilities.add", own["capabilities"]["add"].is_null()),
            ("runAsNonRoot", of("runAsNonRoot") == true),
            ("runAsUser", of("runAsUser") != 0),
            (
                "seccompProfile",
                ["RuntimeDefault", "Localhost"]
                    .contains(&of("seccompProfile")["type"].as_str().unwrap_or("")),
            ),
            ("procMount", own["procMount"].is_null()),
            (
                "hostPort",
                container["ports"].as_array().into_iter().flatten().all(|port| port["hostPort"].is_null()),
            ),
        ];
        found.extend(must.iter().filter(|(_, holds)| !holds).map(|(field, _)| (*field).to_owned()));
    }
    found
}

#[test]
fn every_pod_is_restricted() {
    for (name, rendered) in sets::rendered() {
        let pods = pods(&rendered);
        assert!(!pods.is_empty(), "{name}");
        for (metadata, spec) in pods {
            assert_eq!(violations(spec), Vec::<String>::new(), "{name}: {metadata}");
            for container in spec["containers"].as_array().unwrap() {
                assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
            }
            assert!(spec["volumes"].is_null() && spec["enableServiceLinks"] == false, "{name}");
        }
    }
}

#[test]
fn a_pod_that_is_not_restricted_is_seen() {
    for loosened in [
        "podSecurityContext: {runAsNonRoot: null}",
        "podSecurityContext: {runAsUser: 0}",
        "podSecurityContext: {seccompProfile: null}",
        "securityContext: {allowPrivilegeEscalation: null}",
        "securityContext: {capabilities: {drop: [KILL]}}",
        "securityContext: {capabilities: {add: [NET_BIND_SERVICE]}}",
        "securityContext: {privileged: true}",
    ] {
        let rendered = render(loosened).unwrap();
        assert_eq!(
            pods(&rendered).iter().map(|(_, spec)| violations(spec).len()).sum::<usize>(),
            1,
            "{loosened}"
        );
    }
}

#[test]
fn only_the_operators_pods_have_a_token() {
    for (name, rendered) in sets::rendered() {
        for account in rendered.of_kind("ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
        }
        for (metadata, spec) in pods(&rendered) {
            let is_operator = metadata["labels"]["app.kubernetes.io/name"] == "postrider-operator";
            assert_eq!(spec["automountServiceAccountToken"], is_operator, "{name}");
        }
    }
}

#[test]
fn whatever_selects_selects_the_operators_pods_and_no_others() {
    let rendered = render(sets::EVERYTHING).unwrap();
    let default = render("").unwrap();
    let spread =
        &default.only("Deployment").unwrap()["spec"]["template"]["spec"]["topologySpreadConstraints"];
    let mut selectors: Vec<&Value> =
        spread.as_array().unwrap().iter().map(|one| &one["labelSelector"]["matchLabels"]).collect();
    assert_eq!(selectors.len(), 2);
    for (kind, pointer) in [
        ("Deployment", "/spec/selector/matchLabels"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("Service", "/spec/selector"),
    ] {
        selectors.push(rendered.only(kind).unwrap().pointer(pointer).unwrap());
    }
    for selector in selectors {
        let selected =
            |labels: &Value| selector.as_object().unwrap().iter().all(|(key, value)| &labels[key] == value);
        let names: Vec<bool> =
            pods(&rendered).iter().map(|(metadata, _)| selected(&metadata["labels"])).collect();
        assert_eq!(names.iter().filter(|is_selected| **is_selected).count(), 1, "{selector}");
        let is_test =
            json!({"app.kubernetes.io/name": "postrider-test", "app.kubernetes.io/instance": "postrider"});
        assert!(!selected(&is_test), "{selector}");
    }
    let service = rendered.only("Service").unwrap();
    let monitor = &rendered.only("ServiceMonitor").unwrap()["spec"];
    for (key, value) in monitor["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&service["metadata"]["labels"][key], value);
    }
    assert_eq!(monitor["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(service["metadata"]["labels"][monitor["jobLabel"].as_str().unwrap()], "postrider-operator");
}

#[test]
fn probes_and_services_name_ports_that_are_there() {
    let rendered = render("networkPolicy: {enabled: true}").unwrap();
    let container = &rendered.only("Deployment").unwrap()["spec"]["template"]["spec"]["containers"][0];
    let port = |name: &Value| {
        container["ports"]
            .as_array()
            .unwrap()
            .iter()
            .find(|port| &port["name"] == name)
            .map(|port| port["containerPort"].clone())
    };
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        let get = &container[probe]["httpGet"];
        assert_eq!((port(&get["port"]), get["path"].as_str()), (Some(json!(8081)), Some(path)));
    }
    assert_eq!(port(&rendered.only("Service").unwrap()["spec"]["ports"][0]["targetPort"]), Some(json!(9090)));
    for rule in rendered.only("NetworkPolicy").unwrap()["spec"]["ingress"].as_array().unwrap() {
        assert!(port(&rule["ports"][0]["port"]).is_some(), "{rule}");
    }
}

#[test]
fn images_come_from_the_mirror_and_digests_pin_them() {
    let images = |values: &str| {
        let rendered = render(values).unwrap();
        let container =
            rendered.only("Deployment").unwrap()["spec"]["template"]["spec"]["containers"][0].clone();
        let argument = |option: &str| {
            let arguments = container["args"].as_array().unwrap().iter();
            arguments
                .filter_map(Value::as_str)
                .find_map(|argument| argument.strip_prefix(option))
                .unwrap()
                .to_owned()
        };
        [
            container["image"].as_str().unwrap().to_owned(),
            argument("--relay-image="),
            argument("--queue-image="),
        ]
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        images(""),
        [
            format!("postrider-operator:{version}"),
            format!("postrider-relay:{version}"),
            "docker.io/valkey/valkey:9.0".into()
        ]
    );
    assert_eq!(
        images("{image: {registry: mirror.example:5000/mail}, queue: {image: {registry: ''}}}"),
        [
            format!("mirror.example:5000/mail/postrider-operator:{version}"),
            format!("mirror.example:5000/mail/postrider-relay:{version}"),
            "mirror.example:5000/mail/valkey/valkey:9.0".into()
        ]
    );
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let [operator, relay, _] = images(&format!(
        "{{image: {{digest: '{digest}'}}, relay: {{image: {{registry: own.example, tag: x}}}}}}"
    ));
    assert_eq!(
        (operator, relay),
        (format!("postrider-operator:{version}@{digest}"), "own.example/postrider-relay:x".into())
    );
}

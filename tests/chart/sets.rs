//! Values that people set, each with a name.
//! **Owns:** the list that tests walk over. **Never:** what must come out.

use postrider_tests::helm::{Rendered, render};

/// Each with its name.
pub(crate) const ALL: &[(&str, &str)] = &[
    ("nothing", ""),
    ("everything", EVERYTHING),
    ("two namespaces", "watchNamespaces: [mail, shop]"),
    ("all namespaces, Secrets of two", "secrets: {namespaces: [mail, shop]}"),
    ("two namespaces, Secrets of one", "{watchNamespaces: [mail, shop], secrets: {namespaces: [mail]}}"),
    ("no rights", "rbac: {create: false}"),
    ("no roles for people", "rbac: {aggregate: false}"),
    ("no definitions", "crds: {create: false}"),
    ("definitions that go with the release", "crds: {keep: false}"),
    ("somebody else's account", "serviceAccount: {create: false, name: mine}"),
    ("one pod", "{replicas: 1, podDisruptionBudget: {enabled: false}}"),
    ("a test", "test: {relay: mail/outbound}"),
    ("monitoring", "metrics: {serviceMonitor: {enabled: true}}"),
    ("dashboards and alerts", "{dashboards: {enabled: true}, alerts: {enabled: true}}"),
    ("a network policy", "networkPolicy: {enabled: true}"),
];

/// Every optional part.
pub(crate) const EVERYTHING: &str = r#"
image: {registry: mirror.example:5000/mail, tag: 1.2.3, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", pullPolicy: Always}
relay: {image: {tag: 1.2.4, pullPolicy: Never}}
queue: {image: {registry: "", repository: valkey, digest: "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"}}
imagePullSecrets: [{name: mirror}]
serviceAccount: {name: mine, annotations: {a.example/b: c}}
nameservers: [9.9.9.9]
replicas: 3
logLevel: info,kube=debug
resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: "2", memory: 2Gi}}
podDisruptionBudget: {maxUnavailable: 50%}
topologySpreadConstraints:
- {topologyKey: kubernetes.io/hostname, maxSkew: 1, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: mail, operator: Exists, effect: NoSchedule}]
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms: [{matchExpressions: [{key: mail, operator: In, values: ["yes"]}]}]
priorityClassName: system-cluster-critical
terminationGracePeriodSeconds: 60
podLabels: {team: mail}
podAnnotations: {a.example/d: "true"}
commonLabels: {cost: mail}
fullnameOverride: post
metrics: {serviceMonitor: {enabled: true, interval: 15s, labels: {release: kube-prometheus-stack}}}
dashboards: {enabled: true, labelValue: "2", annotations: {grafana_folder: Mail}}
alerts: {enabled: true, labels: {release: kube-prometheus-stack}, grafanaUrl: "https://grafana.example/", thresholds: {readyShare: 0.25}}
networkPolicy:
  enabled: true
  metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  apiServerCIDRs: [10.0.0.1/32]
  apiServerPorts: [6443]
test: {relay: mail/outbound, port: 2525, from: a@app.example, to: b@far.example, podLabels: {may: send}}
"#;

/// What each of them gives.
pub(crate) fn rendered() -> Vec<(&'static str, Rendered)> {
    let each = |(name, values): &(&'static str, &str)| {
        (*name, render(values).unwrap_or_else(|error| panic!("{name}: {error:#}")))
    };
    ALL.iter().map(each).collect()
}

//! The relays' pods: Deployment, account, disruption budget.
//! **Owns:** how a relay runs: probes, its end, its rights (none), where it goes. **Never:** the configuration's hash: config doesn't roll pods.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, Container, ContainerPort, EmptyDirVolumeSource, HTTPGetAction, Lifecycle,
            LifecycleHandler, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
            ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, ServiceAccount,
            SleepAction, TopologySpreadConstraint, Volume, VolumeMount,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use postrider_core::config::bound_port;
use postrider_crds::{Drain, MailRelay};

use super::{Kind, Object, metadata, name_of, object, owned};
use crate::{
    names::{self, ADMIN_PORT, CONFIG_FILE, CONFIG_FOLDER},
    validate::Valid,
};

/// The user that everything runs as: nobody on any node.
pub(super) const USER: i64 = 65_532;
/// What a pod may take beyond its drain, to release its claims and end.
const GRACE_BEYOND_SECONDS: i64 = 15;
/// Where a relay keeps its control socket.
const RUN_FOLDER: &str = "/run/postrider";

/// Pods, unless the spec says how many.
pub(super) const REPLICAS: i32 = 2;

pub(super) fn service_account(relay: &MailRelay, what: &str) -> Object {
    let name = if what == names::QUEUE { names::queue(name_of(relay)) } else { name_of(relay).to_owned() };
    let metadata = metadata(relay, &name, what);
    let account = ServiceAccount {
        metadata: metadata.clone(),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    object(Kind::ServiceAccount, &metadata, &account)
}

/// One pod at a time may be evicted; none is needed where there is only one.
pub(super) fn budget(relay: &MailRelay) -> Option<Object> {
    let most = relay.spec.autoscaling.as_ref().map_or(replicas(relay), |auto| auto.max_replicas);
    (most > 1).then(|| disruption_budget(relay, name_of(relay), names::RELAY))
}

pub(super) fn disruption_budget(relay: &MailRelay, name: &str, what: &str) -> Object {
    let metadata = metadata(relay, name, what);
    let budget = PodDisruptionBudget {
        metadata: metadata.clone(),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(name_of(relay), what)),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    };
    object(Kind::PodDisruptionBudget, &metadata, &budget)
}

/// How many pods the spec asks for, autoscaling aside.
pub(super) fn replicas(relay: &MailRelay) -> i32 {
    relay.spec.replicas.unwrap_or(REPLICAS)
}

/// How many pods there should be now. While the autoscaler decides it, what it decided: to leave the field out would
/// set it to 1.
pub fn wanted_replicas(valid: &Valid) -> i32 {
    match &valid.relay.spec.autoscaling {
        None => replicas(&valid.relay),
        Some(auto) => {
            let live = valid.live_replicas.unwrap_or(auto.min_replicas);
            live.clamp(auto.min_replicas, auto.max_replicas)
        }
    }
}

pub(super) fn deployment(valid: &Valid) -> Object {
    let relay = &*valid.relay;
    let metadata = metadata(relay, name_of(relay), names::RELAY);
    let spec = DeploymentSpec {
        replicas: Some(wanted_replicas(valid)),
        selector: LabelSelector {
            match_labels: Some(names::selector(name_of(relay), names::RELAY)),
            ..LabelSelector::default()
        },
        strategy: Some(DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::String("25%".to_owned())),
                max_unavailable: Some(IntOrString::Int(0)),
            }),
        }),
        template: PodTemplateSpec {
            metadata: Some(pod_metadata(relay)),
            spec: Some(pod(relay, &valid.images.relay, &valid.images.pull_policy)),
        },
        progress_deadline_seconds: Some(600),
        ..DeploymentSpec::default()
    };
    let deployment = Deployment { metadata: metadata.clone(), spec: Some(spec), status: None };
    object(Kind::Deployment, &metadata, &deployment)
}

fn pod_metadata(relay: &MailRelay) -> ObjectMeta {
    let mut labels = relay.spec.pod.labels.clone();
    labels.extend(names::labels(name_of(relay), names::RELAY));
    let mut annotations = relay.spec.pod.annotations.clone();
    // The nudge's: a pod of a template that has it would lose it to the template.
    annotations.remove(names::CONFIG_HASH);
    annotations.insert("kubectl.kubernetes.io/default-container".to_owned(), "relay".to_owned());
    ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }
}

fn pod(relay: &MailRelay, image: &str, pull_policy: &str) -> PodSpec {
    let (name, wanted) = (name_of(relay), &relay.spec.pod);
    let secrets = wanted.image_pull_secrets.iter();
    let secrets: Vec<LocalObjectReference> =
        secrets.map(|name| LocalObjectReference { name: name.clone() }).collect();
    PodSpec {
        service_account_name: Some(name.to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(pod_security()),
        termination_grace_period_seconds: Some(grace_seconds(&relay.spec.drain)),
        containers: vec![container(relay, image, pull_policy)],
        volumes: Some(vec![
            Volume {
                name: "config".to_owned(),
                secret: Some(SecretVolumeSource {
                    secret_name: Some(names::config_secret(name)),
                    default_mode: Some(0o444),
                    ..SecretVolumeSource::default()
                }),
                ..Volume::default()
            },
            Volume {
                name: "run".to_owned(),
                empty_dir: Some(EmptyDirVolumeSource {
                    medium: Some("Memory".to_owned()),
                    size_limit: Some(Quantity("16Mi".to_owned())),
                }),
                ..Volume::default()
            },
        ]),
        image_pull_secrets: Some(secrets).filter(|secrets| !secrets.is_empty()),
        node_selector: Some(wanted.node_selector.clone()).filter(|labels| !labels.is_empty()),
        tolerations: Some(wanted.tolerations.clone()).filter(|taints| !taints.is_empty()),
        priority_class_name: wanted.priority_class_name.clone(),
        topology_spread_constraints: Some(
            wanted.topology_spread_constraints.clone().unwrap_or_else(|| spread(name)),
        ),
        ..PodSpec::default()
    }
}

/// What a restricted namespace asks of a pod.
pub(super) fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// What a restricted namespace asks of a container.
pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

fn container(relay: &MailRelay, image: &str, pull_policy: &str) -> Container {
    let wanted = &relay.spec.pod;
    let mut ports: Vec<ContainerPort> =
        relay.spec.listeners.iter().map(|listener| port(None, bound_port(listener.port))).collect();
    ports.push(port(Some("admin"), ADMIN_PORT));
    let arguments = [
        "run",
        "--config",
        &format!("{CONFIG_FOLDER}/{CONFIG_FILE}"),
        "--ctl",
        &format!("{RUN_FOLDER}/ctl.sock"),
        "--drain-delay",
        "0s",
    ];
    Container {
        name: "relay".to_owned(),
        image: Some(wanted.image.clone().unwrap_or_else(|| image.to_owned())),
        image_pull_policy: Some(pull_policy.to_owned()),
        args: Some(arguments.map(str::to_owned).to_vec()),
        ports: Some(ports),
        resources: Some(wanted.resources.clone().unwrap_or_else(default_resources)),
        security_context: Some(container_security()),
        // The kubelet's own wait: the process goes on accepting until load balancers know.
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: seconds(relay.spec.drain.delay.get()).max(1) }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        startup_probe: Some(Probe { failure_threshold: Some(60), ..probe("/livez", 1) }),
        liveness_probe: Some(Probe { failure_threshold: Some(3), ..probe("/livez", 10) }),
        readiness_probe: Some(Probe { failure_threshold: Some(2), ..probe("/readyz", 2) }),
        volume_mounts: Some(vec![
            VolumeMount {
                name: "config".to_owned(),
                mount_path: CONFIG_FOLDER.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            },
            VolumeMount {
                name: "run".to_owned(),
                mount_path: RUN_FOLDER.to_owned(),
                ..VolumeMount::default()
            },
        ]),
        ..Container::default()
    }
}

/// Without the listener's name: a pod's port may have 15 characters of one.
fn port(name: Option<&str>, number: i32) -> ContainerPort {
    ContainerPort {
        name: name.map(str::to_owned),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn default_resources() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        owned(pairs).into_iter().map(|(key, value)| (key, Quantity(value))).collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "100m"), ("memory", "128Mi")])),
        // No limit of CPU: being throttled looks like a slow far side.
        limits: Some(quantities(&[("memory", "512Mi")])),
        claims: None,
    }
}

fn spread(name: &str) -> Vec<TopologySpreadConstraint> {
    let over = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(names::selector(name, names::RELAY)),
            ..LabelSelector::default()
        }),
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    };
    vec![over("topology.kubernetes.io/zone"), over("kubernetes.io/hostname")]
}

/// A pod's grace: its drain, and a while to tidy up.
fn grace_seconds(drain: &Drain) -> i64 {
    seconds(drain.delay.get()) + seconds(drain.timeout.get()) + GRACE_BEYOND_SECONDS
}

/// Whole seconds, rounded up.
fn seconds(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

//! The servers of a managed queue, one a shard: StatefulSet, settings, password, volumes.
//! **Owns:** how a server runs so that a 250 is durable, how many there are, when one may go. **Never:** what is in it.
//! Pod number 0 is shard `a`, 1 is `b`, and so on: a shard keeps its volume for good.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::{
            StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
            StatefulSetUpdateStrategy,
        },
        core::v1::{
            ConfigMap, ConfigMapProjection, Container, ContainerPort, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource,
            ResourceRequirements, Secret, SecretProjection, Service, ServicePort, ServiceSpec,
            TCPSocketAction, Volume, VolumeMount, VolumeProjection, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use postrider_crds::{MailRelay, ManagedQueue};
use sha2::{Digest, Sha256};

use super::{
    Kind, Object, metadata, name_of, network, object,
    workload::{self, container_security, pod_security},
};
use crate::{
    names::{self, Key},
    validate::{Images, Servers},
};

/// Where a server finds what it is told.
const SETTINGS_FOLDER: &str = "/etc/postrider";
/// A pod ends once the server has closed its log; a long rewrite isn't waited for.
const GRACE_SECONDS: i64 = 120;
/// A server that reads a long log takes its time.
const START_PATIENCE: i32 = 720;

pub(super) fn children(relay: &MailRelay, servers: &Servers, images: &Images) -> Vec<Object> {
    let name = names::queue(name_of(relay));
    let settings = settings(&servers.spec);
    let image = servers.spec.image.clone().unwrap_or_else(|| images.queue.clone());
    vec![
        config_map(relay, &name, &settings),
        password(relay, &name, &servers.password),
        workload::service_account(relay, names::QUEUE),
        headless(relay, &name),
        network::queue(relay),
        workload::disruption_budget(relay, &name, names::QUEUE),
        stateful_set(relay, &name, servers, &settings, &image, images),
    ]
}

/// The URL of a shard's server. The Service is headless, so that each pod has a name.
pub fn url(relay: &Key, ordinal: usize, password: &str) -> String {
    let queue = names::queue(&relay.name);
    format!("redis://:{password}@{queue}-{ordinal}.{queue}.{}.svc:{}", relay.namespace, network::QUEUE_PORT)
}

/// A server's log is written anew from this size on, if its volume has room for eight of them. What passes through makes it grow, however
/// short the queue: from 64 MB on, Redis's own choice, a busy server would write its whole queue anew every few seconds. The larger
/// it is, the longer a server needs to start: two or three seconds for this.
const REWRITTEN_FROM: u64 = 1 << 30;

/// What design.md §4 asks of a server: everything is on its disk before it answers. Bodies are compressed already: compressing them again
/// would take the better part of a rewrite's CPU. A relay's claims are one hash, of some hundred where far sides hang: looked through one
/// by one, each message of others would pay for them.
fn settings(spec: &ManagedQueue) -> String {
    format!(
        "bind * -::*
port {port}
protected-mode yes
dir /data
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
aof-load-truncated yes
aof-use-rdb-preamble yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size {rewritten_from}
rdbcompression no
hash-max-listpack-entries 64
save \"\"
maxmemory {memory}
maxmemory-policy noeviction
maxclients 10000
tcp-keepalive 60
include {SETTINGS_FOLDER}/auth.conf
",
        port = network::QUEUE_PORT,
        rewritten_from = REWRITTEN_FROM.min(spec.storage.bytes() / 8),
        memory = spec.memory.bytes(),
    )
}

fn config_map(relay: &MailRelay, name: &str, settings: &str) -> Object {
    let metadata = metadata(relay, name, names::QUEUE);
    let data = BTreeMap::from([("redis.conf".to_owned(), settings.to_owned())]);
    let map = ConfigMap { metadata: metadata.clone(), data: Some(data), ..ConfigMap::default() };
    object(Kind::ConfigMap, &metadata, &map)
}

fn password(relay: &MailRelay, name: &str, password: &str) -> Object {
    let metadata = metadata(relay, name, names::QUEUE);
    let bytes = |text: String| ByteString(text.into_bytes());
    let data = BTreeMap::from([
        ("password".to_owned(), bytes(password.to_owned())),
        ("auth.conf".to_owned(), bytes(format!("requirepass {password}\n"))),
    ]);
    let secret = Secret {
        metadata: metadata.clone(),
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    };
    object(Kind::Secret, &metadata, &secret)
}

fn headless(relay: &MailRelay, name: &str) -> Object {
    let metadata = metadata(relay, name, names::QUEUE);
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        selector: Some(names::selector(name_of(relay), names::QUEUE)),
        // A relay decides itself whether it may use a server.
        publish_not_ready_addresses: Some(true),
        ports: Some(vec![ServicePort {
            name: Some("redis".to_owned()),
            port: network::QUEUE_PORT,
            protocol: Some("TCP".to_owned()),
            target_port: Some(IntOrString::Int(network::QUEUE_PORT)),
            ..ServicePort::default()
        }]),
        ..ServiceSpec::default()
    };
    let service = Service { metadata: metadata.clone(), spec: Some(spec), status: None };
    object(Kind::Service, &metadata, &service)
}

fn stateful_set(
    relay: &MailRelay,
    name: &str,
    servers: &Servers,
    settings: &str,
    image: &str,
    images: &Images,
) -> Object {
    let metadata = metadata(relay, name, names::QUEUE);
    let told = Sha256::new().chain_update(settings).chain_update(&servers.password).finalize();
    let template = ObjectMeta {
        labels: Some(names::labels(name_of(relay), names::QUEUE)),
        annotations: Some(BTreeMap::from([(names::SERVER_HASH.to_owned(), hex::encode(told))])),
        ..ObjectMeta::default()
    };
    let retain = || Some("Retain".to_owned());
    let spec = StatefulSetSpec {
        replicas: Some(servers.count),
        service_name: Some(name.to_owned()),
        pod_management_policy: Some("Parallel".to_owned()),
        selector: LabelSelector {
            match_labels: Some(names::selector(name_of(relay), names::QUEUE)),
            ..LabelSelector::default()
        },
        update_strategy: Some(StatefulSetUpdateStrategy {
            type_: Some("RollingUpdate".to_owned()),
            ..StatefulSetUpdateStrategy::default()
        }),
        // Mail may be in a volume: only a person throws it away.
        persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_deleted: retain(),
            when_scaled: retain(),
        }),
        template: PodTemplateSpec {
            metadata: Some(template),
            spec: Some(pod(name, &servers.spec, image, &images.pull_policy)),
        },
        volume_claim_templates: Some(vec![volume_claim(&servers.spec)]),
        ..StatefulSetSpec::default()
    };
    let set = StatefulSet { metadata: metadata.clone(), spec: Some(spec), status: None };
    object(Kind::StatefulSet, &metadata, &set)
}

fn pod(name: &str, spec: &ManagedQueue, image: &str, pull_policy: &str) -> PodSpec {
    let mut security = pod_security();
    security.fs_group = Some(workload::USER);
    security.fs_group_change_policy = Some("OnRootMismatch".to_owned());
    let projected = ProjectedVolumeSource {
        default_mode: Some(0o444),
        sources: Some(vec![
            VolumeProjection {
                config_map: Some(ConfigMapProjection {
                    name: name.to_owned(),
                    ..ConfigMapProjection::default()
                }),
                ..VolumeProjection::default()
            },
            VolumeProjection {
                secret: Some(SecretProjection { name: name.to_owned(), ..SecretProjection::default() }),
                ..VolumeProjection::default()
            },
        ]),
    };
    PodSpec {
        service_account_name: Some(name.to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(security),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        containers: vec![container(spec, image, pull_policy)],
        volumes: Some(vec![Volume {
            name: "settings".to_owned(),
            projected: Some(projected),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

fn container(spec: &ManagedQueue, image: &str, pull_policy: &str) -> Container {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mebibytes = |factor: u64| Quantity(format!("{}Mi", (spec.memory.bytes() >> 20) * factor));
    let memory = |quantity| BTreeMap::from([("memory".to_owned(), quantity)]);
    let mut requests = memory(mebibytes(1));
    requests.insert("cpu".to_owned(), Quantity("100m".to_owned()));
    Container {
        name: "redis".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(pull_policy.to_owned()),
        // The entry point of the images of Redis and of Valkey runs the server with the file that it is given.
        args: Some(vec![format!("{SETTINGS_FOLDER}/redis.conf")]),
        ports: Some(vec![ContainerPort {
            name: Some("redis".to_owned()),
            container_port: network::QUEUE_PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        // Twice the memory of its messages: a rewrite of the log copies what changes meanwhile.
        resources: Some(ResourceRequirements {
            requests: Some(requests),
            limits: Some(memory(mebibytes(2))),
            claims: None,
        }),
        security_context: Some(container_security()),
        startup_probe: Some(probe(5, START_PATIENCE)),
        liveness_probe: Some(probe(10, 6)),
        readiness_probe: Some(probe(2, 3)),
        volume_mounts: Some(vec![mount("data", "/data", false), mount("settings", SETTINGS_FOLDER, true)]),
        ..Container::default()
    }
}

/// Whether it listens. Whether it keeps what it is given, relays ask themselves.
fn probe(period: i32, failures: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::String("redis".to_owned()), host: None }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn volume_claim(spec: &ManagedQueue) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some("data".to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: spec.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(spec.storage.to_string()))])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

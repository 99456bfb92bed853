//! `spec.queue`: where mail waits.
//! **Owns:** its fields, bounds and defaults. **Never:** Redis.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, quantity::Quantity, text, text::SecretKeyRef};

/// The queue: servers of ours (managed), or of yours (external).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(cel::MANAGED_OR_EXTERNAL).message("set managed or external, one of them"),
    validation = Rule::new(cel::REPLICATED_TO).message("durability Replicated needs replicatedTo, the others must not have it"),
    validation = Rule::new(cel::SYNCED_STANDALONE).message(
        "durability: found Synced beside external.mode Sentinel or Cluster; expected Replicated or Unchecked, or mode Standalone: \
         a failover loses what only the old primary had synced"
    )
)]
pub struct Queue {
    /// Redis servers that Postrider runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedQueue>,
    /// Redis or Valkey servers that you run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalQueue>,
    /// What a 250 promises: Synced (on the server's disk), Replicated (on the disks of replicas, too), or Unchecked (a service
    /// that hides its settings).
    #[serde(default)]
    pub durability: Durability,
    /// With durability Replicated: on how many replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub replicated_to: Option<i32>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            managed: Some(ManagedQueue::default()),
            external: None,
            durability: Durability::Synced,
            replicated_to: None,
        }
    }
}

/// Servers that Postrider runs: a pod and a volume for each shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(cel::STORAGE).message("storage must be 1Gi at least"),
    validation = Rule::new(cel::MEMORY).message("memory must be from 64Mi to 256Gi"),
    validation = Rule::new(cel::STORAGE_STAYS).message("storage and storageClassName can't be changed: the volumes are there already")
)]
pub struct ManagedQueue {
    /// Independent servers. With three, any one may be away while new mail is accepted. One that is taken away is emptied first.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub shards: i32,
    /// The volume of each. It holds the messages twice over while its log is rewritten.
    #[serde(default = "ten_gibibytes")]
    pub storage: Quantity,
    /// The class of the volumes; the cluster's default, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = text::OBJECT_NAME))]
    pub storage_class_name: Option<String>,
    /// The most memory that messages may take in each; new mail is put off from 85 % of it on. The pod may take twice as much:
    /// a rewrite of the log needs room.
    #[serde(default = "half_a_gibibyte")]
    pub memory: Quantity,
    /// The servers' image, Redis 7.0 or Valkey 7.2 at least; the operator's own choice, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
}

impl Default for ManagedQueue {
    fn default() -> Self {
        Self {
            shards: one(),
            storage: ten_gibibytes(),
            storage_class_name: None,
            memory: half_a_gibibyte(),
            image: None,
        }
    }
}

fn one() -> i32 {
    1
}

fn ten_gibibytes() -> Quantity {
    Quantity::mebibytes(10 * 1024)
}

fn half_a_gibibyte() -> Quantity {
    Quantity::mebibytes(512)
}

/// Servers that you run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalQueue {
    /// How the servers are run, and so what the hosts of their URLs are: Standalone (the server itself), Sentinel (sentinels, which
    /// say where the primary is), or Cluster (some nodes, which say which of them has a shard's slot). Changing it moves no mail.
    #[serde(default)]
    pub mode: QueueMode,
    /// Parts of the queue, each on a server of its own; in a cluster, each in a slot of its own, so that several may have the same
    /// URL. Their names are part of queue IDs: don't change them.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub shards: Vec<ExternalShard>,
    /// The key of a Secret with the PEM of the authority that vouches for servers reached by `rediss://`; public ones, if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<SecretKeyRef>,
}

/// One part of the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalShard {
    /// Its name.
    #[schemars(length(min = 1, max = 32), regex(pattern = text::SHARD))]
    pub name: String,
    /// The key of a Secret with its URL; `rediss://` for TLS, `%40` for an @ in a password.
    /// Standalone: `rediss://user:password@redis.example.com:6379/0`.
    /// Sentinel: `redis://user:password@sentinel-a:26379,sentinel-b:26379/0?master=NAME`, where user, password and database are the
    /// server's; `&sentinelUser=…&sentinelPassword=…` for sentinels that want a login.
    /// Cluster: `redis://user:password@node-a:6379,node-b:6379`, which is always database 0.
    /// What sentinels and nodes announce must be reachable from the relay's pods, and with TLS be in the servers' certificates.
    pub url_ref: SecretKeyRef,
}

/// How servers are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum QueueMode {
    /// Each alone: nothing fails over, and nothing is lost by it.
    #[default]
    Standalone,
    /// Sentinels promote a replica when the primary is away.
    Sentinel,
    /// Slots of a cluster, whose nodes fail over and which may be moved.
    Cluster,
}

/// What a 250 promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Durability {
    /// On the server's disk.
    #[default]
    Synced,
    /// On the disks of replicas, too.
    Replicated,
    /// Whatever the service does.
    Unchecked,
}

//! `spec.queue`: where mail waits.
//! **Owns:** its fields, bounds and defaults. **Never:** Redis.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, text, text::SecretKeyRef};

/// The queue: servers of ours (managed), or of yours (external).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(cel::MANAGED_OR_EXTERNAL).message("set managed or external, one of them"),
    validation = Rule::new(cel::REPLICATED_TO).message("durability Replicated needs replicatedTo, the others must not have it")
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

/// Servers that Postrider runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManagedQueue {
    /// Independent servers. With three, any one may be away while new mail is accepted.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub shards: i32,
}

impl Default for ManagedQueue {
    fn default() -> Self {
        Self { shards: one() }
    }
}

fn one() -> i32 {
    1
}

/// Servers that you run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalQueue {
    /// Independent servers, each with a part of the queue. Their names are part of queue IDs: don't change them.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub shards: Vec<ExternalShard>,
    /// The key of a Secret with the PEM of the authority that vouches for servers reached by `rediss://`; public ones, if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<SecretKeyRef>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalShard {
    /// Its name.
    #[schemars(length(min = 1, max = 32), regex(pattern = text::SHARD))]
    pub name: String,
    /// The key of a Secret with its URL, such as `rediss://user:password@redis.example.com:6379/0`.
    pub url_ref: SecretKeyRef,
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

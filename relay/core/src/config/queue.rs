//! Where mail waits.
//! **Owns:** which shards there are and what is asked of their disks. **Never:** Redis (the queue crate's).

use std::time::Duration;

use postrider_mail::PartitionName;
use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// A fleet's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Who keeps its servers.
    pub kind: QueueKind,
    /// How they are run.
    #[serde(default, skip_serializing_if = "QueueMode::is_standalone")]
    pub mode: QueueMode,
    /// What a `250` promises.
    pub durability: Durability,
    /// Its servers; at least one.
    pub shards: Vec<Shard>,
    /// PEM of the authority that vouches for the servers, where it isn't a public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// Who keeps the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueKind {
    /// We do: the operator, or whoever starts the relay.
    Managed,
    /// The user does.
    External,
}

/// How the servers are run, and so what the hosts of their URLs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum QueueMode {
    /// Each alone.
    #[default]
    Standalone,
    /// Sentinels choose the primary of each.
    Sentinel,
    /// Nodes of a cluster, which say which of them has a shard.
    Cluster,
}

/// One server with one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Its name, part of each queue ID in it.
    pub name: PartitionName,
    /// Where it is; absent while a managed one has no server yet. It may hold a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Secret<String>>,
    /// The queue that was there when last seen: an empty server in its place stays out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Whether it is to be emptied: it takes no new mail, and is closed once nothing is in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

/// What a `250` promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// The message is on the shard's disk.
    Synced,
    /// It is on the disks of replicas, too.
    Replicated {
        /// Of how many.
        replicas: u32,
        /// How long their answer is waited for.
        #[serde(with = "crate::policy::millis")]
        timeout: Duration,
    },
    /// Whatever the service does: it doesn't show its settings.
    Unchecked,
}

impl QueueMode {
    /// Whether nothing fails over.
    pub const fn is_standalone(&self) -> bool {
        matches!(self, Self::Standalone)
    }
}

impl Shard {
    /// One that nothing is known of yet.
    pub const fn new(name: PartitionName) -> Self {
        Self { name, url: None, uuid: None, draining: false }
    }
}

impl Queue {
    /// `shards` servers that are ours, named `a`, `b`, …
    ///
    /// # Panics
    /// With more than 26: the schema has fewer.
    pub fn managed(shards: u8) -> Self {
        let name = |index: u8| {
            let letter = char::from(b'a'.checked_add(index).expect("few shards")).to_string();
            PartitionName::parse(&letter).expect("a letter names a partition")
        };
        Self {
            kind: QueueKind::Managed,
            mode: QueueMode::Standalone,
            durability: Durability::Synced,
            shards: (0..shards).map(|index| Shard::new(name(index))).collect(),
            ca: None,
        }
    }

    /// Says where a managed shard's server is. Returns false if there is no shard of that name.
    pub fn place(&mut self, shard: &PartitionName, url: String) -> bool {
        match self.shards.iter_mut().find(|known| known.name == *shard) {
            Some(known) => {
                known.url = Some(Secret::new(url));
                true
            }
            None => false,
        }
    }
}

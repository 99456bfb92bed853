//! The queue's shards as the configuration names them.
//! **Owns:** the way from the configuration to the queue's options. **Never:** connects.

use std::collections::BTreeMap;

use postrider_core::config::{Config, Durability as Wanted, Queue, QueueMode, Shard};
use postrider_mail::PartitionName;
use postrider_queue::{
    Durability, Unavailable,
    connection::{Target, Topology},
    keys::FleetName,
    shards::{Remembered, ShardOptions, ShardsOptions},
};

use crate::clock;

/// What of a configuration can't be used as a queue.
#[derive(Debug, thiserror::Error)]
pub enum BadQueue {
    /// Nobody says where a shard is.
    #[error("queue.shards[{0}]: found no URL; expected one, or --redis {0}=URL")]
    NoUrl(PartitionName),
    /// A URL or the authority can't be read.
    #[error("queue.shards[{shard}].url: {why}")]
    Url {
        /// Whose.
        shard: PartitionName,
        /// What is wrong with it.
        why: Unavailable,
    },
    /// The MailRelay's name can't be part of keys.
    #[error("fleet: {0}")]
    Fleet(String),
}

/// All of it, for a relay that starts.
///
/// # Errors
/// A shard can't be used.
pub fn options(
    config: &Config,
    remembered: BTreeMap<PartitionName, Remembered>,
) -> Result<ShardsOptions, BadQueue> {
    Ok(ShardsOptions {
        fleet: fleet(config)?,
        relay_uid: config.fleet.uid.clone().map(Into::into),
        shards: list(&config.queue)?,
        durability: durability(&config.queue),
        remembered,
        clock: clock::boot_clock(),
    })
}

/// Its shards.
///
/// # Errors
/// One of them can't be used.
pub fn list(queue: &Queue) -> Result<Vec<ShardOptions>, BadQueue> {
    queue.shards.iter().map(|shard| one(queue, shard)).collect()
}

/// What its 250 promises.
pub const fn durability(queue: &Queue) -> Durability {
    match queue.durability {
        Wanted::Synced => Durability::Synced,
        Wanted::Replicated { replicas, .. } => Durability::Replicated(replicas),
        Wanted::Unchecked => Durability::Unchecked,
    }
}

/// Whether all of it can be used.
///
/// # Errors
/// What can't.
pub fn check(config: &Config) -> Result<(), BadQueue> {
    fleet(config)?;
    for shard in list(&config.queue)? {
        shard.target.check().map_err(|why| BadQueue::Url { shard: shard.name, why })?;
    }
    Ok(())
}

const fn topology(mode: QueueMode) -> Topology {
    match mode {
        QueueMode::Standalone => Topology::Standalone,
        QueueMode::Sentinel => Topology::Sentinel,
        QueueMode::Cluster => Topology::Cluster,
    }
}

fn fleet(config: &Config) -> Result<FleetName, BadQueue> {
    FleetName::parse(&config.fleet.to_string()).map_err(|why| BadQueue::Fleet(why.to_string()))
}

fn one(queue: &Queue, shard: &Shard) -> Result<ShardOptions, BadQueue> {
    let url = shard.url.as_ref().ok_or_else(|| BadQueue::NoUrl(shard.name.clone()))?.expose().clone();
    Ok(ShardOptions {
        name: shard.name.clone(),
        target: Target {
            url,
            topology: topology(queue.mode),
            ca: queue.ca.as_ref().map(|pem| pem.clone().into_bytes()),
        },
        uuid: shard.uuid.clone().map(Into::into),
        is_draining: shard.draining,
    })
}

#[cfg(test)]
mod tests {
    use postrider_core::config::QueueKind;

    use super::*;

    fn queue(mode: QueueMode, url: &str) -> Queue {
        let mut queue = Queue { kind: QueueKind::External, mode, ..Queue::managed(1) };
        let name = queue.shards[0].name.clone();
        assert!(queue.place(&name, url.to_owned()));
        queue
    }

    #[test]
    fn a_shard_is_looked_for_as_its_mode_says() {
        for (mode, expected) in [
            (QueueMode::Standalone, Topology::Standalone),
            (QueueMode::Sentinel, Topology::Sentinel),
            (QueueMode::Cluster, Topology::Cluster),
        ] {
            let list = list(&queue(mode, "redis://a.example/")).expect("a URL");
            assert_eq!(list[0].target.topology, expected);
        }
    }

    #[test]
    fn a_url_is_read_as_its_mode_says() {
        let is_read = |mode, url| list(&queue(mode, url)).expect("a URL")[0].target.check().is_ok();
        let (server, nodes, sentinels) = (
            "redis://a.example/3",
            "redis://a.example,b.example",
            "redis://a.example,b.example/3?master=mail",
        );
        assert!(is_read(QueueMode::Standalone, server) && !is_read(QueueMode::Cluster, server));
        assert!(is_read(QueueMode::Cluster, nodes) && !is_read(QueueMode::Sentinel, nodes));
        assert!(is_read(QueueMode::Sentinel, sentinels) && !is_read(QueueMode::Cluster, sentinels));
    }
}

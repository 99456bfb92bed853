//! Shards that come, go and change while the process lives.
//! **Owns:** [`Shards::change`]. **Never:** asks a store: the next look does, which is due at once then.

use std::sync::Arc;

use super::{Shard, ShardOptions, Shards, Untried, lock};
use crate::{
    error::Unavailable,
    partition::{Durability, Partition},
};

/// What a change of the config made of the partitions.
#[derive(Debug, Default)]
pub struct Changed {
    /// New ones: nothing beats, claims or settles in them yet.
    pub added: Vec<Partition>,
    /// Those that the config no longer has: nothing new goes into them, what runs is still to be ended.
    pub removed: Vec<Partition>,
}

impl Shards {
    /// Takes what the config says now. Shards that stay keep their lives and claims, whatever else of them changes.
    ///
    /// # Errors
    /// If a URL or certificate can't be read; nothing is changed then.
    pub fn change(&self, shards: Vec<ShardOptions>, durability: Durability) -> Result<Changed, Unavailable> {
        for shard in &shards {
            shard.target.check()?;
        }
        let before = self.list();
        let mut changed = Changed::default();
        let mut list = Vec::with_capacity(shards.len());
        for options in shards {
            match before.iter().find(|shard| *shard.partition.name() == options.name) {
                Some(shard) => {
                    self.change_one(shard, options)?;
                    list.push(shard.clone());
                }
                None => {
                    let shard = self.add(options)?;
                    changed.added.push(shard.partition.clone());
                    list.push(Arc::new(shard));
                }
            }
        }
        let is_kept = |shard: &Shard| list.iter().any(|kept| kept.partition.name() == shard.partition.name());
        for shard in before.iter().filter(|shard| !is_kept(shard)) {
            changed.removed.push(shard.partition.clone());
            if lock(&shard.known.standing).keeps_promise() {
                *lock(&self.0.changed) = Some(self.0.settings.clock.now());
            }
        }
        self.use_durability(durability, &list);
        *lock(&self.0.shards) = list.into();
        self.0.look_now.notify_one();
        Ok(changed)
    }

    fn add(&self, options: ShardOptions) -> Result<Shard, Unavailable> {
        let now = self.0.settings.clock.now();
        let remembered = self.0.remembered.borrow().get(&options.name).cloned();
        let shard = Shard::new(&self.0.fleet, options, remembered, &self.0.settings, now)?;
        lock(&shard.known.times).added = Some(now);
        Ok(shard)
    }

    fn change_one(&self, shard: &Shard, options: ShardOptions) -> Result<(), Unavailable> {
        let mut target = lock(&shard.known.target);
        if *target != options.target {
            shard.partition.connections().retarget(&options.target)?;
            *lock(&shard.known.untried) = Some(Untried::default());
            // What is expected of a server depends on how it is run.
            lock(&shard.known.times).preflight = None;
            *target = options.target;
        }
        drop(target);
        lock(&shard.known.wanted).change(options.uuid, options.is_draining, self.0.settings.clock.now());
        Ok(())
    }

    /// What another promise needs of the servers is looked at anew.
    fn use_durability(&self, durability: Durability, list: &[Arc<Shard>]) {
        let before = std::mem::replace(&mut *lock(&self.0.settings.durability), durability);
        if before != durability {
            for shard in list {
                shard.partition.use_durability(durability);
                lock(&shard.known.times).preflight = None;
            }
        }
    }
}

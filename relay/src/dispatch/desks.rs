//! The desks that are open: one for each partition that takes part.
//! **Owns:** [`Desks`]. **Never:** opens or closes one by itself: shards come and go with the configuration.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use postrider_mail::PartitionName;
use postrider_queue::Partition;

use crate::settle::Settler;

/// One partition, as attempts reach it. An attempt keeps its own until its end, open or not. Cloning shares.
#[derive(Clone)]
pub struct Desk {
    /// The partition.
    pub partition: Partition,
    /// Ends attempts.
    pub settler: Settler,
}

/// All open desks. Cloning shares.
#[derive(Clone, Default)]
pub struct Desks(Arc<Mutex<BTreeMap<PartitionName, Desk>>>);

impl Desks {
    /// The desk of a partition.
    pub fn of(&self, partition: &PartitionName) -> Option<Desk> {
        self.lock().get(partition).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Desk> {
        self.lock().values().cloned().collect()
    }

    /// Attempts of the desk's partition may start.
    pub fn open(&self, desk: Desk) {
        self.lock().insert(desk.partition.name().clone(), desk);
    }

    /// No further attempt of the partition starts.
    pub fn close(&self, partition: &PartitionName) {
        self.lock().remove(partition);
    }

    /// No call that holds the lock can fail half-way, so a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionName, Desk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

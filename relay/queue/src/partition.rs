//! One partition of the queue: a whole queue of its own, all operations are methods of it.
//! **Owns:** [`Partition`], what its operations share. **Never:** chooses among partitions (shards.rs).

use std::sync::{Arc, Mutex, PoisonError};

use postrider_mail::PartitionName;

use crate::{
    body::leftovers::Leftovers,
    connection::{Connections, OnConnect, Target},
    enqueue::Aborts,
    error::Unavailable,
    incarnation::LeaseHandle,
    keys::{FleetName, Keys},
    lane::ConfigTag,
};

/// What an enqueue waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The store's own disk.
    #[default]
    Synced,
    /// The disks of this many replicas as well.
    Replicated(u32),
    /// Whatever the store's answer means.
    Unchecked,
}

/// How to make a partition.
#[derive(Clone)]
pub struct PartitionOptions {
    /// Whose mail.
    pub fleet: FleetName,
    /// Its name.
    pub name: PartitionName,
    /// Where it is.
    pub target: Target,
    /// What enqueue waits for.
    pub durability: Durability,
    /// This process's standing in it.
    pub lease: LeaseHandle,
    /// Checks each new connection.
    pub on_connect: Option<OnConnect>,
}

/// One partition of the queue. Cloning shares.
#[derive(Debug, Clone)]
pub struct Partition(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: PartitionName,
    keys: Keys,
    connections: Connections,
    lease: LeaseHandle,
    durability: Mutex<Durability>,
    /// Of the last claim. Before the first one any suspension counts.
    config: Mutex<ConfigTag>,
    aborts: Aborts,
    leftovers: Leftovers,
}

impl Partition {
    /// A partition; connections are made when first needed.
    ///
    /// # Errors
    /// If its URL or certificates can't be read.
    pub fn new(options: PartitionOptions) -> Result<Self, Unavailable> {
        let keys = Keys::new(&options.fleet, &options.name);
        let (lease, on_connect) = (options.lease.clone(), options.on_connect.as_ref());
        let connections = Connections::new(&options.target, &keys, Some(lease), on_connect)?;
        Ok(Self(Arc::new(Inner {
            keys,
            name: options.name,
            connections,
            lease: options.lease,
            durability: Mutex::new(options.durability),
            config: Mutex::new(ConfigTag::new("")),
            aborts: Aborts::default(),
            leftovers: Leftovers::default(),
        })))
    }

    /// Its name.
    pub fn name(&self) -> &PartitionName {
        &self.0.name
    }

    /// Its keys.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Its connections.
    pub fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// This process's standing in it.
    pub fn lease(&self) -> &LeaseHandle {
        &self.0.lease
    }

    pub(crate) fn aborts(&self) -> &Aborts {
        &self.0.aborts
    }

    /// Chunks of bodies that came to nothing.
    pub(crate) fn leftovers(&self) -> &Leftovers {
        &self.0.leftovers
    }

    pub(crate) fn config(&self) -> ConfigTag {
        self.0.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn use_config(&self, config: &ConfigTag) {
        let mut current = self.0.config.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != *config {
            *current = config.clone();
        }
    }

    /// What enqueue waits for.
    pub fn durability(&self) -> Durability {
        *self.0.durability.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enqueues wait for something else from now on.
    pub(crate) fn use_durability(&self, durability: Durability) {
        *self.0.durability.lock().unwrap_or_else(PoisonError::into_inner) = durability;
    }
}

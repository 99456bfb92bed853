//! What is known of one MailRelay at one moment: its rules, their Secrets, its children, its pods and what they tell.
//! **Owns:** the [`Snapshot`] that everything else is a function of. **Never:** asks the API server (watches fill the caches), decides.

pub mod caches;
pub mod child;
pub mod index;
pub mod pods;
pub mod resources;
pub mod store;
pub mod watch;

use std::{collections::BTreeMap, sync::Arc};

use postrider_core::manifests::Resources;
use postrider_crds::MailRelay;

use crate::{names, plan::Kind, validate::Images};

pub use caches::Caches;
pub use child::Child;
pub use pods::RelayPod;

/// What is known of one MailRelay.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// It.
    pub relay: Arc<MailRelay>,
    /// It, its rules, and what they name.
    pub resources: Resources,
    /// Its children that are there, by kind and name.
    pub children: BTreeMap<(Kind, String), Arc<Child>>,
    /// Its relays' pods.
    pub pods: Vec<RelayPod>,
    /// The password of its queue's servers, if they have one.
    pub password: Option<String>,
    /// One that nobody has, in case they need one.
    pub fresh_password: String,
    /// Whether the cluster knows PodMonitors.
    pub has_pod_monitor: bool,
    /// What pods run.
    pub images: Images,
}

impl Snapshot {
    fn name(&self) -> &str {
        self.relay.metadata.name.as_deref().unwrap_or_default()
    }

    fn child(&self, kind: Kind, name: &str) -> Option<&Arc<Child>> {
        self.children.get(&(kind, name.to_owned()))
    }

    /// How many relays the Deployment asks for.
    pub fn live_replicas(&self) -> Option<i32> {
        self.child(Kind::Deployment, self.name()).and_then(|child| child.replicas)
    }

    /// The Deployment.
    pub fn deployment(&self) -> Option<&Arc<Child>> {
        self.child(Kind::Deployment, self.name())
    }

    /// How many queue servers the StatefulSet asks for.
    pub fn live_servers(&self) -> Option<i32> {
        self.child(Kind::StatefulSet, &names::queue(self.name())).and_then(|child| child.replicas)
    }

    /// Whether a managed shard has no delivery any more, as every pod that tells has it.
    pub fn is_drained(&self, ordinal: i32) -> bool {
        let Some(name) = shard_name(ordinal) else { return false };
        let mut told = self.shard_reports(&name).peekable();
        let is_empty = |shard: &crate::report::ShardReport| {
            let is_closing = matches!(shard.state.as_deref(), Some("Draining" | "Closed"));
            is_closing && shard.deliveries == Some(0)
        };
        told.peek().is_some() && told.all(is_empty)
    }

    /// The queue that a shard has or had: as relays tell, else as the status remembers.
    pub fn uuid_of(&self, shard: &str) -> Option<String> {
        let told =
            self.shard_reports(shard).find(|report| report.is_in_use()).and_then(|one| one.uuid.clone());
        let status = self.relay.status.as_ref();
        told.or_else(|| {
            let remembered = status?.shards.iter().find(|known| known.name == shard)?;
            remembered.uuid.clone()
        })
    }

    /// What the pods tell of a shard.
    pub fn shard_reports<'s>(
        &'s self,
        shard: &'s str,
    ) -> impl Iterator<Item = &'s crate::report::ShardReport> {
        let queues = self.pods.iter().filter_map(|pod| pod.report.as_ref()?.queue.as_ref());
        queues.flat_map(|queue| &queue.shards).filter(move |report| report.name == shard)
    }

    /// The names of the shards that the pods tell of.
    pub fn shard_names(&self) -> Vec<String> {
        let queues = self.pods.iter().filter_map(|pod| pod.report.as_ref()?.queue.as_ref());
        let mut names: Vec<String> =
            queues.flat_map(|queue| &queue.shards).map(|shard| shard.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// How many deliveries are in all shards; none, if nobody knows of one of them.
    pub fn deliveries(&self) -> Option<u64> {
        let names = self.shard_names();
        if names.is_empty() {
            return None;
        }
        names.iter().map(|name| self.shard_reports(name).find_map(|report| report.deliveries)).sum()
    }
}

/// The name of a managed shard: `a` for the first.
fn shard_name(ordinal: i32) -> Option<String> {
    let letter = u8::try_from(ordinal).ok()?.checked_add(b'a')?;
    Some(char::from(letter).to_string())
}

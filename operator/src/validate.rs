//! Whether what users wrote can be used, by the very code that the relays run: Snapshot -> Judged.
//! **Owns:** what core is given (where managed shards are, which of them drain), and that only a valid relay goes on. **Never:** a client, what
//! a rule means (core::compile).

use std::sync::Arc;

use postrider_core::{
    compile::{self, Verdict},
    config::{Config, Queue, Secret},
};
use postrider_crds::{MailRelay, ManagedQueue};

use crate::{
    gather::Snapshot,
    names::{ABANDON_QUEUE, FINALIZER, Key},
    plan,
};

/// The images that pods run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Of relays.
    pub relay: String,
    /// Of managed queues' servers.
    pub queue: String,
    /// When they are pulled.
    pub pull_policy: String,
}

/// The servers of a managed queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Servers {
    /// What the spec says of them.
    pub spec: ManagedQueue,
    /// How many should run: those that the spec asks for, and those that still hold mail.
    pub count: i32,
    /// What opens them.
    pub password: String,
}

/// A MailRelay that can be used.
#[derive(Debug, Clone)]
pub struct Valid {
    /// It.
    pub relay: Arc<MailRelay>,
    /// What its relays run by.
    pub config: Config,
    /// Its queue's servers, if they are ours.
    pub servers: Option<Servers>,
    /// How many relays its Deployment asks for now.
    pub live_replicas: Option<i32>,
    /// Whether the cluster knows PodMonitors.
    pub has_pod_monitor: bool,
    /// What pods run.
    pub images: Images,
}

/// What is to be said of a MailRelay and its rules.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Of the MailRelay.
    pub relay: Verdict,
    /// Of the rules that name it.
    pub rules: Vec<Verdict>,
    /// What goes on: nothing, if the MailRelay can't be used. What runs then stays.
    pub valid: Option<Valid>,
}

/// Why a MailRelay isn't gone yet, or that it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nobody wants it gone.
    Stays,
    /// It may go.
    MayGo,
    /// Its queue holds so many deliveries; nobody knows how many, if absent.
    Waits(Option<u64>),
}

/// Judges what was gathered.
pub fn validate(snapshot: &Snapshot) -> Judged {
    let compiled = compile::compile(&snapshot.resources, &snapshot.relay);
    let servers = servers(snapshot);
    let valid = compiled.config.map(|mut config| {
        place(&mut config.queue, snapshot, servers.as_ref());
        Valid {
            relay: snapshot.relay.clone(),
            config,
            servers,
            live_replicas: snapshot.live_replicas(),
            has_pod_monitor: snapshot.has_pod_monitor,
            images: snapshot.images.clone(),
        }
    });
    Judged { relay: compiled.relay, rules: compiled.rules, valid }
}

/// A server that isn't asked for any more stays until every relay that tells says that it is empty; the last one goes first.
fn servers(snapshot: &Snapshot) -> Option<Servers> {
    let spec = snapshot.relay.spec.queue.managed.clone()?;
    let running = snapshot.live_servers().unwrap_or(spec.shards);
    let mut count = running.max(spec.shards);
    while count > spec.shards && snapshot.is_drained(count - 1) {
        count -= 1;
    }
    let password = snapshot.password.clone().unwrap_or_else(|| snapshot.fresh_password.clone());
    Some(Servers { spec, count, password })
}

/// Says where managed shards are, which drain, and which queue each had.
fn place(queue: &mut Queue, snapshot: &Snapshot, servers: Option<&Servers>) {
    let is_ending = snapshot.relay.metadata.deletion_timestamp.is_some();
    if let Some(servers) = servers {
        let durability = queue.durability;
        *queue = Queue::managed(u8::try_from(servers.count).unwrap_or(u8::MAX).min(26));
        queue.durability = durability;
        let key = Key::of(&snapshot.relay.metadata);
        for (ordinal, shard) in queue.shards.iter_mut().enumerate() {
            let url = plan::queue::url(&key, ordinal, &servers.password);
            shard.url = Some(Secret::new(url));
            let is_asked_for = i32::try_from(ordinal).is_ok_and(|ordinal| ordinal < servers.spec.shards);
            shard.draining = is_ending || !is_asked_for;
        }
    }
    for shard in &mut queue.shards {
        shard.uuid = snapshot.uuid_of(shard.name.as_str());
    }
}

/// Whether a MailRelay that is to go may: nobody's mail is left in servers that go with it.
pub fn ending(snapshot: &Snapshot) -> Ending {
    let metadata = &snapshot.relay.metadata;
    if metadata.deletion_timestamp.is_none() {
        return Ending::Stays;
    }
    let is_abandoned = metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(ABANDON_QUEUE))
        .is_some_and(|value| value == "true");
    if is_abandoned || snapshot.relay.spec.queue.managed.is_none() || snapshot.live_servers().is_none() {
        return Ending::MayGo;
    }
    // Of every server that runs: one that nobody tells of may be full.
    let servers = snapshot.live_servers().and_then(|count| usize::try_from(count).ok());
    let is_whole = servers.is_some_and(|count| snapshot.shard_names().len() >= count);
    match snapshot.deliveries().filter(|_| is_whole) {
        Some(0) => Ending::MayGo,
        other => Ending::Waits(other),
    }
}

/// Whether the finalizer is to be put on or taken off; none, if it is as it should be.
pub fn finalizer(snapshot: &Snapshot, ending: Ending) -> Option<Vec<String>> {
    let relay = &snapshot.relay;
    let present = relay.metadata.finalizers.clone().unwrap_or_default();
    let is_there = present.iter().any(|name| name == FINALIZER);
    let is_wanted = match ending {
        Ending::Stays => relay.spec.queue.managed.is_some(),
        Ending::MayGo => false,
        Ending::Waits(_) => is_there,
    };
    match (is_there, is_wanted) {
        (false, true) => Some(present.into_iter().chain([FINALIZER.to_owned()]).collect()),
        (true, false) => Some(present.into_iter().filter(|name| name != FINALIZER).collect()),
        (true, true) | (false, false) => None,
    }
}

#[cfg(test)]
mod tests;

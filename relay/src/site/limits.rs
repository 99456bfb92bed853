//! Limits that the whole fleet keeps to, as this relay sees them.
//! **Owns:** what each limit is called in the store, one gate for each. **Never:** counts (the queue's store does), waits for long:
//! mail that a limit lets wait goes back to the queue.
//! A limit is of one set of hosts, or of all hosts of a known provider, of the source that they are reached by, and of whoever set it. So
//! all domains with the same exchangers share it, and what two rules say is counted apart. Where no limit is set there is no gate, and
//! nobody asks anything.

mod quota;
mod rate;
mod slots;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use postrider_core::{
    egress::{SourceName, WarmUp},
    limits::{FleetLimits, Owned, Owner, Rate},
    mx::HostSet,
    providers::{Counted, Provider},
};
use postrider_mail::Class;
use postrider_queue::{Lane, incarnation::Clock, lane::Limited, limit::Limiter, shards::Shards};
use tokio_util::sync::CancellationToken;

use super::connections::Turn;
use crate::egress::NamedSource;
use quota::QuotaGate;
use rate::RateGate;
pub(crate) use slots::Permit;
use slots::SlotGate;

/// Who waits for less than this waits with its connection; for more, in the queue.
pub(super) const SHORT: Duration = Duration::from_millis(100);
/// How often slots are given back that nobody needs.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// Stores asked at once about slots.
const ASKED_AT_ONCE: usize = 32;

/// All limits that mail has lately met. Cloning shares.
#[derive(Clone)]
pub(super) struct Limits {
    shards: Shards,
    clock: Clock,
    gates: Arc<Mutex<Gates>>,
}

#[derive(Default)]
struct Gates {
    rates: HashMap<(String, Rate), Arc<RateGate>>,
    /// By name alone: what is in use counts whatever the limit was when it was taken.
    slots: HashMap<String, Arc<SlotGate>>,
    quotas: HashMap<(String, WarmUp), Arc<QuotaGate>>,
}

/// The limits of one site.
#[derive(Default)]
pub(super) struct OfSite {
    /// Messages in a time.
    pub(super) messages: Option<Arc<RateGate>>,
    /// Connections opened in a time.
    pub(super) new_connections: Option<Arc<RateGate>>,
    /// Connections at a time, and how many.
    pub(super) connections: Option<(Arc<SlotGate>, u32)>,
    /// Messages in a day by its source.
    pub(super) warm_up: Option<Arc<QuotaGate>>,
}

/// Whose mail asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who<'a> {
    /// Its lane.
    pub(super) lane: &'a Lane,
    /// How urgent it is to a limit.
    pub(super) urgency: Class,
}

impl OfSite {
    /// Mail goes back to the queue for a limit's sake. If that is for want of a connection, others give theirs up.
    pub(super) fn missed(&self, who: Who<'_>, put_off: PutOff) {
        if let (Limiter::Connections, Some((gate, _))) = (put_off.limited.limiter, &self.connections) {
            gate.missed(who.is_urgent());
        }
    }

    /// Whether a connection could be opened, as far as is known here. Asks nobody.
    pub(super) fn look_for_connection(&self, who: Who<'_>) -> Result<(), PutOff> {
        if let Some((gate, _)) = &self.connections {
            gate.look()?;
        }
        self.new_connections.as_ref().map_or(Ok(()), |gate| gate.look(who))
    }
}

impl Who<'_> {
    /// When its turn comes to use a connection.
    pub(super) fn turn(self) -> Turn {
        Turn { is_urgent: self.is_urgent(), flow: self.lane.flow }
    }

    /// Whether it goes before all that isn't.
    pub(super) fn is_urgent(self) -> bool {
        self.urgency == Class::Transactional
    }
}

/// Mail that a limit lets wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutOff {
    /// Which limit, for how long, how many next time.
    pub limited: Limited,
    /// Whether that holds for all relays, and not only for this one.
    pub is_for_all: bool,
}

impl Limits {
    pub(super) fn new(shards: Shards, clock: Clock) -> Self {
        Self { shards, clock, gates: Arc::default() }
    }

    /// The gates of a site: those of its hosts, or their provider, and of the source that they are reached by.
    pub(super) fn of(
        &self,
        set: &HostSet,
        (provider, source): (Option<&Provider>, Option<&NamedSource>),
        limits: &FleetLimits,
    ) -> OfSite {
        let plan = source.and_then(|source| source.source.warm_up.as_ref());
        if !limits.is_any() && plan.is_none() {
            return OfSite::default();
        }
        let source = source.map(|source| &source.name);
        let place = match provider {
            Some(Provider { name, counted: Counted::Together, .. }) => of_provider(name, source),
            Some(Provider { counted: Counted::Apart, .. }) | None => by_source(set.name(), source),
        };
        let key = |owner: Owner, limiter: Limiter| format!("{}:{owner}:{place}", limiter.as_str());
        let mut gates = self.lock();
        let mut rate = |owned: Option<Owned<Rate>>, limiter| {
            let Owned { limit, owner } = owned?;
            let key = key(owner, limiter);
            let gate = gates.rates.entry((key.clone(), limit)).or_insert_with(|| {
                Arc::new(RateGate::new(limiter, key, limit, self.shards.clone(), self.clock.clone()))
            });
            Some(gate.clone())
        };
        let messages = rate(limits.messages, Limiter::MessageRate);
        let new_connections = rate(limits.new_connections, Limiter::ConnectionRate);
        let connections = limits.connections.map(|Owned { limit, owner }| {
            let key = key(owner, Limiter::Connections);
            let gate = gates.slots.entry(key.clone()).or_insert_with(|| {
                Arc::new(SlotGate::new(key, limit, self.shards.clone(), self.clock.clone()))
            });
            (gate.clone(), limit)
        });
        let warm_up = plan.map(|plan| {
            // A provider gets to know a source by all of its hosts.
            let place = provider.map_or(place, |provider| of_provider(&provider.name, source));
            let key = format!("{}:{place}", Limiter::WarmUp.as_str());
            let gate = gates.quotas.entry((key.clone(), plan.clone())).or_insert_with(|| {
                Arc::new(QuotaGate::new(key, plan.clone(), self.shards.clone(), self.clock.clone()))
            });
            gate.clone()
        });
        OfSite { messages, new_connections, connections, warm_up }
    }

    /// Gives back slots and forgets limits that nobody meets, until `stopped`. A relay that ends needn't give anything back: it
    /// leaves.
    pub(super) async fn run(&self, stopped: CancellationToken) {
        let mut ticks = tokio::time::interval(TIDY_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stopped.run_until_cancelled(ticks.tick()).await.is_some() {
            let slots: Vec<_> = self.lock().slots.values().cloned().collect();
            let told = stream::iter(slots).for_each_concurrent(ASKED_AT_ONCE, async |gate| gate.tidy().await);
            if stopped.run_until_cancelled(told).await.is_none() {
                return;
            }
            let now = self.clock.now();
            let mut gates = self.lock();
            gates.rates.retain(|_, gate| Arc::strong_count(gate) > 1 || !gate.is_unused(now));
            gates.slots.retain(|_, gate| Arc::strong_count(gate) > 1 || !gate.is_unused());
            gates.quotas.retain(|_, gate| Arc::strong_count(gate) > 1 || !gate.is_unused());
        }
    }

    /// Nothing that holds the lock can fail half-way, so a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, Gates> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a provider is called in the store; by each source it is another one. Every version of every relay must compute the same.
fn of_provider(name: &str, source: Option<&SourceName>) -> String {
    by_source(format!("provider:{name}"), source)
}

fn by_source(name: String, source: Option<&SourceName>) -> String {
    match source {
        Some(source) => format!("{name}:{source}"),
        None => name,
    }
}

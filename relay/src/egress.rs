//! The sources that mail leaves by, as this relay knows them.
//! **Owns:** which of them work ([`Sources`]); in the files below, how a connection is made by one. **Never:** the choice itself, or how
//! long one that failed is left out (core::egress).
//! Invariant: mail of a pool leaves by a source of that pool, or waits.

pub mod dial;
pub mod proxy_v2;
pub mod socks5;

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use postrider_core::egress::{Pool, Source, SourceName, Standing};
use postrider_queue::incarnation::Clock;

use crate::metrics::SourceMetrics;
use dial::SourceFault;

/// Sources remembered: what a configuration can have, and as many that it had.
const KNOWN_MAX: usize = 2_048;

/// A source, with its name among all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSource {
    /// What it is called.
    pub name: SourceName,
    /// What it is.
    pub source: Source,
}

/// By its name: under one name there rarely is more than one.
impl Hash for NamedSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// All sources of a relay. Cloning shares.
#[derive(Clone)]
pub struct Sources {
    known: Arc<Mutex<HashMap<SourceName, Known>>>,
    clock: Clock,
    metrics: SourceMetrics,
}

struct Known {
    source: Arc<NamedSource>,
    standing: Standing,
}

/// The source that a message goes by.
#[derive(Debug)]
pub enum Choice {
    /// This one.
    By(Arc<NamedSource>),
    /// None works.
    Out,
    /// None reaches the far side's kind of address.
    Unreachable,
}

impl Sources {
    /// Nothing is known of any.
    pub fn new(clock: Clock, metrics: SourceMetrics) -> Self {
        Self { known: Arc::default(), clock, metrics }
    }

    /// The source that a message goes by: of those that `reach` its far side and weren't `tried`, the first that works.
    pub fn choose(
        &self,
        pool: &Pool,
        queue_id: &str,
        reach: impl Fn(&Source) -> bool,
        tried: &[Arc<NamedSource>],
    ) -> Choice {
        let reaching: Vec<&Source> =
            pool.order(queue_id).into_iter().filter(|source| reach(source)).collect();
        if reaching.is_empty() && !pool.sources.is_empty() {
            return Choice::Unreachable;
        }
        let now = self.clock.now();
        let mut known = self.lock();
        for source in reaching {
            let known = of(&mut known, pool, source);
            let is_tried = tried.iter().any(|one| one.name == known.source.name);
            if !is_tried && known.standing.enter(now).is_ok() {
                return Choice::By(known.source.clone());
            }
        }
        Choice::Out
    }

    /// Those of a pool's sources that `reach` a far side and that aren't left out.
    pub fn well(&self, pool: &Pool, reach: impl Fn(&Source) -> bool) -> Vec<Arc<NamedSource>> {
        let mut known = self.lock();
        let reaching = pool.sources.iter().filter(|source| reach(source));
        let all = reaching.map(|source| {
            let known = of(&mut known, pool, source);
            known.standing.is_well().then(|| known.source.clone())
        });
        all.flatten().collect()
    }

    /// A source failed. What was under way by it goes by others.
    pub fn failed(&self, source: &NamedSource, why: &SourceFault) {
        self.metrics.failed(&source.name);
        let wait = self.standing(source, |standing, now| standing.failed(now)).flatten();
        if let Some(wait) = wait {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(source = %source.name, reason = %why, wait_ms, "mail can't leave by this source; it is left out for a while");
        }
    }

    /// A source works: a far side was reached by it, or the proxy said that it can't be.
    pub fn works(&self, source: &NamedSource) {
        if self.standing(source, |standing, _| standing.works()) == Some(true) {
            tracing::info!(source = %source.name, "mail leaves by this source again");
        }
    }

    /// An attempt that was given a source is over. If it didn't find out whether that works, the next one may.
    pub fn left(&self, source: &NamedSource) {
        self.standing(source, |standing, now| standing.left(now));
    }

    /// Those that are left out.
    pub fn out(&self) -> Vec<SourceName> {
        let known = self.lock();
        known.iter().filter(|(_, known)| !known.standing.is_well()).map(|(name, _)| name.clone()).collect()
    }

    /// What is known of a source, unless another one has its name by now.
    fn standing<T>(
        &self,
        source: &NamedSource,
        act: impl FnOnce(&mut Standing, postrider_mail::Mono) -> T,
    ) -> Option<T> {
        let now = self.clock.now();
        let mut known = self.lock();
        let known = known.get_mut(&source.name).filter(|known| *known.source == *source)?;
        Some(act(&mut known.standing, now))
    }

    /// Nothing that holds the lock can fail half-way, so a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, HashMap<SourceName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a source. One that the configuration has changed is new.
fn of<'k>(known: &'k mut HashMap<SourceName, Known>, pool: &Pool, source: &Source) -> &'k mut Known {
    let name = pool.name_of(source);
    if known.len() >= KNOWN_MAX && !known.contains_key(&name) {
        known.retain(|_, known| !known.standing.is_well());
    }
    let fresh = || Known {
        source: Arc::new(NamedSource { name: name.clone(), source: source.clone() }),
        standing: Standing::default(),
    };
    let entry = known.entry(name.clone()).or_insert_with(fresh);
    if entry.source.source != *source {
        *entry = fresh();
    }
    entry
}

#[cfg(test)]
mod tests;

//! Sources of egress pools that fail, or have carried what they may.
//! **Owns:** which sources are told by name. **Never:** decides that one has failed.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use postrider_core::{config::Config, egress::SourceName};
use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Register, labels};

/// The first sources of a configuration, in its order, are told by name; all further ones are `other`.
pub const NAMED_SOURCES: usize = 50;
const OTHER: &str = "other";

/// What sources couldn't carry. Cloning shares them.
#[derive(Clone)]
pub struct SourceMetrics {
    failures: IntCounterVec,
    spent: IntCounterVec,
    states: IntGaugeVec,
    names: Arc<RwLock<Names>>,
}

#[derive(Default)]
struct Names {
    /// Those that are told by name.
    named: BTreeSet<SourceName>,
    all: BTreeSet<SourceName>,
}

impl SourceMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            failures: register.counters(
                "postrider_source_failures_total",
                "Connections that a source of an egress pool could not make, through no fault of the far side; the first 50 sources by name, the rest as other.",
                &["pool", "source"],
            )?,
            spent: register.counters(
                "postrider_warm_up_spent_total",
                "Attempts that a source of an egress pool did not make, as its warmUp had nothing left for the day: another source of the pool makes them, or they wait; the first 50 sources by name, the rest as other.",
                &["pool", "source"],
            )?,
            states: register.gauges(
                "postrider_egress_sources",
                "Sources of egress pools; out: left out for a while, since it failed. With none well in a pool its mail waits.",
                &["state"],
            )?,
            names: Arc::default(),
        };
        metrics.show(0, 0);
        Ok(metrics)
    }

    /// Takes a configuration's sources. What is no longer told by name is no longer shown.
    pub fn follow(&self, config: &Config) {
        let sources =
            config.egress_pools.iter().flat_map(|pool| pool.sources.iter().map(|one| pool.name_of(one)));
        let sources: Vec<SourceName> = sources.collect();
        let named: BTreeSet<SourceName> = sources.iter().take(NAMED_SOURCES).cloned().collect();
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        for gone in names.named.difference(&named) {
            for counters in [&self.failures, &self.spent] {
                labels::forget_all(counters, &[("pool", &gone.pool), ("source", &gone.source)]);
            }
        }
        for name in &named {
            self.failures.with_label_values(&[&name.pool, &name.source]);
            self.spent.with_label_values(&[&name.pool, &name.source]);
        }
        *names = Names { named, all: sources.into_iter().collect() };
    }

    /// Counts one failure.
    pub fn failed(&self, source: &SourceName) {
        self.count(&self.failures, source);
    }

    /// Counts a message for which the source had nothing left of the day.
    pub fn spent(&self, source: &SourceName) {
        self.count(&self.spent, source);
    }

    fn count(&self, counters: &IntCounterVec, source: &SourceName) {
        // Held until it is counted: a source that goes meanwhile leaves no series behind.
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let labels = if names.named.contains(source) { [&*source.pool, &*source.source] } else { [OTHER; 2] };
        counters.with_label_values(&labels).inc();
    }

    /// Failures so far of one that is told by name.
    pub fn failures(&self, source: &SourceName) -> u64 {
        self.failures.with_label_values(&[&source.pool, &source.source]).get()
    }

    /// Shows how many are left out.
    pub fn refresh(&self, out: &[SourceName]) {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let out = out.iter().filter(|name| names.all.contains(*name)).count();
        self.show(names.all.len() - out, out);
    }

    fn show(&self, well: usize, out: usize) {
        for (state, count) in [("well", well), ("out", out)] {
            self.states.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

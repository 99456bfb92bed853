//! Every metric of the operator, once: name, help, labels.
//! **Owns:** the registry. **Never:** a label that isn't a closed list or a name from a resource.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

use postrider_core::identity::FindingKind;

use crate::names::Key;

/// All metrics. Cloning shares.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// What `/metrics` prints.
    pub registry: Registry,
    /// Reconciles by kind and result: `ok`, `error`.
    pub reconciles: IntCounterVec,
    /// How long they took, in seconds, by kind.
    pub reconcile_duration: HistogramVec,
    /// Writes by kind, verb and result: `ok`, `conflict`, `error`.
    pub writes: IntCounterVec,
    /// Objects that are due to be reconciled, by kind.
    pub pending: IntGaugeVec,
    /// 1 while this process leads.
    pub leader: IntGauge,
    /// How often it began to lead.
    pub lease_transitions: IntCounter,
    /// Errors of watches, by kind.
    pub watch_errors: IntCounterVec,
    /// Objects that can't be read, by kind.
    pub undecodable: IntGaugeVec,
    /// 1 if the cluster has the kind.
    pub crd_present: IntGaugeVec,
    /// From the config Secret's write until every ready pod runs it, in seconds.
    pub programmed_duration: Histogram,
    /// For how long ready pods have run another configuration than the newest, by MailRelay.
    pub unprogrammed: GaugeVec,
    /// The compressed size of the configuration, by MailRelay.
    pub config_bytes: IntGaugeVec,
    /// Pods by MailRelay and state: `desired`, `ready`.
    pub relay_pods: IntGaugeVec,
    /// Conditions of MailRelays: 1 True, 0 False, -1 Unknown.
    pub condition: IntGaugeVec,
    /// What doesn't fit in the DNS, by MailRelay and kind.
    pub identity_findings: IntGaugeVec,
    /// Events told, by reason.
    pub events: IntCounterVec,
    /// Who can't be read.
    unreadable: Arc<Mutex<HashSet<(&'static str, Key)>>>,
}

const OF_RELAY: &[&str] = &["namespace", "name"];

impl Metrics {
    /// Registers everything in a registry of its own.
    ///
    /// # Errors
    /// Two metrics with one name: a bug that every test run shows.
    pub fn new() -> Result<Self, prometheus::Error> {
        // Long on purpose: a table, an entry for each metric.
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let build =
            gauges("postrider_operator_build_info", "The version that runs, as a label.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let durations =
            HistogramOpts::new("postrider_operator_reconcile_duration_seconds", "How long a reconcile took.")
                .buckets(vec![0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0]);
        let programmed = HistogramOpts::new(
            "postrider_operator_programmed_duration_seconds",
            "From the write of a configuration until every ready pod runs it.",
        )
        .buckets(vec![0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0, 20.0, 90.0]);
        let reconciles = counters(
            "postrider_operator_reconciles_total",
            "Reconciles; errors are tried again, ever later.",
            &["kind", "result"],
        )?;
        let writes = counters(
            "postrider_operator_writes_total",
            "Writes to the API server; none while nothing changes.",
            &["kind", "verb", "result"],
        )?;
        // There from the start: a rate over what has never been is no answer.
        for kind in ["MailRelay", "RoutingRule"] {
            for result in ["ok", "error"] {
                reconciles.with_label_values(&[kind, result]).inc_by(0);
            }
            for result in ["ok", "conflict", "error"] {
                writes.with_label_values(&[kind, "status", result]).inc_by(0);
            }
        }
        Ok(Self {
            reconciles,
            reconcile_duration: registered(&registry, HistogramVec::new(durations, &["kind"])?)?,
            writes,
            pending: gauges("postrider_operator_pending_reconciles", "Objects that are due.", &["kind"])?,
            leader: registered(
                &registry,
                IntGauge::new("postrider_operator_leader", "1 while this process leads.")?,
            )?,
            lease_transitions: registered(
                &registry,
                IntCounter::new(
                    "postrider_operator_lease_transitions_total",
                    "Times that it began to lead.",
                )?,
            )?,
            watch_errors: counters(
                "postrider_operator_watch_errors_total",
                "Errors of watches; they are tried again.",
                &["kind"],
            )?,
            undecodable: gauges(
                "postrider_operator_undecodable_objects",
                "Objects that can't be read; what was known of them stays in force.",
                &["kind"],
            )?,
            crd_present: gauges(
                "postrider_operator_crd_present",
                "1 if the cluster has the kind.",
                &["kind"],
            )?,
            programmed_duration: registered(&registry, Histogram::with_opts(programmed)?)?,
            unprogrammed: registered(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "postrider_operator_unprogrammed_seconds",
                        "For how long some ready pod has run another configuration than the newest.",
                    ),
                    OF_RELAY,
                )?,
            )?,
            config_bytes: gauges(
                "postrider_operator_config_bytes",
                "The compressed configuration; a Secret holds 900 KiB of it.",
                OF_RELAY,
            )?,
            relay_pods: gauges(
                "postrider_operator_relay_pods",
                "Pods of a MailRelay.",
                &["namespace", "name", "state"],
            )?,
            condition: gauges(
                "postrider_operator_condition",
                "Conditions of a MailRelay: 1 True, 0 False, -1 Unknown.",
                &["namespace", "name", "type"],
            )?,
            identity_findings: gauges(
                "postrider_operator_identity_findings",
                "What doesn't fit in the DNS of a MailRelay's addresses, names and keys; its status says what would.",
                &["namespace", "name", "kind"],
            )?,
            events: counters("postrider_operator_events_total", "Events told.", &["reason"])?,
            unreadable: Arc::default(),
            registry,
        })
    }

    /// An object can be read (again).
    pub fn readable(&self, kind: &'static str, key: &Key) {
        self.note_unreadable(kind, |all| all.remove(&(kind, key.clone())));
    }

    /// An object can't be read.
    pub fn unreadable(&self, kind: &'static str, key: &Key) {
        self.note_unreadable(kind, |all| all.insert((kind, key.clone())));
    }

    fn note_unreadable(
        &self,
        kind: &'static str,
        change: impl FnOnce(&mut HashSet<(&'static str, Key)>) -> bool,
    ) {
        let mut all = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut all);
        let count = all.iter().filter(|(other, _)| *other == kind).count();
        self.undecodable.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether the cluster has a kind.
    pub fn crd_present(&self, kind: &str, is_there: bool) {
        self.crd_present.with_label_values(&[kind]).set(i64::from(is_there));
    }

    /// A MailRelay is gone: so are its series.
    pub fn forget(&self, relay: &Key) {
        let labels = [relay.namespace.as_str(), relay.name.as_str()];
        // A series that was never there is no error worth telling.
        drop(self.unprogrammed.remove_label_values(&labels));
        drop(self.config_bytes.remove_label_values(&labels));
        for state in ["desired", "ready"] {
            drop(self.relay_pods.remove_label_values(&[labels[0], labels[1], state]));
        }
        for kind in FindingKind::ALL {
            drop(self.identity_findings.remove_label_values(&[labels[0], labels[1], kind.as_str()]));
        }
        for condition in crate::plan::status::RELAY_CONDITIONS {
            drop(self.condition.remove_label_values(&[labels[0], labels[1], condition]));
        }
    }
}

fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_registered_once() {
        Metrics::new().expect("names are unique");
    }

    #[test]
    fn an_object_that_can_be_read_again_is_no_longer_counted() {
        let metrics = Metrics::new().expect("names are unique");
        let key = Key::new("mail", "a");
        metrics.unreadable("MailRelay", &key);
        metrics.unreadable("MailRelay", &key);
        assert_eq!(metrics.undecodable.with_label_values(&["MailRelay"]).get(), 1);
        metrics.readable("MailRelay", &key);
        assert_eq!(metrics.undecodable.with_label_values(&["MailRelay"]).get(), 0);
    }
}

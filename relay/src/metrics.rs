//! Every metric, once: name, help, labels.
//! **Owns:** the registry. **Never:** a label with a domain, an address, an ID or free text (style: closed enums or names
//! from the spec).

mod config;
mod labels;
mod queue;
mod rules;

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

pub use config::ConfigMetrics;
pub use queue::{Ages, QueueMetrics};
pub use rules::{NAMED_RULES, RuleMetrics};

const DKIM_HELP: &str =
    "Messages by DKIM: signed, none, or owed as a key is missing, so that they wait for its Secret.";

/// All metrics of one relay. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    /// What `/metrics` prints.
    pub registry: Registry,
    /// Messages that got a 250, by listener.
    pub messages_accepted: IntCounterVec,
    /// Commands and messages refused, by listener and reply code class (`4yz`, `5yz`).
    pub messages_refused: IntCounterVec,
    /// Messages taken in by what became of DKIM: `signed`, `owed`, `none`.
    pub dkim_messages: IntCounterVec,
    /// Open sessions, by listener.
    pub sessions: IntGaugeVec,
    /// Sessions, and connections that became none, by how they ended.
    pub sessions_ended: IntCounterVec,
    /// Handshakes that succeeded, by listener and TLS version.
    pub tls_handshakes: IntCounterVec,
    /// AUTHs by result: `accepted`, `refused`, `unavailable`.
    pub authentications: IntCounterVec,
    /// Recipients' outcomes by outcome and stage.
    pub attempts: IntCounterVec,
    /// From the claim to the outcome, in seconds.
    pub attempt_duration: Histogram,
    /// From acceptance to delivery, in seconds.
    pub delivery_latency: Histogram,
    /// From the end of the data to the queue's answer, in seconds.
    pub enqueue_duration: Histogram,
    /// Attempts that run now.
    pub attempts_running: IntGauge,
    /// Connections to far sides by what became of TLS: `verified`, `unverified`, `clear`, `cleared` (fell back).
    pub connections_out: IntCounterVec,
    /// DNS look-ups by result.
    pub dns_lookups: IntCounterVec,
    /// 1 while resolvers give signed answers.
    pub dane_available: IntGauge,
    /// Looks at what a domain publishes by MTA-STS, by `result`.
    pub mta_sts_lookups: IntCounterVec,
    /// Reports about TLS to domains that ask for them, by `result`.
    pub tls_reports: IntCounterVec,
    /// Claims that turned out to be another incarnation's when settled.
    pub claims_lost: IntCounter,
    /// Final dots sent whose reply never came or whose settle was not confirmed.
    pub possible_duplicates: IntCounter,
    /// Incarnations reaped by this relay.
    pub reaps: IntCounter,
    /// How much of the lease was left at the last heartbeat's confirmation, in seconds, smallest of all partitions.
    pub lease_margin: prometheus::Gauge,
    /// When each listener's certificate ends, in seconds since 1970.
    pub certificate_not_after: GaugeVec,
    /// Sites by whether mail is tried there.
    pub sites: IntGaugeVec,
    /// What the configuration's files gave.
    pub config: ConfigMetrics,
    /// Recipients by rule.
    pub rules: RuleMetrics,
    /// What is in the queue; read anew by whoever shows the metrics.
    pub queue: QueueMetrics,
}

impl Metrics {
    /// Registers everything in a registry of its own.
    ///
    /// # Errors
    /// Two metrics with one name: a bug that every test run shows.
    pub fn new() -> Result<Self, prometheus::Error> {
        // Long on purpose: a table, an entry for each metric.
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
                let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            };
        let histogram = |name: &str, help: &str, buckets: &[f64]| -> Result<Histogram, prometheus::Error> {
            let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let sessions =
            IntGaugeVec::new(Opts::new("postrider_sessions", "Open SMTP sessions."), &["listener"])?;
        registry.register(Box::new(sessions.clone()))?;
        let help = "Sets of hosts that mail went to lately; backing_off: nobody answers there.";
        let sites = IntGaugeVec::new(Opts::new("postrider_sites", help), &["state"])?;
        registry.register(Box::new(sites.clone()))?;
        register_build(&registry)?;
        Ok(Self {
            messages_accepted: counters(
                "postrider_messages_accepted_total",
                "Messages that got a 250.",
                &["listener"],
            )?,
            messages_refused: counters(
                "postrider_messages_refused_total",
                "Transactions refused, by reply class.",
                &["listener", "class"],
            )?,
            dkim_messages: register_results(
                &registry,
                "postrider_dkim_messages_total",
                DKIM_HELP,
                &["signed", "owed", "none"],
            )?,
            sessions,
            sessions_ended: counters(
                "postrider_sessions_ended_total",
                "SMTP sessions, and connections that became none, by how they ended.",
                &["listener", "end"],
            )?,
            tls_handshakes: counters(
                "postrider_tls_handshakes_total",
                "Handshakes of clients that succeeded, by TLS version; those that failed are ends of sessions.",
                &["listener", "version"],
            )?,
            authentications: counters(
                "postrider_authentications_total",
                "AUTHs by result; many refused ones are somebody guessing.",
                &["listener", "result"],
            )?,
            attempts: counters(
                "postrider_attempts_total",
                "Recipients' outcomes, by how far the attempt came.",
                &["outcome", "stage"],
            )?,
            attempt_duration: histogram(
                "postrider_attempt_duration_seconds",
                "From the claim to the outcome.",
                &[0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0],
            )?,
            delivery_latency: histogram(
                "postrider_delivery_latency_seconds",
                "From acceptance to delivery.",
                &[0.01, 0.05, 0.25, 1.0, 5.0, 60.0, 600.0, 3600.0, 86_400.0],
            )?,
            enqueue_duration: histogram(
                "postrider_enqueue_duration_seconds",
                "From the end of the data to the queue's answer.",
                &[0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0],
            )?,
            attempts_running: gauge("postrider_attempts_running", "Attempts that run now.")?,
            connections_out: counters(
                "postrider_connections_out_total",
                "Connections to far sides, by TLS.",
                &["tls"],
            )?,
            mta_sts_lookups: register_results(
                &registry,
                "postrider_mta_sts_lookups_total",
                "Looks at the MTA-STS policy of a domain, by result.",
                &["none", "kept", "fetched", "failed"],
            )?,
            tls_reports: register_results(
                &registry,
                "postrider_tls_reports_total",
                "Daily TLS reports (RFC 8460) that were due, by what became of them here.",
                &["sent", "unwanted", "no_mailbox", "failed"],
            )?,
            dns_lookups: counters("postrider_dns_lookups_total", "DNS look-ups, by result.", &["result"])?,
            dane_available: gauge(
                "postrider_dane_available",
                "1 once the resolvers gave a signed answer that validates; at 0 hosts with TLSA records are treated as any other.",
            )?,
            claims_lost: counter(
                "postrider_claims_lost_total",
                "Claims that were another relay's when settled.",
            )?,
            possible_duplicates: counter(
                "postrider_possible_duplicates_total",
                "Final dots sent whose outcome was not recorded; the far side may get these again.",
            )?,
            reaps: counter("postrider_reaps_total", "Dead relays whose claims this relay took over.")?,
            lease_margin: register_lease_margin(&registry)?,
            certificate_not_after: register_certificates(&registry)?,
            sites,
            config: ConfigMetrics::new(&registry)?,
            rules: RuleMetrics::new(&registry)?,
            queue: QueueMetrics::new(&registry)?,
            registry,
        })
    }

    /// A listener is gone, and its series go with it.
    pub fn forget_listener(&self, name: &str) {
        for metric in [
            &self.messages_accepted,
            &self.messages_refused,
            &self.sessions_ended,
            &self.tls_handshakes,
            &self.authentications,
        ] {
            labels::forget(metric, "listener", name);
        }
        labels::forget(&self.sessions, "listener", name);
        labels::forget(&self.certificate_not_after, "listener", name);
    }
}

/// Nothing is known before the first heartbeat, and 0 would be an alarm.
fn register_lease_margin(registry: &Registry) -> Result<prometheus::Gauge, prometheus::Error> {
    let lease_margin = prometheus::Gauge::new(
        "postrider_lease_margin_seconds",
        "Time left on the lease when a heartbeat was confirmed; near 0 the relay stops sending.",
    )?;
    lease_margin.set(f64::NAN);
    registry.register(Box::new(lease_margin.clone()))?;
    Ok(lease_margin)
}

fn register_certificates(registry: &Registry) -> Result<GaugeVec, prometheus::Error> {
    let help =
        "When the certificate that a listener serves ends, of several the first; renew its Secret before.";
    let opts = Opts::new("postrider_certificate_not_after_seconds", help);
    let ends = GaugeVec::new(opts, &["listener"])?;
    registry.register(Box::new(ends.clone()))?;
    Ok(ends)
}

/// A counter by `result`. Each is there before the first of its kind: without a 0 before it, that would raise no alert.
fn register_results(
    registry: &Registry,
    name: &str,
    help: &str,
    results: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counter = IntCounterVec::new(Opts::new(name, help), &["result"])?;
    for result in results {
        counter.with_label_values(&[*result]);
    }
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn register_build(registry: &Registry) -> Result<(), prometheus::Error> {
    let build = IntGaugeVec::new(
        Opts::new(
            "postrider_build_info",
            "1, by the version that runs; two at a time are an upgrade under way.",
        ),
        &["version"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))
}

#[cfg(test)]
mod tests;

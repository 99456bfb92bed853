//! Every metric, once: name, help, labels.
//! **Owns:** the registry. **Never:** a label with a domain, an address, an ID or free text (style: closed enums or names
//! from the spec).

mod config;
mod labels;
mod outbound;
mod queue;
mod register;
mod rules;
mod sources;

use postrider_core::config::Config;
use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGaugeVec, Registry};

pub use config::ConfigMetrics;
pub use outbound::OutboundMetrics;
pub use queue::{Ages, QueueMetrics};
pub use rules::{NAMED_RULES, RuleMetrics};
pub use sources::{NAMED_SOURCES, SourceMetrics};

use register::Register;

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
    /// From the end of the data to the queue's answer, in seconds.
    pub enqueue_duration: Histogram,
    /// Claims that turned out to be another incarnation's when settled.
    pub claims_lost: IntCounter,
    /// Incarnations reaped by this relay.
    pub reaps: IntCounter,
    /// How much of the lease was left at the last heartbeat's confirmation, in seconds, smallest of all partitions.
    pub lease_margin: Gauge,
    /// When each listener's certificate ends, in seconds since 1970.
    pub certificate_not_after: GaugeVec,
    /// What goes on towards far sides.
    pub outbound: OutboundMetrics,
    /// What the configuration's files gave.
    pub config: ConfigMetrics,
    /// Recipients by rule.
    pub rules: RuleMetrics,
    /// Sources that fail.
    pub sources: SourceMetrics,
    /// What is in the queue; read anew by whoever shows the metrics.
    pub queue: QueueMetrics,
}

impl Metrics {
    /// Registers everything in a registry of its own.
    ///
    /// # Errors
    /// Two metrics with one name: a bug that every test run shows.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let register = Register(&registry);
        build(&register)?;
        Ok(Self {
            messages_accepted: register.counters(
                "postrider_messages_accepted_total",
                "Messages that got a 250.",
                &["listener"],
            )?,
            messages_refused: register.counters(
                "postrider_messages_refused_total",
                "Transactions refused, by reply class.",
                &["listener", "class"],
            )?,
            dkim_messages: register.results(
                "postrider_dkim_messages_total",
                DKIM_HELP,
                &["signed", "owed", "none"],
            )?,
            sessions: register.gauges("postrider_sessions", "Open SMTP sessions.", &["listener"])?,
            sessions_ended: register.counters(
                "postrider_sessions_ended_total",
                "SMTP sessions, and connections that became none, by how they ended.",
                &["listener", "end"],
            )?,
            tls_handshakes: register.counters(
                "postrider_tls_handshakes_total",
                "Handshakes of clients that succeeded, by TLS version; those that failed are ends of sessions.",
                &["listener", "version"],
            )?,
            authentications: register.counters(
                "postrider_authentications_total",
                "AUTHs by result; many refused ones are somebody guessing.",
                &["listener", "result"],
            )?,
            enqueue_duration: register.histogram(
                "postrider_enqueue_duration_seconds",
                "From the end of the data to the queue's answer.",
                &[0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0],
            )?,
            claims_lost: register.counter(
                "postrider_claims_lost_total",
                "Claims that were another relay's when settled.",
            )?,
            reaps: register.counter("postrider_reaps_total", "Dead relays whose claims this relay took over.")?,
            lease_margin: lease_margin(&register)?,
            certificate_not_after: register.fractions(
                "postrider_certificate_not_after_seconds",
                "When the certificate that a listener serves ends, of several the first; renew its Secret before.",
                &["listener"],
            )?,
            outbound: OutboundMetrics::new(&register)?,
            config: ConfigMetrics::new(&register)?,
            rules: RuleMetrics::new(&register)?,
            sources: SourceMetrics::new(&register)?,
            queue: QueueMetrics::new(&register)?,
            registry,
        })
    }

    /// Takes the names of a configuration.
    pub fn follow(&self, config: &Config) {
        self.rules.follow(config);
        self.sources.follow(config);
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
fn lease_margin(register: &Register<'_>) -> Result<Gauge, prometheus::Error> {
    let margin = register.fraction(
        "postrider_lease_margin_seconds",
        "Time left on the lease when a heartbeat was confirmed; near 0 the relay stops sending.",
    )?;
    margin.set(f64::NAN);
    Ok(margin)
}

fn build(register: &Register<'_>) -> Result<(), prometheus::Error> {
    let build = register.gauges(
        "postrider_build_info",
        "1, by the version that runs; two at a time are an upgrade under way.",
        &["version"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    Ok(())
}

#[cfg(test)]
mod tests;

//! What goes on towards far sides.
//! **Owns:** the metrics of attempts, connections, look-ups and what domains publish. **Never:** a label with a domain or a host.

use postrider_queue::limit::Limiter;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Register;

/// Mail that leaves. Cloning shares them.
#[derive(Clone)]
pub struct OutboundMetrics {
    /// Recipients' outcomes by outcome and stage.
    pub attempts: IntCounterVec,
    /// From the claim to the outcome, in seconds.
    pub attempt_duration: Histogram,
    /// From acceptance to delivery, in seconds.
    pub delivery_latency: Histogram,
    /// Attempts that run now.
    pub attempts_running: IntGauge,
    /// Connections to far sides by what became of TLS: `verified`, `unverified`, `clear`, `cleared` (fell back).
    pub connections_out: IntCounterVec,
    /// Deliveries that a limit of the fleet, or a far side's pace, let wait, by [`Limiter`].
    pub limit_waits: IntCounterVec,
    /// Final dots sent whose reply never came or whose settle was not confirmed.
    pub possible_duplicates: IntCounter,
    /// Sites by whether mail is tried there.
    pub sites: IntGaugeVec,
    /// DNS look-ups by result.
    pub dns_lookups: IntCounterVec,
    /// 1 while resolvers give signed answers.
    pub dane_available: IntGauge,
    /// Looks at what a domain publishes by MTA-STS, by `result`.
    pub mta_sts_lookups: IntCounterVec,
    /// Reports about TLS to domains that ask for them, by `result`.
    pub tls_reports: IntCounterVec,
}

impl OutboundMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            attempts: register.counters(
                "postrider_attempts_total",
                "Recipients' outcomes, by how far the attempt came.",
                &["outcome", "stage"],
            )?,
            attempt_duration: register.histogram(
                "postrider_attempt_duration_seconds",
                "From the claim to the outcome.",
                &[0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0],
            )?,
            delivery_latency: register.histogram(
                "postrider_delivery_latency_seconds",
                "From acceptance to delivery.",
                &[0.01, 0.05, 0.25, 1.0, 5.0, 60.0, 600.0, 3600.0, 86_400.0],
            )?,
            attempts_running: register.gauge("postrider_attempts_running", "Attempts that run now.")?,
            connections_out: register.counters(
                "postrider_connections_out_total",
                "Connections to far sides, by TLS.",
                &["tls"],
            )?,
            limit_waits: register.counters_of(
                "postrider_limit_waits_total",
                "Deliveries put off by a limit of the fleet, or by the pace that a far side asked for; many are a limit that is set too low, or mail that is too much.",
                "limiter",
                &Limiter::ALL.map(Limiter::as_str),
            )?,
            possible_duplicates: register.counter(
                "postrider_possible_duplicates_total",
                "Final dots sent whose outcome was not recorded; the far side may get these again.",
            )?,
            sites: register.gauges(
                "postrider_sites",
                "Sets of hosts that mail went to lately; paced: they said that mail came too fast; backing_off: nobody answers there, or nothing is wanted.",
                &["state"],
            )?,
            dns_lookups: register.counters("postrider_dns_lookups_total", "DNS look-ups, by result.", &["result"])?,
            dane_available: register.gauge(
                "postrider_dane_available",
                "1 once the resolvers gave a signed answer that validates; at 0 hosts with TLSA records are treated as any other.",
            )?,
            mta_sts_lookups: register.results(
                "postrider_mta_sts_lookups_total",
                "Looks at the MTA-STS policy of a domain, by result.",
                &["none", "kept", "fetched", "failed"],
            )?,
            tls_reports: register.results(
                "postrider_tls_reports_total",
                "Daily TLS reports (RFC 8460) that were due, by what became of them here.",
                &["sent", "unwanted", "failed"],
            )?,
        })
    }
}

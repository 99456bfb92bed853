//! Builds and runs the way out.
//! **Owns:** which of its tasks is work (ends within the grace) and which serves the work. **Never:** logic.

use std::net::IpAddr;

use anyhow::{Context, Result};
use postrider_smtp::timer::Waits;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{Relay, queue::Queue};
use crate::{
    clock,
    dispatch::{
        Dispatcher,
        outbound::{self, Outbound},
    },
    dns::{
        Dns, DnsSettings,
        secure::{Anchors, SecureDns},
    },
    https::Https,
    mta_sts::{Fetcher, Policies},
    site::Sites,
    tls::connect::Connectors,
    tls_report::{Reporter, TlsReports},
};

/// Starts all of it.
///
/// # Errors
/// No nameserver is known, or TLS can't be set up.
pub(super) async fn start(relay: &Relay) -> Result<(Dispatcher, Sites)> {
    let (dns, connectors) = (dns(relay)?, connectors(relay)?);
    let https = Https::new(dns.clone(), connectors.clone(), relay.settings.https_port);
    let (fetcher, own_addresses) = (Fetcher::new(https.clone()), own_addresses());
    let lookups = relay.metrics.outbound.mta_sts_lookups.clone();
    let midnight = relay.settings.tls_report_midnight;
    let reports = midnight.map_or_else(TlsReports::default, TlsReports::with_midnight_in);
    let Outbound { dispatcher, sites, serving, opener } = outbound::build(outbound::Parts {
        config: relay.config.clone(),
        policies: Policies::new(dns.clone(), fetcher, relay.shards.clone(), lookups, reports.clone()),
        dns: dns.clone(),
        reports: reports.clone(),
        mx_port: relay.settings.mx_port,
        own_addresses: own_addresses.clone(),
        connectors,
        waits: Waits::default(),
        clock: clock::boot_clock(),
        shards: relay.shards.clone(),
        metrics: relay.metrics.clone(),
        running: relay.heartbeat.running(),
        work: relay.work.clone(),
        shutdown: relay.shutdown.clone(),
    });
    for task in serving {
        relay.background.spawn(task);
    }
    let reporter = Reporter {
        reports,
        shards: relay.shards.clone(),
        config: relay.config.clone(),
        dns,
        https,
        own_addresses,
        dispatcher: dispatcher.clone(),
        sent: relay.metrics.outbound.tls_reports.clone(),
        holder: format!("{:032x}", rand::random::<u128>()).into(),
        is_hasty: midnight.is_some(),
    };
    relay.background.spawn(reporter.run(relay.shutdown.stop_serving.clone()));
    let mut queue = Queue::new(relay, opener);
    queue.open_all().await;
    relay.serve(queue.run());
    relay.serve(relay.heartbeat.pulse().run());
    Ok((dispatcher, sites))
}

fn connectors(relay: &Relay) -> Result<Connectors> {
    let roots = match &relay.settings.roots {
        None => Vec::new(),
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("--roots {}: expected certificates in PEM", file.display()))?,
    };
    Connectors::new(&roots).context("TLS towards far sides")
}

/// The DNS, and what finds out whether it gives signed answers.
fn dns(relay: &Relay) -> Result<Dns> {
    let told = &relay.settings.dns;
    let which = if told.is_empty() { DnsSettings::system()? } else { DnsSettings::new(told.clone()) };
    let anchors = match &relay.settings.dnssec_anchors {
        Some(file) => Anchors::from_file(file)?,
        None => Anchors::of_the_root(),
    };
    let secure = SecureDns::new(which.clone(), anchors, Some(relay.metrics.outbound.dane_available.clone()))?;
    let finding_out = secure.clone();
    relay.serve(async move { finding_out.run().await });
    Ok(Dns::counting(which, Some(relay.metrics.outbound.dns_lookups.clone()))?.secured(secure))
}

/// The addresses of this machine, or pod: mail to one of them would come back. What is only known by itself (loopback) is kept from
/// by the private ranges.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the machine's own addresses can't be read; mail to them isn't recognised as a circle");
        Vec::new()
    });
    interfaces.iter().map(if_addrs::Interface::ip).filter(|address| !address.is_loopback()).collect()
}

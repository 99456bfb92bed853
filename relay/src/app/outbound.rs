//! Builds and runs the way out.
//! **Owns:** which of its tasks is work (ends within the grace) and which serves the work. **Never:** logic.

use std::net::IpAddr;

use anyhow::{Context, Result};
use postrider_queue::shards::Shards;
use postrider_smtp::timer::Waits;
use tokio_util::task::TaskTracker;

use crate::{
    clock,
    config::ConfigSource,
    dispatch::{
        Dispatcher,
        outbound::{self, Outbound},
    },
    dns::Dns,
    heartbeat::Heartbeat,
    metrics::Metrics,
    shutdown::Shutdown,
    tls::connect::Connectors,
};

/// What the way out needs of the rest.
pub(super) struct Parts<'a> {
    /// The queue.
    pub(super) shards: &'a Shards,
    /// This process's standing in it.
    pub(super) heartbeat: &'a Heartbeat,
    /// The DNS.
    pub(super) dns: Dns,
    /// The port of hosts that MX records name.
    pub(super) mx_port: u16,
}

/// Starts all of it.
///
/// # Errors
/// TLS can't be set up.
pub(super) fn start(
    parts: Parts<'_>,
    config: &ConfigSource,
    metrics: &Metrics,
    shutdown: &Shutdown,
    work: &TaskTracker,
    background: &TaskTracker,
) -> Result<Dispatcher> {
    let Outbound { dispatcher, facts, taking, serving, .. } = outbound::build(outbound::Parts {
        partitions: parts.shards.partitions(),
        config: config.clone(),
        dns: parts.dns,
        mx_port: parts.mx_port,
        own_addresses: own_addresses(),
        connectors: Connectors::new(&[]).context("TLS towards far sides")?,
        waits: Waits::default(),
        clock: clock::boot_clock(),
        metrics: metrics.clone(),
        running: parts.heartbeat.running(),
        work: work.clone(),
        shutdown: shutdown.clone(),
    });
    for task in taking {
        work.spawn(task);
    }
    for task in serving {
        background.spawn(task);
    }
    let stopped = shutdown.stop_serving.clone();
    background.spawn(stopped.clone().run_until_cancelled_owned(parts.heartbeat.follow(facts)));
    background.spawn(stopped.run_until_cancelled_owned(parts.heartbeat.pulse().run()));
    Ok(dispatcher)
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

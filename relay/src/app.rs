//! Puts a relay together, runs it, takes it apart.
//! **Owns:** what is built from what, every long task. **Never:** logic.
//!
//! Two groups of tasks: `work` has mail in hand (listeners, sessions, attempts) and ends within the grace; `background`
//! serves the work and outlives it.

mod facts;
mod outbound;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use postrider_core::config::Config;
use postrider_queue::{
    connection::Target,
    keys::FleetName,
    partition::Durability,
    preflight::Topology,
    shards::{ShardOptions, Shards, ShardsOptions},
};
use postrider_smtp::timer::Waits;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::{
    admin,
    admission::{
        budget::{self, BodyBudget},
        counts::Sessions,
    },
    auth::Authenticator,
    clock,
    config::{self, ConfigSource, Origin},
    control::{self, act::Control},
    dns::{Dns, DnsSettings},
    heartbeat::Heartbeat,
    intake::Intake,
    listener::{self, Listeners},
    metrics::Metrics,
    remembered,
    session::Inbound,
    shutdown::{self, Shutdown},
};

/// How long the start waits for a first look at the shards; a relay without any is not ready, but runs.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// What the command line says beside the configuration.
#[derive(Debug)]
pub struct Settings {
    /// Nameservers; those of the system, if empty.
    pub dns: Vec<SocketAddr>,
    /// The port of hosts that MX records name.
    pub mx_port: u16,
    /// Where the admin port is bound.
    pub admin: SocketAddr,
    /// Where the control socket lies.
    pub ctl: PathBuf,
    /// Listeners that are bound elsewhere than on their port.
    pub listen: Vec<(String, SocketAddr)>,
    /// A folder that outlives the process.
    pub state: Option<PathBuf>,
}

/// Runs a relay until SIGTERM or SIGINT.
///
/// # Errors
/// It can't start; the text says what to do. Once it runs, only the end of its heartbeat ends it early.
pub async fn run(origin: Origin, settings: Settings) -> Result<()> {
    let stamp = origin.stamp();
    let config = Arc::new(origin.load()?);
    let drain = config.drain;
    let (swap, source) = ConfigSource::new(config.clone());
    let metrics = Metrics::new().context("metrics")?;
    let shutdown = Shutdown::default();
    let (work, background) = (TaskTracker::new(), TaskTracker::new());

    let shards = open_queue(&config, &settings)?;
    // A shard that doesn't answer is no reason not to start: /readyz tells.
    let _ = tokio::time::timeout(FIRST_LOOK, shards.look()).await;
    let heartbeat = Heartbeat::start(shards.partitions(), &metrics).context("the heartbeat's thread")?;

    let dns = dns(&settings, &metrics)?;
    let parts = outbound::Parts { shards: &shards, heartbeat: &heartbeat, dns, mx_port: settings.mx_port };
    let dispatcher = outbound::start(parts, &source, &metrics, &shutdown, &work, &background)?;
    let inbound = Arc::new(Inbound {
        config: source.clone(),
        intake: Intake::new(
            shards.clone(),
            dispatcher.clone(),
            BodyBudget::of_memory(budget::memory_bytes()),
            metrics.clone(),
        ),
        authenticator: Authenticator::default(),
        sessions: Sessions::default(),
        sessions_max: listener::sessions_max(),
        metrics: metrics.clone(),
        shutdown: shutdown.clone(),
        waits: Waits::default(),
    });
    let listeners = Listeners::bind(inbound, settings.listen.clone())?;
    work.spawn(listeners.run(work.clone()));

    serve_people(&settings, &source, &shards, &heartbeat, &metrics, &dispatcher, &shutdown, &background)
        .await?;
    serve_queue(&shards, &settings, &shutdown, &background);
    background.spawn(config::follow(origin, stamp, swap, shutdown.stop_serving.clone()));
    tracing::info!(relay = %config.fleet, config_hash = %config.hash(), "the relay runs");

    let early = tokio::select! {
        signal = shutdown::requested() => { signal.context("signals")?; false }
        () = heartbeat.ended() => true,
    };
    if !early {
        tokio::time::sleep(drain.delay).await;
    }
    shutdown.run(&work, drain.timeout).await;
    heartbeat.stop().await;
    background.close();
    let _ = tokio::time::timeout(Duration::from_secs(5), background.wait()).await;
    anyhow::ensure!(!early, "the heartbeat has ended; a relay without one has no right to send");
    tracing::info!("the relay has stopped");
    Ok(())
}

fn open_queue(config: &Config, settings: &Settings) -> Result<Shards> {
    use postrider_core::config::Durability as Wanted;
    let queue = &config.queue;
    let shards = queue.shards.iter().map(|shard| {
        let url = shard.url.as_ref().map(|url| url.expose().clone()).with_context(|| {
            format!("queue.shards[{}]: found no URL; expected one, or --redis {}=URL", shard.name, shard.name)
        })?;
        let target = Target { url, ca: queue.ca.as_ref().map(|pem| pem.clone().into_bytes()) };
        Ok(ShardOptions { name: shard.name.clone(), target, uuid: shard.uuid.clone().map(Into::into) })
    });
    let shards = ShardsOptions {
        fleet: FleetName::parse(&config.fleet.to_string())?,
        relay_uid: config.fleet.uid.clone().map(Into::into),
        shards: shards.collect::<Result<_>>()?,
        durability: match queue.durability {
            Wanted::Synced => Durability::Synced,
            Wanted::Replicated { replicas, .. } => Durability::Replicated(replicas),
            Wanted::Unchecked => Durability::Unchecked,
        },
        topology: Topology::Standalone,
        remembered: state_file(settings).map(|path| remembered::load(&path)).unwrap_or_default(),
        clock: clock::boot_clock(),
    };
    Shards::new(shards).context("queue")
}

fn dns(settings: &Settings, metrics: &Metrics) -> Result<Dns> {
    let which =
        if settings.dns.is_empty() { DnsSettings::system()? } else { DnsSettings::new(settings.dns.clone()) };
    Ok(Dns::counting(which, Some(metrics.dns_lookups.clone()))?)
}

fn state_file(settings: &Settings) -> Option<PathBuf> {
    settings.state.as_ref().map(|folder| folder.join("shards.json"))
}

/// What keeps the queue in order while the relay runs.
fn serve_queue(shards: &Shards, settings: &Settings, shutdown: &Shutdown, background: &TaskTracker) {
    let until = |future: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let stopped = shutdown.stop_serving.clone();
        background.spawn(async move { stopped.run_until_cancelled(future).await });
    };
    for partition in shards.partitions() {
        until(Box::pin(async move { partition.run_aborts().await }));
    }
    let looked = shards.clone();
    until(Box::pin(async move { looked.run().await }));
    if let Some(path) = state_file(settings) {
        let shards = shards.clone();
        until(Box::pin(async move { remembered::keep(&path, &shards).await }));
    }
}

/// The ports for people and machines that look, and for people who act.
#[expect(clippy::too_many_arguments, reason = "a list of what is built, read once")]
async fn serve_people(
    settings: &Settings,
    source: &ConfigSource,
    shards: &Shards,
    heartbeat: &Heartbeat,
    metrics: &Metrics,
    dispatcher: &crate::dispatch::Dispatcher,
    shutdown: &Shutdown,
    background: &TaskTracker,
) -> Result<()> {
    let port = TcpListener::bind(settings.admin).await.with_context(|| {
        format!("--admin: found {} taken; expected a free address and port", settings.admin)
    })?;
    tracing::info!(address = %port.local_addr()?, "the admin port is open");
    let facts = facts::Facts::new(shards.clone(), heartbeat.pulse(), metrics.clone());
    let stopped = shutdown.stop_serving.clone();
    let admin = admin::serve(port, facts, metrics.clone(), source.clone(), stopped.cancelled_owned());
    background.spawn(async move {
        if let Err(error) = admin.await {
            tracing::error!(%error, "the admin port has failed");
        }
    });
    let socket = control::bind(&settings.ctl).with_context(|| {
        format!("--ctl: found {} can't be bound; expected a path that may be written", settings.ctl.display())
    })?;
    let control = Control { queue: shards.clone(), dispatcher: dispatcher.clone() };
    background.spawn(control::serve(socket, control, shutdown.stop_serving.clone().cancelled_owned()));
    Ok(())
}

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
    dispatch::Dispatcher,
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

/// What everything in a relay is built from.
struct Relay {
    settings: Settings,
    config: ConfigSource,
    shards: Shards,
    heartbeat: Heartbeat,
    metrics: Metrics,
    shutdown: Shutdown,
    /// Tasks that have mail in hand: they end within the grace.
    work: TaskTracker,
    /// Tasks that serve the work, and outlive it.
    background: TaskTracker,
}

/// Runs a relay until SIGTERM or SIGINT.
///
/// # Errors
/// It can't start; the text says what to do. Once it runs, only the end of its heartbeat ends it early.
pub async fn run(origin: Origin, settings: Settings) -> Result<()> {
    let stamp = origin.stamp();
    let config = Arc::new(origin.load()?);
    let (swap, source) = ConfigSource::new(config.clone());
    let metrics = Metrics::new().context("metrics")?;
    let shards = open_queue(&config, &settings)?;
    // A shard that doesn't answer is no reason not to start: /readyz tells.
    let _ = tokio::time::timeout(FIRST_LOOK, shards.look()).await;
    let heartbeat = Heartbeat::start(shards.partitions(), &metrics).context("the heartbeat's thread")?;
    let relay = Relay {
        settings,
        config: source,
        shards,
        heartbeat,
        metrics,
        shutdown: Shutdown::default(),
        work: TaskTracker::new(),
        background: TaskTracker::new(),
    };
    let dispatcher = outbound::start(&relay)?;
    relay.serve_queue();
    relay.take_mail(dispatcher.clone())?;
    // Last: who is told of a ready relay may connect.
    relay.serve_people(&dispatcher).await?;
    let follow = config::follow(origin, stamp, swap, relay.shutdown.stop_serving.clone());
    relay.background.spawn(follow);
    tracing::info!(relay = %config.fleet, config_hash = %config.hash(), "the relay runs");

    let is_early = tokio::select! {
        signal = shutdown::requested() => { signal.context("signals")?; false }
        () = relay.heartbeat.ended() => true,
    };
    relay.stop(is_early).await;
    anyhow::ensure!(!is_early, "the heartbeat has ended; a relay without one has no right to send");
    tracing::info!("the relay has stopped");
    Ok(())
}

impl Relay {
    /// The listeners.
    fn take_mail(&self, dispatcher: Dispatcher) -> Result<()> {
        let budget = BodyBudget::of_memory(budget::memory_bytes());
        let inbound = Arc::new(Inbound {
            config: self.config.clone(),
            intake: Intake::new(self.shards.clone(), dispatcher, budget, self.metrics.clone()),
            authenticator: Authenticator::default(),
            sessions: Sessions::default(),
            sessions_max: listener::sessions_max(),
            metrics: self.metrics.clone(),
            shutdown: self.shutdown.clone(),
            waits: Waits::default(),
        });
        let listeners = Listeners::bind(inbound, self.settings.listen.clone())?;
        self.work.spawn(listeners.run(self.work.clone()));
        Ok(())
    }

    /// The ports for people and machines that look, and for people who act.
    async fn serve_people(&self, dispatcher: &Dispatcher) -> Result<()> {
        let Settings { admin, ctl, .. } = &self.settings;
        let port = TcpListener::bind(admin)
            .await
            .with_context(|| format!("--admin: found {admin} taken; expected a free address and port"))?;
        tracing::info!(address = %port.local_addr()?, "the admin port is open");
        let facts = facts::Facts::new(self.shards.clone(), self.heartbeat.pulse(), self.metrics.clone());
        let stopped = || self.shutdown.stop_serving.clone().cancelled_owned();
        let served = admin::serve(port, facts, self.metrics.clone(), self.config.clone(), stopped());
        self.background.spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "the admin port has failed");
            }
        });
        let socket = control::bind(ctl).with_context(|| {
            format!("--ctl: found {} can't be bound; expected a path that may be written", ctl.display())
        })?;
        let control = Control { queue: self.shards.clone(), dispatcher: dispatcher.clone() };
        self.background.spawn(control::serve(socket, control, stopped()));
        Ok(())
    }

    /// What keeps the queue in order while the relay runs.
    fn serve_queue(&self) {
        for partition in self.shards.partitions() {
            self.serve(async move { partition.run_aborts().await });
        }
        let shards = self.shards.clone();
        self.serve(async move { shards.run().await });
        if let Some(path) = self.settings.state_file() {
            let shards = self.shards.clone();
            self.serve(async move { remembered::keep(&path, &shards).await });
        }
    }

    /// Runs it until nothing is left that needs it.
    fn serve(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.shutdown.stop_serving.clone();
        self.background.spawn(stopped.run_until_cancelled_owned(task));
    }

    async fn stop(self, is_early: bool) {
        let drain = self.config.current().drain;
        if !is_early {
            tokio::time::sleep(drain.delay).await;
        }
        self.shutdown.run(&self.work, drain.timeout).await;
        self.heartbeat.stop().await;
        self.background.close();
        let _ = tokio::time::timeout(Duration::from_secs(5), self.background.wait()).await;
    }
}

impl Settings {
    fn state_file(&self) -> Option<PathBuf> {
        self.state.as_ref().map(|folder| folder.join("shards.json"))
    }
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
        remembered: settings.state_file().map(|path| remembered::load(&path)).unwrap_or_default(),
        clock: clock::boot_clock(),
    };
    Shards::new(shards).context("queue")
}

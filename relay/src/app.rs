//! Puts a relay together, runs it, takes it apart.
//! **Owns:** what is built from what, every long task. **Never:** logic.
//!
//! Two groups of tasks: `work` has mail in hand (listeners, sessions, attempts) and ends within the grace; `background`
//! serves the work and outlives it.

mod facts;
mod outbound;
mod queue;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use postrider_core::config::Config;
use postrider_queue::shards::Shards;
use postrider_smtp::timer::Waits;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::{
    admin::{self, Shown},
    admission::{
        budget::{self, BodyBudget},
        counts::Sessions,
    },
    auth::Authenticator,
    config::{ConfigSource, Follow, LastLoad, Origin},
    control::{self, act::Control},
    dispatch::Dispatcher,
    heartbeat::Heartbeat,
    intake::Intake,
    listener::{self, Listeners},
    metrics::Metrics,
    remembered,
    session::Inbound,
    shards,
    shutdown::{self, Shutdown},
    site::Sites,
};

/// How long the start waits for a first look at the shards; a relay without any is not ready, but runs.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// What the command line says beside the configuration.
#[derive(Debug)]
pub struct Settings {
    /// Nameservers; those of the system, if empty.
    pub dns: Vec<SocketAddr>,
    /// Keys of a root zone in place of the DNS's own.
    pub dnssec_anchors: Option<PathBuf>,
    /// The port of hosts that MX records name.
    pub mx_port: u16,
    /// The port of web servers that have MTA-STS policies or take TLS reports.
    pub https_port: u16,
    /// How long after the start the first day of TLS reports ends: at midnight, but in tests.
    pub tls_report_midnight: Option<Duration>,
    /// A PEM file of authorities to believe beside the public ones.
    pub roots: Option<PathBuf>,
    /// Where the admin port is bound.
    pub admin: SocketAddr,
    /// Where the control socket lies.
    pub ctl: PathBuf,
    /// Listeners that are bound elsewhere than on their port.
    pub listen: Vec<(String, SocketAddr)>,
    /// A folder that outlives the process.
    pub state: Option<PathBuf>,
    /// How long to go on accepting once told to stop, instead of the configuration's `drain.delay`.
    pub drain_delay: Option<Duration>,
}

/// What everything in a relay is built from.
struct Relay {
    settings: Settings,
    config: ConfigSource,
    last_load: LastLoad,
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
    let seen = origin.stamp();
    let config = Arc::new(origin.load()?);
    let (sender, source) = ConfigSource::new(config.clone());
    let metrics = Metrics::new().context("metrics")?;
    metrics.config.loaded();
    metrics.follow(&config);
    let shards = open_queue(&config, &settings)?;
    // A shard that doesn't answer is no reason not to start: /readyz tells.
    let _ = tokio::time::timeout(FIRST_LOOK, shards.look()).await;
    let heartbeat = Heartbeat::start(Vec::new(), &metrics).context("the heartbeat's thread")?;
    let relay = Relay {
        settings,
        config: source,
        last_load: LastLoad::default(),
        shards,
        heartbeat,
        metrics,
        shutdown: Shutdown::default(),
        work: TaskTracker::new(),
        background: TaskTracker::new(),
    };
    let (dispatcher, sites) = outbound::start(&relay).await?;
    relay.serve_queue();
    relay.take_mail(dispatcher.clone())?;
    // Last: who is told of a ready relay may connect.
    relay.serve_people(&dispatcher, sites).await?;
    let (last, metrics) = (relay.last_load.clone(), relay.metrics.clone());
    let follow = Follow { origin, seen, sender, last, metrics };
    relay.background.spawn(follow.run(relay.shutdown.stop_serving.clone()));
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
    async fn serve_people(&self, dispatcher: &Dispatcher, sites: Sites) -> Result<()> {
        let Settings { admin, ctl, .. } = &self.settings;
        let port = TcpListener::bind(admin)
            .await
            .with_context(|| format!("--admin: found {admin} taken; expected a free address and port"))?;
        tracing::info!(address = %port.local_addr()?, "the admin port is open");
        let facts = facts::Facts::new(self, sites);
        let stopped = || self.shutdown.stop_serving.clone().cancelled_owned();
        let shown = Shown {
            metrics: self.metrics.clone(),
            config: self.config.clone(),
            last_load: self.last_load.clone(),
        };
        let served = admin::serve(port, facts, shown, stopped());
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
            tokio::time::sleep(self.settings.drain_delay.unwrap_or(drain.delay)).await;
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
    let remembered = settings.state_file().map(|path| remembered::load(&path)).unwrap_or_default();
    Shards::new(shards::options(config, remembered)?).context("queue")
}

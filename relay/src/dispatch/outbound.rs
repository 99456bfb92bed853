//! Puts the way out together: window, claim loops and settlers of the partitions that take part, sites.
//! **Owns:** what of it is built from what; the start of attempts as tasks of the tracker that app gives. **Never:** a task of its
//! own beside those.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use postrider_mail::PartitionName;
use postrider_queue::{Body, Claimed, Partition, incarnation::Clock, shards::Shards};
use postrider_smtp::timer::Waits;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Dispatcher, Slot, WINDOW, Window,
    claims::ClaimLoop,
    desks::{Desk, Desks},
    ports::{Lanes, LiveHosts, LiveStore, tag},
    room::Rooms,
};
use crate::{
    clock,
    config::ConfigSource,
    delivery::{self, Ports},
    dns::Dns,
    heartbeat::{Facts, Running},
    metrics::Metrics,
    mta_sts::Policies,
    settle::Settler,
    shutdown::Shutdown,
    site::{SiteParts, Sites},
    tls::connect::Connectors,
    tls_report::TlsReports,
};

/// What the way out is built from.
pub struct Parts {
    /// The config.
    pub config: ConfigSource,
    /// The DNS.
    pub dns: Dns,
    /// What domains publish of TLS.
    pub policies: Policies,
    /// What is counted for reports about TLS.
    pub reports: TlsReports,
    /// Where the hosts of MX records listen: 25 but in tests.
    pub mx_port: u16,
    /// Addresses of this relay: mail to them would go in a circle.
    pub own_addresses: Vec<IpAddr>,
    /// TLS.
    pub connectors: Connectors,
    /// How long far sides are waited for.
    pub waits: Waits,
    /// The boot-time clock.
    pub clock: Clock,
    /// Where the fleet's limits are counted.
    pub shards: Shards,
    /// What is counted.
    pub metrics: Metrics,
    /// Where attempts are entered.
    pub running: Running,
    /// Runs attempts.
    pub work: TaskTracker,
    /// When to stop what.
    pub shutdown: Shutdown,
}

/// A long task; app runs it.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The way out, put together.
pub struct Outbound {
    /// For intake.
    pub dispatcher: Dispatcher,
    /// For gauges.
    pub sites: Sites,
    /// What looks after connections and lanes: it ends when nothing is served any more.
    pub serving: Vec<Task>,
    /// Lets partitions take part.
    pub opener: Opener,
}

/// Lets partitions take part in the way out.
pub struct Opener {
    dispatcher: Dispatcher,
    desks: Desks,
    config: ConfigSource,
    is_one_alone: Arc<AtomicBool>,
    stop_serving: CancellationToken,
}

/// What runs for a partition that takes part.
pub struct Opened {
    /// Its claim loop: it ends when nothing more is taken.
    pub taking: Task,
    /// Its settler: it ends when nothing is served any more, or nobody is left who could settle.
    pub serving: Task,
    /// The facts of the last minute, for a store that comes back as another life.
    pub facts: Facts,
}

/// Puts it together.
pub fn build(parts: Parts) -> Outbound {
    let (window, desks) = (Window::new(WINDOW), Desks::default());
    let stopped = &parts.shutdown.stop_serving;
    let sites = Sites::new(SiteParts {
        connectors: parts.connectors,
        clock: parts.clock,
        stopping: parts.shutdown.stop_running.clone(),
        waits: parts.waits,
        metrics: parts.metrics.clone(),
        shards: parts.shards,
    });
    let follow = follow_config(desks.clone(), window.clone(), parts.config.clone(), stopped.clone());
    let limits = keep_limits(sites.clone(), stopped.clone());
    let serving: Vec<Task> =
        vec![Box::pin(keep_sites(sites.clone(), stopped.clone())), Box::pin(limits), Box::pin(follow)];
    let is_one_alone = Arc::new(AtomicBool::new(false));
    let starter = Starter {
        lanes: Lanes { desks: desks.clone(), window: window.clone(), config: parts.config.clone() },
        hosts: LiveHosts::new(parts.dns, parts.policies, parts.mx_port, parts.own_addresses, parts.reports),
        sites: sites.clone(),
        running: parts.running,
        metrics: parts.metrics,
        rooms: Rooms::default(),
        is_one_alone: is_one_alone.clone(),
    };
    let work = parts.work;
    let paused = parts.config.clone();
    let dispatcher = Dispatcher::new(
        window,
        move || paused.current().is_paused(),
        move |slot, claimed, body| {
            work.spawn(starter.clone().attempt(slot, claimed, body));
        },
    );
    let opener = Opener {
        dispatcher: dispatcher.clone(),
        desks,
        config: parts.config,
        is_one_alone,
        stop_serving: parts.shutdown.stop_serving,
    };
    Outbound { dispatcher, sites, serving, opener }
}

impl Opener {
    /// Attempts of a partition's deliveries may start. It claims until `stop_taking`; what can't be settled is given up once
    /// `abandoned`.
    pub fn open(
        &self,
        partition: &Partition,
        stop_taking: CancellationToken,
        abandoned: CancellationToken,
    ) -> Opened {
        let stopped = self.stop_serving.clone();
        let (settler, serving) = Settler::new(partition.clone(), stopped, abandoned);
        let desk = Desk { partition: partition.clone(), settler: settler.clone() };
        self.desks.open(desk.clone());
        let claim_loop = ClaimLoop {
            dispatcher: self.dispatcher.clone(),
            desk,
            config: self.config.clone(),
            is_one_alone: self.is_one_alone.clone(),
        };
        let facts: Facts = Arc::new(move || settler.facts());
        Opened { taking: Box::pin(claim_loop.run(stop_taking)), serving: Box::pin(serving), facts }
    }

    /// No further attempt of the partition's deliveries starts; those that run go on.
    pub fn close(&self, partition: &PartitionName) {
        self.desks.close(partition);
    }
}

async fn keep_sites(sites: Sites, stopped: CancellationToken) {
    sites.run(stopped).await;
}

async fn keep_limits(sites: Sites, stopped: CancellationToken) {
    sites.keep_limits(stopped).await;
}

/// Under another config, what was suspended may have another way: it is tried at once.
async fn follow_config(desks: Desks, window: Window, mut config: ConfigSource, stopped: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            has_changed = config.changed() => if !has_changed { return },
        }
        window.resume_all();
        let tag = tag(&config.current());
        for desk in desks.all() {
            if let Err(why) = desk.partition.resume_other(&tag).await {
                // They end by themselves, and claims made under the new config don't heed them.
                tracing::debug!(partition = %desk.partition.name(), %why, "suspensions were not lifted");
            }
        }
    }
}

/// All that an attempt needs.
#[derive(Clone)]
struct Starter {
    lanes: Lanes,
    hosts: LiveHosts,
    sites: Sites,
    running: Running,
    metrics: Metrics,
    rooms: Rooms,
    is_one_alone: Arc<AtomicBool>,
}

impl Starter {
    /// One attempt, from its claim to its settlement.
    async fn attempt(self, slot: Slot, claimed: Claimed, body: Option<Body>) {
        // Its shard is gone from the config: what is claimed there goes back as this process leaves it.
        let Some(desk) = self.lanes.desks.of(claimed.claim.delivery().message.partition()) else { return };
        let running = self.running.started(&claimed.claim);
        let _alone = claimed.is_alone.then(|| Alone::begin(&self.is_one_alone));
        self.metrics.outbound.attempts_running.inc();
        let (lane, size) = (&claimed.delivery.lane, claimed.delivery.message.received.size);
        // Room for the body comes before the body. Who finds none reads the body back once there is some.
        let (body, _place) = match self.rooms.enter_now(lane, size) {
            Some(place) => (body, Some(place)),
            None => (None, self.rooms.enter(lane, size).await),
        };
        let config = self.lanes.config.current();
        let ports = Ports {
            far_sides: self.sites.for_claim(running.lost().clone(), desk.partition.lease().clone()),
            store: LiveStore::new(desk, self.lanes),
            dns: self.hosts,
        };
        let told = delivery::deliver(claimed, body, &ports, &config, rand::random()).await;
        told.publish(&self.metrics, config.logging.addresses, clock::wall());
        self.metrics.outbound.attempts_running.dec();
        drop(slot);
    }
}

/// An attempt of a delivery that others died trying. Ends with the attempt, however that ends.
struct Alone(Arc<AtomicBool>);

impl Alone {
    fn begin(is_one_alone: &Arc<AtomicBool>) -> Self {
        is_one_alone.store(true, Ordering::Release);
        Self(is_one_alone.clone())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

//! Puts the way out together: window, claim loops, settlers, sites.
//! **Owns:** what of it is built from what; the start of attempts as tasks of the tracker that app gives. **Never:** a task of its
//! own beside those.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use postrider_mail::PartitionName;
use postrider_queue::{Body, Claimed, Partition, incarnation::Clock, settle::Fact};
use postrider_smtp::timer::Waits;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Dispatcher, Slot, WINDOW, Window,
    claims::{ClaimLoop, wall_clock},
    ports::{Desk, LiveHosts, LiveStore, tag},
    room::Rooms,
};
use crate::{
    config::ConfigSource,
    delivery::{self, Ports},
    dns::Dns,
    heartbeat::Running,
    metrics::Metrics,
    settle::Settler,
    shutdown::Shutdown,
    site::Sites,
    tls::connect::Connectors,
};

/// What the way out is built from.
pub struct Parts {
    /// The queue.
    pub partitions: Vec<Partition>,
    /// The config.
    pub config: ConfigSource,
    /// The DNS.
    pub dns: Dns,
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

/// The facts of the last minute, by partition: for a store that came back as another life.
pub type Facts = Arc<dyn Fn(&PartitionName) -> Vec<Fact> + Send + Sync>;

/// The way out, put together.
pub struct Outbound {
    /// For intake.
    pub dispatcher: Dispatcher,
    /// For the heartbeat.
    pub facts: Facts,
    /// For gauges.
    pub sites: Sites,
    /// Claim loops: they end when nothing more is taken.
    pub taking: Vec<Task>,
    /// Settlers and what looks after connections: they end when nothing is served any more.
    pub serving: Vec<Task>,
}

/// Puts it together.
pub fn build(parts: Parts) -> Outbound {
    let window = Window::new(WINDOW);
    let mut serving: Vec<Task> = Vec::new();
    let stopped = &parts.shutdown.stop_serving;
    let desks: BTreeMap<_, _> = parts
        .partitions
        .iter()
        .map(|partition| {
            let (settler, run) = Settler::new(partition.clone(), stopped.clone());
            serving.push(Box::pin(run));
            (partition.name().clone(), Desk { partition: partition.clone(), settler })
        })
        .collect();
    let desks = Arc::new(desks);
    let leases = parts.partitions.iter().map(|one| (one.name().clone(), one.lease().clone())).collect();
    let sites = Sites::new(
        parts.connectors,
        parts.clock,
        leases,
        parts.shutdown.stop_running.clone(),
        parts.waits,
        parts.metrics.clone(),
    );
    serving.push(Box::pin(keep_sites(sites.clone(), stopped.clone())));
    serving.push(Box::pin(follow_config(
        desks.clone(),
        window.clone(),
        parts.config.clone(),
        stopped.clone(),
    )));
    let is_one_alone = Arc::new(AtomicBool::new(false));
    let starter = Starter {
        store: LiveStore::new(desks.clone(), window.clone(), parts.config.clone()),
        hosts: LiveHosts::new(parts.dns, parts.mx_port, parts.own_addresses),
        sites: sites.clone(),
        config: parts.config.clone(),
        running: parts.running,
        metrics: parts.metrics,
        rooms: Rooms::default(),
        is_one_alone: is_one_alone.clone(),
    };
    let work = parts.work;
    let paused = parts.config.clone();
    let dispatcher = Dispatcher::new(
        window,
        desks.keys().cloned(),
        move || paused.current().is_paused(),
        move |slot, claimed, body| {
            work.spawn(starter.clone().attempt(slot, claimed, body));
        },
    );
    let claim_loop = |desk: &Desk| ClaimLoop {
        dispatcher: dispatcher.clone(),
        desk: desk.clone(),
        config: parts.config.clone(),
        is_one_alone: is_one_alone.clone(),
    };
    let taking = desks
        .values()
        .map(|desk| -> Task { Box::pin(claim_loop(desk).run(parts.shutdown.stop_taking.clone())) })
        .collect();
    let facts: Facts = Arc::new(move |partition: &PartitionName| {
        desks.get(partition).map(|desk| desk.settler.facts()).unwrap_or_default()
    });
    Outbound { dispatcher, facts, sites, taking, serving }
}

async fn keep_sites(sites: Sites, stopped: CancellationToken) {
    sites.run(stopped).await;
}

/// Under another config, what was suspended may have another way: it is tried at once.
async fn follow_config(
    desks: Arc<BTreeMap<PartitionName, Desk>>,
    window: Window,
    mut config: ConfigSource,
    stopped: CancellationToken,
) {
    loop {
        tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            has_changed = config.changed() => if !has_changed { return },
        }
        window.resume_all();
        let tag = tag(&config.current());
        for desk in desks.values() {
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
    store: LiveStore,
    hosts: LiveHosts,
    sites: Sites,
    config: ConfigSource,
    running: Running,
    metrics: Metrics,
    rooms: Rooms,
    is_one_alone: Arc<AtomicBool>,
}

impl Starter {
    /// One attempt, from its claim to its settlement.
    async fn attempt(self, slot: Slot, claimed: Claimed, body: Option<Body>) {
        let running = self.running.started(&claimed.claim);
        let is_alone = claimed.is_alone;
        if is_alone {
            self.is_one_alone.store(true, Ordering::Release);
        }
        self.metrics.attempts_running.inc();
        let (lane, size) = (&claimed.delivery.lane, claimed.delivery.message.received.size);
        // Room for the body comes before the body. Who finds none reads the body back once there is some.
        let (body, _place) = match self.rooms.enter_now(lane, size) {
            Some(place) => (body, Some(place)),
            None => (None, self.rooms.enter(lane, size).await),
        };
        let config = self.config.current();
        let ports = Ports {
            store: self.store,
            dns: self.hosts,
            far_sides: self.sites.for_claim(running.lost().clone()),
        };
        let told = delivery::deliver(claimed, body, &ports, &config, rand::random()).await;
        told.publish(&self.metrics, config.logging.addresses, wall_clock());
        self.metrics.attempts_running.dec();
        if is_alone {
            self.is_one_alone.store(false, Ordering::Release);
        }
        drop(slot);
    }
}

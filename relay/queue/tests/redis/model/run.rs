//! One run: some pods on one partition of their own, the model beside it, a step after the other.
//! **Owns:** the comparison after each step. **Never:** what a step does (steps.rs).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use postrider_mail::Due;
use postrider_queue::{
    Claimed, ConfigTag, Durability, Kind, Partition, PartitionOptions,
    connection::{Target, Topology},
    incarnation::{Incarnation, LeaseHandle},
    keys::FleetName,
    model::{Model, Span},
    record::DeliveryId,
};
use rand::{SeedableRng, rngs::StdRng};
use redis::aio::MultiplexedConnection;

use super::{
    proxy::Proxy,
    scan::{Scan, ask},
};
use crate::{server::Server, world};

const PODS: usize = 3;
/// Steps that a failure tells.
const TOLD: usize = 25;

/// A process: its connections, its life, the claims whose attempts it runs, of this life and of earlier ones.
pub(super) struct Pod {
    pub(super) partition: Partition,
    pub(super) hand: Vec<Claimed>,
}

impl Pod {
    pub(super) fn life(&self) -> Option<Incarnation> {
        self.partition.lease().incarnation()
    }
}

pub(super) struct Run {
    pub(super) pods: Vec<Pod>,
    pub(super) model: Model,
    pub(super) proxy: Proxy,
    pub(super) config: ConfigTag,
    /// Deliveries that there were.
    pub(super) past: BTreeMap<DeliveryId, Kind>,
    /// When the store was last compared.
    checked: Due,
    connection: MultiplexedConnection,
    prefix: String,
    told: VecDeque<String>,
}

impl Run {
    /// Plays the steps. An error tells what differed, and what came before.
    pub(super) async fn play(server: &Server, seed: u64, steps: &BTreeSet<u64>) -> Result<(), String> {
        let mut run = Self::start(server).await;
        // So that the server has the script whose answer is lost later: without it the call wouldn't run.
        run.enqueue(&mut StdRng::seed_from_u64(seed), 0, false).await?;
        for step in steps {
            let mut rng = StdRng::seed_from_u64(seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            run.step(&mut rng, *step).await.map_err(|what| run.failed(*step, &what))?;
            run.check().await.map_err(|what| run.failed(*step, &what))?;
        }
        run.drain().await.map_err(|what| run.failed(u64::MAX, &what))
    }

    async fn start(server: &Server) -> Self {
        let mut connection = server.client().get_multiplexed_async_connection().await.expect("it runs");
        let fleet = FleetName::parse(&format!("model/{:016x}", rand::random::<u64>())).expect("a name");
        let proxy = Proxy::start(server.port()).await;
        let pod = || {
            let options = PartitionOptions {
                fleet: fleet.clone(),
                name: world::name("a"),
                target: Target { url: proxy.url(), topology: Topology::Standalone, ca: None },
                durability: Durability::Synced,
                lease: LeaseHandle::new(world::clock()),
                on_connect: None,
            };
            Pod { partition: Partition::new(options).expect("options"), hand: Vec::new() }
        };
        let pods: Vec<Pod> = (0..PODS).map(|_| pod()).collect();
        let prefix = pods[0].partition.keys().prefix().to_owned();
        let meta = pods[0].partition.keys().named("meta");
        let fields = ["HSET", &meta, "uuid", "u", "state", "Open", "format", "1", "accepted", "0"];
        let _: u64 = ask(&mut connection, &fields).await;
        let (model, past, told) = (Model::default(), BTreeMap::new(), VecDeque::new());
        let config = ConfigTag::new("model");
        Self { pods, model, proxy, config, past, checked: Due::from_unix_millis(0), connection, prefix, told }
    }

    pub(super) async fn now(&mut self) -> Due {
        let (seconds, micros): (u64, u64) = ask(&mut self.connection, &["TIME"]).await;
        Due::from_unix_millis(seconds * 1_000 + micros / 1_000)
    }

    /// From `from` until now.
    pub(super) async fn since(&mut self, from: Due) -> Span {
        Span { from, until: self.now().await }
    }

    pub(super) async fn scan(&mut self) -> Scan {
        Scan::of(&mut self.connection, &self.prefix).await
    }

    pub(super) fn tell(&mut self, what: String) {
        self.told.push_back(what);
        if self.told.len() > TOLD {
            self.told.pop_front();
        }
    }

    async fn check(&mut self) -> Result<(), String> {
        let now = self.now().await;
        let scan = self.scan().await;
        let mut problems = scan.problems.clone();
        let since = std::mem::replace(&mut self.checked, now);
        problems.extend(self.model.compare(&scan.deliveries, Span { from: since, until: now }));
        problems.extend(self.model.compare_totals(&scan.totals()));
        if scan.accepted() != self.model.accepted {
            problems.push(format!("accepted: model {}, store {}", self.model.accepted, scan.accepted()));
        }
        self.past.extend(scan.deliveries.iter().map(|(id, found)| (id.clone(), found.kind)));
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n  ")) }
    }

    /// At the end nothing that can be claimed stays behind.
    async fn drain(&mut self) -> Result<(), String> {
        self.revive(0).await?;
        for _ in 0..2_000 {
            let from = self.now().await;
            let has_claimable = self.model.has_claimable(Span { from, until: from });
            let got = self.claim(0, 16, 4, true).await?;
            if got == 0 && has_claimable {
                return Err("drain: something can be claimed, and a claim got nothing".to_owned());
            }
            if got == 0 {
                return self.check().await;
            }
            self.check().await?;
            // Whoever holds one that must be tried alone gets no other such.
            self.release_hand(0, Duration::from_secs(3_600)).await?;
        }
        Err("drain: there is no end to it".to_owned())
    }

    fn failed(&self, step: u64, what: &str) -> String {
        let told: Vec<&str> = self.told.iter().map(String::as_str).collect();
        format!("{}\nafter step {step}:\n  {what}", told.join("\n"))
    }
}

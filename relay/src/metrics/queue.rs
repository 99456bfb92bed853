//! What the queue's own figures tell, read when somebody asks for the metrics.
//! **Owns:** the gauges of deliveries, age and shards, [`Ages`]. **Never:** asks Redis for what the rounds over the shards know already.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use postrider_mail::{Class, PartitionName};
use postrider_queue::{
    Partition,
    shards::{Shards, Standing},
};
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::Register;

/// The gauges of the queue. Cloning shares them.
#[derive(Clone)]
pub struct QueueMetrics {
    /// Deliveries by state and class; what is on hold or claimed isn't counted by class.
    pub deliveries: IntGaugeVec,
    /// How long the oldest delivery is due, by class.
    pub oldest_age: GaugeVec,
    /// Shards by where they stand.
    pub shards: IntGaugeVec,
    /// Round trips to the queue's servers, by purpose.
    pub round_trips: IntCounterVec,
    /// Deliveries that were in shards whose store was lost, when last seen.
    pub lost: IntGaugeVec,
    /// Lanes by state, of all shards: one that waits in two counts twice.
    pub lanes: IntGaugeVec,
    /// Round trips that are in the counter, by shard and purpose.
    counted: Arc<Mutex<BTreeMap<(PartitionName, &'static str), u64>>>,
}

/// How long the oldest deliveries have been due, by shard and class. A class without any has no entry.
#[derive(Debug, Clone, Default)]
pub struct Ages(BTreeMap<PartitionName, BTreeMap<Class, Duration>>);

impl QueueMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            counted: Arc::default(),
            round_trips: register.counters(
                "postrider_queue_round_trips_total",
                "Round trips to the queue's servers; more than three a message means much retrying.",
                &["purpose"],
            )?,
            deliveries: register.gauges("postrider_queue_deliveries", "Deliveries in the queue.", &["state", "class"])?,
            oldest_age: register.fractions(
                "postrider_queue_oldest_age_seconds",
                "How long the oldest delivery has been due; grows where mail can't leave.",
                &["class"],
            )?,
            shards: register.gauges(
                "postrider_queue_shards",
                "Shards by standing; with none InUse no mail is taken in: see /readyz.",
                &["standing"],
            )?,
            lost: register.gauges(
                "postrider_queue_lost_deliveries",
                "Deliveries that were in a lost shard when last seen, or messages that a restored one has forgotten; bring its volume back or adopt it.",
                &["shard"],
            )?,
            lanes: register.gauges(
                "postrider_queue_lanes",
                "Lanes (class, domain, rule, flow), counted in each shard; many suspended ones are far sides that don't answer.",
                &["state"],
            )?,
        })
    }

    /// Takes the figures of the last round over the shards. What a shard doesn't tell stays out: unknown, not nothing.
    pub fn refresh(&self, shards: &Shards, ages: &Ages) {
        let status = shards.status();
        let mut standings: BTreeMap<&'static str, i64> =
            Standing::WORDS.iter().map(|word| (*word, 0)).collect();
        let mut deliveries: BTreeMap<(&'static str, &'static str), u64> = BTreeMap::new();
        for class in Class::ALL {
            deliveries.insert(("Waiting", class.as_str()), 0);
        }
        deliveries.extend([(("Held", ""), 0), (("Claimed", ""), 0)]);
        let (mut waiting_lanes, mut suspended_lanes) = (0, 0);
        // A shard that is gone has lost nothing.
        self.lost.reset();
        for shard in &status {
            *standings.entry(shard.standing.as_str()).or_default() += 1;
            self.lost
                .with_label_values(&[shard.name.as_str()])
                .set(as_gauge(shard.standing.lost_deliveries().unwrap_or(0)));
            let Some(found) = shard.standing.found() else { continue };
            for (class, waiting) in &found.figures.waiting {
                *deliveries.entry(("Waiting", class.as_str())).or_default() += waiting;
            }
            *deliveries.entry(("Held", "")).or_default() += found.figures.held;
            *deliveries.entry(("Claimed", "")).or_default() += found.figures.claimed;
            waiting_lanes += found.figures.lanes;
            suspended_lanes += found.figures.suspended;
        }
        self.lanes.with_label_values(&["waiting"]).set(as_gauge(waiting_lanes));
        self.lanes.with_label_values(&["suspended"]).set(as_gauge(suspended_lanes));
        for (word, count) in standings {
            self.shards.with_label_values(&[word]).set(count);
        }
        for ((state, class), count) in deliveries {
            self.deliveries.with_label_values(&[state, class]).set(as_gauge(count));
        }
        self.count_round_trips(&shards.partitions());
        let mut oldest: BTreeMap<Class, Duration> = Class::ALL.map(|class| (class, Duration::ZERO)).into();
        for (class, age) in ages.0.values().flatten() {
            let known = oldest.entry(*class).or_default();
            *known = (*age).max(*known);
        }
        for (class, age) in oldest {
            self.oldest_age.with_label_values(&[class.as_str()]).set(age.as_secs_f64());
        }
    }

    /// Counts what came since the last time. A shard that went and came back counts from nothing.
    fn count_round_trips(&self, partitions: &[Partition]) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *counted);
        for partition in partitions {
            for (purpose, count) in partition.connections().round_trips() {
                let of = (partition.name().clone(), purpose.as_str());
                let known = before.get(&of).copied().filter(|known| *known <= count).unwrap_or(0);
                self.round_trips.with_label_values(&[purpose.as_str()]).inc_by(count - known);
                counted.insert(of, count);
            }
        }
    }
}

impl Ages {
    /// Asks every shard that is in use. A shard that doesn't answer in time has no entry.
    pub async fn read(shards: &Shards) -> Self {
        let asked = shards.usable().into_iter().map(|partition| async move {
            let answer = tokio::time::timeout(PATIENCE, partition.oldest_due()).await.ok()?.ok()?;
            let (oldest, now) = answer;
            let ages = oldest.into_iter().map(|(class, due)| (class, due.until(now))).collect();
            Some((partition.name().clone(), ages))
        });
        Self(join_all(asked).await.into_iter().flatten().collect())
    }

    /// How long a shard's oldest delivery has been due; zero if none is due, nothing if the shard didn't say.
    pub fn of(&self, shard: &PartitionName) -> Option<Duration> {
        self.0.get(shard).map(|ages| ages.values().max().copied().unwrap_or_default())
    }
}

fn as_gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How long a reader of the ages waits for a shard.
const PATIENCE: Duration = Duration::from_secs(1);

//! What the queue's own figures tell, read when somebody asks for the metrics.
//! **Owns:** the gauges of deliveries, age and shards. **Never:** asks Redis for what the rounds over the shards know already.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use postrider_mail::Class;
use postrider_queue::{
    Partition,
    shards::{Shards, Standing},
};
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

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
}

impl QueueMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let age = Opts::new(
            "postrider_queue_oldest_age_seconds",
            "How long the oldest delivery has been due; grows where mail can't leave.",
        );
        let oldest_age = GaugeVec::new(age, &["class"])?;
        registry.register(Box::new(oldest_age.clone()))?;
        let round_trips = IntCounterVec::new(
            Opts::new(
                "postrider_queue_round_trips_total",
                "Round trips to the queue's servers; more than three a message means much retrying.",
            ),
            &["purpose"],
        )?;
        registry.register(Box::new(round_trips.clone()))?;
        Ok(Self {
            round_trips,
            deliveries: gauge("postrider_queue_deliveries", "Deliveries in the queue.", &["state", "class"])?,
            oldest_age,
            shards: gauge(
                "postrider_queue_shards",
                "Shards by standing; with none Good no mail is taken in: see /readyz.",
                &["standing"],
            )?,
            lost: gauge(
                "postrider_queue_lost_deliveries",
                "Deliveries that were in a lost shard when last seen; bring its volume back or adopt it.",
                &["shard"],
            )?,
        })
    }

    /// Reads the figures anew. What a shard doesn't tell in time stays out: unknown, not nothing.
    pub async fn refresh(&self, shards: &Shards) {
        let status = shards.status();
        let mut standings: BTreeMap<&'static str, i64> =
            Standing::WORDS.iter().map(|word| (*word, 0)).collect();
        let mut deliveries: BTreeMap<(&'static str, &'static str), u64> = BTreeMap::new();
        for class in Class::ALL {
            deliveries.insert(("Waiting", class.as_str()), 0);
        }
        deliveries.extend([(("Held", ""), 0), (("Claimed", ""), 0)]);
        for shard in &status {
            *standings.entry(shard.standing.as_str()).or_default() += 1;
            self.lost
                .with_label_values(&[shard.name.as_str()])
                .set(as_gauge(shard.standing.lost_deliveries().unwrap_or(0)));
            let Standing::Good(good) = &shard.standing else { continue };
            for (class, waiting) in &good.figures.waiting {
                *deliveries.entry(("Waiting", class.as_str())).or_default() += waiting;
            }
            *deliveries.entry(("Held", "")).or_default() += good.figures.held;
            *deliveries.entry(("Claimed", "")).or_default() += good.figures.claimed;
        }
        for (word, count) in standings {
            self.shards.with_label_values(&[word]).set(count);
        }
        for ((state, class), count) in deliveries {
            self.deliveries.with_label_values(&[state, class]).set(as_gauge(count));
        }
        self.count_round_trips(&shards.partitions());
        self.refresh_ages(&shards.usable()).await;
    }

    fn count_round_trips(&self, partitions: &[Partition]) {
        let mut all: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (purpose, count) in partitions.iter().flat_map(|partition| partition.connections().round_trips())
        {
            *all.entry(purpose.as_str()).or_default() += count;
        }
        for (purpose, count) in all {
            let counter = self.round_trips.with_label_values(&[purpose]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    async fn refresh_ages(&self, partitions: &[Partition]) {
        let asked = partitions.iter().map(|partition| tokio::time::timeout(PATIENCE, partition.oldest_due()));
        let mut ages: BTreeMap<Class, Duration> = Class::ALL.map(|class| (class, Duration::ZERO)).into();
        for (oldest, now) in join_all(asked).await.into_iter().flatten().flatten() {
            for (class, due) in oldest {
                let age = ages.entry(class).or_default();
                *age = due.until(now).max(*age);
            }
        }
        for (class, age) in ages {
            self.oldest_age.with_label_values(&[class.as_str()]).set(age.as_secs_f64());
        }
    }
}

fn as_gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How long a reader of the metrics waits for a shard.
const PATIENCE: Duration = Duration::from_secs(1);

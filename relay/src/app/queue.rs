//! The shards that there are now, and what runs for each of them.
//! **Owns:** the start of a shard's tasks and the order in which they end. **Never:** what they do; which shards there are (the
//! configuration says it).
//! Invariant: whoever leaves a shard ends its attempts and gives its claims back first.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt as _},
};
use postrider_mail::PartitionName;
use postrider_queue::{
    Partition,
    shards::{Changed, Shards},
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Relay;
use crate::{
    config::ConfigSource,
    dispatch::outbound::Opener,
    heartbeat::{self, Attendance, Joins, Running},
    shards,
    shutdown::Shutdown,
};

/// How long attempts may take to notice that their claims are lost.
const NOTICE: Duration = Duration::from_secs(5);
/// How often it is looked whether they have ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Lets shards take part, and leave.
pub(super) struct Queue {
    config: ConfigSource,
    shards: Shards,
    opener: Arc<Opener>,
    joins: Joins,
    running: Running,
    shutdown: Shutdown,
    work: TaskTracker,
    background: TaskTracker,
    at_work: BTreeMap<PartitionName, AtWork>,
}

/// A shard that takes part.
struct AtWork {
    partition: Partition,
    /// Ends its claims.
    stop_taking: CancellationToken,
    /// Ends what serves its attempts.
    stop_serving: CancellationToken,
    /// Ends what still waits for its answer.
    abandoned: CancellationToken,
    attendance: Attendance,
}

impl Queue {
    pub(super) fn new(relay: &Relay, opener: Opener) -> Self {
        Self {
            config: relay.config.clone(),
            shards: relay.shards.clone(),
            opener: Arc::new(opener),
            joins: relay.heartbeat.joins(),
            running: relay.heartbeat.running(),
            shutdown: relay.shutdown.clone(),
            work: relay.work.clone(),
            background: relay.background.clone(),
            at_work: BTreeMap::new(),
        }
    }

    /// The shards of the start.
    pub(super) async fn open_all(&mut self) {
        for partition in self.shards.partitions() {
            self.open(partition).await;
        }
    }

    /// Follows the configuration, for as long as anything is served.
    pub(super) async fn run(mut self) {
        let mut leaving: FuturesUnordered<BoxFuture<'static, PartitionName>> = FuturesUnordered::new();
        let mut names: Vec<PartitionName> = Vec::new();
        loop {
            tokio::select! {
                biased;
                has_changed = self.config.changed() => if !has_changed { return },
                // One that came back meanwhile is let in now.
                Some(left) = leaving.next(), if !leaving.is_empty() => names.retain(|name| *name != left),
            }
            let Changed { added, removed } = self.change(&names);
            for partition in removed {
                if let Some(at_work) = self.at_work.remove(partition.name()) {
                    names.push(partition.name().clone());
                    leaving.push(Box::pin(self.leave(at_work)));
                }
            }
            for partition in added {
                self.open(partition).await;
            }
        }
    }

    /// Tells the shards of the configuration. Those that are being left aren't taken back before that is done.
    fn change(&self, leaving: &[PartitionName]) -> Changed {
        let config = self.config.current();
        let changed = shards::list(&config.queue).map_err(|why| why.to_string()).and_then(|mut list| {
            list.retain(|shard| !leaving.contains(&shard.name));
            self.shards.change(list, shards::durability(&config.queue)).map_err(|why| why.to_string())
        });
        changed.unwrap_or_else(|why| {
            // Such a configuration isn't loaded.
            tracing::error!(reason = why, "the queue's shards stay as they were; report this as a bug");
            Changed::default()
        })
    }

    async fn open(&mut self, partition: Partition) {
        let stop_taking = self.shutdown.stop_taking.child_token();
        let stop_serving = self.shutdown.stop_serving.child_token();
        let abandoned = CancellationToken::new();
        let opened = self.opener.open(&partition, stop_taking.clone(), abandoned.clone());
        let attendance = self.joins.attend(partition.clone()).await;
        let follow = heartbeat::follow(partition.clone(), self.running.clone(), opened.facts);
        let aborting = partition.clone();
        let serve = |task: BoxFuture<'static, ()>| {
            self.background.spawn(stop_serving.clone().run_until_cancelled_owned(task));
        };
        serve(Box::pin(follow));
        serve(Box::pin(async move { aborting.run_aborts().await }));
        self.background.spawn(opened.serving);
        self.work.spawn(opened.taking);
        let name = partition.name().clone();
        self.at_work.insert(name, AtWork { partition, stop_taking, stop_serving, abandoned, attendance });
    }

    /// Leaves a shard that the configuration no longer has. What runs gets the time that it gets at the end of a relay.
    fn leave(&self, at_work: AtWork) -> impl Future<Output = PartitionName> + Send + use<> {
        let (running, opener) = (self.running.clone(), self.opener.clone());
        let grace = self.config.current().drain.timeout;
        async move {
            let AtWork { partition, stop_taking, stop_serving, abandoned, attendance } = at_work;
            let name = partition.name().clone();
            tracing::info!(partition = %name, attempts = running.count_in(&name), "the configuration no longer has this shard: it is left");
            stop_taking.cancel();
            let is_done = || running.count_in(&name) == 0 && partition.aborts_pending() == 0;
            if !within(grace, is_done).await {
                tracing::warn!(
                    partition = %name,
                    attempts = running.count_in(&name),
                    "the grace is over; unfinished work of the shard is handed back"
                );
            }
            opener.close(&name);
            running.lose_all(&name);
            within(NOTICE, || running.count_in(&name) == 0).await;
            let has_left = attendance.leave().await;
            stop_serving.cancel();
            abandoned.cancel();
            tracing::info!(partition = %name, claims_returned = has_left, "the shard is left");
            name
        }
    }
}

/// Waits until something holds. Returns false if it didn't in time.
async fn within(limit: Duration, holds: impl Fn() -> bool + Send) -> bool {
    let until = Instant::now() + limit;
    while !holds() {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    true
}

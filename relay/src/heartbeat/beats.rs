//! The heartbeat's thread: beats, looks, reaps.
//! **Owns:** when to beat and to look. **Never:** judges who is dead (the queue's observer does).

use std::{cell::Cell, time::Duration};

use futures::stream::{FuturesUnordered, StreamExt as _};
use postrider_queue::{
    Partition, Unavailable,
    incarnation::{BEAT_EVERY, Incarnation, LOOK_EVERY, Observer},
    reap::{Beat, PodState, Reaped},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::Pulse;
use crate::{
    failpoint::{self, Step},
    metrics::Metrics,
};

pub(super) struct Job {
    pub(super) partitions: Vec<Partition>,
    pub(super) joins: mpsc::Receiver<Joining>,
    pub(super) pulse: Pulse,
    pub(super) metrics: Metrics,
    pub(super) stop: CancellationToken,
}

/// One more partition to beat in.
pub(super) struct Joining {
    pub(super) partition: Partition,
    pub(super) leave: CancellationToken,
    pub(super) has_left: oneshot::Sender<()>,
}

/// One partition, as the heartbeat's thread sees it.
struct Post {
    partition: Partition,
    pulse: Pulse,
    metrics: Metrics,
    /// Failures on the connection that beats and looks share: each restarts the observations.
    disturbances: Cell<u64>,
}

impl Job {
    pub(super) async fn run(self) {
        let Self { partitions, mut joins, pulse, metrics, stop } = self;
        let post = |partition| Post {
            partition,
            pulse: pulse.clone(),
            metrics: metrics.clone(),
            disturbances: Cell::new(0),
        };
        let mut posts = FuturesUnordered::new();
        for partition in partitions {
            posts.push(post(partition).stay(stop.clone(), None));
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(Joining { partition, leave, has_left }) = joins.recv() => {
                    posts.push(post(partition).stay(leave, Some(has_left)));
                }
                Some(()) = posts.next(), if !posts.is_empty() => {}
            }
        }
        while posts.next().await.is_some() {}
    }
}

impl Post {
    /// Beats and looks until it is to leave, then leaves.
    async fn stay(self, leave: CancellationToken, has_left: Option<oneshot::Sender<()>>) {
        let works = async { tokio::join!(self.beat_on(), self.look_on()) };
        tokio::select! {
            biased;
            () = leave.cancelled() => {}
            _ = works => {}
        }
        self.leave().await;
        if let Some(has_left) = has_left {
            // Nobody may wait for it.
            let _ = has_left.send(());
        }
    }

    async fn beat_on(&self) {
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            while self.pulse.is_beating() && self.beat().await.is_err() {
                self.disturbed();
                tokio::time::sleep(RETRY_EVERY).await;
            }
        }
    }

    /// One beat; or a new life, if this process has none in the partition.
    async fn beat(&self) -> Result<(), Unavailable> {
        let lease = self.partition.lease();
        let Some(incarnation) = lease.incarnation() else { return self.register().await };
        let sent = lease.clock().now();
        match self.limited(self.partition.beat(incarnation)).await? {
            Beat::Confirmed => {
                // Before the confirmation: what was left when it came.
                self.metrics.lease_margin.set(lease.margin().as_secs_f64());
                lease.confirmed(incarnation, sent);
                Ok(())
            }
            Beat::Fenced => {
                lease.fenced(incarnation);
                tracing::warn!(
                    partition = %self.partition.name(),
                    incarnation = %incarnation,
                    "fenced: another relay took this one for dead, its claims are lost; it goes on as a new one"
                );
                self.register().await
            }
        }
    }

    async fn register(&self) -> Result<(), Unavailable> {
        let lease = self.partition.lease();
        // Another name with each try: one whose answer was lost may be in, and is reaped.
        let incarnation = Incarnation::random();
        let sent = lease.clock().now();
        self.limited(self.partition.register(incarnation)).await?;
        lease.registered(incarnation, sent);
        tracing::info!(partition = %self.partition.name(), incarnation = %incarnation, "registered");
        Ok(())
    }

    async fn look_on(&self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut observer = Observer::new();
        let mut undisturbed_since = 0;
        loop {
            looks.tick().await;
            if self.disturbances.get() != undisturbed_since {
                undisturbed_since = self.disturbances.get();
                observer.restart();
            }
            if self.partition.lease().gate_closed_for().is_some() {
                observer.restart();
            } else if self.look(&mut observer).await.is_err() {
                self.disturbed();
            }
        }
    }

    async fn look(&self, observer: &mut Observer) -> Result<(), Unavailable> {
        let lease = self.partition.lease();
        let sent = lease.clock().now();
        let pods = self.limited(self.partition.pods()).await?;
        let answered = lease.clock().now();
        let me = lease.incarnation();
        let mut counters = Vec::new();
        let mut half_reaped = Vec::new();
        for (incarnation, state) in pods {
            match state {
                PodState::Live { counter, .. } if Some(incarnation) != me => {
                    counters.push((incarnation, counter));
                }
                PodState::Reaping => half_reaped.push(incarnation),
                PodState::Live { .. } | PodState::Ended => {}
            }
        }
        for (dead, counter) in observer.look(&counters, sent, answered) {
            self.reap(dead, counter).await?;
        }
        for dead in half_reaped {
            // Its counter counts no longer: it is fenced already.
            self.reap(dead, 0).await?;
        }
        Ok(())
    }

    async fn reap(&self, dead: Incarnation, counter: u64) -> Result<(), Unavailable> {
        let mut all: u64 = 0;
        loop {
            let reaped = self.limited(self.partition.reap(dead, counter)).await?;
            failpoint::passed(Step::Reaped);
            match reaped {
                Reaped::Alive => return Ok(()),
                Reaped::More { moved } => all += u64::from(moved),
                Reaped::Done { moved } => {
                    all += u64::from(moved);
                    self.metrics.reaps.inc();
                    tracing::warn!(
                        partition = %self.partition.name(),
                        incarnation = %dead,
                        deliveries = all,
                        "reaped a relay that stopped beating; its deliveries are due again"
                    );
                    return Ok(());
                }
            }
        }
    }

    async fn leave(&self) {
        let Some(incarnation) = self.partition.lease().incarnation() else { return };
        // From here on no dot leaves.
        self.partition.lease().fenced(incarnation);
        while let Ok(Reaped::More { .. }) = self.limited(self.partition.leave(incarnation)).await {}
    }

    /// The queue's own limit is made for mail. A beat that late is worth nothing; a new connection may be.
    async fn limited<T>(&self, call: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
        match tokio::time::timeout(CALL_LIMIT, call).await {
            Ok(answer) => answer,
            Err(_) => {
                self.partition.connections().reconnect(postrider_queue::connection::Purpose::Beat);
                Err(Unavailable::Unanswered { reason: "the time limit passed".into() })
            }
        }
    }

    fn disturbed(&self) {
        self.disturbances.set(self.disturbances.get() + 1);
    }
}

/// How soon a beat that failed is sent again.
const RETRY_EVERY: Duration = Duration::from_millis(200);
/// How long a beat or a look waits.
const CALL_LIMIT: Duration = Duration::from_secs(2);

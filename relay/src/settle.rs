//! Ends attempts in the queue: many at once, again and again until the queue has answered.
//! **Owns:** batches, their repetition, the facts of the last minute. **Never:** what an outcome is (core), a script (queue).
//! Invariant: an outcome is never dropped, and settling is never cancelled, unless its shard is gone for good. While the queue is away attempts wait here with their
//! slots, so what waits is bounded by the window.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use postrider_queue::{
    Partition, Settled, Settlement,
    settle::{Fact, MAX_SETTLE_BATCH},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::failpoint::{self, Step};

/// How long the first outcome of a batch waits for others. Longer only makes slots come back later.
const GATHER: Duration = Duration::from_millis(2);
/// Outcomes that wait to be sent; who finds more waits too.
const WAITING_MAX: usize = 4 * MAX_SETTLE_BATCH;
/// Waits between two tries while the queue doesn't answer.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long facts are kept, to be told again should the queue come back as another life without its last writes.
const FACTS_KEPT: (Duration, usize) = (Duration::from_secs(60), 50_000);

/// Settles attempts of one partition. Cloning shares.
#[derive(Clone)]
pub struct Settler {
    jobs: mpsc::Sender<Job>,
    facts: Arc<Facts>,
}

struct Job {
    settlement: Settlement,
    done: oneshot::Sender<Settled>,
}

#[derive(Default)]
struct Facts {
    told: Mutex<VecDeque<(Instant, Fact)>>,
}

impl Settler {
    /// A settler, and its loop: to be run for as long as anything may have to be settled. It ends when `stopped` and nothing
    /// waits, or when nobody is left who could settle. Once the partition is `abandoned`, what it doesn't answer is given up.
    pub fn new(
        partition: Partition,
        stopped: CancellationToken,
        abandoned: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let facts = Arc::new(Facts::default());
        let settler = Self { jobs, facts: facts.clone() };
        (settler, Run { partition, facts, stopped, abandoned }.run(waiting))
    }

    /// Ends an attempt. Returns once the queue has answered, however long that takes.
    pub async fn settle(&self, settlement: Settlement) -> Settled {
        let (done, answer) = oneshot::channel();
        let job = Job { settlement, done };
        // The loop outlives every settler; should it have been stopped, nobody can settle any more and the claim is reaped.
        if self.jobs.send(job).await.is_err() {
            return Settled::ClaimLost;
        }
        answer.await.unwrap_or(Settled::ClaimLost)
    }

    /// Who got what in the last minute, for a queue that came back as another life.
    pub fn facts(&self) -> Vec<Fact> {
        self.facts.lock().iter().map(|(_, fact)| fact.clone()).collect()
    }
}

/// The loop of one partition.
struct Run {
    partition: Partition,
    facts: Arc<Facts>,
    stopped: CancellationToken,
    abandoned: CancellationToken,
}

impl Run {
    async fn run(self, mut waiting: mpsc::Receiver<Job>) {
        loop {
            let first = tokio::select! {
                biased;
                job = waiting.recv() => job,
                () = self.stopped.cancelled() => return,
            };
            let Some(first) = first else { return };
            let mut batch = vec![first];
            gather(&mut waiting, &mut batch).await;
            let (settlements, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|job| (job.settlement, job.done)).unzip();
            self.facts.keep(&settlements);
            let count = settlements.len();
            let settled = tokio::select! {
                biased;
                settled = until_answered(&self.partition, settlements) => settled,
                () = self.abandoned.cancelled() => {
                    tracing::error!(
                        partition = %self.partition.name(), attempts = count,
                        "attempts of a shard that is gone from the configuration can't be settled; what they delivered may be sent again"
                    );
                    vec![Settled::ClaimLost; count]
                }
            };
            settled.iter().for_each(|_| failpoint::passed(Step::Settled));
            for (done, settled) in answers.into_iter().zip(settled) {
                // Who asked may be gone; what it asked for is done.
                let _ = done.send(settled);
            }
        }
    }
}

/// Takes what comes within a moment, up to a batch's worth.
async fn gather(waiting: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>) {
    let until = Instant::now() + GATHER;
    while batch.len() < MAX_SETTLE_BATCH {
        if let Ok(job) = waiting.try_recv() {
            batch.push(job);
            continue;
        }
        match tokio::time::timeout_at(until, waiting.recv()).await {
            Ok(Some(job)) => batch.push(job),
            Ok(None) | Err(_) => return,
        }
    }
}

async fn until_answered(partition: &Partition, mut batch: Vec<Settlement>) -> Vec<Settled> {
    let mut wait = RETRY.0;
    let mut is_told = false;
    loop {
        match partition.settle(batch).await {
            Ok(settled) => {
                if is_told {
                    tracing::info!(partition = %partition.name(), "the queue answers again; attempts are settled");
                }
                return settled;
            }
            Err((back, why)) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(
                        partition = %partition.name(), %why, attempts = back.len(),
                        "attempts can't be settled; tried again until the queue answers"
                    );
                }
                batch = back;
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

impl Facts {
    fn keep(&self, settlements: &[Settlement]) {
        let now = Instant::now();
        let mut told = self.lock();
        while told.front().is_some_and(|(at, _)| now.duration_since(*at) > FACTS_KEPT.0)
            || told.len() > FACTS_KEPT.1
        {
            told.pop_front();
        }
        told.extend(settlements.iter().filter_map(Settlement::fact).map(|fact| (now, fact)));
    }

    /// Nothing that holds the lock can fail half-way, so a poisoned one is sound.
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, Fact)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

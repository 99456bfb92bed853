//! Claims in the store and attempts in this process, kept in step.
//! **Owns:** [`Running`]. **Never:** settles: facts are kept where outcomes are settled.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_mail::PartitionName;
use postrider_queue::{
    Claim, ClaimNumber, DeliveryId, Partition, Unavailable, claim::ClaimError, incarnation::Incarnation,
    settle::Fact,
};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

/// The claims whose attempts run, or wait to be settled, in this process. Cloning shares.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<BTreeMap<DeliveryId, Entry>>>);

#[derive(Debug, Clone)]
struct Entry {
    number: ClaimNumber,
    holder: Incarnation,
    lost: CancellationToken,
}

/// An attempt's entry. Keep it until its settle is confirmed, or its claim released.
#[derive(Debug)]
#[must_use]
pub struct RunningClaim {
    running: Running,
    delivery: DeliveryId,
    entry: Entry,
}

/// What was delivered in the last minutes in the partition.
pub type Facts = Arc<dyn Fn() -> Vec<Fact> + Send + Sync>;

type Claims = Vec<(DeliveryId, ClaimNumber)>;

impl Running {
    /// An attempt begins.
    pub fn started(&self, claim: &Claim) -> RunningClaim {
        let entry = Entry { number: claim.number(), holder: claim.holder(), lost: CancellationToken::new() };
        self.lock().insert(claim.delivery().clone(), entry.clone());
        RunningClaim { running: self.clone(), delivery: claim.delivery().clone(), entry }
    }

    /// How many attempts run.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// How many attempts of a partition's deliveries run.
    pub fn count_in(&self, partition: &PartitionName) -> usize {
        self.lock().keys().filter(|delivery| delivery.message.partition() == partition).count()
    }

    /// Tells all attempts of a partition that their claims are lost.
    pub fn lose_all(&self, partition: &PartitionName) {
        self.lose_all_but(partition, None);
    }

    fn of(&self, partition: &PartitionName, holder: Incarnation) -> Claims {
        let all = self.lock();
        let mine = all
            .iter()
            .filter(|(delivery, entry)| delivery.message.partition() == partition && entry.holder == holder);
        mine.map(|(delivery, entry)| (delivery.clone(), entry.number)).collect()
    }

    fn has(&self, delivery: &DeliveryId, number: ClaimNumber) -> bool {
        self.lock().get(delivery).is_some_and(|entry| entry.number == number)
    }

    /// Tells the attempts of `partition` whose claims aren't `current`'s.
    fn lose_all_but(&self, partition: &PartitionName, current: Option<Incarnation>) {
        for (delivery, entry) in self.lock().iter() {
            if delivery.message.partition() == partition && Some(entry.holder) != current {
                entry.lost.cancel();
            }
        }
    }

    fn lose(&self, deliveries: &[DeliveryId], holder: Incarnation) {
        let all = self.lock();
        for entry in deliveries.iter().filter_map(|delivery| all.get(delivery)) {
            if entry.holder == holder {
                entry.lost.cancel();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeliveryId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningClaim {
    /// Cancelled when the claim is lost: the attempt ends without its dot. Replies that came already are settled all the same.
    pub const fn lost(&self) -> &CancellationToken {
        &self.entry.lost
    }
}

impl Drop for RunningClaim {
    fn drop(&mut self) {
        let mut all = self.running.lock();
        // A later claim of the same delivery may have taken the place.
        if all.get(&self.delivery).is_some_and(|entry| entry.number == self.entry.number) {
            all.remove(&self.delivery);
        }
    }
}

pub(super) async fn follow(partition: Partition, running: Running, facts: Facts) {
    tokio::join!(
        follow_lives(&partition, &running),
        follow_epochs(&partition, &running, &facts),
        compare_on(&partition, &running),
    );
}

async fn follow_lives(partition: &Partition, running: &Running) {
    let mut lives = partition.lease().watch();
    while lives.changed().await.is_ok() {
        let current = *lives.borrow_and_update();
        running.lose_all_but(partition.name(), current);
    }
}

/// After a change of the store: first what was delivered (so that nobody delivers it again), then what is being tried.
async fn follow_epochs(partition: &Partition, running: &Running, facts: &Facts) {
    let mut epochs = partition.lease().watch_epochs();
    while epochs.changed().await.is_ok() {
        tracing::warn!(
            partition = %partition.name(),
            "the queue's store restarted or changed; deliveries pause for 3 s, what was delivered is told again"
        );
        while let Err(why) = retell(partition, running, facts).await {
            tracing::warn!(partition = %partition.name(), error = %why, "telling facts again failed; trying again");
            tokio::time::sleep(RETELL_RETRY).await;
        }
    }
}

async fn retell(partition: &Partition, running: &Running, facts: &Facts) -> Result<(), Unavailable> {
    partition.tell(&facts()).await?;
    let Some(me) = partition.lease().incarnation() else { return Ok(()) };
    match partition.reassert(&running.of(partition.name(), me)).await {
        Ok(lost) => {
            running.lose(&lost, me);
            Ok(())
        }
        // The next beat finds it out as well, and starts a new life.
        Err(ClaimError::Fenced) => {
            running.lose_all_but(partition.name(), None);
            Ok(())
        }
        Err(ClaimError::Unavailable(why)) => Err(why),
    }
}

/// A claim's reply may have been lost: then the store says that this process has deliveries that it doesn't know. Unknown twice,
/// a minute apart, they go back.
async fn compare_on(partition: &Partition, running: &Running) {
    let mut minutes = interval_at(Instant::now() + COMPARE_EVERY, COMPARE_EVERY);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = HashSet::new();
    loop {
        minutes.tick().await;
        match compare(partition, running, &before).await {
            Ok(unknown) => before = unknown,
            // Nothing was learnt; what was unknown before must be so at the next look that succeeds.
            Err(why) => tracing::debug!(partition = %partition.name(), error = %why, "claims not compared"),
        }
    }
}

/// Releases what is unknown now and was `before`; returns what is unknown now.
pub(super) async fn compare(
    partition: &Partition,
    running: &Running,
    before: &HashSet<(DeliveryId, ClaimNumber)>,
) -> Result<HashSet<(DeliveryId, ClaimNumber)>, Unavailable> {
    let Some(me) = partition.lease().incarnation() else { return Ok(HashSet::new()) };
    let claims = partition.claims_of(me).await?;
    let unknown: HashSet<_> = claims.into_iter().filter(|(id, number)| !running.has(id, *number)).collect();
    let twice: Claims = unknown.iter().filter(|claim| before.contains(claim)).cloned().collect();
    if !twice.is_empty() {
        let released = partition.release_unknown(me, &twice).await?;
        tracing::warn!(
            partition = %partition.name(),
            deliveries = released,
            "released claims that no attempt knows: the reply to a claim was lost"
        );
    }
    Ok(unknown)
}

const COMPARE_EVERY: Duration = Duration::from_secs(60);
const RETELL_RETRY: Duration = Duration::from_millis(200);

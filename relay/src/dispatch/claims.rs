//! The claim loop of one partition: takes what is due, as far as there is room for it.
//! **Owns:** when the queue is asked, and what becomes of claims that can't start. **Never:** an attempt.
//! Pressure goes upstream: no room in the window, no claim; what a lane may not have now goes back for a moment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use postrider_mail::{Class, Due};
use postrider_queue::{
    ClaimRequest, Claimed, ClaimedBatch, Ending, Lane,
    claim::{ClaimError, MAX_ROOMS},
};
use tokio_util::sync::CancellationToken;

use super::{Dispatcher, Slot, Window, desks::Desk, ports::tag};
use crate::{
    clock,
    config::ConfigSource,
    failpoint::{self, Step},
};

/// Claims in one call.
const BATCH: usize = 64;
/// To one destination in one call: enough to keep a site busy until the next call, few enough to be fair.
const PER_DESTINATION: u32 = 32;
/// How often the queue is asked while it has work: mail that others enqueue wakes nobody here.
const BUSY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(250));
/// How often it is asked while it has none.
const IDLE: Duration = Duration::from_secs(1);
/// How long it is busy after work was last found.
const BUSY_FOR: Duration = Duration::from_secs(10);
/// How far our clock and the queue's may be apart for expiry to be believed.
const SKEW_MAX: Duration = Duration::from_secs(300);
/// How long expired mail stays away while the clocks disagree.
const SKEW_WAIT: Duration = Duration::from_secs(60);

/// The loop's state.
pub struct ClaimLoop {
    /// Starts what is claimed.
    pub dispatcher: Dispatcher,
    /// The partition.
    pub desk: Desk,
    /// The config.
    pub config: ConfigSource,
    /// Set while a delivery that others died trying is tried: it is tried alone.
    pub is_one_alone: Arc<AtomicBool>,
}

impl ClaimLoop {
    /// Claims until `stopped`.
    pub async fn run(self, stopped: CancellationToken) {
        let mut pace = Pace::new();
        loop {
            let wait = self.once(&mut pace).await;
            let name = self.desk.partition.name();
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                () = tokio::time::sleep(wait), if !wait.is_zero() => {}
                () = self.dispatcher.woken(name), if !wait.is_zero() => {}
                () = std::future::ready(()), if wait.is_zero() => {}
            }
        }
    }

    /// Claims once. Returns how long to wait before the next time.
    async fn once(&self, pace: &mut Pace) -> Duration {
        let config = self.config.current();
        let lease = self.desk.partition.lease();
        if config.is_paused() || lease.incarnation().is_none() {
            return BUSY.1;
        }
        if let Some(wait) = lease.gate_closed_for() {
            return wait;
        }
        let Some((least, room)) = self.room() else {
            // Whoever is done makes room; asked again soon in any case.
            let _ = tokio::time::timeout(BUSY.0, self.dispatcher.window().freed()).await;
            return Duration::from_millis(1);
        };
        let request = ClaimRequest {
            max: u32::try_from(room.min(BATCH)).unwrap_or(1),
            per_destination: PER_DESTINATION,
            rooms: pace.rooms(self.dispatcher.window()),
            least,
            may_take_alone: !self.is_one_alone.load(Ordering::Acquire),
            longest_wait: config.longest_wait(),
            config: tag(&config),
        };
        match self.desk.partition.claim(&request).await {
            Ok(batch) => {
                batch.claimed.iter().for_each(|_| failpoint::passed(Step::Claimed));
                pace.answered(self.desk.partition.name());
                self.start(batch, &request, pace).await
            }
            Err(ClaimError::Fenced) => BUSY.1,
            Err(ClaimError::Unavailable(why)) => pace.unanswered(self.desk.partition.name(), &why),
        }
    }

    /// The least urgent class that there is room for, and how much: the most urgent mail finds room for longest.
    fn room(&self) -> Option<(Class, usize)> {
        let mut rooms = Class::ALL.iter().rev().map(|class| (*class, self.dispatcher.window().room(*class)));
        rooms.find(|(_, room)| *room > 0)
    }

    async fn start(&self, batch: ClaimedBatch, request: &ClaimRequest, pace: &mut Pace) -> Duration {
        let is_full = batch.claimed.len() >= request.max as usize;
        let is_more_due = is_full || batch.next.is_some_and(|next| next <= batch.now);
        let (next, now) = (batch.next, batch.now);
        for delivery in batch.unreadable {
            tracing::warn!(%delivery, "a delivery can't be read by this version; it waits for a minute for one that can");
        }
        let skewed = batch.claimed.iter().filter(|claimed| is_skewed(claimed)).count();
        if skewed > 0 {
            tracing::warn!(
                partition = %self.desk.partition.name(), deliveries = skewed,
                "found this machine's clock and the queue's more than 5 min apart; expected the same time; expired mail waits until one \
                 of them is set right"
            );
        }
        let mut back: Vec<(Claimed, Duration)> = Vec::new();
        let mut started = 0_usize;
        for claimed in batch.claimed {
            match self.admit(&claimed) {
                Ok(slot) => {
                    started += 1;
                    self.dispatcher.start(slot, claimed, None);
                }
                Err(wait) => back.push((claimed, wait)),
            }
        }
        // What had to be given back would only be claimed and given back again: not at once, and if nothing else was due, not soon.
        let has_room_for_all = back.is_empty();
        pace.had_no_room(back.iter().map(|(claimed, _)| &claimed.delivery.lane));
        self.give_back(back).await;
        pace.found(started);
        match (started, has_room_for_all) {
            (1.., true) if is_more_due => Duration::ZERO,
            (0, false) if !is_full => BUSY.1,
            _ => pace.until(next, now),
        }
    }

    fn admit(&self, claimed: &Claimed) -> Result<Slot, Duration> {
        let lane: &Lane = &claimed.delivery.lane;
        let window = self.dispatcher.window();
        match &claimed.ending {
            Some(Ending::Expired) if is_skewed(claimed) => Err(SKEW_WAIT),
            Some(Ending::Expired | Ending::Bounce(_)) => Ok(window.admit_expired(lane)),
            None => window.admit(lane).ok_or_else(|| window.wait_of(lane)),
        }
    }

    async fn give_back(&self, mut back: Vec<(Claimed, Duration)>) {
        back.sort_by_key(|(_, wait)| *wait);
        for group in back.chunk_by(|a, b| a.1 == b.1) {
            let Some((_, wait)) = group.first() else { continue };
            let claims: Vec<_> = group.iter().map(|(claimed, _)| &claimed.claim).collect();
            if let Err(why) = self.desk.partition.release(&claims, *wait).await {
                // The minute's comparison of claims finds them.
                tracing::debug!(%why, claims = claims.len(), "claims were not released");
            }
        }
    }
}

/// Whether its time is over by the queue's clock, which is too far from this machine's to be believed.
fn is_skewed(claimed: &Claimed) -> bool {
    matches!(claimed.ending, Some(Ending::Expired)) && skew(claimed.claimed_at) > SKEW_MAX
}

/// How far this machine's clock is from the queue's.
fn skew(theirs: Due) -> Duration {
    let ours = clock::wall();
    ours.until(theirs).max(theirs.until(ours))
}

/// How often the queue is asked, and for what not.
struct Pace {
    last_found: Option<tokio::time::Instant>,
    failures: u32,
    /// Lanes that lately had more than there was room for.
    crowded: Vec<Lane>,
}

impl Pace {
    const fn new() -> Self {
        Self { last_found: None, failures: 0, crowded: Vec::new() }
    }

    fn found(&mut self, started: usize) {
        if started > 0 {
            self.last_found = Some(tokio::time::Instant::now());
        }
    }

    /// What was claimed of these couldn't start.
    fn had_no_room<'a>(&mut self, lanes: impl Iterator<Item = &'a Lane>) {
        for lane in lanes {
            if self.crowded.len() < MAX_ROOMS && !self.crowded.contains(lane) {
                self.crowded.push(lane.clone());
            }
        }
    }

    /// How much of such lanes can start now. One that has room for all that is claimed of it is forgotten.
    fn rooms(&mut self, window: &Window) -> Vec<(Lane, u32)> {
        let room = |lane: &Lane| {
            let room = window.room_of(lane, PER_DESTINATION as usize);
            u32::try_from(room).unwrap_or(PER_DESTINATION)
        };
        let rooms = self.crowded.drain(..).map(|lane| (room(&lane), lane));
        let rooms: Vec<_> = rooms.filter(|(room, _)| *room < PER_DESTINATION).collect();
        self.crowded.extend(rooms.iter().map(|(_, lane)| lane.clone()));
        rooms.into_iter().map(|(room, lane)| (lane, room)).collect()
    }

    /// Until something is next due, but not for longer than others' mail may wait unseen.
    fn until(&self, next: Option<Due>, now: Due) -> Duration {
        let is_busy = self.last_found.is_some_and(|at| at.elapsed() < BUSY_FOR);
        let (shortest, longest) = if is_busy { BUSY } else { (BUSY.0, IDLE) };
        next.map_or(longest, |next| now.until(next)).clamp(shortest, longest)
    }

    fn answered(&mut self, partition: &postrider_mail::PartitionName) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!(%partition, "the queue answers again; mail is claimed");
        }
    }

    fn unanswered(
        &mut self,
        partition: &postrider_mail::PartitionName,
        why: &postrider_queue::Unavailable,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            tracing::warn!(%partition, %why, "mail can't be claimed; tried again until the queue answers");
        }
        BUSY.0.saturating_mul(1 << self.failures.min(4)).min(IDLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Due {
        Due::from_unix_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_asked_often_while_it_has_work_and_seldom_while_not() {
        let mut pace = Pace::new();
        assert_eq!(pace.until(None, at(0)), IDLE);
        assert_eq!(pace.until(Some(at(400)), at(0)), Duration::from_millis(400));
        assert_eq!(pace.until(Some(at(0)), at(5)), BUSY.0, "never without a pause");
        pace.found(1);
        assert_eq!(pace.until(None, at(0)), BUSY.1);
        tokio::time::advance(BUSY_FOR).await;
        assert_eq!(pace.until(None, at(0)), IDLE);
    }

    #[test]
    fn a_skew_is_seen_in_both_directions() {
        let now = clock::wall();
        let hour = Duration::from_secs(3_600);
        assert!(skew(now) < SKEW_MAX);
        assert!(skew(now.after(hour)) > SKEW_MAX);
        assert!(skew(at(now.unix_millis() - 3_600_000)) > SKEW_MAX);
    }
}

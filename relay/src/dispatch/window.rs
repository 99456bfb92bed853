//! The active window: how many deliveries this relay works on at once, and how many of them of one lane.
//! **Owns:** [`Slot`]s, and what this relay knows of lanes without asking the queue. **Never:** starts anything.
//!
//! A lane may take a share of what is *free*, not of the whole: the more is taken, the less another lane can take. So a handful
//! of slow lanes never fills the window, and a lone busy one still gets plenty. What is left near the end is for lanes that
//! delivered lately: a flood of mail to domains that nobody answers for can't keep mail from those that do.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_queue::Lane;
use tokio::{sync::Notify, time::Instant};

/// Deliveries at work at once. Bounds memory (with the body budget) and sockets.
pub const WINDOW: usize = 2_048;
/// A lane takes at most this part of what is free: with `k` greedy lanes, `4 / (4 + k)` of the window stays free.
const LANE_SHARE: usize = 4;
/// A lane gets as many in any case, while any are free to it.
const LANE_FLOOR: usize = 8;
/// This part of the window is for lanes that delivered lately.
const PROVEN_SHARE: usize = 4;
/// How long a delivery proves a lane.
const PROVEN_FOR: Duration = Duration::from_secs(60);
/// How long mail stays away whose lane has its share: about as long as a busy site needs for it.
const SHARE_WAIT: Duration = Duration::from_millis(250);
/// How long mail stays away whose lane is on probe.
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// How long mail stays away at most whose lane a limit lets wait, as far as this relay knows.
const LIMIT_WAIT_MAX: Duration = Duration::from_secs(1);
/// By then the queue has been told of a suspension, or doesn't answer.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Lanes remembered without anything at work; the oldest knowledge goes first when there are more.
const REMEMBERED_LANES: usize = 20_000;

/// The window. Cloning shares it.
#[derive(Clone)]
pub struct Window {
    shared: Arc<Shared>,
}

struct Shared {
    size: usize,
    state: Mutex<State>,
    /// Told when a slot comes free: the claim loops wait here.
    freed: Notify,
}

#[derive(Default)]
struct State {
    taken: usize,
    lanes: HashMap<Arc<Lane>, LaneState>,
}

#[derive(Default)]
struct LaneState {
    at_work: usize,
    delivered: Option<Instant>,
    /// Set while the queue keeps the lane suspended, as far as this relay knows.
    suspended: Option<Suspended>,
    /// The suspension is over but nothing has been delivered since: one goes first.
    is_on_probe: bool,
}

#[derive(Clone, Copy)]
struct Suspended {
    since: Instant,
    until: Instant,
    /// A limit lets it wait: there is nothing to find out afterwards.
    is_limit: bool,
}

/// One place in the window, for one delivery of one lane. Dropping it gives it back.
#[must_use]
pub struct Slot {
    window: Window,
    lane: Arc<Lane>,
}

impl Window {
    /// A window of `size` slots.
    pub fn new(size: usize) -> Self {
        Self { shared: Arc::new(Shared { size, state: Mutex::default(), freed: Notify::new() }) }
    }

    /// A slot for a new delivery of `lane`; none when the lane is suspended, on probe, or has its share.
    pub fn reserve(&self, lane: &Lane) -> Option<Slot> {
        self.take(lane, |state| !state.is_on_probe)
    }

    /// A slot for a claimed delivery of `lane`. Also the probe of a lane whose suspension is over; it alone. The queue hands out
    /// nothing of a suspended lane: if it does though it has been told, somebody else has resumed the lane.
    pub fn admit(&self, lane: &Lane) -> Option<Slot> {
        let is_told = |suspended: &Suspended| suspended.since.elapsed() > TOLD_WITHIN;
        if let Some(known) = self.lock().lanes.get_mut(lane)
            && known.suspended.as_ref().is_some_and(is_told)
        {
            known.resume();
        }
        self.take(lane, |state| !state.is_on_probe || state.at_work == 0)
    }

    /// A slot whatever the lane has: for what must end now (expired mail).
    pub fn admit_expired(&self, lane: &Lane) -> Slot {
        let mut state = self.lock();
        let lane = owned(&mut state, lane);
        self.hand_out(&mut state, lane)
    }

    fn take(&self, lane: &Lane, may: impl FnOnce(&LaneState) -> bool) -> Option<Slot> {
        let now = Instant::now();
        let mut state = self.lock();
        let free = self.shared.size.saturating_sub(state.taken);
        let known = state.lanes.get_mut(lane);
        let (at_work, is_proven) = match known {
            None => (0, false),
            Some(known) => {
                if known.suspended.is_some_and(|suspended| suspended.until <= now) {
                    known.resume();
                }
                if known.suspended.is_some() || !may(known) {
                    return None;
                }
                (known.at_work, known.delivered.is_some_and(|at| now.duration_since(at) < PROVEN_FOR))
            }
        };
        let free = if is_proven { free } else { free.saturating_sub(self.shared.size / PROVEN_SHARE) };
        if free == 0 || at_work >= (free / LANE_SHARE).max(LANE_FLOOR) {
            return None;
        }
        let lane = owned(&mut state, lane);
        Some(self.hand_out(&mut state, lane))
    }

    fn hand_out(&self, state: &mut State, lane: Arc<Lane>) -> Slot {
        state.taken += 1;
        if let Some(known) = state.lanes.get_mut(&*lane) {
            known.at_work += 1;
        }
        Slot { window: self.clone(), lane }
    }

    /// How many deliveries of lanes that nothing is known of could start now.
    pub fn room(&self) -> usize {
        let state = self.lock();
        self.shared.size.saturating_sub(state.taken).saturating_sub(self.shared.size / PROVEN_SHARE)
    }

    /// How many slots are taken.
    pub fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Waits until a slot has been given back since the last call.
    pub async fn freed(&self) {
        self.shared.freed.notified().await;
    }

    /// Something was delivered by `lane`: it is proven. Says whether the lane was on probe or suspended till now.
    pub fn delivered(&self, lane: &Lane) -> bool {
        let mut state = self.lock();
        let Some(known) = state.lanes.get_mut(lane) else { return false };
        known.delivered = Some(Instant::now());
        // A limit stays what it is, however well the far side answers.
        let was_suspended = known.suspended.take_if(|suspended| !suspended.is_limit).is_some();
        was_suspended | std::mem::take(&mut known.is_on_probe)
    }

    /// The lane isn't tried for `wait`.
    pub fn suspend(&self, lane: &Lane, wait: Duration) {
        let mut state = self.lock();
        let lane = owned(&mut state, lane);
        if let Some(known) = state.lanes.get_mut(&*lane) {
            let since = Instant::now();
            known.suspended = Some(Suspended { since, until: since + wait, is_limit: false });
            known.delivered = None;
        }
    }

    /// A limit lets the lane wait. Says whether that is news: a suspension for as long says as much.
    pub fn limit(&self, lane: &Lane, wait: Duration) -> bool {
        let mut state = self.lock();
        let lane = owned(&mut state, lane);
        let Some(known) = state.lanes.get_mut(&*lane) else { return false };
        let since = Instant::now();
        let until = since + wait;
        if known.suspended.is_some_and(|suspended| suspended.until >= until) {
            return false;
        }
        known.suspended = Some(Suspended { since, until, is_limit: true });
        true
    }

    /// How long the lane isn't tried yet, if so.
    pub fn suspended_for(&self, lane: &Lane) -> Option<Duration> {
        let until = self.lock().lanes.get(lane)?.suspended?.until;
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// How long a delivery of the lane had better stay away that wasn't admitted.
    pub fn wait_of(&self, lane: &Lane) -> Duration {
        let (is_on_probe, is_limit) = self.lock().lanes.get(lane).map_or((false, false), |known| {
            (known.is_on_probe, known.suspended.is_some_and(|suspended| suspended.is_limit))
        });
        let wait = self.suspended_for(lane).unwrap_or(if is_on_probe { PROBE_WAIT } else { SHARE_WAIT });
        // The queue has handed it out, so another relay may send it before this one does.
        if is_limit { wait.min(LIMIT_WAIT_MAX) } else { wait }
    }

    /// All lanes may be tried again: another config says where mail goes.
    pub fn resume_all(&self) {
        for known in self.lock().lanes.values_mut() {
            known.suspended = None;
            known.is_on_probe = false;
        }
    }

    /// The lane may be tried again: somebody says so.
    pub fn resume(&self, lane: &Lane) {
        if let Some(known) = self.lock().lanes.get_mut(lane) {
            known.suspended = None;
            known.is_on_probe = false;
        }
    }

    /// Forgets lanes that have nothing at work once too many are remembered. Called now and then.
    pub fn tidy(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let is_crowded = state.lanes.len() > REMEMBERED_LANES;
        state.lanes.retain(|_, known| {
            let is_proven = known.delivered.is_some_and(|at| now.duration_since(at) < PROVEN_FOR);
            let is_suspended = known.suspended.is_some_and(|suspended| suspended.until > now);
            known.at_work > 0 || (!is_crowded && (is_proven || is_suspended || known.is_on_probe))
        });
    }

    /// No call that holds the lock can fail half-way, so a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owned(state: &mut State, lane: &Lane) -> Arc<Lane> {
    if let Some((known, _)) = state.lanes.get_key_value(lane) {
        return known.clone();
    }
    let lane = Arc::new(lane.clone());
    state.lanes.insert(lane.clone(), LaneState::default());
    lane
}

impl LaneState {
    /// The suspension is over.
    fn resume(&mut self) {
        self.is_on_probe |= self.suspended.take().is_some_and(|suspended| !suspended.is_limit);
    }
}

impl Slot {
    /// Whose it is.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot({:?})", self.lane)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.window.lock();
        state.taken = state.taken.saturating_sub(1);
        if let Some(known) = state.lanes.get_mut(&*self.lane) {
            known.at_work = known.at_work.saturating_sub(1);
        }
        drop(state);
        self.window.shared.freed.notify_one();
    }
}

#[cfg(test)]
mod tests;

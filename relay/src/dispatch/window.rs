//! The active window: how many deliveries this relay works on at once, and how many of them to one destination.
//! **Owns:** [`Slot`]s, and what this relay knows of lanes without asking the queue. **Never:** starts anything.
//!
//! A destination may take a share of what is *free*, not of the whole: the more is taken, the less another one can take. So a
//! handful of slow ones never fills the window, and a lone busy one still gets plenty. In its share, the same goes for its flows.
//! A part is for destinations that delivered lately: a flood of mail to domains that nobody answers for can't keep mail from those
//! that do. And the last of what is free is for the more urgent classes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_mail::Class;
use postrider_queue::{Flow, Lane};
use tokio::{sync::Notify, time::Instant};

/// Deliveries at work at once. Bounds memory (with the body budget) and sockets.
pub const WINDOW: usize = 2_048;
/// A destination takes at most this part of what is free: with `k` greedy ones, `4 / (4 + k)` of the window stays free.
const DESTINATION_SHARE: usize = 4;
/// A destination gets as many in any case, while any are free to it.
const DESTINATION_FLOOR: usize = 8;
/// A flow has at most so many times what is left of its destination's share: alone three quarters of it, two of them three sevenths each.
const FLOW_SHARE: usize = 3;
/// This part of the window is for destinations that delivered lately.
const PROVEN_SHARE: usize = 4;
/// How long a delivery proves a destination.
const PROVEN_FOR: Duration = Duration::from_secs(60);
/// How long mail stays away that found its share taken: about as long as a busy site needs for it.
const SHARE_WAIT: Duration = Duration::from_millis(250);
/// How long mail stays away whose destination is on probe.
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// How long mail stays away at most whose lane a limit lets wait, as far as this relay knows.
const LIMIT_WAIT_MAX: Duration = Duration::from_secs(1);
/// By then the queue has been told of a suspension, or doesn't answer.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Destinations remembered without anything at work; the oldest knowledge goes first when there are more.
const REMEMBERED_DESTINATIONS: usize = 20_000;

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
    /// By those that weren't proven when they took it.
    taken_unproven: usize,
    /// By destination: lanes without a flow.
    destinations: HashMap<Arc<Lane>, Destination>,
}

#[derive(Default)]
struct Destination {
    at_work: usize,
    delivered: Option<Instant>,
    /// Set while the queue keeps it suspended, as far as this relay knows.
    suspended: Option<Pause>,
    /// The suspension is over but nothing has been delivered since: one goes first.
    is_on_probe: bool,
    /// Those with something at work, and those that a limit lets wait.
    flows: Vec<FlowState>,
}

struct FlowState {
    flow: Option<Flow>,
    at_work: usize,
    /// Set while a limit lets it wait: there is nothing to find out afterwards.
    limited: Option<Pause>,
}

#[derive(Clone, Copy)]
struct Pause {
    since: Instant,
    until: Instant,
}

/// One place in the window, for one delivery of one lane. Dropping it gives it back.
#[must_use]
pub struct Slot {
    window: Window,
    destination: Arc<Lane>,
    flow: Option<Flow>,
    is_unproven: bool,
}

impl Window {
    /// A window of `size` slots.
    pub fn new(size: usize) -> Self {
        Self { shared: Arc::new(Shared { size, state: Mutex::default(), freed: Notify::new() }) }
    }

    /// A slot for a new delivery of `lane`; none when it is suspended, limited, on probe, or has its share.
    pub fn reserve(&self, lane: &Lane) -> Option<Slot> {
        self.take(lane, lane.destination(), |known| !known.is_on_probe)
    }

    /// A slot for a claimed delivery of `lane`. Also the probe of a destination whose suspension is over; it alone. The queue hands
    /// out nothing of what is suspended: if it does though it has been told, somebody else has resumed it.
    pub fn admit(&self, lane: &Lane) -> Option<Slot> {
        let destination = lane.destination();
        if let Some(known) = self.lock().destinations.get_mut(&destination) {
            let is_told = |pause: &Pause| pause.since.elapsed() > TOLD_WITHIN;
            if known.suspended.as_ref().is_some_and(is_told) {
                known.resume();
            }
            if let Some(flow) = known.flow_mut(lane.flow)
                && flow.limited.as_ref().is_some_and(is_told)
            {
                flow.limited = None;
            }
        }
        self.take(lane, destination, |known| !known.is_on_probe || known.at_work == 0)
    }

    /// A slot whatever the lane has: for what must end now (expired mail).
    pub fn admit_expired(&self, lane: &Lane) -> Slot {
        let mut state = self.lock();
        let destination = owned(&mut state, lane.destination());
        self.hand_out(&mut state, destination, lane.flow, false)
    }

    fn take(&self, lane: &Lane, destination: Lane, may: impl FnOnce(&Destination) -> bool) -> Option<Slot> {
        let now = Instant::now();
        let mut state = self.lock();
        let (mut at_work, mut of_flow, mut is_proven) = (0, 0, false);
        if let Some(known) = state.destinations.get_mut(&destination) {
            known.end_pauses(now);
            let flow = known.flow_mut(lane.flow);
            let is_limited = flow.as_ref().is_some_and(|flow| flow.limited.is_some());
            of_flow = flow.map_or(0, |flow| flow.at_work);
            if known.suspended.is_some() || is_limited || !may(known) {
                return None;
            }
            at_work = known.at_work;
            is_proven = known.is_proven(now);
        }
        if !may_start(self.free(&state, lane.class, is_proven), at_work, of_flow) {
            return None;
        }
        let destination = owned(&mut state, destination);
        Some(self.hand_out(&mut state, destination, lane.flow, !is_proven))
    }

    fn hand_out(
        &self,
        state: &mut State,
        destination: Arc<Lane>,
        flow: Option<Flow>,
        is_unproven: bool,
    ) -> Slot {
        state.taken += 1;
        state.taken_unproven += usize::from(is_unproven);
        if let Some(known) = state.destinations.get_mut(&*destination) {
            known.at_work += 1;
            known.flow(flow).at_work += 1;
        }
        Slot { window: self.clone(), destination, flow, is_unproven }
    }

    /// What a class may still take: what is free, but for what it leaves to the more urgent ones.
    fn free(&self, state: &State, class: Class, is_proven: bool) -> usize {
        let size = self.shared.size;
        let free = size.saturating_sub(state.taken);
        let unproven = (size - size / PROVEN_SHARE).saturating_sub(state.taken_unproven);
        let free = if is_proven { free } else { free.min(unproven) };
        free.saturating_sub(left_to_more_urgent(class, size))
    }

    /// How many deliveries of a class, to destinations that nothing is known of, could start now.
    pub fn room(&self, class: Class) -> usize {
        self.free(&self.lock(), class, false)
    }

    /// How many more deliveries of a lane could start now, `most` at most, were neither it nor its destination to wait for anything.
    pub fn room_of(&self, lane: &Lane, most: usize) -> usize {
        let state = self.lock();
        let known = state.destinations.get(&lane.destination());
        let is_proven = known.is_some_and(|known| known.is_proven(Instant::now()));
        let at_work = known.map_or(0, |known| known.at_work);
        let of_flow = known.and_then(|known| known.flows.iter().find(|flow| flow.flow == lane.flow));
        let of_flow = of_flow.map_or(0, |flow| flow.at_work);
        let free = self.free(&state, lane.class, is_proven);
        // Each that starts leaves less to the next one.
        let starts = |more: &usize| may_start(free.saturating_sub(*more), at_work + more, of_flow + more);
        (0..most).take_while(starts).count()
    }

    /// How many slots are taken.
    pub fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Waits until a slot has been given back since the last call.
    pub async fn freed(&self) {
        self.shared.freed.notified().await;
    }

    /// Something was delivered by `lane`: its destination is proven. Says whether that was on probe or suspended till now.
    pub fn delivered(&self, lane: &Lane) -> bool {
        let mut state = self.lock();
        let Some(known) = state.destinations.get_mut(&lane.destination()) else { return false };
        known.delivered = Some(Instant::now());
        // A limit stays what it is, however well the far side answers.
        known.suspended.take().is_some() | std::mem::take(&mut known.is_on_probe)
    }

    /// The destination of a lane isn't tried for `wait`.
    pub fn suspend(&self, lane: &Lane, wait: Duration) {
        let mut state = self.lock();
        let destination = owned(&mut state, lane.destination());
        if let Some(known) = state.destinations.get_mut(&*destination) {
            known.suspended = Some(Pause::of(wait));
            known.delivered = None;
        }
    }

    /// A limit lets the lane wait. Says whether that is news: a suspension for as long says as much.
    pub fn limit(&self, lane: &Lane, wait: Duration) -> bool {
        let mut state = self.lock();
        let destination = owned(&mut state, lane.destination());
        let Some(known) = state.destinations.get_mut(&*destination) else { return false };
        let pause = Pause::of(wait);
        let is_as_long = |known: Option<Pause>| known.is_some_and(|known| known.until >= pause.until);
        if is_as_long(known.suspended) || is_as_long(known.flow(lane.flow).limited) {
            return false;
        }
        known.flow(lane.flow).limited = Some(pause);
        true
    }

    /// How long the destination of the lane isn't tried yet, if so.
    pub fn suspended_for(&self, lane: &Lane) -> Option<Duration> {
        let until = self.lock().destinations.get(&lane.destination())?.suspended?.until;
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// How long a delivery of the lane had better stay away that wasn't admitted.
    pub fn wait_of(&self, lane: &Lane) -> Duration {
        if let Some(wait) = self.suspended_for(lane) {
            return wait;
        }
        let now = Instant::now();
        let mut state = self.lock();
        let Some(known) = state.destinations.get_mut(&lane.destination()) else { return SHARE_WAIT };
        known.end_pauses(now);
        match known.flow_mut(lane.flow).and_then(|flow| flow.limited) {
            // The queue has handed it out, so another relay may send it before this one does.
            Some(limited) => limited.until.saturating_duration_since(now).min(LIMIT_WAIT_MAX),
            None if known.is_on_probe => PROBE_WAIT,
            None => SHARE_WAIT,
        }
    }

    /// All lanes may be tried again: another config says where mail goes.
    pub fn resume_all(&self) {
        self.lock().destinations.values_mut().for_each(Destination::forget_pauses);
    }

    /// The destination of a lane may be tried again: somebody says so.
    pub fn resume(&self, lane: &Lane) {
        if let Some(known) = self.lock().destinations.get_mut(&lane.destination()) {
            known.forget_pauses();
        }
    }

    /// Forgets what has nothing at work once too much is remembered. Called now and then.
    pub fn tidy(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let is_crowded = state.destinations.len() > REMEMBERED_DESTINATIONS;
        state.destinations.retain(|_, known| {
            let is_proven = known.is_proven(now);
            let is_still = |pause: Option<Pause>| pause.is_some_and(|pause| pause.until > now);
            known.flows.retain(|flow| flow.at_work > 0 || is_still(flow.limited));
            let is_paused = is_still(known.suspended) || !known.flows.is_empty();
            known.at_work > 0 || (!is_crowded && (is_proven || is_paused || known.is_on_probe))
        });
    }

    /// No call that holds the lock can fail half-way, so a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another delivery may start, with so much free, and so many at work of its destination and of its flow.
fn may_start(free: usize, at_work: usize, of_flow: usize) -> bool {
    let left = (free / DESTINATION_SHARE).max(DESTINATION_FLOOR).saturating_sub(at_work);
    free > 0 && of_flow < left * FLOW_SHARE
}

/// How much of the window stays for the classes above this one. So they find some whenever they come.
const fn left_to_more_urgent(class: Class, size: usize) -> usize {
    match class {
        Class::Transactional => 0,
        Class::Normal => size / 16,
        Class::Bulk => size / 8,
    }
}

/// The name of a destination, which is known from now on.
fn owned(state: &mut State, destination: Lane) -> Arc<Lane> {
    if let Some((known, _)) = state.destinations.get_key_value(&destination) {
        return known.clone();
    }
    let destination = Arc::new(destination);
    state.destinations.insert(destination.clone(), Destination::default());
    destination
}

impl Pause {
    fn of(wait: Duration) -> Self {
        let since = Instant::now();
        Self { since, until: since + wait }
    }
}

impl Destination {
    fn is_proven(&self, now: Instant) -> bool {
        self.delivered.is_some_and(|at| now.duration_since(at) < PROVEN_FOR)
    }

    fn flow_mut(&mut self, flow: Option<Flow>) -> Option<&mut FlowState> {
        self.flows.iter_mut().find(|known| known.flow == flow)
    }

    fn flow(&mut self, flow: Option<Flow>) -> &mut FlowState {
        let at = self.flows.iter().position(|known| known.flow == flow).unwrap_or_else(|| {
            self.flows.push(FlowState { flow, at_work: 0, limited: None });
            self.flows.len() - 1
        });
        &mut self.flows[at]
    }

    /// The suspension is over: one goes first.
    fn resume(&mut self) {
        self.is_on_probe |= self.suspended.take().is_some();
    }

    fn end_pauses(&mut self, now: Instant) {
        if self.suspended.is_some_and(|suspended| suspended.until <= now) {
            self.resume();
        }
        for flow in &mut self.flows {
            flow.limited.take_if(|limited| limited.until <= now);
        }
    }

    fn forget_pauses(&mut self) {
        self.suspended = None;
        self.is_on_probe = false;
        self.flows.iter_mut().for_each(|flow| flow.limited = None);
    }
}

impl Slot {
    /// What it is to: a lane without a flow.
    pub fn destination(&self) -> &Lane {
        &self.destination
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot({:?})", self.destination)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.window.lock();
        state.taken = state.taken.saturating_sub(1);
        state.taken_unproven = state.taken_unproven.saturating_sub(usize::from(self.is_unproven));
        if let Some(known) = state.destinations.get_mut(&*self.destination) {
            known.at_work = known.at_work.saturating_sub(1);
            let flow = known.flow(self.flow);
            flow.at_work = flow.at_work.saturating_sub(1);
            // Most destinations have a flow or two at a time; what isn't needed isn't kept.
            known.flows.retain(|flow| flow.at_work > 0 || flow.limited.is_some());
        }
        drop(state);
        self.window.shared.freed.notify_one();
    }
}

#[cfg(test)]
mod tests;

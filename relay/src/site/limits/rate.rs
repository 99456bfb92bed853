//! One rate of the fleet.
//! **Owns:** the tokens of this relay, who asks the store for how many, when mail comes again. **Never:** holds back tokens that
//! somebody could miss: where they are few, those who ask are there, and each uses its own at once.
//! While one asks the store, the others gather, and the next one asks for all of them. Where there are plenty, it asks for as many as
//! were lately used in a moment: so a limit that isn't reached costs next to nothing.
//! Who gathers is few of each sender: what another one has in hand never stands before somebody for long.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use postrider_core::limits::{self, Rate, Turns};
use postrider_mail::{Class, Mono};
use postrider_queue::{
    Flow, Lane,
    incarnation::Clock,
    lane::Limited,
    limit::{self, Limiter},
    shards::Shards,
};

use super::{PutOff, SHORT, Who};

/// How long anybody waits with its connection, if others are always faster.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long mail waits whose limit's keeper gave no answer.
const AWAY: Duration = Duration::from_secs(5);
/// At most so many looks' worth of one flow wait at a time with their connections, while tokens are short.
const LOOKS_IN_HAND: u32 = 2;
/// Tokens are short for so long after the store had none.
const SHORT_FOR: Duration = Duration::from_secs(1);
/// Tokens of a batch that nobody took within this are thrown away.
const FRESH_FOR: Duration = Duration::from_millis(250);
/// Tokens asked for ahead at most.
const AHEAD_MAX: u32 = 1_024;

/// One rate.
pub(crate) struct RateGate {
    limiter: Limiter,
    key: String,
    rate: limit::Rate,
    /// Tokens that may be asked for before anybody waits for them.
    ahead_max: u32,
    shards: Shards,
    clock: Clock,
    /// For each class: what is more urgent finds more of the burst.
    doors: [Door; 3],
}

#[derive(Default)]
struct Door {
    /// Whoever holds it asks the store.
    asking: tokio::sync::Mutex<Batch>,
    /// How many ask.
    waiting: AtomicU32,
    state: Mutex<State>,
}

struct State {
    /// Nothing is due before.
    open: Mono,
    turns: Turns<Lane>,
    /// How many ask, of each flow.
    asking: HashMap<Option<Flow>, u32>,
}

#[derive(Default)]
struct Batch {
    size: u32,
    left: u32,
    granted: Option<Mono>,
    /// Whether half of the burst was left then.
    is_plenty: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { open: Mono::from_start(Duration::ZERO), turns: Turns::default(), asking: HashMap::new() }
    }
}

impl RateGate {
    pub(super) fn new(limiter: Limiter, key: String, rate: Rate, shards: Shards, clock: Clock) -> Self {
        let mut rate = limit::Rate { tokens: rate.count, per: rate.per, burst: rate.burst };
        let ahead_max = rate.due_in(FRESH_FOR).min(rate.burst / 2).min(AHEAD_MAX);
        // What lies here is used so much later than it is counted. What comes due meanwhile is no longer part of the burst: so it is never
        // exceeded.
        rate.burst -= ahead_max;
        Self { limiter, key, rate, ahead_max, shards, clock, doors: Default::default() }
    }

    /// Whether mail needn't come at all for now. Asks nobody.
    pub(crate) fn look(&self, who: Who<'_>) -> Result<(), PutOff> {
        let (now, most) = (self.clock.now(), self.rate.batch() * LOOKS_IN_HAND);
        let is_crowded = self.door(who).state().is_crowded(who, most, now);
        if is_crowded { Err(self.put_off(who, now)) } else { self.is_soon(who) }
    }

    fn is_soon(&self, who: Who<'_>) -> Result<(), PutOff> {
        let now = self.clock.now();
        if self.door(who).state().open <= now.after(SHORT) { Ok(()) } else { Err(self.put_off(who, now)) }
    }

    /// One token, to be used at once.
    pub(crate) async fn token(&self, who: Who<'_>) -> Result<(), PutOff> {
        self.look(who)?;
        let door = self.door(who);
        let _waits = Waits::at(door, who);
        let mut batch = door.asking.lock().await;
        let until = self.clock.now().after(PATIENCE);
        loop {
            let now = self.clock.now();
            if batch.take(now) {
                return Ok(());
            }
            self.is_soon(who)?;
            let open = door.state().open;
            if open > now {
                tokio::time::sleep(open.since(now)).await;
            }
            if self.clock.now() >= until {
                return Err(self.put_off(who, self.clock.now()));
            }
            self.ask(who, door, &mut batch).await;
        }
    }

    /// Asks the store for all who wait here now.
    async fn ask(&self, who: Who<'_>, door: &Door, batch: &mut Batch) {
        let waiting = door.waiting.load(Ordering::Relaxed);
        let want = waiting.max(batch.ahead().min(self.ahead_max)).clamp(1, self.rate.batch());
        let reserve = limits::reserve(who.urgency, self.rate.burst);
        let granted = self.shards.grant(&self.key, &self.rate, want, reserve).await;
        let now = self.clock.now();
        match granted {
            Ok(granted) if granted.tokens > 0 => {
                let (size, is_plenty) = (granted.tokens, granted.left >= self.rate.burst / 2);
                *batch = Batch { size, left: size, granted: Some(now), is_plenty };
            }
            Ok(granted) => door.state().open = now.after(granted.again_after.max(Duration::from_millis(1))),
            Err(why) => {
                tracing::debug!(limit = self.limiter.as_str(), %why, "a limit's keeper gave no answer; its mail waits");
                door.state().open = now.after(AWAY);
            }
        }
    }

    fn put_off(&self, who: Who<'_>, now: Mono) -> PutOff {
        let few = self.rate.batch();
        let mut state = self.door(who).state();
        let open = state.open.max(now.after(Duration::from_millis(1)));
        let turn = state.turns.of(who.lane.clone(), now, open, self.rate.per_token() * few);
        PutOff { limited: Limited { limiter: self.limiter, wait: turn.since(now), few }, is_for_all: true }
    }

    /// Whether a new one would be as good.
    pub(super) fn is_unused(&self, now: Mono) -> bool {
        self.doors.iter().map(Door::state).all(|state| state.open <= now && state.turns.is_over(now))
    }

    fn door(&self, who: Who<'_>) -> &Door {
        let [urgent, normal, bulk] = &self.doors;
        match who.urgency {
            Class::Transactional => urgent,
            Class::Normal => normal,
            Class::Bulk => bulk,
        }
    }
}

impl Door {
    /// Nothing that holds the lock can fail half-way, so a poisoned one is sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn take(&mut self, now: Mono) -> bool {
        let is_fresh = self.granted.is_some_and(|granted| now.since(granted) < FRESH_FOR);
        if self.left == 0 || !is_fresh {
            return false;
        }
        self.left -= 1;
        true
    }

    /// How many of the next batch will be used, by this one: twice as many, if all of it was.
    fn ahead(&self) -> u32 {
        match (self.is_plenty, self.left) {
            (false, _) => 0,
            (true, 0) => self.size.saturating_mul(2),
            (true, left) => self.size - left,
        }
    }
}

impl State {
    fn is_crowded(&self, who: Who<'_>, most: u32, now: Mono) -> bool {
        let asking = self.asking.get(&who.lane.flow).copied().unwrap_or(0);
        asking >= most && self.open.after(SHORT_FOR) > now
    }
}

/// One who waits; no longer once this is dropped.
struct Waits<'a> {
    door: &'a Door,
    flow: Option<Flow>,
}

impl<'a> Waits<'a> {
    fn at(door: &'a Door, who: Who<'_>) -> Self {
        let flow = who.lane.flow;
        door.waiting.fetch_add(1, Ordering::Relaxed);
        *door.state().asking.entry(flow).or_default() += 1;
        Self { door, flow }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.door.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.door.state();
        if let Some(count) = state.asking.get_mut(&self.flow) {
            *count -= 1;
            if *count == 0 {
                state.asking.remove(&self.flow);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(size: u32, left: u32, is_plenty: bool) -> Batch {
        Batch { size, left, granted: None, is_plenty }
    }

    #[test]
    fn the_next_batch_follows_what_is_used_while_there_is_plenty() {
        assert_eq!(batch(8, 0, true).ahead(), 16, "all of it was used in time");
        assert_eq!(batch(8, 5, true).ahead(), 3);
        assert_eq!(batch(8, 8, true).ahead(), 0);
        assert_eq!(batch(8, 0, false).ahead(), 0, "others may miss them");
        assert_eq!(Batch::default().ahead(), 0);
    }

    #[test]
    fn a_token_is_good_for_a_moment() {
        let granted = Mono::from_start(Duration::from_secs(1));
        let mut batch = Batch { granted: Some(granted), ..batch(2, 2, true) };
        assert!(batch.take(granted.after(Duration::from_millis(249))));
        assert!(!batch.take(granted.after(FRESH_FOR)));
        assert!(batch.take(granted) && !batch.take(granted));
    }
}

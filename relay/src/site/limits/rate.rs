//! One rate of the fleet.
//! **Owns:** the tokens of this relay, who asks the store for how many, when mail comes again. **Never:** keeps tokens: those who ask
//! are there, each uses its own at once.
//! While one asks the store, the others gather, and the next one asks for all of them: a call for a batch, however fast the site.
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

use super::{PutOff, Who};

/// Who waits for less than this waits with its connection; for more, in the queue.
const SHORT: Duration = Duration::from_millis(100);
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

/// One rate.
pub(crate) struct RateGate {
    limiter: Limiter,
    key: String,
    rate: limit::Rate,
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
    left: u32,
    granted: Option<Mono>,
}

impl Default for State {
    fn default() -> Self {
        Self { open: Mono::from_start(Duration::ZERO), turns: Turns::default(), asking: HashMap::new() }
    }
}

impl RateGate {
    pub(super) fn new(limiter: Limiter, key: String, rate: Rate, shards: Shards, clock: Clock) -> Self {
        let rate = limit::Rate { tokens: rate.count, per: rate.per, burst: rate.burst };
        Self { limiter, key, rate, shards, clock, doors: Default::default() }
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
        let want = door.waiting.load(Ordering::Relaxed).clamp(1, self.rate.batch());
        let reserve = limits::reserve(who.urgency, self.rate.burst);
        let granted = self.shards.grant(&self.key, &self.rate, want, reserve).await;
        let now = self.clock.now();
        match granted {
            Ok(granted) if granted.tokens > 0 => {
                *batch = Batch { left: granted.tokens, granted: Some(now) };
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

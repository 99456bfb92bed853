//! One rate of the fleet.
//! **Owns:** the tokens of this relay, who asks the store for how many, when mail comes again. **Never:** keeps tokens: those who ask
//! are there, each uses its own at once.
//! While one asks the store, the others gather, and the next one asks for all of them: a call for a batch, however fast the site.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use postrider_core::limits::{self, Rate, Turns};
use postrider_mail::{Class, Mono};
use postrider_queue::{
    Lane,
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
}

#[derive(Default)]
struct Batch {
    left: u32,
    granted: Option<Mono>,
}

impl Default for State {
    fn default() -> Self {
        Self { open: Mono::from_start(Duration::ZERO), turns: Turns::default() }
    }
}

impl RateGate {
    pub(super) fn new(limiter: Limiter, key: String, rate: Rate, shards: Shards, clock: Clock) -> Self {
        let rate = limit::Rate { tokens: rate.count, per: rate.per, burst: rate.burst };
        Self { limiter, key, rate, shards, clock, doors: Default::default() }
    }

    /// Whether mail needn't come at all for now. Asks nobody.
    pub(crate) fn look(&self, who: Who<'_>) -> Result<(), PutOff> {
        let now = self.clock.now();
        if self.door(who).state().open <= now.after(SHORT) { Ok(()) } else { Err(self.put_off(who, now)) }
    }

    /// One token, to be used at once.
    pub(crate) async fn token(&self, who: Who<'_>) -> Result<(), PutOff> {
        self.look(who)?;
        let door = self.door(who);
        let _waits = Waits::with(&door.waiting);
        let mut batch = door.asking.lock().await;
        let until = self.clock.now().after(PATIENCE);
        loop {
            let now = self.clock.now();
            if batch.take(now) {
                return Ok(());
            }
            self.look(who)?;
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

/// One who waits; no longer once this is dropped.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn with(waiting: &'a AtomicU32) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

//! The pace of one site, as its attempts meet it.
//! **Owns:** who waits for it, and when who comes again. **Never:** how fast it is (core::shape::pace), what a reply asks.
//! It is this relay's own: nobody is asked, other relays find theirs.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{
    limits::Turns,
    shape::pace::{Heard, Pace},
};
use postrider_queue::{Lane, incarnation::Clock, lane::Limited, limit::Limiter};

use super::limits::{PutOff, SHORT, Who};

/// How often anybody waits with its connection, if others are always faster.
const PATIENCE: usize = 20;

/// The pace of one site.
pub(super) struct PaceGate {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pace: Pace,
    turns: Turns<Lane>,
}

impl PaceGate {
    /// None yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Whether mail needn't come at all for now.
    pub(super) fn look(&self, who: Who<'_>) -> Result<(), PutOff> {
        let seen = self.state().pace.look(self.clock.now());
        match seen {
            Err(wait) if wait > SHORT => Err(self.put_off(who)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The turn of a message that goes now.
    pub(super) async fn turn(&self, who: Who<'_>) -> Result<(), PutOff> {
        for _ in 0..PATIENCE {
            let taken = self.state().pace.take(self.clock.now());
            match taken {
                Ok(()) => return Ok(()),
                Err(wait) if wait > SHORT => break,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
        Err(self.put_off(who))
    }

    /// The far side took a message.
    pub(super) fn taken(&self) {
        self.state().pace.taken(self.clock.now());
    }

    /// The far side said that this was too fast. Says how that was taken, and the pace from now on.
    pub(super) fn slower(&self) -> (Heard, Option<f64>) {
        let mut state = self.state();
        (state.pace.slower(self.clock.now()), state.pace.per_second())
    }

    /// How long mail stays away that the pace lets wait: behind the others of the site that do.
    pub(super) fn put_off(&self, who: Who<'_>) -> PutOff {
        let mut state = self.state();
        let now = self.clock.now();
        let wait = state.pace.look(now).err().unwrap_or_default().max(Duration::from_millis(1));
        let few = state.pace.few();
        let share = state.pace.per_message().saturating_mul(few);
        let turn = state.turns.of(who.lane.clone(), now, now.after(wait), share);
        PutOff { limited: Limited { limiter: Limiter::Pace, wait: turn.since(now), few }, is_for_all: false }
    }

    /// Whether there is a pace.
    pub(super) fn is_kept(&self) -> bool {
        !self.state().pace.is_none(self.clock.now())
    }

    /// Nothing that holds the lock can fail half-way, so a poisoned one is sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

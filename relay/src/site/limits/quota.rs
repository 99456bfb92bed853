//! What a source that far sides get to know may carry to one of them in a day.
//! **Owns:** that a message is counted before it goes, what is known here of a day that is used up. **Never:** counts (the store does), a
//! message's way by another source (pooled.rs).
//! A message counts when it is about to be sent, and is asked about alone: sources are slow while this matters.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{day::Day, egress::WarmUp};
use postrider_mail::Mono;
use postrider_queue::{incarnation::Clock, lane::Limited, limit::Limiter, quota::Quota, shards::Shards};

use super::PutOff;
use crate::clock;

/// How long mail waits at most that no source has anything left for: one that failed may be back before the day is over.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a keeper isn't asked again that gave no answer.
const AWAY: Duration = Duration::from_secs(5);
/// A day's count is remembered while some relay's clock may still be in that day.
const KEPT_FOR: Duration = Duration::from_secs(48 * 3_600);

/// The quota of one source and far side.
pub(crate) struct QuotaGate {
    key: String,
    plan: WarmUp,
    shards: Shards,
    clock: Clock,
    state: Mutex<State>,
    /// Whoever holds it asks the store: what one finds out, those behind it needn't ask.
    asking: tokio::sync::Mutex<()>,
}

struct State {
    /// The last day of which nothing is left.
    spent: Option<Day>,
    /// The keeper isn't asked before.
    away_until: Mono,
}

impl QuotaGate {
    pub(super) fn new(key: String, plan: WarmUp, shards: Shards, clock: Clock) -> Self {
        let state = State { spent: None, away_until: Mono::from_start(Duration::ZERO) };
        Self { key, plan, shards, clock, state: Mutex::new(state), asking: tokio::sync::Mutex::default() }
    }

    /// Whether the day has nothing left, as far as is known here. Asks nobody.
    pub(crate) fn look(&self) -> Result<(), PutOff> {
        self.open().map(drop)
    }

    /// One message, to be sent at once.
    pub(crate) async fn take(&self) -> Result<(), PutOff> {
        if self.open()?.is_none() {
            return Ok(());
        }
        let _asking = self.asking.lock().await;
        let Some((today, most)) = self.open()? else { return Ok(()) };
        let key = format!("{}:{today}", self.key);
        let granted = self.shards.take_quota(&Quota { key: &key, most, keep: KEPT_FOR }).await;
        match granted {
            Ok(true) => return Ok(()),
            Ok(false) => self.state().spent = Some(today),
            Err(why) => {
                tracing::debug!(limit = Limiter::WarmUp.as_str(), %why, "a quota's keeper gave no answer");
                self.state().away_until = self.clock.now().after(AWAY);
            }
        }
        self.look()
    }

    /// Today and its most; none, if there is no limit any more.
    fn open(&self) -> Result<Option<(Day, u32)>, PutOff> {
        let (wall, now) = (clock::wall(), self.clock.now());
        let today = Day::of(wall);
        let Some(most) = self.plan.most_on(today) else { return Ok(None) };
        let state = self.state();
        if most == 0 || state.spent == Some(today) {
            return Err(put_off(wall.until(today.end()).min(WAIT_MAX)));
        }
        if state.away_until > now {
            return Err(put_off(state.away_until.since(now)));
        }
        Ok(Some((today, most)))
    }

    /// Whether a new one would be as good.
    pub(super) fn is_unused(&self) -> bool {
        let (today, now) = (Day::of(clock::wall()), self.clock.now());
        let state = self.state();
        state.spent != Some(today) && state.away_until <= now
    }

    /// Nothing that holds the lock can fail half-way, so a poisoned one is sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put_off(wait: Duration) -> PutOff {
    let limited = Limited { limiter: Limiter::WarmUp, wait: wait.max(Duration::from_millis(1)), few: 1 };
    PutOff { limited, is_for_all: true }
}

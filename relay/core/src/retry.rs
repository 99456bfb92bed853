//! When mail is tried again, when its sender hears of the delay, and when it has been tried long enough.
//! **Owns:** the schedule of a delivery, the back-off of a destination ([`Backoff`]). **Never:** a clock.
//! The first retry comes after a few minutes (what greylisting waits for), the next ones ever later.
//! RFC 5321 4.5.4.1.

mod backoff;

use std::time::Duration;

use postrider_mail::Due;
use rand::{Rng as _, SeedableRng, rngs::SmallRng};
use serde::{Deserialize, Serialize};

pub use backoff::{Backoff, BackoffLimits, State as BackoffState};

/// The schedule of a delivery, from its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schedule {
    /// The wait after the first attempt.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
    /// From acceptance to the bounce.
    pub max_age: Duration,
    /// From acceptance to the notice of a delay; absent: none is sent.
    pub delay_notice: Option<Duration>,
}

impl Default for Schedule {
    /// 3 min, doubling up to 1 h, for 5 days; a notice after 4 h.
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(180),
            max: Duration::from_secs(3600),
            max_age: Duration::from_secs(5 * 24 * 3600),
            delay_notice: Some(Duration::from_secs(4 * 3600)),
        }
    }
}

/// What becomes of a delivery that was deferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Try it again then; never later than its expiry.
    At(Due),
    /// Its time is over: bounce it.
    Expired,
}

impl Schedule {
    /// When a message accepted then has been tried long enough.
    pub const fn expires(&self, accepted: Due) -> Due {
        accepted.after(self.max_age)
    }

    /// The wait after `attempts` attempts (from 1 on): `initial`, doubling, up to a fifth longer by chance, at most `max`.
    pub fn wait(&self, attempts: u32, seed: u64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(MAX_DOUBLINGS);
        let base = self.initial.max(FLOOR).saturating_mul(1 << doublings);
        let max = self.max.max(FLOOR);
        let chance = SmallRng::seed_from_u64(seed).random_range(0.0..JITTER);
        if base < max {
            base.saturating_add(base.mul_f64(chance)).min(max)
        } else {
            // At the top the chance goes downwards, so that a backlog never comes back in step.
            max.saturating_sub(max.mul_f64(chance)).max(FLOOR)
        }
    }

    /// The wait after `attempts` attempts where nothing was wrong but how much came at once: seconds, doubling, never longer than the
    /// schedule's. Who hears that too often has the schedule.
    pub fn wait_soon(&self, attempts: u32, seed: u64) -> Duration {
        let wait = self.wait(attempts, seed);
        if attempts > SOON_TRIES {
            return wait;
        }
        SOON.saturating_mul(1 << attempts.saturating_sub(1).min(SOON_TRIES)).min(wait)
    }

    /// What becomes of a delivery after `attempts` attempts.
    pub fn after(&self, attempts: u32, expires: Due, now: Due, seed: u64) -> Retry {
        if now >= expires {
            Retry::Expired
        } else {
            Retry::At(now.after(self.wait(attempts, seed)).min(expires))
        }
    }

    /// Whether a delivery that was deferred is late enough for a notice. Who gets it, and that it is the first, is
    /// `bounce::options`' and the record's to say.
    pub fn is_delayed(&self, accepted: Due, now: Due) -> bool {
        self.delay_notice.is_some_and(|wait| now >= accepted.after(wait)) && now < self.expires(accepted)
    }
}

/// No policy makes us try more often than this.
const FLOOR: Duration = Duration::from_secs(1);
/// The first wait of who was only too much at once.
const SOON: Duration = Duration::from_secs(2);
/// How often that is believed.
const SOON_TRIES: u32 = 5;
/// How much chance adds to a wait.
const JITTER: f64 = 0.2;
/// Enough to exceed any `max`; bounded so that nothing overflows.
const MAX_DOUBLINGS: u32 = 24;

#[cfg(test)]
mod tests;

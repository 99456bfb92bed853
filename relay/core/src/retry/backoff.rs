//! A destination that doesn't answer: left alone for a while, then tried with one delivery, then let go gradually.
//! **Owns:** that state machine, for a lane or a site. **Never:** the schedule of single deliveries.
//! `Open -> (down) Waiting -> (time) Probing -> (up) Releasing -> Open`, and back to Waiting, longer, on each failure.

use std::time::Duration;

use postrider_mail::Mono;
use rand::{Rng as _, SeedableRng, rngs::SmallRng};

use super::Schedule;

/// How long a destination is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackoffLimits {
    /// The first wait.
    pub initial: Duration,
    /// The longest.
    pub max: Duration,
}

impl BackoffLimits {
    /// The usual waits, but none longer than a single delivery of that schedule would wait: who wants mail tried each minute
    /// wants a destination tried each minute.
    pub fn within(schedule: &Schedule) -> Self {
        let usual = Self::default();
        let max = usual.max.min(schedule.max);
        Self { initial: usual.initial.min(schedule.initial).min(max), max }
    }
}

impl Default for BackoffLimits {
    /// A minute, doubling, up to half an hour: a probe costs one connection.
    fn default() -> Self {
        Self { initial: Duration::from_secs(60), max: Duration::from_secs(1800) }
    }
}

/// The state of one destination.
#[derive(Debug, Clone)]
pub struct Backoff {
    limits: BackoffLimits,
    state: State,
    /// Waits in a row without an answer between.
    failures: u32,
}

/// Where a destination stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Open,
    /// Nothing is tried until then.
    Waiting {
        /// By this process's clock.
        until: Mono,
    },
    /// One delivery is tried; the rest waits for what it finds.
    Probing,
    /// It answers again: this many at once, more with each success.
    Releasing {
        /// The most at once.
        window: u32,
    },
}

impl Backoff {
    /// A destination that nothing is known of.
    pub const fn new(limits: BackoffLimits) -> Self {
        Self { limits, state: State::Open, failures: 0 }
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// How many more may be started, with `running` under way; [`u32::MAX`] when nothing here limits it.
    pub fn room(&self, now: Mono, running: u32) -> u32 {
        match self.state {
            State::Open => u32::MAX,
            State::Waiting { until } if now < until => 0,
            State::Waiting { .. } | State::Probing => 1_u32.saturating_sub(running),
            State::Releasing { window } => window.saturating_sub(running),
        }
    }

    /// When to look again; absent while nothing waits for a time.
    pub fn wakes(&self, now: Mono) -> Option<Mono> {
        match self.state {
            State::Waiting { until } if now < until => Some(until),
            State::Open | State::Waiting { .. } | State::Probing | State::Releasing { .. } => None,
        }
    }

    /// One is started. The first after a wait is the probe.
    pub fn started(&mut self, now: Mono) {
        if matches!(self.state, State::Waiting { until } if now >= until) {
            self.state = State::Probing;
        }
    }

    /// The destination answered, whatever it said of the mail. Returns whether waiting mail should be woken.
    pub fn up(&mut self) -> bool {
        self.failures = 0;
        let before = self.state;
        self.state = match before {
            State::Open => State::Open,
            State::Waiting { .. } | State::Probing => State::Releasing { window: 2 },
            State::Releasing { window } if window.saturating_mul(2) > RELEASED_AT => State::Open,
            State::Releasing { window } => State::Releasing { window: window + 1 },
        };
        before != self.state
    }

    /// The destination is down: returns how long it is left alone if that starts now. Late failures of attempts that
    /// started before don't make a wait longer.
    pub fn down(&mut self, now: Mono, seed: u64) -> Option<Duration> {
        if matches!(self.state, State::Waiting { until } if now < until) {
            return None;
        }
        let wait = self.wait(seed);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting { until: now.after(wait) };
        Some(wait)
    }

    /// Leaves it alone for a given time, as the store or a far side asked; never shorter than it waits already.
    pub fn hold_off(&mut self, now: Mono, wait: Duration) {
        let asked = now.after(wait);
        let until = match self.state {
            State::Waiting { until } => until.max(asked),
            State::Open | State::Probing | State::Releasing { .. } => asked,
        };
        self.state = State::Waiting { until };
    }

    /// The one probe ended without saying anything of the destination (cancelled, ended by a rule): another may go.
    pub fn unknown(&mut self, now: Mono) {
        if self.state == State::Probing {
            self.state = State::Waiting { until: now };
        }
    }

    fn wait(&self, seed: u64) -> Duration {
        let doublings = self.failures.min(MAX_DOUBLINGS);
        let base = self.limits.initial.saturating_mul(1 << doublings).min(self.limits.max);
        // Half of it is chance: the pods of a fleet must not probe in step.
        base.mul_f64(SmallRng::seed_from_u64(seed).random_range(0.5..=1.0))
    }
}

/// The window from which on nothing is held back any more.
const RELEASED_AT: u32 = 32;
/// Enough to exceed any `max`.
const MAX_DOUBLINGS: u32 = 16;

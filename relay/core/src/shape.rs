//! How many connections a site gets: more while it does well, fewer when it doesn't or asks for it, none while it is down.
//! **Owns:** the window's growth and shrinking, a site's death and return; what replies ask (reply.rs), the pace (pace.rs). **Never:**
//! fleet-wide slots and rates (queue's).
//! As Postfix's scheduler: each answer moves the window by 1/N, so that a window's worth of them moves it by one; when
//! a whole window's worth of attempts fails in a row, the site is dead and one probe finds out when it is back.

pub mod pace;
pub mod reply;

use std::time::Duration;

use postrider_mail::Mono;

use crate::retry::{Backoff, BackoffLimits, BackoffState};

/// What an attempt says of its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// It answers.
    Good,
    /// It doesn't, or wants less of us.
    Bad,
}

/// The bounds of a site's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShapeLimits {
    /// Connections to begin with.
    pub start: u32,
    /// Connections at most.
    pub max: u32,
    /// How long a dead site is left alone.
    pub backoff: BackoffLimits,
}

impl Default for ShapeLimits {
    fn default() -> Self {
        Self { start: 5, max: 20, backoff: BackoffLimits::default() }
    }
}

/// The state of one site.
#[derive(Debug, Clone)]
pub struct Shape {
    limits: ShapeLimits,
    /// Connections allowed, with fractions: 1 to `max`.
    window: f64,
    /// Windows' worth of failures since the last success.
    failed_cohorts: f64,
    /// The most that the far side wants at a time, as it said, and until when that is believed.
    wanted: Option<(f64, Mono)>,
    /// When it last said so.
    asked: Option<Mono>,
    /// Until when it wants nothing at all.
    held: Option<Mono>,
    backoff: Backoff,
}

impl Shape {
    /// A site that nothing is known of.
    pub fn new(limits: ShapeLimits) -> Self {
        let backoff = Backoff::new(limits.backoff);
        Self {
            limits,
            window: f64::from(limits.start.clamp(1, limits.max.max(1))),
            failed_cohorts: 0.0,
            wanted: None,
            asked: None,
            held: None,
            backoff,
        }
    }

    /// New bounds from a changed policy; what was learnt stays within them.
    pub fn limit(&mut self, limits: ShapeLimits) {
        self.limits = limits;
        self.window = self.window.min(self.max());
    }

    /// Connections allowed at once, were the site up.
    pub fn window(&self) -> u32 {
        self.window.floor() as u32
    }

    /// How many more attempts may be started, with `running` under way.
    pub fn room(&self, now: Mono, running: u32) -> u32 {
        self.window().saturating_sub(running).min(self.backoff.room(now, running))
    }

    /// When a suspended site may be probed.
    pub fn wakes(&self, now: Mono) -> Option<Mono> {
        self.backoff.wakes(now)
    }

    /// Whether it is suspended, probed or let go gradually.
    pub fn state(&self) -> BackoffState {
        self.backoff.state()
    }

    /// An attempt is started.
    pub fn started(&mut self, now: Mono) {
        self.backoff.started(now);
    }

    /// Suspends the site for a given time, as the far side asked. What was under way meanwhile doesn't end that, however it went.
    pub fn suspend(&mut self, now: Mono, wait: Duration) -> Change {
        self.backoff.hold_off(now, wait);
        self.held = Some(now.after(wait));
        Change::Suspended(wait)
    }

    /// The far side wants fewer connections at a time. Several attempts that hear it at once count for one. Says whether that can be
    /// heeded: one is the least.
    pub fn fewer(&mut self, now: Mono) -> bool {
        if self.asked.is_some_and(|asked| now.since(asked) < ROUND) {
            return true;
        }
        if self.window < 2.0 {
            return false;
        }
        self.asked = Some(now);
        self.window = (self.window * FEWER).floor().max(1.0);
        self.wanted = Some((self.window, now.after(BELIEVED_FOR)));
        true
    }

    /// What an attempt found. `None` for one that says nothing of the site. Returns what changed.
    pub fn finished(&mut self, feedback: Option<Feedback>, now: Mono, seed: u64) -> Change {
        match feedback {
            Some(Feedback::Good) => self.good(now),
            Some(Feedback::Bad) => self.bad(now, seed),
            None => {
                self.backoff.unknown(now);
                Change::None
            }
        }
    }

    fn good(&mut self, now: Mono) -> Change {
        self.failed_cohorts = 0.0;
        if self.wanted.is_some_and(|(_, until)| until <= now) {
            self.wanted = None;
        }
        self.window = (self.window + 1.0 / self.window).min(self.max());
        if self.held.is_some_and(|until| now < until) {
            return Change::None;
        }
        if self.backoff.up() { Change::MoreRoom } else { Change::None }
    }

    fn bad(&mut self, now: Mono, seed: u64) -> Change {
        self.failed_cohorts += 1.0 / self.window;
        self.window = (self.window - 1.0 / self.window).max(1.0);
        let is_open = self.backoff.state() == BackoffState::Open;
        if is_open && self.failed_cohorts < FAILED_COHORTS {
            return Change::None;
        }
        match self.backoff.down(now, seed) {
            Some(wait) => {
                self.failed_cohorts = 0.0;
                self.window = f64::from(self.limits.start).clamp(1.0, self.max());
                Change::Suspended(wait)
            }
            None => Change::None,
        }
    }

    fn max(&self) -> f64 {
        let most = f64::from(self.limits.max.max(1));
        self.wanted.map_or(most, |(wanted, _)| most.min(wanted))
    }
}

/// What changed at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing that anybody waits for.
    None,
    /// Waiting mail may go.
    MoreRoom,
    /// Nothing goes for so long.
    Suspended(Duration),
}

/// A window's worth of failures without a success between them.
const FAILED_COHORTS: f64 = 1.0;
/// What is left of the window when the far side wants fewer connections.
const FEWER: f64 = 0.75;
/// What is asked within this time was asked of what was before.
const ROUND: Duration = Duration::from_millis(500);
/// How long it isn't tried whether more are welcome again.
const BELIEVED_FOR: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;

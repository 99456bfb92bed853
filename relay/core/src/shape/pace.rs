//! How fast one relay sends to a site that said it was too fast.
//! **Owns:** the pace: how it begins, shrinks, grows and ends; when the next message may go. **Never:** which reply says so (reply.rs),
//! limits that people set (limits.rs), what becomes of mail that waits.
//! Additive increase, multiplicative decrease, as in TCP (RFC 5681 3.1): relays of a fleet share what the far side takes without speaking
//! to each other. Where nobody ever complained there is no pace, and nothing waits.

use std::time::Duration;

use postrider_mail::Mono;

/// The rate is measured over this.
const MEASURED_OVER: Duration = Duration::from_secs(1);
/// What is left of the measured rate when a pace begins.
const BEGINS_AT: f64 = 0.8;
/// What is left of a pace after another complaint.
const SHRINKS_TO: f64 = 0.85;
/// Complaints within this time are one: they were under way when the first was heard.
const ROUND: Duration = Duration::from_millis(500);
/// How much a pace grows in a second, as a part of it.
const GROWS: f64 = 0.02;
/// The same until it has met the next complaint: what was measured at first may be far too low.
const CLIMBS: f64 = 0.10;
/// How much it grows in a second at least, in messages per second.
const GROWS_AT_LEAST: f64 = 0.02;
/// A pace is never lower, in messages per second.
const LEAST: f64 = 0.2;
/// A pace at the begin is never lower: one refused message alone says little.
const BEGINS_AT_LEAST: f64 = 1.0;
/// A pace ends at so many times the one that was complained about last.
const ENDS_AT: f64 = 4.0;
/// The same until it has met the next complaint.
const CLIMB_ENDS_AT: f64 = 20.0;
/// What comes due in this time may go at once.
const CREDIT: Duration = Duration::from_millis(250);
/// After so many rounds of complaints without a message taken the far side isn't slow, it is closed.
const CLOSED_AFTER: u32 = 10;

/// The pace of one relay towards one site.
#[derive(Debug, Clone)]
pub struct Pace {
    meter: Meter,
    kept: Option<Kept>,
    /// Rounds of complaints since a message was taken.
    in_vain: u32,
}

/// How a complaint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// There is a pace now.
    Begun,
    /// The pace is lower, or was lowered just now for others that complained at the same time.
    Heeded,
    /// Going slower doesn't help: it refuses everything.
    InVain,
}

/// A pace that is kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// Messages per second …
    per_second: f64,
    /// … as it was then.
    at: Mono,
    /// The pace that was complained about last.
    too_fast: f64,
    heard: Mono,
    /// Whether nobody has complained since it began.
    is_first: bool,
    /// When the next message would go, were there no credit.
    next: Mono,
}

impl Pace {
    /// None: as fast as it goes.
    pub const fn new() -> Self {
        Self { meter: Meter::new(), kept: None, in_vain: 0 }
    }

    /// Messages per second; none where nobody complained.
    pub fn per_second(&self) -> Option<f64> {
        self.kept.map(|kept| kept.per_second)
    }

    /// Whether a message may go now, without taking its turn. If not, how long to wait.
    pub fn look(&mut self, now: Mono) -> Result<(), Duration> {
        self.grow(now);
        let Some(kept) = &self.kept else { return Ok(()) };
        let open = now.after(kept.credit());
        if kept.next <= open { Ok(()) } else { Err(kept.next.since(open)) }
    }

    /// Takes the turn of a message that goes now. If it may not, how long to wait.
    pub fn take(&mut self, now: Mono) -> Result<(), Duration> {
        self.look(now)?;
        self.goes(now);
        Ok(())
    }

    /// Takes the turn of an urgent message: it may go one message ahead of its time, and those behind it make up for that.
    pub fn take_ahead(&mut self, now: Mono) -> Result<(), Duration> {
        self.look_ahead(now)?;
        self.goes(now);
        Ok(())
    }

    /// Whether an urgent message may go now. If not, how long to wait.
    pub fn look_ahead(&mut self, now: Mono) -> Result<(), Duration> {
        let wait = self.look(now).err().unwrap_or_default().saturating_sub(self.per_message());
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// How many are worth a try at a time.
    pub fn few(&self) -> u32 {
        let Some(kept) = &self.kept else { return u32::MAX };
        (kept.per_second * CREDIT.as_secs_f64()).clamp(1.0, 1_000.0) as u32
    }

    /// How much time one message has.
    pub fn per_message(&self) -> Duration {
        self.kept.map_or(Duration::ZERO, |kept| kept.per_message())
    }

    /// The far side took a message.
    pub fn taken(&mut self, now: Mono) {
        self.in_vain = 0;
        self.meter.count(now);
    }

    /// The far side said that this was too fast.
    pub fn slower(&mut self, now: Mono) -> Heard {
        self.grow(now);
        let Some(kept) = &mut self.kept else {
            let too_fast = self.meter.per_second(now);
            let per_second = (too_fast * BEGINS_AT).max(BEGINS_AT_LEAST);
            let next = now.after(Duration::from_secs_f64(1.0 / per_second)).after(CREDIT);
            let too_fast = too_fast.max(per_second);
            self.kept = Some(Kept { per_second, at: now, too_fast, heard: now, is_first: true, next });
            self.in_vain += 1;
            return Heard::Begun;
        };
        if now.since(kept.heard) >= ROUND {
            self.in_vain = self.in_vain.saturating_add(1);
            kept.too_fast = kept.per_second;
            kept.per_second = (kept.per_second * SHRINKS_TO).max(LEAST);
            (kept.heard, kept.is_first) = (now, false);
        }
        if self.in_vain > CLOSED_AFTER { Heard::InVain } else { Heard::Heeded }
    }

    /// Whether a new one would be as good.
    pub fn is_none(&mut self, now: Mono) -> bool {
        self.grow(now);
        self.kept.is_none()
    }

    fn goes(&mut self, now: Mono) {
        if let Some(kept) = &mut self.kept {
            kept.next = kept.next.max(now).after(kept.per_message());
        }
    }

    fn grow(&mut self, now: Mono) {
        let Some(kept) = &mut self.kept else { return };
        let seconds = now.since(kept.at).as_secs_f64();
        let (by, ends_at) = if kept.is_first { (CLIMBS, CLIMB_ENDS_AT) } else { (GROWS, ENDS_AT) };
        let faster = kept.per_second * (1.0 + by).powf(seconds);
        kept.per_second = faster.max(kept.per_second + GROWS_AT_LEAST * seconds);
        kept.at = now;
        if kept.per_second > kept.too_fast * ends_at {
            self.kept = None;
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

impl Kept {
    fn per_message(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_second.max(LEAST))
    }

    /// How far ahead of its time a message may go: one at least is always due.
    fn credit(&self) -> Duration {
        CREDIT.saturating_sub(self.per_message())
    }
}

/// Messages taken, over the last second: by this second and the one before, that one as far as it still counts.
#[derive(Debug, Clone)]
struct Meter {
    begun: Mono,
    current: u32,
    before: u32,
}

impl Meter {
    const fn new() -> Self {
        Self { begun: Mono::from_start(Duration::ZERO), current: 0, before: 0 }
    }

    fn count(&mut self, now: Mono) {
        self.turn(now);
        self.current = self.current.saturating_add(1);
    }

    fn per_second(&mut self, now: Mono) -> f64 {
        self.turn(now);
        let left = 1.0 - now.since(self.begun).as_secs_f64() / MEASURED_OVER.as_secs_f64();
        f64::from(self.current) + f64::from(self.before) * left.clamp(0.0, 1.0)
    }

    fn turn(&mut self, now: Mono) {
        let passed = now.since(self.begun);
        if passed >= MEASURED_OVER {
            self.before = if passed < 2 * MEASURED_OVER { self.current } else { 0 };
            (self.current, self.begun) = (0, now);
        }
    }
}

#[cfg(test)]
mod tests;

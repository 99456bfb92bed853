//! The two clocks, as types that can't be mixed.
//! **Owns:** [`Due`] (the store's clock) and [`Mono`] (this process's). **Never:** reads either.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time by the store's clock, in milliseconds since 1970: when mail is tried, when it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Due(u64);

impl Due {
    /// From milliseconds since 1970.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }
    /// Milliseconds since 1970.
    pub const fn unix_millis(self) -> u64 {
        self.0
    }
    /// Later by `wait`, at most as far as the clock goes.
    #[must_use]
    pub const fn after(self, wait: Duration) -> Self {
        let wait = wait.as_millis();
        let wait = if wait > u64::MAX as u128 { u64::MAX } else { wait as u64 };
        Self(self.0.saturating_add(wait))
    }
    /// How long until `later`; nothing if that has passed.
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

/// A time by this process's monotonic clock, since a start that is its own: deadlines and leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(Duration);

impl Mono {
    /// From the time since the clock's start.
    pub const fn from_start(since: Duration) -> Self {
        Self(since)
    }
    /// The time since the clock's start.
    pub const fn since_start(self) -> Duration {
        self.0
    }
    /// Later by `wait`.
    #[must_use]
    pub const fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
    /// How long since `earlier`; nothing if that is ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

//! Limits that hold for a whole fleet, and the turns of those who wait for one.
//! **Owns:** [`Rate`] and its defaults, whose limit it is ([`Owner`]), what stays for more urgent mail, [`Turns`]. **Never:** counts
//! (the queue's store does), keeps a connection (the relay's sites).

use std::{collections::HashMap, hash::Hash, time::Duration};

use postrider_mail::{Class, Mono};
use serde::{Deserialize, Serialize};

use crate::config::RuleName;

/// A burst that nobody has said is what comes due in this time: whoever waits finds out within it that something is due, and nothing is
/// lost meanwhile.
const BURST_OF: Duration = Duration::from_secs(5);
/// The last turn that is given: whoever comes later is told to look again then.
const LAST_TURN: Duration = Duration::from_secs(60);
/// Turns remembered; beyond, everybody is told to look again at the last one.
const TURNS_MAX: usize = 4_096;

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// So many …
    pub count: u32,
    /// … in this time; …
    #[serde(with = "crate::policy::millis")]
    pub per: Duration,
    /// … and so many at once.
    pub burst: u32,
}

impl Rate {
    /// A rate; without a burst, with what comes due in five seconds, two at least (and never more than `count`).
    pub fn new(count: u32, per: Duration, burst: Option<u32>) -> Self {
        let count = count.max(1);
        let due = u128::from(count) * BURST_OF.as_micros() / per.as_micros().max(1);
        let usual = u32::try_from(due).unwrap_or(u32::MAX).max(2).min(count);
        Self { count, per, burst: burst.unwrap_or(usual).max(1) }
    }

    /// How long mail waits for it at most: until one more has come due than stays for more urgent mail.
    pub fn longest_wait(&self) -> Duration {
        (self.per / self.count.max(1)).saturating_mul(1 + reserve(Class::Bulk, self.burst))
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per = postrider_crds::Duration::from(self.per);
        write!(f, "{} in {per}, {} at once", self.count, self.burst)
    }
}

/// Who set a limit: what several places set is counted apart. Every version of every relay must compute the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Owner(u64);

impl Owner {
    /// A rule. (FNV-1a of its name.)
    pub fn rule(name: &RuleName) -> Self {
        Self(name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A limit, and whose it is: the defaults' (or a provider's, whose hosts it is named after) where no rule is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owned<T> {
    /// The limit.
    pub limit: T,
    /// Whose.
    pub owner: Owner,
}

/// How much goes to one site from the whole fleet. Nothing is asked where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct FleetLimits {
    /// Connections at a time.
    pub connections: Option<Owned<u32>>,
    /// Messages in a time.
    pub messages: Option<Owned<Rate>>,
    /// Connections opened in a time.
    pub new_connections: Option<Owned<Rate>>,
}

impl FleetLimits {
    /// Whether the fleet is asked for anything.
    pub fn is_any(&self) -> bool {
        self.connections.is_some() || self.messages.is_some() || self.new_connections.is_some()
    }

    /// Takes the owners of the same limits of `others`; what isn't limited there is the defaults'.
    pub(crate) fn owned_as(&mut self, others: &Self) {
        fn take<T, U>(own: &mut Option<Owned<T>>, others: Option<Owned<U>>) {
            if let Some(owned) = own {
                owned.owner = others.map_or_else(Owner::default, |other| other.owner);
            }
        }
        take(&mut self.connections, others.connections);
        take(&mut self.messages, others.messages);
        take(&mut self.new_connections, others.new_connections);
    }
}

/// How urgent mail is to a limit: its class; but what has a null sender, as bounces have, goes with the most urgent.
pub const fn urgency(class: Class, has_null_sender: bool) -> Class {
    if has_null_sender { Class::Transactional } else { class }
}

/// How much of a burst stays for mail that is more urgent. So it finds some whenever it comes, within the very same limit.
pub fn reserve(urgency: Class, burst: u32) -> u32 {
    let wished = match urgency {
        Class::Transactional => 0,
        Class::Normal => 1,
        Class::Bulk => 2,
    };
    wished.min(burst.saturating_sub(1))
}

/// Who waits for a rate, each with a time of its own: so nobody comes in vain, however many wait.
#[derive(Debug)]
pub struct Turns<K> {
    of: HashMap<K, Mono>,
    last: Mono,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { of: HashMap::new(), last: Mono::from_start(Duration::ZERO) }
    }
}

impl<K: Hash + Eq> Turns<K> {
    /// When `who` comes again: behind those who wait already, each of whom takes what comes due in `share`; not before `open`, when
    /// there is something at all. Who has a turn to come keeps it.
    pub fn of(&mut self, who: K, now: Mono, open: Mono, share: Duration) -> Mono {
        if let Some(turn) = self.of.get(&who).filter(|turn| **turn > now) {
            return *turn;
        }
        let turn = self.last.after(share).max(open).min(now.after(LAST_TURN).max(open));
        if self.of.len() >= TURNS_MAX {
            self.of.retain(|_, turn| *turn > now);
        }
        if self.of.len() < TURNS_MAX {
            self.of.insert(who, turn);
            self.last = turn;
        }
        turn
    }

    /// Whether nobody waits.
    pub fn is_over(&self, now: Mono) -> bool {
        self.last <= now
    }
}

#[cfg(test)]
mod tests;

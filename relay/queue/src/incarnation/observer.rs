//! Who is dead, as far as one survivor can tell: whose beat counter stood still while the survivor watched without a break.
//! **Owns:** [`Observer`]. **Never:** a wall clock, or a verdict on less than unbroken contact: after an outage of Redis everybody
//! has come back before anybody is reaped.

use std::{collections::HashMap, time::Duration};

use postrider_mail::Mono;

use super::Incarnation;

/// How often a survivor looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A counter that stands still for as long means death. Longer than the lease, so that the dead can't be sending.
pub const UNCHANGED_FOR: Duration = Duration::from_secs(4);
/// A read that took longer says too little about when it happened.
pub const SLOW_READ: Duration = Duration::from_millis(500);
/// A pause between two looks (of this process, or of the whole node) that makes the earlier ones worthless: the others may have
/// been paused with us.
const BREAK: Duration = Duration::from_secs(1);

/// What one survivor has seen of the beat counters of one partition.
#[derive(Debug, Default)]
pub struct Observer {
    seen: HashMap<Incarnation, Sight>,
    last_look: Option<Mono>,
}

#[derive(Debug, Clone, Copy)]
struct Sight {
    counter: u64,
    /// When the answer that first showed this counter had come: the counter may be as young as that.
    since: Mono,
}

impl Observer {
    /// An observer that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one reading of all counters, sent and answered at the times given. Returns who is to be reaped, with the counter
    /// that the store must still have for it.
    pub fn look(
        &mut self,
        counters: &[(Incarnation, u64)],
        sent: Mono,
        answered: Mono,
    ) -> Vec<(Incarnation, u64)> {
        let was_slow = answered.since(sent) > SLOW_READ;
        let had_break = self.last_look.is_some_and(|last| sent.since(last) > BREAK);
        if was_slow || had_break {
            self.restart();
        }
        if was_slow {
            return Vec::new();
        }
        self.last_look = Some(answered);
        self.seen.retain(|known, _| counters.iter().any(|(incarnation, _)| incarnation == known));
        let mut dead = Vec::new();
        for &(incarnation, counter) in counters {
            let fresh = Sight { counter, since: answered };
            let sight = self.seen.entry(incarnation).or_insert(fresh);
            if sight.counter != counter {
                *sight = fresh;
            } else if sent.since(sight.since) >= UNCHANGED_FOR {
                dead.push((incarnation, counter));
            }
        }
        dead
    }

    /// Forgets everything: a read failed, the connection is a new one, or the epoch gate closed.
    pub fn restart(&mut self) {
        self.seen.clear();
        self.last_look = None;
    }
}

#[cfg(test)]
mod tests;

//! Whether the store behind a partition is still the one that this process talked to.
//! **Owns:** [`EpochGate`]: after a restart, a failover or a restore nobody claims, reaps or sends a dot for a while, so that
//! everybody can first tell what it knows. **Never:** reads the store.

use std::time::Duration;

use postrider_mail::Mono;

/// How long the gate stays closed: pods tell the facts of the last minutes again and re-assert their claims meanwhile.
pub const GATE: Duration = Duration::from_secs(3);

/// What a new connection found: which life of which store, and how much that store remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Redis's `run_id`: another one after each start, and of each node.
    pub run_id: Box<str>,
    /// Messages ever accepted, as the partition counts them. Only a store that lost writes has fewer than it had.
    pub accepted: u64,
    /// Messages that this process knew of before it asked: answers to enqueues on other connections come meanwhile.
    pub known: u64,
    /// How long ago this `run_id` first served this partition, by the store's clock, as the first pod that came wrote it down; so
    /// that a pod that starts later neither waits in vain nor acts too soon.
    pub since: Duration,
}

/// What an observed epoch means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochChange {
    /// The store is the one known.
    Same,
    /// Another life of the store, or another node: facts are told again, claims re-asserted.
    NewRun,
    /// The store lost writes that it had answered: it counts fewer messages than this process saw.
    WentBack {
        /// How many messages are missing.
        missing: u64,
    },
}

/// The gate of one partition.
#[derive(Debug, Default)]
pub struct EpochGate {
    run_id: Option<Box<str>>,
    accepted_seen: u64,
    closed_until: Option<Mono>,
}

impl EpochGate {
    /// Takes what a new connection found at `now`.
    pub fn observe(&mut self, epoch: &Epoch, now: Mono) -> EpochChange {
        let missing = epoch.known.saturating_sub(epoch.accepted);
        let is_new = self.run_id.as_ref() != Some(&epoch.run_id);
        let is_first = self.run_id.is_none();
        self.run_id = Some(epoch.run_id.clone());
        if missing > 0 {
            self.accepted_seen = epoch.accepted;
            self.close(now.after(GATE));
            return EpochChange::WentBack { missing };
        }
        self.saw_accepted(epoch.accepted);
        if !is_new {
            return EpochChange::Same;
        }
        if is_first {
            // A pod's first sight of a store is no change to it, for it has nothing to tell; it lets the others finish.
            self.close(now.after(GATE.saturating_sub(epoch.since)));
            EpochChange::Same
        } else {
            // However late this pod comes: its own claims may have been lost with the old store, so it re-asserts them first.
            self.close(now.after(GATE));
            EpochChange::NewRun
        }
    }

    /// Notes a count of accepted messages that the store answered with.
    pub fn saw_accepted(&mut self, accepted: u64) {
        self.accepted_seen = self.accepted_seen.max(accepted);
    }

    /// The greatest count of accepted messages that the store answered with. Taken before a connection is asked for its own.
    pub const fn accepted_seen(&self) -> u64 {
        self.accepted_seen
    }

    /// How long the gate stays closed, if it is.
    pub fn closed_for(&self, now: Mono) -> Option<Duration> {
        let remaining = self.closed_until?.since(now);
        (!remaining.is_zero()).then_some(remaining)
    }

    fn close(&mut self, until: Mono) {
        self.closed_until = self.closed_until.max(Some(until));
    }
}

#[cfg(test)]
mod tests;

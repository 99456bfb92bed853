//! How long this incarnation is believed alive, and so whether a final dot may leave.
//! **Owns:** [`Lease`], [`DotPermit`]. **Never:** a clock: every time is passed in, from the boot-time clock of the process.
//! A survivor reaps 4 s after it last saw the counter move; the lease ends 2.5 s after the beat that moved it was *sent*.

use std::{collections::BTreeMap, time::Duration};

use postrider_mail::Mono;

use super::{
    Incarnation,
    epoch::{Epoch, EpochChange, EpochGate},
};
use crate::claim::Claim;

/// How often a beat is sent.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How long after its last confirmed beat was sent a process may act on its claims.
pub const LEASE: Duration = Duration::from_millis(2_500);
/// Once something sent to the partition is unanswered for longer, the lease isn't trusted.
pub const UNANSWERED_MAX: Duration = Duration::from_millis(500);

/// The right to send one final dot, for the claim it was asked for. Only [`Lease::permit`] makes one.
#[derive(Debug)]
#[must_use]
pub struct DotPermit(());

/// Something was sent to the partition; hand it back to [`Lease::answered`].
#[derive(Debug)]
#[must_use]
pub struct Sending(u64);

/// Why a final dot may not leave now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPermit {
    /// The claim is of an incarnation that this process no longer is: somebody else has the delivery, or will.
    #[error("the claim is of incarnation {holder}, which this process no longer is")]
    ClaimLost {
        /// Whose claim it is.
        holder: Incarnation,
    },
    /// No beat was confirmed lately.
    #[error("the last confirmed heartbeat was sent {} ms ago; expected less than 2500", .age.as_millis())]
    BeatTooOld {
        /// Since the last confirmed beat was sent.
        age: Duration,
    },
    /// Something waits for the partition's answer for too long.
    #[error("the queue has not answered for {} ms; expected less than 500", .waiting.as_millis())]
    Unanswered {
        /// Since the oldest unanswered command was sent.
        waiting: Duration,
    },
    /// The store restarted, failed over or was restored; claims are being re-asserted.
    #[error("the queue's store changed; nothing is sent for another {} ms", .remaining.as_millis())]
    EpochGate {
        /// Until the gate opens.
        remaining: Duration,
    },
}

impl NoPermit {
    /// Whether waiting can't help: the connection is dropped without the dot.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::ClaimLost { .. })
    }
}

/// What this process knows of its standing in one partition.
#[derive(Debug, Default)]
pub struct Lease {
    current: Option<Incarnation>,
    /// When the last beat that Redis confirmed was *sent*: Redis ran it then or later.
    confirmed: Option<Mono>,
    /// When each unanswered command was sent. Numbers grow with time, so the first entry is the oldest.
    unanswered: BTreeMap<u64, Mono>,
    next_sending: u64,
    gate: EpochGate,
}

impl Lease {
    /// A lease that permits nothing until [`Lease::registered`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The incarnation that this process is, once registered and until fenced.
    pub const fn incarnation(&self) -> Option<Incarnation> {
        self.current
    }

    /// The store took this new incarnation in; the command was sent at `sent`.
    pub const fn registered(&mut self, incarnation: Incarnation, sent: Mono) {
        self.current = Some(incarnation);
        self.confirmed = Some(sent);
    }

    /// The store confirmed a beat of `incarnation` that was sent at `sent`. Late confirmations never shorten the lease, and
    /// those of an earlier life count for nothing.
    pub fn confirmed(&mut self, incarnation: Incarnation, sent: Mono) {
        if self.current == Some(incarnation) {
            self.confirmed = self.confirmed.max(Some(sent));
        }
    }

    /// The store refused a beat or a claim of `incarnation`: it is fenced.
    pub fn fenced(&mut self, incarnation: Incarnation) {
        if self.current == Some(incarnation) {
            self.current = None;
            self.confirmed = None;
        }
    }

    /// A command goes out to the partition now.
    pub fn sent(&mut self, now: Mono) -> Sending {
        self.next_sending += 1;
        self.unanswered.insert(self.next_sending, now);
        Sending(self.next_sending)
    }

    /// Its answer came, or its connection is gone and with it the question.
    #[expect(clippy::needless_pass_by_value, reason = "an answer comes once")]
    pub fn answered(&mut self, sending: Sending) {
        self.unanswered.remove(&sending.0);
    }

    /// A connection to the partition says which store it found there; see [`EpochGate::observe`].
    pub fn observe_epoch(&mut self, epoch: &Epoch, now: Mono) -> EpochChange {
        self.gate.observe(epoch, now)
    }

    /// The partition answered with its count of accepted messages.
    pub fn saw_accepted(&mut self, accepted: u64) {
        self.gate.saw_accepted(accepted);
    }

    /// The greatest such count.
    pub const fn accepted_seen(&self) -> u64 {
        self.gate.accepted_seen()
    }

    /// How long nothing may be claimed, reaped or sent, if so.
    pub fn gate_closed_for(&self, now: Mono) -> Option<Duration> {
        self.gate.closed_for(now)
    }

    /// What is left of the lease.
    pub fn margin(&self, now: Mono) -> Duration {
        self.confirmed.map_or(Duration::ZERO, |sent| LEASE.saturating_sub(now.since(sent)))
    }

    /// How long the oldest unanswered command has waited.
    pub fn unanswered_for(&self, now: Mono) -> Duration {
        self.unanswered.first_key_value().map_or(Duration::ZERO, |(_, sent)| now.since(*sent))
    }

    /// Whether the final dot of this claim's attempt may leave now.
    ///
    /// # Errors
    /// Why not; [`NoPermit::is_final`] tells whether to wait or to drop the connection.
    pub fn permit(&self, claim: &Claim, now: Mono) -> Result<DotPermit, NoPermit> {
        self.check(claim.holder(), now)
    }

    fn check(&self, holder: Incarnation, now: Mono) -> Result<DotPermit, NoPermit> {
        if self.current != Some(holder) {
            return Err(NoPermit::ClaimLost { holder });
        }
        if let Some(remaining) = self.gate.closed_for(now) {
            return Err(NoPermit::EpochGate { remaining });
        }
        let age = self.confirmed.map_or(Duration::MAX, |sent| now.since(sent));
        if age >= LEASE {
            return Err(NoPermit::BeatTooOld { age });
        }
        let waiting = self.unanswered_for(now);
        if waiting > UNANSWERED_MAX {
            return Err(NoPermit::Unanswered { waiting });
        }
        Ok(DotPermit(()))
    }
}

#[cfg(test)]
mod tests;

//! Ends a claimed delivery's attempt: one script for a batch, all or nothing per delivery.
//! **Owns:** settle.lua and the encoding of outcomes. **Never:** when to retry, whether to bounce (core), SMTP.
//! Facts (who has it) count whoever tells them; scheduling needs the claim. A bounce, a delay or success notice is a delivery of
//! the same message to its sender, and enters with the end of the recipients it tells of.
//! Invariant: I4, whoever lost the claim can only remove what was delivered. Invariant: I5, a bounce enters with the removal.

use std::time::Duration;

use postrider_mail::Outcome;

use crate::{
    claim::Claimed,
    error::Unavailable,
    lane::Lane,
    partition::Partition,
    record::{DeliveryId, Kind},
};

/// The end of an attempt.
#[derive(Debug)]
pub struct Settlement {
    /// What was tried.
    pub claimed: Claimed,
    /// What each recipient got. Those delivered or bounced have ended; the others are left.
    pub outcomes: Vec<Outcome>,
    /// Recipients that a rule discards: ended, and nobody is told.
    pub discarded: Vec<u32>,
    /// What becomes of the recipients that are left.
    pub rest: Rest,
    /// Reports to the sender. Ignored where the sender is null or the delivery is a report itself.
    pub notices: Vec<NewNotice>,
}

/// What becomes of recipients that an attempt didn't end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// Back to the lane, to be tried after this wait.
    Defer(Duration),
    /// On hold, for a person.
    Hold(Box<str>),
    /// Into other lanes, each part a delivery of its own: rules have changed. What no part names goes with the last one.
    Split(Vec<Part>),
}

/// A part of a split delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it waits.
    pub lane: Lane,
    /// Which recipients.
    pub recipients: Vec<u32>,
    /// Tried after this wait.
    pub after: Duration,
}

/// A report to the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotice {
    /// Which; never [`Kind::Message`].
    pub kind: Kind,
    /// Where it waits: by the route to the sender's domain.
    pub lane: Lane,
    /// The recipients it tells of; those that didn't end so (or, in a delay notice, aren't left) are left out, and with nobody
    /// left there is no report.
    pub about: Vec<u32>,
    /// How long from now it is tried.
    pub expires_in: Duration,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// All of it is on disk.
    Applied,
    /// The claim was no longer ours: only what was delivered was recorded. An answer, not an error; also given when the same
    /// settlement is told twice.
    ClaimLost,
}

/// Recipients that have a message, told again after the store came back as another life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Which delivery they were tried in.
    pub delivery: DeliveryId,
    /// The recipients.
    pub delivered: Vec<u32>,
}

/// Settlements in one call, at most.
pub const MAX_SETTLE_BATCH: usize = 64;

impl Settlement {
    /// The facts in it, to be kept for a few minutes and told again after a change of the store.
    pub fn fact(&self) -> Option<Fact> {
        panic!("being written")
    }
}

impl Partition {
    /// Settles a batch; more than [`MAX_SETTLE_BATCH`] go in several scripts. The answers are in the order given.
    ///
    /// # Errors
    /// If the store gave no answer: the batch is handed back, and is to be settled again until it does. An outcome is never
    /// dropped.
    pub async fn settle(
        &self,
        batch: Vec<Settlement>,
    ) -> Result<Vec<Settled>, (Vec<Settlement>, Unavailable)> {
        let _ = batch;
        panic!("being written")
    }

    /// Tells facts again, without a claim.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn tell(&self, facts: &[Fact]) -> Result<(), Unavailable> {
        let _ = facts;
        panic!("being written")
    }
}

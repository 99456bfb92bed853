//! Ends a claimed delivery's attempt: one script for a batch, all or nothing per delivery.
//! **Owns:** settle.lua and the encoding of outcomes. **Never:** when to retry, whether to bounce (core), SMTP.
//! Facts (who has it) count whoever tells them; scheduling needs the claim. A bounce, a delay or success notice is a delivery of
//! the same message to its sender, and enters with the end of the recipients it tells of.
//! Invariant: I4, whoever lost the claim can only remove what was delivered. Invariant: I5, a bounce enters with the removal.

mod encode;

use std::time::Duration;

use postrider_mail::{Outcome, OutcomeKind};
use redis::Value;

use crate::{
    answer,
    claim::Claimed,
    connection::{CALL_LIMIT, Purpose},
    error::Unavailable,
    incarnation::Incarnation,
    lane::Lane,
    partition::Partition,
    record::{DeliveryId, Kind},
    script,
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
    /// Whether that delivery is a report: its one recipient is the sender, not the envelope's first.
    pub is_report: bool,
}

/// Settlements in one call, at most.
pub const MAX_SETTLE_BATCH: usize = 64;

impl Settlement {
    /// The facts in it, to be kept for a few minutes and told again after a change of the store.
    pub fn fact(&self) -> Option<Fact> {
        let delivered: Vec<u32> = self.of_kind(OutcomeKind::Delivered).collect();
        let (id, kind) = (&self.claimed.delivery.id, self.claimed.delivery.kind);
        let is_report = kind != Kind::Message;
        (!delivered.is_empty()).then(|| Fact { delivery: id.clone(), delivered, is_report })
    }

    fn of_kind(&self, kind: OutcomeKind) -> impl Iterator<Item = u32> {
        self.outcomes.iter().filter(move |outcome| outcome.kind == kind).map(|outcome| outcome.recipient)
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
        let mut settled = vec![Settled::ClaimLost; batch.len()];
        // Settlements of an earlier life may be among them: they are told under its name.
        let mut holders: Vec<Incarnation> = batch.iter().map(|one| one.claimed.claim.holder()).collect();
        holders.sort_unstable();
        holders.dedup();
        for holder in holders {
            let of_holder = batch.iter().enumerate().filter(|(_, one)| one.claimed.claim.holder() == holder);
            let (places, items): (Vec<usize>, Vec<Vec<u8>>) =
                of_holder.map(|(at, one)| (at, encode::item(one))).unzip();
            let answers = match self.call_settle(Some(holder), &items).await {
                Ok(answers) => answers,
                Err(why) => return Err((batch, why)),
            };
            for (place, is_applied) in places.into_iter().zip(answers) {
                settled[place] = if is_applied { Settled::Applied } else { Settled::ClaimLost };
            }
        }
        Ok(settled)
    }

    /// Tells facts again, without a claim.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn tell(&self, facts: &[Fact]) -> Result<(), Unavailable> {
        let items: Vec<Vec<u8>> = facts.iter().map(encode::fact).collect();
        self.call_settle(None, &items).await.map(|_| ())
    }

    async fn call_settle(
        &self,
        holder: Option<Incarnation>,
        items: &[Vec<u8>],
    ) -> Result<Vec<bool>, Unavailable> {
        let meta = self.keys().named("meta");
        let claims = holder.map_or_else(|| meta.clone(), |holder| self.keys().claims(holder));
        let holder = holder.map(|holder| holder.to_string()).unwrap_or_default();
        let kept = HISTORY_ENTRIES.to_string();
        let mut applied = Vec::with_capacity(items.len());
        for slice in items.chunks(MAX_SETTLE_BATCH) {
            let mut args: Vec<&[u8]> =
                vec![self.keys().prefix().as_bytes(), holder.as_bytes(), kept.as_bytes()];
            args.extend(slice.iter().map(Vec::as_slice));
            let answer = self
                .connections()
                .run(Purpose::Delivery, &script::SETTLE, &[&meta, &claims], &args, CALL_LIMIT)
                .await;
            let answers = answer::array(answer?)?;
            if answers.len() != slice.len() {
                return Err(Unavailable::unreadable(answers.len(), "an answer for each settlement"));
            }
            applied.extend(answers.into_iter().map(|answer| answer == Value::Int(1)));
        }
        Ok(applied)
    }
}

/// Entries of the history kept, one a script; with the largest batches and some 150 bytes a settlement, 80 MiB.
const HISTORY_ENTRIES: u32 = 8_192;

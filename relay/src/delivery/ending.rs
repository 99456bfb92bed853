//! From what an attempt gave to what the queue is told: pure.
//! **Owns:** when a deferred delivery is tried again, who is told what. **Never:** whether a reply defers or bounces (core).
//! Invariant: I5, a bounce is told in the settlement that ends its recipients. Invariant: I6, what expired bounces.

use std::time::Duration;

use postrider_core::{
    bounce::options,
    config::Config,
    outcome::{self, Again, Ended},
    policy::Policy,
    retry::Retry,
};
use postrider_mail::{Class, Due, Envelope, Outcome, OutcomeKind, Recipient};
use postrider_queue::{Claimed, Delivery, Kind, NewNotice, Part, Rest, Settlement};

use super::{content, plan};
use crate::site::Attempt;

/// What the queue is told of an attempt.
pub fn of(claimed: Claimed, attempt: Attempt, policy: &Policy, config: &Config, chance: u64) -> Settlement {
    let now = claimed.store_now();
    let delivery = &claimed.delivery;
    let (outcomes, wait) = schedule(delivery, attempt.ended, policy, now, chance);
    let about = About {
        delivery,
        outcomes: &outcomes,
        relayed: &attempt.relayed,
        is_late: !delivery.history.delay_told && policy.retry.is_delayed(delivery.message.received.at, now),
        is_bulk: attempt.is_bulk || policy.class == Class::Bulk,
    };
    let notices = about.notices(config);
    Settlement { outcomes, discarded: Vec::new(), rest: Rest::Defer(wait), notices, claimed }
}

/// A rule discards it: ended, and nobody is told.
pub fn discarded(claimed: Claimed) -> Settlement {
    let discarded = claimed.delivery.recipients.iter().map(|addressee| addressee.number).collect();
    Settlement { discarded, ..untouched(claimed, Rest::Defer(Duration::ZERO)) }
}

/// It waits for a person.
pub fn held(claimed: Claimed, reason: &str) -> Settlement {
    untouched(claimed, Rest::Hold(reason.into()))
}

/// Its parts wait in other lanes from now on.
pub fn moved(claimed: Claimed, parts: Vec<Part>) -> Settlement {
    untouched(claimed, Rest::Split(parts))
}

fn untouched(claimed: Claimed, rest: Rest) -> Settlement {
    Settlement { claimed, outcomes: Vec::new(), discarded: Vec::new(), rest, notices: Vec::new() }
}

/// The outcomes, those whose time is over bounced; and how long the others wait.
fn schedule(
    delivery: &Delivery,
    ended: Vec<Ended>,
    policy: &Policy,
    now: Due,
    chance: u64,
) -> (Vec<Outcome>, Duration) {
    let is_deferred = |one: &&Ended| one.outcome.kind == OutcomeKind::Deferred;
    let again = ended.iter().filter(is_deferred).map(|one| one.again).max().unwrap_or(Again::AtOnce);
    let attempts = delivery.history.attempts.saturating_add(1);
    let (is_over, wait) = match policy.retry.after(attempts, delivery.expires, now, chance) {
        Retry::Expired => (true, Duration::ZERO),
        Retry::At(due) => match again {
            Again::AtOnce => (false, Duration::ZERO),
            Again::Soon => (false, policy.retry.wait_soon(attempts, chance)),
            Again::OnSchedule => (false, now.until(due)),
        },
    };
    let outcomes = ended
        .into_iter()
        .map(|Ended { outcome, .. }| match outcome.kind {
            OutcomeKind::Deferred if is_over => outcome::expired(outcome.recipient, Some(&outcome)),
            OutcomeKind::Deferred | OutcomeKind::Delivered | OutcomeKind::Bounced => outcome,
        })
        .collect();
    (outcomes, wait)
}

/// What reports are decided by.
struct About<'a> {
    delivery: &'a Delivery,
    outcomes: &'a [Outcome],
    relayed: &'a [u32],
    is_late: bool,
    is_bulk: bool,
}

impl About<'_> {
    fn notices(&self, config: &Config) -> Vec<NewNotice> {
        // RFC 5321 4.5.5: no report about a report, none to a null sender.
        if self.delivery.kind != Kind::Message || content::is_unanswerable(self.delivery) {
            return Vec::new();
        }
        let told = [
            (Kind::Bounce, self.whom(OutcomeKind::Bounced, options::tells_bounce)),
            (Kind::SuccessNotice, self.relayed()),
            (Kind::DelayNotice, self.delayed()),
        ];
        if told.iter().all(|(_, about)| about.is_empty()) {
            return Vec::new();
        }
        let Some((lane, policy)) = plan::report_lane(&self.delivery.message.sender, config) else {
            return Vec::new();
        };
        let expires_in = policy.retry.max_age;
        told.into_iter()
            .filter(|(_, about)| !about.is_empty())
            .map(|(kind, about)| NewNotice { kind, lane: lane.clone(), about, expires_in })
            .collect()
    }

    fn relayed(&self) -> Vec<u32> {
        // A far side with DSN was given NOTIFY and tells the sender itself (RFC 3461 5.2.2).
        let relayed =
            self.whom(OutcomeKind::Delivered, |envelope, who| options::tells_success(envelope, who, false));
        relayed.into_iter().filter(|number| self.relayed.contains(number)).collect()
    }

    fn delayed(&self) -> Vec<u32> {
        if !self.is_late {
            return Vec::new();
        }
        self.whom(OutcomeKind::Deferred, |envelope, who| options::tells_delay(envelope, who, self.is_bulk))
    }

    /// The recipients with outcomes of a kind whose sender wants to know.
    fn whom(&self, kind: OutcomeKind, wants: impl Fn(&Envelope, &Recipient) -> bool) -> Vec<u32> {
        let numbers: Vec<u32> =
            self.outcomes.iter().filter(|one| one.kind == kind).map(|one| one.recipient).collect();
        if numbers.is_empty() {
            return numbers;
        }
        let envelope = bare_envelope(self.delivery);
        let addressees = self.delivery.recipients.iter().filter(|one| numbers.contains(&one.number));
        addressees.filter(|one| wants(&envelope, &one.recipient)).map(|one| one.number).collect()
    }
}

/// The options look at the sender only.
fn bare_envelope(delivery: &Delivery) -> Envelope {
    let message = &delivery.message;
    Envelope {
        sender: message.sender.clone(),
        recipients: Vec::new(),
        body: message.body,
        smtputf8: message.smtputf8,
        return_content: message.return_content,
        envelope_id: None,
        tls: message.tls,
    }
}

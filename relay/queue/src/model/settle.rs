//! The end of an attempt, in the model.
//! **Owns:** [`Attempt`], what facts, rests and reports do. **Never:** more than settle.lua promises.
//! Invariant: I4, I5.

use super::{Delivery, Model, Place, Span};
use crate::{
    admin::Wish,
    incarnation::Incarnation,
    record::{DeliveryId, Kind, codec},
    settle::{NewNotice, Part, Rest},
};

/// What an attempt gave.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What was tried.
    pub delivery: DeliveryId,
    /// Under which claim.
    pub number: u64,
    /// Whether that is a report.
    pub is_report: bool,
    /// Who has it.
    pub delivered: Vec<u32>,
    /// Who never will.
    pub bounced: Vec<u32>,
    /// Whom a rule discards.
    pub discarded: Vec<u32>,
    /// How many got "later".
    pub deferred: u32,
    /// What becomes of those.
    pub rest: Rest,
    /// Reports, with only those about whom there is an outcome.
    pub notices: Vec<NewNotice>,
}

impl Model {
    /// Ends an attempt; false: the claim was lost, and only facts counted.
    pub fn settle(&mut self, by: Incarnation, attempt: &Attempt, now: Span) -> bool {
        let has_claim =
            self.find(&attempt.delivery).is_some_and(|found| found.is_claimed_by(by, attempt.number));
        if has_claim {
            self.apply(attempt, now);
            self.end_empty_messages();
        } else {
            self.tell_of(&attempt.delivery, attempt.is_report, (&attempt.delivered, &attempt.notices), now);
        }
        has_claim
    }

    /// Facts alone, of a delivery that is a report or not.
    pub fn tell(&mut self, id: &DeliveryId, is_report: bool, delivered: &[u32], now: Span) {
        self.tell_of(id, is_report, (delivered, &[]), now);
    }

    /// They count in the delivery that they were learnt in, or, if that has ended, wherever those recipients are now. The sender, who
    /// got a report, is nobody's recipient.
    fn tell_of(&mut self, id: &DeliveryId, is_report: bool, told: (&[u32], &[NewNotice]), now: Span) {
        let (delivered, notices) = told;
        let own = self.find(id).map(|delivery| (delivery.kind, delivery.is_claimed()));
        match own {
            _ if delivered.is_empty() => return,
            None if is_report => {}
            Some((Kind::Message, _)) => self.tell_one(id, delivered, notices, now),
            // A report has one addressee. While somebody tries it, that one's settle ends it.
            Some((Kind::Bounce | Kind::DelayNotice | Kind::SuccessNotice, true)) => {}
            Some((Kind::Bounce | Kind::DelayNotice | Kind::SuccessNotice, false)) => {
                self.count("delivered", 1);
                self.end(id);
            }
            None => {
                let of = self.messages.get(&id.message).into_iter();
                for number in of.flat_map(|of| of.deliveries.keys().copied()).collect::<Vec<u32>>() {
                    self.tell_one(
                        &DeliveryId { message: id.message.clone(), number },
                        delivered,
                        notices,
                        now,
                    );
                }
            }
        }
        self.end_empty_messages();
    }

    fn tell_one(&mut self, id: &DeliveryId, delivered: &[u32], notices: &[NewNotice], now: Span) {
        let Some(delivery) = self.find_mut(id).filter(|delivery| delivery.kind == Kind::Message) else {
            return;
        };
        let struck = strike(&mut delivery.recipients, delivered);
        if struck.is_empty() {
            return;
        }
        let is_over = delivery.recipients.is_empty() && !delivery.is_claimed();
        self.count("delivered", struck.len() as i64);
        if is_over {
            self.end(id);
        }
        self.add_reports(id, notices, &[(Kind::SuccessNotice, &struck)], now);
    }

    fn apply(&mut self, attempt: &Attempt, now: Span) {
        let id = &attempt.delivery;
        let Some(delivery) = self.find_mut(id) else { return };
        let (is_message, is_deleted) = (delivery.kind == Kind::Message, delivery.wish == Some(Wish::Delete));
        let mut left = if is_message { delivery.recipients.clone() } else { vec![0] };
        let delivered = strike(&mut left, &attempt.delivered);
        let bounced = strike(&mut left, &attempt.bounced);
        let discarded = strike(&mut left, &attempt.discarded);
        if is_message {
            delivery.recipients.clone_from(&left);
        }
        for (name, struck) in [("delivered", &delivered), ("bounced", &bounced), ("discarded", &discarded)] {
            self.count(name, struck.len() as i64);
        }
        if left.is_empty() {
            self.end(id);
        } else {
            self.count("deferred", i64::from(attempt.deferred));
            self.reschedule(attempt, &left, now);
        }
        if is_message {
            let delayed: &[u32] = if is_deleted { &[] } else { &left };
            let told =
                [(Kind::Bounce, &*bounced), (Kind::SuccessNotice, &*delivered), (Kind::DelayNotice, delayed)];
            self.add_reports(id, &attempt.notices, &told, now);
        }
    }

    /// A person's wish goes before what the attempt asked for.
    fn reschedule(&mut self, attempt: &Attempt, left: &[u32], now: Span) {
        let id = &attempt.delivery;
        let Some(delivery) = self.find_mut(id) else { return };
        delivery.crashes = (0, 0);
        let is_free = matches!(delivery.wish, None | Some(Wish::RetryNow));
        match &attempt.rest {
            Rest::Hold(reason) if is_free => delivery.place = Place::Held { reason: reason.to_string() },
            Rest::Split(parts) if is_free && !parts.is_empty() => self.split(id, parts, left, now),
            Rest::Defer(wait) => self.put_back(id, now.after(*wait), now),
            Rest::Hold(_) | Rest::Split(_) => self.put_back(id, now, now),
        }
    }

    fn split(&mut self, id: &DeliveryId, parts: &[Part], left: &[u32], now: Span) {
        let Some(whole) = self.find(id).cloned() else { return };
        let mut rest = left.to_vec();
        for (at, part) in parts.iter().enumerate() {
            let is_last = at + 1 == parts.len();
            let named = |number: &u32| is_last || part.recipients.contains(number);
            let mut share: Vec<u32> = rest.iter().copied().filter(named).collect();
            rest.retain(|number| !share.contains(number));
            if whole.kind != Kind::Message {
                share.clone_from(&whole.recipients);
            }
            if share.is_empty() {
                continue;
            }
            let due = if whole.wish.is_some() { now } else { now.after(part.after) };
            let place = Place::Waiting { due, first: false };
            let new = Delivery::new(whole.kind, &part.lane, whole.expires, &share, place);
            self.add(id, new);
        }
        self.end(id);
    }

    fn add_reports(&mut self, id: &DeliveryId, notices: &[NewNotice], ended: &[(Kind, &[u32])], now: Span) {
        let has_sender = self.messages.get(&id.message).is_some_and(|message| message.has_sender);
        for notice in notices.iter().filter(|_| has_sender) {
            let of = ended.iter().find(|(kind, _)| *kind == notice.kind).map_or(&[][..], |(_, of)| of);
            let about: Vec<u32> = notice.about.iter().copied().filter(|number| of.contains(number)).collect();
            if about.is_empty() {
                continue;
            }
            let place = Place::Waiting { due: now, first: false };
            self.add(
                id,
                Delivery::new(notice.kind, &notice.lane, now.after(notice.expires_in), &about, place),
            );
            self.count(&format!("reports:{}", codec::letter(notice.kind)), 1);
        }
    }

    fn add(&mut self, beside: &DeliveryId, delivery: Delivery) {
        if let Some(message) = self.messages.get_mut(&beside.message) {
            message.add(delivery);
        }
    }
}

/// Takes out of `left` who is in `list`; returns them in the order of the list.
fn strike(left: &mut Vec<u32>, list: &[u32]) -> Vec<u32> {
    let struck: Vec<u32> = list.iter().copied().filter(|number| left.contains(number)).collect();
    left.retain(|number| !struck.contains(number));
    struck
}

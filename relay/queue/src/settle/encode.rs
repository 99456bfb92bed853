//! Settlements as settle.lua takes them.
//! **Owns:** the order of an item's values. **Never:** sends one.
//! Invariant: I5: a null sender gets no report, nor does anybody get a report on a report.

use std::collections::HashSet;

use postrider_mail::{OutcomeKind, Recipient};

use super::{Fact, NewNotice, Part, Rest, Settlement};
use crate::{
    connection::millis,
    hold,
    inspect::event,
    record::{Addressee, Delivery, History, Kind, Report, Reported, codec},
    script::Packed,
};

pub(super) fn item(settlement: &Settlement) -> Vec<u8> {
    let delivery = &settlement.claimed.delivery;
    let left = left(settlement);
    let reports = reports(settlement);
    let history = codec::encode(&history(settlement, &left, &reports));
    let mut packed = Packed::default();
    packed.array(12);
    packed.text(delivery.id.to_string()).number(settlement.claimed.claim.number().get());
    packed.text(codec::list(settlement.of_kind(OutcomeKind::Delivered)));
    packed.text(codec::list(settlement.of_kind(OutcomeKind::Bounced)));
    packed.text(codec::list(settlement.discarded.iter().copied()));
    rest(&mut packed, &settlement.rest, delivery, &left);
    packed.text(history);
    packed.array(reports.len());
    for (notice, report) in &reports {
        pack_report(&mut packed, notice, report, delivery);
    }
    packed.text(event::encode(&settlement.outcomes));
    packed.number(settlement.of_kind(OutcomeKind::Deferred).count() as u64);
    packed.number(u64::from(delivery.kind != Kind::Message));
    packed.finish()
}

pub(super) fn fact(fact: &Fact) -> Vec<u8> {
    let mut packed = Packed::default();
    packed.array(12);
    packed.text(fact.delivery.to_string()).text("");
    packed.text(codec::list(fact.delivered.iter().copied()));
    packed.text("").text("").text("D").text("0").text("").array(0).text("").text("0");
    packed.number(u64::from(fact.is_report));
    packed.finish()
}

/// The addressees that the attempt didn't end.
fn left(settlement: &Settlement) -> Vec<&Addressee> {
    let bounced = settlement.of_kind(OutcomeKind::Bounced);
    let ended: HashSet<u32> = settlement.of_kind(OutcomeKind::Delivered).chain(bounced).collect();
    let recipients = settlement.claimed.delivery.recipients.iter();
    let is_left =
        |one: &&Addressee| !ended.contains(&one.number) && !settlement.discarded.contains(&one.number);
    recipients.filter(is_left).collect()
}

fn history(settlement: &Settlement, left: &[&Addressee], reports: &[(&NewNotice, Report)]) -> History {
    let before = &settlement.claimed.delivery.history;
    let delay_told = before.delay_told || reports.iter().any(|(notice, _)| notice.kind == Kind::DelayNotice);
    if settlement.outcomes.is_empty() {
        return History { delay_told, ..before.clone() };
    }
    let is_left = |number: u32| left.iter().any(|addressee| addressee.number == number);
    History {
        attempts: before.attempts.saturating_add(1),
        last: settlement.outcomes.iter().filter(|outcome| is_left(outcome.recipient)).cloned().collect(),
        last_at: Some(settlement.claimed.store_now()),
        delay_told,
        released: before.released,
    }
}

fn rest(packed: &mut Packed, rest: &Rest, delivery: &Delivery, left: &[&Addressee]) {
    match rest {
        Rest::Defer(wait) => {
            packed.text("D").number(millis(*wait));
        }
        Rest::Hold(reason) => {
            packed.text("H").text(hold::cut(reason));
        }
        Rest::Split(parts) if parts.is_empty() => {
            packed.text("D").number(0);
        }
        Rest::Split(parts) => {
            packed.text("S").array(parts.len());
            for (part, addressees) in shares(parts, left) {
                let numbers = codec::list(addressees.iter().map(|addressee| addressee.number));
                // A report has one addressee, who isn't in its list: it moves as a whole.
                let addressees = if delivery.kind == Kind::Message {
                    addressees
                } else {
                    delivery.recipients.iter().collect()
                };
                packed.array(4).text(part.lane.to_string()).number(millis(part.after)).text(numbers);
                packed.text(codec::encode(&addressees));
            }
        }
    }
}

/// Who of those left is in which part. What no part names goes with the last one, so that nobody is forgotten.
fn shares<'a>(parts: &'a [Part], left: &[&'a Addressee]) -> Vec<(&'a Part, Vec<&'a Addressee>)> {
    let mut rest: Vec<&Addressee> = left.to_vec();
    let mut shares: Vec<(&Part, Vec<&Addressee>)> = Vec::with_capacity(parts.len());
    for part in parts {
        let (share, others) =
            rest.into_iter().partition(|addressee| part.recipients.contains(&addressee.number));
        shares.push((part, share));
        rest = others;
    }
    if let Some((_, last)) = shares.last_mut() {
        last.extend(rest);
    }
    shares
}

/// The reports that there may be: none to nobody, none on a report.
fn reports(settlement: &Settlement) -> Vec<(&NewNotice, Report)> {
    let delivery = &settlement.claimed.delivery;
    if delivery.kind != Kind::Message || delivery.message.sender.mailbox().is_none() {
        return Vec::new();
    }
    let wanted = settlement.notices.iter().filter(|notice| notice.kind != Kind::Message);
    let reports = wanted.map(|notice| (notice, report(settlement, notice)));
    reports.filter(|(_, report)| !report.recipients.is_empty()).collect()
}

fn report(settlement: &Settlement, notice: &NewNotice) -> Report {
    let delivery = &settlement.claimed.delivery;
    let at = settlement.claimed.store_now();
    let outcomes = settlement.outcomes.iter().filter(|outcome| notice.about.contains(&outcome.recipient));
    let reported = outcomes.filter_map(|outcome| {
        let addressee = delivery.recipients.iter().find(|addressee| addressee.number == outcome.recipient)?;
        Some(Reported { recipient: addressee.recipient.clone(), outcome: outcome.clone(), at })
    });
    let retry_until = (notice.kind == Kind::DelayNotice).then_some(delivery.expires);
    Report { recipients: reported.collect(), retry_until }
}

fn pack_report(packed: &mut Packed, notice: &NewNotice, report: &Report, delivery: &Delivery) {
    let sender = delivery.message.sender.mailbox().cloned();
    let addressees: Vec<Addressee> = sender
        .into_iter()
        .map(|mailbox| Addressee { number: 0, recipient: Recipient::new(mailbox) })
        .collect();
    packed
        .array(6)
        .text(codec::letter(notice.kind))
        .text(notice.lane.to_string())
        .number(millis(notice.expires_in));
    packed.text(codec::list(report.recipients.iter().map(|reported| reported.outcome.recipient)));
    packed.text(codec::encode(report)).text(codec::encode(&addressees));
}

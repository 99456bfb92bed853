//! Random choices, each step's from a randomness of its own.
//! **Owns:** what messages and attempts look like. **Never:** asks a store.

use std::{collections::BTreeMap, time::Duration};

use postrider_mail::{Class, Domain, EnhancedCode, FarText, Outcome, OutcomeKind, QueueId, Stage};
use postrider_queue::{
    Claimed, Flow, Kind, Lane, NewDelivery, NewNotice, Part, Rest, RouteName, Settlement, Start,
    admin::Wish,
    model::{Attempt, Model},
    record::DeliveryId,
};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

pub(super) const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn one<'a, T>(rng: &mut StdRng, of: &'a [T]) -> &'a T {
    of.choose(rng).expect("there are some")
}

pub(super) fn lane(rng: &mut StdRng) -> Lane {
    let class = *one(rng, &Class::ALL);
    let domain = *one(rng, &["one.example", "two.example"]);
    let flow = *one(rng, &[None, Flow::all().next(), Flow::all().last()]);
    Lane { class, domain: Domain::parse(domain).expect("a domain"), route: RouteName::default_route(), flow }
}

pub(super) fn wait(rng: &mut StdRng) -> Duration {
    *one(rng, &[Duration::ZERO, Duration::ZERO, Duration::from_millis(8), HOUR])
}

pub(super) fn life(rng: &mut StdRng) -> Duration {
    *one(rng, &[Duration::ZERO, Duration::from_millis(30), HOUR, HOUR * 120, HOUR * 120, HOUR * 120])
}

/// Recipients of an envelope of `size`, dealt out to deliveries; some may be discarded.
pub(super) fn deliveries(rng: &mut StdRng, size: u32) -> Vec<NewDelivery> {
    let parts = rng.random_range(1..=3.min(size));
    let mut deliveries: Vec<NewDelivery> = (0..parts).map(|_| delivery(rng)).collect();
    for recipient in 0..size {
        let part = rng.random_range(0..=parts) as usize;
        if let Some(delivery) = deliveries.get_mut(part) {
            delivery.recipients.push(recipient);
        }
    }
    deliveries.retain(|delivery| !delivery.recipients.is_empty());
    deliveries
}

fn delivery(rng: &mut StdRng) -> NewDelivery {
    let start = match rng.random_range(0..6) {
        0..3 => Start::Claimed,
        3 | 4 => Start::After(wait(rng)),
        _ => Start::Held("by rule".into()),
    };
    NewDelivery { lane: lane(rng), recipients: Vec::new(), expires_in: life(rng), start }
}

/// So many deliveries, all claimed at once: more than one slice of a reap.
pub(super) fn many(rng: &mut StdRng, size: u32) -> Vec<NewDelivery> {
    let lane = lane(rng);
    let each = |recipient| NewDelivery {
        lane: lane.clone(),
        recipients: vec![recipient],
        expires_in: HOUR * 120,
        start: Start::Claimed,
    };
    (0..size).map(each).collect()
}

pub(super) fn wish(rng: &mut StdRng) -> Wish {
    match rng.random_range(0..5) {
        0 => Wish::RetryNow,
        1 => Wish::Hold("by hand".into()),
        2 => Wish::ReleaseHeld,
        3 => Wish::BounceNow("given up".into()),
        _ => Wish::Delete,
    }
}

/// A delivery of the queue, or one that is no longer there; of a message that still is, as a rule.
pub(super) fn any_delivery(
    rng: &mut StdRng,
    model: &Model,
    past: &BTreeMap<DeliveryId, Kind>,
) -> Option<(DeliveryId, Kind)> {
    let known: Vec<_> = model.deliveries().map(|(id, delivery)| (id, delivery.kind)).collect();
    let has_siblings = |id: &DeliveryId| model.messages.contains_key(&id.message);
    let ended: Vec<_> = past.iter().filter(|(id, _)| model.find(id).is_none()).collect();
    let siblings: Vec<_> = ended.iter().copied().filter(|(id, _)| has_siblings(id)).collect();
    let pick = |of: &[(&DeliveryId, &Kind)], rng: &mut StdRng| {
        of.choose(rng).map(|(id, kind)| ((*id).clone(), **kind))
    };
    match rng.random_range(0..9) {
        0..6 => known.choose(rng).cloned(),
        6 | 7 => pick(&siblings, rng),
        _ => pick(&ended, rng),
    }
}

pub(super) fn any_message(rng: &mut StdRng, model: &Model) -> Option<QueueId> {
    model.messages.keys().cloned().collect::<Vec<_>>().choose(rng).cloned()
}

/// The end of an attempt, for the store and for the model.
pub(super) fn settlement(rng: &mut StdRng, claimed: Claimed) -> (Settlement, Attempt) {
    let is_ending = claimed.ending.is_some() && rng.random_ratio(5, 6);
    let mood = rng.random_range(0..4);
    let (mut outcomes, mut discarded) = (Vec::new(), Vec::new());
    for addressee in &claimed.delivery.recipients {
        let kind = match (is_ending, mood, rng.random_range(0..8)) {
            (true, _, _) => OutcomeKind::Bounced,
            (_, 0, _) | (_, _, 0..2) => OutcomeKind::Delivered,
            (_, 1, _) | (_, _, 2..5) => OutcomeKind::Deferred,
            (_, _, 5) => OutcomeKind::Bounced,
            (_, _, 6) => {
                discarded.push(addressee.number);
                continue;
            }
            // Not tried.
            _ => continue,
        };
        outcomes.push(outcome(addressee.number, kind));
    }
    let rest = rest(rng, &claimed);
    let notices = notices(rng, &outcomes);
    let of =
        |kind| outcomes.iter().filter(|one| one.kind == kind).map(|one| one.recipient).collect::<Vec<u32>>();
    let attempt = Attempt {
        delivery: claimed.delivery.id.clone(),
        number: claimed.claim.number().get(),
        is_report: claimed.delivery.kind != Kind::Message,
        delivered: of(OutcomeKind::Delivered),
        bounced: of(OutcomeKind::Bounced),
        discarded: discarded.clone(),
        deferred: of(OutcomeKind::Deferred).len() as u32,
        rest: rest.clone(),
        notices: if claimed.delivery.kind == Kind::Message { notices.clone() } else { Vec::new() },
    };
    (Settlement { claimed, outcomes, discarded, rest, notices }, attempt)
}

fn rest(rng: &mut StdRng, claimed: &Claimed) -> Rest {
    match rng.random_range(0..6) {
        0..3 => Rest::Defer(wait(rng)),
        3 => Rest::Hold("by rule".into()),
        _ => {
            let recipients: Vec<u32> = claimed.delivery.recipients.iter().map(|one| one.number).collect();
            let parts = rng.random_range(1..=2_usize);
            let size = recipients.len().div_ceil(parts).max(1);
            let part = |recipients: &[u32], rng: &mut StdRng| Part {
                lane: lane(rng),
                recipients: recipients.to_vec(),
                after: wait(rng),
            };
            Rest::Split(recipients.chunks(size).map(|share| part(share, rng)).collect())
        }
    }
}

/// As core asks for them: about those with such an outcome, in the order of the outcomes.
fn notices(rng: &mut StdRng, outcomes: &[Outcome]) -> Vec<NewNotice> {
    let of =
        |kind| outcomes.iter().filter(|one| one.kind == kind).map(|one| one.recipient).collect::<Vec<u32>>();
    let mut notices = Vec::new();
    for (kind, about, odds) in [
        (Kind::Bounce, of(OutcomeKind::Bounced), 10),
        (Kind::SuccessNotice, of(OutcomeKind::Delivered), 3),
        (Kind::DelayNotice, of(OutcomeKind::Deferred), 3),
    ] {
        if !about.is_empty() && rng.random_ratio(odds, 10) {
            notices.push(NewNotice { kind, lane: lane(rng), about, expires_in: HOUR * 120 });
        }
    }
    notices
}

fn outcome(recipient: u32, kind: OutcomeKind) -> Outcome {
    let status = match kind {
        OutcomeKind::Delivered => EnhancedCode::success(0, 0),
        OutcomeKind::Deferred => EnhancedCode::transient(0, 0),
        OutcomeKind::Bounced => EnhancedCode::permanent(0, 0),
    };
    Outcome {
        recipient,
        kind,
        stage: Stage::Dot,
        status,
        reply: None,
        explanation: FarText::new("test"),
        host: None,
    }
}

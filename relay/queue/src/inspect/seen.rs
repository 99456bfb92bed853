//! From fields of a hash to what people see.
//! **Owns:** reading places, wishes and entries of the history. **Never:** asks the store.

use std::sync::Arc;

use postrider_mail::{Due, QueueId};
use redis::Value;

use super::{Event, Place, Seen, Suspension, event};
use crate::{
    answer::{self, Fields},
    error::Unavailable,
    limit::Limiter,
    record::{
        DeliveryId, Message,
        codec::{Raw, Unreadable},
    },
};

/// The fields of a delivery, in the order in which [`read`] asks for them.
pub(super) const FIELDS: [&str; 11] = ["l", "e", "r", "q", "d", "o", "x", "f", "p", "h", "w"];

/// Reads a delivery; `take` gives a field of it. When a waiting one is due stands in its lane, not here.
pub(super) fn read(
    id: DeliveryId,
    message: Arc<Message>,
    take: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<Seen, Unreadable> {
    let field = |name| take(name).unwrap_or_default();
    let raw = Raw {
        lane: field("l"),
        expiry: field("e"),
        recipients: field("r"),
        addressees: field("q"),
        history: field("d"),
        report: field("o"),
        crashes: field("x"),
        released: take("f").is_some(),
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let place = text(field("p"));
    let mut words = place.split(' ');
    let place = match (words.next(), words.nth(1)) {
        (Some("L"), _) => Place::Waiting { due: Due::from_unix_millis(0) },
        (Some("H"), _) => Place::Held { reason: text(field("h")).into() },
        (Some("C"), Some(holder)) => {
            Place::Claimed { holder: holder.parse().map_err(|_| Unreadable::Field("place"))? }
        }
        _ => return Err(Unreadable::Field("place")),
    };
    let wish = take("w").map(|wish| wish_in_words(&text(wish)).into());
    Ok(Seen { delivery: raw.read(id, message)?, place, wish })
}

fn wish_in_words(wish: &str) -> String {
    let (letter, reason) = wish.split_once(' ').unwrap_or((wish, ""));
    let word = match letter {
        "R" => "RetryNow",
        "H" => "Hold",
        "B" => "BounceNow",
        "X" => "Delete",
        other => other,
    };
    if reason.is_empty() { word.to_owned() } else { format!("{word}: {reason}") }
}

pub(super) fn suspension(value: &[u8]) -> Option<Suspension> {
    let text = std::str::from_utf8(value).ok()?;
    if text == "by hand" {
        return Some(Suspension::ByHand);
    }
    let mut words = text.split(' ');
    let until = Due::from_unix_millis(words.next()?.parse().ok()?);
    let limiter = words.nth(1).and_then(Limiter::named);
    Some(limiter.map_or(Suspension::Until(until), |limiter| Suspension::Limited { until, limiter }))
}

/// Adds the events of a message in one entry of the history; returns the entry's ID.
pub(super) fn events_of(id: &QueueId, entry: Value, events: &mut Vec<Event>) -> Result<String, Unavailable> {
    let mut entry = Fields::of(entry)?;
    let name = entry.text()?;
    let millis = answer::parsed(name.split('-').next().unwrap_or_default())?;
    let mut fields = answer::array(entry.value()?)?.into_iter();
    let wanted = format!("{id}.");
    while let (Some(delivery), Some(value)) = (fields.next(), fields.next()) {
        let delivery = answer::text(delivery)?;
        if !delivery.starts_with(&wanted) {
            continue;
        }
        let value = answer::bytes(value)?;
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        events.push(Event {
            at: Due::from_unix_millis(millis),
            delivery: answer::parsed(&delivery)?,
            outcomes: event::decode(value.get(end + 1..).unwrap_or_default()),
            rest: String::from_utf8_lossy(&value[..end]).into(),
        });
    }
    Ok(name)
}

pub(super) fn unreadable(why: Unreadable) -> Unavailable {
    Unavailable::unreadable(why, "a record of this version")
}

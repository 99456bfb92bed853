//! How deliveries, lanes and events look in JSON: what `ctl --json` prints.
//! **Owns:** these names. **Never:** reads the queue.

use postrider_mail::Due;
use postrider_queue::{
    inspect::{Event, LaneView, Place, Seen, SeenMessage, Suspension},
    record::Delivery,
    totals::Figures,
};
use serde_json::{Value, json};

/// A time as people read it, by the store's clock.
pub(crate) fn time(due: Due) -> Value {
    let text = i64::try_from(due.unix_millis())
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    json!(text)
}

pub(crate) fn delivery(seen: &Seen) -> Value {
    let Delivery { id, kind, lane, recipients, history, expires, crashes, .. } = &seen.delivery;
    let (state, due, reason, holder) = match &seen.place {
        Place::Waiting { due } => ("waiting", Some(time(*due)), None, None),
        Place::Held { reason } => ("held", None, Some(reason.to_string()), None),
        Place::Claimed { holder } => ("claimed", None, None, Some(holder.to_string())),
    };
    let last = history.last.first().map(|outcome| match &outcome.reply {
        Some(reply) => format!("{}: {reply}", outcome.stage.as_str()),
        None => format!("{}: {} {}", outcome.stage.as_str(), outcome.status, outcome.explanation.as_str()),
    });
    json!({
        "delivery_id": id.to_string(),
        "queue_id": id.message.to_string(),
        "kind": format!("{kind:?}"),
        "lane": lane.to_string(),
        "state": state,
        "due": due,
        "reason": reason,
        "incarnation": holder,
        "sender": seen.delivery.sender().to_string(),
        "recipients": recipients.iter().map(|one| one.recipient.mailbox.to_string()).collect::<Vec<_>>(),
        "attempts": history.attempts,
        "last": last,
        "expires": time(*expires),
        "crashes": crashes,
        "wish": seen.wish,
    })
}

pub(crate) fn message(seen: &SeenMessage) -> Value {
    let received = &seen.message.received;
    json!({
        "queue_id": seen.id.to_string(),
        "sender": seen.message.sender.to_string(),
        "listener": received.listener,
        "client": received.client.to_string(),
        "user": received.user,
        "tls": received.tls,
        "received": time(received.at),
        "size": received.size,
        "deliveries": seen.deliveries.iter().map(delivery).collect::<Vec<_>>(),
    })
}

pub(crate) fn figures(figures: &Figures) -> Value {
    let waiting: serde_json::Map<_, _> =
        figures.waiting.iter().map(|(class, count)| (class.to_string(), json!(count))).collect();
    json!({
        "messages": figures.messages(),
        "accepted": figures.accepted,
        "waiting": waiting,
        "claimed": figures.claimed,
        "held": figures.held,
        "counters": figures.counters,
    })
}

pub(crate) fn lane(view: &LaneView) -> Value {
    json!({
        "lane": view.lane.to_string(),
        "waiting": view.waiting,
        "first_due": view.first_due.map(time),
        "suspended": match view.suspended {
            None => Value::Null,
            Some(Suspension::Until(until) | Suspension::Limited { until, .. }) => time(until),
            Some(Suspension::ByHand) => json!("until resumed"),
        },
        "limiter": match view.suspended {
            Some(Suspension::Limited { limiter, .. }) => json!(limiter.as_str()),
            None | Some(Suspension::Until(_) | Suspension::ByHand) => Value::Null,
        },
    })
}

pub(crate) fn event(event: &Event) -> Value {
    let outcomes = event.outcomes.iter().map(|outcome| {
        json!({
            "recipient": outcome.recipient,
            "outcome": outcome.kind.as_str(),
            "stage": outcome.stage.as_str(),
            "status": outcome.status.to_string(),
            "reply": outcome.reply.as_ref().map(ToString::to_string),
            "explanation": outcome.explanation.as_str(),
            "host": outcome.host.as_ref().map(ToString::to_string),
        })
    });
    json!({
        "at": time(event.at),
        "delivery_id": event.delivery.to_string(),
        "outcomes": outcomes.collect::<Vec<_>>(),
        "rest": event.rest,
    })
}

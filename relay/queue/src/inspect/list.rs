//! Walks over all deliveries, page by page: lanes, then what is held, then what is claimed.
//! **Owns:** [`Cursor`]. **Never:** a scan of the keyspace: it walks the indexes (ZSCAN, HSCAN of one key), which give what neither
//! comes nor goes meanwhile once at least.

use std::sync::Arc;

use postrider_mail::Due;
use redis::Value;
use serde::{Deserialize, Serialize};

use super::{Filter, Page, Place, Seen, seen};
use crate::{
    answer::{self, Fields},
    connection::{CALL_LIMIT, Purpose},
    error::Unavailable,
    lane::Lane,
    partition::Partition,
    record::{DeliveryId, Message, codec},
};

/// Where a walk goes on. Opaque, printable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// What is being walked: 0 lanes, 1 held, 2 claims.
    phase: u8,
    /// Where in the index of lanes or pods; `None` at its end.
    outer: Option<String>,
    /// Lanes or incarnations that the index gave and that are still to be walked, the next one last.
    names: Vec<String>,
    /// Where in the last of them.
    inner: String,
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found a cursor that no list has given; start again without one")]
pub struct InvalidCursor;

const LANES: u8 = 0;
const HELD: u8 = 1;
const CLAIMS: u8 = 2;
const START: &str = "0";
/// Deliveries asked for in one step; the store may give some more.
const STEP: usize = 500;
/// The longest cursor that is read.
const MAX_CURSOR_BYTES: usize = 1 << 20;

impl Cursor {
    fn start(filter: &Filter) -> Self {
        let at_start =
            |phase| Self { phase, outer: Some(START.into()), names: Vec::new(), inner: START.into() };
        match &filter.lane {
            _ if filter.held_only => at_start(HELD),
            Some(lane) => Self { outer: None, names: names_of(lane), ..at_start(LANES) },
            None => at_start(LANES),
        }
    }

    /// Where it goes on when the names are walked; `None` at the very end.
    fn next_phase(self, filter: &Filter) -> Option<Self> {
        if self.outer.is_some() {
            return Some(self);
        }
        let start = |phase| Self { phase, outer: Some(START.into()), names: Vec::new(), inner: START.into() };
        match self.phase {
            LANES => Some(start(HELD)),
            HELD if !filter.held_only => Some(start(CLAIMS)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
        f.write_str(&hex::encode(json))
    }
}

impl std::str::FromStr for Cursor {
    type Err = InvalidCursor;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_CURSOR_BYTES {
            return Err(InvalidCursor);
        }
        let json = hex::decode(text).map_err(|_| InvalidCursor)?;
        serde_json::from_slice(&json).map_err(|_| InvalidCursor)
    }
}

impl Partition {
    /// A page of the queue's deliveries, in no order. Deliveries that neither come nor go during the walk are listed once at
    /// least.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn list(&self, filter: &Filter, cursor: Option<Cursor>) -> Result<Page, Unavailable> {
        let mut cursor = cursor.unwrap_or_else(|| Cursor::start(filter));
        let mut members: Vec<(DeliveryId, Option<u64>)> = Vec::new();
        let mut steps = 0;
        let next = loop {
            if members.len() >= STEP || steps >= STEP {
                break Some(cursor);
            }
            steps += 1;
            match self.step(filter, cursor, &mut members).await? {
                Some(further) => cursor = further,
                None => break None,
            }
        };
        let mut deliveries = self.see(&members).await?;
        deliveries.retain(|seen| filter.takes(seen));
        Ok(Page { deliveries, next })
    }

    /// One round trip of a walk.
    async fn step(
        &self,
        filter: &Filter,
        mut cursor: Cursor,
        members: &mut Vec<(DeliveryId, Option<u64>)>,
    ) -> Result<Option<Cursor>, Unavailable> {
        if cursor.phase == HELD {
            let at = cursor.outer.take().unwrap_or_else(|| START.into());
            cursor.outer = self
                .scan("ZSCAN", &self.keys().named("held"), &at, |name, _| push(members, &name, None))
                .await?;
            return Ok(cursor.next_phase(filter));
        }
        let Some(name) = cursor.names.last() else {
            let Some(at) = cursor.outer.take() else { return Ok(cursor.next_phase(filter)) };
            let (command, index) = if cursor.phase == LANES { ("ZSCAN", "depth") } else { ("HSCAN", "pods") };
            let names = &mut cursor.names;
            cursor.outer = self
                .scan(command, &self.keys().named(index), &at, |name, _| {
                    if may_hold(filter, index, &name) {
                        names.push(name);
                    }
                    Ok(())
                })
                .await?;
            return Ok(if cursor.names.is_empty() { cursor.next_phase(filter) } else { Some(cursor) });
        };
        let (command, key) = if cursor.phase == LANES { ("ZSCAN", "lane:") } else { ("HSCAN", "claims:") };
        let key = self.keys().named(&format!("{key}{name}"));
        let is_lane = cursor.phase == LANES;
        let further = self
            .scan(command, &key, &cursor.inner, |name, value| {
                let due = if is_lane { Some(answer::score(value)?) } else { None };
                push(members, &name, due)
            })
            .await?;
        match further {
            Some(further) => cursor.inner = further,
            None => {
                cursor.inner = START.into();
                cursor.names.pop();
            }
        }
        Ok(if cursor.names.is_empty() { cursor.next_phase(filter) } else { Some(cursor) })
    }

    /// One page of an index, given to `each`; returns where it goes on.
    async fn scan(
        &self,
        command: &str,
        key: &str,
        at: &str,
        mut each: impl FnMut(String, Value) -> Result<(), Unavailable>,
    ) -> Result<Option<String>, Unavailable> {
        let mut scan = redis::cmd(command);
        scan.arg(key).arg(at).arg("COUNT").arg(STEP);
        let mut answer = Fields::of(self.connections().command(Purpose::Admin, &scan, CALL_LIMIT).await?)?;
        let next = answer.text()?;
        let mut pairs = answer::array(answer.value()?)?.into_iter();
        while let (Some(name), Some(value)) = (pairs.next(), pairs.next()) {
            each(answer::text(name)?, value)?;
        }
        Ok((next != START).then_some(next))
    }

    /// Reads deliveries; what went meanwhile, or can't be read, is left out.
    async fn see(&self, members: &[(DeliveryId, Option<u64>)]) -> Result<Vec<Seen>, Unavailable> {
        let mut deliveries = Vec::with_capacity(members.len());
        for slice in members.chunks(STEP) {
            let mut reads = redis::Pipeline::new();
            for (id, _) in slice {
                let read = reads.cmd("HMGET").arg(self.keys().message(&id.message)).arg("m");
                seen::FIELDS.iter().for_each(|field| {
                    read.arg(format!("{field}{}", id.number));
                });
            }
            let answers = self.connections().pipeline(Purpose::Admin, &reads, CALL_LIMIT).await?;
            for ((id, due), answer) in slice.iter().zip(answers) {
                deliveries.extend(see_one(id, *due, answer)?);
            }
        }
        Ok(deliveries)
    }
}

fn see_one(id: &DeliveryId, due: Option<u64>, answer: Value) -> Result<Option<Seen>, Unavailable> {
    let values =
        answer::array(answer)?.into_iter().map(answer::optional_bytes).collect::<Result<Vec<_>, _>>()?;
    let Some((Some(message), fields)) = values.split_first() else { return Ok(None) };
    let Ok(message) = codec::decode::<Message>("message", message) else { return Ok(None) };
    let take = |name: &str| {
        let at = seen::FIELDS.iter().position(|field| *field == name)?;
        fields.get(at).cloned().flatten()
    };
    let Ok(mut seen) = seen::read(id.clone(), Arc::new(message), take) else { return Ok(None) };
    if let (Place::Waiting { due: shown }, Some(due)) = (&mut seen.place, due) {
        *shown = Due::from_unix_millis(due);
    }
    Ok(Some(seen))
}

fn push(
    members: &mut Vec<(DeliveryId, Option<u64>)>,
    name: &str,
    due: Option<u64>,
) -> Result<(), Unavailable> {
    members.push((answer::parsed(name)?, due));
    Ok(())
}

/// The lanes that a person means who names one: all of a destination, if no flow is named.
fn names_of(lane: &Lane) -> Vec<String> {
    if lane.flow.is_some() {
        vec![lane.to_string()]
    } else {
        lane.lanes().map(|lane| lane.to_string()).collect()
    }
}

fn is_of(lane: &Lane, wanted: &Lane) -> bool {
    if wanted.flow.is_some() { lane == wanted } else { lane.has_destination_of(wanted) }
}

/// Whether a lane of the index may have what is looked for.
fn may_hold(filter: &Filter, index: &str, name: &str) -> bool {
    if index != "depth" {
        return true;
    }
    let Ok(lane) = name.parse::<Lane>() else { return false };
    filter.domain.as_ref().is_none_or(|domain| lane.domain == *domain)
        && filter.route.as_ref().is_none_or(|route| lane.route == *route)
}

impl Filter {
    fn takes(&self, seen: &Seen) -> bool {
        let lane = &seen.delivery.lane;
        let sender = seen.delivery.message.sender.mailbox();
        self.lane.as_ref().is_none_or(|wanted| is_of(lane, wanted))
            && (!self.held_only || matches!(seen.place, Place::Held { .. }))
            && self.sender.as_ref().is_none_or(|wanted| sender == Some(wanted))
            && self
                .sender_domain
                .as_ref()
                .is_none_or(|wanted| sender.is_some_and(|sender| sender.domain() == wanted))
            && self.domain.as_ref().is_none_or(|wanted| *wanted == lane.domain)
            && self.route.as_ref().is_none_or(|wanted| *wanted == lane.route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_prints_as_it_is_read() {
        let lane = "Bulk/far.example/default".parse().expect("a lane");
        let cursor = Cursor::start(&Filter { lane: Some(lane), ..Filter::default() });
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("zz".parse::<Cursor>(), Err(InvalidCursor));
        assert_eq!("00".parse::<Cursor>(), Err(InvalidCursor));
    }
}

//! Looking at the queue: lists, one message, the longest lanes, what happened.
//! **Owns:** reads that change nothing. **Never:** a scan of the keyspace (I7): walks go over the queue's own indexes, page by page.

pub mod event;
mod lanes;
mod list;
mod seen;

use std::{collections::HashMap, sync::Arc};

use postrider_mail::{Class, Due, Mailbox, Outcome, QueueId};
use redis::Value;

use crate::{
    answer::{self, Fields},
    connection::{CALL_LIMIT, Purpose},
    error::Unavailable,
    incarnation::Incarnation,
    lane::{Lane, RouteName},
    limit::Limiter,
    partition::Partition,
    record::{Delivery, DeliveryId, Message, codec},
};

pub use list::{Cursor, InvalidCursor};

/// Where a delivery is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In its lane.
    Waiting {
        /// When it is tried.
        due: Due,
    },
    /// On hold.
    Held {
        /// Why.
        reason: Box<str>,
    },
    /// An incarnation tries it.
    Claimed {
        /// Which.
        holder: Incarnation,
    },
}

/// A delivery as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The delivery.
    pub delivery: Delivery,
    /// Where it is.
    pub place: Place,
    /// What a person wants of it once its attempt ends.
    pub wish: Option<Box<str>>,
}

/// A message as people see it.
#[derive(Debug, Clone)]
pub struct SeenMessage {
    /// Its name.
    pub id: QueueId,
    /// What its deliveries share.
    pub message: std::sync::Arc<Message>,
    /// The deliveries that haven't ended.
    pub deliveries: Vec<Seen>,
}

/// Which deliveries to list. Empty: all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// In this lane; without a flow, in any of its destination.
    pub lane: Option<Lane>,
    /// On hold only.
    pub held_only: bool,
    /// From this sender.
    pub sender: Option<Mailbox>,
    /// From any sender of this domain.
    pub sender_domain: Option<postrider_mail::Domain>,
    /// To this domain.
    pub domain: Option<postrider_mail::Domain>,
    /// By this route.
    pub route: Option<RouteName>,
}

/// A page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Deliveries; a page may have none and still not be the last.
    pub deliveries: Vec<Seen>,
    /// Where the list goes on, if it does.
    pub next: Option<Cursor>,
}

/// A destination as people see it: all its lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneView {
    /// Which; without a flow.
    pub lane: Lane,
    /// Deliveries that wait for it.
    pub waiting: u64,
    /// When its first one is due.
    pub first_due: Option<Due>,
    /// Until when it isn't tried, if so.
    pub suspended: Option<Suspension>,
}

/// Until when a lane isn't tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspension {
    /// Nobody answered there: until then.
    Until(Due),
    /// A limit lets it wait: until then. Where that is past, it is tried, a few at a time.
    Limited {
        /// Until when.
        until: Due,
        /// Which limit.
        limiter: Limiter,
    },
    /// A person wants it so: until a person lifts it.
    ByHand,
}

/// One settled attempt, from the partition's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, by the store's clock.
    pub at: Due,
    /// Which delivery.
    pub delivery: DeliveryId,
    /// What each recipient got.
    pub outcomes: Vec<Outcome>,
    /// What else happened: `Defer`, `Hold`, `Split`, `Deleted`, `Discarded`, `ClaimLost`.
    pub rest: Box<str>,
}

impl Partition {
    /// One message, if it is in the queue.
    ///
    /// # Errors
    /// If the store gave no answer, or its record can't be read.
    pub async fn inspect(&self, id: &QueueId) -> Result<Option<SeenMessage>, Unavailable> {
        let command = redis::cmd("HGETALL").arg(self.keys().message(id)).to_owned();
        let answer = answer::array(self.connections().command(Purpose::Admin, &command, CALL_LIMIT).await?)?;
        let mut fields = HashMap::new();
        let mut values = answer.into_iter();
        while let (Some(name), Some(value)) = (values.next(), values.next()) {
            fields.insert(answer::text(name)?, answer::bytes(value)?);
        }
        if fields.is_empty() {
            return Ok(None);
        }
        let numbers = fields.keys().filter_map(|name| name.strip_prefix('p')?.parse::<u32>().ok());
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        let message: Message =
            codec::decode("message", fields.get("m").map_or(&[], Vec::as_slice)).map_err(seen::unreadable)?;
        let message = Arc::new(message);
        let mut deliveries = Vec::new();
        for number in numbers {
            let delivery = DeliveryId { message: id.clone(), number };
            let take = |name: &str| fields.get(&format!("{name}{number}")).cloned();
            let mut seen = seen::read(delivery, Arc::clone(&message), take).map_err(seen::unreadable)?;
            self.add_due(&mut seen).await?;
            deliveries.push(seen);
        }
        Ok(Some(SeenMessage { id: id.clone(), message, deliveries }))
    }

    /// The oldest due of each class that has mail due, and the store's time. Looks at the lanes that were looked at longest ago.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn oldest_due(&self) -> Result<(Vec<(Class, Due)>, Due), Unavailable> {
        let now = self.store_time().await?;
        let mut oldest = Vec::new();
        for class in Class::ALL {
            let mut command = redis::cmd("ZRANGEBYSCORE");
            command.arg(self.keys().named(&format!("lanes:{class}"))).arg("-inf").arg(now.unix_millis());
            command.arg("LIMIT").arg(0).arg(OLDEST_LANES);
            let lanes =
                answer::array(self.connections().command(Purpose::Admin, &command, CALL_LIMIT).await?)?;
            if lanes.is_empty() {
                continue;
            }
            let mut heads = redis::Pipeline::new();
            for lane in lanes {
                let key = self.keys().named(&format!("lane:{}", answer::text(lane)?));
                heads.cmd("ZRANGE").arg(key).arg(0).arg(0).arg("WITHSCORES");
            }
            let heads = self.connections().pipeline(Purpose::Admin, &heads, CALL_LIMIT).await?;
            let mut dues = Vec::new();
            for head in heads {
                dues.extend(answer::array(head)?.into_iter().nth(1).map(answer::score).transpose()?);
            }
            let first = dues.into_iter().min().map(Due::from_unix_millis).filter(|due| *due <= now);
            oldest.extend(first.map(|due| (class, due)));
        }
        Ok((oldest, now))
    }

    /// What the history still knows of a message, the oldest first.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn trace(&self, id: &QueueId) -> Result<Vec<Event>, Unavailable> {
        let mut events = Vec::new();
        let mut until = "+".to_owned();
        loop {
            let mut command = redis::cmd("XREVRANGE");
            command.arg(self.keys().named("history")).arg(&until).arg("-").arg("COUNT").arg(TRACE_PAGE);
            let page =
                answer::array(self.connections().command(Purpose::Admin, &command, CALL_LIMIT).await?)?;
            let is_last = page.len() < TRACE_PAGE;
            for entry in page {
                until = seen::events_of(id, entry, &mut events)?;
            }
            if is_last {
                events.reverse();
                return Ok(events);
            }
            until.insert(0, '(');
        }
    }

    /// The store's time.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn store_time(&self) -> Result<Due, Unavailable> {
        let answer = self.connections().command(Purpose::Admin, &redis::cmd("TIME"), CALL_LIMIT).await?;
        let mut answer = Fields::of(answer)?;
        let (seconds, micros) = (answer.number()?, answer.number()?);
        Ok(Due::from_unix_millis(seconds * 1_000 + micros / 1_000))
    }

    async fn add_due(&self, seen: &mut Seen) -> Result<(), Unavailable> {
        if let Place::Waiting { due } = &mut seen.place {
            let mut command = redis::cmd("ZSCORE");
            command.arg(self.keys().lane(&seen.delivery.lane)).arg(seen.delivery.id.to_string());
            match self.connections().command(Purpose::Admin, &command, CALL_LIMIT).await? {
                Value::Nil => {}
                score => *due = Due::from_unix_millis(answer::score(score)?),
            }
        }
        Ok(())
    }
}

/// Lanes of a class whose first delivery is looked at for the oldest due.
const OLDEST_LANES: u32 = 16;
/// Entries of the history read in one round trip.
const TRACE_PAGE: usize = 512;

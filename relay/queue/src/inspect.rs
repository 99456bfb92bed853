//! Looking at the queue: lists, one message, the longest lanes, what happened.
//! **Owns:** reads that change nothing. **Never:** a scan of the keyspace (I7): walks go over the queue's own indexes, page by page.

use postrider_mail::{Class, Due, Mailbox, Outcome, QueueId};

use crate::{
    error::Unavailable,
    incarnation::Incarnation,
    lane::{Lane, RouteName},
    partition::Partition,
    record::{Delivery, DeliveryId, Message},
};

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
    /// In this lane.
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

/// Where a walk goes on. Opaque, printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found a cursor that no list has given; start again without one")]
pub struct InvalidCursor;

/// A page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Deliveries; a page may have none and still not be the last.
    pub deliveries: Vec<Seen>,
    /// Where the list goes on, if it does.
    pub next: Option<Cursor>,
}

/// A lane as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneView {
    /// Which.
    pub lane: Lane,
    /// Deliveries that wait in it.
    pub waiting: u64,
    /// When its first one is due.
    pub first_due: Option<Due>,
    /// Until when it isn't tried, if so.
    pub suspended_until: Option<Due>,
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
    /// A page of the queue's deliveries, in no order. Deliveries that neither come nor go during the walk are listed once at
    /// least.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn list(&self, filter: &Filter, cursor: Option<Cursor>) -> Result<Page, Unavailable> {
        let _ = (filter, cursor);
        panic!("being written")
    }

    /// One message, if it is in the queue.
    ///
    /// # Errors
    /// If the store gave no answer, or its record can't be read.
    pub async fn inspect(&self, id: &QueueId) -> Result<Option<SeenMessage>, Unavailable> {
        let _ = id;
        panic!("being written")
    }

    /// The longest lanes.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn top_lanes(&self, count: u32) -> Result<Vec<LaneView>, Unavailable> {
        let _ = count;
        panic!("being written")
    }

    /// The oldest due of each class that has mail due, and the store's time.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn oldest_due(&self) -> Result<(Vec<(Class, Due)>, Due), Unavailable> {
        panic!("being written")
    }

    /// What the history still knows of a message, the oldest first.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn trace(&self, id: &QueueId) -> Result<Vec<Event>, Unavailable> {
        let _ = id;
        panic!("being written")
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Cursor {
    type Err = InvalidCursor;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > 64 * 1024 { Err(InvalidCursor) } else { Ok(Self(text.to_owned())) }
    }
}

//! From a complete message to the queue: the fields on top, the deliveries, the receipt.
//!
//! What is small is delivered from memory by this relay, if it has room; else, the message waits in its lanes.
//! **Owns:** when a message enters the queue, and what with. **Never:** speaks SMTP, decides a route, makes a receipt.
//! Invariant: I1, the [`Receipt`] that [`Intake::take`] hands on is the queue's.

pub mod draft;
pub mod fates;
pub mod scan;
pub mod spool;
pub mod trace;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use postrider_mail::{Due, Envelope, PartitionName, QueueId, TlsRequirement};
use postrider_queue::{
    Body, Claimed, EnqueueError, Enqueued, Fault, Lane, NewDelivery, NewMessage, Partition, Receipt,
    Received, Start, StoredBody,
    shards::{NoPartition, Shards},
};

use self::{
    draft::{Draft, Drafted},
    fates::{Fate, First, Group},
    scan::Scan,
    spool::{Content, Finished, Origin, Prefix, Spool},
};
use crate::{
    admission::budget::{BodyBudget, Share},
    dispatch::{Dispatcher, Slot},
    failpoint::{self, Step},
    metrics::Metrics,
};

/// How long the queue may take for a clear answer. A client waits 10 min for its 250 (RFC 5321 4.5.3.2.6), but few do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes messages in.
#[derive(Clone)]
pub struct Intake {
    shards: Shards,
    dispatcher: Dispatcher,
    budget: BodyBudget,
    metrics: Metrics,
}

/// Why a message isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Memory, here or in the queue, is used up.
    NoRoom,
    /// The queue gives no answer, or not the one that a 250 needs.
    Unavailable,
    /// It arrived so slowly that the queue forgot its beginning.
    TooSlow,
    /// It has been through too many servers.
    Loop,
    /// Its header is too long.
    HeaderTooLong,
    /// Its header has a NUL.
    NulInHeader,
    /// Its From is of a domain that is signed for, and that its listener doesn't take as sender.
    Author,
}

/// A message that is complete.
#[derive(Debug)]
pub struct Incoming {
    /// Who gets it.
    pub envelope: Envelope,
    /// What happens to each of its recipients, in their order.
    pub fates: Vec<Fate>,
    /// Its content.
    pub spool: Spool,
}

impl Intake {
    /// An intake into these shards.
    pub fn new(shards: Shards, dispatcher: Dispatcher, budget: BodyBudget, metrics: Metrics) -> Self {
        Self { shards, dispatcher, budget, metrics }
    }

    /// Whether a message of about this size would be taken now.
    ///
    /// # Errors
    /// It wouldn't.
    pub fn has_room(&self, bytes: u64) -> Result<(), Refusal> {
        if !self.budget.has(bytes.min(spool::SMALL_BYTES as u64)) {
            return Err(Refusal::NoRoom);
        }
        self.partition().map(drop)
    }

    /// Where the content of a message is collected.
    pub fn spool(&self, origin: Origin, draft: Draft) -> Spool {
        Spool::new(origin, draft, self.budget.share())
    }

    /// Adds to the content of a message.
    ///
    /// # Errors
    /// It can't be taken.
    pub async fn push(&self, spool: &mut Spool, chunk: Bytes) -> Result<(), Refusal> {
        spool.push(chunk, || self.partition()).await
    }

    /// Takes a message in: returns when the queue has it on disk.
    ///
    /// # Errors
    /// It isn't in the queue, and won't be.
    pub async fn take(&self, message: Incoming) -> Result<Receipt, Refusal> {
        let Incoming { mut envelope, fates, spool } = message;
        let Finished { origin, scan, began, draft, content } = spool.finish();
        // RFC 8689 4: the envelope's word goes before the header's.
        if envelope.tls == TlsRequirement::Unsaid && scan.lifts_tls() {
            envelope.tls = TlsRequirement::Lifted;
        }
        let drafted = draft.finish()?;
        let entry = Entry { envelope, groups: fates::gather(fates), origin, scan, began, drafted };
        let started = std::time::Instant::now();
        let taken = match content {
            Content::Memory { pieces, share } => self.take_small(&entry, pieces, share).await,
            Content::Streamed { partition, id, writer, prefix, share } => {
                let size = prefix.text.len() as u64 + entry.scan.bytes;
                let ready = Ready {
                    partition: &partition,
                    stored: writer.finish(),
                    size,
                    prefix: &prefix,
                    again: None,
                };
                let entered = self.enqueue(&entry, ready).await;
                drop(share);
                entered.map_err(|why| given_up(&why, &id))
            }
        };
        self.metrics.enqueue_duration.observe(started.elapsed().as_secs_f64());
        taken
    }

    /// A message in memory goes to another partition when one has certainly not taken it.
    async fn take_small(
        &self,
        entry: &Entry,
        mut pieces: Vec<Bytes>,
        share: Share,
    ) -> Result<Receipt, Refusal> {
        let mut partition = self.partition()?;
        let mut not: Vec<PartitionName> = Vec::new();
        if let Some(first) = pieces.first_mut() {
            *first = Bytes::from_owner(Held { piece: std::mem::take(first), _share: share });
        }
        loop {
            let id = partition.new_id();
            let prefix = entry.origin.prefix(&id, &entry.scan, entry.began);
            let body =
                Body::from_chunks([prefix.text.clone()].into_iter().chain(pieces.iter().cloned()).collect());
            let (stored, size) = (partition.ready_body(&id, &body), body.len());
            let ready = Ready { partition: &partition, stored, size, prefix: &prefix, again: Some(body) };
            let why = match self.enqueue(entry, ready).await {
                Ok(receipt) => return Ok(receipt),
                Err(why) => why,
            };
            not.push(partition.name().clone());
            match self.shards.choose_other(&not) {
                Ok(other) if why.is_certain() && why.fault() == Fault::Store => partition = other,
                Ok(_) | Err(_) => return Err(given_up(&why, &id)),
            }
        }
    }

    async fn enqueue(&self, entry: &Entry, ready: Ready<'_>) -> Result<Receipt, EnqueueError> {
        let dkim = entry.drafted.sign(&ready.prefix.text, entry.at().unix_millis() / 1_000).await;
        let signing = dkim.as_str();
        let (deliveries, slots) = self.plan(entry);
        let is_waiting = deliveries.iter().any(|delivery| delivery.start == Start::After(Duration::ZERO));
        let message = NewMessage {
            envelope: entry.envelope.clone(),
            received: entry.received(ready.size, ready.prefix),
            dkim,
            body: ready.stored,
            deliveries,
        };
        failpoint::passed(Step::Taken);
        let Enqueued { receipt, claimed } = ready.partition.enqueue(message, PATIENCE).await?;
        failpoint::passed(Step::Enqueued);
        self.metrics.dkim_messages.with_label_values(&[signing]).inc();
        self.start(slots, claimed, ready.again.as_ref());
        if is_waiting {
            self.dispatcher.wake(ready.partition.name());
        }
        Ok(receipt)
    }

    /// Deliveries, and slots for those that this relay has room to try at once.
    fn plan(&self, entry: &Entry) -> (Vec<NewDelivery>, Vec<(Lane, Slot)>) {
        // Bodies of attempts that hang must not keep new mail out: from half the budget on, mail waits in the queue.
        let may_start = !self.budget.is_tight();
        let mut slots = Vec::new();
        let mut plan = |group: &Group| {
            let (lane, first) = (&group.plan.lane, &group.plan.first);
            let may_start = may_start && *first == First::Now;
            let start = match may_start.then(|| self.dispatcher.reserve(lane)).flatten() {
                Some(slot) => {
                    slots.push((lane.clone(), slot));
                    Start::Claimed
                }
                None => first.clone().start(),
            };
            group.clone().delivery(start)
        };
        let deliveries = entry.groups.iter().map(&mut plan).collect();
        (deliveries, slots)
    }

    /// Hands what was claimed to the dispatcher. A slot whose delivery wasn't claimed (its lane is suspended) goes back.
    fn start(&self, mut slots: Vec<(Lane, Slot)>, claimed: Vec<Claimed>, body: Option<&Body>) {
        for claimed in claimed {
            match slots.iter().position(|(lane, _)| *lane == claimed.delivery.lane) {
                Some(at) => self.dispatcher.start(slots.swap_remove(at).1, claimed, body.cloned()),
                None => {
                    // The minute's comparison of claims with attempts gives it back.
                    tracing::error!(delivery_id = %claimed.delivery.id, "a delivery was claimed that no slot was reserved for; report this as a bug");
                }
            }
        }
    }

    fn partition(&self) -> Result<Partition, Refusal> {
        self.shards.choose().map_err(|why| match why {
            NoPartition::Full => Refusal::NoRoom,
            NoPartition::Unusable => Refusal::Unavailable,
        })
    }
}

/// A message that is ready for one partition.
struct Ready<'a> {
    partition: &'a Partition,
    stored: StoredBody,
    size: u64,
    prefix: &'a Prefix,
    /// The body once more, for an attempt from memory.
    again: Option<Body>,
}

/// What one message's enqueues, if it takes several, have in common.
struct Entry {
    envelope: Envelope,
    groups: Vec<Group>,
    origin: Origin,
    scan: Scan,
    began: SystemTime,
    drafted: Drafted,
}

impl Entry {
    /// When it began.
    fn at(&self) -> Due {
        let at = self.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Due::from_unix_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
    }

    fn received(&self, size: u64, prefix: &Prefix) -> Received {
        Received {
            listener: (&*self.origin.listener).into(),
            client: self.origin.client,
            helo: self.origin.client_name.clone(),
            user: self.origin.user.clone(),
            tls: self.origin.protocol.is_tls,
            at: self.at(),
            size,
            has_8bit_body: self.scan.body_is_8bit,
            has_8bit_header: self.scan.header_is_8bit || prefix.is_8bit,
        }
    }
}

/// A message's first piece, with the whole message's part of the budget: both go when the last attempt lets go of them.
struct Held {
    piece: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

/// No partition is left that could take the message.
fn given_up(why: &EnqueueError, id: &QueueId) -> Refusal {
    match why {
        EnqueueError::Full => Refusal::NoRoom,
        EnqueueError::BodyGone => Refusal::TooSlow,
        EnqueueError::NotOpen { .. } | EnqueueError::Aborted | EnqueueError::Unavailable(_) => {
            tracing::warn!(queue_id = %id, reason = %why, "a message was not taken into the queue; its client was told to try later");
            Refusal::Unavailable
        }
        EnqueueError::Recipient(_) => {
            tracing::error!(queue_id = %id, reason = %why, "a message was refused by the queue; report this as a bug");
            Refusal::Unavailable
        }
    }
}

//! Takes a message in: the one act that a 250 stands for.
//! **Owns:** [`Receipt`], enqueue.lua, abort.lua. **Never:** a receipt without the store's answer.
//! Invariant: I1. Idempotent by queue ID: a lost reply is asked again on a new connection; when no clear answer comes, the message
//! is aborted in the background until that is confirmed, with a tombstone, so that a late enqueue can't come in behind it.

mod call;

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use postrider_mail::{Envelope, QueueId};
use tokio::{sync::Notify, time::Instant};

use self::call::Call;
use crate::{
    body::StoredBody,
    claim::Claimed,
    connection::{CALL_LIMIT, Purpose, millis},
    error::{Fault, Unavailable},
    lane::Lane,
    partition::Partition,
    record::{Dkim, Received},
    script,
};

/// Proof that a message is durable. Only the store's answer makes one; there is no other way to a 250.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Receipt {
    id: QueueId,
}

/// A message to take in.
#[derive(Debug)]
pub struct NewMessage {
    /// Its envelope. Recipients that no delivery names are discarded (a rule said so).
    pub envelope: Envelope,
    /// How it came in.
    pub received: Received,
    /// Its signature.
    pub dkim: Dkim,
    /// Header and body, written under the message's ID.
    pub body: StoredBody,
    /// Its deliveries; each recipient in one at most. None at all: everything is discarded, and nothing is kept.
    pub deliveries: Vec<NewDelivery>,
}

/// A delivery of a message to take in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Where it waits, or would.
    pub lane: Lane,
    /// Which recipients, by their place in the envelope.
    pub recipients: Vec<u32>,
    /// How long from now it is tried.
    pub expires_in: Duration,
    /// How it starts.
    pub start: Start,
}

/// How a delivery starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Claimed at once by this process, which has room for it: the fast path. If the lane is suspended or this process isn't
    /// registered, it waits in its lane instead.
    Claimed,
    /// In its lane, to be tried after this wait (none: now).
    After(Duration),
    /// On hold, for a person.
    Held(Box<str>),
}

/// What became of an enqueue.
#[derive(Debug)]
pub struct Enqueued {
    /// The proof.
    pub receipt: Receipt,
    /// The deliveries that are this process's to try now, in the order given.
    pub claimed: Vec<Claimed>,
}

/// Why a message was not taken in. It is not in the queue then, or will not stay: an abort is under way.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// The store has no room: `452 4.3.1`.
    #[error("the queue's store is full")]
    Full,
    /// The partition takes no new mail: it is draining or closed, or not (yet) a queue.
    #[error("partition {partition} takes no new mail: found state {state:?}; expected \"Open\"")]
    NotOpen {
        /// Which.
        partition: Box<str>,
        /// What `meta` says.
        state: Box<str>,
    },
    /// Chunks of its body are gone: DATA took longer than they live.
    #[error("the body's chunks are gone; DATA took too long")]
    BodyGone,
    /// It had been aborted before.
    #[error("the message was aborted")]
    Aborted,
    /// A delivery names a recipient that isn't in the envelope, or that another delivery has.
    #[error("recipient {0} is in no envelope, or in two deliveries")]
    Recipient(u32),
    /// No clear answer in time.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl EnqueueError {
    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Full | Self::NotOpen { .. } | Self::Aborted => Fault::Store,
            Self::BodyGone => Fault::Client,
            Self::Recipient(_) => Fault::Bug,
            Self::Unavailable(why) => why.fault(),
        }
    }

    /// Whether the message certainly isn't in this partition, so that it may go to another one at once. All tries count: one without
    /// a clear answer is enough for no.
    pub const fn is_certain(&self) -> bool {
        match self {
            Self::Full | Self::NotOpen { .. } | Self::BodyGone | Self::Aborted | Self::Recipient(_) => true,
            Self::Unavailable(why) => !why.may_have_run(),
        }
    }
}

impl Receipt {
    /// The message's name.
    pub fn id(&self) -> &QueueId {
        &self.id
    }
}

impl std::fmt::Display for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.id.fmt(f)
    }
}

impl Partition {
    /// A name for a new message in this partition.
    pub fn new_id(&self) -> QueueId {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        QueueId::new(self.name().clone(), millis(since), rand::random())
    }

    /// Takes a message in. Returns once the store has it on disk, at the latest after `patience` (60 s at most).
    ///
    /// Dropping the future after it was polled aborts the message in the background, as an unclear answer does.
    ///
    /// # Errors
    /// If it isn't in the queue, or nobody can tell.
    pub async fn enqueue(&self, message: NewMessage, patience: Duration) -> Result<Enqueued, EnqueueError> {
        let id = message.body.id().clone();
        let call = Call::new(self, &id, &message)?;
        let mut unclear = Unclear { partition: self, id: &id, is_unclear: false };
        let until = Instant::now() + patience.min(PATIENCE_MAX);
        let mut pause = RETRY_FIRST;
        let answer = loop {
            let left = until.saturating_duration_since(Instant::now());
            let was_unclear = unclear.is_unclear;
            // Until there is an answer nobody knows, also if this future is dropped.
            unclear.is_unclear = true;
            let why = match call.send(&message, left.min(ANSWER_LIMIT)).await {
                Ok(answer) => break answer,
                Err(why) => why,
            };
            if !was_unclear && !why.may_have_run() {
                unclear.is_unclear = false;
                return Err(if why.is_full() { EnqueueError::Full } else { why.into() });
            }
            if Instant::now() + pause >= until {
                // Whatever the last try says: one that was unclear may have run.
                return Err(why.after_unclear().into());
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(RETRY_MAX);
        };
        let enqueued = call.read(answer, message);
        // An answer that can't be read is none.
        unclear.is_unclear = matches!(enqueued, Err(EnqueueError::Unavailable(_)));
        enqueued
    }

    /// Confirms pending aborts and removes bodies that came to nothing, for as long as the process lives. The shell's app.rs
    /// runs it.
    pub async fn run_aborts(&self) {
        tokio::join!(self.confirm_aborts(), self.remove_leftovers());
    }

    async fn confirm_aborts(&self) {
        let mut pause = RETRY_FIRST;
        loop {
            let Some(id) = self.aborts().first() else {
                self.aborts().pending.notified().await;
                continue;
            };
            match self.abort(&id).await {
                Ok(()) => {
                    self.aborts().confirmed(&id);
                    pause = RETRY_FIRST;
                }
                Err(_) => {
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// How many aborts are not confirmed yet.
    pub fn aborts_pending(&self) -> usize {
        self.aborts().lock().len()
    }

    async fn abort(&self, id: &QueueId) -> Result<(), Unavailable> {
        let (message, tombstone, text) = (self.keys().message(id), self.keys().tombstone(id), id.to_string());
        let args: [&[u8]; 2] = [self.keys().prefix().as_bytes(), text.as_bytes()];
        let answer = self
            .connections()
            .run(Purpose::Delivery, &script::ABORT, &[&message, &tombstone], &args, CALL_LIMIT)
            .await;
        answer.map(|_| ())
    }
}

/// Messages whose enqueue has no clear answer, until their abort has one.
#[derive(Debug, Default)]
pub(crate) struct Aborts {
    ids: Mutex<VecDeque<QueueId>>,
    pending: Notify,
}

impl Aborts {
    fn lock(&self) -> MutexGuard<'_, VecDeque<QueueId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first(&self) -> Option<QueueId> {
        self.lock().front().cloned()
    }

    fn confirmed(&self, id: &QueueId) {
        self.lock().retain(|pending| pending != id);
    }

    /// As many as there are sessions at most: each waits for its own.
    fn add(&self, id: &QueueId) {
        self.lock().push_back(id.clone());
        self.pending.notify_one();
    }
}

/// Aborts the message unless its enqueue got a clear answer.
struct Unclear<'a> {
    partition: &'a Partition,
    id: &'a QueueId,
    is_unclear: bool,
}

impl Drop for Unclear<'_> {
    fn drop(&mut self) {
        if self.is_unclear {
            self.partition.aborts().add(self.id);
        }
    }
}

/// How long an enqueue may be asked again.
pub const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// How long one asking may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

//! A message's content while it comes in: in memory while it is small, chunk by chunk to the queue when it isn't.
//! **Owns:** the switch between the two, the session's share of the budget, the fields put on top. **Never:** enqueues.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use bytes::Bytes;
use postrider_mail::{HostName, Mailbox, QueueId};
use postrider_queue::{BodyWriter, Partition, body::BodyError, body::CHUNK_BYTES};

use super::{
    Refusal,
    draft::Draft,
    scan::Scan,
    trace::{self, Hop, Protocol},
};
use crate::admission::budget::Share;

/// A message up to this size waits in memory as a whole. A header must fit into it.
pub const SMALL_BYTES: usize = CHUNK_BYTES;
/// More Received fields than this are a loop: RFC 5321 6.3 (Postfix has 50, too).
const MOST_HOPS: u32 = 50;
/// What a message that streams takes: a chunk that fills, and one on its way.
const STREAMING_BYTES: u64 = 2 * CHUNK_BYTES as u64;

/// Where a message comes from, as its Received field and its record tell it.
#[derive(Debug)]
pub struct Origin {
    /// The listener.
    pub listener: Arc<str>,
    /// The client's address.
    pub client: IpAddr,
    /// What it called itself.
    pub client_name: Box<str>,
    /// Who it authenticated as.
    pub user: Option<Box<str>>,
    /// How it spoke.
    pub protocol: Protocol,
    /// The TLS cipher suite.
    pub cipher: Option<&'static str>,
    /// The recipient, if there is but one.
    pub only_recipient: Option<Mailbox>,
    /// Who we are.
    pub host: HostName,
}

/// Content that comes in.
#[derive(Debug)]
pub struct Spool {
    /// Where it comes from.
    pub origin: Origin,
    /// What was seen of it.
    pub scan: Scan,
    /// When it began.
    pub began: SystemTime,
    /// What becomes of its signature.
    draft: Draft,
    share: Share,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Pieces as they came, uncopied, and their length.
    Memory(Vec<Bytes>, usize),
    Streaming {
        partition: Partition,
        id: QueueId,
        writer: BodyWriter,
        prefix: Prefix,
    },
}

/// The fields on top of a message.
#[derive(Debug, Clone)]
pub struct Prefix {
    /// Their text.
    pub text: Bytes,
    /// Whether it has bytes above 127.
    pub is_8bit: bool,
}

/// A message that is complete, with what is known of it.
#[derive(Debug)]
pub struct Finished {
    /// Where it comes from.
    pub origin: Origin,
    /// What was seen of it.
    pub scan: Scan,
    /// When it began.
    pub began: SystemTime,
    /// What becomes of its signature.
    pub draft: Draft,
    /// Its content.
    pub content: Content,
}

/// Content that is complete.
#[derive(Debug)]
pub enum Content {
    /// All of it, to be written wherever it goes.
    Memory {
        /// Its pieces.
        pieces: Vec<Bytes>,
        /// Their part of the budget.
        share: Share,
    },
    /// It is on its way into this partition.
    Streamed {
        /// Where it is.
        partition: Partition,
        /// Under which name.
        id: QueueId,
        /// Ends it.
        writer: BodyWriter,
        /// What was put on top.
        prefix: Prefix,
        /// What it still holds of the budget.
        share: Share,
    },
}

impl Spool {
    /// An empty one.
    pub fn new(origin: Origin, draft: Draft, share: Share) -> Self {
        let state = State::Memory(Vec::new(), 0);
        Self { origin, scan: Scan::default(), began: SystemTime::now(), draft, share, state }
    }

    /// Takes the next bytes. `partition` says where to a message that is no longer small goes.
    ///
    /// # Errors
    /// The message can't be taken; the rest of it is to be swallowed.
    pub async fn push(
        &mut self,
        chunk: Bytes,
        partition: impl FnOnce() -> Result<Partition, Refusal>,
    ) -> Result<(), Refusal> {
        self.scan.feed(&chunk);
        self.judge()?;
        if self.draft.is_copying() && !self.share.grow(chunk.len() as u64) {
            return Err(Refusal::NoRoom);
        }
        self.draft.feed(&chunk, &self.scan)?;
        match &mut self.state {
            State::Memory(held, len) if *len + chunk.len() <= SMALL_BYTES => {
                if !self.share.grow(chunk.len() as u64) {
                    return Err(Refusal::NoRoom);
                }
                *len += chunk.len();
                held.push(chunk);
                Ok(())
            }
            State::Memory(..) => {
                self.stream_to(partition()?).await?;
                self.write(&chunk).await
            }
            State::Streaming { .. } => self.write(&chunk).await,
        }
    }

    /// All has come.
    pub fn finish(self) -> Finished {
        let content = match self.state {
            State::Memory(pieces, _) => Content::Memory { pieces, share: self.share },
            State::Streaming { partition, id, writer, prefix } => {
                Content::Streamed { partition, id, writer, prefix, share: self.share }
            }
        };
        let Self { origin, scan, began, draft, .. } = self;
        Finished { origin, scan, began, draft, content }
    }

    fn judge(&self) -> Result<(), Refusal> {
        if self.scan.received > MOST_HOPS {
            Err(Refusal::Loop)
        } else if self.scan.header_has_nul {
            Err(Refusal::NulInHeader)
        } else if self.scan.header_bytes > SMALL_BYTES as u64 {
            Err(Refusal::HeaderTooLong)
        } else {
            Ok(())
        }
    }

    async fn stream_to(&mut self, partition: Partition) -> Result<(), Refusal> {
        let more = STREAMING_BYTES.saturating_sub(self.share.bytes());
        if !self.share.grow(more) {
            return Err(Refusal::NoRoom);
        }
        let id = partition.new_id();
        let prefix = self.origin.prefix(&id, &self.scan, self.began);
        let mut writer = partition.body_writer(&id);
        writer.write(&prefix.text).await.map_err(|why| refusal(&why))?;
        if let State::Memory(held, _) = &mut self.state {
            for piece in std::mem::take(held) {
                writer.write(&piece).await.map_err(|why| refusal(&why))?;
            }
        }
        self.state = State::Streaming { partition, id, writer, prefix };
        Ok(())
    }

    async fn write(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        match &mut self.state {
            State::Streaming { writer, .. } => writer.write(chunk).await.map_err(|why| refusal(&why)),
            State::Memory(..) => Ok(()),
        }
    }
}

impl Origin {
    /// What is put on top of a message of this name. Who submits for others may leave Date and Message-ID to us (RFC 6409 8);
    /// what comes from another server is passed on as it is.
    pub fn prefix(&self, id: &QueueId, scan: &Scan, at: SystemTime) -> Prefix {
        let hop = Hop {
            client_name: &self.client_name,
            client: self.client,
            protocol: self.protocol,
            cipher: self.cipher,
            host: &self.host,
            id,
            recipient: self.only_recipient.as_ref(),
            at,
        };
        let mut text = trace::received(&hop);
        if self.user.is_some() && !scan.has_date {
            text.push_str(&trace::date_field(at));
        }
        if self.user.is_some() && !scan.has_message_id {
            text.push_str(&trace::message_id_field(id, &self.host));
        }
        if scan.lacks_header() {
            // Else the first line of the body would be read as part of ours (RFC 5322 2.1).
            text.push_str("\r\n");
        }
        Prefix { is_8bit: !text.is_ascii(), text: text.into() }
    }
}

/// What a body that can't be stored means for its message.
pub(super) fn refusal(why: &BodyError) -> Refusal {
    match why {
        BodyError::Full => Refusal::NoRoom,
        BodyError::Unavailable(_) | BodyError::Missing { .. } | BodyError::Unreadable { .. } => {
            Refusal::Unavailable
        }
    }
}

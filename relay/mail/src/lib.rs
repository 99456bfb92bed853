//! Mail's vocabulary: the words that SMTP, the decisions and the queue share, so that none of them needs the others.
//!
//! **Owns:** domains, host names, mailboxes, envelopes, replies, outcomes, queue IDs. **Never:** a codec, I/O, a clock.
//! Start at [`Envelope`] (who gets a message) and [`Outcome`] (what became of it).

pub mod class;
pub mod domain;
pub mod enhanced;
pub mod envelope;
pub mod mailbox;
pub mod outcome;
pub mod queue_id;
pub mod reply;
pub mod sensitive;
pub mod time;

pub use class::Class;
pub use domain::{Domain, HostName, InvalidDomain};
pub use enhanced::{EnhancedCode, InvalidEnhancedCode};
pub use envelope::{
    BodyEncoding, Envelope, Notify, OriginalRecipient, Recipient, ReturnContent, TlsRequirement,
};
pub use mailbox::{InvalidMailbox, Mailbox, ReversePath};
pub use outcome::{Outcome, OutcomeKind, Stage};
pub use queue_id::{InvalidQueueId, PartitionName, QueueId};
pub use reply::{FarReply, FarText, InvalidReplyCode, Reply, ReplyCode, Severity};
pub use sensitive::Sensitive;
pub use time::{Due, Mono};

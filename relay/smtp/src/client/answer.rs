//! What became of recipients and connections, as facts.
//! **Owns:** the facts. **Never:** what they mean for the mail (core's outcome.rs).

use postrider_mail::{FarReply, Stage};

use crate::timer::Wait;

/// What became of one recipient, for core to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// How far it had come.
    pub stage: Stage,
    /// What the far side said, or what went wrong.
    pub answer: Answer,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The final dot got a 2yz: the far side has it.
    Accepted(FarReply),
    /// A 4yz or 5yz at this stage.
    Refused(FarReply),
    /// The far side takes no more recipients in one transaction: try again at once, no attempt was made.
    NotTried,
    /// No reply decided it, and the final dot wasn't sent.
    Failed(Failure),
    /// The final dot was sent and no clear reply came: the far side may have the message (RFC 1047).
    Unknown(Failure),
}

/// What went wrong without a reply that decides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The far side closed the connection.
    #[error("the far side closed the connection")]
    Closed,
    /// The connection broke; the shell's words.
    #[error("the connection broke: {0}")]
    Lost(Box<str>),
    /// No reply in time.
    #[error("no reply in time ({0:?})")]
    TimedOut(Wait),
    /// A reply that can't stand here.
    #[error("a reply that can't stand here: {0}")]
    OutOfStep(FarReply),
    /// Bytes that are no reply.
    #[error("bytes that are no SMTP reply")]
    Garbage,
    /// TLS is demanded, STARTTLS not offered.
    #[error("the far side offers no STARTTLS")]
    TlsNotOffered,
    /// Clear text stood behind the 220 to STARTTLS.
    #[error("the far side sent clear text behind its 220 to STARTTLS")]
    TlsInjection,
    /// There are credentials, and no AUTH mechanism that both know.
    #[error("the far side offers neither AUTH PLAIN nor LOGIN")]
    AuthNotOffered,
    /// There are credentials, and no TLS.
    #[error("a password isn't sent over clear text")]
    AuthInClear,
    /// It is larger than the far side's SIZE.
    #[error("the far side takes messages of at most {0} bytes")]
    TooLarge(u64),
    /// It has 8-bit content.
    #[error("the far side offers no 8BITMIME")]
    EightBitNotOffered,
    /// It needs SMTPUTF8.
    #[error("the far side offers no SMTPUTF8")]
    Utf8NotOffered,
    /// It requires TLS of whoever gets it.
    #[error("the far side offers no REQUIRETLS")]
    RequireTlsNotOffered,
    /// The shell gave up before the dot.
    #[error("given up before the end of the message was sent")]
    Abandoned,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How far it had come.
    pub stage: Stage,
    /// Why.
    pub cause: EndCause,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndCause {
    /// We said QUIT.
    Quit,
    /// The far side refused to go on: a banner, EHLO, STARTTLS or AUTH refused, or a 421 anywhere.
    Refused(FarReply),
    /// Something went wrong.
    Failed(Failure),
}

//! Where a session stands, and how an answer of the shell's moves it.
//! **Owns:** the states and effects. **Never:** which follows which (the states' files).

use postrider_mail::{Envelope, Reply};

use super::{End, Hello, expect_data::Body, expect_receipt::Safe};
use crate::{bdat::Chunk, sasl::Exchange};

/// What a session waits for.
#[derive(Debug)]
pub(super) enum State {
    /// To be polled for the first time.
    New,
    /// EHLO or HELO.
    ExpectGreeting,
    /// The handshake.
    ExpectTls,
    /// A line of AUTH's.
    ExpectAuth(Exchange),
    /// MAIL.
    ExpectMail,
    /// RCPT, DATA or BDAT.
    ExpectRcpt(Box<Transaction>),
    /// Content, or between two BDATs the next.
    ExpectData(Box<Transaction>, Box<Body>),
    /// Octets that go nowhere; then what is done and where it goes on.
    Swallow(Chunk, Box<Effect>, Box<State>),
    /// Nothing: the message is about to be handed on.
    Complete(Box<Transaction>, Box<Body>),
    /// The shell's answer.
    Asked,
    /// Nothing more.
    Ending(End),
}

/// MAIL and what followed it.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    pub(super) has_refused_recipients: bool,
}

/// What is said and counted.
#[derive(Debug)]
pub(super) enum Effect {
    Nothing,
    /// 220.
    Greet,
    /// The answer to EHLO or HELO.
    Welcome(Hello),
    /// Lines of ours.
    Say(&'static str),
    /// A reply that counts as nothing.
    Tell(Reply),
    /// A reply that counts as a refusal.
    Refuse(Reply),
    /// The same, and what was pipelined behind it is out of order through no fault of the client's.
    RefuseMail(Reply),
    /// A command out of order.
    OutOfOrder(&'static str),
    /// 235.
    Authenticate(Box<str>),
    /// 535.
    FailAuth,
    /// 250 to a message.
    Safe(Safe),
}

/// An answer to a question: give it to [`Server::resume`](super::Server::resume).
#[derive(Debug)]
#[must_use = "the session waits for it: give it to Server::resume"]
pub struct Next {
    pub(super) state: State,
    pub(super) effect: Effect,
}

impl Next {
    pub(super) fn new(state: State, effect: Effect) -> Self {
        Self { state, effect }
    }
}

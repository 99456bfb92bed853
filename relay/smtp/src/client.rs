//! The client's side: one connection to one far side, for one transaction or several.
//!
//! **Owns:** what is sent when, what each reply belongs to, all waits. **Never:** what a reply means for the mail (core's).
//! Invariant: self-fencing, only [`ExpectDot::send`] makes a final dot or a BDAT LAST.
//!
//! A shell runs it like this. While it writes much it should also read, as the far side may speak at any time:
//! ```ignore
//! let mut client = Client::<DotPermit>::new(settings, Channel::Clear, now());
//! loop {
//!     match client.poll(now()) {
//!         Event::Read => {
//!             socket.write_all_buf(client.output()).await?;      // or client.connection_lost(failure)
//!             tokio::select! {
//!                 read = socket.read_buf(client.input()) => if read? == 0 { client.end_of_input() },
//!                 () = sleep_until(client.deadline()) => {}      // poll sees that it is over
//!             }
//!         }
//!         Event::StartTls => match connect_tls(socket).await { Ok(tls) => { socket = tls; client.tls_established(now()) } Err(_) => break },
//!         Event::Ready => match next_transaction() { Some(transaction) => client.begin(transaction), None => client.quit() },
//!         Event::Body => { for chunk in body { client.body(chunk) /* write when output() is long */ } client.end_body() }
//!         Event::Dot(expect) => match permit().await { Ok(permit) => client.resume(expect.send(permit)), Err(_) => break /* closes, no dot */ },
//!         Event::Finished(answers) => settle(answers),           // one for each recipient, in order
//!         Event::Ended(ended) => break,                          // write the output if it is a QUIT, close
//!     }
//! }
//! ```
//! `Ready` comes once per transaction; while a shell keeps an idle connection it may poll and read on, and gets `Ended`
//! when the far side closes. Each transaction gets exactly one `Finished`, also when the connection breaks.
//! RFC 5321 4; RFC 2920 (pipelining), RFC 3030 (BDAT), RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 9422 (LIMITS).

use std::{marker::PhantomData, sync::Arc};

use bytes::{Bytes, BytesMut};
use postrider_mail::{Envelope, FarReply, HostName, Mono, Stage};

pub use crate::server::Channel;
use crate::{
    extension::Extensions,
    sasl::Credentials,
    timer::{Wait, Waits},
};

/// How to speak to a far side.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name in EHLO.
    pub hostname: HostName,
    /// Whether STARTTLS is used.
    pub tls: Tls,
    /// Who we are to it; refused over clear text unless `auth_in_clear`.
    pub auth: Option<Credentials>,
    /// Whether a password may go over clear text.
    pub auth_in_clear: bool,
    /// Whether PIPELINING is used where offered.
    pub pipelining: bool,
    /// Whether CHUNKING (BDAT) is used where offered.
    pub chunking: bool,
    /// What becomes of 8-bit content where 8BITMIME isn't offered.
    pub eight_bit: EightBit,
    /// How long waits are.
    pub waits: Waits,
}

impl Settings {
    /// The usual settings: STARTTLS and PIPELINING where offered, DATA, no AUTH.
    pub fn new(hostname: HostName) -> Self {
        Self {
            hostname,
            tls: Tls::IfOffered,
            auth: None,
            auth_in_clear: false,
            pipelining: true,
            chunking: false,
            eight_bit: EightBit::Refuse,
            waits: Waits::default(),
        }
    }
}

/// STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Never: clear text, or a connection that is TLS from its start.
    Never,
    /// Where it is offered. If the far side then refuses it, the session goes on in clear text.
    IfOffered,
    /// Without it the session ends.
    Required,
}

/// 8-bit content and a far side without 8BITMIME (RFC 6152 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EightBit {
    /// It fails here, with [`Failure::EightBitNotOffered`].
    Refuse,
    /// It is sent as it is.
    SendAnyway,
}

/// One message to some recipients.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Who, to whom; the recipients of this transaction only.
    pub envelope: Envelope,
    /// The size of the content.
    pub content_bytes: u64,
    /// Whether the content has bytes above 127.
    pub content_is_8bit: bool,
    /// Whether the header has bytes above 127: with a non-ASCII address the only reason to need SMTPUTF8.
    pub header_is_utf8: bool,
}

/// One connection. `P` is the right to send the dot.
#[derive(Debug)]
pub struct Client<P> {
    input: BytesMut,
    output: BytesMut,
    offers: Extensions,
    permit: PhantomData<fn(P)>,
}

/// What the shell has to do next.
#[derive(Debug)]
pub enum Event<P> {
    /// Write the output, then read into [`Client::input`] until [`Client::deadline`].
    Read,
    /// Do the handshake, then call [`Client::tls_established`].
    StartTls,
    /// [`Client::begin`] a transaction, or [`Client::quit`], or keep the connection.
    Ready,
    /// Send the content: [`Client::body`] as often as it takes, then [`Client::end_body`].
    Body,
    /// All is sent but the end.
    Dot(ExpectDot<P>),
    /// The transaction is over: an answer for each of its recipients, in their order.
    Finished(Vec<Answered>),
    /// The connection is of no more use. Write the output (a QUIT, perhaps) without waiting long, close.
    Ended(Ended),
}

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

/// All is sent but the end of the message.
#[derive(Debug)]
#[must_use = "without the dot the connection has to be closed"]
pub struct ExpectDot<P> {
    permit: PhantomData<fn(P)>,
}

/// What comes next: give it to [`Client::resume`].
#[derive(Debug)]
#[must_use = "the session waits for it: give it to Client::resume"]
pub struct Next(());

impl<P> Client<P> {
    /// A connection that has just been made, in clear text or (implicit) TLS.
    pub fn new(_settings: Arc<Settings>, _channel: Channel, _now: Mono) -> Self {
        unreachable!("to come")
    }
    /// What to do next. Takes time so that it sees when a wait is over.
    pub fn poll(&mut self, _now: Mono) -> Event<P> {
        unreachable!("to come")
    }
    /// Where to read into.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }
    /// What to write. The shell takes off what it has written.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }
    /// Until when [`Event::Read`] may wait: `None` while idle.
    pub fn deadline(&self) -> Option<Mono> {
        unreachable!("to come")
    }
    /// The far side has closed its side.
    pub fn end_of_input(&mut self) {
        unreachable!("to come")
    }
    /// Reading or writing failed, or the shell cuts the connection (an attempt's hard deadline, a lost lease).
    pub fn connection_lost(&mut self, _failure: Failure) {
        unreachable!("to come")
    }
    /// The handshake behind [`Event::StartTls`] has succeeded.
    pub fn tls_established(&mut self, _now: Mono) {
        unreachable!("to come")
    }
    /// Begins a transaction, behind [`Event::Ready`].
    pub fn begin(&mut self, _transaction: Transaction) {
        unreachable!("to come")
    }
    /// A piece of the content, in lines that end with CRLF; any split. Behind [`Event::Body`].
    pub fn body(&mut self, _chunk: &Bytes) {
        unreachable!("to come")
    }
    /// The content is complete; [`Event::Dot`] follows.
    pub fn end_body(&mut self) {
        unreachable!("to come")
    }
    /// Goes on behind [`Event::Dot`].
    pub fn resume(&mut self, _next: Next) {
        unreachable!("to come")
    }
    /// Says QUIT, behind [`Event::Ready`] or while idle. The next event is [`Event::Ended`]: the answer isn't waited for.
    pub fn quit(&mut self) {
        unreachable!("to come")
    }
    /// What the far side offers, as of its last answer to EHLO; empty after HELO.
    pub fn offers(&self) -> &Extensions {
        &self.offers
    }
    /// What the connection runs over.
    pub fn channel(&self) -> Channel {
        unreachable!("to come")
    }
    /// Transactions begun on this connection.
    pub fn transactions(&self) -> u32 {
        unreachable!("to come")
    }
    /// Whether one more transaction may be begun: the far side's LIMITS MAILMAX isn't reached.
    pub fn has_room(&self) -> bool {
        unreachable!("to come")
    }
}

impl<P> ExpectDot<P> {
    /// The only final dot, or BDAT LAST.
    #[allow(clippy::needless_pass_by_value, reason = "a permit is good for one dot")]
    pub fn send(self, _permit: P) -> Next {
        unreachable!("to come")
    }
    /// No dot: the connection ends, each recipient gets [`Failure::Abandoned`].
    pub fn abandon(self) -> Next {
        unreachable!("to come")
    }
}

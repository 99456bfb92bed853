//! The server's side: one client's connection, from its greeting to its end.
//!
//! **Owns:** what may come next, all hardening that is the protocol's, the replies. **Never:** whether mail is wanted: it
//! asks, and goes on with the answer. Invariant: I1, only [`ExpectReceipt::accept`] says 250 to a message.
//!
//! A shell runs it like this. Output has to be written before each read, and should be before a long decision:
//! ```ignore
//! let mut server = Server::<Receipt>::new(settings, Channel::Clear, now());
//! loop {
//!     match server.poll(now()) {
//!         Event::Connected(ask) => { /* bytes already there? read them into input(): an early talker */ server.resume(ask.welcome()) }
//!         Event::Read => {
//!             socket.write_all_buf(server.output()).await?;
//!             tokio::select! {
//!                 read = socket.read_buf(server.input()) => if read? == 0 { server.end_of_input() },
//!                 () = sleep_until(server.deadline()) => {} // poll sees that it is over
//!             }
//!         }
//!         Event::Hello(ask) => server.resume(ask.welcome()),
//!         Event::StartTls => { write output; socket = accept_tls(socket).await?; server.tls_established(now()) }
//!         Event::Auth(ask) => { let known = verify(ask.credentials()).await; server.resume(if known { ask.accept() } else { ask.refuse() }) }
//!         Event::Mail(ask) => server.resume(ask.accept()),                 // or ask.refuse(reply)
//!         Event::Recipient(ask) => server.resume(ask.accept()),            // or ask.refuse(reply)
//!         Event::Data(ask) => server.resume(ask.accept()),                 // or ask.refuse(reply): no room
//!         Event::Body(chunk) => spool.push(chunk),                         // Bytes; server.refuse_body(reply) swallows the rest
//!         Event::EndOfMessage { envelope, expect, .. } => match enqueue(envelope, spool).await {
//!             Ok(receipt) => server.resume(expect.accept(receipt)),
//!             Err(reply) => server.resume(expect.refuse(reply)),
//!         },
//!         Event::Aborted(_) => spool.clear(),
//!         Event::Close(end) => { write output; break }
//!     }
//! }
//! ```
//! RFC 5321 4; RFC 2920 (pipelining), RFC 3030 (BDAT), RFC 3207 (STARTTLS), RFC 4954 (AUTH).

use std::{fmt::Display, marker::PhantomData, sync::Arc};

use bytes::{Bytes, BytesMut};
use postrider_mail::{Envelope, HostName, Mono, Recipient, Reply, ReversePath};

use crate::{sasl::Credentials, timer::Waits};

/// What one listener's sessions have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who we are, in the greeting and the answer to EHLO.
    pub hostname: HostName,
    /// Whether STARTTLS is offered, or demanded before MAIL.
    pub tls: Tls,
    /// Whether AUTH is offered (under TLS only), or demanded before MAIL.
    pub auth: Auth,
    /// What becomes of a CR or LF that stands alone in a message.
    pub bare_newlines: BareNewlines,
    /// Whether DSN is offered.
    pub dsn: bool,
    /// All bounds.
    pub limits: Limits,
    /// How long waits are.
    pub waits: Waits,
}

impl Settings {
    /// The usual settings of a listener: no TLS, no AUTH.
    pub fn new(hostname: HostName) -> Self {
        Self {
            hostname,
            tls: Tls::Off,
            auth: Auth::Off,
            bare_newlines: BareNewlines::Refuse,
            dsn: true,
            limits: Limits::default(),
            waits: Waits::default(),
        }
    }
}

/// STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not offered.
    Off,
    /// Offered.
    Optional,
    /// Offered, and no MAIL without it. A session that began under TLS has it already.
    Required,
}

/// AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Not offered.
    Off,
    /// Offered under TLS.
    Optional,
    /// Offered under TLS, and no MAIL without it.
    Required,
}

/// A CR or LF that stands alone makes two servers see two different messages (CVE-2023-51764).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNewlines {
    /// The message is read to its real end, then refused with 550 5.5.2.
    Refuse,
    /// Each becomes CRLF; the message still ends at CRLF.CRLF only.
    Normalize,
}

/// Every bound of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes as received (dots unstuffed).
    pub message_bytes: u64,
    /// Recipients in a transaction; further ones get 452 4.5.3.
    pub recipients: u32,
    /// Messages in a session; then 421.
    pub messages: u32,
    /// The longest command line, its CRLF included.
    pub command_line_bytes: usize,
    /// Commands that bring no mail forward (NOOP, RSET, VRFY, HELP, EHLO again, …) since the last message; then 421.
    pub idle_commands: u32,
    /// Errors of syntax or order in a session; then 421.
    pub errors: u32,
    /// Refusals of MAIL, RCPT or a message since the last message taken; then 421.
    pub refusals: u32,
    /// Failed AUTHs in a session; then 421.
    pub auth_failures: u32,
    /// A message's slowest rate, in bytes a second, once a block's wait has passed.
    pub body_bytes_per_second_min: u32,
    /// The longest session in seconds.
    pub session_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 25 << 20,
            recipients: 1000,
            messages: 10_000,
            command_line_bytes: 2048,
            idle_commands: 100,
            errors: 20,
            refusals: 100,
            auth_failures: 3,
            body_bytes_per_second_min: 100,
            session_seconds: 86_400,
        }
    }
}

/// What a session runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Clear text.
    Clear,
    /// TLS, from the start or since STARTTLS.
    Tls,
}

/// One client's connection. `R` is the proof that a message is safe: its `Display` is shown in the 250.
#[derive(Debug)]
pub struct Server<R> {
    input: BytesMut,
    output: BytesMut,
    settings: Arc<Settings>,
    receipt: PhantomData<fn(R)>,
}

/// What the shell has to do next.
#[derive(Debug)]
pub enum Event<R> {
    /// Write the output, then read into [`Server::input`] until [`Server::deadline`].
    Read,
    /// The connection is new: greet or refuse it. Bytes that are in the input by then came too early.
    Connected(AskConnected),
    /// EHLO or HELO.
    Hello(AskHello),
    /// Write the output, do the handshake, then call [`Server::tls_established`].
    StartTls,
    /// AUTH gave a name and a password.
    Auth(AskAuth),
    /// MAIL.
    Mail(AskMail),
    /// RCPT.
    Recipient(AskRecipient),
    /// DATA, or the first BDAT: the body comes next.
    Data(AskData),
    /// More of the body: dots unstuffed, line ends CRLF.
    Body(Bytes),
    /// The body is complete, and ends with CRLF.
    EndOfMessage {
        /// Who gets it.
        envelope: Envelope,
        /// The sum of all [`Event::Body`] since [`Event::Data`].
        content_bytes: u64,
        /// Answers the client.
        expect: ExpectReceipt<R>,
    },
    /// The transaction that was open is over and brought no message. What was kept of it can go.
    Aborted(Abort),
    /// Write the output and close. There is no event after it.
    Close(End),
}

/// Why a transaction brought no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// RSET, EHLO or STARTTLS.
    Reset,
    /// The session ended.
    SessionEnded,
    /// The body was larger than allowed; 552 5.3.4 was said.
    TooLarge,
    /// The body had a bare CR or LF; 550 5.5.2 was said.
    BareNewline,
    /// A command within BDAT's sequence that can't stand there.
    BadSequence,
    /// [`Server::refuse_body`] was called.
    Refused,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// QUIT.
    Quit,
    /// The client closed the connection.
    ClosedByClient,
    /// The client closed the connection within a transaction.
    ClosedInTransaction,
    /// The client was silent, or slower than allowed.
    TimedOut,
    /// The session was longer than allowed.
    SessionTooLong,
    /// The shell refused to go on.
    Refused,
    /// The client spoke before it was greeted.
    EarlyTalker,
    /// The client sent more behind a command that has to be the last of its group (RFC 2920 3.1).
    UnauthorizedPipelining,
    /// Clear text stood behind STARTTLS.
    StartTlsInjection,
    /// The client speaks HTTP.
    Http,
    /// A line was longer than allowed.
    LineTooLong,
    /// Too many errors.
    TooManyErrors,
    /// Too many commands that bring no mail.
    TooManyCommands,
    /// Too many refusals.
    TooManyRefusals,
    /// Too many failed AUTHs.
    TooManyAuthFailures,
    /// As many messages as a session may have.
    TooManyMessages,
    /// A message went on far beyond its limit.
    EndlessMessage,
}

/// What a client called itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name or address literal as sent: printable ASCII, at most 255 bytes, unverified.
    pub name: Box<str>,
    /// EHLO rather than HELO.
    pub is_extended: bool,
}

/// An answer to a question: give it to [`Server::resume`].
#[derive(Debug)]
#[must_use = "the session waits for it: give it to Server::resume"]
pub struct Next(());

/// A new connection.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskConnected(());
/// EHLO or HELO.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskHello {
    hello: Hello,
}
/// AUTH.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskAuth {
    credentials: Credentials,
}
/// MAIL.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskMail {
    envelope: Envelope,
    size: Option<u64>,
}
/// RCPT.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskRecipient {
    envelope: Envelope,
    recipient: Recipient,
}
/// DATA or the first BDAT.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskData {
    envelope: Envelope,
}
/// A message is there as a whole; the client waits for the word that it is safe.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct ExpectReceipt<R> {
    receipt: PhantomData<fn(R)>,
}

impl<R: Display> Server<R> {
    /// A new connection. The first [`Server::poll`] gives [`Event::Connected`].
    pub fn new(_settings: Arc<Settings>, _channel: Channel, _now: Mono) -> Self {
        unreachable!("to come")
    }
    /// What to do next. Takes time so that it sees when a wait is over.
    pub fn poll(&mut self, _now: Mono) -> Event<R> {
        unreachable!("to come")
    }
    /// Goes on with an answer.
    pub fn resume(&mut self, _next: Next) {
        unreachable!("to come")
    }
    /// Where to read into: has room for a read of a good size, and never grows beyond a bound.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }
    /// What to write. The shell takes off what it has written.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }
    /// Until when [`Event::Read`] may wait.
    pub fn deadline(&self) -> Mono {
        unreachable!("to come")
    }
    /// The client has closed its side.
    pub fn end_of_input(&mut self) {
        unreachable!("to come")
    }
    /// The handshake behind [`Event::StartTls`] has succeeded. (If it fails there is nothing to be said: close.)
    pub fn tls_established(&mut self, _now: Mono) {
        unreachable!("to come")
    }
    /// Swallows the rest of the body that is coming in, then answers with this. [`Event::Aborted`] follows at its end.
    pub fn refuse_body(&mut self, _reply: Reply) {
        unreachable!("to come")
    }
    /// Ends the session with this (421 for a shutdown), at once or as soon as no question is open. Within a body it cuts.
    pub fn end(&mut self, _reply: Reply) {
        unreachable!("to come")
    }
    /// Whether no transaction is open: a good moment to end.
    pub fn is_idle(&self) -> bool {
        unreachable!("to come")
    }
    /// What the client called itself last.
    pub fn hello(&self) -> Option<&Hello> {
        unreachable!("to come")
    }
    /// What the session runs over.
    pub fn channel(&self) -> Channel {
        unreachable!("to come")
    }
    /// Who authenticated.
    pub fn user(&self) -> Option<&str> {
        unreachable!("to come")
    }
    /// The settings that the session began with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl AskConnected {
    /// 220.
    pub fn welcome(self) -> Next {
        unreachable!("to come")
    }
    /// 421 or 554 instead of a greeting; the session ends.
    pub fn refuse(self, _reply: Reply) -> Next {
        unreachable!("to come")
    }
}
impl AskHello {
    /// What the client calls itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }
    /// 250.
    pub fn welcome(self) -> Next {
        unreachable!("to come")
    }
    /// Refused. The session goes on, unless the reply is a 421.
    pub fn refuse(self, _reply: Reply) -> Next {
        unreachable!("to come")
    }
}
impl AskAuth {
    /// What to check.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }
    /// 235: it is who it says.
    pub fn accept(self) -> Next {
        unreachable!("to come")
    }
    /// 535 5.7.8, the same for an unknown name and a wrong password.
    pub fn refuse(self) -> Next {
        unreachable!("to come")
    }
    /// It couldn't be checked: a 454 of the shell's, which counts as no failure; or a 421, which ends the session.
    pub fn unavailable(self, _reply: Reply) -> Next {
        unreachable!("to come")
    }
}
impl AskMail {
    /// Where bounces go.
    pub fn sender(&self) -> &ReversePath {
        &self.envelope.sender
    }
    /// All of MAIL; recipients are still to come.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
    /// SIZE=, within the limit.
    pub fn size(&self) -> Option<u64> {
        self.size
    }
    /// 250.
    pub fn accept(self) -> Next {
        unreachable!("to come")
    }
    /// Refused, a 421 ends the session.
    pub fn refuse(self, _reply: Reply) -> Next {
        unreachable!("to come")
    }
}
impl AskRecipient {
    /// Whom to.
    pub fn recipient(&self) -> &Recipient {
        &self.recipient
    }
    /// MAIL and the recipients accepted so far.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
    /// 250: it is in the envelope.
    pub fn accept(self) -> Next {
        unreachable!("to come")
    }
    /// Refused, a 421 ends the session.
    pub fn refuse(self, _reply: Reply) -> Next {
        unreachable!("to come")
    }
}
impl AskData {
    /// The whole envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
    /// 354, or with BDAT nothing yet.
    pub fn accept(self) -> Next {
        unreachable!("to come")
    }
    /// Refused, a 421 ends the session. The transaction is over; no [`Event::Aborted`] follows.
    pub fn refuse(self, _reply: Reply) -> Next {
        unreachable!("to come")
    }
}
impl<R: Display> ExpectReceipt<R> {
    /// The only 250 to a message (I1).
    #[allow(clippy::needless_pass_by_value, reason = "a receipt is good for one 250")]
    pub fn accept(self, _receipt: R) -> Next {
        unreachable!("to come")
    }
    /// The message isn't safe, or not wanted: 4yz or 5yz. A 421 ends the session.
    pub fn refuse(self, _reply: Reply) -> Next {
        unreachable!("to come")
    }
}

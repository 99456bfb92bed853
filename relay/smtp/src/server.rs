//! The server's side: one client's connection, from its greeting to its end.
//!
//! **Owns:** what may come next, all hardening that is the protocol's, the replies. **Never:** whether mail is wanted: it
//! asks, and goes on with the answer. Invariant: I1, only [`ExpectReceipt::accept`] says 250 to a message. [`Server`] shows
//! the loop.
//! RFC 5321 4; RFC 2920 (pipelining), RFC 3030 (BDAT), RFC 3207 (STARTTLS), RFC 4954 (AUTH).

mod any_time;
mod end;
mod expect_auth;
mod expect_data;
mod expect_greeting;
mod expect_mail;
mod expect_rcpt;
mod expect_receipt;
mod lines;
mod next;
mod settings;

use std::{fmt::Display, marker::PhantomData, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use postrider_mail::{Envelope, Mono, Reply};

use self::{
    any_time::Counts,
    next::{Effect, State},
};
pub use self::{
    end::{Abort, End},
    expect_auth::AskAuth,
    expect_greeting::{AskConnected, AskHello, Hello},
    expect_mail::AskMail,
    expect_rcpt::{AskData, AskRecipient},
    expect_receipt::ExpectReceipt,
    next::Next,
    settings::{Auth, BareNewlines, Limits, Settings, Tls},
};
use crate::{reply_codec, timer::Wait};

/// What a session runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Clear text.
    Clear,
    /// TLS, from the start or since STARTTLS.
    Tls,
}

/// One client's connection. `R` is the proof that a message is safe: its `Display` is shown in the 250.
///
/// A shell runs it like this. Output has to be written before each read, and should be before a long decision:
/// ```ignore
/// let mut server = Server::<Receipt>::new(settings, Channel::Clear, now());
/// loop {
///     match server.poll(now()) {
///         Event::Connected(ask) => { /* bytes already there? read them into input(): an early talker */ server.resume(ask.welcome()) }
///         Event::Read => {
///             socket.write_all_buf(server.output()).await?;
///             tokio::select! {
///                 read = socket.read_buf(server.input()) => if read? == 0 { server.end_of_input() },
///                 () = sleep_until(server.deadline()) => {} // poll sees that it is over
///             }
///         }
///         Event::Hello(ask) => server.resume(ask.welcome()),
///         Event::StartTls => { write output; socket = accept_tls(socket).await?; server.tls_established(now()) }
///         Event::Auth(ask) => { let known = verify(ask.credentials()).await; server.resume(if known { ask.accept() } else { ask.refuse() }) }
///         Event::Mail(ask) => server.resume(ask.accept()),                 // or ask.refuse(reply)
///         Event::Recipient(ask) => server.resume(ask.accept()),            // or ask.refuse(reply)
///         Event::Data(ask) => server.resume(ask.accept()),                 // or ask.refuse(reply): no room
///         Event::Body(chunk) => spool.push(chunk),                         // Bytes; server.refuse_body(reply) swallows the rest
///         Event::EndOfMessage { envelope, expect, .. } => match enqueue(envelope, spool).await {
///             Ok(receipt) => server.resume(expect.accept(receipt)),
///             Err(reply) => server.resume(expect.refuse(reply)),
///         },
///         Event::Aborted(_) => spool.clear(),
///         Event::Close(end) => { write output; break }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Server<R> {
    input: BytesMut,
    output: BytesMut,
    settings: Arc<Settings>,
    channel: Channel,
    state: State,
    hello: Option<Hello>,
    user: Option<Box<str>>,
    counts: Counts,
    /// The client has closed its side.
    is_end_of_input: bool,
    /// Something was done since the wait began: it begins anew.
    has_progressed: bool,
    /// The shell knows of a transaction that hasn't ended.
    has_transaction: bool,
    /// To be told before anything else.
    abort: Option<Abort>,
    /// To be said as soon as no question is open.
    last_words: Option<Reply>,
    session_end: Mono,
    wait_end: Mono,
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

impl<R: Display> Server<R> {
    /// A new connection. The first [`Server::poll`] gives [`Event::Connected`].
    pub fn new(settings: Arc<Settings>, channel: Channel, now: Mono) -> Self {
        let session_end = now.after(Duration::from_secs(settings.limits.session_seconds.into()));
        Self {
            input: BytesMut::new(),
            output: BytesMut::new(),
            settings,
            channel,
            state: State::New,
            hello: None,
            user: None,
            counts: Counts::default(),
            is_end_of_input: false,
            has_progressed: true,
            has_transaction: false,
            abort: None,
            last_words: None,
            session_end,
            wait_end: session_end,
            receipt: PhantomData,
        }
    }

    /// What to do next. Takes time so that it sees when a wait is over.
    pub fn poll(&mut self, now: Mono) -> Event<R> {
        loop {
            if let Some(abort) = self.abort.take() {
                return Event::Aborted(abort);
            }
            let waits_for_input = match std::mem::replace(&mut self.state, State::Asked) {
                State::New => return Event::Connected(AskConnected(())),
                State::Ending(end) => {
                    self.state = State::Ending(end);
                    return Event::Close(end);
                }
                State::Complete(transaction, body) => {
                    if let Some(event) = self.complete(transaction, body) {
                        return event;
                    }
                    false
                }
                State::ExpectTls => {
                    self.state = State::ExpectTls;
                    return Event::StartTls;
                }
                State::Asked => true,
                State::Swallow(chunk, effect, then) => {
                    self.swallow(chunk, effect, then);
                    matches!(self.state, State::Swallow(..))
                }
                State::ExpectData(transaction, body) if !body.is_between_chunks() => {
                    if let Some(event) = self.expect_data(now, transaction, body) {
                        return event;
                    }
                    matches!(&self.state, State::ExpectData(_, body) if !body.is_between_chunks())
                }
                state => match self.line(state) {
                    Some(Some(event)) => return event,
                    Some(None) => false,
                    None => true,
                },
            };
            if waits_for_input && self.abort.is_none() && self.wait(now) {
                return Event::Read;
            }
        }
    }

    /// Whether the wait for input goes on.
    fn wait(&mut self, now: Mono) -> bool {
        if self.is_end_of_input {
            let end = if self.is_idle() { End::ClosedByClient } else { End::ClosedInTransaction };
            self.end_now(end);
            return false;
        }
        if std::mem::take(&mut self.has_progressed) {
            self.wait_end = now.after(self.settings.waits.of(self.current_wait()));
        }
        if now >= self.session_end {
            self.finish(End::SessionTooLong, "421 4.4.2 The session was long enough\r\n");
        } else if now >= self.deadline() {
            self.finish(End::TimedOut, "421 4.4.2 Timed out\r\n");
        } else {
            return true;
        }
        false
    }

    fn current_wait(&self) -> Wait {
        match &self.state {
            State::ExpectData(_, body) if !body.is_between_chunks() => Wait::DataBlock,
            State::Swallow(..) => Wait::DataBlock,
            _ => Wait::Command,
        }
    }

    /// The transaction that was open is over: the shell is told, once.
    fn abort(&mut self, why: Abort) {
        if std::mem::take(&mut self.has_transaction) {
            self.abort = Some(why);
        }
    }

    fn end_now(&mut self, end: End) {
        self.abort(Abort::SessionEnded);
        self.state = State::Ending(end);
    }

    /// Goes on with an answer.
    pub fn resume(&mut self, next: Next) {
        // An answer that comes when the session is over changes nothing.
        if matches!(self.state, State::Ending(_)) {
            return;
        }
        self.has_progressed = true;
        self.has_transaction = matches!(next.state, State::ExpectRcpt(_) | State::ExpectData(..));
        self.state = next.state;
        let is_greeting = matches!(next.effect, Effect::Greet);
        if is_greeting && !self.input.is_empty() {
            return self.finish(End::EarlyTalker, "554 5.5.0 Spoke before the greeting\r\n");
        }
        self.apply(next.effect);
        if let Some(reply) = self.last_words.take() {
            self.end(reply);
        }
    }

    /// Where to put what was read. Not more than some 64 KiB at a time, as all of it is kept until it was polled out.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// What to write. The shell takes off what it has written.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Until when [`Event::Read`] may wait.
    pub fn deadline(&self) -> Mono {
        let end = self.wait_end.min(self.session_end);
        match &self.state {
            State::ExpectData(_, body) if !body.is_between_chunks() => {
                let block = self.settings.waits.of(Wait::DataBlock);
                let slowest = body.deadline(block, self.settings.limits.body_bytes_per_second_min);
                slowest.map_or(end, |slowest| slowest.min(end))
            }
            _ => end,
        }
    }

    /// The client has closed its side.
    pub fn end_of_input(&mut self) {
        self.is_end_of_input = true;
    }

    /// The handshake behind [`Event::StartTls`] has succeeded. (If it fails there is nothing to be said: close.)
    pub fn tls_established(&mut self, _now: Mono) {
        if !matches!(self.state, State::ExpectTls) {
            return;
        }
        self.channel = Channel::Tls;
        self.hello = None;
        self.user = None;
        self.has_progressed = true;
        self.state = State::ExpectGreeting;
        // What was read before the handshake wasn't said by whom it was made with.
        if !self.input.is_empty() {
            self.finish(End::StartTlsInjection, "554 5.5.0 Clear text behind STARTTLS\r\n");
        }
    }

    /// Swallows the rest of the body that is coming in, then answers with this. [`Event::Aborted`] comes at once.
    pub fn refuse_body(&mut self, reply: Reply) {
        if let State::ExpectData(_, body) | State::Complete(_, body) = &mut self.state {
            body.refuse(reply);
            self.abort(Abort::Refused);
        }
    }

    /// Ends the session with this (421 for a shutdown), at once or as soon as no question is open. Within a body it cuts.
    pub fn end(&mut self, reply: Reply) {
        match self.state {
            State::Ending(_) => {}
            State::Asked => self.last_words = Some(reply),
            _ => {
                reply_codec::write(&reply, &mut self.output);
                self.end_now(End::Refused);
            }
        }
    }

    /// Whether no transaction is open: a good moment to end.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::New | State::ExpectGreeting | State::ExpectAuth(_) | State::ExpectMail)
    }

    /// What the client called itself last.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// What the session runs over.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Who authenticated.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The settings that the session began with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

#[cfg(test)]
mod tests;

//! The client's side: one connection to one far side, for one transaction or several.
//!
//! **Owns:** what is sent when, what each reply belongs to, all waits. **Never:** what a reply means for the mail (core's).
//! Invariant: self-fencing, only [`ExpectDot::send`] makes a final dot or a BDAT LAST. [`Client`] shows the loop.
//! RFC 5321 4; RFC 2920 (pipelining), RFC 3030 (BDAT), RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 9422 (LIMITS).

mod answer;
mod expect_auth;
mod expect_banner;
mod expect_dot;
mod expect_dot_reply;
mod expect_ehlo;
mod expect_rcpt;
mod expect_tls;
mod settings;
mod state;
mod transaction;

use std::{marker::PhantomData, sync::Arc};

use bytes::BytesMut;
use postrider_mail::{FarReply, Mono, Stage};

use self::state::State;
pub use self::{
    answer::{Answer, Answered, EndCause, Ended, Failure},
    expect_dot::{ExpectDot, Next},
    settings::{EightBit, Settings, Tls, Transaction},
};
pub use crate::server::Channel;
use crate::{
    extension::Extensions,
    reply_codec::{ReadReply, ReplyReader},
};

/// One connection. `P` is the right to send the dot.
///
/// A shell runs it like this. While it writes much it should also read, as the far side may speak at any time:
/// ```ignore
/// let mut client = Client::<DotPermit>::new(settings, Channel::Clear, now());
/// loop {
///     match client.poll(now()) {
///         Event::Read => {
///             socket.write_all_buf(client.output()).await?;      // or client.connection_lost(failure)
///             tokio::select! {
///                 read = socket.read_buf(client.input()) => if read? == 0 { client.end_of_input() },
///                 () = sleep_until(client.deadline()) => {}      // poll sees that it is over
///             }
///         }
///         Event::StartTls => match connect_tls(socket).await { Ok(tls) => { socket = tls; client.tls_established(now()) } Err(_) => break },
///         Event::Ready => match next_transaction() { Some(transaction) => client.begin(transaction), None => client.quit() },
///         Event::Body => { for chunk in body { client.body(chunk) /* write when output() is long */ } client.end_body() }
///         Event::Dot(expect) => match permit().await { Ok(permit) => client.resume(expect.send(permit)), Err(_) => break /* closes, no dot */ },
///         Event::Finished(answers) => settle(answers),           // one for each recipient, in order
///         Event::Ended(ended) => break,                          // write the output if it is a QUIT, close
///     }
/// }
/// ```
/// `Ready` comes once per transaction; while a shell keeps an idle connection it may poll and read on, and gets `Ended`
/// when the far side closes. Each transaction gets exactly one `Finished`, also when the connection breaks.
#[derive(Debug)]
pub struct Client<P> {
    input: BytesMut,
    output: BytesMut,
    settings: Arc<Settings>,
    channel: Channel,
    offers: Extensions,
    reader: ReplyReader,
    state: State,
    transactions: u32,
    /// The far side is amid a transaction that came to nothing.
    needs_reset: bool,
    /// The far side spoke before it was asked: its next reply is none to what was said last.
    is_ahead: bool,
    /// To be told before anything else.
    finished: Option<Vec<Answered>>,
    /// The connection is gone; what was read before still counts.
    lost: Option<Failure>,
    /// Something was done since the wait began: it begins anew.
    has_progressed: bool,
    wait_end: Option<Mono>,
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

impl<P> Client<P> {
    /// A connection that has just been made, in clear text or (implicit) TLS.
    pub fn new(settings: Arc<Settings>, channel: Channel, _now: Mono) -> Self {
        Self {
            input: BytesMut::new(),
            output: BytesMut::new(),
            settings,
            channel,
            offers: Extensions::default(),
            reader: ReplyReader::default(),
            state: State::ExpectBanner,
            transactions: 0,
            needs_reset: false,
            is_ahead: false,
            finished: None,
            lost: None,
            has_progressed: true,
            wait_end: None,
            permit: PhantomData,
        }
    }

    /// What to do next. Takes time so that it sees when a wait is over.
    pub fn poll(&mut self, now: Mono) -> Event<P> {
        loop {
            if let Some(answers) = self.finished.take() {
                return Event::Finished(answers);
            }
            if let State::Ended(ended) = &self.state {
                return Event::Ended(ended.clone());
            }
            if matches!(self.state, State::ExpectTls) && self.lost.is_none() {
                return Event::StartTls;
            }
            match self.reader.read(&mut self.input) {
                Ok(Some(reply)) => self.on_reply(reply),
                Err(_) => self.fail(Failure::Garbage),
                Ok(None) => {
                    if let Some(event) = self.without_reply(now) {
                        return event;
                    }
                }
            }
        }
    }

    /// What to do while no reply is there; `None` if that has changed the state.
    fn without_reply(&mut self, now: Mono) -> Option<Event<P>> {
        if let Some(failure) = self.lost.take() {
            self.fail(failure);
            return None;
        }
        match &self.state {
            State::Ready => {
                self.state = State::Idle;
                return Some(Event::Ready);
            }
            State::Body(_) => return Some(Event::Body),
            State::ExpectDot(_) if self.is_quiet() => return Some(Event::Dot(ExpectDot::new())),
            _ => {}
        }
        let wait = self.state.wait();
        if std::mem::take(&mut self.has_progressed) {
            self.wait_end = wait.map(|wait| now.after(self.settings.waits.of(wait)));
        }
        match (wait, self.wait_end) {
            (Some(wait), Some(end)) if now >= end => {
                self.fail(Failure::TimedOut(wait));
                None
            }
            _ => Some(Event::Read),
        }
    }

    fn on_reply(&mut self, read: ReadReply) {
        self.has_progressed = true;
        let ReadReply { reply, lines } = read;
        // RFC 5321 3.8: it may come at any time, and nothing comes behind it.
        if reply.code.get() == 421 {
            return self.refused(reply);
        }
        if self.is_ahead {
            return self.fail(Failure::OutOfStep(reply));
        }
        let was_last = self.state.owes_one_reply();
        self.take_reply(reply, &lines);
        // Else each reply would be taken for the next command's, and one recipient bounce by another's 550.
        self.is_ahead = was_last && self.state.owes_reply() && !self.is_quiet();
    }

    fn take_reply(&mut self, reply: FarReply, lines: &[Box<str>]) {
        match std::mem::replace(&mut self.state, State::Moving) {
            State::ExpectBanner => self.on_banner(reply),
            State::ExpectEhlo(greeting) => self.on_ehlo_reply(greeting, reply, lines),
            State::ExpectTlsReply => self.on_tls_reply(reply),
            State::ExpectAuth(step) => self.on_auth_reply(step, reply),
            State::ExpectRcpt(current) => self.on_group_reply(current, reply),
            State::Body(current) => self.on_early_reply(current, reply, State::Body),
            State::ExpectDot(current) => self.on_early_reply(current, reply, State::ExpectDot),
            State::ExpectDotReply(current) => self.on_dot_reply(current, reply),
            // Whatever it says, no mail was in it.
            State::ExpectLoneDotReply => self.state = State::Ready,
            state @ (State::Ready | State::Idle | State::ExpectTls) => {
                self.state = state;
                self.fail(Failure::OutOfStep(reply));
            }
            state @ (State::Ended(_) | State::Moving) => self.state = state,
        }
    }

    /// Whether nothing was read that wasn't looked at, and no reply has begun.
    fn is_quiet(&self) -> bool {
        self.input.is_empty() && !self.reader.is_amid()
    }

    /// The far side goes on no more: each recipient that has no answer yet has this one.
    fn refused(&mut self, reply: FarReply) {
        let answer = Answer::Refused(reply.clone());
        self.end(EndCause::Refused(reply), |_| answer);
    }

    /// The connection is of no more use.
    fn fail(&mut self, failure: Failure) {
        let cause = EndCause::Failed(failure.clone());
        self.end(
            cause,
            |is_dot_sent| {
                if is_dot_sent { Answer::Unknown(failure) } else { Answer::Failed(failure) }
            },
        );
    }

    fn end(&mut self, cause: EndCause, answer: impl FnOnce(bool) -> Answer) {
        let stage = self.state.stage();
        let state = std::mem::replace(&mut self.state, State::Ended(Ended { stage, cause }));
        match state {
            State::ExpectRcpt(current) | State::Body(current) | State::ExpectDot(current) => {
                self.finished = Some(current.finish(stage, &answer(false)));
            }
            State::ExpectDotReply(current) => self.finished = Some(current.finish(stage, &answer(true))),
            // What ended first counts.
            State::Ended(ended) => self.state = State::Ended(ended),
            _ => {}
        }
    }

    /// Where to put what was read.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// What to write. The shell takes off what it has written.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Until when [`Event::Read`] may wait: `None` while idle.
    pub fn deadline(&self) -> Option<Mono> {
        self.state.wait().and(self.wait_end)
    }

    /// The far side has closed its side.
    pub fn end_of_input(&mut self) {
        self.lost.get_or_insert(Failure::Closed);
    }

    /// Reading or writing failed, or the shell cuts the connection (an attempt's hard deadline, a lost lease).
    pub fn connection_lost(&mut self, failure: Failure) {
        self.lost.get_or_insert(failure);
    }

    /// Says QUIT, behind [`Event::Ready`] or while idle. The next event is [`Event::Ended`]: the answer isn't waited for.
    pub fn quit(&mut self) {
        if matches!(self.state, State::Ready | State::Idle) {
            self.write("QUIT\r\n");
            self.state = State::Ended(Ended { stage: Stage::Mail, cause: EndCause::Quit });
        }
    }

    /// What the far side offers, as of its last answer to EHLO; empty after HELO.
    pub fn offers(&self) -> &Extensions {
        &self.offers
    }

    /// What the connection runs over.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Transactions begun on this connection.
    pub fn transactions(&self) -> u32 {
        self.transactions
    }

    /// Whether one more transaction may be begun: the far side's LIMITS MAILMAX isn't reached.
    pub fn has_room(&self) -> bool {
        self.offers.messages_max.is_none_or(|max| self.transactions < max)
    }

    fn write(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests;

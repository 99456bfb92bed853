//! The body, behind DATA's 354 or in BDAT's chunks.
//! **Owns:** where it ends, its size and rate, what is swallowed. **Never:** what is in it.
//! RFC 5321 4.1.1.4, RFC 3030 2 and 3 (a chunk that fails is read to its end).

use std::{fmt::Display, time::Duration};

use bytes::BytesMut;
use postrider_mail::{EnhancedCode, Mono, Reply, ReplyCode};

use super::{
    Abort, End, Event, Server,
    expect_receipt::ExpectReceipt,
    next::{Effect, State, Transaction},
};
use crate::{bdat::Chunk, command::Command, data::Decoder};

/// Content is handed on in pieces of at least this size, or at its end.
const PIECE_BYTES: usize = 16 << 10;
/// How much beyond twice the limit is swallowed before the session is cut.
const SWALLOW_BYTES: u64 = 1 << 20;

/// A body that is coming in.
#[derive(Debug)]
pub(super) struct Body {
    decoder: Decoder,
    /// `None` behind DATA, and between two BDATs.
    chunk: Option<Chunk>,
    is_chunked: bool,
    /// Content that wasn't handed on yet.
    piece: BytesMut,
    content_bytes: u64,
    /// What is said at its end; the content goes nowhere.
    refusal: Option<Reply>,
    since: Option<Mono>,
}

impl Body {
    pub(super) fn new(decoder: Decoder, chunk: Option<Chunk>) -> Self {
        Self {
            decoder,
            is_chunked: chunk.is_some(),
            chunk,
            piece: BytesMut::new(),
            content_bytes: 0,
            refusal: None,
            since: None,
        }
    }

    pub(super) fn chunk(&self) -> Option<Chunk> {
        self.chunk
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    pub(super) fn refuse(&mut self, reply: Reply) {
        self.refusal.get_or_insert(reply);
        self.piece = BytesMut::new();
    }

    /// Whether a command comes next, not content.
    pub(super) fn is_between_chunks(&self) -> bool {
        self.is_chunked && self.chunk.is_none()
    }

    /// Until when it has to have come this far at the slowest rate.
    pub(super) fn deadline(&self, wait: Duration, rate: u32) -> Option<Mono> {
        let earned = self.content_bytes * 1000 / u64::from(rate.max(1));
        self.since.map(|since| since.after(wait).after(Duration::from_millis(earned)))
    }

    /// Decodes what there is; says whether the end of DATA or of a chunk was reached.
    fn take(&mut self, input: &mut BytesMut) -> bool {
        let (content, is_end) = match &mut self.chunk {
            None => {
                let decoded = self.decoder.decode(input);
                (decoded.content, decoded.is_end)
            }
            Some(chunk) => take_octets(&mut self.decoder, chunk, input),
        };
        self.content_bytes += content.len() as u64;
        if !self.is_refused() {
            // Without a copy where the two stand side by side, as they do unless a dot went out between them.
            self.piece.unsplit(content);
        }
        is_end
    }
}

fn take_octets(decoder: &mut Decoder, chunk: &mut Chunk, input: &mut BytesMut) -> (BytesMut, bool) {
    let mut len = chunk.within(input.len());
    let ends = len as u64 == chunk.remaining();
    // A CR before its LF has come stays where it is: that spares the copy that holding it would cost.
    if !ends && input[..len].ends_with(b"\r") {
        len -= 1;
    }
    chunk.take(len);
    let content = decoder.decode_octets(&mut input.split_to(len));
    (content, ends)
}

impl<R: Display> Server<R> {
    /// Content that comes in.
    pub(super) fn expect_data(
        &mut self,
        now: Mono,
        transaction: Box<Transaction>,
        mut body: Box<Body>,
    ) -> Option<Event<R>> {
        body.since.get_or_insert(now);
        let before = self.input.len();
        let is_end = body.take(&mut self.input);
        self.has_progressed |= self.input.len() < before;
        self.judge(&mut body);
        if body.content_bytes > self.settings.limits.message_bytes.saturating_mul(2) + SWALLOW_BYTES {
            self.finish(End::EndlessMessage, "552 5.3.4 Message far larger than the limit\r\n");
            return None;
        }
        if is_end {
            return self.end_of_piece(transaction, body);
        }
        if body.piece.len() >= PIECE_BYTES {
            let piece = body.piece.split().freeze();
            self.state = State::ExpectData(transaction, body);
            return Some(Event::Body(piece));
        }
        self.state = State::ExpectData(transaction, body);
        None
    }

    /// Refuses a body that is too large or has bare line ends; the shell is told at once, the client at the end.
    fn judge(&mut self, body: &mut Body) {
        if body.is_refused() {
            return;
        }
        let limit = self.settings.limits.message_bytes;
        let announced = body.chunk.map_or(0, |chunk| chunk.remaining());
        if body.content_bytes.saturating_add(announced) > limit {
            body.refuse(too_large());
            self.abort(Abort::TooLarge);
        } else if body.decoder.has_bare_newline()
            && self.settings.bare_newlines == super::BareNewlines::Refuse
        {
            body.refuse(bare_newline());
            self.abort(Abort::BareNewline);
        }
    }

    /// The end of DATA, or of a chunk.
    fn end_of_piece(&mut self, transaction: Box<Transaction>, mut body: Box<Body>) -> Option<Event<R>> {
        self.has_progressed = true;
        let is_end = match body.chunk.take() {
            None => true,
            Some(chunk) if !chunk.is_last() && !body.is_refused() => {
                self.say("250 2.0.0 Ok\r\n");
                false
            }
            Some(_) => {
                let missing = body.decoder.finish_octets();
                body.content_bytes += missing.len() as u64;
                if !body.is_refused() {
                    body.piece.extend_from_slice(missing);
                }
                self.judge(&mut body);
                true
            }
        };
        if is_end {
            return self.complete(transaction, body);
        }
        self.state = State::ExpectData(transaction, body);
        None
    }

    /// The body is there as a whole: what is left of it, then the question.
    pub(super) fn complete(
        &mut self,
        transaction: Box<Transaction>,
        mut body: Box<Body>,
    ) -> Option<Event<R>> {
        if let Some(reply) = body.refusal.take() {
            self.state = State::ExpectMail;
            self.apply(Effect::RefuseMail(reply));
            return None;
        }
        if !body.piece.is_empty() {
            let piece = body.piece.split().freeze();
            self.state = State::Complete(transaction, body);
            return Some(Event::Body(piece));
        }
        self.has_transaction = false;
        let Transaction { envelope, .. } = *transaction;
        Some(Event::EndOfMessage {
            envelope,
            content_bytes: body.content_bytes,
            expect: ExpectReceipt::new(),
        })
    }

    /// A command between two BDATs.
    pub(super) fn expect_chunk(
        &mut self,
        command: &Command<'_>,
        transaction: Box<Transaction>,
        mut body: Box<Body>,
    ) {
        match command {
            Command::Bdat { octets, is_last } => {
                body.chunk = Some(Chunk::new(*octets, *is_last));
                self.state = State::ExpectData(transaction, body);
            }
            Command::Mail(_)
            | Command::Rcpt(_)
            | Command::Data
            | Command::StartTls
            | Command::Auth { .. } => {
                self.error("503 5.5.1 BDAT or RSET\r\n", State::ExpectData(transaction, body));
            }
            Command::Ehlo(_)
            | Command::Helo(_)
            | Command::Rset
            | Command::Noop
            | Command::Vrfy
            | Command::NotImplemented
            | Command::Help
            | Command::Quit
            | Command::Http
            | Command::Unknown => self.any_time(command, State::ExpectData(transaction, body)),
        }
    }

    /// A BDAT that can't stand here: its octets are content all the same, and never commands.
    pub(super) fn out_of_order_chunk(&mut self, octets: u64, is_last: bool, then: State, text: &'static str) {
        self.state =
            State::Swallow(Chunk::new(octets, is_last), Effect::OutOfOrder(text).into(), then.into());
    }

    /// Octets that go nowhere.
    pub(super) fn swallow(&mut self, mut chunk: Chunk, effect: Box<Effect>, then: Box<State>) {
        if chunk.remaining() > self.settings.limits.message_bytes.saturating_mul(2) + SWALLOW_BYTES {
            self.finish(End::EndlessMessage, "552 5.3.4 Chunk far larger than the limit\r\n");
            return;
        }
        let before = self.input.len();
        chunk.swallow(&mut self.input);
        self.has_progressed |= self.input.len() < before;
        if chunk.is_complete() {
            self.state = *then;
            self.apply(*effect);
            self.has_progressed = true;
        } else {
            self.state = State::Swallow(chunk, effect, then);
        }
    }
}

fn too_large() -> Reply {
    Reply::new(ReplyCode::new(552), EnhancedCode::permanent(3, 4), "Message larger than the limit")
}

fn bare_newline() -> Reply {
    let text = "A CR or LF stands alone in the message; lines end with CRLF";
    Reply::new(ReplyCode::new(550), EnhancedCode::permanent(5, 2), text)
}

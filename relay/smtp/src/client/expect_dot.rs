//! The body on its way, and the right to end it.
//! **Owns:** the only final dot and the only BDAT LAST. **Never:** sends either without a permit.
//! Invariant: self-fencing, whoever can't prove its claim ends no message.
//! RFC 5321 4.1.1.4, RFC 3030 2.

use std::marker::PhantomData;

use bytes::Bytes;
use postrider_mail::{FarReply, Severity};

use super::{Client, Failure, State, transaction::Current};

/// A chunk of BDAT is sent when so much is there.
const CHUNK_BYTES: usize = 256 << 10;

/// All is sent but the end of the message.
#[derive(Debug)]
#[must_use = "without the dot the connection has to be closed"]
pub struct ExpectDot<P> {
    permit: PhantomData<fn(P)>,
}

/// What comes next: give it to [`Client::resume`].
#[derive(Debug)]
#[must_use = "the session waits for it: give it to Client::resume"]
pub struct Next(Choice);

#[derive(Debug)]
enum Choice {
    /// Only [`ExpectDot::send`] makes it.
    Dot,
    Abandon,
}

impl<P> ExpectDot<P> {
    pub(super) fn new() -> Self {
        Self { permit: PhantomData }
    }

    /// The only final dot, or BDAT LAST.
    #[allow(clippy::needless_pass_by_value, reason = "a permit is good for one dot")]
    pub fn send(self, permit: P) -> Next {
        drop(permit);
        Next(Choice::Dot)
    }

    /// No dot: the connection ends, each recipient gets [`Failure::Abandoned`].
    pub fn abandon(self) -> Next {
        Next(Choice::Abandon)
    }
}

impl<P> Client<P> {
    /// A piece of the content, in lines that end with CRLF; any split. Behind [`Event::Body`](super::Event::Body).
    pub fn body(&mut self, chunk: &Bytes) {
        // The connection may have broken since.
        let State::Body(current) = &mut self.state else { return };
        if !current.is_chunked {
            current.encoder.encode(chunk, &mut self.output);
            return;
        }
        if current.held.len() >= CHUNK_BYTES {
            let line = format!("BDAT {}\r\n", current.held.len());
            self.output.extend_from_slice(line.as_bytes());
            self.output.unsplit(current.held.split());
            current.chunks_sent += 1;
        }
        current.encoder.encode(chunk, &mut current.held);
    }

    /// The content is complete; [`Event::Dot`](super::Event::Dot) follows.
    pub fn end_body(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Moving) {
            State::Body(mut current) => {
                let output = if current.is_chunked { &mut current.held } else { &mut self.output };
                current.encoder.finish(output);
                self.has_progressed = true;
                State::ExpectDot(current)
            }
            other => other,
        };
    }

    /// Goes on behind [`Event::Dot`](super::Event::Dot), which comes again if the far side has said something meanwhile.
    pub fn resume(&mut self, next: Next) {
        match (next.0, std::mem::replace(&mut self.state, State::Moving)) {
            // Whoever knows that the connection is gone sends no dot into it; and what was said before it is no answer to it.
            (Choice::Dot, State::ExpectDot(current)) if self.lost.is_none() && self.is_quiet() => {
                self.end_message(&current);
                self.has_progressed = true;
                self.state = State::ExpectDotReply(current);
            }
            (Choice::Abandon, State::ExpectDot(current)) => {
                self.state = State::ExpectDot(current);
                self.fail(Failure::Abandoned);
            }
            (Choice::Dot | Choice::Abandon, other) => self.state = other,
        }
    }

    fn end_message(&mut self, current: &Current) {
        if current.is_chunked {
            let line = format!("BDAT {} LAST\r\n", current.held.len());
            self.output.extend_from_slice(line.as_bytes());
            self.output.extend_from_slice(&current.held);
        } else {
            self.output.extend_from_slice(b".\r\n");
        }
    }

    /// A reply before the end was sent: to a chunk, or one that nobody asked for.
    pub(super) fn on_early_reply(
        &mut self,
        mut current: Box<Current>,
        reply: FarReply,
        state: fn(Box<Current>) -> State,
    ) {
        let is_chunks = current.chunks_sent > 0;
        if is_chunks {
            current.chunks_sent -= 1;
        }
        self.state = state(current);
        match reply.code.severity() {
            Severity::Success if is_chunks => {}
            Severity::Success | Severity::Intermediate => self.fail(Failure::OutOfStep(reply)),
            // The rest of the body would be taken for commands, or for nothing: the connection can't go on.
            Severity::Transient | Severity::Permanent => self.refused(reply),
        }
    }
}

//! The one reply that decides.
//! **Owns:** what it gives the recipients that were accepted. **Never:** takes silence for a no (RFC 1047).
//! RFC 5321 4.2.5.

use postrider_mail::{FarReply, Severity, Stage};

use super::{Answer, Client, Failure, State, transaction::Current};

impl<P> Client<P> {
    pub(super) fn on_dot_reply(&mut self, mut current: Box<Current>, reply: FarReply) {
        let severity = reply.code.severity();
        if current.chunks_sent > 0 {
            current.chunks_sent -= 1;
            self.state = State::ExpectDotReply(current);
            return match severity {
                Severity::Success => {}
                Severity::Intermediate => self.fail(Failure::OutOfStep(reply)),
                // RFC 3030 4.2: a chunk was refused, so the last one is too.
                Severity::Transient | Severity::Permanent => self.refused(reply),
            };
        }
        let answer = match severity {
            Severity::Success => Answer::Accepted(reply),
            // 503: it doesn't know what the dot was for, and neither do we.
            Severity::Transient | Severity::Permanent if reply.code.get() != 503 => Answer::Refused(reply),
            Severity::Intermediate | Severity::Transient | Severity::Permanent => {
                self.state = State::ExpectDotReply(current);
                return self.fail(Failure::OutOfStep(reply));
            }
        };
        // RFC 3030 2: after a BDAT that failed only RSET makes sure of where the far side stands.
        self.needs_reset |= current.is_chunked && severity != Severity::Success;
        self.finished = Some(current.finish(Stage::Dot, &answer));
        self.state = State::Ready;
    }
}

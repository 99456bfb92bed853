//! MAIL, RCPT and DATA: in one write where PIPELINING is offered, else one by one.
//! **Owns:** their order and what each reply means for the recipients' progress. **Never:** the body.
//! RFC 5321 4.1.1.2 to 4.1.1.4, RFC 2920 3.1, RFC 5321 4.5.3.1.10 (too many recipients).

use postrider_mail::{BodyEncoding, FarReply, Severity, Stage};

use super::{
    Answer, Client, Failure, State, Transaction,
    transaction::{Current, Progress, is_too_many_recipients},
};
use crate::{command, pipelining::Sent};

impl<P> Client<P> {
    /// Begins a transaction, behind [`Event::Ready`](super::Event::Ready).
    pub fn begin(&mut self, mut transaction: Transaction) {
        if transaction.content_is_8bit {
            transaction.envelope.body = BodyEncoding::EightBitMime;
        }
        let mut current = Box::new(Current::new(transaction, &self.offers, &self.settings));
        if !matches!(self.state, State::Ready | State::Idle) {
            self.finished = Some(current.finish(Stage::Mail, &Answer::Failed(Failure::Closed)));
            return;
        }
        if !self.has_room() {
            current.settle_rest(Stage::Mail, &Answer::NotTried);
        }
        if !current.has_open() {
            return self.finish_early(current);
        }
        self.transactions += 1;
        self.has_progressed = true;
        self.is_ahead = !self.is_quiet();
        if self.needs_reset {
            self.needs_reset = false;
            self.write("RSET\r\n");
            current.sent.push(Sent::Reset);
            if !current.is_pipelined {
                self.state = State::ExpectRcpt(current);
                return;
            }
        }
        self.say_mail(&mut current);
        if current.is_pipelined {
            while self.say_recipient(&mut current) {}
            // A chunk may not be sent before it is known whether anybody takes it; DATA asks first.
            if !current.is_chunked {
                self.say_data(&mut current);
            }
        }
        self.state = State::ExpectRcpt(current);
    }

    fn say_mail(&mut self, current: &mut Current) {
        command::write_mail(&current.transaction.envelope, current.with, &mut self.output);
        current.sent.push(Sent::Mail);
    }

    /// False when there is none left.
    fn say_recipient(&mut self, current: &mut Current) -> bool {
        let Some(at) = current.take_recipient() else { return false };
        let recipient = &current.transaction.envelope.recipients[at];
        command::write_recipient(recipient, current.with, &mut self.output);
        current.sent.push(Sent::Rcpt(at));
        true
    }

    fn say_data(&mut self, current: &mut Current) {
        self.write("DATA\r\n");
        current.sent.push(Sent::Data);
    }

    /// The transaction came to nothing, and the far side isn't amid a body.
    fn finish_early(&mut self, current: Box<Current>) {
        self.finished = Some(current.finish(Stage::Rcpt, &Answer::NotTried));
        self.state = State::Ready;
    }

    pub(super) fn on_group_reply(&mut self, mut current: Box<Current>, reply: FarReply) {
        let Some(sent) = current.sent.pop() else {
            self.state = State::ExpectRcpt(current);
            return self.fail(Failure::OutOfStep(reply));
        };
        let goes_on = match sent {
            Sent::Reset => reply.code.severity() == Severity::Success,
            Sent::Mail => on_mail_reply(&mut current, &reply),
            Sent::Rcpt(at) => on_rcpt_reply(&mut current, at, &reply),
            Sent::Data => return self.on_data_reply(current, reply),
        };
        if !goes_on {
            current.sent = one(sent);
            self.state = State::ExpectRcpt(current);
            return self.fail(Failure::OutOfStep(reply));
        }
        if current.sent.is_empty() {
            self.go_on(sent, current);
        } else {
            self.state = State::ExpectRcpt(current);
        }
    }

    /// All that was sent has its reply: the next command.
    fn go_on(&mut self, last: Sent, mut current: Box<Current>) {
        let names_recipients = last != Sent::Reset && !current.is_mail_refused && !current.is_pipelined;
        if last == Sent::Reset {
            self.say_mail(&mut current);
        } else if names_recipients && self.say_recipient(&mut current) {
            // Its reply comes first.
        } else if !current.has_accepted() {
            self.needs_reset = !current.is_mail_refused;
            return self.finish_early(current);
        } else if current.is_chunked {
            self.state = State::Body(current);
            return;
        } else {
            self.say_data(&mut current);
        }
        self.state = State::ExpectRcpt(current);
    }

    fn on_data_reply(&mut self, mut current: Box<Current>, reply: FarReply) {
        match reply.code.severity() {
            Severity::Intermediate if current.has_accepted() => self.state = State::Body(current),
            // RFC 2920 3.1: nobody takes it, yet it is asked for. The message that this ends has no recipient.
            Severity::Intermediate => {
                self.write(".\r\n");
                self.needs_reset = true;
                self.finished = Some(current.finish(Stage::Rcpt, &Answer::NotTried));
                self.state = State::ExpectLoneDotReply;
            }
            Severity::Transient | Severity::Permanent
                if !current.has_accepted() || !is_out_of_step(&reply) =>
            {
                self.needs_reset = true;
                current.settle_rest(Stage::Data, &Answer::Refused(reply));
                self.finish_early(current);
            }
            Severity::Success | Severity::Transient | Severity::Permanent => {
                current.sent = one(Sent::Data);
                self.state = State::ExpectRcpt(current);
                self.fail(Failure::OutOfStep(reply));
            }
        }
    }
}

/// A pipeline of one command, so that a failure is charged to its stage.
fn one(sent: Sent) -> crate::pipelining::Pipeline {
    let mut pipeline = crate::pipelining::Pipeline::default();
    pipeline.push(sent);
    pipeline
}

/// 503 says that the two sides disagree about what was said: no word about the mail.
fn is_out_of_step(reply: &FarReply) -> bool {
    reply.code.get() == 503
}

/// False if the reply can't stand here.
fn on_mail_reply(current: &mut Current, reply: &FarReply) -> bool {
    match reply.code.severity() {
        Severity::Success => true,
        Severity::Intermediate => false,
        Severity::Transient | Severity::Permanent if is_out_of_step(reply) => false,
        Severity::Transient | Severity::Permanent => {
            current.is_mail_refused = true;
            current.settle_rest(Stage::Mail, &Answer::Refused(reply.clone()));
            true
        }
    }
}

/// False if the reply can't stand here.
fn on_rcpt_reply(current: &mut Current, at: usize, reply: &FarReply) -> bool {
    if current.is_mail_refused {
        return true;
    }
    match reply.code.severity() {
        Severity::Success => current.recipients[at] = Progress::Accepted,
        Severity::Intermediate => return false,
        Severity::Transient | Severity::Permanent if is_out_of_step(reply) => return false,
        // Only where some were taken: else it would be tried at once for ever.
        Severity::Transient | Severity::Permanent
            if current.has_accepted() && is_too_many_recipients(reply) =>
        {
            current.settle(at, Stage::Rcpt, Answer::NotTried);
            if !current.is_pipelined {
                while let Some(rest) = current.take_recipient() {
                    current.settle(rest, Stage::Rcpt, Answer::NotTried);
                }
            }
        }
        Severity::Transient | Severity::Permanent => {
            current.settle(at, Stage::Rcpt, Answer::Refused(reply.clone()));
        }
    }
    true
}

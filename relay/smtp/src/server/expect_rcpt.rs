//! Within a transaction, before its body: RCPT, then DATA or BDAT.
//! **Owns:** the envelope while it grows, the count of its recipients. **Never:** whom mail is taken for (the shell).
//! RFC 5321 4.1.1.3, 4.5.3.1.10 (452); RFC 3030 (BDAT).

use std::fmt::Display;

use postrider_mail::{Envelope, Recipient, Reply};

use super::{
    Event, Server,
    expect_data::Body,
    next::{Effect, Next, State, Transaction},
};
use crate::{
    bdat::Chunk,
    command::{Command, RcptCommand},
    data::Decoder,
};

/// RCPT.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskRecipient {
    transaction: Box<Transaction>,
    recipient: Recipient,
}

impl AskRecipient {
    /// Whom to.
    pub fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// MAIL and the recipients accepted so far.
    pub fn envelope(&self) -> &Envelope {
        &self.transaction.envelope
    }

    /// 250: it is in the envelope.
    pub fn accept(mut self) -> Next {
        self.transaction.envelope.recipients.push(self.recipient);
        Next::new(State::ExpectRcpt(self.transaction), Effect::Say("250 2.1.5 Ok\r\n"))
    }

    /// Refused, a 421 ends the session.
    pub fn refuse(mut self, reply: Reply) -> Next {
        self.transaction.has_refused_recipients = true;
        Next::new(State::ExpectRcpt(self.transaction), Effect::Refuse(reply))
    }
}

/// DATA or the first BDAT.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskData {
    transaction: Box<Transaction>,
    body: Box<Body>,
}

impl AskData {
    /// The whole envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.transaction.envelope
    }

    /// 354, or with BDAT nothing yet.
    pub fn accept(self) -> Next {
        let effect = match self.body.chunk() {
            None => Effect::Say("354 End with a dot alone on a line\r\n"),
            Some(_) => Effect::Nothing,
        };
        Next::new(State::ExpectData(self.transaction, self.body), effect)
    }

    /// Refused, a 421 ends the session. The transaction is over; no [`Event::Aborted`] follows.
    pub fn refuse(self, reply: Reply) -> Next {
        match self.body.chunk() {
            None => Next::new(State::ExpectMail, Effect::RefuseMail(reply)),
            Some(chunk) => {
                let then = State::ExpectMail.into();
                Next::new(State::Swallow(chunk, Effect::RefuseMail(reply).into(), then), Effect::Nothing)
            }
        }
    }
}

impl<R: Display> Server<R> {
    pub(super) fn expect_rcpt(
        &mut self,
        command: Command<'_>,
        transaction: Box<Transaction>,
    ) -> Option<Event<R>> {
        match command {
            Command::Rcpt(rcpt) => return self.on_rcpt(rcpt, transaction),
            Command::Data => return self.on_data(transaction),
            Command::Bdat { octets, is_last } => return self.on_first_chunk(octets, is_last, transaction),
            Command::Mail(_) | Command::StartTls | Command::Auth { .. } => {
                self.error("503 5.5.1 Not within a transaction\r\n", State::ExpectRcpt(transaction));
            }
            // Those that end the transaction have done so before they came here.
            Command::Ehlo(_)
            | Command::Helo(_)
            | Command::Rset
            | Command::Noop
            | Command::Vrfy
            | Command::NotImplemented
            | Command::Help
            | Command::Quit
            | Command::Http
            | Command::Unknown => self.any_time(&command, State::ExpectRcpt(transaction)),
        }
        None
    }

    fn on_rcpt(&mut self, rcpt: RcptCommand, mut transaction: Box<Transaction>) -> Option<Event<R>> {
        let RcptCommand { recipient, path_is_utf8 } = rcpt;
        let has_dsn = recipient.notify.is_some() || recipient.original.is_some();
        if path_is_utf8 && !transaction.envelope.smtputf8 {
            transaction.has_refused_recipients = true;
            self.error(
                "553 5.6.7 An address beyond ASCII needs SMTPUTF8\r\n",
                State::ExpectRcpt(transaction),
            );
        } else if has_dsn && !self.settings.dsn {
            transaction.has_refused_recipients = true;
            self.error("555 5.5.4 DSN isn't offered\r\n", State::ExpectRcpt(transaction));
        } else if transaction.envelope.recipients.len() >= self.settings.limits.recipients as usize {
            // No error of the client's: it sends these in a transaction of their own.
            self.say("452 4.5.3 Too many recipients\r\n");
            self.state = State::ExpectRcpt(transaction);
        } else {
            return Some(Event::Recipient(AskRecipient { transaction, recipient }));
        }
        None
    }

    fn on_data(&mut self, transaction: Box<Transaction>) -> Option<Event<R>> {
        if transaction.envelope.recipients.is_empty() {
            self.without_recipients(transaction);
            return None;
        }
        let body = Box::new(Body::new(Decoder::data(self.settings.bare_newlines), None));
        Some(Event::Data(AskData { transaction, body }))
    }

    /// Where each RCPT was refused DATA may come all the same, as it was pipelined.
    fn without_recipients(&mut self, transaction: Box<Transaction>) {
        if transaction.has_refused_recipients {
            self.say("554 5.5.1 No valid recipients\r\n");
            self.state = State::ExpectRcpt(transaction);
        } else {
            self.error("503 5.5.1 RCPT first\r\n", State::ExpectRcpt(transaction));
        }
    }

    fn on_first_chunk(
        &mut self,
        octets: u64,
        is_last: bool,
        transaction: Box<Transaction>,
    ) -> Option<Event<R>> {
        if transaction.envelope.recipients.is_empty() {
            let text = if transaction.has_refused_recipients {
                self.forgive();
                "554 5.5.1 No valid recipients\r\n"
            } else {
                "503 5.5.1 RCPT first\r\n"
            };
            self.out_of_order_chunk(octets, is_last, State::ExpectRcpt(transaction), text);
            return None;
        }
        let chunk = Chunk::new(octets, is_last);
        let body = Box::new(Body::new(Decoder::octets(self.settings.bare_newlines), Some(chunk)));
        Some(Event::Data(AskData { transaction, body }))
    }
}

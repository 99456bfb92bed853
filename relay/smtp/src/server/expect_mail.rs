//! Between transactions: MAIL begins one.
//! **Owns:** what MAIL needs before it (EHLO, TLS, AUTH), SIZE against the limit. **Never:** who may send (the shell).
//! RFC 5321 3.3, 4.1.1.2; RFC 1870 6.1, RFC 6531 3.4.

use std::fmt::Display;

use postrider_mail::{Envelope, Reply, ReversePath, TlsRequirement};

use super::{
    Auth, Channel, End, Event, Server, Tls,
    next::{Effect, Next, State, Transaction},
};
use crate::command::{Command, MailCommand};

/// MAIL.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskMail {
    transaction: Box<Transaction>,
    size: Option<u64>,
}

impl AskMail {
    /// Where bounces go.
    pub fn sender(&self) -> &ReversePath {
        &self.transaction.envelope.sender
    }

    /// All of MAIL; recipients are still to come.
    pub fn envelope(&self) -> &Envelope {
        &self.transaction.envelope
    }

    /// SIZE=, within the limit.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// 250.
    pub fn accept(self) -> Next {
        Next::new(State::ExpectRcpt(self.transaction), Effect::Say("250 2.1.0 Ok\r\n"))
    }

    /// Refused, a 421 ends the session.
    pub fn refuse(self, reply: Reply) -> Next {
        Next::new(State::ExpectMail, Effect::RefuseMail(reply))
    }
}

impl<R: Display> Server<R> {
    pub(super) fn expect_mail(&mut self, command: Command<'_>, is_alone: bool) -> Option<Event<R>> {
        match command {
            Command::Mail(mail) => return self.on_mail(mail),
            Command::Ehlo(name) => return Some(self.on_hello(name, true, State::ExpectMail)),
            Command::Helo(name) => return Some(self.on_hello(name, false, State::ExpectMail)),
            Command::StartTls => return self.on_start_tls(is_alone),
            Command::Auth { mechanism, initial } => return self.on_auth(mechanism, initial),
            Command::Rset => self.idle("250 2.0.0 Ok\r\n", State::ExpectMail),
            Command::Bdat { octets, is_last } => {
                self.out_of_order_chunk(octets, is_last, State::ExpectMail, "503 5.5.1 MAIL first\r\n");
            }
            Command::Rcpt(_) | Command::Data => {
                self.out_of_order("503 5.5.1 MAIL first\r\n", State::ExpectMail);
            }
            Command::Noop
            | Command::Vrfy
            | Command::NotImplemented
            | Command::Help
            | Command::Quit
            | Command::Http
            | Command::Unknown => self.any_time(&command, State::ExpectMail),
        }
        None
    }

    fn on_mail(&mut self, mail: MailCommand) -> Option<Event<R>> {
        let limits = self.settings.limits;
        self.forgive();
        if self.settings.tls == Tls::Required && self.channel == Channel::Clear {
            self.error("530 5.7.0 STARTTLS first\r\n", State::ExpectMail);
        } else if self.settings.auth == Auth::Required && self.user.is_none() {
            self.error("530 5.7.0 Authentication required\r\n", State::ExpectMail);
        } else if self.counts.messages >= limits.messages {
            self.finish(End::TooManyMessages, "421 4.7.0 Too many messages on one connection\r\n");
        } else if mail.path_is_utf8 && !mail.smtputf8 {
            self.error("553 5.6.7 An address beyond ASCII needs SMTPUTF8\r\n", State::ExpectMail);
        } else if mail.requiretls && self.channel == Channel::Clear {
            self.error("555 5.5.4 REQUIRETLS isn't offered without TLS\r\n", State::ExpectMail);
        } else if !self.settings.dsn && (mail.return_content.is_some() || mail.envelope_id.is_some()) {
            self.error("555 5.5.4 DSN isn't offered\r\n", State::ExpectMail);
        } else if mail.size.is_some_and(|size| size > limits.message_bytes) {
            self.refused("552 5.3.4 Message larger than the limit\r\n", State::ExpectMail);
        } else {
            self.counts.forgiven = 0;
            return Some(Event::Mail(ask(mail)));
        }
        None
    }
}

fn ask(mail: MailCommand) -> AskMail {
    let envelope = Envelope {
        sender: mail.sender,
        recipients: Vec::new(),
        body: mail.body,
        smtputf8: mail.smtputf8,
        return_content: mail.return_content,
        envelope_id: mail.envelope_id,
        tls: if mail.requiretls { TlsRequirement::Required } else { TlsRequirement::Unsaid },
    };
    AskMail {
        transaction: Box::new(Transaction { envelope, has_refused_recipients: false }),
        size: mail.size,
    }
}

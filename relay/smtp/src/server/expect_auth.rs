//! STARTTLS and AUTH: what makes a session more trusted.
//! **Owns:** their order, AUTH's exchange and the count of its failures. **Never:** a password's check.
//! RFC 3207 4, RFC 4954 4 to 6.

use std::fmt::Display;

use postrider_mail::Reply;

use super::{
    Auth, Channel, End, Event, Server, Tls,
    next::{Effect, Next, State},
};
use crate::sasl::{BadExchange, Credentials, Exchange, Mechanism, Progress};

/// AUTH.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskAuth {
    credentials: Credentials,
}

impl AskAuth {
    /// What to check.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// 235: it is who it says.
    pub fn accept(self) -> Next {
        Next::new(State::ExpectMail, Effect::Authenticate(self.credentials.user().into()))
    }

    /// 535 5.7.8, the same for an unknown name and a wrong password.
    pub fn refuse(self) -> Next {
        Next::new(State::ExpectMail, Effect::FailAuth)
    }

    /// It couldn't be checked: a 454 of the shell's, which counts as no failure; or a 421, which ends the session.
    pub fn unavailable(self, reply: Reply) -> Next {
        Next::new(State::ExpectMail, Effect::Tell(reply))
    }
}

impl<R: Display> Server<R> {
    /// STARTTLS after EHLO and outside of a transaction.
    pub(super) fn on_start_tls(&mut self, is_alone: bool) -> Option<Event<R>> {
        if self.channel == Channel::Tls {
            self.error("503 5.5.1 TLS is there already\r\n", State::ExpectMail);
        } else if self.settings.tls == Tls::Off {
            self.error("502 5.5.1 STARTTLS isn't offered\r\n", State::ExpectMail);
        } else if !is_alone {
            // Somebody on the way puts commands before the client's own (CVE-2011-0411).
            self.finish(End::StartTlsInjection, "554 5.5.0 Clear text behind STARTTLS\r\n");
        } else {
            self.say("220 2.0.0 Ready to start TLS\r\n");
            self.state = State::ExpectTls;
            return Some(Event::StartTls);
        }
        None
    }

    /// AUTH after EHLO and outside of a transaction.
    pub(super) fn on_auth(
        &mut self,
        mechanism: Option<Mechanism>,
        initial: Option<&str>,
    ) -> Option<Event<R>> {
        if self.settings.auth == Auth::Off {
            self.error("502 5.5.1 AUTH isn't offered\r\n", State::ExpectMail);
            return None;
        }
        if self.channel == Channel::Clear {
            self.error("538 5.7.11 AUTH is offered under TLS only\r\n", State::ExpectMail);
            return None;
        }
        if self.user.is_some() {
            self.error("503 5.5.1 Authenticated already\r\n", State::ExpectMail);
            return None;
        }
        let Some(mechanism) = mechanism else {
            self.error("504 5.5.4 Unknown mechanism\r\n", State::ExpectMail);
            return None;
        };
        let exchange = Exchange::of(mechanism);
        match initial {
            Some(initial) => self.on_exchange_line(exchange, initial.as_bytes()),
            None => {
                self.challenge(exchange);
                None
            }
        }
    }

    fn challenge(&mut self, exchange: Exchange) {
        self.say("334 ");
        self.say(exchange.challenge());
        self.say("\r\n");
        self.state = State::ExpectAuth(exchange);
    }

    /// A line of AUTH's exchange.
    pub(super) fn on_exchange_line(&mut self, exchange: Exchange, line: &[u8]) -> Option<Event<R>> {
        match exchange.answer(line) {
            Ok(Progress::Challenge(exchange)) => self.challenge(exchange),
            Ok(Progress::Complete(credentials)) => return Some(Event::Auth(AskAuth { credentials })),
            Err(BadExchange::Cancelled) => self.error("501 5.0.0 AUTH cancelled\r\n", State::ExpectMail),
            Err(BadExchange::Malformed) => self.error("501 5.5.2 Malformed AUTH\r\n", State::ExpectMail),
            Err(BadExchange::ActsAsAnother) => self.fail_auth(),
        }
        None
    }

    pub(super) fn fail_auth(&mut self) {
        self.counts.auth_failures += 1;
        if self.counts.auth_failures >= self.settings.limits.auth_failures {
            self.finish(End::TooManyAuthFailures, "421 4.7.0 Too many failed AUTHs\r\n");
        } else {
            self.say("535 5.7.8 Authentication failed\r\n");
            self.state = State::ExpectMail;
        }
    }
}

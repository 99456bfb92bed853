//! A connection until the client has said who it is, and again after STARTTLS.
//! **Owns:** the greeting, EHLO and HELO and their answer. **Never:** who may connect (the shell's answer says it).
//! RFC 5321 3.1, 4.1.1.1; RFC 3207 4.2 (all is forgotten after STARTTLS).

use std::{borrow::Cow, fmt::Display};

use postrider_mail::{Reply, ReplyCode};

use super::{
    Auth, Channel, End, Event, Server, Tls,
    next::{Effect, Next, State},
};
use crate::{extension::Extensions, reply_codec};

/// What a client called itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The name or address literal as sent: printable ASCII, at most 255 bytes, unverified.
    pub name: Box<str>,
    /// EHLO rather than HELO.
    pub is_extended: bool,
}

/// A new connection.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskConnected(pub(super) ());

impl AskConnected {
    /// 220.
    pub fn welcome(self) -> Next {
        Next::new(State::ExpectGreeting, Effect::Greet)
    }

    /// 421 or 554 instead of a greeting; the session ends.
    pub fn refuse(self, reply: Reply) -> Next {
        Next::new(State::Ending(End::Refused), Effect::Tell(reply))
    }
}

/// EHLO or HELO.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct AskHello {
    hello: Hello,
    /// Where the session goes on if it is refused.
    before: State,
}

impl AskHello {
    pub(super) fn new(name: &str, is_extended: bool, before: State) -> Self {
        Self { hello: Hello { name: name.into(), is_extended }, before }
    }

    /// What the client calls itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// 250.
    pub fn welcome(self) -> Next {
        Next::new(State::ExpectMail, Effect::Welcome(self.hello))
    }

    /// Refused. The session goes on, unless the reply is a 421.
    pub fn refuse(self, reply: Reply) -> Next {
        Next::new(self.before, Effect::Refuse(reply))
    }
}

impl<R: Display> Server<R> {
    /// EHLO or HELO, outside of a transaction.
    pub(super) fn on_hello(&mut self, name: &str, is_extended: bool, before: State) -> Event<R> {
        Event::Hello(AskHello::new(name, is_extended, before))
    }

    pub(super) fn write_greeting(&mut self) {
        let line = format!("{} ESMTP Postrider", self.settings.hostname);
        reply_codec::write(&Reply::bare(ReplyCode::new(220), vec![line.into()]), &mut self.output);
    }

    pub(super) fn write_welcome(&mut self, hello: Hello) {
        let mut lines: Vec<Cow<'static, str>> = vec![self.settings.hostname.to_string().into()];
        if hello.is_extended {
            lines.extend(self.offers().lines().into_iter().map(Cow::Owned));
        }
        reply_codec::write(&Reply::bare(ReplyCode::new(250), lines), &mut self.output);
        self.hello = Some(hello);
    }

    /// What is offered now.
    fn offers(&self) -> Extensions {
        let settings = &self.settings;
        let has_auth = settings.auth != Auth::Off && self.channel == Channel::Tls && self.user.is_none();
        Extensions {
            pipelining: true,
            eight_bit_mime: true,
            smtputf8: true,
            chunking: true,
            dsn: settings.dsn,
            enhanced_status_codes: true,
            starttls: settings.tls != Tls::Off && self.channel == Channel::Clear,
            requiretls: self.channel == Channel::Tls,
            size: Some(settings.limits.message_bytes),
            auth_plain: has_auth,
            auth_login: has_auth,
            recipients_max: Some(settings.limits.recipients),
            messages_max: Some(settings.limits.messages),
        }
    }
}

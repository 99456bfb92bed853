//! EHLO, or HELO where the far side knows no EHLO.
//! **Owns:** what is offered, and which step comes next. **Never:** HELO where TLS or AUTH is needed.
//! RFC 5321 3.2, 4.1.1.1.

use postrider_mail::{FarReply, Severity, Stage};

use super::{Channel, Client, EndCause, Ended, Failure, State, Tls};
use crate::extension::Extensions;

/// Which of the two was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    Ehlo,
    Helo,
}

impl<P> Client<P> {
    pub(super) fn say_hello(&mut self, greeting: Greeting) {
        self.write(match greeting {
            Greeting::Ehlo => "EHLO ",
            Greeting::Helo => "HELO ",
        });
        let settings = self.settings.clone();
        self.write(settings.hostname.as_str());
        self.write("\r\n");
        self.reader.keep_lines(greeting == Greeting::Ehlo);
        self.state = State::ExpectEhlo(greeting);
    }

    pub(super) fn on_ehlo_reply(&mut self, greeting: Greeting, reply: FarReply, lines: &[Box<str>]) {
        self.reader.keep_lines(false);
        match reply.code.severity() {
            Severity::Success => {
                self.offers = match greeting {
                    Greeting::Ehlo => Extensions::from_lines(lines.iter().map(AsRef::as_ref)),
                    Greeting::Helo => Extensions::default(),
                };
                self.after_ehlo();
            }
            Severity::Permanent if greeting == Greeting::Ehlo && self.may_say_helo() => {
                self.say_hello(Greeting::Helo);
            }
            Severity::Transient | Severity::Permanent => {
                self.state = State::ExpectEhlo(greeting);
                self.refused_with_quit(reply);
            }
            Severity::Intermediate => {
                self.state = State::ExpectEhlo(greeting);
                self.fail(Failure::OutOfStep(reply));
            }
        }
    }

    /// Who knew EHLO in clear text knows it under TLS.
    fn may_say_helo(&self) -> bool {
        let settings = &self.settings;
        settings.tls != Tls::Required && settings.auth.is_none() && self.channel == Channel::Clear
    }

    /// STARTTLS, then AUTH, then mail.
    fn after_ehlo(&mut self) {
        let is_clear = self.channel == Channel::Clear;
        match self.settings.tls {
            Tls::IfOffered | Tls::Required if is_clear && self.offers.starttls => self.say_start_tls(),
            Tls::Required if is_clear => self.end_at(Stage::Tls, Failure::TlsNotOffered),
            Tls::Never | Tls::IfOffered | Tls::Required => self.authenticate(),
        }
    }

    /// Ends before anything was said at this stage.
    pub(super) fn end_at(&mut self, stage: Stage, failure: Failure) {
        self.write("QUIT\r\n");
        self.state = State::Ended(Ended { stage, cause: EndCause::Failed(failure) });
    }
}

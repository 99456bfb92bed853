//! STARTTLS.
//! **Owns:** its reply, and that nothing said in clear text counts under TLS. **Never:** the handshake, certificates.
//! RFC 3207 4; 4.2 (all is forgotten after the handshake).

use postrider_mail::{FarReply, Mono, Severity};

use super::{Channel, Client, Failure, State, Tls, expect_ehlo::Greeting};
use crate::extension::Extensions;

impl<P> Client<P> {
    pub(super) fn say_start_tls(&mut self) {
        self.write("STARTTLS\r\n");
        self.state = State::ExpectTlsReply;
    }

    pub(super) fn on_tls_reply(&mut self, reply: FarReply) {
        self.state = State::ExpectTlsReply;
        match reply.code.severity() {
            // Somebody on the way puts replies before the far side's own (CVE-2021-38371).
            Severity::Success if !self.input.is_empty() => self.fail(Failure::TlsInjection),
            Severity::Success => self.state = State::ExpectTls,
            Severity::Intermediate => self.fail(Failure::OutOfStep(reply)),
            Severity::Transient | Severity::Permanent => match self.settings.tls {
                Tls::IfOffered | Tls::Never => self.authenticate(),
                Tls::Required => self.refused_with_quit(reply),
            },
        }
    }

    /// The handshake behind [`Event::StartTls`](super::Event::StartTls) has succeeded.
    pub fn tls_established(&mut self, _now: Mono) {
        if !matches!(self.state, State::ExpectTls) {
            return;
        }
        self.has_progressed = true;
        if self.input.is_empty() {
            self.channel = Channel::Tls;
            self.offers = Extensions::default();
            self.say_hello(Greeting::Ehlo);
        } else {
            self.fail(Failure::TlsInjection);
        }
    }
}

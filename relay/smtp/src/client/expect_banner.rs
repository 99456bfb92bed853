//! The far side's greeting.
//! **Owns:** what it leads to. **Never:** speaks first. RFC 5321 3.1, RFC 7504 (521).

use postrider_mail::{FarReply, Severity};

use super::{Client, Failure, State, expect_ehlo::Greeting};

impl<P> Client<P> {
    pub(super) fn on_banner(&mut self, reply: FarReply) {
        match reply.code.severity() {
            Severity::Success => self.say_hello(Greeting::Ehlo),
            Severity::Intermediate => {
                self.state = State::ExpectBanner;
                self.fail(Failure::OutOfStep(reply));
            }
            Severity::Transient | Severity::Permanent => {
                self.state = State::ExpectBanner;
                self.refused_with_quit(reply);
            }
        }
    }

    /// The far side still listens: it is left in order.
    pub(super) fn refused_with_quit(&mut self, reply: FarReply) {
        self.write("QUIT\r\n");
        self.refused(reply);
    }
}

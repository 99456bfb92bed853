//! AUTH towards a smarthost.
//! **Owns:** the choice of mechanism and its exchange. **Never:** a password over clear text, unless the settings say so.
//! RFC 4954 4.

use postrider_mail::{FarReply, Severity, Stage};

use super::{Channel, Client, Failure, State};

/// What the next reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthStep {
    /// AUTH PLAIN with its message. A 334 asks for it once more.
    PlainAtOnce,
    /// AUTH LOGIN: a 334 asks for the name.
    LoginUser,
    /// The name: a 334 asks for the password.
    LoginPassword,
    /// The last line.
    Verdict,
}

impl<P> Client<P> {
    pub(super) fn authenticate(&mut self) {
        let settings = self.settings.clone();
        let Some(credentials) = &settings.auth else {
            self.state = State::Ready;
            return;
        };
        if self.channel == Channel::Clear && !settings.auth_in_clear {
            self.end_at(Stage::Auth, Failure::AuthInClear);
        } else if self.offers.auth_plain {
            self.write(&format!("AUTH PLAIN {}\r\n", credentials.to_plain()));
            self.state = State::ExpectAuth(AuthStep::PlainAtOnce);
        } else if self.offers.auth_login {
            self.write("AUTH LOGIN\r\n");
            self.state = State::ExpectAuth(AuthStep::LoginUser);
        } else {
            self.end_at(Stage::Auth, Failure::AuthNotOffered);
        }
    }

    pub(super) fn on_auth_reply(&mut self, step: AuthStep, reply: FarReply) {
        self.state = State::ExpectAuth(step);
        match reply.code.severity() {
            // 235 ends the exchange, and only its last line can have earned it.
            Severity::Success if matches!(step, AuthStep::PlainAtOnce | AuthStep::Verdict) => {
                self.state = State::Ready;
            }
            Severity::Intermediate if step != AuthStep::Verdict => self.answer_challenge(step),
            Severity::Success | Severity::Intermediate => self.fail(Failure::OutOfStep(reply)),
            Severity::Transient | Severity::Permanent => self.refused_with_quit(reply),
        }
    }

    fn answer_challenge(&mut self, step: AuthStep) {
        let settings = self.settings.clone();
        let Some(credentials) = &settings.auth else { return };
        let (line, next) = match step {
            AuthStep::PlainAtOnce => (credentials.to_plain(), AuthStep::Verdict),
            AuthStep::LoginUser => (credentials.to_login_user(), AuthStep::LoginPassword),
            AuthStep::LoginPassword | AuthStep::Verdict => {
                (credentials.to_login_password(), AuthStep::Verdict)
            }
        };
        self.write(&line);
        self.write("\r\n");
        self.state = State::ExpectAuth(next);
    }
}

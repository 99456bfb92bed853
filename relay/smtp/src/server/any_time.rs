//! Commands that may come at any time, and what counts against a client.
//! **Owns:** NOOP, VRFY, HELP, QUIT and the like; counts of errors, idle commands and refusals. **Never:** transactions.
//! RFC 5321 4.1.1.5 to 4.1.1.10; 4.2.4 (500, 502).

use std::fmt::Display;

use postrider_mail::Reply;

use super::{
    End, Server,
    next::{Effect, State},
};
use crate::{
    command::{BadCommand, Command},
    reply_codec,
};

/// What a client has done so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) messages: u32,
    pub(super) auth_failures: u32,
    errors: u32,
    idle_commands: u32,
    refusals: u32,
    /// So many commands may still be out of order: they were sent before their MAIL was refused.
    pub(super) forgiven: u32,
}

impl<R: Display> Server<R> {
    pub(super) fn any_time(&mut self, command: &Command<'_>, state: State) {
        match command {
            Command::Noop => self.idle("250 2.0.0 Ok\r\n", state),
            Command::Vrfy => self.idle("252 2.5.0 Send it, and you will be told\r\n", state),
            Command::Help => self.idle("214 2.0.0 RFC 5321\r\n", state),
            Command::NotImplemented => self.error("502 5.5.1 Not implemented\r\n", state),
            Command::Quit => self.finish(End::Quit, "221 2.0.0 Bye\r\n"),
            Command::Http => self.finish(End::Http, "554 5.5.0 This is SMTP\r\n"),
            Command::Unknown => self.error("500 5.5.1 Unknown command\r\n", state),
            Command::Ehlo(_)
            | Command::Helo(_)
            | Command::Mail(_)
            | Command::Rcpt(_)
            | Command::Data
            | Command::Bdat { .. }
            | Command::Rset
            | Command::StartTls
            | Command::Auth { .. } => self.error("503 5.5.1 Out of order\r\n", state),
        }
    }

    pub(super) fn bad_command(&mut self, bad: &BadCommand, state: State) {
        let text = match bad {
            BadCommand::Characters => "500 5.5.2 Characters that no command has\r\n",
            BadCommand::Arguments(_) => "501 5.5.4 Bad arguments\r\n",
            BadCommand::Mailbox(_) => "553 5.1.3 Bad address\r\n",
            BadCommand::SourceRoute => "553 5.1.3 Source routes aren't followed\r\n",
            BadCommand::UnknownParameter => "555 5.5.4 Unknown parameter\r\n",
            BadCommand::ParameterValue(_) => "501 5.5.4 Bad parameter\r\n",
        };
        self.error(text, state);
    }

    /// An error of the client's.
    pub(super) fn error(&mut self, text: &'static str, state: State) {
        self.counts.errors += 1;
        if self.counts.errors > self.settings.limits.errors {
            self.finish(End::TooManyErrors, "421 4.7.0 Too many errors\r\n");
        } else {
            self.say(text);
            self.state = state;
        }
    }

    /// A command that brings no mail forward.
    pub(super) fn idle(&mut self, text: &'static str, state: State) {
        self.say(text);
        self.state = state;
        self.count_idle();
    }

    pub(super) fn count_idle(&mut self) {
        self.counts.idle_commands += 1;
        if self.counts.idle_commands > self.settings.limits.idle_commands {
            self.finish(End::TooManyCommands, "421 4.7.0 Too many commands without mail\r\n");
        }
    }

    /// A command at the wrong time; forgiven where it was pipelined behind a MAIL that was refused.
    pub(super) fn out_of_order(&mut self, text: &'static str, state: State) {
        if self.counts.forgiven == 0 {
            return self.error(text, state);
        }
        self.counts.forgiven -= 1;
        self.say(text);
        self.state = state;
    }

    pub(super) fn forgive(&mut self) {
        self.counts.forgiven = self.settings.limits.recipients.saturating_add(10);
    }

    pub(super) fn refused(&mut self, text: &'static str, state: State) {
        self.say(text);
        self.state = state;
        self.count_refusal();
    }

    fn count_refusal(&mut self) {
        self.counts.refusals += 1;
        if self.counts.refusals > self.settings.limits.refusals {
            self.finish(End::TooManyRefusals, "421 4.7.0 Too many refusals\r\n");
        }
    }

    pub(super) fn say(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
    }

    /// The last words.
    pub(super) fn finish(&mut self, end: End, text: &'static str) {
        self.say(text);
        self.end_now(end);
    }

    /// Says and counts what a step or an answer led to; the state it goes on in is set already.
    pub(super) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Greet => self.write_greeting(),
            Effect::Welcome(hello) => {
                self.write_welcome(hello);
                self.count_idle();
            }
            Effect::Say(text) => self.say(text),
            Effect::Tell(reply) => self.tell(&reply),
            Effect::Refuse(reply) => {
                self.tell(&reply);
                self.count_refusal();
            }
            Effect::RefuseMail(reply) => {
                self.forgive();
                self.tell(&reply);
                self.count_refusal();
            }
            Effect::OutOfOrder(text) => {
                let state = std::mem::replace(&mut self.state, State::Asked);
                self.out_of_order(text, state);
            }
            Effect::Authenticate(user) => {
                self.user = Some(user);
                self.say("235 2.7.0 Authenticated\r\n");
            }
            Effect::FailAuth => self.fail_auth(),
            Effect::Safe(safe) => {
                self.say(safe.line());
                let messages = self.counts.messages + 1;
                let (errors, auth_failures) = (self.counts.errors, self.counts.auth_failures);
                self.counts = Counts { messages, errors, auth_failures, ..Counts::default() };
            }
        }
    }

    /// A reply of the shell's. Behind a 421 nothing comes (RFC 5321 3.8).
    pub(super) fn tell(&mut self, reply: &Reply) {
        reply_codec::write(reply, &mut self.output);
        if reply.code().get() == 421 {
            self.end_now(End::Refused);
        }
    }
}

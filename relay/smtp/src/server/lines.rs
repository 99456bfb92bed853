//! Command lines, one at a time: found, read, given to the state that waits for one.
//! **Owns:** how long a line may be, what may stand behind it, that RSET and EHLO end a transaction first. **Never:** what
//! a command does (the states' files). RFC 5321 4.5.3.1, 2.3.8; RFC 2920 3.1.

use std::fmt::Display;

use bytes::Buf;

use super::{Abort, Channel, End, Event, Server, next::State};
use crate::{
    command::{self, Command},
    line::{self, Line},
    sasl::MAX_AUTH_LINE_BYTES,
};

impl<R: Display> Server<R> {
    /// Takes a line, if there is one: `None` if not, else what it led to.
    #[allow(clippy::option_option, reason = "no line, and a line without event, are two things")]
    pub(super) fn line(&mut self, state: State) -> Option<Option<Event<R>>> {
        match line::find(&self.input, self.line_limit(&state)) {
            Line::Partial => {
                self.state = state;
                None
            }
            Line::TooLong => {
                self.finish(End::LineTooLong, "500 5.5.2 Line too long\r\n");
                Some(None)
            }
            Line::Bare(len) => {
                self.input.advance(len);
                self.has_progressed = true;
                self.error("500 5.5.2 Lines end with CRLF\r\n", state);
                Some(None)
            }
            Line::Whole(len) => {
                // Taken out, so that the line can be looked at while the session changes.
                let mut input = std::mem::take(&mut self.input);
                let (event, is_taken) = self.whole_line(state, &input[..len], input.len() == len + 2);
                if is_taken {
                    input.advance(len + 2);
                    self.has_progressed = true;
                }
                self.input = input;
                Some(event)
            }
        }
    }

    /// AUTH's lines may be longer than others (RFC 4954 4).
    fn line_limit(&self, state: &State) -> usize {
        let is_auth = self.input.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
        match state {
            State::ExpectAuth(_) => MAX_AUTH_LINE_BYTES,
            State::ExpectMail if is_auth && self.channel == Channel::Tls => MAX_AUTH_LINE_BYTES,
            _ => self.settings.limits.command_line_bytes,
        }
    }

    /// Gives what a line led to, and whether it is done with.
    fn whole_line(&mut self, state: State, line: &[u8], is_alone: bool) -> (Option<Event<R>>, bool) {
        if let State::ExpectAuth(exchange) = state {
            if !is_alone {
                self.unauthorized_pipelining();
                return (None, true);
            }
            return (self.on_exchange_line(exchange, line), true);
        }
        let command = match command::parse(line) {
            Ok(command) => command,
            // How many octets follow can't be known: whatever comes next could be content.
            Err(_) if line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT")) => {
                self.finish(
                    End::TooManyErrors,
                    "501 5.5.4 BDAT takes a number of octets, and perhaps LAST\r\n",
                );
                return (None, true);
            }
            Err(bad) => {
                if matches!(&state, State::ExpectMail) {
                    self.forgive();
                }
                self.bad_command(&bad, state);
                return (None, true);
            }
        };
        if !is_alone && self.must_be_alone(&command) {
            self.unauthorized_pipelining();
            return (None, true);
        }
        let ends_transaction = matches!(command, Command::Ehlo(_) | Command::Helo(_) | Command::Rset);
        if ends_transaction && matches!(state, State::ExpectRcpt(_) | State::ExpectData(..)) {
            // First the shell is told, then the command comes again.
            self.state = State::ExpectMail;
            self.abort(Abort::Reset);
            return (None, false);
        }
        (self.on_command(state, command, is_alone), true)
    }

    fn on_command(&mut self, state: State, command: Command<'_>, is_alone: bool) -> Option<Event<R>> {
        match state {
            State::ExpectGreeting => match command {
                Command::Ehlo(name) => return Some(self.on_hello(name, true, State::ExpectGreeting)),
                Command::Helo(name) => return Some(self.on_hello(name, false, State::ExpectGreeting)),
                Command::Rset => self.idle("250 2.0.0 Ok\r\n", State::ExpectGreeting),
                Command::Bdat { octets, is_last } => {
                    self.out_of_order_chunk(
                        octets,
                        is_last,
                        State::ExpectGreeting,
                        "503 5.5.1 EHLO first\r\n",
                    );
                }
                Command::Mail(_)
                | Command::Rcpt(_)
                | Command::Data
                | Command::StartTls
                | Command::Auth { .. } => {
                    self.error("503 5.5.1 EHLO first\r\n", State::ExpectGreeting);
                }
                _ => self.any_time(&command, State::ExpectGreeting),
            },
            State::ExpectMail => return self.expect_mail(command, is_alone),
            State::ExpectRcpt(transaction) => return self.expect_rcpt(command, transaction),
            State::ExpectData(transaction, body) => self.expect_chunk(&command, transaction, body),
            // No other state takes commands.
            other => self.state = other,
        }
        None
    }

    /// RFC 2920 3.1: these end a group, so that nothing stands behind them. Without EHLO nothing is pipelined at all.
    fn must_be_alone(&self, command: &Command<'_>) -> bool {
        match command {
            Command::Ehlo(_) | Command::Helo(_) | Command::Data | Command::Auth { .. } => true,
            // These have an end of their own.
            Command::StartTls | Command::Quit | Command::Http | Command::Bdat { .. } => false,
            _ => !self.hello.as_ref().is_some_and(|hello| hello.is_extended),
        }
    }

    fn unauthorized_pipelining(&mut self) {
        self.finish(End::UnauthorizedPipelining, "554 5.5.0 More came than may be pipelined\r\n");
    }
}

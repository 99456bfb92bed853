//! What a session's one log line says.
//! **Owns:** the counts, the names of ends. **Never:** an address of a person, a password.

use std::{io, net::IpAddr};

use postrider_mail::{QueueId, Reply};
use postrider_smtp::server::End;

use super::Session;
use crate::{listener::door::Door, tls::accept::HandshakeFailed};

/// What was counted of a session.
#[derive(Debug)]
pub(super) struct Tally {
    client: IpAddr,
    /// Bytes read.
    pub(super) bytes: u64,
    /// Refusals by the shell.
    pub(super) refused: u32,
    messages: u32,
    recipients: u32,
    last: Option<QueueId>,
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As smtp says.
    Protocol(End),
    /// The connection broke.
    Broken(io::Error),
    /// STARTTLS went wrong.
    Handshake(HandshakeFailed),
}

impl Ended {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Broken(_) => "broken",
            Self::Handshake(_) => "handshake",
            Self::Protocol(end) => match end {
                End::Quit => "quit",
                End::ClosedByClient => "closed",
                End::ClosedInTransaction => "closed_in_transaction",
                End::TimedOut => "timeout",
                End::SessionTooLong => "session_too_long",
                End::Refused => "refused",
                End::EarlyTalker => "early_talker",
                End::UnauthorizedPipelining => "pipelining",
                End::StartTlsInjection => "starttls_injection",
                End::Http => "http",
                End::LineTooLong => "line_too_long",
                End::TooManyErrors => "errors",
                End::TooManyCommands => "commands",
                End::TooManyRefusals => "refusals",
                End::TooManyAuthFailures => "auth_failures",
                End::TooManyMessages => "messages",
                End::EndlessMessage => "endless_message",
            },
        }
    }
}

impl Ended {
    /// Whether the client closed the connection, or it broke.
    pub(super) const fn is_by_client(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Protocol(End::ClosedByClient | End::ClosedInTransaction))
    }

    fn reason(&self) -> Option<String> {
        match self {
            Self::Broken(why) => Some(why.to_string()),
            Self::Handshake(why) => Some(why.to_string()),
            Self::Protocol(_) => None,
        }
    }
}

/// Users may be called by their address, which is personal: then its domain is shown.
fn shown(user: &str) -> &str {
    user.rsplit_once('@').map_or(user, |(_, domain)| domain)
}

impl Tally {
    pub(super) fn new(client: IpAddr) -> Self {
        Self { client, bytes: 0, refused: 0, messages: 0, recipients: 0, last: None }
    }

    pub(super) fn accepted(&mut self, id: &QueueId, recipients: usize) {
        self.messages += 1;
        self.recipients = self.recipients.saturating_add(u32::try_from(recipients).unwrap_or(u32::MAX));
        self.last = Some(id.clone());
    }

    pub(super) fn tell(&self, session: &Session, ended: &Ended) {
        let (end, door) = (ended.as_str(), &session.door);
        if self.bytes == 0 && matches!(ended, Ended::Protocol(End::ClosedByClient) | Ended::Broken(_)) {
            // A health check: it connects, perhaps reads the greeting, and goes.
            tracing::debug!(listener = &*door.name, client = %self.client, end, "a connection without a word");
            return;
        }
        door.count_end(end);
        let session_id = format!("{:016x}", rand::random::<u64>());
        tracing::info!(
            session_id,
            listener = &*door.name,
            client = %self.client,
            tls = session.wire.tls().map(|(version, _)| version),
            user = session.server.user().map(shown),
            messages = self.messages,
            recipients = self.recipients,
            refused = self.refused,
            queue_id = self.last.as_ref().map(tracing::field::display),
            bytes = self.bytes,
            duration_ms = u64::try_from(session.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            end,
            reason = ended.reason(),
            "session ended"
        );
    }
}

/// Counts a connection that was turned away at the door.
pub(crate) fn count_refused(door: &Door, why: &'static str) {
    door.count_end(why);
    tracing::debug!(listener = &*door.name, end = why, "a connection was turned away");
}

/// A reply of one line as it is sent before there is a session.
pub(crate) fn on_the_wire(reply: &Reply) -> Vec<u8> {
    let text = reply.lines().first().map_or("", |line| line.as_ref());
    match reply.enhanced() {
        Some(enhanced) => format!("{} {enhanced} {text}\r\n", reply.code()).into_bytes(),
        None => format!("{} {text}\r\n", reply.code()).into_bytes(),
    }
}

//! The messages that tell a sender what became of mail: bounces, notices of delay, notices of success.
//! **Owns:** their form, rendered from the record alone. **Never:** their delivery, a store, a clock.
//! The same record gives the same bytes, so that a notice sent twice is seen to be one (its Message-ID is the same).
//! Invariant: I5, the sender of a notice is null, and a null sender gets none ([`options`]).
//! RFC 6522 (multipart/report), RFC 3464 (delivery-status), RFC 3461 (options), RFC 6533 (international), RFC 3834.

mod dsn;
pub(crate) mod encode;
pub mod options;
mod text;

use postrider_mail::{BodyEncoding, Due, Envelope, HostName, Outcome, QueueId, Recipient};

/// What a notice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Some recipients will not get the message.
    Bounce,
    /// Some recipients don't have it yet.
    Delay,
    /// Some recipients' next server has it, and won't tell more: `relayed`.
    Success,
}

/// All that a notice is made of.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// What it says.
    pub kind: Kind,
    /// The message that it is about.
    pub queue_id: &'a QueueId,
    /// Tells several notices about one message apart: the place of its delivery in the record, say.
    pub serial: u32,
    /// This relay's name: Reporting-MTA, and the domain of its From.
    pub hostname: &'a HostName,
    /// Whom it is for, and what the sender of the message asked for.
    pub envelope: &'a Envelope,
    /// When the message was accepted.
    pub accepted: Due,
    /// When the notice was decided: its Date. From the record, so that each rendering gives the same.
    pub decided: Due,
    /// Until when the message is tried; shown by notices of delay.
    pub expires: Due,
    /// Whom it is about; not empty.
    pub recipients: Vec<Reported<'a>>,
    /// The message.
    pub original: Original<'a>,
    /// Whether the notice must do without bytes above 127, because the far side lacks 8BITMIME: then an 8-bit body isn't
    /// returned.
    pub seven_bit: bool,
}

/// One recipient in a notice.
#[derive(Debug, Clone, Copy)]
pub struct Reported<'a> {
    /// Who.
    pub recipient: &'a Recipient,
    /// What became of the message for it.
    pub outcome: &'a Outcome,
    /// When that was.
    pub at: Due,
}

/// The message that a notice is about.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// Its header, without the empty line behind it. May be cut.
    pub header: &'a [u8],
    /// Its body; absent when it wasn't loaded ([`options::returns_body`] says whether to).
    pub body: Option<&'a [u8]>,
}

/// A notice, ready to send from the null sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Header and body, lines ended by CRLF, no dots doubled.
    pub message: Vec<u8>,
    /// Whether it has bytes above 127.
    pub encoding: BodyEncoding,
    /// Whether it needs SMTPUTF8: its recipient is international.
    pub smtputf8: bool,
}

/// Splits a message as received into what [`Original`] wants.
pub fn split(message: &[u8]) -> Original<'_> {
    if let Some(body) = message.strip_prefix(b"\r\n") {
        return Original { header: b"", body: Some(body) };
    }
    match message.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) => Original { header: &message[..at + 2], body: Some(&message[at + 4..]) },
        None => Original { header: message, body: None },
    }
}

/// Renders a notice. `None` for a null sender: nobody is told (RFC 5321 4.5.5).
pub fn render(report: &Report<'_>) -> Option<Notice> {
    let to = report.envelope.sender.mailbox()?;
    Some(dsn::render(report, to))
}

#[cfg(test)]
mod tests;

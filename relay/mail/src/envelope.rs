//! Who sends a message to whom, and what was asked of its transport.
//! **Owns:** the envelope's parts. **Never:** headers: the envelope alone decides. RFC 5321 2.3.1, RFC 3461 4, RFC 8689.

use serde::{Deserialize, Serialize};

use crate::mailbox::{Mailbox, ReversePath};

/// The longest ENVID, RFC 3461 4.4.
pub const MAX_ENVELOPE_ID_BYTES: usize = 100;
/// The longest ORCPT, RFC 3461 4.2.
pub const MAX_ORIGINAL_RECIPIENT_BYTES: usize = 500;

/// An envelope, complete: it has at least one recipient when a server hands it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Where bounces go.
    pub sender: ReversePath,
    /// In the order of the RCPT commands.
    pub recipients: Vec<Recipient>,
    /// What BODY= said.
    pub body: BodyEncoding,
    /// Whether the client asked for SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// RET=: what of the message a bounce shows.
    pub return_content: Option<ReturnContent>,
    /// ENVID=, decoded.
    pub envelope_id: Option<Box<str>>,
    /// What it asks of the TLS on its way.
    pub tls: TlsRequirement,
}

/// What a message asks of the TLS on its way (RFC 8689).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TlsRequirement {
    /// Nothing.
    #[default]
    Unsaid,
    /// REQUIRETLS: it goes only to hosts whose certificate was verified, and that ask the same of the next one.
    #[serde(rename = "R")]
    Required,
    /// `TLS-Required: No`: it rather goes in clear than waits, whatever the far side has published.
    #[serde(rename = "N")]
    Lifted,
}

/// One RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Whom to.
    pub mailbox: Mailbox,
    /// NOTIFY=; absent means that failures and delays are told (RFC 3461 4.1).
    pub notify: Option<Notify>,
    /// ORCPT=.
    pub original: Option<OriginalRecipient>,
}

impl Recipient {
    /// A recipient without DSN parameters.
    pub fn new(mailbox: Mailbox) -> Self {
        Self { mailbox, notify: None, original: None }
    }

    /// Whether the sender is told of a failure.
    pub fn wants_failure(&self) -> bool {
        self.notify.is_none_or(Notify::failure)
    }

    /// Whether the sender is told of a delay.
    pub fn wants_delay(&self) -> bool {
        self.notify.is_none_or(Notify::delay)
    }

    /// Whether the sender is told of a success.
    pub fn wants_success(&self) -> bool {
        self.notify.is_some_and(Notify::success)
    }
}

/// NOTIFY=, RFC 3461 4.1: `NEVER`, or any of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notify {
    /// No notice at all.
    Never,
    /// Notices of these.
    On {
        /// Told of success.
        success: bool,
        /// Told of failure.
        failure: bool,
        /// Told of delay.
        delay: bool,
    },
}

impl Notify {
    fn success(self) -> bool {
        matches!(self, Self::On { success: true, .. })
    }
    fn failure(self) -> bool {
        matches!(self, Self::On { failure: true, .. })
    }
    fn delay(self) -> bool {
        matches!(self, Self::On { delay: true, .. })
    }
}

/// ORCPT=, RFC 3461 4.2: an address in whatever system it was first given in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalRecipient {
    /// `rfc822`, `utf-8`, …
    pub address_type: Box<str>,
    /// The address, decoded.
    pub address: Box<str>,
}

/// BODY=, RFC 6152. BINARYMIME isn't offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum BodyEncoding {
    /// All bytes below 128, or nothing was said.
    #[default]
    SevenBit,
    /// Bytes above 127 may occur.
    EightBitMime,
}

/// RET=, RFC 3461 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReturnContent {
    /// The whole message.
    Full,
    /// Its header only.
    Headers,
}

//! How a client speaks to a far side, and what it is to send.
//! **Owns:** the settings and the transaction. **Never:** where they come from (config, queue).

use postrider_mail::{Envelope, HostName};

use crate::{sasl::Credentials, timer::Waits};

/// How to speak to a far side.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name in EHLO.
    pub hostname: HostName,
    /// Whether STARTTLS is used.
    pub tls: Tls,
    /// Who we are to it; refused over clear text unless `auth_in_clear`.
    pub auth: Option<Credentials>,
    /// Whether a password may go over clear text.
    pub auth_in_clear: bool,
    /// Whether PIPELINING is used where offered.
    pub pipelining: bool,
    /// Whether CHUNKING (BDAT) is used where it is offered with PIPELINING.
    pub chunking: bool,
    /// What becomes of 8-bit content where 8BITMIME isn't offered.
    pub eight_bit: EightBit,
    /// How long waits are.
    pub waits: Waits,
}

impl Settings {
    /// The usual settings: STARTTLS and PIPELINING where offered, DATA, no AUTH.
    pub fn new(hostname: HostName) -> Self {
        Self {
            hostname,
            tls: Tls::IfOffered,
            auth: None,
            auth_in_clear: false,
            pipelining: true,
            chunking: false,
            eight_bit: EightBit::Refuse,
            waits: Waits::default(),
        }
    }
}

/// STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Never: clear text, or a connection that is TLS from its start.
    Never,
    /// Where it is offered. If the far side then refuses it, the session goes on in clear text.
    IfOffered,
    /// Without it the session ends.
    Required,
}

/// 8-bit content and a far side without 8BITMIME (RFC 6152 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EightBit {
    /// It fails here, with [`super::Failure::EightBitNotOffered`].
    Refuse,
    /// It is sent as it is.
    SendAnyway,
}

/// One message to some recipients.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Who, to whom; the recipients of this transaction only.
    pub envelope: Envelope,
    /// The size of the content.
    pub content_bytes: u64,
    /// Whether the content has bytes above 127.
    pub content_is_8bit: bool,
    /// Whether the header has bytes above 127: with a non-ASCII address the only reason to need SMTPUTF8.
    pub header_is_utf8: bool,
}

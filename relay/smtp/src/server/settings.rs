//! What sessions of one listener have in common.
//! **Owns:** the settings and every bound of a session. **Never:** where they come from (the config).

use postrider_mail::HostName;

use crate::{line::MAX_COMMAND_LINE_BYTES, timer::Waits};

/// What one listener's sessions have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who we are, in the greeting and the answer to EHLO.
    pub hostname: HostName,
    /// Whether STARTTLS is offered, or demanded before MAIL.
    pub tls: Tls,
    /// Whether AUTH is offered (under TLS only), or demanded before MAIL.
    pub auth: Auth,
    /// What becomes of a CR or LF that stands alone in a message.
    pub bare_newlines: BareNewlines,
    /// Whether DSN is offered.
    pub dsn: bool,
    /// All bounds.
    pub limits: Limits,
    /// How long waits are.
    pub waits: Waits,
}

impl Settings {
    /// The usual settings of a listener: no TLS, no AUTH.
    pub fn new(hostname: HostName) -> Self {
        Self {
            hostname,
            tls: Tls::Off,
            auth: Auth::Off,
            bare_newlines: BareNewlines::Refuse,
            dsn: true,
            limits: Limits::default(),
            waits: Waits::default(),
        }
    }
}

/// STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not offered.
    Off,
    /// Offered.
    Optional,
    /// Offered, and no MAIL without it. A session that began under TLS has it already.
    Required,
}

/// AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Not offered.
    Off,
    /// Offered under TLS.
    Optional,
    /// Offered under TLS, and no MAIL without it.
    Required,
}

/// A CR or LF that stands alone makes two servers see two different messages (CVE-2023-51764).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNewlines {
    /// The message is read to its real end, then refused with 550 5.5.2.
    Refuse,
    /// Each becomes CRLF; the message still ends at CRLF.CRLF only.
    Normalize,
}

/// Every bound of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes as received (dots unstuffed).
    pub message_bytes: u64,
    /// Recipients in a transaction; further ones get 452 4.5.3.
    pub recipients: u32,
    /// Messages in a session; then 421.
    pub messages: u32,
    /// The longest command line, its CRLF included.
    pub command_line_bytes: usize,
    /// Commands that bring no mail forward (NOOP, RSET, VRFY, HELP, EHLO again, …) since the last message; then 421.
    pub idle_commands: u32,
    /// Errors of syntax or order in a session; then 421.
    pub errors: u32,
    /// Refusals of MAIL, RCPT or a message since the last message taken; then 421.
    pub refusals: u32,
    /// Failed AUTHs in a session; then 421.
    pub auth_failures: u32,
    /// A message's slowest rate, in bytes a second, once a block's wait has passed.
    pub body_bytes_per_second_min: u32,
    /// The longest session in seconds.
    pub session_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 25 << 20,
            recipients: 1000,
            messages: 10_000,
            command_line_bytes: MAX_COMMAND_LINE_BYTES,
            idle_commands: 100,
            errors: 20,
            refusals: 1000,
            auth_failures: 3,
            body_bytes_per_second_min: 100,
            session_seconds: 86_400,
        }
    }
}

//! What a server offers in its answer to EHLO.
//! **Owns:** the keywords, both ways. **Never:** decides what is offered (the server's settings) or used (the client).
//! RFC 5321 4.1.1.1; RFC 1870 SIZE, 2034 ENHANCEDSTATUSCODES, 2920 PIPELINING, 3030 CHUNKING, 3207 STARTTLS, 3461 DSN,
//! 4954 AUTH, 6152 8BITMIME, 6531 SMTPUTF8, 9422 LIMITS.

/// The extensions that a server offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions {
    /// PIPELINING.
    pub pipelining: bool,
    /// 8BITMIME.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// CHUNKING.
    pub chunking: bool,
    /// DSN.
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES.
    pub enhanced_status_codes: bool,
    /// STARTTLS.
    pub starttls: bool,
    /// SIZE, and the largest message in bytes; 0 means that it isn't said.
    pub size: Option<u64>,
    /// AUTH PLAIN.
    pub auth_plain: bool,
    /// AUTH LOGIN.
    pub auth_login: bool,
    /// LIMITS RCPTMAX: recipients in a transaction.
    pub recipients_max: Option<u32>,
    /// LIMITS MAILMAX: transactions on a connection.
    pub messages_max: Option<u32>,
}

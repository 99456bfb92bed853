//! How transactions and sessions end without a message.
//! **Owns:** the reasons. **Never:** the replies that tell them.

/// Why a transaction brought no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// RSET, EHLO or STARTTLS.
    Reset,
    /// The session ended.
    SessionEnded,
    /// The body was larger than allowed; 552 5.3.4 was said.
    TooLarge,
    /// The body had a bare CR or LF; 550 5.5.2 was said.
    BareNewline,
    /// [`Server::refuse_body`](super::Server::refuse_body) was called.
    Refused,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// QUIT.
    Quit,
    /// The client closed the connection.
    ClosedByClient,
    /// The client closed the connection within a transaction.
    ClosedInTransaction,
    /// The client was silent, or slower than allowed.
    TimedOut,
    /// The session was longer than allowed.
    SessionTooLong,
    /// The shell refused to go on.
    Refused,
    /// The client spoke before it was greeted.
    EarlyTalker,
    /// The client sent more behind a command that has to be the last of its group (RFC 2920 3.1).
    UnauthorizedPipelining,
    /// Clear text stood behind STARTTLS.
    StartTlsInjection,
    /// The client speaks HTTP.
    Http,
    /// A line was longer than allowed.
    LineTooLong,
    /// Too many errors.
    TooManyErrors,
    /// Too many commands that bring no mail.
    TooManyCommands,
    /// Too many refusals.
    TooManyRefusals,
    /// Too many failed AUTHs.
    TooManyAuthFailures,
    /// As many messages as a session may have.
    TooManyMessages,
    /// A message went on far beyond its limit.
    EndlessMessage,
}

//! Every wait of both sides, by name.
//! **Owns:** how long each wait is, and that none is shorter than RFC 5321 4.5.3.2 asks. **Never:** reads a clock.

use std::time::Duration;

/// A wait for the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wait {
    /// As a client: for the greeting.
    Banner,
    /// As a client: for the answer to EHLO or HELO.
    Ehlo,
    /// As a client: for the answer to STARTTLS. The handshake is the shell's.
    StartTls,
    /// As a client: for an answer of AUTH.
    Auth,
    /// As a client: for the answer to MAIL.
    Mail,
    /// As a client: for the answer to a RCPT.
    Rcpt,
    /// As a client: for the 354.
    DataStart,
    /// Either side: for a block of the body to go through.
    DataBlock,
    /// As a client: for the answer to the final dot. Cutting it short makes duplicates (RFC 1047).
    DotReply,
    /// As a client: for the answer to RSET.
    Reset,
    /// As a client: for the answer to QUIT. It decides nothing.
    Quit,
    /// As a server: for a whole command.
    Command,
}

impl Wait {
    /// All waits.
    pub const ALL: [Self; 12] = [
        Self::Banner,
        Self::Ehlo,
        Self::StartTls,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::DataStart,
        Self::DataBlock,
        Self::DotReply,
        Self::Reset,
        Self::Quit,
        Self::Command,
    ];

    /// What RFC 5321 4.5.3.2 asks for at least; where it says nothing, what does no harm.
    pub const fn floor(self) -> Duration {
        match self {
            Self::Banner | Self::Ehlo | Self::Mail | Self::Rcpt | Self::Command => {
                Duration::from_secs(5 * 60)
            }
            Self::DataStart | Self::StartTls | Self::Auth => Duration::from_secs(2 * 60),
            Self::DataBlock => Duration::from_secs(3 * 60),
            Self::DotReply => Duration::from_secs(10 * 60),
            Self::Reset => Duration::from_secs(20),
            Self::Quit => Duration::from_secs(2),
        }
    }
}

/// How long each wait is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    divisor: u32,
}

impl Default for Waits {
    fn default() -> Self {
        Self { divisor: 1 }
    }
}

impl Waits {
    /// Waits that are so many times shorter than the RFC asks: for tests in real time only.
    pub const fn shortened_for_tests(divisor: u32) -> Self {
        Self { divisor: if divisor == 0 { 1 } else { divisor } }
    }

    /// How long to wait.
    pub fn of(&self, wait: Wait) -> Duration {
        wait.floor() / self.divisor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_is_shorter_than_the_rfc_asks() {
        let waits = Waits::default();
        for wait in Wait::ALL {
            assert!(waits.of(wait) >= wait.floor(), "{wait:?}");
        }
        assert_eq!(waits.of(Wait::DotReply), Duration::from_secs(600));
        assert_eq!(Waits::shortened_for_tests(600).of(Wait::DotReply), Duration::from_secs(1));
    }
}

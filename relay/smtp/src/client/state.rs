//! Where a connection stands.
//! **Owns:** the states: what each waits for, for how long, whom a failure is charged to. **Never:** which follows which.
//! RFC 5321 4.5.3.2 (waits); RFC 2920 3.1 (replies owed).

use postrider_mail::Stage;

use super::{Ended, expect_auth::AuthStep, expect_ehlo::Greeting, transaction::Current};
use crate::timer::Wait;

/// What the far side is waited for.
#[derive(Debug)]
pub(super) enum State {
    ExpectBanner,
    ExpectEhlo(Greeting),
    /// The reply to STARTTLS.
    ExpectTlsReply,
    /// The handshake.
    ExpectTls,
    ExpectAuth(AuthStep),
    /// Nothing: the shell is to be told that a transaction can begin.
    Ready,
    /// Nothing: the shell knows.
    Idle,
    /// Replies to MAIL, RCPT, DATA.
    ExpectRcpt(Box<Current>),
    /// The shell sends the body.
    Body(Box<Current>),
    /// The permit.
    ExpectDot(Box<Current>),
    ExpectDotReply(Box<Current>),
    /// The reply to a dot that ended nothing: no recipient was accepted.
    ExpectLoneDotReply,
    Ended(Ended),
    /// Between two states.
    Moving,
}

impl State {
    /// How long the far side may take.
    pub(super) fn wait(&self) -> Option<Wait> {
        match self {
            Self::ExpectBanner => Some(Wait::Banner),
            Self::ExpectEhlo(_) => Some(Wait::Ehlo),
            Self::ExpectTlsReply => Some(Wait::StartTls),
            Self::ExpectAuth(_) => Some(Wait::Auth),
            Self::ExpectRcpt(current) => current.sent.front().map(|sent| sent.wait()),
            Self::ExpectDotReply(_) => Some(Wait::DotReply),
            Self::ExpectLoneDotReply => Some(Wait::DataBlock),
            // The rest of a reply that has begun; else nothing.
            Self::ExpectDot(_) => Some(Wait::DataBlock),
            Self::ExpectTls | Self::Ready | Self::Idle | Self::Body(_) | Self::Ended(_) | Self::Moving => {
                None
            }
        }
    }

    /// How far it has come.
    pub(super) fn stage(&self) -> Stage {
        match self {
            Self::ExpectBanner => Stage::Banner,
            Self::ExpectEhlo(_) => Stage::Ehlo,
            Self::ExpectTlsReply | Self::ExpectTls => Stage::Tls,
            Self::ExpectAuth(_) => Stage::Auth,
            Self::Ready | Self::Idle | Self::Moving => Stage::Mail,
            Self::ExpectRcpt(current) => current.stage(),
            Self::Body(_) | Self::ExpectDot(_) | Self::ExpectDotReply(_) | Self::ExpectLoneDotReply => {
                Stage::Dot
            }
            Self::Ended(ended) => ended.stage,
        }
    }

    /// Whether the far side owes a reply to a command.
    pub(super) fn owes_reply(&self) -> bool {
        match self {
            Self::ExpectBanner
            | Self::ExpectEhlo(_)
            | Self::ExpectTlsReply
            | Self::ExpectAuth(_)
            | Self::ExpectRcpt(_)
            | Self::ExpectDotReply(_)
            | Self::ExpectLoneDotReply => true,
            // Whatever is said here is judged where it is read.
            Self::ExpectTls
            | Self::Ready
            | Self::Idle
            | Self::Body(_)
            | Self::ExpectDot(_)
            | Self::Ended(_)
            | Self::Moving => false,
        }
    }

    /// Whether nothing can stand behind the next reply.
    pub(super) fn owes_one_reply(&self) -> bool {
        match self {
            Self::ExpectRcpt(current) => current.sent.len() == 1,
            Self::ExpectDotReply(current) => current.chunks_sent == 0,
            _ => self.owes_reply(),
        }
    }
}

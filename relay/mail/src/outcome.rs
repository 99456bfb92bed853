//! What an attempt gave one recipient: the three verbs that end an attempt.
//! **Owns:** [`Outcome`]. **Never:** decides one (core's outcome.rs does).

use serde::{Deserialize, Serialize};

use crate::{
    domain::HostName,
    enhanced::EnhancedCode,
    reply::{FarReply, FarText},
};

/// What an attempt gave one recipient, with all that a report about it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which recipient of the message: its place in the envelope.
    pub recipient: u32,
    /// Delivered, deferred or bounced.
    pub kind: OutcomeKind,
    /// How far the attempt had come.
    pub stage: Stage,
    /// The status that reports give (RFC 3463): the far side's where it sent one that fits, else ours.
    pub status: EnhancedCode,
    /// The far side's reply, if one decided it.
    pub reply: Option<FarReply>,
    /// Our own words, if no reply decided it.
    pub explanation: FarText,
    /// The host that replied, or that was tried last.
    pub host: Option<HostName>,
}

/// The three ways in which an attempt ends for a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OutcomeKind {
    /// The far side has taken it.
    Delivered,
    /// Later.
    Deferred,
    /// Never: the sender is told.
    Bounced,
}

impl OutcomeKind {
    /// The name as written in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "Delivered",
            Self::Deferred => "Deferred",
            Self::Bounced => "Bounced",
        }
    }
}

/// How far an attempt had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Choosing a route; a rule that defers, rejects or is broken.
    Route,
    /// Finding hosts.
    Dns,
    /// Opening a connection.
    Connect,
    /// Waiting for the greeting.
    Banner,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS and its handshake.
    Tls,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA up to its 354.
    Data,
    /// From the first byte of the body to the reply to the final dot.
    Dot,
    /// No attempt: its time was over.
    Expiry,
    /// No attempt: a person said so.
    Admin,
}

impl Stage {
    /// The name as written in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "Route",
            Self::Dns => "Dns",
            Self::Connect => "Connect",
            Self::Banner => "Banner",
            Self::Ehlo => "Ehlo",
            Self::Tls => "Tls",
            Self::Auth => "Auth",
            Self::Mail => "Mail",
            Self::Rcpt => "Rcpt",
            Self::Data => "Data",
            Self::Dot => "Dot",
            Self::Expiry => "Expiry",
            Self::Admin => "Admin",
        }
    }
}

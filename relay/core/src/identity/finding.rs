//! What doesn't fit, and what isn't known.
//! **Owns:** their words and kinds. **Never:** how they are found.

use super::facts::Question;
use crate::mx::DnsFailure;

/// The most findings that are kept.
const MOST_FINDINGS: usize = 64;

/// What doesn't fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// An address has no PTR record.
    PtrMissing,
    /// The name of an address isn't the address's.
    PtrMismatch,
    /// The name in EHLO has no address.
    EhloUnresolved,
    /// None of its addresses is one that mail leaves from.
    EhloMismatch,
    /// SPF doesn't let an address send.
    SpfDoesNotPass,
    /// A domain has no DMARC record, nor has one above it.
    DmarcMissing,
    /// A DMARC record can't be used.
    DmarcInvalid,
    /// Neither SPF nor DKIM would make mail pass.
    DmarcNotAligned,
    /// There is no record at a selector.
    KeyMissing,
    /// It says that the key is withdrawn.
    KeyRevoked,
    /// It holds another key.
    KeyMismatch,
    /// It can't be used for the key's signatures.
    KeyUnfit,
}

impl FindingKind {
    /// All.
    pub const ALL: [Self; 12] = [
        Self::PtrMissing,
        Self::PtrMismatch,
        Self::EhloUnresolved,
        Self::EhloMismatch,
        Self::SpfDoesNotPass,
        Self::DmarcMissing,
        Self::DmarcInvalid,
        Self::DmarcNotAligned,
        Self::KeyMissing,
        Self::KeyRevoked,
        Self::KeyMismatch,
        Self::KeyUnfit,
    ];

    /// As reason of a condition and label of a metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PtrMissing => "PtrMissing",
            Self::PtrMismatch => "PtrMismatch",
            Self::EhloUnresolved => "EhloUnresolved",
            Self::EhloMismatch => "EhloMismatch",
            Self::SpfDoesNotPass => "SpfDoesNotPass",
            Self::DmarcMissing => "DmarcMissing",
            Self::DmarcInvalid => "DmarcInvalid",
            Self::DmarcNotAligned => "DmarcNotAligned",
            Self::KeyMissing => "KeyMissing",
            Self::KeyRevoked => "KeyRevoked",
            Self::KeyMismatch => "KeyMismatch",
            Self::KeyUnfit => "KeyUnfit",
        }
    }
}

/// Something that doesn't fit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// Of whom.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// What was expected, and where one has to do something.
    pub expected: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: found {}; expected {}", self.subject, self.found, self.expected)
    }
}

/// A question that nobody who knows has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// It.
    pub question: Question,
    /// Why.
    pub failure: DnsFailure,
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.question, self.failure.as_str())
    }
}

/// What the DNS says of a fleet: what doesn't fit, sorted and bounded, and what isn't known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// Of addresses, names and policies.
    pub egress: Vec<Finding>,
    /// Of those.
    pub egress_unknown: Vec<Unknown>,
    /// Of DKIM keys.
    pub keys: Vec<Finding>,
    /// Of those.
    pub keys_unknown: Vec<Unknown>,
    /// Keys that are good and of which something is to be said all the same.
    pub notes: Vec<String>,
}

impl Judgement {
    /// Whether all fits and is known.
    pub fn is_good(&self) -> bool {
        self.egress.is_empty()
            && self.keys.is_empty()
            && self.egress_unknown.is_empty()
            && self.keys_unknown.is_empty()
    }

    pub(super) fn settle(&mut self) {
        for findings in [&mut self.egress, &mut self.keys] {
            findings.sort();
            findings.truncate(MOST_FINDINGS);
        }
        for unknown in [&mut self.egress_unknown, &mut self.keys_unknown] {
            unknown.sort_by(|a, b| a.question.cmp(&b.question));
            unknown.dedup_by(|a, b| a.question == b.question);
            unknown.truncate(MOST_FINDINGS);
        }
        self.notes.sort();
        self.notes.truncate(MOST_FINDINGS);
    }
}

//! One TLSA record: as it came, and as it can be compared.
//! **Owns:** which values of its fields mean something for mail. **Never:** what a set of records demands (dane.rs).
//! RFC 6698 2.1, RFC 7672 3.1.3 (usages 0 and 1 are not for mail), RFC 7671 10.1.1.

use sha2::{Digest as _, Sha256, Sha512};

use super::certificate;

/// Data of a record beyond this is no certificate of anybody's; bytes.
const MAX_DATA_BYTES: usize = 16 * 1_024;

/// A TLSA record as it came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tlsa {
    /// Certificate usage: 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE.
    pub usage: u8,
    /// Selector: 0 the certificate, 1 its key.
    pub selector: u8,
    /// Matching type: 0 all of it, 1 SHA-256, 2 SHA-512.
    pub matching: u8,
    /// What is compared.
    pub data: Vec<u8>,
}

/// A record that can be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Association {
    pub(super) usage: Usage,
    selector: Selector,
    matching: Matching,
    data: Box<[u8]>,
}

/// Whose certificate a record speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Usage {
    /// Of an authority above the host's: DANE-TA(2).
    TrustAnchor,
    /// Of the host: DANE-EE(3).
    EndEntity,
}

/// What of the certificate is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Selector {
    Certificate,
    Key,
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Matching {
    Full,
    Sha256,
    Sha512,
}

impl Association {
    /// Reads a record; nothing where it can't be used.
    pub(super) fn of(record: &Tlsa) -> Option<Self> {
        let usage = match record.usage {
            2 => Usage::TrustAnchor,
            3 => Usage::EndEntity,
            _ => return None,
        };
        let selector = match record.selector {
            0 => Selector::Certificate,
            1 => Selector::Key,
            _ => return None,
        };
        let matching = match (record.matching, record.data.len()) {
            (0, _) if is_whole(selector, &record.data) => Matching::Full,
            (1, SHA256_BYTES) => Matching::Sha256,
            (2, SHA512_BYTES) => Matching::Sha512,
            _ => return None,
        };
        Some(Self { usage, selector, matching, data: record.data.as_slice().into() })
    }

    /// Whether the record speaks of this certificate.
    pub(super) fn matches(&self, certificate: &[u8]) -> bool {
        let compared = match self.selector {
            Selector::Certificate => Some(certificate),
            Selector::Key => certificate::key_of(certificate),
        };
        compared.is_some_and(|compared| match self.matching {
            Matching::Full => compared == &*self.data,
            Matching::Sha256 => Sha256::digest(compared)[..] == *self.data,
            Matching::Sha512 => Sha512::digest(compared)[..] == *self.data,
        })
    }

    /// The certificate that stands in the record, if one does.
    pub(super) fn whole_certificate(&self) -> Option<&[u8]> {
        (self.selector == Selector::Certificate && self.matching == Matching::Full).then_some(&*self.data)
    }
}

impl std::fmt::Display for Association {
    /// As in a zone file (RFC 6698 2.2).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let usage = match self.usage {
            Usage::TrustAnchor => 2,
            Usage::EndEntity => 3,
        };
        let selector = match self.selector {
            Selector::Certificate => 0,
            Selector::Key => 1,
        };
        let matching = match self.matching {
            Matching::Full => 0,
            Matching::Sha256 => 1,
            Matching::Sha512 => 2,
        };
        write!(f, "{usage} {selector} {matching} {}", hex::encode(&self.data))
    }
}

const SHA256_BYTES: usize = 32;
const SHA512_BYTES: usize = 64;

/// Whether data is a certificate, or a key: what isn't can never be matched, and doesn't count as a record to be.
fn is_whole(selector: Selector, data: &[u8]) -> bool {
    data.len() <= MAX_DATA_BYTES
        && match selector {
            Selector::Certificate => certificate::key_of(data).is_some(),
            Selector::Key => certificate::is_key(data),
        }
}

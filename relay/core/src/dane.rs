//! What the TLSA records of a host demand of its certificate, and whether a chain of certificates fits.
//! **Owns:** which records are usable, how one is compared. **Never:** a look-up, whether the answer was validated (the
//! relay's dns does), a path, a date or a signature (the relay's tls does).
//! Invariant: a host with TLSA records is never asked for less than TLS, whatever stands in them.
//! RFC 7672 3.1 (which usages), RFC 6698 2.1 (fields), RFC 7671 4 (what is compared).

mod certificate;
mod record;
mod vouched;

use std::sync::Arc;

pub use record::{Association, Tlsa};
pub use vouched::{HostDane, Vouched, of_address, of_records};

use record::Usage;

/// The most records of a host that are compared, of those that can be used. Hosts have two to eight; a host whose certificate
/// stands behind these can't be mailed to, which defers.
pub const MAX_RECORDS: usize = 32;
/// The most certificates of a chain that are compared: more than any path has.
pub const MAX_CHAIN: usize = 16;

/// What a host's TLSA records demand of its certificate. Two sets of the same records are equal in whatever order they came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Demand {
    /// There are records, and none that can be used: TLS, with any certificate (RFC 7672 2.2).
    Encrypted,
    /// TLS, with a certificate that fits one of these.
    Fitting(Arc<[Association]>),
}

/// How a chain fits a demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit<'a> {
    /// Any certificate would.
    Any,
    /// A record names the host's own certificate or key: its name and dates say nothing (RFC 7672 3.1.1).
    Leaf,
    /// A record names these certificates as authorities: the leaf must have a valid path to one of them, and the host's name
    /// (RFC 7672 3.1.2). Never empty.
    Anchors(Vec<&'a [u8]>),
    /// No record does.
    Nothing,
}

impl Demand {
    /// What these records, all that a host has, demand; nothing where there are none.
    pub fn of(records: &[Tlsa]) -> Option<Self> {
        if records.is_empty() {
            return None;
        }
        let mut usable: Vec<_> = records.iter().filter_map(Association::of).collect();
        usable.sort();
        usable.dedup();
        usable.truncate(MAX_RECORDS);
        Some(if usable.is_empty() { Self::Encrypted } else { Self::Fitting(usable.into()) })
    }

    /// Whether one of the records can be used.
    pub const fn is_fitting(&self) -> bool {
        matches!(self, Self::Fitting(_))
    }

    /// How a chain fits: certificates as DER, the host's own first, as the host sent them.
    ///
    /// All kinds of digest are compared, not only the strongest of RFC 7671 9: none of them is known to be weak.
    pub fn fits<'a>(&'a self, chain: &[&'a [u8]]) -> Fit<'a> {
        let records = match self {
            Self::Encrypted => return Fit::Any,
            Self::Fitting(records) => records,
        };
        let chain = chain.get(..MAX_CHAIN).unwrap_or(chain);
        let Some((leaf, above)) = chain.split_first() else { return Fit::Nothing };
        let (leafs, anchors): (Vec<_>, Vec<_>) =
            records.iter().partition(|record| record.usage == Usage::EndEntity);
        if leafs.iter().any(|record| record.matches(leaf)) {
            return Fit::Leaf;
        }
        let sent = above.iter().copied().filter(|above| anchors.iter().any(|anchor| anchor.matches(above)));
        // An authority may leave out its own certificate where the record has all of it (RFC 7671 5.2.2).
        let told = anchors.iter().filter_map(|anchor| anchor.whole_certificate());
        let mut found: Vec<&[u8]> = sent.chain(told).collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() { Fit::Nothing } else { Fit::Anchors(found) }
    }
}

#[cfg(test)]
mod tests;

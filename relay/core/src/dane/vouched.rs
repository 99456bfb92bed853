//! What the DNS said with DNSSEC, and what that makes of a host.
//! **Owns:** which answers bring DANE, which forbid the host for now. **Never:** a look-up, a signature.
//! Invariant: an answer that should be signed and isn't, or that doesn't come, never makes a host look as if it had no records.
//! RFC 7672 2.1.1 (secure, insecure, bogus), 2.2.1 (MX), 2.2.2 (hosts without TLSA look-up).

use postrider_mail::HostName;

use super::{Demand, Tlsa};
use crate::mx::{Answer, DnsFailure};

/// What one validated look-up gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vouched<T> {
    /// Signed records; never empty.
    Secure(Vec<T>),
    /// It is proven that the name exists, without records of this type.
    SecureNoData,
    /// It is proven that the name doesn't exist.
    SecureNxDomain,
    /// It is proven that nothing there is signed. What was said is worth what any answer is.
    Insecure,
    /// Nothing is proven: no answer, or one that doesn't validate.
    Failed(DnsFailure),
}

impl<T: Clone> Vouched<T> {
    /// The answer that stands proven: what was signed, or a failure. Nothing where the zone isn't signed.
    pub fn answer(&self) -> Option<Answer<T>> {
        match self {
            Self::Secure(records) => Some(Answer::Records(records.clone())),
            Self::SecureNoData => Some(Answer::NoData),
            Self::SecureNxDomain => Some(Answer::NxDomain),
            Self::Failed(failure) => Some(Answer::Failed(*failure)),
            Self::Insecure => None,
        }
    }
}

/// What DANE says of a host whose name a signed MX record vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostDane {
    /// Nothing: the host has no records, or its zone isn't signed.
    None,
    /// Its certificate has to fit.
    Demand {
        /// The name that its records are found under: SNI, and what an authority's certificate is for (RFC 7672 2.2.3).
        base: HostName,
        /// What they say.
        demand: Demand,
    },
    /// It isn't known, and that is no reason to do without: the host can't be used now (RFC 7672 2.1.2).
    Unusable(DnsFailure),
}

impl DnsFailure {
    /// Whether nobody answered, which an older answer may bridge; not where one came that is wrong.
    pub const fn is_outage(self) -> bool {
        match self {
            Self::Timeout | Self::Unreachable => true,
            Self::ServFail
            | Self::Refused
            | Self::OtherCode
            | Self::Malformed
            | Self::Bogus
            | Self::AliasLoop => false,
        }
    }
}

/// What the look-up of TLSA records under one name says; nothing where the next name is to be asked.
pub fn of_records(base: &HostName, said: &Vouched<Tlsa>) -> Option<HostDane> {
    match said {
        Vouched::Secure(records) => {
            Demand::of(records).map(|demand| HostDane::Demand { base: base.clone(), demand })
        }
        Vouched::SecureNoData | Vouched::SecureNxDomain | Vouched::Insecure => None,
        Vouched::Failed(failure) => Some(HostDane::Unusable(*failure)),
    }
}

/// What the look-up of a host's address says before any of TLSA records; nothing where those are to be asked for. A host whose
/// addresses aren't signed isn't asked: its name servers may not know the type (RFC 7672 2.2.2).
pub const fn of_address<T>(said: &Vouched<T>) -> Option<HostDane> {
    match said {
        Vouched::Secure(_) | Vouched::SecureNoData | Vouched::SecureNxDomain => None,
        Vouched::Insecure => Some(HostDane::None),
        Vouched::Failed(failure) => Some(HostDane::Unusable(*failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Tlsa {
        Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] }
    }

    #[test]
    fn a_failure_forbids_the_host_and_only_a_proof_lets_it_do_without() {
        let base = HostName::parse("mx.example").expect("a name");
        let of = |said| of_records(&base, &said);
        let demand = Demand::of(&[record()]).expect("a record");
        assert_eq!(
            of(Vouched::Secure(vec![record()])),
            Some(HostDane::Demand { base: base.clone(), demand })
        );
        for said in [Vouched::SecureNoData, Vouched::SecureNxDomain, Vouched::Insecure] {
            assert_eq!(of(said), None);
        }
        for failure in [DnsFailure::Bogus, DnsFailure::ServFail, DnsFailure::Timeout] {
            assert_eq!(of(Vouched::Failed(failure)), Some(HostDane::Unusable(failure)));
            assert_eq!(of_address(&Vouched::<()>::Failed(failure)), Some(HostDane::Unusable(failure)));
        }
    }

    #[test]
    fn a_host_whose_addresses_are_not_signed_is_not_asked_for_records() {
        assert_eq!(of_address(&Vouched::<()>::Insecure), Some(HostDane::None));
        assert_eq!(of_address(&Vouched::<()>::SecureNoData), None);
    }
}

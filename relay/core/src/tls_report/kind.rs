//! What went wrong with a session, in the words of reports.
//! **Owns:** which failure has which word. **Never:** notices a failure.
//! RFC 8460 4.3.

use serde::{Deserialize, Serialize};

use crate::{
    mx::Unresolved,
    tls_policy::{Protection, TlsFailure},
};

/// The words of RFC 8460 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultType {
    /// EHLO had no STARTTLS, or STARTTLS was refused.
    StarttlsNotSupported,
    /// The certificate is another host's.
    CertificateHostMismatch,
    /// Its time is over.
    CertificateExpired,
    /// No trusted authority vouches for it.
    CertificateNotTrusted,
    /// Something else, such as a handshake that failed.
    ValidationFailure,
    /// No TLSA record fits.
    TlsaInvalid,
    /// The DNS gave nothing that validates.
    DnssecInvalid,
    /// A policy of ours demands DANE, and the domain has none.
    DaneRequired,
    /// The MTA-STS policy couldn't be fetched.
    StsPolicyFetchError,
    /// What was fetched is no policy.
    StsPolicyInvalid,
    /// The certificate of the policy's host isn't good.
    StsWebpkiInvalid,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// It is another host's.
    OtherHost,
    /// Its time is over.
    Expired,
    /// No trusted authority vouches for it.
    NotTrusted,
    /// Anything else.
    Other,
}

impl ResultType {
    /// The word for a failure of TLS under a protection. `flaw` tells of the certificate, where that was it.
    pub const fn of(failure: &TlsFailure, flaw: Option<Flaw>, protection: &Protection) -> Self {
        match (failure, flaw, protection) {
            (TlsFailure::NotOffered | TlsFailure::Refused(_), ..) => Self::StarttlsNotSupported,
            (TlsFailure::Handshake(_), ..) => Self::ValidationFailure,
            (TlsFailure::Certificate(_), Some(Flaw::OtherHost), _) => Self::CertificateHostMismatch,
            (TlsFailure::Certificate(_), Some(Flaw::Expired), _) => Self::CertificateExpired,
            // RFC 8460 4.3.2.1: no record is found to be valid for it.
            (TlsFailure::Certificate(_), _, Protection::Dane { .. }) => Self::TlsaInvalid,
            (TlsFailure::Certificate(_), Some(Flaw::NotTrusted), _) => Self::CertificateNotTrusted,
            (TlsFailure::Certificate(_), Some(Flaw::Other) | None, _) => Self::ValidationFailure,
        }
    }

    /// The word for a flaw of a certificate that was looked at, though the session went on.
    pub const fn of_flaw(flaw: Flaw) -> Self {
        match flaw {
            Flaw::OtherHost => Self::CertificateHostMismatch,
            Flaw::Expired => Self::CertificateExpired,
            Flaw::NotTrusted => Self::CertificateNotTrusted,
            Flaw::Other => Self::ValidationFailure,
        }
    }
}

/// The word, and a reason, for a domain without a host that mail may go to; none where that isn't the fault of a policy.
pub const fn of_unresolved(why: &Unresolved) -> Option<(ResultType, &'static str)> {
    match why {
        Unresolved::Unproven { failure, .. } => Some((ResultType::DnssecInvalid, failure.as_str())),
        // RFC 8460 4.3 has no word of its own for it.
        Unresolved::NotInPolicy(_) => Some((ResultType::ValidationFailure, "mx-not-in-policy")),
        Unresolved::NullMx
        | Unresolved::NoSuchDomain
        | Unresolved::NoMailHost
        | Unresolved::HostsAbsent
        | Unresolved::Loop
        | Unresolved::Forbidden(_)
        | Unresolved::OtherFamily
        | Unresolved::TooMany
        | Unresolved::SmarthostAbsent(_)
        | Unresolved::PolicyUnknown
        | Unresolved::NotVouched
        | Unresolved::Failed { .. } => None,
    }
}

//! From what a connection came to, to what is counted of it.
//! **Owns:** which connections are sessions (RFC 8460 1.1: those where TLS was tried). **Never:** counts twice.

use std::net::SocketAddr;

use postrider_core::{
    outcome::{Cause, Failure},
    tls_policy::{Protection, TlsFailure},
    tls_report::{Detail, Flaw, Observed, ResultType},
};
use postrider_mail::{HostName, Stage};
use rustls::CertificateError;

use super::Reported;
use crate::{
    client::{Connection, OpenError},
    https::HttpsError,
    mta_sts::FetchError,
    tls::connect::{Connectors, HandshakeError},
};

impl Reported {
    /// A connection that TLS was wanted for was opened.
    pub fn opened(&self, connection: &Connection, connectors: &Connectors) {
        let (host, protection) = (connection.host(), connection.protection());
        let result = match (connection.certificates(), self.tested(host, protection)) {
            (None, _) => Some((ResultType::StarttlsNotSupported, None)),
            (Some(_), Some(false)) => Some((ResultType::ValidationFailure, Some("mx-not-in-policy"))),
            (Some(chain), Some(true)) => {
                connectors.flaw(chain, host).map(|flaw| (ResultType::of_flaw(flaw), None))
            }
            (Some(_), None) => None,
        };
        let observed = match result {
            None => Observed::Good,
            Some((result, reason)) => Observed::Bad(detail(result, host, connection.address(), reason)),
        };
        self.add(protection, observed);
    }

    /// There was no connection. It is counted where TLS was what failed.
    pub fn failed(
        &self,
        failure: &Failure,
        flaw: Option<Flaw>,
        protection: &Protection,
        to: (&HostName, SocketAddr),
    ) {
        let (result, reason) = match (&failure.cause, failure.stage) {
            (Cause::Tls(tls), _) => (ResultType::of(tls, flaw, protection), reason(tls)),
            (Cause::Reply(_), Stage::Tls) => (ResultType::StarttlsNotSupported, None),
            _ => return,
        };
        self.add(protection, Observed::Bad(detail(result, to.0, to.1, reason)));
    }
}

fn detail(result: ResultType, host: &HostName, to: SocketAddr, reason: Option<&str>) -> Detail {
    let detail = Detail { host: Some(host.clone()), receiving_ip: Some(to.ip()), ..Detail::of(result) };
    match reason {
        Some(reason) => detail.because(reason),
        None => detail,
    }
}

fn reason(failure: &TlsFailure) -> Option<&str> {
    match failure {
        TlsFailure::NotOffered | TlsFailure::Refused(_) => None,
        TlsFailure::Handshake(text) | TlsFailure::Certificate(text) => Some(text.as_str()),
    }
}

/// What is wrong with the certificate that a connection failed over; nothing, if it failed over something else.
pub fn flaw(error: &OpenError) -> Option<Flaw> {
    match error {
        OpenError::Handshake(why @ HandshakeError::Failed(_)) => why.certificate().map(of_certificate),
        OpenError::Handshake(HandshakeError::Name(_)) => Some(Flaw::OtherHost),
        OpenError::Handshake(HandshakeError::NoFit) => Some(Flaw::Other),
        OpenError::Handshake(HandshakeError::TooSlow)
        | OpenError::NoConnection(_)
        | OpenError::Source(_)
        | OpenError::Ended(_) => None,
    }
}

/// What rustls has against a certificate.
pub(crate) const fn of_certificate(why: &CertificateError) -> Flaw {
    use CertificateError as Why;
    match why {
        Why::Expired | Why::ExpiredContext { .. } | Why::NotValidYet | Why::NotValidYetContext { .. } => {
            Flaw::Expired
        }
        Why::NotValidForName | Why::NotValidForNameContext { .. } => Flaw::OtherHost,
        Why::UnknownIssuer => Flaw::NotTrusted,
        _ => Flaw::Other,
    }
}

/// The word for a policy that couldn't be fetched.
pub fn fetch_result(why: &FetchError) -> ResultType {
    match why {
        FetchError::Invalid(_) | FetchError::Type(_) => ResultType::StsPolicyInvalid,
        FetchError::Https(HttpsError::Handshake(HandshakeError::TooSlow)) => ResultType::StsPolicyFetchError,
        FetchError::Https(HttpsError::Handshake(_)) => ResultType::StsWebpkiInvalid,
        FetchError::Name | FetchError::Https(_) | FetchError::Status(_) | FetchError::Body(_) => {
            ResultType::StsPolicyFetchError
        }
    }
}

//! TLS with a host whose TLSA records say which certificate is its own.
//! **Owns:** the path from a certificate that a record names as an authority, and its dates. **Never:** which record fits
//! (core::dane), whether the records are to be believed (dns).
//! Invariant: no session is resumed, so that none crosses from one set of records to another.
//! Invariant: a signature of the handshake is made by the key that the record vouches for, and checked.
//! RFC 7672 3.1.1 (DANE-EE: no name, no dates), 3.1.2 (DANE-TA: both), 8.1.

use std::sync::Arc;

use postrider_core::dane::{Demand, Fit};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_cert::der::Decode as _;

/// A configuration for one handshake with a host that demands this of its certificate.
///
/// # Errors
/// The crypto provider has no protocol that we ask for.
pub fn config(demand: Demand) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(FitsRecords { demand, provider: provider.clone() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What a certificate is refused with that no record speaks of; the library refuses none with it.
pub(super) const NO_FIT: CertificateError = CertificateError::ApplicationVerificationFailure;

/// Takes a certificate that fits the records.
#[derive(Debug)]
struct FitsRecords {
    demand: Demand,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for FitsRecords {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<&[u8]> = std::iter::once(leaf).chain(above).map(AsRef::as_ref).collect();
        match self.demand.fits(&chain) {
            Fit::Any | Fit::Leaf => Ok(ServerCertVerified::assertion()),
            Fit::Anchors(anchors) => self.verify_path(leaf, above, &anchors, name, now),
            Fit::Nothing => Err(Error::InvalidCertificate(NO_FIT)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl FitsRecords {
    /// A path from the leaf to one of the anchors, all of it within its dates, and the host's name in the leaf.
    fn verify_path(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        anchors: &[&[u8]],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        let mut refused = CertificateError::UnknownIssuer;
        for anchor in anchors {
            // The path's builder takes the dates of an anchor for granted.
            match within_dates(anchor, now) {
                Ok(()) => roots.add(CertificateDer::from_slice(anchor))?,
                Err(why) => refused = why,
            }
        }
        if roots.is_empty() {
            return Err(Error::InvalidCertificate(refused));
        }
        let leaf = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, above, now, algorithms)?;
        verify_server_name(&leaf, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

fn within_dates(certificate: &[u8], now: UnixTime) -> Result<(), CertificateError> {
    let read = x509_cert::Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let time = |time: x509_cert::time::Time| UnixTime::since_unix_epoch(time.to_unix_duration());
    let validity = read.tbs_certificate.validity;
    let (not_before, not_after) = (time(validity.not_before), time(validity.not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before });
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after });
    }
    Ok(())
}

#[cfg(test)]
mod tests;

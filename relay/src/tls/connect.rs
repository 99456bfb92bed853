//! TLS towards far sides: one client configuration for each way of believing a certificate.
//! **Owns:** the verifiers, the roots, session resumption (apart for each way, so that no ticket crosses; none with DANE). **Never:** chooses
//! the way (core's tls_policy does), or falls back (the site does).
//! RFC 7435 (opportunistic: any certificate is better than none), RFC 3207.

pub mod dane;

use std::{sync::Arc, time::Duration};

use postrider_core::{dane::Demand, tls_policy::Protection, tls_report::Flaw};
use postrider_mail::HostName;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::tls_report;

/// How long a handshake may take: research of peers has 5 s (too short) to 5 min.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// Sessions kept for resumption, for each way of believing.
const SESSIONS_KEPT: usize = 1_024;

/// Whom a handshake believes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// Any certificate: encryption against those who only listen.
    Anyone,
    /// One that a known root vouches for, in the host's name.
    Verified,
    /// One that fits the TLSA records under this name (RFC 7672).
    Dane {
        /// The name: SNI, and what an authority's certificate is for.
        base: HostName,
        /// What the records say.
        demand: Demand,
    },
}

impl Trust {
    /// Whom a connection of this protection believes.
    pub fn under(protection: &Protection) -> Self {
        match protection {
            Protection::Clear | Protection::Opportunistic | Protection::Require => Self::Anyone,
            Protection::Verify | Protection::MtaSts => Self::Verified,
            Protection::Dane { demand: Demand::Encrypted, .. } => Self::Anyone,
            Protection::Dane { base, demand } => Self::Dane { base: base.clone(), demand: demand.clone() },
        }
    }
}

/// Why there is no TLS with a host.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The name can't stand in a certificate.
    #[error("found host name {0}; expected one that a certificate can name")]
    Name(HostName),
    /// The handshake failed; rustls says why.
    #[error("{0}")]
    Failed(#[source] std::io::Error),
    /// The host has TLSA records, and a certificate that isn't theirs.
    #[error("no TLSA record of the host fits its certificate")]
    NoFit,
    /// It took too long.
    #[error("the handshake took more than {} s", HANDSHAKE_MAX.as_secs())]
    TooSlow,
}

impl HandshakeError {
    /// What the library has against the certificate, where that was it.
    pub fn certificate(&self) -> Option<&CertificateError> {
        let Self::Failed(error) = self else { return None };
        of_certificate(error)
    }
}

fn of_certificate(error: &std::io::Error) -> Option<&CertificateError> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(why) => Some(why),
        _ => None,
    }
}

/// The client configurations of a relay. Cheap to clone.
#[derive(Clone)]
pub struct Connectors {
    anyone: TlsConnector,
    verified: TlsConnector,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Connectors {
    /// Believes the roots of webpki-roots and `extra` ones.
    ///
    /// # Errors
    /// An extra root can't be read, or the crypto provider has no protocol that we ask for.
    pub fn new(extra: &[CertificateDer<'_>]) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in extra {
            roots.add(root.clone().into_owned())?;
        }
        let anyone = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelieveAnyone))
            .with_no_client_auth();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = verifier.map_err(|why| rustls::Error::General(why.to_string()))?;
        let verified = builder()?.with_webpki_verifier(verifier.clone()).with_no_client_auth();
        Ok(Self { anyone: connector(anyone), verified: connector(verified), verifier })
    }

    /// What [`Trust::Verified`] would have against a chain, the host's own certificate first; nothing, if it is good.
    pub fn flaw(&self, chain: &[CertificateDer<'_>], host: &HostName) -> Option<Flaw> {
        let Some((leaf, above)) = chain.split_first() else { return Some(Flaw::Other) };
        let Ok(name) = ServerName::try_from(host.as_str()) else { return Some(Flaw::OtherHost) };
        match self.verifier.verify_server_cert(leaf, above, &name, &[], UnixTime::now()) {
            Ok(_) => None,
            Err(rustls::Error::InvalidCertificate(why)) => Some(tls_report::of_certificate(&why)),
            Err(_) => Some(Flaw::Other),
        }
    }

    /// Shakes hands on a connection where the far side has agreed to STARTTLS, or that begins with TLS.
    ///
    /// # Errors
    /// The handshake fails, or takes longer than [`HANDSHAKE_MAX`].
    pub async fn handshake(
        &self,
        stream: TcpStream,
        host: &HostName,
        trust: &Trust,
    ) -> Result<Box<TlsStream<TcpStream>>, HandshakeError> {
        let (connector, host) = match trust {
            Trust::Anyone => (self.anyone.clone(), host),
            Trust::Verified => (self.verified.clone(), host),
            Trust::Dane { base, demand } => {
                let config = dane::config(demand.clone())
                    .map_err(|error| HandshakeError::Failed(std::io::Error::other(error)))?;
                (TlsConnector::from(Arc::new(config)), base)
            }
        };
        let name = name(&stream, host, trust)?;
        match tokio::time::timeout(HANDSHAKE_MAX, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(err)) if of_certificate(&err) == Some(&dane::NO_FIT) => Err(HandshakeError::NoFit),
            Ok(Err(err)) => Err(HandshakeError::Failed(err)),
            Err(_) => Err(HandshakeError::TooSlow),
        }
    }
}

/// The SNI. A name that can't be one (all digits behind the last dot) does without where nobody looks at it.
fn name(stream: &TcpStream, host: &HostName, trust: &Trust) -> Result<ServerName<'static>, HandshakeError> {
    let unnamed = || HandshakeError::Name(host.clone());
    match (ServerName::try_from(host.as_str().to_owned()), trust) {
        (Ok(name), _) => Ok(name),
        (_, Trust::Anyone) => Ok(ServerName::from(stream.peer_addr().map_err(|_| unnamed())?.ip())),
        (_, Trust::Verified | Trust::Dane { .. }) => Err(unnamed()),
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn connector(mut config: ClientConfig) -> TlsConnector {
    config.resumption = Resumption::in_memory_sessions(SESSIONS_KEPT);
    TlsConnector::from(Arc::new(config))
}

/// Takes any certificate and any signature. The session is unauthenticated either way, and a certificate that webpki can't
/// parse (X.509 v1, RSA of 1024 bits) would else send the mail in clear.
#[derive(Debug)]
struct BelieveAnyone;

impl ServerCertVerifier for BelieveAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// Every one: rustls ends the handshake over a scheme that isn't listed before it asks the verifier.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::ED448,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
        ]
    }
}

#[cfg(test)]
mod tests;

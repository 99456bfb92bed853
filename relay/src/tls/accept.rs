//! The server's side of TLS: certificates in, handshakes done.
//! **Owns:** how a certificate is chosen (SNI), protocol versions, the handshake's deadline. **Never:** where certificates
//! come from (the config), when they change (reload.rs), whether TLS is demanded (smtp's policy).
//! RFC 8446, RFC 3207 (STARTTLS), RFC 8314 (implicit TLS).

use std::{sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_cert::der::Decode as _;

/// How long a client may take for a handshake: research has peers at 10 to 30 s.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(20);

/// Why a certificate can't be served.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// The PEM text of the chain has no certificate.
    #[error("found no certificate in the PEM chain; expected the leaf and its intermediates")]
    NoCertificate,
    /// The PEM text of the key has no private key.
    #[error("found no private key that can be read; expected one in PKCS#8, PKCS#1 or SEC1 form")]
    NoKey,
    /// The key can't be used, or isn't the certificate's.
    #[error("certificate and key: {0}")]
    Unusable(#[from] rustls::Error),
}

/// Builds what handshakes of a listener need. The first certificate is for clients whose SNI fits none.
///
/// # Errors
/// A pair can't be read, or doesn't belong together.
pub fn server_config<'a>(
    pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Arc<ServerConfig>, BadCertificate> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificates = pairs
        .into_iter()
        .map(|(chain, key)| certified_key(&provider, chain, key))
        .collect::<Result<_, _>>()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(BySni { certificates }));
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    // One ticket is enough for mail clients, who resume one connection at a time.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn certified_key(
    provider: &Arc<rustls::crypto::CryptoProvider>,
    chain: &[u8],
    key: &[u8],
) -> Result<Arc<CertifiedKey>, BadCertificate> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| BadCertificate::NoCertificate)?;
    if chain.is_empty() {
        return Err(BadCertificate::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| BadCertificate::NoKey)?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, provider)?))
}

/// When the first of these chains' leaves ends, in seconds since 1970.
pub fn not_after<'a>(chains: impl IntoIterator<Item = &'a [u8]>) -> Option<u64> {
    let ends = chains.into_iter().filter_map(|chain| {
        let leaf = CertificateDer::pem_slice_iter(chain).next()?.ok()?;
        let leaf = x509_cert::Certificate::from_der(&leaf).ok()?;
        Some(leaf.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
    });
    ends.min()
}

#[derive(Debug)]
struct BySni {
    certificates: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let wanted = match self.certificates.as_slice() {
            // Nothing to choose from: whatever the client calls us, this is who we are.
            [only] => return Some(only.clone()),
            _ => hello.server_name().and_then(|name| ServerName::try_from(name).ok()),
        };
        let fits =
            |certificate: &&Arc<CertifiedKey>| wanted.as_ref().is_some_and(|name| is_for(certificate, name));
        self.certificates.iter().find(fits).or_else(|| self.certificates.first()).cloned()
    }
}

fn is_for(certificate: &CertifiedKey, name: &ServerName<'_>) -> bool {
    certificate
        .cert
        .first()
        .and_then(|leaf| ParsedCertificate::try_from(leaf).ok())
        .is_some_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
}

/// Why a handshake failed: the client's doing, so it's told in the session's log line only.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFailed {
    /// It took too long.
    #[error("the client did not finish the TLS handshake in time")]
    TooSlow,
    /// It went wrong.
    #[error("the TLS handshake failed: {0}")]
    Failed(#[from] std::io::Error),
}

/// Does one handshake.
///
/// # Errors
/// It failed or took too long; the connection is of no more use.
pub async fn handshake(
    config: Arc<ServerConfig>,
    stream: TcpStream,
) -> Result<Box<TlsStream<TcpStream>>, HandshakeFailed> {
    match tokio::time::timeout(HANDSHAKE_DEADLINE, TlsAcceptor::from(config).accept(stream)).await {
        Ok(done) => Ok(Box::new(done?)),
        Err(_) => Err(HandshakeFailed::TooSlow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_and_its_key_are_served() {
        let (chain, key) = pair("mail.example.com");
        server_config([(chain.as_bytes(), key.as_bytes())]).expect("they belong together");
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let ((chain, _), (_, other)) = (pair("a.example"), pair("b.example"));
        let refused =
            |chain: &[u8], key: &[u8]| server_config([(chain, key)]).map(drop).expect_err("refused");
        assert!(matches!(refused(chain.as_bytes(), other.as_bytes()), BadCertificate::Unusable(_)));
        assert!(matches!(refused(b"", other.as_bytes()), BadCertificate::NoCertificate));
        assert!(matches!(refused(chain.as_bytes(), b"x"), BadCertificate::NoKey));
    }

    #[test]
    fn the_first_end_of_several_counts() {
        let chain = |year| {
            let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
            params.not_after = rcgen::date_time_ymd(year, 3, 1);
            let key = rcgen::KeyPair::generate().expect("a key");
            params.self_signed(&key).expect("a certificate").pem()
        };
        // 2040 is told in another form than 2100 (RFC 5280 4.1.2.5: from 2050 on).
        let chains = [chain(2100), chain(2040)];
        assert_eq!(not_after(chains.iter().map(String::as_bytes)), Some(2_214_172_800));
        assert_eq!(not_after([chains[0].as_bytes()]), Some(4_107_542_400));
        assert_eq!(not_after([b"no PEM".as_slice()]), None);
    }

    #[test]
    fn the_certificate_that_bears_the_name_is_found() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (chain, key) = pair("a.example");
        let certificate = certified_key(&provider, chain.as_bytes(), key.as_bytes()).expect("a pair");
        let name = |text: &'static str| ServerName::try_from(text).expect("a name");
        assert!(is_for(&certificate, &name("a.example")) && !is_for(&certificate, &name("b.example")));
    }
}

//! Certificates of a test's own authority.
//! **Owns:** making them. **Never:** a key that outlives the test.

pub mod odd;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
};

/// For how long certificates are good, as those of public authorities are.
const GOOD_FOR: Duration = Duration::from_secs(90 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

/// An authority that clients of a test trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, in PEM and ready for a server.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate, PEM.
    pub certificate: String,
    /// The key, PKCS#8 PEM.
    pub key: String,
    /// The certificate, DER.
    pub der: CertificateDer<'static>,
    /// For a server in this process.
    pub server: Arc<ServerConfig>,
}

impl Authority {
    /// Makes one.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Postrider test authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names.
    pub fn issue(&self, names: &[&str]) -> Result<Certificate> {
        self.sign(&for_names(names)?)
    }

    /// The same, whose time was over yesterday.
    pub fn issue_expired(&self, names: &[&str]) -> Result<Certificate> {
        let mut params = for_names(names)?;
        params.not_after -= GOOD_FOR + DAY;
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Certificate> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        ready(certificate.pem(), certificate.der().clone(), &key)
    }
}

/// The same server speaks TLS 1.2 only.
pub fn tls12_only(certificate: &Certificate) -> Result<Arc<ServerConfig>> {
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der.clone()], key)?;
    Ok(Arc::new(server))
}

/// A certificate that nobody vouches for, as most mail servers have one.
pub fn self_signed(name: &str) -> Result<Certificate> {
    let key = KeyPair::generate()?;
    let certificate = for_names(&[name])?.self_signed(&key)?;
    ready(certificate.pem(), certificate.der().clone(), &key)
}

fn for_names(names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.not_after = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH)? + GOOD_FOR;
    Ok(params)
}

fn ready(pem: String, der: CertificateDer<'static>, key: &KeyPair) -> Result<Certificate> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], private)?;
    Ok(Certificate { certificate: pem, key: key.serialize_pem(), der, server: Arc::new(server) })
}

//! Certificates as old mail servers still have them, that no library here makes: by the `openssl` command.
//! **Owns:** a signature by SHA-1, version 1. **Never:** a certificate that clients should believe.

use std::{fs, sync::Arc};

use anyhow::Result;
use rcgen::KeyPair;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{Authority, Certificate};
use crate::openssl::openssl;

/// What is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// It is signed with SHA-1, and well otherwise.
    Sha1,
    /// It is of X.509 version 1, which has no names but the subject's.
    Version1,
}

impl Authority {
    /// A certificate for this name that is odd.
    pub async fn issue_odd(&self, name: &str, odd: Odd) -> Result<Certificate> {
        let folder = tempfile::tempdir()?;
        let at = |file: &str| folder.path().join(file);
        let key = KeyPair::generate()?;
        fs::write(at("key.pem"), key.serialize_pem())?;
        fs::write(at("ca.pem"), self.pem())?;
        fs::write(at("ca.key"), self.issuer.key().serialize_pem())?;
        fs::write(at("names"), format!("subjectAltName=DNS:{name}\n"))?;
        let subject = format!("/CN={name}");
        openssl(folder.path(), &["req", "-new", "-key", "key.pem", "-subj", &subject, "-out", "csr"]).await?;
        let sign = ["x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "7"];
        // Without extensions it makes version 1.
        let how: &[&str] = match odd {
            Odd::Sha1 => &["-sha1", "-extfile", "names"],
            Odd::Version1 => &["-sha256"],
        };
        openssl(folder.path(), &[&sign, how, &["-days", "30", "-out", "cert.pem"]].concat()).await?;
        let certificate = fs::read_to_string(at("cert.pem"))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())?;
        let server = unchecked(der.clone(), &key)?;
        Ok(Certificate { certificate, key: key.serialize_pem(), der, server })
    }
}

/// A server that shows a certificate without a look at it.
fn unchecked(der: CertificateDer<'static>, key: &KeyPair) -> Result<Arc<ServerConfig>> {
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = CertifiedKey::new(vec![der], rustls::crypto::ring::sign::any_supported_type(&private)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(key)))))
}

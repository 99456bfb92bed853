//! Keys that sign in tests, and the records that their public halves are published by.
//! **Owns:** these, and the manifests that name them. **Never:** verifies anything.

use std::path::Path;

use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{manifests, openssl::openssl};

/// A key of 2048 bits.
pub const RSA: &str = include_str!("../../relay/core/src/dkim/fixtures/rsa.pem");
/// Another kind of key.
pub const ED25519: &str = include_str!("../../relay/core/src/dkim/fixtures/ed25519.pem");

/// What follows a MailRelay's other fields, so that mail of these domains is signed by both keys.
pub fn spec(domains: &[&str]) -> String {
    let mut text = String::from("drain: {delay: 0s, timeout: 10s}\ndkim:\n");
    for domain in domains {
        let key =
            |name: &str| format!("  - {{selector: {name}, privateKeyRef: {{name: dkim, key: {name}}}}}\n");
        text.push_str(&format!("- domain: {domain}\n  keys:\n{}{}", key("rsa"), key("ed25519")));
    }
    text
}

/// A key of each kind, PEM.
pub struct Keys {
    /// Of 2048 bits.
    pub rsa: String,
    /// The other kind.
    pub ed25519: String,
}

impl Keys {
    /// [`RSA`] and [`ED25519`].
    pub fn known() -> Self {
        Self { rsa: RSA.to_owned(), ed25519: ED25519.to_owned() }
    }

    /// Two that nobody has seen before.
    pub async fn fresh() -> Result<Self> {
        let here = Path::new(".");
        let rsa =
            openssl(here, &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).await?;
        let ed25519 = openssl(here, &["genpkey", "-algorithm", "ED25519"]).await?;
        Ok(Self { rsa: String::from_utf8(rsa)?, ed25519: String::from_utf8(ed25519)? })
    }

    /// The Secret that they are in.
    pub fn secret(&self) -> String {
        manifests::secret("dkim", &[("rsa", &self.rsa), ("ed25519", &self.ed25519)])
    }

    /// The record of each for a domain: its name and its text.
    pub async fn records(&self, domain: &str, folder: &Path) -> Result<Vec<(String, String)>> {
        let mut records = Vec::new();
        for (selector, pem) in [("rsa", &self.rsa), ("ed25519", &self.ed25519)] {
            let file = format!("{selector}.pem");
            std::fs::write(folder.join(&file), pem)?;
            let public = openssl(folder, &["pkey", "-pubout", "-outform", "DER", "-in", &file]).await?;
            // RFC 8463 4.2: of an Ed25519 key the record has the 32 bytes at its end only.
            let bare = if selector == "rsa" { 0 } else { public.len().saturating_sub(32) };
            let public = BASE64_STANDARD.encode(&public[bare..]);
            let text = format!("v=DKIM1; k={selector}; p={public}");
            records.push((format!("{selector}._domainkey.{domain}"), text));
        }
        Ok(records)
    }
}

/// The Secret of the known keys.
pub fn secret() -> String {
    Keys::known().secret()
}

/// The records of the known keys for a domain.
pub async fn records(domain: &str, folder: &Path) -> Result<Vec<(String, String)>> {
    Keys::known().records(domain, folder).await
}

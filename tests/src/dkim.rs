//! Keys that sign in tests, and the records that their public halves are published by.
//! **Owns:** these, and the manifests that name them. **Never:** verifies anything.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::process::Command;

use crate::manifests;

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

/// The Secret that they are in.
pub fn secret() -> String {
    manifests::secret("dkim", &[("rsa", RSA), ("ed25519", ED25519)])
}

/// The record of each key of a domain: its name and its text.
pub async fn records(domain: &str, folder: &Path) -> Result<Vec<(String, String)>> {
    let mut records = Vec::new();
    for (selector, pem) in [("rsa", RSA), ("ed25519", ED25519)] {
        let path = folder.join(format!("{selector}.pem"));
        std::fs::write(&path, pem)?;
        let command = Command::new("openssl")
            .args(["pkey", "-pubout", "-outform", "DER", "-in"])
            .arg(&path)
            .stderr(Stdio::inherit())
            .output();
        let output = command.await.context("openssl runs")?;
        ensure!(output.status.success(), "openssl reads {}", path.display());
        // RFC 8463 4.2: of an Ed25519 key the record has the 32 bytes at its end only.
        let bare = if selector == "rsa" { 0 } else { output.stdout.len().saturating_sub(32) };
        let public = BASE64_STANDARD.encode(&output.stdout[bare..]);
        records
            .push((format!("{selector}._domainkey.{domain}"), format!("v=DKIM1; k={selector}; p={public}")));
    }
    Ok(records)
}

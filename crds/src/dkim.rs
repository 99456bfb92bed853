//! `spec.dkim`: whose mail is signed, and by which keys.
//! **Owns:** its fields and bounds. **Never:** reads a key.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::text::{self, SecretKeyRef};

/// A domain whose mail is signed: mail that has it in its From. Mail of domains that aren't named isn't signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DkimDomain {
    /// The domain; `d=` of the signature.
    #[schemars(length(min = 1, max = 253), regex(pattern = text::DOMAIN))]
    pub domain: String,
    /// Whether it signs for the domains below it, too, those aside that have an entry of their own.
    #[serde(default)]
    pub subdomains: bool,
    /// The keys: each makes a signature. While one is missing the domain's mail is accepted and waits.
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["selector".into()]))]
    pub keys: Vec<DkimKey>,
}

/// A key, and where its public half is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DkimKey {
    /// The public half is at `SELECTOR._domainkey.DOMAIN`.
    #[schemars(length(min = 1, max = 63), regex(pattern = text::SELECTOR))]
    pub selector: String,
    /// The key in a Secret of the MailRelay's namespace: PEM, PKCS#8 or PKCS#1; RSA of 2048 to 4096 bits, or Ed25519. Another
    /// one is taken up without a restart.
    pub private_key_ref: SecretKeyRef,
}

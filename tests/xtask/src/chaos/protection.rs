//! What protected runs have beside the others: keys that sign, far sides with certificates, relays that want to see them.
//! **Owns:** the fleet's domains and selectors, the authority, certificates that are wrong. **Never:** when one is shown; a verdict.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use postrider_tests::{
    certs::{self, Authority},
    dkim,
    ledger::Entry,
    manifests::{MailRelay, Manifests},
};
use rustls::ServerConfig;
use serde_json::Value;

use super::{
    plan::{DOMAINS, Strike},
    stage::domain,
};

/// Where bounces are from.
const FLEET: &str = "relay.example";
/// The keys of each domain.
const SELECTORS: [&str; 2] = ["rsa", "ed25519"];
/// The authority's certificate, in the run's folder.
const ROOTS: &str = "roots.pem";

/// Who vouches for the far sides.
pub(crate) struct Protection {
    authority: Authority,
}

impl Protection {
    /// An authority, its root in `folder`, and the keys as a Secret.
    pub(crate) fn new(folder: &Path, manifests: &Manifests) -> Result<Self> {
        let authority = Authority::new()?;
        std::fs::write(folder.join(ROOTS), authority.pem())?;
        manifests.write("dkim.yaml", &dkim::secret())?;
        Ok(Self { authority })
    }

    /// What a fleet's relays are told of it.
    pub(crate) fn arguments(folder: &Path) -> Vec<String> {
        vec!["--roots".to_owned(), folder.join(ROOTS).display().to_string()]
    }

    /// The fleet that signs its senders' mail and its own, and sends to hosts with good certificates only.
    pub(crate) fn of_fleet(fleet: MailRelay) -> MailRelay {
        let defaults = fleet.defaults.strip_suffix("}").unwrap_or("{").to_owned() + ", tls: {mode: Verify}}";
        MailRelay { defaults, more: dkim::spec(&[&domain(DOMAINS), FLEET]), ..fleet }
    }

    /// The certificate of a domain's far side.
    pub(crate) fn right(&self, domain: &str) -> Result<Arc<ServerConfig>> {
        Ok(self.authority.issue(&[&format!("mx.{domain}")])?.server)
    }

    /// One that it may not show.
    pub(crate) fn wrong<F>(&self, domain: &str, strike: &Strike<F>) -> Result<Arc<ServerConfig>> {
        let host = format!("mx.{domain}");
        let certificate = match strike.chance % 3 {
            0 => self.authority.issue_expired(&[&host])?,
            1 => self.authority.issue(&["mx.another.example"])?,
            _ => certs::self_signed(&host)?,
        };
        Ok(certificate.server)
    }
}

/// Takes one key of each domain out of a compiled configuration; what was there before.
pub(crate) fn take_key(config: &mut Value, chance: u64) -> Value {
    let before = config["dkim"].clone();
    for entry in config["dkim"].as_array_mut().into_iter().flatten() {
        entry["keys"][chance as usize % SELECTORS.len()]["key"] = Value::Null;
    }
    before
}

/// Whether a message has a signature of each key of the domain that it is from: of the senders', or of the fleet's for a bounce.
pub(crate) fn is_signed(entry: &Entry, text: &str) -> bool {
    let from = if entry.id.is_empty() { FLEET.to_owned() } else { domain(DOMAINS) };
    let found = signatures(text);
    let has = |selector: &str| found.iter().any(|(by, name)| *by == from && name == selector);
    SELECTORS.into_iter().all(has)
}

/// `d=` and `s=` of each signature in the header.
fn signatures(text: &str) -> Vec<(String, String)> {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let unfolded = head.replace("\r\n\t", " ").replace("\r\n ", " ");
    let tag = |signature: &str, name: &str| {
        let value = signature.split(';').find_map(|tag| tag.trim().strip_prefix(name)).unwrap_or_default();
        value.trim().to_owned()
    };
    let signatures = unfolded.split("\r\n").filter_map(|field| field.strip_prefix("DKIM-Signature:"));
    signatures.map(|signature| (tag(signature, "d="), tag(signature, "s="))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn signatures_are_read_from_the_header_alone() {
        let text = "DKIM-Signature: v=1; a=rsa-sha256; d=a.example;\r\n\ts=one; bh=x; b=y\r\n z\r\n\
                    Subject: d=b.example; s=two\r\n\r\nDKIM-Signature: d=c.example; s=three\r\n";
        assert_eq!(signatures(text), [("a.example".to_owned(), "one".to_owned())]);
    }

    #[test]
    fn one_key_of_each_domain_is_taken_and_all_are_given_back() {
        let keys = json!([{"selector": "rsa", "key": "r"}, {"selector": "ed25519", "key": "e"}]);
        let mut config =
            json!({"dkim": [{"domain": "a", "keys": keys.clone()}, {"domain": "b", "keys": keys}]});
        let whole = config["dkim"].clone();
        let before = take_key(&mut config, 3);
        assert_eq!(before, whole);
        for entry in 0..2 {
            assert_eq!(config["dkim"][entry]["keys"][0]["key"], "r");
            assert_eq!(config["dkim"][entry]["keys"][1]["key"], Value::Null);
        }
    }
}

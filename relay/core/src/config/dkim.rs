//! Whose mail is signed, and by which keys.
//! **Owns:** which entry a From belongs to. **Never:** signs (dkim.rs).

use postrider_mail::Domain;
use serde::{Deserialize, Serialize};

use super::Config;
use crate::dkim::{Signer, SigningKey};

/// A domain whose mail is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimDomain {
    /// `d=`.
    pub domain: Domain,
    /// Whether domains below it are signed for, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subdomains: bool,
    /// What signs: each makes a signature of its own.
    pub keys: Vec<DkimKey>,
}

/// One key of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimKey {
    /// `s=`.
    pub selector: Box<str>,
    /// The key; absent while its Secret is missing or broken: the domain's mail waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SigningKey>,
}

/// What a domain's mail gets.
#[derive(Debug, Clone)]
pub enum Signing {
    /// Nothing: no entry is for it.
    None,
    /// These signatures.
    By(Vec<Signer>),
    /// Signatures, as soon as all keys are there.
    Owed,
}

impl Config {
    /// The entry for a domain: its own, else the nearest of one above it that signs for all below.
    pub fn dkim_entry(&self, domain: &Domain) -> Option<&DkimDomain> {
        let is_for = |entry: &&DkimDomain| {
            entry.domain == *domain || (entry.subdomains && domain.is_within(&entry.domain))
        };
        self.dkim.iter().filter(is_for).max_by_key(|entry| entry.domain.as_str().len())
    }

    /// What mail of this domain gets.
    pub fn signing(&self, domain: Option<&Domain>) -> Signing {
        match domain.and_then(|domain| self.dkim_entry(domain)) {
            None => Signing::None,
            Some(entry) => entry.signers().map_or(Signing::Owed, Signing::By),
        }
    }
}

impl DkimDomain {
    /// All of its keys; none, while one is missing.
    fn signers(&self) -> Option<Vec<Signer>> {
        let signer = |one: &DkimKey| {
            let key = one.key.clone()?;
            Some(Signer { domain: self.domain.as_str().into(), selector: one.selector.clone(), key })
        };
        self.keys.iter().map(signer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigParts, Fleet};

    fn domain(name: &str) -> Domain {
        Domain::parse(name).expect("a domain")
    }

    fn entry(name: &str, subdomains: bool, keys: &[Option<&str>]) -> DkimDomain {
        let key = |pem: &Option<&str>| pem.map(|pem| SigningKey::parse(pem).expect("a key"));
        let keys = keys.iter().map(|pem| DkimKey { selector: "s".into(), key: key(pem) }).collect();
        DkimDomain { domain: domain(name), subdomains, keys }
    }

    fn config() -> Config {
        let pem = Some(include_str!("../dkim/fixtures/ed25519.pem"));
        let fleet = Fleet { namespace: "mail".into(), name: "out".into(), uid: None };
        let hostname = postrider_mail::HostName::parse("mail.example").expect("a name");
        let dkim = vec![
            entry("a.example", true, &[pem, pem]),
            entry("b.a.example", false, &[pem]),
            entry("c.example", false, &[pem, None]),
        ];
        ConfigParts { dkim, ..ConfigParts::minimal(fleet, hostname) }.into()
    }

    #[test]
    fn the_nearest_entry_signs() {
        for (name, signs) in [
            ("a.example", Some("a.example")),
            ("x.a.example", Some("a.example")),
            ("b.a.example", Some("b.a.example")),
            ("x.b.a.example", Some("a.example")),
            ("x.c.example", None),
            ("xa.example", None),
        ] {
            let config = config();
            let found = config.dkim_entry(&domain(name)).map(|entry| entry.domain.as_str());
            assert_eq!(found, signs, "{name}");
        }
    }

    #[test]
    fn one_missing_key_makes_mail_wait() {
        let config = config();
        assert!(matches!(config.signing(Some(&domain("a.example"))), Signing::By(by) if by.len() == 2));
        assert!(matches!(config.signing(Some(&domain("c.example"))), Signing::Owed));
        assert!(matches!(config.signing(Some(&domain("d.example"))), Signing::None));
        assert!(matches!(config.signing(None), Signing::None));
    }

    #[test]
    fn keys_come_back_from_the_compiled_configuration_and_are_not_shown() {
        let config = config();
        let back = Config::from_json(&config.to_json()).expect("readable");
        assert_eq!(back, config);
        assert!(!format!("{config:?}").contains("PRIVATE KEY"));
    }
}

//! The policy that a session was held under, as reports name it.
//! **Owns:** its form. **Never:** which policy applies (core::tls_policy).
//! RFC 8460 4.4: policy-type, policy-string, policy-domain, mx-host.

use postrider_mail::Domain;
use serde::{Deserialize, Serialize};

use crate::{dane::Demand, mta_sts, tls_policy::Protection};

/// Lines of a policy that are shown; a few more than any real one has.
const MAX_STRINGS: usize = 32;
/// Bytes shown of a line.
const MAX_STRING_BYTES: usize = 512;

/// Its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyType {
    /// DANE.
    Tlsa,
    /// MTA-STS.
    Sts,
    /// Neither.
    NoPolicyFound,
}

/// A policy. Two days' are the same where all of it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PolicyKey {
    /// Its kind.
    #[serde(rename = "t")]
    pub kind: PolicyType,
    /// Whose it is.
    #[serde(rename = "d")]
    pub domain: Domain,
    /// Its lines, or the TLSA records.
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub strings: Vec<Box<str>>,
    /// The hosts that it names, where it names any.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Box<str>>,
}

impl PolicyKey {
    /// There is no policy.
    pub fn none(domain: Domain) -> Self {
        Self { kind: PolicyType::NoPolicyFound, domain, strings: Vec::new(), hosts: Vec::new() }
    }

    /// There should be an MTA-STS policy, and none was had.
    pub fn unknown_sts(domain: Domain) -> Self {
        Self { kind: PolicyType::Sts, ..Self::none(domain) }
    }

    /// There should be TLSA records, and none were had.
    pub fn unknown_tlsa(domain: Domain) -> Self {
        Self { kind: PolicyType::Tlsa, ..Self::none(domain) }
    }

    /// An MTA-STS policy, its lines in the order of RFC 8461 3.2.
    pub fn sts(domain: Domain, policy: &mta_sts::Policy) -> Self {
        let hosts: Vec<Box<str>> = policy.hosts.iter().map(|host| cut(&host.to_string())).collect();
        let head = ["version: STSv1".to_owned(), format!("mode: {}", policy.mode.as_str())];
        let hosts_said = hosts.iter().take(MAX_STRINGS - 3).map(|host| format!("mx: {host}"));
        let age = std::iter::once(format!("max_age: {}", policy.max_age_seconds));
        let strings = head.into_iter().chain(hosts_said).chain(age).map(String::into_boxed_str).collect();
        Self { kind: PolicyType::Sts, domain, strings, hosts: hosts.into_iter().take(MAX_STRINGS).collect() }
    }

    /// The TLSA records of a host, those that can be used.
    pub fn tlsa(domain: Domain, demand: &Demand) -> Self {
        let strings = match demand {
            Demand::Encrypted => Vec::new(),
            Demand::Fitting(records) => {
                records.iter().take(MAX_STRINGS).map(|record| cut(&record.to_string())).collect()
            }
        };
        Self { kind: PolicyType::Tlsa, domain, strings, hosts: Vec::new() }
    }

    /// What a session was held under: a host's own records, else the domain's policy, `testing` ones too (RFC 8461 5.1).
    pub fn of(domain: Domain, protection: &Protection, published: Option<&mta_sts::Policy>) -> Self {
        match (protection, published) {
            (Protection::Dane { demand, .. }, _) => Self::tlsa(domain, demand),
            (_, Some(policy)) if policy.mode != mta_sts::Mode::None => Self::sts(domain, policy),
            _ => Self::none(domain),
        }
    }
}

fn cut(text: &str) -> Box<str> {
    // Hex digits and names of hosts: ASCII.
    text.chars().take(MAX_STRING_BYTES).collect()
}

//! SPF: whether a domain lets an address send its mail.
//! **Owns:** check_host, its limits. **Never:** a look-up, `exp`. RFC 7208.
//! `ptr` counts as a look-up and never matches: RFC 7208 5.5 says not to publish it, and receivers may skip it.

mod macros;
mod record;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use super::facts::{Facts, Kind, Lacking, kind_of};
use macros::Context;
use record::{Hosts, Mechanism, Qualifier, SpfRecord};

/// The most terms that ask the DNS, RFC 7208 4.6.4.
const MOST_LOOKUPS: u32 = 10;
/// The most look-ups without an answer, RFC 7208 4.6.4.
const MOST_VOID: u32 = 2;
/// The most hosts of an `mx`, RFC 7208 4.6.4.
const MOST_EXCHANGES: usize = 10;

/// What a domain says of an address, RFC 7208 2.6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spf {
    /// The domain has no record.
    None,
    /// The record says neither yes nor no.
    Neutral,
    /// The address may send.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The record can't be used.
    Broken(Broken),
}

/// Why a record can't be used: `permerror`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// More than one record.
    #[error("{0} has several records")]
    Several(Box<str>),
    /// A term that can't be read.
    #[error("{domain} has a term that can't be read: {term}")]
    Syntax {
        /// Whose record.
        domain: Box<str>,
        /// The term, shortened.
        term: Box<str>,
    },
    /// Too many terms that ask the DNS.
    #[error("more than {MOST_LOOKUPS} look-ups")]
    Lookups,
    /// Too many look-ups without an answer.
    #[error("more than {MOST_VOID} look-ups of names that have no such records")]
    Void,
    /// An `mx` with too many hosts.
    #[error("more than {MOST_EXCHANGES} MX records of {0}")]
    Exchanges(Box<str>),
    /// An `include` or `redirect` of a domain without a record.
    #[error("{0} is included and has no record")]
    NoRecord(Box<str>),
}

impl std::fmt::Display for Spf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("no record"),
            Self::Neutral => f.write_str("neutral"),
            Self::Pass => f.write_str("pass"),
            Self::Fail => f.write_str("fail"),
            Self::SoftFail => f.write_str("softfail"),
            Self::Broken(broken) => write!(f, "permerror ({broken})"),
        }
    }
}

/// Why an evaluation stops before its end.
enum Stop {
    Lacking(Lacking),
    Broken(Broken),
}

impl From<Lacking> for Stop {
    fn from(lacking: Lacking) -> Self {
        Self::Lacking(lacking)
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// What `domain` says of mail from `address` with `postmaster@domain` as its sender. A failed look-up is lacking: `temperror`.
pub(super) fn check_host(
    facts: &Facts<'_>,
    address: IpAddr,
    domain: &str,
    ehlo: &str,
) -> Result<Spf, Lacking> {
    let sender = format!("postmaster@{domain}");
    let mut check =
        Check { facts, address: address.to_canonical(), sender: &sender, ehlo, lookups: 0, void: 0 };
    match check.domain(domain) {
        Ok(result) => Ok(result),
        Err(Stop::Broken(broken)) => Ok(Spf::Broken(broken)),
        Err(Stop::Lacking(lacking)) => Err(lacking),
    }
}

struct Check<'a> {
    facts: &'a Facts<'a>,
    address: IpAddr,
    sender: &'a str,
    ehlo: &'a str,
    lookups: u32,
    void: u32,
}

impl Check<'_> {
    /// RFC 7208 4. The depth of calls is bounded by the look-ups.
    fn domain(&mut self, domain: &str) -> Result<Spf, Stop> {
        if !domain.trim_end_matches('.').contains('.') {
            return Ok(Spf::None);
        }
        let mut records = self.facts.texts(domain)?.into_iter().filter(|text| record::is_spf(text));
        let Some(text) = records.next() else { return Ok(Spf::None) };
        if records.next().is_some() {
            return Err(Broken::Several(domain.into()).into());
        }
        let record = SpfRecord::parse(text).map_err(|term| Broken::Syntax { domain: domain.into(), term })?;
        for directive in &record.directives {
            if self.matches(&directive.mechanism, domain)? {
                return Ok(match directive.qualifier {
                    Qualifier::Pass => Spf::Pass,
                    Qualifier::Fail => Spf::Fail,
                    Qualifier::SoftFail => Spf::SoftFail,
                    Qualifier::Neutral => Spf::Neutral,
                });
            }
        }
        let Some(redirect) = &record.redirect else { return Ok(Spf::Neutral) };
        self.count()?;
        let target = redirect.expand(&self.context(domain));
        match self.domain(&target)? {
            Spf::None => Err(Broken::NoRecord(target.into()).into()),
            other => Ok(other),
        }
    }

    fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Network(network) => Ok(network.contains(&self.address)),
            Mechanism::Ptr => {
                self.count()?;
                Ok(false)
            }
            Mechanism::Include(spec) => {
                self.count()?;
                let target = spec.expand(&self.context(domain));
                match self.domain(&target)? {
                    Spf::Pass => Ok(true),
                    Spf::Fail | Spf::SoftFail | Spf::Neutral => Ok(false),
                    Spf::None => Err(Broken::NoRecord(target.into()).into()),
                    Spf::Broken(broken) => Err(broken.into()),
                }
            }
            Mechanism::A(hosts) => {
                self.count()?;
                let target = self.target(hosts, domain);
                self.is_host(hosts, &target)
            }
            Mechanism::Mx(hosts) => {
                self.count()?;
                self.is_exchange(hosts, domain)
            }
            Mechanism::Exists(spec) => {
                self.count()?;
                let target = spec.expand(&self.context(domain));
                // A records, whatever the address's family is: RFC 7208 5.7.
                let found = self.facts.addresses(Kind::A, &target)?;
                self.note(found.is_empty())?;
                Ok(!found.is_empty())
            }
        }
    }

    fn is_host(&mut self, hosts: &Hosts, target: &str) -> Result<bool, Stop> {
        let found = self.facts.addresses(kind_of(self.address), target)?;
        self.note(found.is_empty())?;
        Ok(found.into_iter().any(|found| hosts.are_near(found, self.address)))
    }

    fn is_exchange(&mut self, hosts: &Hosts, domain: &str) -> Result<bool, Stop> {
        let target = self.target(hosts, domain);
        let names = self.facts.names(Kind::Mx, &target)?;
        self.note(names.is_empty())?;
        if names.len() > MOST_EXCHANGES {
            return Err(Broken::Exchanges(target.into()).into());
        }
        // All in one round of questions; what they say is looked at in their order.
        for name in &names {
            drop(self.facts.addresses(kind_of(self.address), name));
        }
        for name in names {
            if self.is_host(hosts, name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn target(&self, hosts: &Hosts, domain: &str) -> String {
        match &hosts.domain {
            Some(spec) => spec.expand(&self.context(domain)),
            None => domain.to_owned(),
        }
    }

    fn context<'c>(&'c self, domain: &'c str) -> Context<'c> {
        Context { address: self.address, sender: self.sender, domain, ehlo: self.ehlo }
    }

    fn count(&mut self) -> Result<(), Broken> {
        self.lookups += 1;
        if self.lookups > MOST_LOOKUPS { Err(Broken::Lookups) } else { Ok(()) }
    }

    fn note(&mut self, is_void: bool) -> Result<(), Broken> {
        self.void += u32::from(is_void);
        if self.void > MOST_VOID { Err(Broken::Void) } else { Ok(()) }
    }
}

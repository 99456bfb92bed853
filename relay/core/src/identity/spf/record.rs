//! A domain's SPF record as text.
//! **Owns:** its syntax. RFC 7208 4.5, 4.6, 12. **Never:** what it means.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::macros::DomainSpec;

/// How much of a term is shown.
const SHOWN: usize = 60;

/// A record, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SpfRecord {
    pub(super) directives: Vec<Directive>,
    /// None, if there is an `all` anyway: RFC 7208 6.1.
    pub(super) redirect: Option<DomainSpec>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) qualifier: Qualifier,
    pub(super) mechanism: Mechanism,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(DomainSpec),
    A(Hosts),
    Mx(Hosts),
    Ptr,
    /// `ip4` and `ip6`.
    Network(IpNet),
    Exists(DomainSpec),
}

/// What `a` and `mx` name: hosts, and how many bits of their addresses count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hosts {
    pub(super) domain: Option<DomainSpec>,
    v4: u8,
    v6: u8,
}

impl Hosts {
    /// Whether an address is in the network of a host's.
    pub(super) fn are_near(&self, host: IpAddr, address: IpAddr) -> bool {
        let bits = if host.is_ipv4() { self.v4 } else { self.v6 };
        IpNet::new(host, bits).is_ok_and(|network| network.contains(&address))
    }
}

/// Whether a TXT record is one of SPF's, RFC 7208 4.5.
pub(super) fn is_spf(text: &str) -> bool {
    let version = text.split(' ').next().unwrap_or_default();
    version.eq_ignore_ascii_case("v=spf1")
}

impl SpfRecord {
    /// Reads a record that [`is_spf`]. An error is the term that can't be read, shortened.
    pub(super) fn parse(text: &str) -> Result<Self, Box<str>> {
        let mut record = Self { directives: Vec::new(), redirect: None };
        let mut has_exp = false;
        for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
            record.term(term, &mut has_exp).ok_or_else(|| shown(term))?;
        }
        if record.directives.iter().any(|directive| directive.mechanism == Mechanism::All) {
            record.redirect = None;
        }
        Ok(record)
    }

    fn term(&mut self, term: &str, has_exp: &mut bool) -> Option<()> {
        let end = term.find([':', '/', '=']).unwrap_or(term.len());
        let (name, rest) = term.split_at(end);
        let Some(value) = rest.strip_prefix('=') else {
            self.directives.push(directive(name, rest)?);
            return Some(());
        };
        if !is_modifier(name) {
            return None;
        }
        match name.to_ascii_lowercase().as_str() {
            "redirect" if self.redirect.is_none() => self.redirect = Some(DomainSpec::parse(value)?),
            "exp" if !*has_exp => {
                DomainSpec::parse(value)?;
                *has_exp = true;
            }
            "redirect" | "exp" => return None,
            _ => DomainSpec::is_macro_string(value).then_some(())?,
        }
        Some(())
    }
}

fn is_modifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn directive(name: &str, rest: &str) -> Option<Directive> {
    let (qualifier, name) = match name.as_bytes().first()? {
        b'+' => (Qualifier::Pass, &name[1..]),
        b'-' => (Qualifier::Fail, &name[1..]),
        b'~' => (Qualifier::SoftFail, &name[1..]),
        b'?' => (Qualifier::Neutral, &name[1..]),
        _ => (Qualifier::Pass, name),
    };
    let value = || rest.strip_prefix(':');
    let mechanism = match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(DomainSpec::parse(value()?)?),
        "exists" => Mechanism::Exists(DomainSpec::parse(value()?)?),
        "a" => Mechanism::A(hosts(rest)?),
        "mx" => Mechanism::Mx(hosts(rest)?),
        "ptr" => {
            if !rest.is_empty() {
                DomainSpec::parse(value()?)?;
            }
            Mechanism::Ptr
        }
        "ip4" => Mechanism::Network(ip4(value()?)?),
        "ip6" => Mechanism::Network(ip6(value()?)?),
        _ => return None,
    };
    Some(Directive { qualifier, mechanism })
}

/// `[":" domain-spec] ["/" bits] ["//" bits]`
fn hosts(rest: &str) -> Option<Hosts> {
    let (rest, v6) = match rest.rfind("//") {
        Some(at) if is_number(&rest[at + 2..]) => (&rest[..at], bits(&rest[at + 2..], 128)?),
        _ => (rest, 128),
    };
    let (rest, v4) = match rest.rfind('/') {
        Some(at) if is_number(&rest[at + 1..]) => (&rest[..at], bits(&rest[at + 1..], 32)?),
        _ => (rest, 32),
    };
    let domain = match rest {
        "" => None,
        rest => Some(DomainSpec::parse(rest.strip_prefix(':')?)?),
    };
    Some(Hosts { domain, v4, v6 })
}

fn ip4(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let length = length.map_or(Some(32), |length| bits(length, 32))?;
    Some(Ipv4Net::new(address.parse::<Ipv4Addr>().ok()?, length).ok()?.into())
}

fn ip6(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let length = length.map_or(Some(128), |length| bits(length, 128))?;
    Some(Ipv6Net::new(address.parse::<Ipv6Addr>().ok()?, length).ok()?.into())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A length of a prefix, without zeros in front: RFC 7208 5.6.
fn bits(text: &str, most: u8) -> Option<u8> {
    let is_plain = is_number(text) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|bits| is_plain && *bits <= most)
}

fn shown(term: &str) -> Box<str> {
    let mut shown: String = term.chars().filter(|one| !one.is_control()).take(SHOWN).collect();
    if shown.len() < term.len() {
        shown.push('…');
    }
    shown.into()
}

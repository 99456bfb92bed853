//! From what the DNS said to the hosts to try, in order; or to a verdict.
//! **Owns:** MX order, implicit and null MX, loops to ourselves, which addresses may be mailed to. **Never:** a look-up.
//! Invariant: I6, only the authoritative absence of a domain or of all its hosts bounces; every failure defers.
//! Two steps, because the second needs look-ups that the first names: [`candidates`], then [`order`].
//! RFC 5321 5.1, RFC 7505 (null MX), RFC 2181 10.3.

mod addresses;
mod set;
mod verdict;

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use postrider_mail::{Domain, HostName};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

pub use addresses::{check_address, is_special};
pub use set::HostSet;
pub use verdict::{DnsFailure, Unresolved};

/// What one look-up gave. Only the first three are the word of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// Records of the type asked for; never empty.
    Records(Vec<T>),
    /// The name exists, without records of this type.
    NoData,
    /// The name doesn't exist.
    NxDomain,
    /// Nobody who knows has answered.
    Failed(DnsFailure),
}

/// One MX record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxRecord {
    /// The smaller, the sooner tried.
    pub preference: u16,
    /// Where it points.
    pub target: MxTarget,
}

/// What an MX record points at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MxTarget {
    /// `.`: this domain takes no mail (RFC 7505).
    Null,
    /// A machine.
    Host(HostName),
    /// No name of a machine: an IP address, or what no host may be called. It can't be looked up.
    Broken(Box<str>),
}

impl MxTarget {
    /// Reads the exchange field of an MX record.
    pub fn parse(text: &str) -> Self {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Self::Null;
        }
        match HostName::parse(name) {
            Ok(host) if !is_address(&host) => Self::Host(host),
            _ => Self::Broken(name.chars().take(80).collect()),
        }
    }
}

/// Where mail may go, and who we are.
#[derive(Debug, Clone, Default)]
pub struct Destinations {
    /// Names of this fleet: its hostname, its sources' hostnames.
    pub own_names: Vec<HostName>,
    /// Addresses of this fleet: listeners, egress, Services. An MX there would be a loop.
    pub own_addresses: Vec<IpAddr>,
    /// Special networks (private, loopback, …) that mail may go to all the same.
    pub allowed: Vec<IpNet>,
    /// Which families are tried, and which first.
    pub families: Families,
    /// Bounds of one attempt.
    pub limits: Limits,
}

/// Which address families are tried, and which first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Families {
    /// IPv4, then IPv6, by turns.
    #[default]
    V4First,
    /// IPv6, then IPv4, by turns.
    V6First,
    /// IPv4 only.
    V4Only,
    /// IPv6 only.
    V6Only,
}

/// Bounds of what one attempt may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// MX hosts whose addresses are asked for.
    pub lookups: usize,
    /// MX hosts tried in an attempt.
    pub hosts: usize,
    /// Addresses tried of one host.
    pub addresses_per_host: usize,
}

impl Default for Limits {
    /// Exim tries 5 hosts, Postfix 5 addresses. Look-ups are more, since the first hosts may have no address.
    fn default() -> Self {
        Self { lookups: 12, hosts: 5, addresses_per_host: 4 }
    }
}

/// A host whose addresses are to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its MX preference; 0 for an implicit MX or a smarthost.
    pub preference: u16,
    /// Its name.
    pub target: MxTarget,
    /// Where the name is from.
    pub origin: Origin,
    /// What it is one of.
    pub set: HostSet,
}

/// Where a candidate is from: it decides what its absence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An MX record.
    Mx,
    /// The domain itself, which has no MX record (RFC 5321 5.1).
    Implicit,
    /// A rule that names a smarthost. Its absence is our configuration's fault: never a reason to bounce.
    Rule,
}

/// The hosts whose addresses are to be asked for, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// Them.
    pub list: Vec<Candidate>,
    /// Whether that is all of them, or there are more than [`Limits::lookups`].
    pub is_complete: bool,
}

/// What the two look-ups of a host's addresses gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// A.
    pub v4: Answer<Ipv4Addr>,
    /// AAAA.
    pub v6: Answer<Ipv6Addr>,
}

/// A host to try, with at least one address, in the order to try them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name: what TLS and reports call it.
    pub name: HostName,
    /// Its preference.
    pub preference: u16,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What it is one of, whether or not the others were found.
    pub set: HostSet,
}

/// The hosts to look up for a domain, best first, equals shuffled by `seed`.
///
/// # Errors
/// When the answer to the MX look-up alone settles it.
pub fn candidates(
    domain: &Domain,
    answer: &Answer<MxRecord>,
    to: &Destinations,
    seed: u64,
) -> Result<Candidates, Unresolved> {
    let records = match answer {
        Answer::Records(records) if !records.is_empty() => records,
        Answer::Records(_) | Answer::NoData => return Ok(implicit(domain)),
        Answer::NxDomain => return Err(Unresolved::NoSuchDomain),
        Answer::Failed(failure) => {
            return Err(Unresolved::Failed { name: domain.as_str().into(), failure: *failure });
        }
    };
    // RFC 7505 3: a null MX stands alone; beside others it is a mistake to be overlooked.
    let mut records: Vec<_> = records.iter().filter(|record| record.target != MxTarget::Null).collect();
    if records.is_empty() {
        return Err(Unresolved::NullMx);
    }
    records.shuffle(&mut SmallRng::seed_from_u64(seed));
    records.sort_by_key(|record| record.preference);
    let loops_at = records.iter().find(|record| is_own_name(&record.target, to)).map(|own| own.preference);
    let mut seen = HashSet::new();
    let kept: Vec<_> = records
        .into_iter()
        .take_while(|record| loops_at.is_none_or(|limit| record.preference < limit))
        .filter(|record| seen.insert(&record.target))
        .collect();
    if kept.is_empty() {
        return Err(Unresolved::Loop);
    }
    let limit = to.limits.lookups.max(1);
    let set = HostSet::of(kept.iter().filter_map(|record| match &record.target {
        MxTarget::Host(name) => Some((name.clone(), None)),
        MxTarget::Null | MxTarget::Broken(_) => None,
    }));
    let as_candidate = |record: &&MxRecord| Candidate {
        preference: record.preference,
        target: record.target.clone(),
        origin: Origin::Mx,
        set: set.clone(),
    };
    Ok(Candidates {
        list: kept.iter().take(limit).map(as_candidate).collect(),
        is_complete: kept.len() <= limit,
    })
}

/// One host of a rule's smarthost.
pub fn smarthost(host: &HostName) -> Candidates {
    sole(host.clone(), Origin::Rule)
}

/// The hosts to try, from the candidates and what was found of each; `is_complete` as [`candidates`] said it.
///
/// # Errors
/// When none is left; the verdict says whether that may change.
pub fn order(
    found: &[(Candidate, Addresses)],
    is_complete: bool,
    to: &Destinations,
    seed: u64,
) -> Result<Vec<Host>, Unresolved> {
    // RFC 5321 5.1: with ourselves in the set, only what is preferred to us may be tried, or mail would go in a circle.
    let loops_at =
        found.iter().filter(|(_, seen)| addresses::has_own(seen, to)).map(|(of, _)| of.preference).min();
    let kept: Vec<_> =
        found.iter().filter(|(of, _)| loops_at.is_none_or(|limit| of.preference < limit)).collect();
    if kept.is_empty() && loops_at.is_some() {
        return Err(Unresolved::Loop);
    }
    let hosts: Vec<Host> = kept
        .iter()
        .filter_map(|(candidate, seen)| {
            let MxTarget::Host(name) = &candidate.target else { return None };
            let addresses = addresses::usable(seen, to, seed);
            let (name, preference, set) = (name.clone(), candidate.preference, candidate.set.clone());
            let host = Host { name, preference, addresses, set };
            (!host.addresses.is_empty()).then_some(host)
        })
        .take(to.limits.hosts.max(1))
        .collect();
    if hosts.is_empty() { Err(verdict::of_none(&kept, is_complete, to)) } else { Ok(hosts) }
}

fn implicit(domain: &Domain) -> Candidates {
    sole(HostName::implicit_mx(domain), Origin::Implicit)
}

fn sole(host: HostName, origin: Origin) -> Candidates {
    let set = HostSet::of([(host.clone(), None)]);
    Candidates {
        list: vec![Candidate { preference: 0, target: MxTarget::Host(host), origin, set }],
        is_complete: true,
    }
}

/// A name whose last label is a number is an address that someone typed in (10.0.0.1.): no such top level exists. Asked of the
/// normal form, where other scripts' dots and digits are those of ASCII.
fn is_address(host: &HostName) -> bool {
    host.as_str().rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

fn is_own_name(target: &MxTarget, to: &Destinations) -> bool {
    matches!(target, MxTarget::Host(name) if to.own_names.contains(name))
}

#[cfg(test)]
mod tests;

//! Pools of sources: by which of a fleet's addresses a message leaves.
//! **Owns:** [`Pool`], [`Source`], the choice between sources, when one that fails is tried again ([`Standing`]). **Never:** connects.
//! The choice is a weighted rendezvous of the message's queue ID with each source's name: it needs no memory, all relays agree on it, and
//! a source that goes takes no mail of the others with it.

mod standing;
mod warm_up;

use std::net::IpAddr;

use postrider_mail::HostName;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use standing::Standing;
pub use warm_up::WarmUp;

use crate::config::{Credentials, HostAddress};

/// Which pool of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolNumber(u8);

impl PoolNumber {
    /// The pool that stands there in `spec.egressPools`; none beyond what a configuration can have.
    pub fn at(index: usize) -> Option<Self> {
        u8::try_from(index).ok().map(Self)
    }

    /// Where it stands.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Named sources. One without any lets its mail wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// What policies call it.
    pub name: Box<str>,
    /// Those that can be used as they are.
    pub sources: Vec<Source>,
}

/// One way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What logs and metrics call it; once in its pool.
    pub name: Box<str>,
    /// Its share, from 1 to 1000.
    pub weight: u32,
    /// What EHLO says.
    pub hostname: HostName,
    /// The only kind of address that it reaches; any, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<IpFamily>,
    /// Its first days, if far sides don't know it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
    /// How connections leave.
    pub way: Way,
}

/// A kind of IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IpFamily {
    /// Version 4.
    IPv4,
    /// Version 6.
    IPv6,
}

impl IpFamily {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::IPv4,
            IpAddr::V6(_) => Self::IPv6,
        }
    }
}

impl std::fmt::Display for IpFamily {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        })
    }
}

/// How connections leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// As the pod sends anyway.
    Direct,
    /// From one of the pod's addresses.
    Address(IpAddr),
    /// By a SOCKS5 proxy (RFC 1928).
    Socks5 {
        /// The proxy.
        proxy: ProxyHost,
        /// Who we are to it (RFC 1929).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credentials: Option<Credentials>,
    },
    /// By a proxy that is told by PROXY protocol version 2 where from and where to.
    Proxy {
        /// The proxy.
        proxy: ProxyHost,
        /// The address of the proxy's that mail leaves by.
        address: IpAddr,
    },
}

/// Where a proxy listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProxyHost {
    /// Its name or address.
    pub host: HostAddress,
    /// Its port.
    pub port: u16,
}

impl std::fmt::Display for ProxyHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            HostAddress::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Direct => f.write_str("as pods send anyway"),
            Self::Address(address) => write!(f, "from {address}"),
            Self::Socks5 { proxy, credentials: None } => write!(f, "by SOCKS5 proxy {proxy}"),
            Self::Socks5 { proxy, credentials: Some(_) } => {
                write!(f, "by SOCKS5 proxy {proxy}, with user and password")
            }
            Self::Proxy { proxy, address } => write!(f, "from {address}, by proxy {proxy}"),
        }
    }
}

/// Which source, among all of a configuration. Equal ones may be different sources after a change of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName {
    /// The pool.
    pub pool: Box<str>,
    /// Its name there.
    pub source: Box<str>,
}

impl std::fmt::Display for SourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.pool, self.source)
    }
}

impl Pool {
    /// The sources in the order in which a message takes them: the first that works. `queue_id` is the message's.
    pub fn order(&self, queue_id: &str) -> Vec<&Source> {
        let mut scored: Vec<(f64, &Source)> =
            self.sources.iter().map(|source| (source.distance(queue_id), source)).collect();
        scored.sort_by(|(a, one), (b, other)| a.total_cmp(b).then_with(|| one.name.cmp(&other.name)));
        scored.into_iter().map(|(_, source)| source).collect()
    }

    /// What one of its sources is called.
    pub fn name_of(&self, source: &Source) -> SourceName {
        SourceName { pool: self.name.clone(), source: source.name.clone() }
    }

    /// The sum of all weights.
    pub fn weight(&self) -> u32 {
        self.sources.iter().map(|source| source.weight).sum()
    }
}

impl Source {
    /// Whether it reaches addresses of that kind.
    pub fn takes(&self, address: IpAddr) -> bool {
        self.family.is_none_or(|family| family == IpFamily::of(address))
    }

    /// How far a message is from it. With uniform u from (0, 1], -ln(u) / weight is smallest for each source with a chance in proportion
    /// to its weight.
    fn distance(&self, queue_id: &str) -> f64 {
        let hash =
            Sha256::new().chain_update(queue_id).chain_update([0]).chain_update(&*self.name).finalize();
        let high = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) >> 32;
        // 32 bits are exact in an f64, and more than shares need.
        let uniform = (f64::from(u32::try_from(high).unwrap_or(u32::MAX)) + 1.0) / 4_294_967_296.0;
        -uniform.ln() / f64::from(self.weight.max(1))
    }
}

#[cfg(test)]
mod tests;

//! Where mail comes in.
//! **Owns:** what a listener is made of. **Never:** judges a client (the relay's admission.rs does, by this).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use postrider_mail::Domain;
use serde::{Deserialize, Serialize};

use super::secret::{PasswordHash, Secret};
use crate::matcher::DomainPattern;

/// The port that a process without rights binds for a listener's: below 1024 it is 10000 more.
pub fn bound_port<P: From<u16> + PartialOrd + std::ops::Add<Output = P>>(port: P) -> P {
    if port < P::from(1024) { port + P::from(10_000) } else { port }
}

/// A port that takes mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its name: what rules, metrics and logs call it.
    pub name: String,
    /// The port that clients connect to; a process without rights binds another one.
    pub port: u16,
    /// Whether TLS begins with the connection.
    pub protocol: Protocol,
    /// Clients that may relay without AUTH. Nobody, if empty.
    pub allowed_clients: Vec<IpNet>,
    /// Whether some of them are pods, named by namespace or label: one that just started isn't among the networks yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allows_pods: bool,
    /// The sender domains that are taken; any, if absent. The null sender always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_domains: Option<DomainSet>,
    /// STARTTLS, or TLS from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// AUTH, and who may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Networks whose connections begin with a PROXY header, and must. None, if empty.
    pub proxies: Vec<IpNet>,
    /// How much is taken.
    pub limits: ListenerLimits,
    /// What becomes of a bare CR or LF in a message.
    pub bare_line_ends: BareLineEnds,
}

impl Listener {
    /// Whether this client may relay without AUTH.
    pub fn allows(&self, client: IpAddr) -> bool {
        contains(&self.allowed_clients, client)
    }

    /// Whether connections from here begin with a PROXY header.
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        contains(&self.proxies, peer)
    }

    /// Whether mail from this domain is taken.
    pub fn takes_sender(&self, domain: &Domain) -> bool {
        self.sender_domains.as_ref().is_none_or(|set| set.contains(domain))
    }
}

/// Whether any of the networks has the address. An IPv4 address in IPv6 clothes (`::ffff:a.b.c.d`) is taken out of them.
pub(crate) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Whether TLS begins with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// It doesn't; STARTTLS may follow.
    #[default]
    #[serde(rename = "SMTP")]
    Smtp,
    /// It does.
    #[serde(rename = "SMTPS")]
    Smtps,
}

/// A listener's TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerTls {
    /// Whether mail is taken without it. Of no matter for [`Protocol::Smtps`].
    pub demand: TlsDemand,
    /// What is shown to clients; chosen by SNI, else the first.
    pub certificates: Vec<Certificate>,
}

/// Whether mail is taken without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TlsDemand {
    /// It is.
    #[default]
    Optional,
    /// It isn't: `530 5.7.0`.
    Required,
}

/// A chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The Secret that it came from: `namespace/name`.
    pub origin: String,
    /// The leaf and its intermediates.
    pub chain: String,
    /// The private key.
    pub key: Secret<String>,
}

/// AUTH, and who may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// User to password hash.
    pub users: BTreeMap<String, PasswordHash>,
}

/// How much a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerLimits {
    /// Sessions at a time, in one relay.
    pub connections: u32,
    /// Sessions at a time of one client.
    pub connections_per_client: u32,
    /// Bytes of a message.
    pub message_size: u64,
    /// Recipients of a message.
    pub recipients: u32,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 2_000,
            connections_per_client: 50,
            message_size: 25 * 1024 * 1024,
            recipients: 1_000,
        }
    }
}

/// What becomes of a bare CR or LF in a message. It is never passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum BareLineEnds {
    /// The message is refused: `550 5.5.2`.
    #[default]
    Reject,
    /// It becomes CRLF.
    Normalize,
}

/// Domains, some with all below them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(transparent)]
pub struct DomainSet(pub Vec<DomainPattern>);

impl DomainSet {
    /// Whether it has this domain.
    pub fn contains(&self, domain: &Domain) -> bool {
        self.0.iter().any(|pattern| pattern.matches(domain))
    }
}

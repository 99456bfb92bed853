//! `spec.egress`: what of a fleet's way out can't be seen from inside a cluster. `spec.egressPools`: the ways out that policies choose.
//! **Owns:** their fields and bounds. **Never:** looks anything up.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, text, text::SecretRef};

/// Who the fleet is to far sides. Nothing here changes how mail is sent: it is what the DNS is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// The addresses that mail leaves from, as far sides see them: those of nodes, or of a NAT gateway. Each needs a PTR record whose
    /// name leads back, and SPF. If absent, only names are looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 2, max = 45), regex(pattern = text::IP_ADDRESS)))]
    #[x_kube(validation = Rule::new(cel::ADDRESSES).message("each must be an IP address such as 203.0.113.10"))]
    pub addresses: Vec<String>,
    /// Checked: the condition EgressIdentity says whether the DNS fits. Unchecked: nobody looks, for fleets whose smarthost is their face.
    #[serde(default)]
    pub identity: IdentityCheck,
}

/// Whether somebody looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum IdentityCheck {
    /// The operator does.
    #[default]
    Checked,
    /// Nobody.
    Unchecked,
}

/// Sources of mail that a policy can name. Each message goes by one of them, chosen by weight; all of its recipients and attempts keep
/// to it while it works. While none works the mail waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressPool {
    /// What policies call it.
    #[schemars(length(min = 1, max = 63), regex(pattern = text::LABEL))]
    pub name: String,
    /// By which mail leaves.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub sources: Vec<EgressSource>,
}

/// One way out: an address of the pod's own, a SOCKS5 proxy, or a proxy that speaks the PROXY protocol; with none of them, as pods
/// send anyway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(cel::ONE_WAY).message("set one of address, socks5 and proxy, or none of them"))]
pub struct EgressSource {
    /// What logs and metrics call it. The choice goes by the name: a source that gets another name gets other mail.
    #[schemars(length(min = 1, max = 63), regex(pattern = text::LABEL))]
    pub name: String,
    /// Its share of the mail, in relation to those of the others.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: i32,
    /// The name that EHLO says: what the address that far sides see resolves to. The MailRelay's hostname, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = text::HOST_NAME))]
    pub hostname: Option<String>,
    /// IPv4 or IPv6. Only far sides at such addresses are sent to; if absent, both, but from an address its own kind only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family: Option<IpFamily>,
    /// Few messages a day at first, ever more later: for an address that far sides don't know yet. What is beyond goes by the pool's
    /// other sources, or waits if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
    /// An address that the pods have (by hostNetwork, or another network interface): connections come from it. A pod without it
    /// leaves the source out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45), regex(pattern = text::IP_ADDRESS))]
    pub address: Option<String>,
    /// Connections go by a SOCKS5 proxy (RFC 1928).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socks5: Option<Socks5>,
    /// Connections go by a proxy that is told by PROXY protocol version 2 from which address to go on, and where to: HAProxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<TransparentProxy>,
}

fn one() -> i32 {
    1
}

/// IPv4 or IPv6. Only far sides at such addresses are sent to; if absent, both, but from an address its own kind only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpFamily {
    /// Version 4.
    IPv4,
    /// Version 6.
    IPv6,
}

/// How many messages a source may carry to each far side while far sides get to know it. All MX hosts of a known provider are one far
/// side, else those of one set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WarmUp {
    /// The first day, by UTC, such as "2026-12-01". Before it the source carries nothing.
    #[schemars(length(min = 10, max = 10), regex(pattern = text::DAY), extend("format" = "date"))]
    pub start_date: String,
    /// The most messages to one far side on the first day, on the second, and so on. Behind the last of them there is no limit.
    #[schemars(length(min = 1, max = 120), inner(range(min = 1, max = 100_000_000)))]
    pub messages_per_day: Vec<i32>,
}

/// A SOCKS5 proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Socks5 {
    /// Its name or address, as the pods know it.
    #[schemars(length(min = 1, max = 253), regex(pattern = text::HOST))]
    pub host: String,
    /// Its port.
    #[serde(default = "socks_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// A Secret of type kubernetes.io/basic-auth (keys username and password) in the MailRelay's namespace. While it is missing the
    /// source is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<SecretRef>,
}

fn socks_port() -> i32 {
    1080
}

/// A proxy that sends from the address that it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransparentProxy {
    /// Its name or address, as the pods know it.
    #[schemars(length(min = 1, max = 253), regex(pattern = text::HOST))]
    pub host: String,
    /// Its port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The address, one of the proxy's, that mail shall leave by.
    #[schemars(length(min = 2, max = 45), regex(pattern = text::IP_ADDRESS))]
    pub address: String,
}

/// By which sources mail leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressChoice {
    /// One of the MailRelay's egressPools.
    #[schemars(length(min = 1, max = 63), regex(pattern = text::LABEL))]
    pub pool: String,
}

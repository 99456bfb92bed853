//! `policy` of a rule and `defaults` of a MailRelay: how mail is treated.
//! **Owns:** its fields and bounds. **Never:** defaults (core has them: a field that is absent here leaves it to the next rule).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, duration::Duration, egress::EgressChoice};

/// How mail is treated. Each field is taken from the first matching rule that has it, then from the MailRelay's `defaults`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// How soon it is wanted: Transactional, Normal or Bulk. Built-in default: Normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How connections to the far side are protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How much goes to one far side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// By which sources it leaves. Built-in default: as pods send anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressChoice>,
}

/// How soon it is wanted: Transactional, Normal or Bulk. Built-in default: Normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Class {
    /// A person waits for it.
    Transactional,
    /// Everything else.
    Normal,
    /// Newsletters.
    Bulk,
}

/// When mail is tried again: after `initial`, then ever later up to `max`, until `maxAge`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(cel::RETRY_ORDER).message("initial, max and maxAge must not fall"),
    validation = Rule::new(cel::RETRY_BOUNDS).message("initial and max must be 1s at least, maxAge from 1s to 720h")
)]
pub struct Retry {
    /// The wait after the first attempt; from 1s on. Built-in default: 3m, which greylisting asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Duration>,
    /// The longest wait between attempts. Built-in default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Duration>,
    /// From acceptance to the bounce; up to 720h. Built-in default: 120h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// From acceptance to the notice that mail is late; 0s for none. Built-in default: 4h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_notice: Option<Duration>,
}

/// How connections to the far side are protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Clear (no TLS), Opportunistic (where offered, any certificate, in clear if it fails), Published (as the recipient's side
    /// publishes by DANE or MTA-STS, or as Opportunistic), Require (any certificate, or mail waits), or Verify (a certificate of a
    /// public authority in the host's name, or mail waits). Built-in default: Published.
    pub mode: TlsMode,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// No TLS, even if offered.
    Clear,
    /// TLS where it works.
    Opportunistic,
    /// As the recipient's domain has published.
    Published,
    /// TLS, or mail waits.
    Require,
    /// TLS with a certificate that a public authority gave to that host, or mail waits.
    Verify,
}

/// How much goes to one far side, a set of hosts: all domains with the same MX hosts share it. What one rule sets counts apart from what
/// another sets, and holds for all pods together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Connections at a time, of all pods together. Built-in default: 20 of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub connections: Option<i32>,
    /// Messages over one connection. Built-in default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub messages_per_connection: Option<i32>,
    /// Recipients in one transaction. Built-in default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub recipients_per_message: Option<i32>,
    /// Messages in a time, of all pods together: a transaction with a far side is a message. Built-in default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<MessageRate>,
    /// Connections opened in a time, of all pods together. Built-in default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_rate: Option<ConnectionRate>,
}

/// Messages in a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(cel::RATE_PER).message("per must be from 1s to 24h"))]
pub struct MessageRate {
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub messages: i32,
    /// In which time: from 1s to 24h.
    pub per: Duration,
    /// How many at once, on top of what comes due. Built-in default: what comes due in 5s, 2 at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<i32>,
}

/// Connections opened in a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(cel::RATE_PER).message("per must be from 1s to 24h"))]
pub struct ConnectionRate {
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: i32,
    /// In which time: from 1s to 24h.
    pub per: Duration,
    /// How many at once, on top of what comes due. Built-in default: what comes due in 5s, 2 at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<i32>,
}

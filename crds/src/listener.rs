//! `spec.listeners`: where mail comes in.
//! **Owns:** their fields, bounds and defaults. **Never:** judges a client.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, mail_relay::LabelSelector, quantity::Quantity, text, text::SecretRef};

/// A port that takes mail. Nobody may relay through it unless `allowedClients` or `auth` says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(cel::SMTPS_NEEDS_TLS).message("protocol SMTPS needs tls.certificateRef"),
    validation = Rule::new(cel::AUTH_NEEDS_TLS).message("auth needs tls.certificateRef: passwords are not taken in clear")
)]
pub struct Listener {
    /// Its name; a rule can say it as sectionName and in matches.
    #[schemars(length(min = 1, max = 63), regex(pattern = text::LABEL))]
    pub name: String,
    /// The port of the Service. The pod binds an unprivileged one.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// SMTP, with STARTTLS where tls is set; or SMTPS, where TLS begins with the connection.
    #[serde(default)]
    pub protocol: Protocol,
    /// Clients that may relay without AUTH. Nobody, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_clients: Option<AllowedClients>,
    /// The sender domains that are taken (`example.com`, `*.example.com`); any, if absent. Mail with the null sender is always
    /// taken. A From that `dkim` has keys for is taken only if it is of these, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 253), regex(pattern = text::DOMAIN_PATTERN)))]
    pub sender_domains: Option<Vec<String>>,
    /// STARTTLS, or the certificate for SMTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Clients that authenticate may relay, too. AUTH is offered under TLS only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<ListenerAuth>,
    /// Connections from load balancers that send a PROXY header (v1 or v2) first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How much is taken.
    #[serde(default)]
    #[x_kube(validation = Rule::new(cel::MESSAGE_SIZE).message("messageSize must be from 64Ki to 1Gi"))]
    pub limits: ListenerLimits,
    /// What becomes of a message with a bare CR or LF in it: Reject (550 5.5.2), or Normalize to CRLF. It is never passed on
    /// as it is.
    #[serde(default)]
    pub bare_line_ends: BareLineEnds,
}

/// What a client speaks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// SMTP in clear, STARTTLS on demand.
    #[default]
    #[serde(rename = "SMTP")]
    Smtp,
    /// TLS.
    #[serde(rename = "SMTPS")]
    Smtps,
}

/// Who may relay without AUTH: whoever is in one of the networks, or one of the pods.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(cel::SOME_CLIENTS).message("set cidrs, namespaces or pods"))]
pub struct AllowedClients {
    /// Networks such as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 3, max = 43), regex(pattern = text::CIDR)))]
    #[x_kube(validation = Rule::new(cel::CIDRS).message("each must be a network such as 10.0.0.0/8"))]
    pub cidrs: Option<Vec<String>>,
    /// Pods in the namespaces with these labels; in the MailRelay's own, if only `pods` is set. Where pods are named, whoever
    /// is none of the clients gets a 450, not a 550: a pod that just started is known a moment later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<LabelSelector>,
    /// Pods with these labels; all of the namespaces, if only `namespaces` is set. Pods in the network of their node don't count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<LabelSelector>,
}

impl AllowedClients {
    /// Whether pods are named by their namespaces or labels, not only networks.
    pub const fn names_pods(&self) -> bool {
        self.namespaces.is_some() || self.pods.is_some()
    }
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// Whether mail is taken without TLS: Optional, or Required.
    #[serde(default)]
    pub mode: TlsDemand,
    /// A Secret of type kubernetes.io/tls in the MailRelay's namespace. A renewed one is taken up without a restart.
    pub certificate_ref: SecretRef,
}

/// Whether mail is taken without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TlsDemand {
    /// It is.
    #[default]
    Optional,
    /// It isn't.
    Required,
}

/// AUTH of a listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerAuth {
    /// A Secret in the MailRelay's namespace with a key per user and the hash of its password (argon2id, or bcrypt as
    /// `htpasswd -nB` writes it) as value.
    pub users_ref: SecretRef,
}

/// Where PROXY headers come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyProtocol {
    /// The networks of the load balancers. Connections from there must begin with the header, others mustn't.
    #[serde(rename = "trustedCIDRs")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 3, max = 43), regex(pattern = text::CIDR)))]
    #[x_kube(validation = Rule::new(cel::CIDRS).message("each must be a network such as 10.0.0.0/8"))]
    pub trusted_cidrs: Vec<String>,
}

/// How much a listener takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerLimits {
    /// Sessions at a time, in each pod; beyond: 421.
    #[schemars(range(min = 1, max = 20000))]
    pub connections: i32,
    /// Sessions at a time of one client (an IPv4 address, or an IPv6 /64), in each pod; beyond: 421.
    #[schemars(range(min = 1, max = 20000))]
    pub connections_per_client: i32,
    /// The largest message, from 64Ki to 1Gi; beyond: 552.
    pub message_size: Quantity,
    /// Recipients of one message; beyond: 452. RFC 5321 asks for 100 at least.
    #[schemars(range(min = 100, max = 50000))]
    pub recipients: i32,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 2_000,
            connections_per_client: 50,
            message_size: Quantity::mebibytes(25),
            recipients: 1_000,
        }
    }
}

/// What becomes of a bare CR or LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum BareLineEnds {
    /// The message is refused.
    #[default]
    Reject,
    /// It becomes CRLF.
    Normalize,
}

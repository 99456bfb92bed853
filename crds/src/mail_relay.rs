//! MailRelay: a fleet of relays, its listeners, its queue.
//! **Owns:** its fields, bounds and defaults. **Never:** a field whose function isn't there.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cel,
    dkim::DkimDomain,
    duration::Duration,
    egress::{Egress, EgressPool},
    listener::Listener,
    policy::Policy,
    queue::Queue,
    route::Route,
    status::MailRelayStatus,
    text,
    workload::{Autoscaling, Pod, Service},
};

/// A fleet of relays: it accepts mail on its listeners, keeps it in its queue, and delivers it as RoutingRules say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "postrider.dev",
    version = "v1alpha1",
    kind = "MailRelay",
    namespaced,
    plural = "mailrelays",
    singular = "mailrelay",
    shortname = "mrelay",
    category = "mail",
    status = "MailRelayStatus",
    derive = "PartialEq",
    validation = Rule::new(cel::SHORT_NAME).message("metadata.name must be a DNS label of 52 characters at most: Services and labels are named after it"),
    doc = "A fleet of relays: it accepts mail on its listeners, keeps it in its queue, and delivers it as RoutingRules say.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    ),
    printcolumn(name = "Rules", type_ = "integer", json_path = ".status.attachedRules"),
    printcolumn(name = "Queued", type_ = "integer", json_path = ".status.queue.deliveries"),
    printcolumn(name = "Oldest", type_ = "string", json_path = ".status.queue.oldest", priority = "1"),
    printcolumn(name = "Hostname", type_ = "string", json_path = ".spec.hostname", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(cel::REPLICAS_OR_AUTOSCALING).message("set replicas or autoscaling, not both"))]
pub struct MailRelaySpec {
    /// The name in greeting, EHLO, Received lines and the sender of bounces. It should be what the egress address resolves to.
    #[schemars(length(min = 1, max = 253), regex(pattern = text::HOST_NAME))]
    pub hostname: String,
    /// How many pods; 2, if absent, unless autoscaling says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// As many pods as their CPU asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Where mail comes in.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new(cel::UNIQUE_PORTS).message("each listener needs a port of its own")
    )]
    pub listeners: Vec<Listener>,
    /// Where mail waits.
    #[serde(default)]
    #[x_kube(validation = Rule::new(cel::QUEUE_STAYS).message("moving between managed and external would leave the mail that waits behind"))]
    pub queue: Queue,
    /// Where mail goes that no rule routes: MX, if absent.
    #[serde(default)]
    pub default_route: Route,
    /// Active; or Paused: mail is accepted and waits.
    #[serde(default)]
    pub delivery: Delivery,
    /// How mail is treated where no rule says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Policy>,
    /// Enabled: mail to the MX hosts of large providers keeps to what these are known to take, where no RoutingRule says it; that goes
    /// before defaults. Or Disabled.
    #[serde(default)]
    pub provider_defaults: ProviderDefaults,
    /// Whose mail is signed (DKIM), and by which keys. Nobody's, if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["domain".into()]))]
    pub dkim: Vec<DkimDomain>,
    /// Who the fleet is to far sides: what the DNS should say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// Named sources, by which a policy lets mail leave (`egress.pool`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub egress_pools: Vec<EgressPool>,
    /// Daily reports to domains that ask for them, of how TLS with their hosts went (RFC 8460). None are sent, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_reports: Option<TlsReports>,
    /// Addresses that mail may be sent to although they are private, loopback or link-local.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_destinations: Option<AllowedDestinations>,
    /// Which RoutingRules may attach: each entry gives a right. If absent, those of the MailRelay's own namespace.
    #[serde(default = "same_namespace")]
    #[schemars(length(max = 16))]
    pub allowed_routes: Vec<AllowedRoutes>,
    /// How a pod ends.
    #[serde(default)]
    #[x_kube(validation = Rule::new(cel::DRAIN_BOUNDS).message("delay must be 5m at most, timeout from 1s to 10m"))]
    pub drain: Drain,
    /// What logs show.
    #[serde(default)]
    pub logging: Logging,
    /// How clients reach the fleet.
    #[serde(default)]
    pub service: Service,
    /// What its pods are given.
    #[serde(default)]
    pub pod: Pod,
}

/// Who reports to domains how TLS with their hosts went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsReports {
    /// Where reports come from; they are signed by the key of its domain in dkim. Its domain is what far sides know the reporter by.
    #[schemars(length(min = 3, max = 254), regex(pattern = text::ADDRESS))]
    pub from: String,
    /// The name of the organization that reports.
    #[schemars(length(min = 1, max = 128), regex(pattern = text::LINE))]
    pub organization_name: String,
    /// Where a person can be reached about a report: an address or a URL. The from address, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254), regex(pattern = text::LINE))]
    pub contact: Option<String>,
}

/// Whether mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// It is.
    #[default]
    Active,
    /// It is accepted and waits.
    Paused,
}

/// Whether mail to large providers keeps to what these are known to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ProviderDefaults {
    /// It does, where no rule says it.
    #[default]
    Enabled,
    /// Nobody is known.
    Disabled,
}

/// Addresses that mail may be sent to all the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedDestinations {
    /// Networks such as `10.1.0.0/16`.
    #[schemars(length(min = 1, max = 64), inner(length(min = 3, max = 43), regex(pattern = text::CIDR)))]
    #[x_kube(validation = Rule::new(cel::CIDRS).message("each must be a network such as 10.0.0.0/8"))]
    pub cidrs: Vec<String>,
}

/// A right to attach: whose rules, over which mail, up to which priority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// The namespaces of the rules.
    #[serde(default)]
    pub namespaces: AllowedNamespaces,
    /// The rules act on mail from these domains only (`*.apps.example.com`); on all mail, if absent. A rule whose matches reach
    /// further isn't accepted; one that doesn't match by sender is kept within them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253), regex(pattern = text::DOMAIN_PATTERN)))]
    pub sender_domains: Option<Vec<String>>,
    /// The highest priority that the rules may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1000000, max = 1000000))]
    pub max_priority: Option<i32>,
}

fn same_namespace() -> Vec<AllowedRoutes> {
    vec![AllowedRoutes { namespaces: AllowedNamespaces::default(), sender_domains: None, max_priority: None }]
}

/// Namespaces.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(cel::SELECTOR).message("from Selector needs selector, the others must not have it"))]
pub struct AllowedNamespaces {
    /// Same (the MailRelay's), All, or Selector.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// With from Selector: the labels of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How namespaces are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The MailRelay's.
    #[default]
    Same,
    /// All.
    All,
    /// By label.
    Selector,
}

/// Labels, all of which an object must have.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = { "type": "string", "maxLength": 63 }))]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<SelectorRequirement>,
}

/// A condition on a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelectorRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: SelectorOperator,
    /// For In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// Its value is one of these.
    In,
    /// It isn't there, or its value is none of these.
    NotIn,
    /// It is there.
    Exists,
    /// It isn't.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let has_label = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        let holds = |one: &SelectorRequirement| {
            let value = labels.get(&one.key);
            match one.operator {
                SelectorOperator::In => value.is_some_and(|value| one.values.contains(value)),
                SelectorOperator::NotIn => value.is_none_or(|value| !one.values.contains(value)),
                SelectorOperator::Exists => value.is_some(),
                SelectorOperator::DoesNotExist => value.is_none(),
            }
        };
        self.match_labels.iter().all(has_label) && self.match_expressions.iter().all(holds)
    }
}

/// How a pod ends. Its grace period is computed from these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Drain {
    /// How long it goes on accepting, so that load balancers learn that it ends.
    pub delay: Duration,
    /// How long sessions and attempts may take to finish after that.
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::from_secs(10), timeout: Duration::from_secs(90) }
    }
}

/// What logs show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Logging {
    /// How much of addresses, which are personal: Domain, or Full.
    pub addresses: LoggedAddresses,
}

/// How much of an address logs show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum LoggedAddresses {
    /// What is behind the @.
    #[default]
    Domain,
    /// All of it.
    Full,
}

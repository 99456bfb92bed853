//! RoutingRule: what happens to which mail.
//! **Owns:** its fields, bounds and defaults. **Never:** which of several rules wins (core's route.rs).

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, policy::Policy, route::Route, status::RoutingRuleStatus, text};

/// What happens to mail that matches: where it goes (`route`), how it is treated (`policy`), or both. Rules of a higher
/// priority go first; among equals the one that names the mail more exactly, then the older one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "postrider.dev",
    version = "v1alpha1",
    kind = "RoutingRule",
    namespaced,
    plural = "routingrules",
    singular = "routingrule",
    shortname = "mroute",
    category = "mail",
    status = "RoutingRuleStatus",
    derive = "PartialEq",
    doc = "What happens to mail that matches: where it goes (route), how it is treated (policy), or both. Rules of a higher priority go first; among equals the one that names the mail more exactly, then the older one.",
    printcolumn(name = "Relay", type_ = "string", json_path = ".spec.parentRefs[0].name"),
    printcolumn(name = "Route", type_ = "string", json_path = ".spec.route.type"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(cel::ROUTE_OR_POLICY).message("set route, policy or both"))]
pub struct RoutingRuleSpec {
    /// The MailRelays that it is for.
    #[schemars(length(min = 1, max = 32))]
    pub parent_refs: Vec<ParentRef>,
    /// Higher ones go first.
    #[serde(default)]
    #[schemars(range(min = -1000000, max = 1000000))]
    pub priority: i32,
    /// One entry must match; in an entry all fields, in a field any value. All mail, if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub matches: Vec<Match>,
    /// Where the mail goes. Without it the rule only says how mail is treated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// How the mail is treated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

/// A MailRelay, or one listener of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = text::OBJECT_NAME))]
    pub name: String,
    /// Its namespace: the rule's, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = text::LABEL))]
    pub namespace: Option<String>,
    /// A listener: the rule is for mail that comes in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = text::LABEL))]
    pub section_name: Option<String>,
}

/// Which mail. Every field that is set must match, for one recipient at a time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Domains of the recipient: `example.com`, or `*.example.com` for all below it (at any depth, without itself).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 255), regex(pattern = text::DOMAIN_PATTERN)))]
    pub recipient_domains: Option<Vec<String>>,
    /// Addresses of the recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 3, max = 320), regex(pattern = text::ADDRESS)))]
    pub recipients: Option<Vec<String>>,
    /// Domains of the envelope's sender, as recipientDomains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 255), regex(pattern = text::DOMAIN_PATTERN)))]
    pub sender_domains: Option<Vec<String>>,
    /// Addresses of the envelope's sender; `<>` is the null sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 2, max = 320), regex(pattern = text::SENDER)))]
    pub senders: Option<Vec<String>>,
    /// Listeners that the mail came in by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63), regex(pattern = text::LABEL)))]
    pub listeners: Option<Vec<String>>,
    /// Who handed it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
}

/// Who handed mail in. Every field that is set must match.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clients {
    /// Networks such as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 3, max = 43), regex(pattern = text::CIDR)))]
    #[x_kube(validation = Rule::new(cel::CIDRS).message("each must be a network such as 10.0.0.0/8"))]
    pub cidrs: Option<Vec<String>>,
    /// Users of AUTH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253), regex(pattern = text::USER)))]
    pub users: Option<Vec<String>>,
}

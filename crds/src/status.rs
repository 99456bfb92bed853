//! What users read back: status, conditions, reasons.
//! **Owns:** their words, as constants, used by operator, CLI and tests alike. **Never:** when a condition holds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{duration::Duration, routing_rule::ParentRef};

/// Who writes the status of rules.
pub const CONTROLLER_NAME: &str = "postrider.dev/operator";

/// Types of conditions. `True` is good for all but [`conditions::QUEUE_LOST`].
pub mod conditions {
    /// What was asked for is understood and allowed.
    pub const ACCEPTED: &str = "Accepted";
    /// Every Secret and listener that is named is there.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// The shards can keep what a 250 promises.
    pub const QUEUE_DURABLE: &str = "QueueDurable";
    /// A shard's server isn't the one that had the queue.
    pub const QUEUE_LOST: &str = "QueueLost";
    /// The pods' clocks and the shards' agree.
    pub const QUEUE_CLOCK: &str = "QueueClock";
    /// The DNS says of the fleet's addresses and names what receivers want to hear.
    pub const EGRESS_IDENTITY: &str = "EgressIdentity";
    /// The public half of every key that signs is published.
    pub const DKIM_PUBLISHED: &str = "DKIMPublished";
    /// Every ready pod runs what was asked for.
    pub const PROGRAMMED: &str = "Programmed";
    /// All of it: what `kubectl wait` and other tools look at.
    pub const READY: &str = "Ready";
}

/// Reasons of conditions.
pub mod reasons {
    /// Accepted, true.
    pub const ACCEPTED: &str = "Accepted";
    /// Accepted, false: a value can't be used.
    pub const INVALID: &str = "Invalid";
    /// Accepted, false: the MailRelay's `allowedRoutes` doesn't let the rule attach.
    pub const NOT_ALLOWED: &str = "NotAllowedByRelay";
    /// Accepted, false: there is no such MailRelay, or no such listener of it.
    pub const NO_MATCHING_PARENT: &str = "NoMatchingParent";
    /// Accepted, true with a note: an older rule with the same match goes first.
    pub const SHADOWED: &str = "Shadowed";
    /// Accepted, false: the compiled configuration doesn't fit into a Secret.
    pub const CONFIG_TOO_LARGE: &str = "ConfigTooLarge";
    /// ResolvedRefs, true.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// ResolvedRefs, false: there is no such Secret.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// ResolvedRefs, false: the Secret doesn't hold what it should.
    pub const SECRET_INVALID: &str = "SecretInvalid";
    /// ResolvedRefs, false: there is no such listener.
    pub const LISTENER_NOT_FOUND: &str = "ListenerNotFound";
    /// ResolvedRefs, false: the MailRelay has no such egress pool.
    pub const POOL_NOT_FOUND: &str = "PoolNotFound";
    /// Programmed and Ready, false: not yet.
    pub const PENDING: &str = "Pending";
    /// Programmed, false: a pod couldn't load its configuration.
    pub const NOT_LOADED: &str = "NotLoaded";
    /// Accepted, false: an object of that name is there and isn't ours.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// Ready, false: fewer pods are ready than wanted.
    pub const PODS_NOT_READY: &str = "PodsNotReady";
    /// Ready, false: it ends as soon as its queue is empty.
    pub const DELETING: &str = "Deleting";
    /// QueueDurable, true.
    pub const DURABLE: &str = "Durable";
    /// QueueDurable, false: a setting of a server doesn't keep what a 250 promises.
    pub const NOT_DURABLE: &str = "NotDurable";
    /// QueueDurable, false: a server can't be reached.
    pub const UNREACHABLE: &str = "Unreachable";
    /// QueueDurable, true: as the spec asks for it, nobody looks.
    pub const UNCHECKED: &str = "Unchecked";
    /// QueueLost, true: an empty server is where a queue was.
    pub const LOST: &str = "Lost";
    /// QueueLost, false.
    pub const NOTHING_LOST: &str = "NothingLost";
    /// QueueClock, true.
    pub const CLOCKS_AGREE: &str = "ClocksAgree";
    /// QueueClock, false.
    pub const CLOCKS_DIFFER: &str = "ClocksDiffer";
    /// Any condition, unknown: no pod tells.
    pub const NO_REPORT: &str = "NoReport";
    /// EgressIdentity, true.
    pub const NAMES_FIT: &str = "NamesFit";
    /// DKIMPublished, true.
    pub const KEYS_PUBLISHED: &str = "KeysPublished";
    /// DKIMPublished, true: nothing is signed.
    pub const NO_KEYS: &str = "NoKeys";
    /// EgressIdentity and DKIMPublished, unknown: the DNS hasn't answered.
    pub const DNS_UNAVAILABLE: &str = "DnsUnavailable";
    /// Programmed, true.
    pub const PROGRAMMED: &str = "Programmed";
    /// Ready, true.
    pub const READY: &str = "Ready";
}

/// What a MailRelay reports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MailRelayStatus {
    /// The generation of the spec that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// Pods that are ready.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub ready_replicas: i32,
    /// Their labels, for /scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// RoutingRules that are accepted.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub attached_rules: i32,
    /// What is in the queue; absent while nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,
    /// The queue's servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub shards: Vec<ShardStatus>,
    /// The hash of the configuration that pods should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub config_hash: Option<String>,
    /// Listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub listeners: Vec<ListenerStatus>,
    /// Accepted, ResolvedRefs, QueueDurable, QueueLost, QueueClock, EgressIdentity, DKIMPublished, Programmed, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What is in a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// Deliveries that wait.
    #[schemars(range(min = 0))]
    pub deliveries: i64,
    /// Deliveries on hold.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub held: i64,
    /// How long the oldest has waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Duration>,
}

/// What is known of one of the queue's servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShardStatus {
    /// Its name.
    #[schemars(length(min = 1, max = 32))]
    pub name: String,
    /// The queue that was there when last seen. An empty server in its place isn't used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uuid: Option<String>,
    /// Where it stands, as the relays see it; absent while nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub standing: Option<String>,
}

/// What a listener reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// RoutingRules that are accepted and name it, or no listener, as sectionName.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub attached_rules: i32,
    /// ResolvedRefs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What a RoutingRule reports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutingRuleStatus {
    /// The generation of the spec that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What each MailRelay makes of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub parents: Vec<ParentStatus>,
    /// Ready: accepted and programmed by every parent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What one MailRelay makes of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// The MailRelay.
    pub parent_ref: ParentRef,
    /// Who wrote this.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// Accepted, ResolvedRefs, Programmed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

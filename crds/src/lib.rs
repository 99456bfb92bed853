//! MailRelay and RoutingRule: what users write, and what they read back.
//!
//! Start at [`MailRelaySpec`] and [`RoutingRuleSpec`]; [`Policy`] and [`Route`] are parts of both.
//! **Owns:** the schema, its bounds and CEL rules, the words of conditions. **Never:** decides anything (core compiles), a client.

// KubeSchema's derive works on copies of each struct inside of functions, `pub` and all.
#![allow(unreachable_pub)]
// Several printer columns of one type are no mistake.
#![allow(clippy::duplicated_attributes)]

pub mod cel;
pub mod dkim;
pub mod duration;
pub mod egress;
pub mod listener;
pub mod mail_relay;
pub mod policy;
pub mod quantity;
pub mod queue;
mod references;
pub mod rendered;
pub mod route;
pub mod routing_rule;
pub mod status;
pub mod text;
pub mod workload;

pub use dkim::{DkimDomain, DkimKey};
pub use duration::{Duration, InvalidDuration};
pub use egress::{
    Egress, EgressChoice, EgressPool, EgressSource, IdentityCheck, IpFamily, Socks5, TransparentProxy, WarmUp,
};
pub use listener::{
    AllowedClients, BareLineEnds, Listener, ListenerAuth, ListenerLimits, ListenerTls, Protocol,
    ProxyProtocol, TlsDemand,
};
pub use mail_relay::{
    AllowedDestinations, AllowedNamespaces, AllowedRoutes, Delivery, Drain, LabelSelector, LoggedAddresses,
    Logging, MailRelay, MailRelaySpec, NamespacesFrom, ProviderDefaults, SelectorOperator,
    SelectorRequirement, TlsReports,
};
pub use policy::{Class, ConnectionRate, Limits, MessageRate, Policy, Retry, Tls, TlsMode};
pub use quantity::{InvalidQuantity, Quantity};
pub use queue::{Durability, ExternalQueue, ExternalShard, ManagedQueue, Queue, QueueMode};
pub use rendered::rendered;
pub use route::{Defer, Hold, Redirect, Reject, Route, RouteType, Smarthost, SmarthostAuth, SmarthostHost};
pub use routing_rule::{Clients, Match, ParentRef, RoutingRule, RoutingRuleSpec};
pub use status::{
    ListenerStatus, MailRelayStatus, ParentStatus, QueueStatus, RoutingRuleStatus, ShardStatus,
};
pub use text::{SecretKeyRef, SecretRef};
pub use workload::{Autoscaling, Pod, Service, ServiceType, TrafficPolicy};

/// The API group of both kinds.
pub const GROUP: &str = "postrider.dev";
/// The version of both kinds.
pub const VERSION: &str = "v1alpha1";

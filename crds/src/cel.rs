//! The rules that the API server checks beyond the schema, in CEL.
//! **Owns:** their text. **Never:** their message (it stands at the field). core checks the same in `compile`, for manifests that no API server has seen.
//! Every list and string that they walk is bounded, so that their cost is.

/// Listeners have ports of their own.
pub const UNIQUE_PORTS: &str = "self.all(a, self.exists_one(b, b.port == a.port))";
/// SMTPS needs a certificate.
pub const SMTPS_NEEDS_TLS: &str = "self.protocol != 'SMTPS' || has(self.tls)";
/// Passwords aren't sent in clear.
pub const AUTH_NEEDS_TLS: &str = "!has(self.auth) || has(self.tls)";
/// One of the two.
pub const MANAGED_OR_EXTERNAL: &str = "has(self.managed) != has(self.external)";
/// Mail isn't left behind.
pub const QUEUE_STAYS: &str = "has(self.managed) == has(oldSelf.managed)";
/// Only replicas are counted.
pub const REPLICATED_TO: &str = "has(self.replicatedTo) == (self.durability == 'Replicated')";
/// A failover would lose what only the old primary's disk has.
pub const SYNCED_STANDALONE: &str =
    "!has(self.external) || self.external.mode == 'Standalone' || self.durability != 'Synced'";
/// A selector where it is asked for.
pub const SELECTOR: &str = "(self.from == 'Selector') == has(self.selector)";
/// Networks are networks.
pub const CIDRS: &str = "self.all(c, isCIDR(c))";
/// Addresses are addresses.
pub const ADDRESSES: &str = "self.all(a, isIP(a))";
/// A source is one way out.
pub const ONE_WAY: &str = "[has(self.address), has(self.socks5), has(self.proxy)].filter(x, x).size() <= 1";
/// What the type says.
pub const SMARTHOST: &str = "(self.type == 'Smarthost') == has(self.smarthost)";
/// What the type says.
pub const REDIRECT: &str = "(self.type == 'Redirect') == has(self.redirect)";
/// What the type says.
pub const REJECT: &str = "self.type == 'Reject' || !has(self.reject)";
/// What the type says.
pub const HOLD: &str = "self.type == 'Hold' || !has(self.hold)";
/// What the type says.
pub const DEFER: &str = "self.type == 'Defer' || !has(self.defer)";
/// Credentials aren't sent in clear.
pub const CREDENTIALS_NEED_TLS: &str =
    "!has(self.auth) || !has(self.tls) || self.tls.mode in ['Require', 'Verify']";
/// A rule says something.
pub const ROUTE_OR_POLICY: &str = "has(self.route) || has(self.policy)";
/// Waits have their order.
pub const RETRY_ORDER: &str = "(!has(self.initial) || !has(self.max) || duration(self.initial) <= duration(self.max)) && \
                               (!has(self.max) || !has(self.maxAge) || duration(self.max) <= duration(self.maxAge)) && \
                               (!has(self.initial) || !has(self.maxAge) || duration(self.initial) <= duration(self.maxAge))";
/// Waits have bounds.
pub const RETRY_BOUNDS: &str = "(!has(self.initial) || duration(self.initial) >= duration('1s')) && \
                                (!has(self.max) || duration(self.max) >= duration('1s')) && \
                                (!has(self.maxAge) || (duration(self.maxAge) >= duration('1s') && duration(self.maxAge) <= duration('720h')))";
/// A rate counts in a time that has bounds.
pub const RATE_PER: &str = "duration(self.per) >= duration('1s') && duration(self.per) <= duration('24h')";
/// The grace period of a pod has bounds.
pub const DRAIN_BOUNDS: &str = "duration(self.delay) <= duration('5m') && duration(self.timeout) >= duration('1s') && duration(self.timeout) <= duration('10m')";
/// A message's size has bounds.
pub const MESSAGE_SIZE: &str = "quantity(string(self.messageSize)).compareTo(quantity('64Ki')) >= 0 && quantity(string(self.messageSize)).compareTo(quantity('1Gi')) <= 0";
/// Networks, workloads or both.
pub const SOME_CLIENTS: &str = "has(self.cidrs) || has(self.namespaces) || has(self.pods)";
/// One way to say how many.
pub const REPLICAS_OR_AUTOSCALING: &str = "!(has(self.replicas) && has(self.autoscaling))";
/// Fewest before most.
pub const REPLICAS_ORDER: &str = "self.minReplicas <= self.maxReplicas";
/// Traffic from outside.
pub const LOCAL_TRAFFIC: &str = "!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'";
/// What a load balancer reads.
pub const LOAD_BALANCER: &str = "self.type == 'LoadBalancer' || (!has(self.loadBalancerClass) && (!has(self.loadBalancerSourceRanges) || size(self.loadBalancerSourceRanges) == 0))";
/// A volume has a size.
pub const STORAGE: &str = "quantity(string(self.storage)).compareTo(quantity('1Gi')) >= 0";
/// A queue has room.
pub const MEMORY: &str = "quantity(string(self.memory)).compareTo(quantity('64Mi')) >= 0 && quantity(string(self.memory)).compareTo(quantity('256Gi')) <= 0";
/// What a volume was made with stays.
pub const STORAGE_STAYS: &str = "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName) && quantity(string(self.storage)).compareTo(quantity(string(oldSelf.storage))) == 0";
/// Services, labels and pods are named after it.
pub const SHORT_NAME: &str =
    "self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')";

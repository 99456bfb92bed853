//! The compiled configuration: all that a relay runs by, secrets included.
//! **Owns:** its form (versioned, serde), its canonical JSON and the hash of that. **Never:** how it came about (compile), files.
//! What can be read back is complete: whoever has a `Config` needs no resource and no Secret.

mod dkim;
mod hash;
mod listener;
mod packed;
mod queue;
mod rule;
mod secret;
mod tls_reporting;

use std::time::Duration;

use ipnet::IpNet;
use postrider_mail::{Domain, HostName, Mailbox, ReplyCode};
use serde::{Deserialize, Serialize};

pub use dkim::{DkimDomain, DkimKey, Signing};
pub use hash::{ConfigHash, InvalidConfigHash};
pub use listener::{
    Auth, BareLineEnds, Certificate, DomainSet, Listener, ListenerLimits, ListenerTls, Protocol, TlsDemand,
    bound_port,
};
pub use packed::MAX_BYTES;
pub use queue::{Durability, Queue, QueueKind, QueueMode, Shard};
pub use rule::{Rule, RuleName, Rules, Scope};
pub use secret::{InvalidPasswordHash, PasswordHash, Secret};
pub use tls_reporting::TlsReporting;

use crate::{
    egress::{Pool, PoolNumber},
    policy::PolicyFields,
    providers,
};

/// The newest form that this version reads.
pub const FORMAT: u32 = 2;
/// The form of what older versions can do as well. What names egress pools is of the next one: a relay that doesn't know them must not
/// send that mail otherwise.
const FORMAT_WITHOUT_POOLS: u32 = 1;
/// Mail that can't be tried for a reason of the relay's own waits so long at most.
const SHORT_WAIT: Duration = Duration::from_secs(60);

/// What a relay runs by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The form: [`FORMAT`] at most.
    pub format: u32,
    /// Whose configuration it is.
    pub fleet: Fleet,
    /// The name in the greeting, in EHLO, in Received lines and in the sender of bounces.
    pub hostname: HostName,
    /// Where mail comes in. Those whose certificate or users are missing are left out: they don't open.
    pub listeners: Vec<Listener>,
    /// Where mail waits.
    pub queue: Queue,
    /// Whether mail is sent.
    pub delivery: DeliveryMode,
    /// Where mail goes that no rule routes.
    pub default_route: Route,
    /// How mail is treated where no rule says it.
    pub defaults: PolicyFields,
    /// Whether known providers get what they take, where no rule says it.
    #[serde(default, skip_serializing_if = "ProviderDefaults::is_enabled")]
    pub provider_defaults: ProviderDefaults,
    /// Whose mail is signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dkim: Vec<DkimDomain>,
    /// Who reports to domains how TLS with their hosts went; nobody, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_reports: Option<TlsReporting>,
    /// The sources that policies name, by [`PoolNumber`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress_pools: Vec<Pool>,
    /// Own and private addresses that mail may be sent to all the same.
    pub allowed_destinations: Vec<IpNet>,
    /// The rules, and what finds them.
    pub rules: Rules,
    /// How a relay ends.
    pub drain: Drain,
    /// What logs show.
    pub logging: Logging,
    #[serde(skip)]
    hash: hash::HashCell,
}

/// A MailRelay, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fleet {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, where a cluster gave it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl std::fmt::Display for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Whether mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DeliveryMode {
    /// It is.
    #[default]
    Active,
    /// It is accepted and waits.
    Paused,
}

/// Whether the limits of known providers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ProviderDefaults {
    /// They do.
    #[default]
    Enabled,
    /// Nobody is known.
    Disabled,
}

impl ProviderDefaults {
    fn is_enabled(&self) -> bool {
        *self == Self::Enabled
    }
}

/// Where mail goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Route {
    /// To the recipient domain's mail exchangers.
    #[default]
    #[serde(rename = "MX")]
    Mx,
    /// To given hosts.
    Smarthost(Smarthost),
    /// To one address, whoever it was for; by that address's MX.
    Redirect {
        /// The address.
        to: Mailbox,
    },
    /// Nowhere: refused at RCPT, or bounced if it was accepted before.
    Reject(Rejection),
    /// Nowhere: accepted and dropped.
    Discard,
    /// Into the queue, until a person lets it go.
    Hold {
        /// What that person reads.
        reason: String,
    },
    /// Into the queue, looked at again by the retry schedule, bounced when it has expired.
    Defer {
        /// What a report about it says.
        reason: String,
    },
}

impl Route {
    /// The type's name as written in resources.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Mx => "MX",
            Self::Smarthost(_) => "Smarthost",
            Self::Redirect { .. } => "Redirect",
            Self::Reject(_) => "Reject",
            Self::Discard => "Discard",
            Self::Hold { .. } => "Hold",
            Self::Defer { .. } => "Defer",
        }
    }
}

/// Hosts that take all of a rule's mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smarthost {
    /// Tried in this order.
    pub hosts: Vec<SmarthostHost>,
    /// The mode of TLS, if the route itself says one; it goes before the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<crate::tls_policy::TlsMode>,
    /// Who we are to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}

/// One host of a smarthost route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SmarthostHost {
    /// Its name, or its address.
    pub host: HostAddress,
    /// Its port.
    pub port: u16,
    /// Whether TLS begins with the connection (`Smtps`).
    pub protocol: Protocol,
}

/// A machine, by name or by address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HostAddress {
    /// A name whose addresses are looked up (no MX).
    Name(HostName),
    /// An address.
    Ip(std::net::IpAddr),
}

impl std::fmt::Display for HostAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// User and password for a smarthost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret<String>,
}

/// What a rejected recipient is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// 500 to 599.
    pub code: ReplyCode,
    /// 5.y.z.
    pub enhanced: postrider_mail::EnhancedCode,
    /// One line of printable ASCII.
    pub text: String,
}

/// How a relay ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// How long it goes on accepting, so that others learn that it ends.
    #[serde(with = "crate::policy::millis")]
    pub delay: std::time::Duration,
    /// How long what runs may take to finish after that.
    #[serde(with = "crate::policy::millis")]
    pub timeout: std::time::Duration,
}

/// What logs show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Logging {
    /// How much of addresses.
    pub addresses: LoggedAddresses,
}

/// How much of an address logs show: addresses are personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LoggedAddresses {
    /// The domain.
    #[default]
    Domain,
    /// All of it.
    Full,
}

/// Why bytes are no configuration of ours.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableConfig {
    /// It was written by a newer version.
    #[error(
        "found format {found}; expected at most {FORMAT}; run a relay at least as new as what wrote the file"
    )]
    TooNew {
        /// Its format.
        found: u32,
    },
    /// There is too much of it.
    #[error("found more than {} MiB of configuration; expected at most that; split the MailRelay", MAX_BYTES >> 20)]
    TooLarge,
    /// It begins as gzip, but isn't all of it.
    #[error("found a broken gzip stream ({0}); expected a whole one; write the file by a rename")]
    BrokenGzip(std::io::Error),
    /// It has another form.
    #[error("{path}: {message}; expected a file that `postrider-relay` or the operator compiled")]
    Malformed {
        /// Where in it.
        path: String,
        /// What was found there.
        message: String,
    },
}

/// A message without the values that it quotes.
fn unquoted(message: &str) -> String {
    let parts = message.split('"').enumerate();
    parts.map(|(at, part)| if at % 2 == 0 { part } else { "\"…\"" }).collect()
}

/// All parts of a [`Config`], by name.
#[derive(Debug, Clone)]
pub struct ConfigParts {
    /// See [`Config::fleet`].
    pub fleet: Fleet,
    /// See [`Config::hostname`].
    pub hostname: HostName,
    /// See [`Config::listeners`].
    pub listeners: Vec<Listener>,
    /// See [`Config::queue`].
    pub queue: Queue,
    /// See [`Config::delivery`].
    pub delivery: DeliveryMode,
    /// See [`Config::default_route`].
    pub default_route: Route,
    /// See [`Config::defaults`].
    pub defaults: PolicyFields,
    /// See [`Config::provider_defaults`].
    pub provider_defaults: ProviderDefaults,
    /// See [`Config::dkim`].
    pub dkim: Vec<DkimDomain>,
    /// See [`Config::tls_reports`].
    pub tls_reports: Option<TlsReporting>,
    /// See [`Config::egress_pools`].
    pub egress_pools: Vec<Pool>,
    /// See [`Config::allowed_destinations`].
    pub allowed_destinations: Vec<IpNet>,
    /// See [`Config::rules`]; put into their order here.
    pub rules: Vec<Rule>,
    /// See [`Config::drain`].
    pub drain: Drain,
    /// See [`Config::logging`].
    pub logging: Logging,
}

impl ConfigParts {
    /// The least that makes a configuration: no listener, no rule, one managed shard. Tests start from it.
    pub fn minimal(fleet: Fleet, hostname: HostName) -> Self {
        Self {
            fleet,
            hostname,
            listeners: Vec::new(),
            queue: Queue::managed(1),
            delivery: DeliveryMode::Active,
            default_route: Route::Mx,
            defaults: PolicyFields::default(),
            provider_defaults: ProviderDefaults::Enabled,
            dkim: Vec::new(),
            tls_reports: None,
            egress_pools: Vec::new(),
            allowed_destinations: Vec::new(),
            rules: Vec::new(),
            drain: Drain::default(),
            logging: Logging::default(),
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: std::time::Duration::from_secs(10), timeout: std::time::Duration::from_secs(90) }
    }
}

impl From<ConfigParts> for Config {
    fn from(parts: ConfigParts) -> Self {
        Self {
            format: if parts.egress_pools.is_empty() { FORMAT_WITHOUT_POOLS } else { FORMAT },
            fleet: parts.fleet,
            hostname: parts.hostname,
            listeners: parts.listeners,
            queue: parts.queue,
            delivery: parts.delivery,
            default_route: parts.default_route,
            defaults: parts.defaults,
            provider_defaults: parts.provider_defaults,
            dkim: parts.dkim,
            tls_reports: parts.tls_reports,
            egress_pools: parts.egress_pools,
            allowed_destinations: parts.allowed_destinations,
            rules: Rules::new(parts.rules),
            drain: parts.drain,
            logging: parts.logging,
            hash: hash::HashCell::default(),
        }
    }
}

impl Config {
    /// The canonical text: equal configurations have equal bytes. It holds secrets.
    pub fn to_json(&self) -> Vec<u8> {
        // Maps are BTreeMaps and keys are strings throughout, so that it can't fail.
        serde_json::to_vec(self).expect("a configuration has string keys only")
    }

    /// Reads a compiled configuration.
    ///
    /// # Errors
    /// It is of a newer format, or no configuration.
    pub fn from_json(bytes: &[u8]) -> Result<Self, UnreadableConfig> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        // What was found may be a secret in the wrong place.
        let malformed =
            |path: String, message: String| UnreadableConfig::Malformed { path, message: unquoted(&message) };
        let header: Header =
            serde_json::from_slice(bytes).map_err(|err| malformed("format".into(), err.to_string()))?;
        if header.format > FORMAT {
            return Err(UnreadableConfig::TooNew { found: header.format });
        }
        let json = &mut serde_json::Deserializer::from_slice(bytes);
        serde_path_to_error::deserialize(json)
            .map_err(|err| malformed(err.path().to_string(), err.inner().to_string()))
    }

    /// What this configuration is called. Computed once.
    pub fn hash(&self) -> ConfigHash {
        self.hash.computed_once(|| self.to_json())
    }

    /// The listener of that name.
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.name == name)
    }

    /// The pool of that number.
    pub fn pool(&self, number: PoolNumber) -> Option<&Pool> {
        self.egress_pools.get(number.index())
    }

    /// Whether mail is accepted but not sent.
    pub fn is_paused(&self) -> bool {
        self.delivery == DeliveryMode::Paused
    }

    /// The longest wait, between two attempts, for a limit or because a reply asked for it, that any mail can have here.
    pub fn longest_wait(&self) -> Duration {
        let of_defaults = self.defaults.longest_wait().max(self.defaults.complete().retry.max);
        let asked = providers::longest_suspension(self.provider_defaults);
        self.rules.longest_wait().max(of_defaults).max(asked).max(SHORT_WAIT)
    }

    /// The address that bounces name as their From.
    pub fn bounce_domain(&self) -> Option<Domain> {
        Domain::parse(self.hostname.as_str()).ok()
    }
}

#[cfg(test)]
mod tests;

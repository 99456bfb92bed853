//! How mail is treated: what rules say of it, merged.
//! **Owns:** the fields, their built-in defaults, the merge. **Never:** what they do (retry.rs, tls_policy.rs, the relay's sites).
//! The first that says a field wins: the matching rules in their order, then `spec.defaults`, then the built-in defaults.

use std::time::Duration;

use postrider_mail::Class;
use serde::{Deserialize, Serialize};

use crate::{
    egress::PoolNumber,
    limits::{FleetLimits, Owned, Owner, Rate},
    retry::Schedule,
    tls_policy::TlsMode,
};

/// What one place says of how mail is treated. Absent means that it says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyFields {
    /// See [`Policy::class`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// See [`Schedule::initial`].
    #[serde(skip_serializing_if = "Option::is_none", with = "millis_option")]
    pub retry_initial: Option<Duration>,
    /// See [`Schedule::max`].
    #[serde(skip_serializing_if = "Option::is_none", with = "millis_option")]
    pub retry_max: Option<Duration>,
    /// See [`Schedule::max_age`].
    #[serde(skip_serializing_if = "Option::is_none", with = "millis_option")]
    pub retry_max_age: Option<Duration>,
    /// See [`Schedule::delay_notice`]; zero says that there is none.
    #[serde(skip_serializing_if = "Option::is_none", with = "millis_option")]
    pub retry_delay_notice: Option<Duration>,
    /// See [`Policy::tls`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsMode>,
    /// See [`FleetLimits::connections`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// See [`SiteLimits::messages_per_connection`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_connection: Option<u32>,
    /// See [`SiteLimits::recipients_per_message`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients_per_message: Option<u32>,
    /// See [`FleetLimits::messages`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// See [`FleetLimits::new_connections`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_rate: Option<Rate>,
    /// See [`Policy::pool`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolNumber>,
}

/// How mail is treated, every field said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Policy {
    /// How soon it is wanted.
    pub class: Class,
    /// When it is tried again.
    pub retry: Schedule,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// How much goes to one site at a time.
    pub limits: SiteLimits,
    /// By which sources it leaves; as pods send anyway, if absent.
    pub pool: Option<PoolNumber>,
}

/// How much goes to one site at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SiteLimits {
    /// Connections at a time, from one relay.
    pub connections: u32,
    /// Messages over one connection.
    pub messages_per_connection: u32,
    /// Recipients in one transaction.
    pub recipients_per_message: u32,
    /// What the whole fleet keeps to.
    pub fleet: FleetLimits,
}

impl Default for SiteLimits {
    fn default() -> Self {
        // RFC 5321 4.5.3.1.8: a server takes at least 100 recipients.
        Self {
            connections: 20,
            messages_per_connection: 100,
            recipients_per_message: 100,
            fleet: FleetLimits::default(),
        }
    }
}

impl PolicyFields {
    /// Takes from `later` what isn't said yet.
    #[must_use]
    pub fn or(self, later: &Self) -> Self {
        Self {
            class: self.class.or(later.class),
            retry_initial: self.retry_initial.or(later.retry_initial),
            retry_max: self.retry_max.or(later.retry_max),
            retry_max_age: self.retry_max_age.or(later.retry_max_age),
            retry_delay_notice: self.retry_delay_notice.or(later.retry_delay_notice),
            tls: self.tls.or(later.tls),
            connections: self.connections.or(later.connections),
            messages_per_connection: self.messages_per_connection.or(later.messages_per_connection),
            recipients_per_message: self.recipients_per_message.or(later.recipients_per_message),
            rate: self.rate.or(later.rate),
            connection_rate: self.connection_rate.or(later.connection_rate),
            pool: self.pool.or(later.pool),
        }
    }

    /// The longest wait that it asks for, between two attempts or for a limit; zero, if it asks for none.
    pub fn longest_wait(&self) -> Duration {
        let rates = [self.rate, self.connection_rate].map(|rate| rate.map(|rate| rate.longest_wait()));
        let waits = [self.retry_initial, self.retry_max].into_iter().chain(rates);
        waits.flatten().max().unwrap_or_default()
    }

    /// What the whole fleet keeps to; whose limits these are isn't known here.
    fn fleet(&self) -> FleetLimits {
        let owner = Owner::default();
        FleetLimits {
            connections: self.connections.map(|limit| Owned { limit, owner }),
            messages: self.rate.map(|limit| Owned { limit, owner }),
            new_connections: self.connection_rate.map(|limit| Owned { limit, owner }),
        }
    }

    /// Fills in the built-in defaults. Fields of several rules may contradict each other: the longest wait is then the first one,
    /// and nothing waits beyond its age.
    pub fn complete(&self) -> Policy {
        let retry = Schedule::default();
        let limits = SiteLimits::default();
        let max_age = self.retry_max_age.unwrap_or(retry.max_age);
        let initial = self.retry_initial.unwrap_or(retry.initial).min(max_age);
        let notice = self.retry_delay_notice.or(retry.delay_notice).filter(|after| !after.is_zero());
        Policy {
            class: self.class.unwrap_or_default(),
            retry: Schedule {
                initial,
                max: self.retry_max.unwrap_or(retry.max).max(initial),
                max_age,
                delay_notice: notice.filter(|after| *after < max_age),
            },
            tls: self.tls.unwrap_or_default(),
            limits: SiteLimits {
                connections: self.connections.unwrap_or(limits.connections),
                messages_per_connection: self
                    .messages_per_connection
                    .unwrap_or(limits.messages_per_connection),
                recipients_per_message: self.recipients_per_message.unwrap_or(limits.recipients_per_message),
                fleet: self.fleet(),
            },
            pool: self.pool,
        }
    }
}

/// Durations as whole milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// The same where one may be absent.
pub(crate) mod millis_option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    // The signature is serde's.
    #[allow(clippy::ref_option)]
    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::millis::serialize(duration, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(from).map(|millis| millis.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests;

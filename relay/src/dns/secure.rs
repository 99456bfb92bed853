//! The DNS with DNSSEC: MX records and hosts whose word is proven, for DANE.
//! **Owns:** which look-ups DANE needs, whether there is a resolver that they can be asked of. **Never:** a policy (core::dane).
//! Invariant: once a signed answer has come through, nothing short of a new process does without them: an attacker who strips
//! signatures makes mail wait, not go in clear.
//! Invariant: nothing is sent before it is known whether signed answers come through. Only an answer that brings no signatures says
//! that they don't; where none comes, mail waits.
//! RFC 7672 2.

mod ask;
mod kept;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    dnssec::TrustAnchors,
    rr::{Name, RData, RecordType},
};
use postrider_core::{
    dane::{self, HostDane, Tlsa, Vouched},
    mx::{DnsFailure, MxRecord},
};
use postrider_mail::{Domain, HostName};
use prometheus::IntGauge;
use tokio::sync::watch;

use self::{
    ask::{Proven, Validator},
    kept::{Cache, Found, Kept},
};
use super::{DnsSettings, NoNameserver, resolve::Kind, upstream::Upstreams};

/// How often the root is asked for at first, before it is said that signed answers don't come through.
const FIRST_PROBES: u32 = 3;
/// Between two of those.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Between two later ones, while mail waits for the answer.
const SOON: Duration = Duration::from_secs(5);
/// The same once it is said that they don't.
const PAUSE: Duration = Duration::from_secs(60);

/// Whose signatures are believed.
#[derive(Clone)]
pub struct Anchors(TrustAnchors);

/// Why a file of trust anchors can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}; expected DNSKEY records of the root zone")]
pub struct InvalidAnchors {
    path: String,
    why: String,
}

impl Anchors {
    /// The root's keys, as IANA publishes them (RFC 9718): those of 2017 and 2024.
    pub fn of_the_root() -> Self {
        Self(TrustAnchors::default())
    }

    /// The keys in a file of DNSKEY records.
    ///
    /// # Errors
    /// It can't be read, or has none.
    pub fn from_file(path: &Path) -> Result<Self, InvalidAnchors> {
        let invalid = |why: String| InvalidAnchors { path: path.display().to_string(), why };
        let anchors = TrustAnchors::from_file(path).map_err(|error| invalid(error.to_string()))?;
        if anchors.is_empty() {
            return Err(invalid("found no key of the root".to_owned()));
        }
        Ok(Self(anchors))
    }
}

/// The DNS with DNSSEC. Cloning shares the cache.
#[derive(Clone)]
pub struct SecureDns {
    inner: Arc<Inner>,
}

struct Inner {
    validator: Validator,
    deadline: Duration,
    mx: Cache<Vouched<MxRecord>>,
    v4: Cache<Vouched<Ipv4Addr>>,
    v6: Cache<Vouched<Ipv6Addr>>,
    hosts: Cache<HostDane>,
    /// Whether signed answers come through, or why that can't be found out; nothing before it was tried.
    is_available: watch::Sender<Option<Result<bool, DnsFailure>>>,
    available: Option<IntGauge>,
}

impl SecureDns {
    /// Asks as the settings say. Must be called within the runtime; [`Self::run`] must run for look-ups to be answered.
    ///
    /// # Errors
    /// The settings name no resolver.
    pub fn new(
        settings: DnsSettings,
        anchors: Anchors,
        available: Option<IntGauge>,
    ) -> Result<Self, NoNameserver> {
        let (ttls, entries, deadline) = (settings.ttls, settings.cache_entries, settings.deadline);
        let validator = Validator::new(Upstreams::new(settings)?, anchors.0);
        let inner = Inner {
            validator,
            deadline,
            mx: Cache::new(ttls, entries),
            v4: Cache::new(ttls, entries),
            v6: Cache::new(ttls, entries),
            hosts: Cache::new(ttls, entries),
            is_available: watch::Sender::new(None),
            available,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Finds out whether signed answers come through: ends once they do.
    pub async fn run(&self) {
        let mut probes = 0_u32;
        loop {
            let said = self.inner.probe().await;
            probes = probes.saturating_add(1);
            if said == Ok(true) || probes >= FIRST_PROBES {
                self.inner.hear(said);
            }
            let known = *self.inner.is_available.borrow();
            tokio::time::sleep(match known {
                Some(Ok(true)) => return,
                Some(Ok(false)) => PAUSE,
                Some(Err(_)) => SOON,
                None => FIRST_PAUSE,
            })
            .await;
        }
    }

    /// Whether signed answers come through. Waits until that was tried.
    ///
    /// # Errors
    /// Why it couldn't be found out yet.
    pub async fn is_available(&self) -> Result<bool, DnsFailure> {
        let mut seen = self.inner.is_available.subscribe();
        // The sender lives as long as `self`.
        let known = seen.wait_for(Option::is_some).await.ok().and_then(|known| *known);
        known.unwrap_or(Err(DnsFailure::Unreachable))
    }

    /// The MX records of a domain.
    pub async fn mx(&self, domain: &Domain) -> Vouched<MxRecord> {
        self.inner.records(&self.inner.mx, domain.as_str()).await
    }

    /// The IPv4 addresses of a host.
    pub async fn v4(&self, host: &HostName) -> Vouched<Ipv4Addr> {
        self.inner.records(&self.inner.v4, host.as_str()).await
    }

    /// Its IPv6 addresses.
    pub async fn v6(&self, host: &HostName) -> Vouched<Ipv6Addr> {
        self.inner.records(&self.inner.v6, host.as_str()).await
    }

    /// What a host's TLSA records for its `port` demand. Only for a host that a signed MX record names, or the signed word that
    /// its domain has none.
    pub async fn host(&self, host: &HostName, port: u16) -> HostDane {
        self.inner.hosts.get(&format!("{port} {host}"), self.inner.host(host, port)).await
    }
}

impl Inner {
    async fn records<T: Kind>(&self, cache: &Cache<Vouched<T>>, name: &str) -> Vouched<T> {
        let ask = async {
            let proven = self.ask::<T>(name).await;
            let kind = kind_of(&proven.vouched);
            Found { value: proven.vouched, ttl: proven.ttl, kind }
        };
        cache.get(name, ask).await
    }

    /// One family's look-up tells what the zone is; which addresses are tried is no matter of DANE: a wrong one has not the key.
    async fn host(&self, host: &HostName, port: u16) -> Found<HostDane> {
        let address = self.ask::<Ipv4Addr>(host.as_str()).await;
        let mut ttl = address.ttl;
        let mut kind = kind_of(&address.vouched);
        // RFC 7672 2.2.2: at the end of the host's aliases first, then at its own name; only there, if they lead where nothing is signed.
        let end = HostName::parse(address.name.to_ascii().trim_end_matches('.')).ok();
        let is_alias = end.as_ref() != Some(host);
        let end = match dane::of_address(&address.vouched) {
            None => end,
            Some(HostDane::None) if is_alias => None,
            Some(value) => return Found { value, ttl, kind },
        };
        for base in end.iter().chain(is_alias.then_some(host)) {
            let records = self.ask::<Tlsa>(&format!("_{port}._tcp.{base}")).await;
            ttl = super::resolve::shorter(ttl, records.ttl);
            kind = kind_of(&records.vouched);
            if let Some(value) = dane::of_records(base, &records.vouched) {
                return Found { value, ttl, kind };
            }
        }
        Found { value: HostDane::None, ttl, kind }
    }

    async fn ask<T: Kind>(&self, name: &str) -> Proven<T> {
        let failed = |failure| Proven { vouched: Vouched::Failed(failure), ttl: None, name: Name::root() };
        // With its dot at the end, no search list is tried.
        let Ok(name) = Name::from_ascii(format!("{name}.")) else { return failed(DnsFailure::Malformed) };
        let asked = tokio::time::timeout(self.deadline, self.validator.ask(name)).await;
        asked.unwrap_or_else(|_| failed(DnsFailure::Timeout))
    }

    /// Whether signed answers come through; a failure where no answer says so.
    async fn probe(&self) -> Result<bool, DnsFailure> {
        let failure = match self.ask::<Authority>("").await.vouched {
            Vouched::Secure(_) => return Ok(true),
            Vouched::Failed(failure) => failure,
            // Nobody may say that of the root.
            Vouched::SecureNoData | Vouched::SecureNxDomain | Vouched::Insecure => DnsFailure::Bogus,
        };
        match tokio::time::timeout(self.deadline, self.validator.has_signatures()).await {
            Ok(Ok(false)) => Ok(false),
            // They come and don't validate: the keys to them may not have come.
            Ok(Ok(true)) => Err(failure),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(DnsFailure::Timeout),
        }
    }

    fn hear(&self, said: Result<bool, DnsFailure>) {
        let is_news = self.is_available.send_if_modified(|known| {
            // A failure takes back nothing that an answer has said.
            let is_news = *known != Some(said) && (said.is_ok() || !matches!(known, Some(Ok(_))));
            if is_news {
                *known = Some(said);
            }
            is_news
        });
        if !is_news {
            return;
        }
        match said {
            Ok(true) => tracing::info!("the resolvers give signed answers: DANE is on"),
            Ok(false) => tracing::warn!(
                "the resolvers give no signed answers, so DANE is off and hosts with TLSA records are treated as any other; have the resolvers pass DNSSEC records on (EDNS, the DO bit)"
            ),
            Err(failure) => tracing::warn!(
                why = failure.as_str(),
                "the resolvers give no answer about the root zone that says whether signatures come through, so mail whose TLS depends on that waits; have them answer for the root, or let rules with policy.tls.mode Opportunistic do without"
            ),
        }
        if let Some(gauge) = &self.available {
            gauge.set(i64::from(said == Ok(true)));
        }
    }
}

/// A zone's own record: what is asked of the root to see whether signatures come through.
#[derive(Clone)]
struct Authority;

impl Kind for Authority {
    const TYPE: RecordType = RecordType::SOA;
    fn read(data: &RData) -> Option<Self> {
        matches!(data, RData::SOA(_)).then_some(Self)
    }
}

const fn kind_of<T>(vouched: &Vouched<T>) -> Kept {
    match vouched {
        Vouched::Secure(_) | Vouched::Insecure => Kept::Answer,
        Vouched::SecureNoData | Vouched::SecureNxDomain => Kept::Absence,
        Vouched::Failed(failure) => Kept::Failure(*failure),
    }
}

#[cfg(test)]
mod tests;

//! Finds the hosts of a domain: asks the resolvers, keeps what they said.
//! **Owns:** which look-ups a domain needs, and their deadlines. **Never:** the order of hosts or a verdict (core::mx).
//! Invariant: I6, what isn't the answer of an authority is `Answer::Failed`, and that defers.
//! RFC 5321 5.1; RFC 8305 5 (a slow family doesn't hold up the other).

mod cache;
mod resolve;
pub mod secure;
mod upstream;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use postrider_core::{
    dane::HostDane,
    mx::{
        self, Addresses, Answer, Candidate, Candidates, Destinations, DnsFailure, Host, MxRecord, MxTarget,
        Unresolved,
    },
};
use postrider_mail::{Domain, HostName, OutcomeKind};
use prometheus::IntCounterVec;

pub use self::resolve::{Kind, Text, read};
use self::{cache::Cache, resolve::Resolver, secure::SecureDns};

/// How the DNS is asked.
#[derive(Debug, Clone)]
pub struct DnsSettings {
    /// Recursive resolvers, in order of preference.
    pub nameservers: Vec<SocketAddr>,
    /// How long one resolver is waited for.
    pub timeout: Duration,
    /// After how long without an answer the next resolver is asked as well.
    pub ask_next_after: Duration,
    /// How long a whole look-up may take, aliases and all resolvers included.
    pub deadline: Duration,
    /// How long the slower of a host's two families is waited for, once the other is there.
    pub family_grace: Duration,
    /// How long answers are kept.
    pub ttls: Ttls,
    /// Names kept of each type.
    pub cache_entries: u64,
}

/// How long answers are kept.
#[derive(Debug, Clone, Copy)]
pub struct Ttls {
    /// Records, at least; and the word that there are none, where the zone doesn't say how long.
    pub min: Duration,
    /// Records, at most.
    pub max: Duration,
    /// The word that there are none, at most.
    pub max_negative: Duration,
    /// A failure: RFC 9520 wants it remembered, lest a broken zone is asked for each message.
    pub failure: Duration,
    /// Records beyond their time, while the DNS can't be asked (RFC 8767).
    pub stale: Duration,
}

impl Default for Ttls {
    fn default() -> Self {
        Self {
            min: Duration::from_secs(30),
            max: Duration::from_secs(3600),
            max_negative: Duration::from_secs(300),
            failure: Duration::from_secs(30),
            stale: Duration::from_secs(12 * 3600),
        }
    }
}

/// Why there is no resolver to ask.
#[derive(Debug, thiserror::Error)]
pub enum NoNameserver {
    /// The system's configuration can't be read.
    #[error("/etc/resolv.conf: {0}; expected at least one nameserver; or give one with --dns ADDRESS:PORT")]
    Unreadable(String),
    /// None is named.
    #[error("/etc/resolv.conf: found no nameserver; expected one; or give one with --dns ADDRESS:PORT")]
    NoneNamed,
}

impl DnsSettings {
    /// Asks these.
    pub fn new(nameservers: Vec<SocketAddr>) -> Self {
        Self {
            nameservers,
            timeout: Duration::from_secs(5),
            ask_next_after: Duration::from_millis(800),
            deadline: Duration::from_secs(12),
            family_grace: Duration::from_millis(500),
            ttls: Ttls::default(),
            cache_entries: 65_536,
        }
    }

    /// Asks those of /etc/resolv.conf. Its search list and `ndots` are not used: names of mail hosts are complete.
    ///
    /// # Errors
    /// It can't be read, or names none.
    pub fn system() -> Result<Self, NoNameserver> {
        let (config, _) = hickory_resolver::system_conf::read_system_conf()
            .map_err(|error| NoNameserver::Unreadable(error.to_string()))?;
        let nameservers: Vec<_> =
            config.name_servers.iter().map(|server| SocketAddr::new(server.ip, DNS_PORT)).collect();
        if nameservers.is_empty() { Err(NoNameserver::NoneNamed) } else { Ok(Self::new(nameservers)) }
    }
}

const DNS_PORT: u16 = 53;

/// The hosts of a domain, with what DANE says of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchangers {
    /// Them, best first.
    pub hosts: Vec<(Host, HostDane)>,
    /// Whether signed MX records name them, or the signed word that the domain has none.
    pub is_proven: bool,
}

/// The DNS as the relay sees it. Cloning shares the cache.
#[derive(Clone)]
pub struct Dns {
    inner: Arc<Inner>,
    secure: Option<SecureDns>,
}

struct Inner {
    resolver: Resolver,
    mx: Cache<MxRecord>,
    v4: Cache<Ipv4Addr>,
    v6: Cache<Ipv6Addr>,
    texts: Cache<Text>,
    family_grace: Duration,
    lookups: Option<IntCounterVec>,
}

impl Dns {
    /// Asks as the settings say. Must be called within the runtime.
    ///
    /// # Errors
    /// The settings name no resolver.
    pub fn new(settings: DnsSettings) -> Result<Self, NoNameserver> {
        Self::counting(settings, None)
    }

    /// The same, counting look-ups by result in a counter with the label `result`.
    ///
    /// # Errors
    /// The settings name no resolver.
    pub fn counting(settings: DnsSettings, lookups: Option<IntCounterVec>) -> Result<Self, NoNameserver> {
        let (ttls, entries) = (settings.ttls, settings.cache_entries);
        let family_grace = settings.family_grace;
        let resolver = Resolver::new(settings)?;
        let inner = Arc::new(Inner {
            resolver,
            mx: Cache::new(ttls, entries),
            v4: Cache::new(ttls, entries),
            v6: Cache::new(ttls, entries),
            texts: Cache::new(ttls, entries),
            family_grace,
            lookups,
        });
        Ok(Self { inner, secure: None })
    }

    /// With validated look-ups, for [`Self::vouched_hosts`] and before mail bounces.
    pub fn secured(self, secure: SecureDns) -> Self {
        Self { secure: Some(secure), ..self }
    }

    /// The hosts that take mail for a domain, best first.
    ///
    /// # Errors
    /// When there is none to try; the verdict says whether mail waits or bounces.
    pub async fn hosts(&self, domain: &Domain, to: &Destinations) -> Result<Vec<Host>, Unresolved> {
        let answer = self.inner.mx.lookup(&self.inner.resolver, domain.as_str()).await;
        self.hosts_of(domain, &answer, to).await
    }

    /// The same with what DANE says of each host that listens at `port`. A domain whose MX records are signed has those and no
    /// others; one whose records should be and don't validate has no host for now.
    ///
    /// # Errors
    /// As of [`Self::hosts`].
    pub async fn vouched_hosts(
        &self,
        domain: &Domain,
        port: u16,
        to: &Destinations,
    ) -> Result<Exchangers, Unresolved> {
        let secure = self.validated().await.inspect_err(|why| self.inner.count(Some(why)))?;
        let answer = match secure {
            Some(secure) => secure.mx(domain).await.answer(),
            None => None,
        };
        let (Some(secure), Some(answer)) = (secure, answer) else {
            let hosts = self.hosts(domain, to).await?.into_iter().map(|host| (host, HostDane::None));
            return Ok(Exchangers { hosts: hosts.collect(), is_proven: false });
        };
        let hosts = self.hosts_of(domain, &answer, to).await?;
        let asked = hosts.into_iter().map(|host| async {
            let dane = secure.host(&host.name, port).await;
            (host, dane)
        });
        Ok(Exchangers { hosts: futures::future::join_all(asked).await, is_proven: true })
    }

    async fn hosts_of(
        &self,
        domain: &Domain,
        answer: &Answer<MxRecord>,
        to: &Destinations,
    ) -> Result<Vec<Host>, Unresolved> {
        let found = match self.search(domain, answer, to, None).await {
            Err(why) if why.kind() == OutcomeKind::Bounced => self.proven(domain, answer, to, why).await,
            found => found,
        };
        self.inner.count(found.as_ref().err());
        found
    }

    /// Looks again before mail bounces, by what is proven: a lie doesn't bounce mail for a signed domain. An answer of a zone that
    /// isn't signed stands.
    async fn proven(
        &self,
        domain: &Domain,
        answer: &Answer<MxRecord>,
        to: &Destinations,
        why: Unresolved,
    ) -> Result<Vec<Host>, Unresolved> {
        let Some(secure) = self.validated().await? else { return Err(why) };
        let proven = secure.mx(domain).await.answer();
        self.search(domain, proven.as_ref().unwrap_or(answer), to, Some(secure)).await
    }

    /// The validated look-ups, if signed answers come through. While that isn't known, mail waits.
    async fn validated(&self) -> Result<Option<&SecureDns>, Unresolved> {
        let Some(secure) = &self.secure else { return Ok(None) };
        match secure.is_available().await {
            Ok(is_available) => Ok(is_available.then_some(secure)),
            Err(failure) => Err(Unresolved::Failed { name: ".".into(), failure }),
        }
    }

    /// The hosts by an answer to the MX look-up; their addresses by what is proven, where `secure` is given.
    async fn search(
        &self,
        domain: &Domain,
        answer: &Answer<MxRecord>,
        to: &Destinations,
        secure: Option<&SecureDns>,
    ) -> Result<Vec<Host>, Unresolved> {
        let seed = rand::random();
        let candidates = mx::candidates(domain, answer, to, seed)?;
        self.order(candidates, to, seed, secure).await
    }

    /// The addresses of a host that a rule names. Its absence never bounces mail.
    ///
    /// # Errors
    /// When there is none to try.
    pub async fn addresses(&self, host: &HostName, to: &Destinations) -> Result<Host, Unresolved> {
        let found = self.order(mx::smarthost(host), to, rand::random(), None).await;
        self.inner.count(found.as_ref().err());
        // An order without an error has at least one host, and a smarthost is one.
        found.and_then(|hosts| hosts.into_iter().next().ok_or_else(|| absent(host)))
    }

    /// The TXT records of a name.
    pub async fn texts(&self, name: &str) -> Answer<Text> {
        self.inner.texts.lookup(&self.inner.resolver, name).await
    }

    async fn order(
        &self,
        candidates: Candidates,
        to: &Destinations,
        seed: u64,
        secure: Option<&SecureDns>,
    ) -> Result<Vec<Host>, Unresolved> {
        let lookups = candidates.list.into_iter().map(|candidate| async {
            let addresses = self.inner.addresses_of(&candidate, secure).await;
            (candidate, addresses)
        });
        let found = futures::future::join_all(lookups).await;
        mx::order(&found, candidates.is_complete, to, seed)
    }
}

impl Inner {
    async fn addresses_of(&self, candidate: &Candidate, secure: Option<&SecureDns>) -> Addresses {
        let MxTarget::Host(name) = &candidate.target else {
            // There is no such name, and nobody to ask.
            return Addresses { v4: Answer::NxDomain, v6: Answer::NxDomain };
        };
        let said = self.both_families(name.as_str());
        let Some(secure) = secure else { return said.await };
        let (said, v4, v6) = tokio::join!(said, secure.v4(name), secure.v6(name));
        Addresses { v4: v4.answer().unwrap_or(said.v4), v6: v6.answer().unwrap_or(said.v6) }
    }

    /// A and AAAA, asked at once. When one has records and the other keeps us waiting, the host is tried with the one.
    async fn both_families(&self, name: &str) -> Addresses {
        let v4 = self.v4.lookup(&self.resolver, name);
        let v6 = self.v6.lookup(&self.resolver, name);
        tokio::pin!(v4, v6);
        tokio::select! {
            first = &mut v4 => {
                let second = self.second(&first, v6).await;
                Addresses { v4: first, v6: second }
            }
            first = &mut v6 => {
                let second = self.second(&first, v4).await;
                Addresses { v4: second, v6: first }
            }
        }
    }

    async fn second<A, B>(&self, first: &Answer<A>, second: impl Future<Output = Answer<B>>) -> Answer<B> {
        if !matches!(first, Answer::Records(_)) {
            return second.await;
        }
        tokio::time::timeout(self.family_grace, second).await.unwrap_or(Answer::Failed(DnsFailure::Timeout))
    }

    fn count(&self, why: Option<&Unresolved>) {
        if let Some(lookups) = &self.lookups {
            lookups.with_label_values(&[why.map_or("found", Unresolved::as_str)]).inc();
        }
    }
}

fn absent(host: &HostName) -> Unresolved {
    Unresolved::SmarthostAbsent(host.as_str().into())
}

#[cfg(test)]
mod tests;

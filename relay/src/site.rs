//! Far sides, as the places where connections, limits and their health live.
//! **Owns:** one `Site` for each set of hosts that mail goes to in one way (source, TLS, credentials, limits); what attempts ask of
//! it and report to it. **Never:** when mail is tried again (core::retry), what a reply means (core::outcome).
//! Invariant: a connection carries mail of one TLS policy, one source and one identity only.

mod attempt;
pub mod connections;
mod feedback;
mod held;
mod limits;
mod order;
mod pace;
mod pooled;

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{
    egress::SourceName,
    mx::HostSet,
    policy::SiteLimits,
    providers::Provider,
    retry::BackoffLimits,
    tls_policy::{Intent, Protection},
};
use postrider_mail::HostName;
use postrider_queue::{
    incarnation::{Clock, LeaseHandle},
    shards::Shards,
};
use postrider_smtp::{
    client::{Settings, Tls},
    sasl,
    timer::Waits,
};
use tokio_util::sync::CancellationToken;

pub use attempt::{Attempt, NotTried, Trace};
pub use limits::PutOff;
pub use order::{Exit, Order, Stop};

use crate::{
    delivery::FarSides,
    egress::{NamedSource, Sources},
    metrics::Metrics,
    tls::connect::Connectors,
};
use connections::Pool;
use feedback::{Health, Pulse};
use held::Held;
use limits::{Limits, OfSite, Who};
use pace::PaceGate;

/// How long an idle connection is kept. Far sides close theirs after a few minutes and don't like them kept.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// The same where the fleet counts connections: others may wait for its slot.
const COUNTED_IDLE_MAX: Duration = Duration::from_secs(1);
/// How long a connection is used again, so that a better host that came back gets its mail.
const REUSED_FOR: Duration = Duration::from_secs(300);
/// How often idle connections and unused sites are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// How long a site that nobody used is remembered, with what it taught us.
const REMEMBERED_FOR: Duration = Duration::from_secs(3_600);
/// Unused sites remembered at most; beyond, the ones that taught nothing go at once.
const REMEMBERED_MAX: usize = 20_000;

/// What sites are built from.
pub struct SiteParts {
    /// TLS.
    pub connectors: Connectors,
    /// The boot-time clock.
    pub clock: Clock,
    /// Cancelled when the process has no more time for attempts.
    pub stopping: CancellationToken,
    /// How long far sides are waited for.
    pub waits: Waits,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the fleet's limits are counted.
    pub shards: Shards,
}

/// How many sites there are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SiteStates {
    /// Mail goes there.
    pub open: usize,
    /// The same, as fast as the far side wants it.
    pub paced: usize,
    /// Nothing is tried there for a while.
    pub backing_off: usize,
}

/// All sites of a relay. Cloning shares.
#[derive(Clone)]
pub struct Sites {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    sites: Mutex<HashMap<SiteKey, Arc<Site>>>,
    health: Health,
    connectors: Connectors,
    clock: Clock,
    /// Cancelled when the process has no more time for attempts.
    stopping: CancellationToken,
    waits: Waits,
    metrics: Metrics,
    limits: Limits,
    sources: Sources,
    hasher: RandomState,
}

/// What makes a site: mail that may share connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SiteKey {
    /// Name and port of each host, whether TLS begins with the connection, and its protection; in a fixed order.
    hosts: Vec<(HostName, u16, bool, Protection)>,
    /// What they are of, which may be more than could be looked up: limits are for all of that.
    set: HostSet,
    /// Whose hosts they are, where that is known and counts.
    provider: Option<&'static str>,
    limits: SiteLimits,
    backoff: BackoffLimits,
    /// Our name towards it.
    hostname: HostName,
    /// By which it is reached.
    source: Option<Arc<NamedSource>>,
    /// Who we are to it: the user, and a hash of the password that says nothing outside of this process.
    identity: Option<(Box<str>, u64)>,
}

/// One site.
pub(crate) struct Site {
    pool: Arc<Pool<Held>>,
    pulse: Pulse,
    limits: SiteLimits,
    /// What the whole fleet keeps to there.
    fleet: OfSite,
    /// By which it is reached.
    source: Option<Arc<NamedSource>>,
    /// How fast it wants mail from this relay, where it said so.
    pace: PaceGate,
    /// The known provider whose hosts they are.
    provider: Option<&'static Provider>,
    /// How to speak to it in clear, to a host whose TLS is broken or not wanted; with TLS if offered; with TLS only.
    clear: Arc<Settings>,
    if_offered: Arc<Settings>,
    required: Arc<Settings>,
}

impl Sites {
    /// No sites yet.
    pub fn new(parts: SiteParts) -> Self {
        let SiteParts { connectors, clock, stopping, waits, metrics, shards } = parts;
        Self {
            shared: Arc::new(Shared {
                sites: Mutex::default(),
                health: Health::default(),
                connectors,
                limits: Limits::new(shards, clock.clone()),
                sources: Sources::new(clock.clone(), metrics.sources.clone()),
                clock,
                stopping,
                waits,
                metrics,
                hasher: RandomState::new(),
            }),
        }
    }

    /// The sites for one claim, of the partition with this lease; `lost` is cancelled when the claim is.
    pub fn for_claim(&self, lost: CancellationToken, lease: LeaseHandle) -> ForClaim {
        ForClaim { shared: self.shared.clone(), lost, lease }
    }

    /// Closes what is idle and forgets what is unused, until `stopped`.
    pub async fn run(&self, stopped: CancellationToken) {
        let mut ticks = tokio::time::interval(TIDY_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped.cancelled() => break,
                _ = ticks.tick() => self.tidy(),
            }
        }
        for site in self.shared.all() {
            site.pool.close().into_iter().for_each(Held::close);
        }
    }

    /// Gives back what the fleet counts and nobody here needs, until `stopped`.
    pub async fn keep_limits(&self, stopped: CancellationToken) {
        self.shared.limits.run(stopped).await;
    }

    fn tidy(&self) {
        for site in self.shared.all() {
            let idle_max = if site.fleet.connections.is_some() { COUNTED_IDLE_MAX } else { IDLE_MAX };
            site.pool.idle_for(idle_max).into_iter().for_each(Held::close);
        }
        self.shared.health.tidy();
        let mut sites = self.shared.lock();
        let is_crowded = sites.len() > REMEMBERED_MAX;
        // A site that an attempt has in hand has a second owner.
        sites.retain(|_, site| {
            let is_used = Arc::strong_count(site) > 1 || !site.pool.is_unused();
            let has_taught = site.pace.is_kept() || !site.pulse.is_untaught();
            is_used || (!is_crowded && site.pulse.idle_for() < REMEMBERED_FOR && has_taught)
        });
    }

    /// How many sites there are in which state.
    pub fn states(&self) -> SiteStates {
        let (sites, now) = (self.shared.all(), self.shared.clock.now());
        let mut states = SiteStates::default();
        for site in sites {
            let of_its_state = if site.pulse.is_suspended(now) {
                &mut states.backing_off
            } else if site.pace.is_kept() {
                &mut states.paced
            } else {
                &mut states.open
            };
            *of_its_state += 1;
        }
        states
    }

    /// The sources that are left out for a while.
    pub fn sources_out(&self) -> Vec<SourceName> {
        self.shared.sources.out()
    }

    /// How many sites are known, and how many connections are open.
    pub fn load(&self) -> (usize, usize) {
        let sites = self.shared.all();
        (sites.len(), sites.iter().map(|site| site.pool.load().0).sum())
    }
}

/// The sites as one claim's attempt reaches them.
pub struct ForClaim {
    shared: Arc<Shared>,
    lost: CancellationToken,
    lease: LeaseHandle,
}

impl FarSides for ForClaim {
    async fn attempt(&self, order: Order<'_>) -> Result<Attempt, NotTried> {
        pooled::run(self, order).await
    }
}

impl Shared {
    fn site(&self, order: &Order<'_>) -> Arc<Site> {
        let key = self.key(order);
        let mut sites = self.lock();
        if let Some(site) = sites.get(&key) {
            return site.clone();
        }
        let by = (order.provider, key.source.as_deref());
        let fleet = self.limits.of(&key.set, by, &key.limits.fleet);
        let pace = PaceGate::new(self.clock.clone());
        let site = Arc::new(Site::new(&key, order, self.waits, (fleet, pace)));
        if let Some((gate, _)) = &site.fleet.connections {
            gate.is_used_by(&site.pool);
        }
        sites.insert(key, site.clone());
        site
    }

    fn key(&self, order: &Order<'_>) -> SiteKey {
        let mut hosts: Vec<_> = order
            .stops
            .iter()
            .map(|stop| (stop.host.name.clone(), stop.port, stop.is_implicit_tls, stop.protection.clone()))
            .collect();
        hosts.sort();
        let identity = order.credentials.map(|credentials| {
            (credentials.username.as_str().into(), self.hasher.hash_one(credentials.password.expose()))
        });
        SiteKey {
            hosts,
            set: order.set(),
            provider: order.provider.map(|provider| provider.name.as_str()),
            limits: order.policy.limits,
            backoff: BackoffLimits::within(&order.policy.retry),
            hostname: order.ehlo().clone(),
            source: order.source.clone(),
            identity,
        }
    }

    /// Whether the site that an order leads to is left alone now.
    fn is_suspended(&self, order: &Order<'_>) -> bool {
        let site = self.lock().get(&self.key(order)).cloned();
        site.is_some_and(|site| site.pulse.is_suspended(self.clock.now()))
    }

    /// Whether the source that an order would go by has carried what it may today.
    fn is_spent(&self, order: &Order<'_>) -> bool {
        let is_new = order.source.as_ref().is_some_and(|source| source.source.warm_up.is_some());
        is_new && self.site(order).fleet.warm_up.as_ref().is_some_and(|gate| gate.look().is_err())
    }

    /// Whether the site that an order leads to lets mail wait now, as far as is known here.
    fn is_limited(&self, order: &Order<'_>) -> bool {
        let site = self.lock().get(&self.key(order)).cloned();
        site.is_some_and(|site| site.is_limited(attempt::limited::who(order)))
    }

    fn all(&self) -> Vec<Arc<Site>> {
        self.lock().values().cloned().collect()
    }

    /// Nothing that holds the lock can fail half-way, so a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, HashMap<SiteKey, Arc<Site>>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Site {
    fn new(key: &SiteKey, order: &Order<'_>, waits: Waits, (fleet, pace): (OfSite, PaceGate)) -> Self {
        let settings = Settings {
            tls: Tls::Required,
            auth: order.credentials.map(|credentials| {
                sasl::Credentials::new(&credentials.username, credentials.password.expose())
            }),
            waits,
            ..Settings::new(key.hostname.clone())
        };
        let pulse = Pulse::new(key.limits, key.backoff);
        Self {
            pool: Pool::new(pulse.limit(), REUSED_FOR),
            pulse,
            limits: key.limits,
            fleet,
            source: key.source.clone(),
            pace,
            provider: order.provider,
            clear: Arc::new(Settings { tls: Tls::Never, ..settings.clone() }),
            if_offered: Arc::new(Settings { tls: Tls::IfOffered, ..settings.clone() }),
            required: Arc::new(settings),
        }
    }

    /// Takes the turn of a message that goes now, and what the fleet's limits ask for.
    async fn may_send(&self, who: Who<'_>) -> Result<(), PutOff> {
        self.pace.turn(who).await?;
        if let Some(gate) = &self.fleet.messages {
            gate.token(who).await?;
        }
        match &self.fleet.warm_up {
            Some(gate) => gate.take().await,
            None => Ok(()),
        }
    }

    /// Whether mail needn't come at all for now.
    fn look(&self, who: Who<'_>) -> Result<(), PutOff> {
        self.pace.look(who)?;
        self.fleet.messages.as_ref().map_or(Ok(()), |gate| gate.look(who))
    }

    /// Whether mail that comes now would go back: to wait for its turn, or because no connection may be opened and none will come free.
    fn is_limited(&self, who: Who<'_>) -> bool {
        let is_closed = || self.pool.load().0 == 0 && self.fleet.look_for_connection(who).is_err();
        self.look(who).is_err() || is_closed()
    }

    /// How to speak under an intent.
    fn settings(&self, intent: Intent) -> Arc<Settings> {
        let settings = match intent {
            Intent::Never => &self.clear,
            Intent::IfOffered => &self.if_offered,
            Intent::Must => &self.required,
        };
        settings.clone()
    }
}

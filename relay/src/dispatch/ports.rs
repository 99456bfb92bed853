//! The ports of delivery.rs as they are in a running relay: the queue and the DNS. (The third, the far sides, is `site::Sites`.)
//! **Owns:** which partition an attempt belongs to, what a lane's suspension means here and there. **Never:** decides either.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use postrider_core::{
    config::{Config, ConfigHash, HostAddress, Protocol, Smarthost, SmarthostHost},
    dane::HostDane,
    mta_sts::Kept,
    mx::{self, Destinations, Host, HostSet, Unresolved},
    route::{Action, Decision, Target},
    tls_policy::{self, TlsMode},
};
use postrider_mail::{Domain, HostName, TlsRequirement};
use postrider_queue::{
    Body, Claimed, ConfigTag, Lane, Partition, Settled, Settlement, Unavailable, body::BodyError,
};

use super::{
    Window,
    desks::{Desk, Desks},
};
use crate::{
    config::ConfigSource,
    delivery::{Hosts, Store},
    dns::{Dns, Exchangers},
    mta_sts::{Policies, Unknown},
    site::{PutOff, Stop},
    tls_report::TlsReports,
};

/// How long telling the queue of a lane may take: it only spares attempts.
const TELL_MAX: Duration = Duration::from_secs(1);
/// Releases are tried this often; what can't be released is found by the minute's comparison of claims.
const RELEASE_TRIES: u32 = 3;
/// Between two tries.
const RELEASE_PAUSE: Duration = Duration::from_millis(200);

/// The queue, as one claim's attempt reaches it.
pub struct LiveStore {
    desk: Desk,
    lanes: Lanes,
}

/// What is known of lanes, here and in all partitions. Cloning shares.
#[derive(Clone)]
pub struct Lanes {
    /// All partitions.
    pub desks: Desks,
    /// Here.
    pub window: Window,
    /// The config.
    pub config: ConfigSource,
}

impl LiveStore {
    /// The queue for an attempt of a delivery at this desk.
    pub fn new(desk: Desk, lanes: Lanes) -> Self {
        Self { desk, lanes }
    }
}

impl Lanes {
    /// Tells every partition of a lane: it has mail in each of them.
    async fn tell_all<F>(&self, lane: &Lane, tell: impl Fn(Partition) -> F)
    where
        F: Future<Output = Result<(), Unavailable>> + Send,
    {
        let told = join_all(self.desks.all().into_iter().map(|desk| tell(desk.partition)));
        match tokio::time::timeout(TELL_MAX, told).await {
            Ok(answers) => {
                for why in answers.into_iter().filter_map(Result::err) {
                    tracing::debug!(%lane, %why, "a partition was not told of a lane");
                }
            }
            Err(_) => tracing::debug!(%lane, "a partition does not answer and was not told of a lane"),
        }
    }
}

impl Store for LiveStore {
    async fn body(&self, claimed: &Claimed) -> Result<Body, BodyError> {
        self.desk.partition.load_body(&claimed.claim.delivery().message).await
    }

    async fn settle(&self, settlement: Settlement) -> Settled {
        self.desk.settler.settle(settlement).await
    }

    async fn release(&self, claimed: Claimed, wait: Duration) {
        for _ in 0..RELEASE_TRIES {
            match self.desk.partition.release(&[&claimed.claim], wait).await {
                Ok(_) => return,
                Err(why) => {
                    tracing::debug!(delivery_id = %claimed.claim.delivery(), %why, "a claim was not released");
                }
            }
            tokio::time::sleep(RELEASE_PAUSE).await;
        }
    }

    async fn suspend(&self, lane: &Lane, wait: Duration) {
        self.lanes.window.suspend(lane, wait);
        let tag = tag(&self.lanes.config.current());
        tracing::info!(lane = %lane.destination(), wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "nobody answers there; the destination is suspended");
        let tag = &tag;
        self.lanes.tell_all(lane, |partition| async move { partition.suspend(lane, wait, tag).await }).await;
    }

    async fn put_off(&self, lane: &Lane, put_off: PutOff) {
        // One tells for all that were about to go.
        if !self.lanes.window.limit(lane, put_off.limited.wait) {
            return;
        }
        let tag = &tag(&self.lanes.config.current());
        let PutOff { mut limited, is_for_all } = put_off;
        if !is_for_all {
            // Others may have what this relay lacks: they only learn to take few.
            limited.wait = Duration::ZERO;
        }
        let tell = |partition: Partition| async move { partition.limit(lane, &limited, tag).await };
        self.lanes.tell_all(lane, tell).await;
    }

    async fn answered(&self, lane: &Lane) {
        if self.lanes.window.delivered(lane) {
            tracing::info!(lane = %lane.destination(), "somebody answers there again; the destination is resumed");
            let tag = &tag(&self.lanes.config.current());
            self.lanes.tell_all(lane, |partition| async move { partition.resume(lane, tag).await }).await;
        }
    }
}

/// What the queue calls a config.
pub fn tag(config: &Config) -> ConfigTag {
    ConfigTag::new(&config.hash().to_string())
}

/// The DNS. Cloning shares.
#[derive(Clone)]
pub struct LiveHosts {
    dns: Dns,
    policies: Policies,
    mx_port: u16,
    own_addresses: Arc<[IpAddr]>,
    reports: TlsReports,
    /// Where mail may go, by the config that said so.
    to: Arc<Mutex<Option<To>>>,
}

/// Where a fleet of this config may connect to, from a machine of these addresses.
pub fn destinations(config: &Config, own_addresses: &[IpAddr]) -> Destinations {
    Destinations {
        own_names: vec![config.hostname.clone()],
        own_addresses: own_addresses.to_vec(),
        allowed: config.allowed_destinations.clone(),
        ..Destinations::default()
    }
}

/// How mail to a domain is protected.
#[derive(Clone, Copy)]
struct Wanted {
    /// As the rule wants it.
    mode: TlsMode,
    /// As the message does.
    requirement: TlsRequirement,
    /// Whether the domain is told how it went.
    is_reported: bool,
}

/// Where mail may go under a config.
type To = (ConfigHash, Arc<Destinations>);

impl LiveHosts {
    /// `mx_port` is where the hosts of MX records listen (25, but in tests); mail to `own_addresses` would go in a circle; `reports` is
    /// told of hosts that can't be used.
    pub fn new(
        dns: Dns,
        policies: Policies,
        mx_port: u16,
        own_addresses: Vec<IpAddr>,
        reports: TlsReports,
    ) -> Self {
        Self { dns, policies, mx_port, own_addresses: own_addresses.into(), reports, to: Arc::default() }
    }

    fn destinations(&self, config: &Config) -> Arc<Destinations> {
        let mut known = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((hash, to)) if *hash == config.hash() => to.clone(),
            _ => {
                let to = Arc::new(destinations(config, &self.own_addresses));
                *known = Some((config.hash(), to.clone()));
                to
            }
        }
    }

    async fn exchangers(
        &self,
        domain: &Domain,
        to: &Destinations,
        Wanted { mode, requirement, is_reported }: Wanted,
    ) -> Result<Vec<Stop>, Unresolved> {
        if mode != TlsMode::Published && requirement != TlsRequirement::Required {
            let hosts = self.dns.hosts(domain, to).await?;
            let hosts = hosts.into_iter().map(|host| (host, HostDane::None)).collect();
            return self.allowed(hosts, mode, None);
        }
        let found = self.dns.vouched_hosts(domain, self.mx_port, to);
        let (found, kept) = tokio::join!(found, self.policies.of(domain, to));
        let Exchangers { hosts, is_proven } = found?;
        let (hosts, mut kept) = match kept {
            Ok(kept) => (hosts, kept),
            Err(Unknown) => (tls_policy::without_policy(hosts, mode)?, None),
        };
        let mut found = self.allowed(hosts.clone(), mode, kept.as_deref());
        // RFC 8461 5.1: the domain may have other hosts by now, and another policy.
        if matches!(found, Err(Unresolved::NotInPolicy(_))) {
            kept = self.policies.anew(domain, to).await.map_err(|_| Unresolved::PolicyUnknown)?;
            found = self.allowed(hosts, mode, kept.as_deref());
        }
        if is_reported && mode == TlsMode::Published {
            self.report(domain, &mut found, kept.clone());
        }
        let mut stops = found?;
        let policy = kept.as_deref().map(|kept| &kept.policy);
        stops.retain(|stop| {
            let is_name_proven = is_proven || tls_policy::is_named(policy, &stop.host.name);
            tls_policy::is_enough(&stop.protection, requirement, is_name_proven)
        });
        Ok(stops)
    }

    /// Has sessions with these hosts counted; that there is none to have one with, at once.
    fn report(&self, domain: &Domain, found: &mut Result<Vec<Stop>, Unresolved>, kept: Option<Arc<Kept>>) {
        match found {
            Ok(stops) => {
                let reported = self.reports.of_domain(domain, kept);
                stops.iter_mut().for_each(|stop| stop.reported = Some(reported.clone()));
            }
            Err(why) => self.reports.unresolved(domain, why, kept.as_deref().map(|kept| &kept.policy)),
        }
    }

    /// The hosts that their own records and the domain's policy allow.
    fn allowed(
        &self,
        hosts: Vec<(Host, HostDane)>,
        mode: TlsMode,
        kept: Option<&Kept>,
    ) -> Result<Vec<Stop>, Unresolved> {
        let refused = tls_policy::refusal(&hosts);
        let policy = kept.map(|kept| &kept.policy);
        let stop = |(host, dane): (Host, HostDane)| {
            let protection = tls_policy::for_host(mode, &dane, policy, &host.name)?;
            Some(Stop { host, port: self.mx_port, is_implicit_tls: false, protection, reported: None })
        };
        let stops: Vec<Stop> = hosts.into_iter().filter_map(stop).collect();
        match refused {
            Some(why) if stops.is_empty() => Err(why),
            _ => Ok(stops),
        }
    }

    /// The hosts of a smarthost that were found; if none was, why the first wasn't.
    async fn smarthosts(
        &self,
        smarthost: &Smarthost,
        to: &Destinations,
        mode: TlsMode,
    ) -> Result<Vec<Stop>, Unresolved> {
        let found = join_all(smarthost.hosts.iter().map(|one| self.smarthost(one, to, mode))).await;
        let mut first_error = None;
        let mut stops = Vec::new();
        for one in found {
            match one {
                Ok(stop) => stops.push(stop),
                Err(why) => {
                    first_error.get_or_insert(why);
                }
            }
        }
        match first_error {
            Some(why) if stops.is_empty() => Err(why),
            _ => {
                let set = set_of(smarthost);
                stops.iter_mut().for_each(|stop: &mut Stop| stop.host.set = set.clone());
                Ok(stops)
            }
        }
    }

    async fn smarthost(
        &self,
        one: &SmarthostHost,
        to: &Destinations,
        mode: TlsMode,
    ) -> Result<Stop, Unresolved> {
        let host = match &one.host {
            HostAddress::Name(name) => self.dns.addresses(name, to).await?,
            HostAddress::Ip(address) => {
                mx::check_address(*address, to)?;
                let name = name_of(*address);
                let set = HostSet::of([(name.clone(), None)]);
                Host { name, preference: 0, addresses: vec![*address], set }
            }
        };
        let is_implicit_tls = one.protocol == Protocol::Smtps;
        Ok(Stop { host, port: one.port, is_implicit_tls, protection: mode.protection(), reported: None })
    }
}

impl Hosts for LiveHosts {
    async fn hosts(
        &self,
        decision: &Decision<'_>,
        claimed: &Claimed,
        config: &Config,
    ) -> Result<Vec<Stop>, Unresolved> {
        let (to, requirement) = (self.destinations(config), claimed.delivery.tls());
        let mode = tls_policy::mode_for(decision.policy.tls, requirement);
        let wanted = Wanted { mode, requirement, is_reported: config.tls_reports.is_some() };
        let stops = match &decision.action {
            Action::Try(Target::Smarthost(smarthost)) => {
                let mut stops = self.smarthosts(smarthost, &to, mode).await?;
                stops.retain(|stop| tls_policy::is_enough(&stop.protection, requirement, true));
                stops
            }
            Action::Try(Target::Redirect(address)) => self.exchangers(address.domain(), &to, wanted).await?,
            Action::Try(Target::Mx)
            | Action::Reject(_)
            | Action::Discard
            | Action::Hold { .. }
            | Action::Defer { .. } => self.exchangers(claimed.delivery.domain(), &to, wanted).await?,
        };
        if stops.is_empty() { Err(Unresolved::NotVouched) } else { Ok(stops) }
    }
}

/// The hosts of a smarthost, whichever of them are found.
fn set_of(smarthost: &Smarthost) -> HostSet {
    HostSet::of(smarthost.hosts.iter().map(|one| {
        let name = match &one.host {
            HostAddress::Name(name) => name.clone(),
            HostAddress::Ip(address) => name_of(*address),
        };
        (name, Some(one.port))
    }))
}

/// A host that is known by its address only is called by it.
fn name_of(address: IpAddr) -> HostName {
    let text = address.to_string().replace(':', "-");
    let text = text.trim_matches('-');
    HostName::parse(text).unwrap_or_else(|_| HostName::implicit_mx(&unnamed()))
}

fn unnamed() -> Domain {
    Domain::parse("address.invalid").expect("two labels of letters")
}

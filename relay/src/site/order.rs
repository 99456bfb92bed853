//! What an attempt is asked to do.
//! **Owns:** [`Order`], [`Stop`]. **Never:** does it (attempt.rs).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use postrider_core::{
    config::{Config, Credentials},
    egress::{Pool, Source},
    mx::{Destinations, Host, HostSet},
    policy::Policy,
    providers::{self, Provider},
    route::{Action, Decision, Target},
    tls_policy::Protection,
};
use postrider_mail::{HostName, Recipient};
use postrider_queue::{Claim, Claimed, Delivery};

use crate::{delivery::content::Content, egress::NamedSource, tls_report::Reported};

/// A host to try, and how to knock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The host, with its addresses.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// Whether TLS begins with the connection.
    pub is_implicit_tls: bool,
    /// How connections to it are protected.
    pub protection: Protection,
    /// How its sessions are counted, where its domain may be sent a report.
    pub reported: Option<Reported>,
}

/// By which sources mail may leave.
#[derive(Debug, Clone, Copy)]
pub enum Exit<'a> {
    /// As pods send anyway: no policy says otherwise.
    Plain,
    /// By those of a pool.
    Pool(&'a Pool),
    /// By those of a pool that the configuration doesn't have. It waits.
    Missing,
}

/// One delivery to some hosts.
pub struct Order<'a> {
    /// The claim that the final dot needs.
    pub claim: &'a Claim,
    /// The delivery.
    pub delivery: &'a Delivery,
    /// Whom RCPT names, by the recipients' numbers.
    pub recipients: Vec<(u32, Recipient)>,
    /// The hosts, the best first.
    pub stops: Vec<Stop>,
    /// What is sent.
    pub content: &'a Content,
    /// How it is treated.
    pub policy: Policy,
    /// The known provider whose hosts they are.
    pub provider: Option<&'static Provider>,
    /// Who we are to a smarthost.
    pub credentials: Option<&'a Credentials>,
    /// Our name, where the source has none of its own.
    pub hostname: &'a HostName,
    /// By which sources it may leave.
    pub exit: Exit<'a>,
    /// The source that was chosen.
    pub source: Option<Arc<NamedSource>>,
    /// The addresses that mail may go to.
    pub allowed: &'a [ipnet::IpNet],
}

impl<'a> Order<'a> {
    /// The order of an attempt.
    pub fn new(
        claimed: &'a Claimed,
        decision: &'a Decision<'a>,
        stops: Vec<Stop>,
        content: &'a Content,
        config: &'a Config,
    ) -> Self {
        let target = match &decision.action {
            Action::Try(target) => target,
            Action::Reject(_) | Action::Discard | Action::Hold { .. } | Action::Defer { .. } => &Target::Mx,
        };
        let recipients = claimed
            .delivery
            .recipients
            .iter()
            .map(|one| {
                let mailbox = target.recipient(&one.recipient.mailbox).clone();
                (one.number, Recipient { mailbox, ..one.recipient.clone() })
            })
            .collect();
        let provider = providers::of_decision(config, decision, stops.iter().map(|stop| &stop.host.name));
        let limits = decision.limits_at(provider, &config.defaults);
        Self {
            claim: &claimed.claim,
            delivery: &claimed.delivery,
            recipients,
            stops,
            content,
            policy: Policy { limits, ..decision.policy },
            provider,
            credentials: match target {
                Target::Smarthost(smarthost) => smarthost.credentials.as_ref(),
                Target::Mx | Target::Redirect(_) => None,
            },
            hostname: &config.hostname,
            exit: match decision.policy.pool.map(|number| config.pool(number)) {
                None => Exit::Plain,
                Some(Some(pool)) => Exit::Pool(pool),
                Some(None) => Exit::Missing,
            },
            source: None,
            allowed: &config.allowed_destinations,
        }
    }

    /// Every address of every host that the source reaches, in the order to try them.
    pub fn doors(&self) -> impl Iterator<Item = (&Stop, SocketAddr)> {
        let reaches = |address: &IpAddr| self.source.as_ref().is_none_or(|one| one.source.takes(*address));
        let doors = self.stops.iter().flat_map(|stop| {
            stop.host.addresses.iter().map(move |address| (stop, SocketAddr::new(*address, stop.port)))
        });
        doors.filter(move |(_, address)| reaches(&address.ip()))
    }

    /// Whether a source reaches any host.
    pub fn is_reached_by(&self, source: &Source) -> bool {
        self.stops.iter().flat_map(|stop| &stop.host.addresses).any(|address| source.takes(*address))
    }

    /// What its hosts are of. (There is one at least.)
    pub fn set(&self) -> HostSet {
        self.stops.first().map_or_else(|| HostSet::of([]), |stop| stop.host.set.clone())
    }

    /// What EHLO says.
    pub fn ehlo(&self) -> &HostName {
        self.source.as_ref().map_or(self.hostname, |named| &named.source.hostname)
    }

    /// Whether mail may go to an address: looked at once more just before connecting.
    pub fn may_go_to(&self, address: SocketAddr) -> bool {
        let to = Destinations { allowed: self.allowed.to_vec(), ..Destinations::default() };
        postrider_core::mx::check_address(address.ip(), &to).is_ok()
    }
}

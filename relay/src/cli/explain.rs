//! `postrider-relay explain`: what would happen to a mail, and why.
//! **Owns:** from arguments to facts, the hosts behind the route. **Never:** decides (core::route), orders hosts (core::mx).

use std::io::Write;

use anyhow::{Context, Result};
use postrider_core::{
    config::{Config, HostAddress, Smarthost},
    egress::Pool,
    explain,
    mx::{Destinations, Host, Unresolved},
    route::{Action, Facts, Target},
};
use postrider_mail::{Mailbox, QueueId, ReversePath};

use super::ExplainArgs;
use crate::{
    config::from_manifests,
    dispatch::ports,
    dns::{Dns, DnsSettings},
};

/// The port that MX records mean, RFC 5321 2.3.10.
const SMTP_PORT: u16 = 25;

/// Prints which rules the mail meets, its route, its policy, and, unless offline, the hosts in the order of trying.
///
/// # Errors
/// The manifests can't be used, an address can't be read, or there is no resolver to ask.
pub async fn explain(args: &ExplainArgs, out: &mut impl Write) -> Result<()> {
    let config = from_manifests(&args.manifests.manifests, args.manifests.relay.as_deref())?;
    let recipient: Mailbox =
        args.recipient.parse().with_context(|| format!("recipient {:?}", args.recipient))?;
    let sender = ReversePath::try_from(args.from.trim_matches(['<', '>']).to_owned())
        .with_context(|| format!("--from {:?}", args.from))?;
    let facts = Facts {
        sender: &sender,
        recipient: &recipient,
        listener: Some(listener(&config, args)?),
        client: args.client,
        user: args.user.as_deref(),
    };
    let explanation = explain::explain(&config, &facts);
    let (Action::Try(target), false) = (&explanation.decision.action, args.offline) else {
        write!(out, "{explanation}")?;
        return tell_order(explanation.pool, args, out);
    };
    let target = target.clone();
    let settings =
        if args.dns.is_empty() { DnsSettings::system()? } else { DnsSettings::new(args.dns.clone()) };
    let finder = Finder { dns: Dns::new(settings)?, destinations: ports::destinations(&config, &[]) };
    let hosts = finder.hosts(&target, &recipient).await;
    let known: &[Host] = hosts.as_deref().unwrap_or_default();
    let explanation = explanation.at(&config, known.iter().map(|host| &host.name));
    write!(out, "{explanation}")?;
    tell_order(explanation.pool, args, out)?;
    writeln!(out, "\nhosts, in the order of trying")?;
    match (&target, hosts) {
        (Target::Smarthost(smarthost), _) => finder.tell_smarthost(smarthost, out).await,
        (Target::Mx | Target::Redirect(_), Ok(hosts)) => tell(&hosts, out),
        (Target::Mx | Target::Redirect(_), Err(why)) => Ok(writeln!(out, "  none: {why}")?),
    }
}

/// The sources in the order in which one message takes them, if one is asked about.
fn tell_order(pool: Option<&Pool>, args: &ExplainArgs, out: &mut impl Write) -> Result<()> {
    let (Some(pool), Some(queue_id)) = (pool, &args.queue_id) else { return Ok(()) };
    let queue_id: QueueId = queue_id.parse().context("--queue-id")?;
    let order = pool.order(&queue_id.to_string());
    let order: Vec<&str> = order.into_iter().map(|source| &*source.name).collect();
    writeln!(out, "\nmessage {queue_id} leaves by the first of these that works")?;
    writeln!(out, "  {}", if order.is_empty() { "none".to_owned() } else { order.join(", then ") })?;
    Ok(())
}

fn listener<'c>(config: &'c Config, args: &'c ExplainArgs) -> Result<&'c str> {
    match &args.listener {
        None => Ok(config.listeners.first().map_or("", |first| first.name.as_str())),
        Some(name) if config.listener(name).is_some() => Ok(name),
        Some(name) => {
            let known: Vec<&str> = config.listeners.iter().map(|one| one.name.as_str()).collect();
            anyhow::bail!("--listener: found {name:?}; expected one of {}", known.join(", "))
        }
    }
}

struct Finder {
    dns: Dns,
    destinations: Destinations,
}

impl Finder {
    /// The hosts of a domain's MX records; none for a smarthost, which has no domain to ask for.
    async fn hosts(&self, target: &Target<'_>, recipient: &Mailbox) -> Result<Vec<Host>, Unresolved> {
        match target.mx_domain(recipient) {
            Some(domain) => self.dns.hosts(domain, &self.destinations).await,
            None => Ok(Vec::new()),
        }
    }

    async fn tell_smarthost(&self, smarthost: &Smarthost, out: &mut impl Write) -> Result<()> {
        for one in &smarthost.hosts {
            match &one.host {
                HostAddress::Ip(ip) => writeln!(out, "  {}", std::net::SocketAddr::new(*ip, one.port))?,
                HostAddress::Name(name) => match self.dns.addresses(name, &self.destinations).await {
                    Ok(host) => writeln!(out, "  {}", told(&host, one.port))?,
                    Err(why) => writeln!(out, "  {name}:{}  none: {why}", one.port)?,
                },
            }
        }
        Ok(())
    }
}

fn tell(hosts: &[Host], out: &mut impl Write) -> Result<()> {
    for host in hosts {
        writeln!(out, "  {}  preference {}", told(host, SMTP_PORT), host.preference)?;
    }
    Ok(())
}

fn told(host: &Host, port: u16) -> String {
    let addresses: Vec<String> = host.addresses.iter().map(ToString::to_string).collect();
    format!("{}:{port}  {}", host.name, addresses.join(", "))
}

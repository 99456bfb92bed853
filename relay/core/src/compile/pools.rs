//! `spec.egressPools`, and the pools that policies name.
//! **Owns:** the checks of both. **Never:** lets mail of a pool leave otherwise: a source that can't be used is left out, and a pool that
//! has none left lets its mail wait.

use std::net::IpAddr;

use postrider_crds::{self as crds, status::reasons, text};
use postrider_mail::HostName;

use super::{Problem, Weight, names, secrets::Secrets, secrets::unusable, shown, treatment::read};
use crate::{
    config::{Credentials, HostAddress},
    day::InvalidDay,
    egress::{IpFamily, Pool, PoolNumber, ProxyHost, Source, WarmUp, Way},
};

/// Pools that a MailRelay may have, sources that a pool may have.
const MOST_POOLS: usize = 16;
const MOST_SOURCES: usize = 64;
/// The heaviest source.
const MOST_WEIGHT: u32 = 1_000;
/// The most messages of a day of a warm-up.
const MOST_MESSAGES: u32 = 100_000_000;
/// What SOCKS5 has room for (RFC 1929 2).
const CREDENTIAL_BYTES: std::ops::RangeInclusive<usize> = 1..=255;

/// The pools that policies may name.
#[derive(Clone, Copy)]
pub(super) struct Pools<'r> {
    pub(super) of: &'r [crds::EgressPool],
    /// The MailRelay, in words.
    pub(super) relay: &'r dyn std::fmt::Display,
    /// How bad a name is that no pool has.
    pub(super) weight: Weight,
}

impl Pools<'_> {
    /// The pool that a policy names.
    pub(super) fn chosen(
        &self,
        choice: Option<&crds::EgressChoice>,
        field: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<PoolNumber> {
        let wanted = &choice?.pool;
        let found = self.of.iter().position(|pool| pool.name == *wanted).and_then(PoolNumber::at);
        if found.is_none() {
            let known: Vec<&str> = self.of.iter().map(|pool| pool.name.as_str()).collect();
            let expected = match known.as_slice() {
                [] => "one; its spec.egressPools has none".to_owned(),
                [only] => only.to_string(),
                several => format!("one of {}", several.join(", ")),
            };
            let found = format!("no egress pool {} of MailRelay {}", shown(wanted), self.relay);
            let problem = Problem::invalid(format!("{field}.egress.pool"), found, expected);
            let problem = problem.or_did_you_mean(wanted, known);
            problems.push(match self.weight {
                Weight::Unresolved => problem.because(Weight::Unresolved, reasons::POOL_NOT_FOUND),
                Weight::Warning | Weight::NotAllowed | Weight::Invalid => problem,
            });
        }
        found
    }
}

/// Compiles all pools, each at its place.
pub(super) fn compile(
    spec: &crds::MailRelaySpec,
    hostname: Option<&HostName>,
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Pool> {
    let pools = &spec.egress_pools;
    if pools.len() > MOST_POOLS {
        let found = format!("{} entries", pools.len());
        problems.push(Problem::invalid("spec.egressPools", found, format!("{MOST_POOLS} at most")));
    }
    let mut compiled = Vec::with_capacity(pools.len());
    for (index, pool) in pools.iter().enumerate() {
        let field = format!("spec.egressPools[{index}]");
        check_name(&pool.name, pools.iter().take(index).map(|other| other.name.as_str()), &field, problems);
        let count = pool.sources.len();
        if count == 0 || count > MOST_SOURCES {
            let found = format!("{count} entries");
            let expected = format!("1 to {MOST_SOURCES}");
            problems.push(Problem::invalid(format!("{field}.sources"), found, expected));
        }
        let sources = pool.sources.iter().enumerate().filter_map(|(position, source)| {
            let field = format!("{field}.sources[{position}]");
            let earlier = pool.sources.iter().take(position).map(|other| other.name.as_str());
            check_name(&source.name, earlier, &field, problems);
            self::source(source, &field, hostname?, secrets, problems)
        });
        compiled.push(Pool { sources: sources.collect(), name: pool.name.as_str().into() });
    }
    compiled
}

fn check_name<'a>(
    name: &str,
    mut earlier: impl Iterator<Item = &'a str>,
    field: &str,
    problems: &mut Vec<Problem>,
) {
    let at = format!("{field}.name");
    let is_label = (1..=63).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !is_label {
        problems.push(Problem::invalid(at, shown(name), names::expected(text::LABEL)));
    } else if earlier.any(|other| other == name) {
        problems.push(Problem::invalid(at, shown(name), "a name that no other entry has"));
    }
}

fn source(
    source: &crds::EgressSource,
    field: &str,
    fleet_hostname: &HostName,
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Source> {
    let weight = names::bounded(source.weight, MOST_WEIGHT, &format!("{field}.weight"), problems);
    let hostname = match &source.hostname {
        Some(text) => read(&format!("{field}.hostname"), names::host_name(text), problems)?,
        None => fleet_hostname.clone(),
    };
    let warm_up = match &source.warm_up {
        // A plan that can't be read is none to do without.
        Some(plan) => Some(warm_up(plan, &format!("{field}.warmUp"), problems)?),
        None => None,
    };
    let way = way(source, field, secrets, problems)?;
    let own = match &way {
        Way::Address(address) | Way::Proxy { address, .. } => Some(IpFamily::of(*address)),
        Way::Direct | Way::Socks5 { .. } => None,
    };
    let wanted = source.ip_family.map(|family| match family {
        crds::IpFamily::IPv4 => IpFamily::IPv4,
        crds::IpFamily::IPv6 => IpFamily::IPv6,
    });
    if let (Some(own), Some(wanted)) = (own, wanted)
        && own != wanted
    {
        let found = format!("{wanted} beside an address of {own}");
        problems.push(Problem::invalid(format!("{field}.ipFamily"), found, format!("{own}, or nothing")));
    }
    let (name, family) = (source.name.as_str().into(), own.or(wanted));
    Some(Source { name, weight, hostname, family, warm_up, way })
}

fn warm_up(plan: &crds::WarmUp, field: &str, problems: &mut Vec<Problem>) -> Option<WarmUp> {
    let messages = plan.messages_per_day.iter().enumerate().map(|(day, most)| {
        names::bounded(*most, MOST_MESSAGES, &format!("{field}.messagesPerDay[{day}]"), problems)
    });
    let messages: Vec<u32> = messages.collect();
    let start =
        plan.start_date.parse().map_err(|InvalidDay| (shown(&plan.start_date), names::expected(text::DAY)));
    Some(WarmUp { start: read(&format!("{field}.startDate"), start, problems)?, messages })
}

fn way(
    source: &crds::EgressSource,
    field: &str,
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Way> {
    match (&source.address, &source.socks5, &source.proxy) {
        (None, None, None) => Some(Way::Direct),
        (Some(address), None, None) => {
            self::address(address, &format!("{field}.address"), problems).map(Way::Address)
        }
        (None, Some(socks), None) => {
            let field = format!("{field}.socks5");
            let proxy = proxy(&socks.host, socks.port, &field, problems);
            let credentials = match &socks.credentials_ref {
                None => None,
                Some(reference) => {
                    let found = credentials(reference, &format!("{field}.credentialsRef"), secrets);
                    Some(found.map_err(|problem| problems.push(problem)).ok()?)
                }
            };
            Some(Way::Socks5 { proxy: proxy?, credentials })
        }
        (None, None, Some(block)) => {
            let field = format!("{field}.proxy");
            let proxy = proxy(&block.host, block.port, &field, problems);
            let address = address(&block.address, &format!("{field}.address"), problems);
            Some(Way::Proxy { proxy: proxy?, address: address? })
        }
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            let expected = "one of address, socks5 and proxy, or none";
            problems.push(Problem::invalid(field, "more than one of address, socks5 and proxy", expected));
            None
        }
    }
}

fn address(value: &str, field: &str, problems: &mut Vec<Problem>) -> Option<IpAddr> {
    let is_usable = |address: &IpAddr| !address.is_unspecified() && !address.is_multicast();
    let found = value.parse::<IpAddr>().ok().map(|address| address.to_canonical()).filter(is_usable);
    if found.is_none() {
        problems.push(Problem::invalid(field, shown(value), names::expected(text::IP_ADDRESS)));
    }
    found
}

fn proxy(host: &str, port: i32, field: &str, problems: &mut Vec<Problem>) -> Option<ProxyHost> {
    let port = names::port(port, &format!("{field}.port"), problems);
    let host = match host.parse() {
        Ok(ip) => HostAddress::Ip(ip),
        Err(_) => HostAddress::Name(read(&format!("{field}.host"), names::host_name(host), problems)?),
    };
    Some(ProxyHost { host, port })
}

fn credentials(
    reference: &crds::SecretRef,
    field: &str,
    secrets: &Secrets<'_>,
) -> Result<Credentials, Problem> {
    let found = secrets.credentials(reference, field)?;
    for (key, length) in [("username", found.username.len()), ("password", found.password.expose().len())] {
        if !CREDENTIAL_BYTES.contains(&length) {
            let found = format!("{length} bytes under key {key:?} of Secret {}", shown(&reference.name));
            return Err(unusable(field, found, "1 to 255 bytes: SOCKS5 has room for no more"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;

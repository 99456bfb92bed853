//! A MailRelay, without its rules.
//! **Owns:** listeners, queue, defaults, their checks. **Never:** rules (rule.rs).
//! A listener whose certificate or users are missing stays closed: it is never opened without them.

use ipnet::IpNet;
use postrider_crds::{self as crds, MailRelay};
use postrider_mail::PartitionName;

use super::{Problem, Weight, names, secrets, secrets::Secrets, shown, treatment};
use crate::{
    config::{
        BareLineEnds, ConfigParts, DeliveryMode, DomainSet, Drain, Durability, Fleet, Listener,
        ListenerLimits, ListenerTls, LoggedAddresses, Logging, Queue, QueueKind, Route, Secret, Shard,
        TlsDemand,
    },
    manifests::Resources,
    policy::PolicyFields,
};

/// How long a replica's disk is waited for.
const REPLICA_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
/// What mail says that has no route because the default route is broken.
const BROKEN_DEFAULT: &str = "where this mail goes isn't known";
/// The smallest and the largest limit on a message.
const MESSAGE_SIZES: std::ops::RangeInclusive<u64> = (64 << 10)..=(1 << 30);

pub(super) struct CompiledRelay {
    /// All parts but the rules; none, if there is no host name.
    pub(super) parts: Option<ConfigParts>,
    pub(super) problems: Vec<Problem>,
}

pub(super) fn compile(resources: &Resources, relay: &MailRelay, fleet: &Fleet) -> CompiledRelay {
    let spec = &relay.spec;
    let mut problems = Vec::new();
    let secrets = Secrets { resources, namespace: &fleet.namespace };
    let hostname = treatment::read("spec.hostname", names::host_name(&spec.hostname), &mut problems);
    check_ports(&spec.listeners, &mut problems);
    let listeners = spec.listeners.iter().enumerate();
    let listeners =
        listeners.filter_map(|(index, one)| listener(one, index, &secrets, &mut problems)).collect();
    let queue = queue(&spec.queue, &secrets, &mut problems);
    let default_route = treatment::route(&spec.default_route, "spec.defaultRoute", &secrets, &mut problems);
    let defaults = match &spec.defaults {
        Some(policy) => treatment::policy(policy, "spec.defaults", &mut problems),
        None => PolicyFields::default(),
    };
    let destinations = spec.allowed_destinations.as_ref();
    let allowed_destinations = destinations.map_or_else(Vec::new, |allowed| {
        names::networks(&allowed.cidrs, "spec.allowedDestinations.cidrs", &mut problems)
    });
    check_allowed_routes(&spec.allowed_routes, &mut problems);
    let drain = drain(&spec.drain, &mut problems);
    let parts = hostname.map(|hostname| ConfigParts {
        fleet: fleet.clone(),
        hostname,
        listeners,
        queue,
        delivery: match spec.delivery {
            crds::Delivery::Active => DeliveryMode::Active,
            crds::Delivery::Paused => DeliveryMode::Paused,
        },
        default_route: default_route.unwrap_or_else(|| Route::Defer { reason: BROKEN_DEFAULT.to_owned() }),
        defaults,
        allowed_destinations,
        rules: Vec::new(),
        drain,
        logging: Logging {
            addresses: match spec.logging.addresses {
                crds::LoggedAddresses::Domain => LoggedAddresses::Domain,
                crds::LoggedAddresses::Full => LoggedAddresses::Full,
            },
        },
    });
    CompiledRelay { parts, problems }
}

fn check_ports(listeners: &[crds::Listener], problems: &mut Vec<Problem>) {
    for (index, one) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(index).find(|other| other.port == one.port);
        if let Some(other) = earlier {
            let found = format!("{}, which listener {} has", one.port, shown(&other.name));
            let field = format!("spec.listeners[{index}].port");
            problems.push(Problem::invalid(field, found, "a port of its own"));
        }
    }
}

fn listener(
    one: &crds::Listener,
    index: usize,
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Listener> {
    let field = format!("spec.listeners[{index}]");
    let before = problems.len();
    let allowed_clients = one.allowed_clients.as_ref().map_or_else(Vec::new, |allowed| {
        names::networks(&allowed.cidrs, &format!("{field}.allowedClients.cidrs"), problems)
    });
    let sender_domains = one
        .sender_domains
        .as_ref()
        .map(|patterns| DomainSet(names::patterns(patterns, &format!("{field}.senderDomains"), problems)));
    let proxies = one.proxy_protocol.as_ref().map_or_else(Vec::new, |proxy| {
        names::networks(&proxy.trusted_cidrs, &format!("{field}.proxyProtocol.trustedCIDRs"), problems)
    });
    let tls = listener_tls(one, &field, secrets, problems);
    let auth = one.auth.as_ref().and_then(|auth| {
        match secrets.users(&auth.users_ref, &format!("{field}.auth.usersRef")) {
            Ok((users, bad)) => {
                // One bad hash locks out its user, nobody else.
                problems.extend(bad);
                Some(users)
            }
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    });
    let is_complete = tls.is_some() == one.tls.is_some() && auth.is_some() == one.auth.is_some();
    let compiled = Listener {
        name: one.name.clone(),
        port: names::port(one.port, &format!("{field}.port"), problems),
        protocol: treatment::protocol(one.protocol),
        limits: limits(&one.limits, &format!("{field}.limits"), problems),
        bare_line_ends: match one.bare_line_ends {
            crds::BareLineEnds::Reject => BareLineEnds::Reject,
            crds::BareLineEnds::Normalize => BareLineEnds::Normalize,
        },
        allowed_clients,
        sender_domains,
        tls,
        auth,
        proxies,
    };
    if problems.len() == before {
        warn_of_access(one, &compiled.allowed_clients, &field, problems);
    }
    is_complete.then_some(compiled)
}

fn listener_tls(
    one: &crds::Listener,
    field: &str,
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Option<ListenerTls> {
    let Some(tls) = &one.tls else {
        let at = format!("{field}.tls");
        if one.protocol == crds::Protocol::Smtps {
            problems.push(Problem::invalid(at, "nothing", "certificateRef beside protocol SMTPS"));
        } else if one.auth.is_some() {
            let problem = Problem::invalid(at, "nothing", "certificateRef beside auth");
            problems.push(problem.advise("passwords are not taken in clear"));
        }
        return None;
    };
    match secrets.certificate(&tls.certificate_ref, &format!("{field}.tls.certificateRef")) {
        Ok(certificate) => Some(ListenerTls {
            demand: match tls.mode {
                crds::TlsDemand::Optional => TlsDemand::Optional,
                crds::TlsDemand::Required => TlsDemand::Required,
            },
            certificates: vec![certificate],
        }),
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

fn limits(limits: &crds::ListenerLimits, field: &str, problems: &mut Vec<Problem>) -> ListenerLimits {
    let size = limits.message_size.bytes();
    if !MESSAGE_SIZES.contains(&size) {
        let at = format!("{field}.messageSize");
        problems.push(Problem::invalid(at, limits.message_size.to_string(), "64Ki to 1Gi"));
    }
    let mut bounded =
        |value: i32, most: u32, name: &str| names::bounded(value, most, &format!("{field}.{name}"), problems);
    ListenerLimits {
        connections: bounded(limits.connections, 20_000, "connections"),
        connections_per_client: bounded(limits.connections_per_client, 20_000, "connectionsPerClient"),
        message_size: size,
        recipients: bounded(limits.recipients, 50_000, "recipients"),
    }
}

/// Nobody, or everybody: both are rarely meant.
fn warn_of_access(one: &crds::Listener, allowed: &[IpNet], field: &str, problems: &mut Vec<Problem>) {
    let warn = |problem: Problem| problem.because(Weight::Warning, crds::status::reasons::ACCEPTED);
    if allowed.is_empty() && one.auth.is_none() {
        let problem = Problem::invalid(field, "neither allowedClients nor auth", "one of them");
        problems.push(warn(problem.advise("nobody may relay through this listener")));
    }
    if let Some(all) = allowed.iter().find(|network| network.prefix_len() == 0) {
        let at = format!("{field}.allowedClients.cidrs");
        let problem = Problem::invalid(at, all.to_string(), "networks of your own clients");
        problems.push(warn(problem.advise("anybody who reaches this port may send mail to anybody")));
    }
}

fn queue(queue: &crds::Queue, secrets: &Secrets<'_>, problems: &mut Vec<Problem>) -> Queue {
    let mut compiled = match (&queue.managed, &queue.external) {
        (Some(managed), None) => {
            let shards = names::bounded(managed.shards, 16, "spec.queue.managed.shards", problems);
            Queue::managed(u8::try_from(shards).unwrap_or(1))
        }
        (None, Some(external)) => external_queue(external, secrets, problems),
        (Some(_), Some(_)) => {
            problems.push(Problem::invalid("spec.queue", "managed and external", "one of them"));
            Queue::managed(1)
        }
        (None, None) => {
            problems.push(Problem::invalid("spec.queue", "neither managed nor external", "one of them"));
            Queue::managed(1)
        }
    };
    compiled.durability = durability(queue, problems);
    compiled
}

fn durability(queue: &crds::Queue, problems: &mut Vec<Problem>) -> Durability {
    let field = "spec.queue.replicatedTo";
    match (queue.durability, queue.replicated_to) {
        (crds::Durability::Replicated, Some(replicas)) => Durability::Replicated {
            replicas: names::bounded(replicas, 5, field, problems),
            timeout: REPLICA_TIMEOUT,
        },
        (crds::Durability::Replicated, None) => {
            problems.push(Problem::invalid(
                field,
                "nothing",
                "a number of replicas beside durability Replicated",
            ));
            Durability::Synced
        }
        (other, Some(_)) => {
            let found = format!("it beside durability {other:?}");
            problems.push(Problem::invalid(field, found, "it with durability Replicated only"));
            Durability::Synced
        }
        (crds::Durability::Synced, None) => Durability::Synced,
        (crds::Durability::Unchecked, None) => Durability::Unchecked,
    }
}

/// Without all of its shards a queue can't be used: one that is left out would look like one that was removed.
fn external_queue(
    external: &crds::ExternalQueue,
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Queue {
    let mut shards: Vec<Shard> = Vec::new();
    for (index, one) in external.shards.iter().enumerate() {
        let field = format!("spec.queue.external.shards[{index}]");
        let Ok(name) = PartitionName::parse(&one.name) else {
            let expected = names::expected(crds::text::SHARD);
            problems.push(Problem::invalid(format!("{field}.name"), shown(&one.name), expected));
            continue;
        };
        match url(one, &format!("{field}.urlRef"), secrets) {
            Ok(url) => {
                if let Some(other) = shards.iter().find(|other| other.url.as_ref() == Some(&url)) {
                    let found = format!("the URL that shard {} has", shown(other.name.as_str()));
                    problems.push(Problem::invalid(format!("{field}.urlRef"), found, "a server of its own"));
                }
                shards.push(Shard { name, url: Some(url), uuid: None });
            }
            Err(problem) => problems.push(fatal(problem)),
        }
    }
    let ca = external.ca_ref.as_ref().and_then(|reference| {
        secrets
            .value(reference, "spec.queue.external.caRef", "one with the authority's PEM")
            .map_err(|problem| problems.push(fatal(problem)))
            .ok()
    });
    Queue { kind: QueueKind::External, durability: Durability::Synced, shards, ca }
}

fn fatal(problem: Problem) -> Problem {
    let reason = problem.reason;
    problem.because(Weight::Invalid, reason)
}

fn url(one: &crds::ExternalShard, field: &str, secrets: &Secrets<'_>) -> Result<Secret<String>, Problem> {
    let url = secrets.value(&one.url_ref, field, "one with the server's URL")?;
    if url.starts_with("redis://") || url.starts_with("rediss://") {
        return Ok(Secret::new(url));
    }
    let found =
        format!("no URL under key {} of Secret {}", shown(&one.url_ref.key), shown(&one.url_ref.name));
    Err(secrets::unusable(field, found, "redis://… or rediss://…"))
}

fn check_allowed_routes(allowed: &[crds::AllowedRoutes], problems: &mut Vec<Problem>) {
    for (index, one) in allowed.iter().enumerate() {
        let field = format!("spec.allowedRoutes[{index}]");
        let needs_selector = one.namespaces.from == crds::NamespacesFrom::Selector;
        if needs_selector != one.namespaces.selector.is_some() {
            let (found, expected) = if needs_selector {
                ("nothing", "it beside from Selector")
            } else {
                ("it without from Selector", "it with from Selector only")
            };
            problems.push(Problem::invalid(format!("{field}.namespaces.selector"), found, expected));
        }
        if let Some(domains) = &one.sender_domains {
            drop(names::patterns(domains, &format!("{field}.senderDomains"), problems));
        }
    }
}

fn drain(drain: &crds::Drain, problems: &mut Vec<Problem>) -> Drain {
    let (delay, timeout) = (drain.delay.get(), drain.timeout.get());
    if delay.as_secs() > 300 {
        problems.push(Problem::invalid("spec.drain.delay", drain.delay.to_string(), "5m at most"));
    }
    if timeout.as_secs() < 1 || timeout.as_secs() > 600 {
        problems.push(Problem::invalid("spec.drain.timeout", drain.timeout.to_string(), "1s to 10m"));
    }
    Drain { delay, timeout }
}

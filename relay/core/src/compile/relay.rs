//! A MailRelay, without its rules.
//! **Owns:** listeners, defaults, their checks. **Never:** rules (rule.rs), the queue (queue.rs).
//! A listener whose certificate or users are missing stays closed: it is never opened without them.

use ipnet::IpNet;
use postrider_crds::{self as crds, MailRelay};

use super::{
    Problem, Weight, dkim, egress, names,
    pools::{self, Pools},
    queue, running,
    secrets::Secrets,
    shown, treatment,
    workloads::Workloads,
};
use crate::{
    config::{
        BareLineEnds, ConfigParts, DeliveryMode, DomainSet, Drain, Fleet, Listener, ListenerLimits,
        ListenerTls, LoggedAddresses, Logging, ProviderDefaults, Route, TlsDemand, TlsReporting,
    },
    manifests::Resources,
    policy::PolicyFields,
};

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
    let workloads = Workloads { resources, namespace: &fleet.namespace };
    let listeners = listeners
        .filter_map(|(index, one)| listener(one, index, &secrets, &workloads, &mut problems))
        .collect();
    let queue = queue::compile(&spec.queue, &secrets, &mut problems);
    let default_route = treatment::route(&spec.default_route, "spec.defaultRoute", &secrets, &mut problems);
    let egress_pools = pools::compile(spec, hostname.as_ref(), &secrets, &mut problems);
    // Without a rule there is nothing to defer: such a MailRelay isn't accepted.
    let pools = Pools { of: &spec.egress_pools, relay: fleet, weight: Weight::Invalid };
    let defaults = match &spec.defaults {
        Some(policy) => treatment::policy(policy, "spec.defaults", pools, &mut problems),
        None => PolicyFields::default(),
    };
    let dkim = dkim::compile(&spec.dkim, &secrets, &mut problems);
    let tls_reports = spec.tls_reports.as_ref().and_then(|reports| tls_reports(reports, &mut problems));
    let destinations = spec.allowed_destinations.as_ref();
    let allowed_destinations = destinations.map_or_else(Vec::new, |allowed| {
        names::networks(&allowed.cidrs, "spec.allowedDestinations.cidrs", &mut problems)
    });
    check_allowed_routes(&spec.allowed_routes, &mut problems);
    running::check(spec, &mut problems);
    egress::check(spec.egress.as_ref(), &mut problems);
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
        provider_defaults: match spec.provider_defaults {
            crds::ProviderDefaults::Enabled => ProviderDefaults::Enabled,
            crds::ProviderDefaults::Disabled => ProviderDefaults::Disabled,
        },
        dkim,
        tls_reports,
        egress_pools,
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

/// Whoever answers a report finds the contact; where none is said, that is where reports come from.
fn tls_reports(reports: &crds::TlsReports, problems: &mut Vec<Problem>) -> Option<TlsReporting> {
    let from = treatment::read("spec.tlsReports.from", names::mailbox(&reports.from), problems)?;
    if !from.is_ascii() {
        let problem = Problem::invalid("spec.tlsReports.from", shown(&reports.from), "an address in ASCII");
        problems.push(problem);
        return None;
    }
    Some(TlsReporting {
        organization: reports.organization_name.clone(),
        contact: reports.contact.clone().unwrap_or_else(|| from.to_string()),
        from,
    })
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
    workloads: &Workloads<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Listener> {
    let field = format!("spec.listeners[{index}]");
    let before = problems.len();
    let allowed_clients = one.allowed_clients.as_ref();
    let allowed_clients = allowed_clients.map_or_else(Vec::new, |allowed| {
        clients(allowed, &format!("{field}.allowedClients"), workloads, problems)
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
        allows_pods: one.allowed_clients.as_ref().is_some_and(crds::AllowedClients::names_pods),
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

/// Networks, and the addresses of pods: in an order that doesn't hang on that of the pods.
fn clients(
    allowed: &crds::AllowedClients,
    field: &str,
    workloads: &Workloads<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<IpNet> {
    if *allowed == crds::AllowedClients::default() {
        problems.push(Problem::invalid(field, "nothing", "cidrs, namespaces or pods"));
    }
    let cidrs = allowed.cidrs.as_deref().unwrap_or_default();
    let mut networks = names::networks(cidrs, &format!("{field}.cidrs"), problems);
    networks.extend(workloads.addresses(allowed));
    networks
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
    if one.allowed_clients.is_none() && one.auth.is_none() {
        let problem = Problem::invalid(field, "neither allowedClients nor auth", "one of them");
        problems.push(warn(problem.advise("nobody may relay through this listener")));
    }
    if let Some(all) = allowed.iter().find(|network| network.prefix_len() == 0) {
        let at = format!("{field}.allowedClients.cidrs");
        let problem = Problem::invalid(at, all.to_string(), "networks of your own clients");
        problems.push(warn(problem.advise("anybody who reaches this port may send mail to anybody")));
    }
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

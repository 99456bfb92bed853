//! The two blocks that MailRelays and rules share: where mail goes, how it is treated.
//! **Owns:** their checks and their compiled form. **Never:** which of several wins (route.rs, policy.rs).

use std::time::Duration;

use postrider_crds as crds;
use postrider_mail::{Class, EnhancedCode, ReplyCode};

use super::{Problem, names, pools::Pools, secrets::Secrets, shown};
use crate::{
    config::{HostAddress, Protocol, Rejection, Route, Smarthost, SmarthostHost},
    limits::Rate,
    policy::PolicyFields,
    tls_policy::TlsMode,
};

/// The longest that mail may wait.
const MOST_AGE: Duration = Duration::from_secs(720 * 3600);
/// The shortest wait, and the shortest age.
const LEAST_WAIT: Duration = Duration::from_secs(1);
/// The longest time that a rate counts in.
const MOST_PER: Duration = Duration::from_secs(24 * 3600);
/// The most that a rate counts.
const MOST_COUNTED: u32 = 1_000_000;

/// What a rule that says no reason says.
const HELD: &str = "a rule holds this mail";
const DEFERRED: &str = "a rule defers this mail";

/// Compiles a route; none, if anything about it is wrong.
pub(super) fn route(
    route: &crds::Route,
    field: &str,
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Route> {
    let before = problems.len();
    check_members(route, field, problems);
    let compiled = match route.type_ {
        crds::RouteType::Mx => Some(Route::Mx),
        crds::RouteType::Discard => Some(Route::Discard),
        crds::RouteType::Smarthost => {
            let block = route.smarthost.as_ref();
            block.map(|block| {
                Route::Smarthost(smarthost(block, &format!("{field}.smarthost"), secrets, problems))
            })
        }
        crds::RouteType::Redirect => route.redirect.as_ref().and_then(|redirect| {
            let at = format!("{field}.redirect.to");
            read(&at, names::mailbox(&redirect.to), problems).map(|to| Route::Redirect { to })
        }),
        crds::RouteType::Reject => {
            let rejection = route.reject.clone().unwrap_or_default();
            reject(rejection, &format!("{field}.reject"), problems).map(Route::Reject)
        }
        crds::RouteType::Hold => {
            let reason = route.hold.clone().unwrap_or_default().reason;
            Some(Route::Hold { reason: reason.unwrap_or_else(|| HELD.to_owned()) })
        }
        crds::RouteType::Defer => {
            let reason = route.defer.clone().unwrap_or_default().reason;
            Some(Route::Defer { reason: reason.unwrap_or_else(|| DEFERRED.to_owned()) })
        }
    };
    compiled.filter(|_| problems.len() == before)
}

/// The block that the type needs is there, and no other.
fn check_members(route: &crds::Route, field: &str, problems: &mut Vec<Problem>) {
    use crds::RouteType as Type;
    let members = [
        ("smarthost", Type::Smarthost, route.smarthost.is_some(), true),
        ("redirect", Type::Redirect, route.redirect.is_some(), true),
        ("reject", Type::Reject, route.reject.is_some(), false),
        ("hold", Type::Hold, route.hold.is_some(), false),
        ("defer", Type::Defer, route.defer.is_some(), false),
    ];
    for (name, type_, is_there, is_needed) in members {
        let at = format!("{field}.{name}");
        if route.type_ == type_ && is_needed && !is_there {
            problems.push(Problem::invalid(at, "nothing", format!("it beside type {type_:?}")));
        } else if route.type_ != type_ && is_there {
            let found = format!("it beside type {}", type_name(route.type_));
            problems.push(Problem::invalid(at, found, format!("it with type {type_:?} only")));
        }
    }
}

fn type_name(type_: crds::RouteType) -> String {
    match type_ {
        crds::RouteType::Mx => "MX".to_owned(),
        other => format!("{other:?}"),
    }
}

fn smarthost(
    block: &crds::Smarthost,
    field: &str,
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Smarthost {
    let hosts = block.hosts.iter().enumerate().filter_map(|(index, one)| {
        let at = format!("{field}.hosts[{index}]");
        let host = match one.host.parse() {
            Ok(ip) => HostAddress::Ip(ip),
            Err(_) => HostAddress::Name(read(&format!("{at}.host"), names::host_name(&one.host), problems)?),
        };
        let port = names::port(one.port, &format!("{at}.port"), problems);
        Some(SmarthostHost { host, port, protocol: protocol(one.protocol) })
    });
    let hosts: Vec<SmarthostHost> = hosts.collect();
    if block.hosts.is_empty() {
        problems.push(Problem::invalid(format!("{field}.hosts"), "no entry", "1 to 16"));
    }
    let mode = block.tls.as_ref().map(|tls| tls_mode(tls.mode));
    let mut credentials = None;
    if let Some(auth) = &block.auth {
        if let Some(mode @ (TlsMode::Clear | TlsMode::Opportunistic | TlsMode::Published)) = mode {
            let at = format!("{field}.tls.mode");
            let problem = Problem::invalid(at, format!("{} beside auth", mode.as_str()), "Require or Verify");
            problems.push(problem.advise("passwords are not sent in clear"));
        }
        match secrets.credentials(&auth.credentials_ref, &format!("{field}.auth.credentialsRef")) {
            Ok(found) => credentials = Some(found),
            Err(problem) => problems.push(problem),
        }
    }
    let tls = mode.or_else(|| block.auth.as_ref().map(|_| TlsMode::Verify));
    Smarthost { hosts, tls, credentials }
}

fn reject(block: crds::Reject, field: &str, problems: &mut Vec<Problem>) -> Option<Rejection> {
    let code = u16::try_from(block.code).ok().filter(|code| (500..=599).contains(code));
    let code = code.and_then(|code| ReplyCode::try_from(code).ok());
    if code.is_none() {
        problems.push(Problem::invalid(format!("{field}.code"), block.code.to_string(), "500 to 599"));
    }
    let enhanced = block.enhanced.parse::<EnhancedCode>().ok().filter(|_| block.enhanced.starts_with('5'));
    if enhanced.is_none() {
        let expected = names::expected(crds::text::PERMANENT_CODE);
        problems.push(Problem::invalid(format!("{field}.enhanced"), shown(&block.enhanced), expected));
    }
    if !block.text.bytes().all(|b| (b' '..=b'~').contains(&b)) || block.text.is_empty() {
        let expected = names::expected(crds::text::LINE);
        problems.push(Problem::invalid(format!("{field}.text"), shown(&block.text), expected));
        return None;
    }
    Some(Rejection { code: code?, enhanced: enhanced?, text: block.text })
}

/// Compiles a policy.
pub(super) fn policy(
    policy: &crds::Policy,
    field: &str,
    pools: Pools<'_>,
    problems: &mut Vec<Problem>,
) -> PolicyFields {
    let pool = pools.chosen(policy.egress.as_ref(), field, problems);
    let retry = policy.retry.clone().unwrap_or_default();
    check_retry(&retry, &format!("{field}.retry"), problems);
    let limits = policy.limits.clone().unwrap_or_default();
    PolicyFields {
        class: policy.class.map(class),
        pool,
        retry_initial: retry.initial.map(crds::Duration::get),
        retry_max: retry.max.map(crds::Duration::get),
        retry_max_age: retry.max_age.map(crds::Duration::get),
        retry_delay_notice: retry.delay_notice.map(crds::Duration::get),
        tls: policy.tls.as_ref().map(|tls| tls_mode(tls.mode)),
        ..self::limits(&limits, &format!("{field}.limits"), problems)
    }
}

/// Compiles limits: the fields of them alone.
pub(crate) fn limits(limits: &crds::Limits, field: &str, problems: &mut Vec<Problem>) -> PolicyFields {
    let told = limits.rate.as_ref().map(|rate| (rate.messages, rate.per, rate.burst));
    let rate = self::rate(told, &format!("{field}.rate"), "messages", problems);
    let told = limits.connection_rate.as_ref().map(|rate| (rate.connections, rate.per, rate.burst));
    let connection_rate = self::rate(told, &format!("{field}.connectionRate"), "connections", problems);
    let mut limit = |value: Option<i32>, most: u32, name: &str| {
        value.map(|value| names::bounded(value, most, &format!("{field}.{name}"), problems))
    };
    PolicyFields {
        connections: limit(limits.connections, 1_000, "connections"),
        messages_per_connection: limit(limits.messages_per_connection, 100_000, "messagesPerConnection"),
        recipients_per_message: limit(limits.recipients_per_message, 1_000, "recipientsPerMessage"),
        rate,
        connection_rate,
        ..PolicyFields::default()
    }
}

/// A rate as it is written: how many, in which time, how many at once.
fn rate(
    told: Option<(i32, crds::Duration, Option<i32>)>,
    field: &str,
    counted: &str,
    problems: &mut Vec<Problem>,
) -> Option<Rate> {
    let (count, per, burst) = told?;
    if !(LEAST_WAIT..=MOST_PER).contains(&per.get()) {
        problems.push(Problem::invalid(format!("{field}.per"), per.to_string(), "1s to 24h"));
    }
    let count = names::bounded(count, MOST_COUNTED, &format!("{field}.{counted}"), problems);
    let burst = burst.map(|burst| names::bounded(burst, MOST_COUNTED, &format!("{field}.burst"), problems));
    Some(Rate::new(count, per.get().clamp(LEAST_WAIT, MOST_PER), burst))
}

fn check_retry(retry: &crds::Retry, field: &str, problems: &mut Vec<Problem>) {
    for (name, value) in [("initial", retry.initial), ("max", retry.max), ("maxAge", retry.max_age)] {
        if let Some(value) = value.filter(|value| value.get() < LEAST_WAIT) {
            problems.push(Problem::invalid(format!("{field}.{name}"), value.to_string(), "1s at least"));
        }
    }
    if let Some(age) = retry.max_age.filter(|age| age.get() > MOST_AGE) {
        problems.push(Problem::invalid(format!("{field}.maxAge"), age.to_string(), "720h at most"));
    }
    let pairs = [
        (("initial", retry.initial), ("max", retry.max)),
        (("max", retry.max), ("maxAge", retry.max_age)),
        (("initial", retry.initial), ("maxAge", retry.max_age)),
    ];
    for ((low_name, low), (high_name, high)) in pairs {
        if let (Some(low), Some(high)) = (low, high)
            && low > high
        {
            let found = format!("{low}, more than {high_name} ({high})");
            problems.push(Problem::invalid(format!("{field}.{low_name}"), found, format!("{high} at most")));
            return;
        }
    }
}

/// A value that was read; what is wrong with it is told.
pub(super) fn read<T>(
    field: &str,
    value: Result<T, (String, String)>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    value.map_err(|(found, expected)| problems.push(Problem::invalid(field, found, expected))).ok()
}

pub(super) fn protocol(protocol: crds::Protocol) -> Protocol {
    match protocol {
        crds::Protocol::Smtp => Protocol::Smtp,
        crds::Protocol::Smtps => Protocol::Smtps,
    }
}

fn class(class: crds::Class) -> Class {
    match class {
        crds::Class::Transactional => Class::Transactional,
        crds::Class::Normal => Class::Normal,
        crds::Class::Bulk => Class::Bulk,
    }
}

fn tls_mode(mode: crds::TlsMode) -> TlsMode {
    match mode {
        crds::TlsMode::Clear => TlsMode::Clear,
        crds::TlsMode::Opportunistic => TlsMode::Opportunistic,
        crds::TlsMode::Published => TlsMode::Published,
        crds::TlsMode::Require => TlsMode::Require,
        crds::TlsMode::Verify => TlsMode::Verify,
    }
}

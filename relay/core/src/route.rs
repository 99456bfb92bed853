//! What happens to a mail for one recipient: the same walk at intake, at each attempt and in `explain`.
//! **Owns:** the order of matching rules, the route of the first that has one, the policy of them all. **Never:** hosts (mx.rs),
//! attempts, when to retry. A broken rule keeps its match and defers: mail never falls through it to another door.

use postrider_mail::{Domain, Mailbox};

pub use crate::matcher::Facts;
use crate::{
    config::{Config, HostAddress, Rejection, Route, Rule, RuleName, Smarthost},
    limits::{FleetLimits, Owner},
    matcher::{self, Specificity},
    policy::{Policy, PolicyFields},
};

/// What happens to a mail for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'c> {
    /// The rule whose route it is; none for the MailRelay's default route.
    pub rule: Option<&'c RuleName>,
    /// What to do.
    pub action: Action<'c>,
    /// How it is treated, every field said. Its `tls` is the smarthost's own mode where that has one. Its limits are those of hosts that
    /// are no known provider's: see [`Decision::limits_at`].
    pub policy: Policy,
    /// What rules say of how it is treated.
    pub rules_say: PolicyFields,
}

impl Decision<'_> {
    /// What the lane calls the route: the rule's name, or `default`.
    pub fn route_name(&self) -> &str {
        self.rule.map_or(RuleName::DEFAULT, RuleName::as_str)
    }
}

/// What to do with a mail for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'c> {
    /// Try to deliver it there.
    Try(Target<'c>),
    /// Refuse it at RCPT; bounce it, if it was accepted before.
    Reject(&'c Rejection),
    /// Accept and drop it.
    Discard,
    /// Keep it until a person lets it go.
    Hold {
        /// Why.
        reason: &'c str,
    },
    /// Keep it and look again by the retry schedule (`4.3.5` in reports: the configuration says so).
    Defer {
        /// Why.
        reason: &'c str,
    },
}

/// Where to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'c> {
    /// The exchangers of the recipient's domain.
    Mx,
    /// These hosts.
    Smarthost(&'c Smarthost),
    /// The exchangers of this address's domain; RCPT names this address.
    Redirect(&'c Mailbox),
}

impl<'c> Target<'c> {
    /// The domain whose exchangers are asked for; none for a smarthost.
    pub fn mx_domain<'a>(&'a self, recipient: &'a Mailbox) -> Option<&'a Domain>
    where
        'c: 'a,
    {
        match self {
            Self::Mx => Some(recipient.domain()),
            Self::Redirect(to) => Some(to.domain()),
            Self::Smarthost(_) => None,
        }
    }

    /// Whom RCPT names.
    pub fn recipient<'a>(&'a self, recipient: &'a Mailbox) -> &'a Mailbox
    where
        'c: 'a,
    {
        match self {
            Self::Mx | Self::Smarthost(_) => recipient,
            Self::Redirect(to) => to,
        }
    }
}

impl std::fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mx => f.write_str("MX of the recipient's domain"),
            Self::Redirect(to) => write!(f, "{to}, by its MX"),
            Self::Smarthost(smarthost) => {
                let hosts = smarthost.hosts.iter().map(|one| match &one.host {
                    HostAddress::Ip(std::net::IpAddr::V6(ip)) => format!("[{ip}]:{}", one.port),
                    host => format!("{host}:{}", one.port),
                });
                f.write_str(&hosts.collect::<Vec<_>>().join(", then "))
            }
        }
    }
}

/// What senders read of a broken rule.
pub const BROKEN: &str = "the route of this mail is not configured correctly";

/// Decides for one recipient.
pub fn decide<'c>(config: &'c Config, facts: &Facts<'_>) -> Decision<'c> {
    let matching = matching(config, facts);
    let routing = matching.iter().map(|found| found.rule).find(|rule| routes(rule));
    let rules_say = matching.iter().fold(PolicyFields::default(), |said, found| said.or(&found.rule.policy));
    let mut policy = rules_say.or(&config.defaults).complete();
    if policy.limits.fleet.is_any() {
        name_owners(&mut policy.limits.fleet, &matching);
    }
    let action = match routing {
        Some(rule) => action_of(rule, &config.default_route),
        None => action(&config.default_route),
    };
    if let Action::Try(Target::Smarthost(Smarthost { tls: Some(mode), .. })) = action {
        policy.tls = *mode;
    }
    Decision { rule: routing.map(|rule| &rule.name), action, policy, rules_say }
}

/// Says whose the fleet's limits are: what one rule sets is counted apart from what another one does.
fn name_owners(limits: &mut FleetLimits, matching: &[Matching<'_>]) {
    let owner = |says: fn(&PolicyFields) -> bool| {
        let rule = matching.iter().map(|found| found.rule).find(|rule| says(&rule.policy));
        rule.map_or_else(Owner::default, |rule| Owner::rule(&rule.name))
    };
    if let Some(owned) = &mut limits.connections {
        owned.owner = owner(|fields| fields.connections.is_some());
    }
    if let Some(owned) = &mut limits.messages {
        owned.owner = owner(|fields| fields.rate.is_some());
    }
    if let Some(owned) = &mut limits.new_connections {
        owned.owner = owner(|fields| fields.connection_rate.is_some());
    }
}

/// A rule that matches a mail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matching<'c> {
    pub(crate) rule: &'c Rule,
    pub(crate) specificity: Specificity,
}

/// The rules that match, in the order in which they are asked: by priority, then by how exactly they name the mail, then by
/// age and name (their order in the configuration).
pub(crate) fn matching<'c>(config: &'c Config, facts: &Facts<'_>) -> Vec<Matching<'c>> {
    let rules = config.rules.as_slice();
    let mut found: Vec<Matching<'c>> = config
        .rules
        .index()
        .candidates(facts)
        .into_iter()
        .filter_map(|position| rules.get(usize::try_from(position).ok()?))
        .filter_map(|rule| Some(Matching { rule, specificity: matcher::find(rule, facts)? }))
        .collect();
    // Stable: what is equal here stays in the configuration's order.
    found.sort_by_key(|one| std::cmp::Reverse((one.rule.priority, one.specificity)));
    found
}

/// Whether a rule ends the search for a route. A broken one does: where its mail goes isn't known.
pub(crate) fn routes(rule: &Rule) -> bool {
    rule.route.is_some() || rule.broken.is_some()
}

fn action_of<'c>(rule: &'c Rule, default_route: &'c Route) -> Action<'c> {
    match (&rule.broken, &rule.route) {
        // What exactly is wrong is for those who run the relay (`explain`, status), not for those who send.
        (Some(_), _) => Action::Defer { reason: BROKEN },
        (None, Some(route)) => action(route),
        (None, None) => action(default_route),
    }
}

fn action(route: &Route) -> Action<'_> {
    match route {
        Route::Mx => Action::Try(Target::Mx),
        Route::Smarthost(smarthost) => Action::Try(Target::Smarthost(smarthost)),
        Route::Redirect { to } => Action::Try(Target::Redirect(to)),
        Route::Reject(rejection) => Action::Reject(rejection),
        Route::Discard => Action::Discard,
        Route::Hold { reason } => Action::Hold { reason },
        Route::Defer { reason } => Action::Defer { reason },
    }
}

#[cfg(test)]
mod tests;

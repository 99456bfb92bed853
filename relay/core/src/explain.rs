//! The walk of route.rs, told step by step: which rules were asked, what each said, where each value comes from.
//! **Owns:** the telling. **Never:** decides: [`Explanation::decision`] is [`route::decide`]'s own.

use std::{fmt, time::Duration};

use postrider_mail::HostName;

use crate::{
    config::{Config, Rule, RuleName},
    egress::Pool,
    matcher,
    policy::PolicyFields,
    providers,
    route::{self, Action, Decision, Facts},
};

/// Rules that don't match are told of up to here.
const MOST_SKIPPED: usize = 20;

/// What happens to a mail for one recipient, and why.
#[derive(Debug, Clone)]
pub struct Explanation<'c> {
    /// The mail, in words.
    pub mail: String,
    /// The rules that match, in the order in which they are asked.
    pub asked: Vec<Asked<'c>>,
    /// Rules that don't match, with why; the first of them.
    pub skipped: Vec<(&'c RuleName, String)>,
    /// How many don't match.
    pub skipped_count: usize,
    /// What happens.
    pub decision: Decision<'c>,
    /// Each field of the policy: name, value, who said it.
    pub policy: Vec<(&'static str, String, String)>,
    /// The sources that it leaves by, where a policy says so.
    pub pool: Option<&'c Pool>,
    /// Whether the fleet is paused.
    pub is_paused: bool,
    /// Who says something of the policy, the first first.
    sources: Vec<(String, PolicyFields)>,
}

/// A rule that matches.
#[derive(Debug, Clone)]
pub struct Asked<'c> {
    /// Which.
    pub rule: &'c RuleName,
    /// Its priority.
    pub priority: i32,
    /// By what it matches: `recipient domain`, `every mail`, …
    pub by: String,
    /// What it says, and what of that counts.
    pub says: String,
}

/// Explains what happens to a mail for one recipient.
pub fn explain<'c>(config: &'c Config, facts: &Facts<'_>) -> Explanation<'c> {
    let matching = route::matching(config, facts);
    let routing = matching.iter().position(|found| route::routes(found.rule));
    let asked = matching.iter().enumerate().map(|(position, found)| Asked {
        rule: &found.rule.name,
        priority: found.rule.priority,
        by: matcher::told(found.rule, facts),
        says: said(found.rule, routing.is_some_and(|routing| routing < position)),
    });
    let asked: Vec<Asked<'c>> = asked.collect();
    let rules = config.rules.as_slice().iter();
    let skipped = rules.filter(|rule| matcher::find(rule, facts).is_none());
    let skipped: Vec<&Rule> = skipped.collect();
    let decision = route::decide(config, facts);
    let sources = matching.iter().map(|found| (format!("rule {}", found.rule.name), found.rule.policy));
    let sources: Vec<(String, PolicyFields)> =
        sources.chain([("spec.defaults".to_owned(), config.defaults)]).collect();
    let pool = decision.policy.pool.and_then(|number| config.pool(number));
    let mut policy = policy(&decision, &sources);
    if let Some(number) = decision.policy.pool {
        let by = said_by(&sources, |fields| fields.pool.is_some());
        policy.push((
            "egress.pool",
            pool.map_or_else(|| number.index().to_string(), |pool| pool.name.to_string()),
            by,
        ));
    }
    Explanation {
        mail: mail(facts),
        asked,
        skipped: skipped
            .iter()
            .take(MOST_SKIPPED)
            .map(|rule| (&rule.name, matcher::mismatch(rule, facts)))
            .collect(),
        skipped_count: skipped.len(),
        policy,
        pool,
        decision,
        is_paused: config.is_paused(),
        sources,
    }
}

impl Explanation<'_> {
    /// The same, now that its hosts are known: a provider's limits go before those of `spec.defaults`.
    #[must_use]
    pub fn at<'a>(mut self, config: &Config, hosts: impl IntoIterator<Item = &'a HostName>) -> Self {
        if let Some(provider) = providers::of_decision(config, &self.decision, hosts) {
            let source = (format!("provider {} ({})", provider.name, providers::ORIGIN), provider.limits);
            self.sources.insert(self.sources.len().saturating_sub(1), source);
            self.decision.policy.limits = self.decision.limits_at(Some(provider), &config.defaults);
            self.policy = policy(&self.decision, &self.sources);
        }
        self
    }
}

fn mail(facts: &Facts<'_>) -> String {
    let sender = facts.sender.mailbox().map_or_else(|| "<>".to_owned(), ToString::to_string);
    let mut text = format!("from {sender} to {}", facts.recipient);
    if let Some(listener) = facts.listener {
        text.push_str(&format!(", in by listener {listener}"));
    }
    if let Some(client) = facts.client {
        text.push_str(&format!(" from {client}"));
    }
    if let Some(user) = facts.user {
        text.push_str(&format!(" as user {user}"));
    }
    text
}

fn said(rule: &Rule, is_late: bool) -> String {
    if let Some(broken) = &rule.broken {
        return format!("broken, so its mail is deferred: {broken}");
    }
    match (&rule.route, is_late) {
        (Some(route), false) => format!("route {}", route.type_name()),
        (Some(route), true) => format!("route {} (a rule before it has routed the mail)", route.type_name()),
        (None, _) => "policy only".to_owned(),
    }
}

/// Each field with who said it.
fn policy(
    decision: &Decision<'_>,
    sources: &[(String, PolicyFields)],
) -> Vec<(&'static str, String, String)> {
    let by = |has: fn(&PolicyFields) -> bool| said_by(sources, has);
    let policy = &decision.policy;
    let own_tls = match &decision.action {
        Action::Try(route::Target::Smarthost(smarthost)) => smarthost.tls.is_some(),
        _ => false,
    };
    let tls_by = if own_tls { "the route".to_owned() } else { by(|fields| fields.tls.is_some()) };
    let notice = policy.retry.delay_notice.map_or_else(|| "none".to_owned(), duration);
    let mut told = vec![
        ("class", policy.class.to_string(), by(|fields| fields.class.is_some())),
        ("tls.mode", policy.tls.as_str().to_owned(), tls_by),
        ("retry.initial", duration(policy.retry.initial), by(|fields| fields.retry_initial.is_some())),
        ("retry.max", duration(policy.retry.max), by(|fields| fields.retry_max.is_some())),
        ("retry.maxAge", duration(policy.retry.max_age), by(|fields| fields.retry_max_age.is_some())),
        ("retry.delayNotice", notice, by(|fields| fields.retry_delay_notice.is_some())),
        (
            "limits.connections",
            policy.limits.connections.to_string(),
            by(|fields| fields.connections.is_some()),
        ),
        (
            "limits.messagesPerConnection",
            policy.limits.messages_per_connection.to_string(),
            by(|fields| fields.messages_per_connection.is_some()),
        ),
        (
            "limits.recipientsPerMessage",
            policy.limits.recipients_per_message.to_string(),
            by(|fields| fields.recipients_per_message.is_some()),
        ),
    ];
    let fleet = &policy.limits.fleet;
    let rates = [
        ("limits.rate", fleet.messages, by(|fields| fields.rate.is_some())),
        ("limits.connectionRate", fleet.new_connections, by(|fields| fields.connection_rate.is_some())),
    ];
    told.extend(rates.into_iter().filter_map(|(name, owned, by)| Some((name, owned?.limit.to_string(), by))));
    told
}

fn said_by(sources: &[(String, PolicyFields)], has: fn(&PolicyFields) -> bool) -> String {
    let found = sources.iter().find(|(_, fields)| has(fields));
    found.map_or_else(|| "built-in default".to_owned(), |(who, _)| who.clone())
}

fn duration(duration: Duration) -> String {
    postrider_crds::Duration::from(duration).to_string()
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "mail {}", self.mail)?;
        writeln!(f, "\nrules")?;
        if self.asked.is_empty() {
            writeln!(f, "  none matches")?;
        }
        let width = self.asked.iter().map(|one| one.rule.as_str().len()).max().unwrap_or(0);
        for one in &self.asked {
            let name = one.rule.as_str();
            writeln!(f, "  {name:width$}  priority {}, by {}: {}", one.priority, one.by, one.says)?;
        }
        if self.skipped_count > 0 {
            writeln!(f, "\nnot for this mail ({})", self.skipped_count)?;
            let width = self.skipped.iter().map(|(name, _)| name.as_str().len()).max().unwrap_or(0);
            for (name, why) in &self.skipped {
                let name = name.as_str();
                writeln!(f, "  {name:width$}  {why}")?;
            }
            if self.skipped_count > self.skipped.len() {
                writeln!(f, "  … and {} more", self.skipped_count - self.skipped.len())?;
            }
        }
        writeln!(f, "\nroute")?;
        let by =
            self.decision.rule.map_or_else(|| "spec.defaultRoute".to_owned(), |rule| format!("rule {rule}"));
        writeln!(f, "  {}  ({by})", Told(&self.decision.action))?;
        if self.is_paused {
            writeln!(f, "  but spec.delivery is Paused: mail is accepted and waits")?;
        }
        writeln!(f, "\npolicy")?;
        for (name, value, by) in &self.policy {
            writeln!(f, "  {name:28}  {value:13}  {by}")?;
        }
        self.pool.map_or(Ok(()), |pool| sources(f, pool))
    }
}

/// The sources of a pool, each with its share.
fn sources(f: &mut fmt::Formatter<'_>, pool: &Pool) -> fmt::Result {
    writeln!(f, "\nsources of pool {}, of which each message takes one", pool.name)?;
    if pool.sources.is_empty() {
        writeln!(f, "  none can be used: its mail waits")?;
    }
    let width = pool.sources.iter().map(|source| source.name.len()).max().unwrap_or(0);
    for source in &pool.sources {
        let share = f64::from(source.weight) * 100.0 / f64::from(pool.weight().max(1));
        let family = source.family.map_or_else(String::new, |family| format!(", to {family} only"));
        let (name, hostname, way) = (&source.name, &source.hostname, &source.way);
        writeln!(f, "  {name:width$}  {share:5.1} %  as {hostname}, {way}{family}")?;
        if let Some(plan) = &source.warm_up {
            writeln!(f, "  {:width$}           warm-up: {plan}", "")?;
        }
    }
    Ok(())
}

struct Told<'a>(&'a Action<'a>);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Action::Try(target) => write!(f, "deliver to {target}"),
            Action::Reject(rejection) => {
                write!(f, "reject: {} {} {}", rejection.code, rejection.enhanced, rejection.text)
            }
            Action::Discard => f.write_str("accept and discard"),
            Action::Hold { reason } => write!(f, "hold until released: {reason}"),
            Action::Defer { reason } => write!(f, "defer: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests;

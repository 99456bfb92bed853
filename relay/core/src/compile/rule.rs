//! A RoutingRule, as one MailRelay sees it.
//! **Owns:** whether it may attach, over which mail, what it then says. **Never:** which of several rules wins (route.rs).
//! Authority comes first: what isn't allowed has no effect, or any namespace could stop all mail.

use postrider_crds::{self as crds, MailRelay, RoutingRule, status::reasons};
use postrider_mail::{Mailbox, ReversePath};

use super::{
    Effect, Problem, Subject, Verdict, Weight, names, pools::Pools, secrets::Secrets, shown, treatment,
};
use crate::{
    config::{DomainSet, Fleet, Route, Rule, RuleName, Scope},
    manifests::{Resources, name_of, namespace_of},
    matcher::{DomainPattern, Match},
    policy::PolicyFields,
};

pub(super) struct Context<'r> {
    pub(super) resources: &'r Resources,
    pub(super) relay: &'r MailRelay,
    pub(super) fleet: &'r Fleet,
}

pub(super) struct CompiledRule {
    /// None, if it has no effect.
    pub(super) rule: Option<Rule>,
    pub(super) verdict: Verdict,
}

pub(super) fn subject_of(rule: &RoutingRule) -> Subject {
    Subject {
        kind: "RoutingRule",
        namespace: namespace_of(&rule.metadata).to_owned(),
        name: name_of(&rule.metadata).to_owned(),
    }
}

/// Compiles a rule; none, if it doesn't name this MailRelay.
pub(super) fn compile(context: &Context<'_>, rule: &RoutingRule) -> Option<CompiledRule> {
    let namespace = namespace_of(&rule.metadata);
    let is_ours = |parent: &crds::routing_rule::ParentRef| {
        parent.name == context.fleet.name
            && parent.namespace.as_deref().unwrap_or(namespace) == context.fleet.namespace
    };
    if !rule.spec.parent_refs.iter().any(is_ours) {
        return None;
    }
    let mut problems = Vec::new();
    let listeners = listeners_of(context, rule, &is_ours, &mut problems);
    let matches = rule.spec.matches.iter().enumerate();
    let matches: Vec<Match> =
        matches.map(|(index, one)| compile_match(context, one, index, &mut problems)).collect();
    let allowed = allowed_senders(context, rule, &matches);
    let verdict =
        |effect, problems| Verdict::new(subject_of(rule), rule.metadata.generation, effect, problems);
    let sender_domains = match allowed {
        Ok(sender_domains) => sender_domains,
        Err(problem) => {
            problems.push(problem);
            return Some(CompiledRule { rule: None, verdict: verdict(Effect::None, problems) });
        }
    };
    if listeners.as_ref().is_some_and(Vec::is_empty) {
        return Some(CompiledRule { rule: None, verdict: verdict(Effect::None, problems) });
    }
    let (route, policy) = treatment_of(context, rule, &mut problems);
    let broken = worst(&problems);
    let effect = if broken.is_some() { Effect::Defers } else { Effect::Applies };
    let compiled = Rule {
        name: RuleName::new(&context.fleet.namespace, namespace, name_of(&rule.metadata)),
        priority: rule.spec.priority,
        created: rule.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        matches,
        scope: Scope { listeners, sender_domains },
        route,
        policy,
        broken,
    };
    Some(CompiledRule { rule: Some(compiled), verdict: verdict(effect, problems) })
}

/// What makes a rule defer: anything but a warning, or a parent that isn't there (whose mail isn't either).
fn worst(problems: &[Problem]) -> Option<String> {
    let breaks = |problem: &&Problem| !problem.is_warning() && problem.reason != reasons::NO_MATCHING_PARENT;
    problems.iter().find(breaks).map(ToString::to_string)
}

/// The listeners that `parentRefs` names; all of them where one has no sectionName.
fn listeners_of(
    context: &Context<'_>,
    rule: &RoutingRule,
    is_ours: &impl Fn(&crds::routing_rule::ParentRef) -> bool,
    problems: &mut Vec<Problem>,
) -> Option<Vec<String>> {
    let mut named = Vec::new();
    for (index, parent) in rule.spec.parent_refs.iter().enumerate().filter(|(_, parent)| is_ours(parent)) {
        let Some(section) = &parent.section_name else { return None };
        if is_listener(context, section) {
            named.push(section.clone());
        } else {
            let field = format!("spec.parentRefs[{index}].sectionName");
            problems.push(no_listener(context, section, field, reasons::NO_MATCHING_PARENT));
        }
    }
    named.sort();
    named.dedup();
    Some(named)
}

fn is_listener(context: &Context<'_>, name: &str) -> bool {
    context.relay.spec.listeners.iter().any(|listener| listener.name == name)
}

fn no_listener(context: &Context<'_>, name: &str, field: String, reason: &'static str) -> Problem {
    let known: Vec<&str> = context.relay.spec.listeners.iter().map(|one| one.name.as_str()).collect();
    let found = format!("no listener {} of MailRelay {}", shown(name), context.fleet);
    Problem::invalid(field, found, format!("one of {}", known.join(", ")))
        .because(Weight::Unresolved, reason)
        .or_did_you_mean(name, known)
}

fn compile_match(
    context: &Context<'_>,
    one: &crds::Match,
    index: usize,
    problems: &mut Vec<Problem>,
) -> Match {
    let field = |name: &str| format!("spec.matches[{index}].{name}");
    let clients = one.clients.clone().unwrap_or_default();
    for (position, name) in one.listeners.iter().flatten().enumerate() {
        if !is_listener(context, name) {
            let at = field(&format!("listeners[{position}]"));
            problems.push(no_listener(context, name, at, reasons::LISTENER_NOT_FOUND));
        }
    }
    let mut read_patterns = |values: &Option<Vec<String>>, name: &str| {
        values.as_ref().map(|values| names::patterns(values, &field(name), problems))
    };
    let recipient_domains = read_patterns(&one.recipient_domains, "recipientDomains");
    let sender_domains = read_patterns(&one.sender_domains, "senderDomains");
    Match {
        recipient_domains,
        sender_domains,
        recipients: one.recipients.as_ref().map(|all| names::mailboxes(all, &field("recipients"), problems)),
        senders: one.senders.as_ref().map(|all| names::senders(all, &field("senders"), problems)),
        listeners: one.listeners.clone(),
        client_cidrs: clients.cidrs.map(|all| names::networks(&all, &field("clients.cidrs"), problems)),
        client_users: clients.users,
    }
}

fn treatment_of(
    context: &Context<'_>,
    rule: &RoutingRule,
    problems: &mut Vec<Problem>,
) -> (Option<Route>, PolicyFields) {
    let secrets = Secrets { resources: context.resources, namespace: namespace_of(&rule.metadata) };
    if rule.spec.route.is_none() && rule.spec.policy.is_none() {
        problems.push(Problem::invalid("spec", "neither route nor policy", "one of them or both"));
    }
    let route = rule.spec.route.as_ref();
    let route = route.and_then(|route| treatment::route(route, "spec.route", &secrets, problems));
    let policy = rule.spec.policy.as_ref();
    let pools = &context.relay.spec.egress_pools;
    let pools = Pools { of: pools, relay: context.fleet, weight: Weight::Unresolved };
    let policy = policy.map(|policy| treatment::policy(policy, "spec.policy", pools, problems));
    (route, policy.unwrap_or_default())
}

/// The sender domains that `allowedRoutes` confines the rule to, if any; or why it isn't let in.
fn allowed_senders(
    context: &Context<'_>,
    rule: &RoutingRule,
    matches: &[Match],
) -> Result<Option<DomainSet>, Problem> {
    let namespace = namespace_of(&rule.metadata);
    let refuse = |field: &str, found: String, expected: String| {
        let problem = Problem::invalid(field, found, expected);
        problem.because(Weight::NotAllowed, reasons::NOT_ALLOWED)
    };
    let rights = context.relay.spec.allowed_routes.iter();
    let mut rights: Vec<&crds::AllowedRoutes> =
        rights.filter(|right| is_namespace(context, right, namespace)).collect();
    if rights.is_empty() {
        let expected = format!("one that allowedRoutes of MailRelay {} lets in", context.fleet);
        return Err(refuse("metadata.namespace", namespace.to_owned(), expected));
    }
    let most = rights.iter().map(|right| right.max_priority.unwrap_or(i32::MAX)).max().unwrap_or(i32::MAX);
    let priority = rule.spec.priority;
    rights.retain(|right| right.max_priority.is_none_or(|most| priority <= most));
    if rights.is_empty() {
        let expected = format!("{most} at most, as allowedRoutes of MailRelay {} has it", context.fleet);
        return Err(refuse("spec.priority", priority.to_string(), expected));
    }
    let confined: Option<Vec<&Vec<String>>> =
        rights.iter().map(|right| right.sender_domains.as_ref()).collect();
    let Some(confined) = confined else { return Ok(None) };
    let allowed: Vec<DomainPattern> =
        confined.into_iter().flatten().filter_map(|pattern| pattern.parse().ok()).collect();
    match reach_beyond(matches, &allowed) {
        None => Ok(Some(DomainSet(allowed))),
        Some((field, found)) => {
            let all: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let expected = format!(
                "senders within {}, as allowedRoutes of MailRelay {} has it",
                all.join(", "),
                context.fleet
            );
            Err(refuse(&field, found, expected))
        }
    }
}

fn is_namespace(context: &Context<'_>, right: &crds::AllowedRoutes, namespace: &str) -> bool {
    match (right.namespaces.from, &right.namespaces.selector) {
        (crds::NamespacesFrom::Same, _) => namespace == context.fleet.namespace,
        (crds::NamespacesFrom::All, _) => true,
        (crds::NamespacesFrom::Selector, None) => false,
        (crds::NamespacesFrom::Selector, Some(selector)) => {
            context.resources.is_namespace(selector, namespace)
        }
    }
}

/// The first value of a sender that isn't within what is allowed.
fn reach_beyond(matches: &[Match], allowed: &[DomainPattern]) -> Option<(String, String)> {
    let is_within = |pattern: &DomainPattern| allowed.iter().any(|outer| outer.covers(pattern));
    let of = |mailbox: &Mailbox| DomainPattern::Exact(mailbox.domain().clone());
    for (index, one) in matches.iter().enumerate() {
        for (position, pattern) in one.sender_domains.iter().flatten().enumerate() {
            if !is_within(pattern) {
                let field = format!("spec.matches[{index}].senderDomains[{position}]");
                return Some((field, shown(&pattern.to_string())));
            }
        }
        for (position, sender) in one.senders.iter().flatten().enumerate() {
            let (is_in, text) = match sender {
                ReversePath::Null => (false, "<>".to_owned()),
                ReversePath::Mailbox(mailbox) => (is_within(&of(mailbox)), mailbox.to_string()),
            };
            if !is_in {
                return Some((format!("spec.matches[{index}].senders[{position}]"), shown(&text)));
            }
        }
    }
    None
}

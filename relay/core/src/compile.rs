//! From resources to a configuration, with a verdict for each of them.
//! **Owns:** what resources mean together. **Never:** where they come from, what is done about a verdict.
//! Checks what the schema's CEL rules say, too: manifests and old objects have seen no API server of this version.
//! A broken rule, or one whose Secret is missing, keeps its match and defers. One that isn't allowed in has no effect at all.

mod conflict;
mod dkim;
mod egress;
mod names;
mod pools;
mod queue;
mod relay;
mod report;
mod rule;
mod running;
mod secrets;
mod treatment;
mod verdict;
mod workloads;

use postrider_crds::{MailRelay, status::reasons};

pub use report::{Report, report};
pub(crate) use treatment::limits;
pub(crate) use verdict::shown;
pub use verdict::{Effect, Problem, Subject, Verdict, Weight, near_miss};

use crate::{
    config::{Config, Fleet},
    manifests::{Resources, name_of, namespace_of},
};

/// What compiling for one MailRelay gave.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The configuration; none, if the MailRelay itself can't be used. The last good one then stays.
    pub config: Option<Config>,
    /// What is to be said of the MailRelay.
    pub relay: Verdict,
    /// What is to be said of each rule that names it, in the order of the resources.
    pub rules: Vec<Verdict>,
}

impl Compiled {
    /// All verdicts, the MailRelay's first.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        std::iter::once(&self.relay).chain(&self.rules)
    }
}

/// Whose configuration a MailRelay's is.
pub fn fleet_of(relay: &MailRelay) -> Fleet {
    Fleet {
        namespace: namespace_of(&relay.metadata).to_owned(),
        name: name_of(&relay.metadata).to_owned(),
        uid: relay.metadata.uid.clone(),
    }
}

/// Compiles one MailRelay with the rules that name it.
pub fn compile(resources: &Resources, relay: &MailRelay) -> Compiled {
    let fleet = fleet_of(relay);
    let relay_part = relay::compile(resources, relay, &fleet);
    let context = rule::Context { resources, relay, fleet: &fleet };
    let mut rules: Vec<rule::CompiledRule> =
        resources.rules.iter().filter_map(|rule| rule::compile(&context, rule)).collect();
    conflict::tell(&mut rules);
    let (mut verdicts, mut compiled) = (Vec::new(), Vec::new());
    for rule in rules {
        compiled.extend(rule.rule);
        verdicts.push(rule.verdict);
    }
    let is_usable = relay_part.problems.iter().all(|problem| problem.weight != Weight::Invalid);
    let config = relay_part.parts.filter(|_| is_usable).map(|mut parts| {
        parts.rules = compiled;
        Config::from(parts)
    });
    let effect = if config.is_some() { Effect::Applies } else { Effect::None };
    let subject = Subject { kind: "MailRelay", namespace: fleet.namespace, name: fleet.name };
    let relay = Verdict::new(subject, relay.metadata.generation, effect, relay_part.problems);
    Compiled { config, relay, rules: verdicts }
}

/// Compiles every MailRelay; also tells of rules that name none that is there. What `check` prints.
pub fn check(resources: &Resources) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for relay in &resources.relays {
        let compiled = compile(resources, relay);
        verdicts.push(compiled.relay);
        verdicts.extend(compiled.rules);
    }
    verdicts.extend(resources.rules.iter().filter_map(|rule| without_parent(resources, rule)));
    verdicts
}

fn without_parent(resources: &Resources, rule: &postrider_crds::RoutingRule) -> Option<Verdict> {
    let namespace = namespace_of(&rule.metadata);
    let is_there = |relay_namespace: &str, name: &str| {
        let same = |relay: &MailRelay| {
            namespace_of(&relay.metadata) == relay_namespace && name_of(&relay.metadata) == name
        };
        resources.relays.iter().any(same)
    };
    let mut problems = Vec::new();
    for (index, parent) in rule.spec.parent_refs.iter().enumerate() {
        let wanted = parent.namespace.as_deref().unwrap_or(namespace);
        if is_there(wanted, &parent.name) {
            continue;
        }
        let known = resources.relays.iter().map(|relay| name_of(&relay.metadata));
        let field = format!("spec.parentRefs[{index}]");
        problems.push(Problem { field, ..no_such_relay(wanted, &parent.name, known) });
    }
    if problems.is_empty() {
        return None;
    }
    Some(Verdict::new(rule::subject_of(rule), rule.metadata.generation, Effect::None, problems))
}

/// What is to be said of a reference to a MailRelay that isn't there. `known` are the names of those that are.
pub fn no_such_relay<'a>(namespace: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Problem {
    let found = format!("no MailRelay {} in namespace {namespace}", shown(name));
    Problem::invalid("spec.parentRefs", found, "a MailRelay that is there")
        .because(Weight::Unresolved, reasons::NO_MATCHING_PARENT)
        .or_did_you_mean(name, known)
}

#[cfg(test)]
mod tests;

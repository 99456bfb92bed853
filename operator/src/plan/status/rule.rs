//! What a RoutingRule's status says: what each MailRelay makes of it. Pure.
//! **Owns:** its parents' conditions and `Ready`. **Never:** anything that changes because another rule did: one edit among ten thousand rules is one
//! rule's status.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use postrider_core::compile::{Effect, Problem, Verdict, Weight};
use postrider_crds::{
    ParentStatus, RoutingRule, RoutingRuleStatus,
    routing_rule::ParentRef,
    status::{CONTROLLER_NAME, conditions as types, reasons},
};

use super::{
    conditions::{Say, keep_times},
    told,
};
use crate::names::Key;

/// What one MailRelay makes of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What core says.
    pub verdict: Verdict,
    /// Whether every ready pod runs it as it is; none, if nobody knows yet.
    pub is_programmed: Option<bool>,
}

/// What is known of a parent.
#[derive(Debug, Clone, PartialEq)]
pub enum Parent {
    /// Its namespace isn't watched: somebody else speaks of it.
    NotOurs,
    /// It isn't there.
    Missing(Problem),
    /// It is there and hasn't been looked at since the rule changed.
    Pending,
    /// What it makes of the rule.
    Told(Box<Outcome>),
}

/// The status. `parents` has an entry for each MailRelay that the rule names.
pub fn rule_status(rule: &RoutingRule, parents: &BTreeMap<Key, Parent>, now: &Time) -> RoutingRuleStatus {
    let before = rule.status.clone().unwrap_or_default();
    let own = rule.metadata.namespace.as_deref().unwrap_or_default();
    let mut all: Vec<ParentStatus> =
        before.parents.iter().filter(|known| known.controller_name != CONTROLLER_NAME).cloned().collect();
    let mut ready = Say::yes(types::READY, reasons::READY, String::new());
    for (index, parent_ref) in rule.spec.parent_refs.iter().enumerate() {
        let key = Key::new(parent_ref.namespace.as_deref().unwrap_or(own), parent_ref.name.clone());
        let known = before
            .parents
            .iter()
            .find(|known| known.controller_name == CONTROLLER_NAME && known.parent_ref == *parent_ref);
        let known = known.map(|known| known.conditions.as_slice()).unwrap_or_default();
        let said = match parents.get(&key) {
            None | Some(Parent::NotOurs) => continue,
            Some(Parent::Pending) => pending(),
            Some(Parent::Missing(problem)) => missing(problem, index),
            Some(Parent::Told(outcome)) => {
                outcome_of(outcome, index, was_programmed(known, rule.metadata.generation))
            }
        };
        if let Some(bad) = said.iter().find(|say| !say.is_true()).filter(|_| ready.is_true()) {
            ready = Say::no(types::READY, bad.reason, format!("{key}: {}", bad.message));
        }
        all.push(parent_status(parent_ref, said, rule.metadata.generation, known, now));
    }
    let mut conditions = vec![ready.condition(rule.metadata.generation, now)];
    keep_times(&mut conditions, &before.conditions);
    RoutingRuleStatus { observed_generation: rule.metadata.generation, parents: all, conditions }
}

fn parent_status(
    parent_ref: &ParentRef,
    said: Vec<Say>,
    generation: Option<i64>,
    known: &[Condition],
    now: &Time,
) -> ParentStatus {
    let mut conditions: Vec<Condition> = said.into_iter().map(|say| say.condition(generation, now)).collect();
    keep_times(&mut conditions, known);
    ParentStatus { parent_ref: parent_ref.clone(), controller_name: CONTROLLER_NAME.to_owned(), conditions }
}

fn was_programmed(known: &[Condition], generation: Option<i64>) -> bool {
    let programmed = known.iter().find(|one| one.type_ == types::PROGRAMMED);
    programmed.is_some_and(|one| one.status == "True" && one.observed_generation == generation)
}

fn pending() -> Vec<Say> {
    let wait = "not looked at yet";
    vec![
        Say::unknown(types::ACCEPTED, reasons::PENDING, wait),
        Say::unknown(types::RESOLVED_REFS, reasons::PENDING, wait),
        Say::no(types::PROGRAMMED, reasons::PENDING, wait.to_owned()),
    ]
}

fn missing(problem: &Problem, index: usize) -> Vec<Say> {
    let problem = Problem { field: format!("spec.parentRefs[{index}]"), ..problem.clone() };
    vec![
        Say::no(types::ACCEPTED, problem.reason, problem.to_string()),
        Say::unknown(types::RESOLVED_REFS, reasons::PENDING, "there is no MailRelay to say so"),
        Say::no(types::PROGRAMMED, problem.reason, "there is no MailRelay to run it".to_owned()),
    ]
}

fn outcome_of(outcome: &Outcome, index: usize, was_programmed: bool) -> Vec<Say> {
    let verdict = &outcome.verdict;
    // What is wrong with another reference is that one's to say.
    let concerns = |problem: &&Problem| {
        let other = problem.field.strip_prefix("spec.parentRefs[").and_then(|rest| rest.split(']').next());
        other.is_none_or(|number| number.parse() == Ok(index))
    };
    let problems: Vec<&Problem> = verdict.problems.iter().filter(concerns).collect();
    let is_refused = |problem: &&&Problem| {
        matches!(problem.weight, Weight::Invalid | Weight::NotAllowed)
            || problem.reason == reasons::NO_MATCHING_PARENT
    };
    let refused: Vec<&Problem> = problems.iter().filter(is_refused).copied().collect();
    let unresolved: Vec<&Problem> = problems
        .iter()
        .filter(|problem| problem.weight == Weight::Unresolved && !is_refused(problem))
        .copied()
        .collect();
    let warnings: Vec<&Problem> = problems.iter().filter(|problem| problem.is_warning()).copied().collect();
    let waits = if verdict.effect == Effect::Defers { "\nIts mail waits." } else { "" };
    let accepted = match (refused.first(), warnings.first()) {
        (Some(first), _) => Say::no(types::ACCEPTED, first.reason, format!("{}{waits}", told(&refused))),
        (None, Some(first)) => Say::yes(types::ACCEPTED, first.reason, told(&warnings)),
        (None, None) => Say::yes(types::ACCEPTED, reasons::ACCEPTED, String::new()),
    };
    let resolved = match unresolved.first() {
        Some(first) => Say::no(types::RESOLVED_REFS, first.reason, format!("{}{waits}", told(&unresolved))),
        None => Say::yes(types::RESOLVED_REFS, reasons::RESOLVED_REFS, String::new()),
    };
    let programmed = if verdict.effect == Effect::None {
        Say::no(types::PROGRAMMED, accepted.reason, "it has no effect".to_owned())
    } else if outcome.is_programmed.unwrap_or(was_programmed) {
        Say::yes(types::PROGRAMMED, reasons::PROGRAMMED, String::new())
    } else {
        Say::no(types::PROGRAMMED, reasons::PENDING, "not every ready pod runs it yet".to_owned())
    };
    vec![accepted, resolved, programmed]
}

#[cfg(test)]
mod tests;

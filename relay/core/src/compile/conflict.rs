//! Rules that say different things of the same mail.
//! **Owns:** telling of a rule that never gets its turn. **Never:** changes anything: the order among rules decides.

use std::collections::HashMap;

use postrider_crds::status::reasons;

use super::{Problem, Weight, rule::CompiledRule};
use crate::{
    config::{Rule, Scope},
    matcher::Match,
    route,
};

/// Warns of each rule with a route whose every match stands, at the same priority, in an older rule with a route.
pub(super) fn tell(rules: &mut [CompiledRule]) {
    let mut order: Vec<usize> = (0..rules.len()).collect();
    order.sort_by_key(|index| rules.get(*index).and_then(|one| one.rule.as_ref()).map(age));
    let mut first: HashMap<Key, usize> = HashMap::new();
    for index in order {
        let Some(rule) =
            rules.get(index).and_then(|one| one.rule.as_ref()).filter(|rule| route::routes(rule))
        else {
            continue;
        };
        let keys = keys(rule);
        let owners: Option<Vec<usize>> = keys.iter().map(|key| first.get(key).copied()).collect();
        match owners.as_deref() {
            Some([owner, ..]) => {
                let problem = shadowed(rules, *owner, index);
                if let Some(shadowed) = rules.get_mut(index) {
                    shadowed.verdict.problems.push(problem);
                }
            }
            _ => {
                for key in keys {
                    first.entry(key).or_insert(index);
                }
            }
        }
    }
}

type Key = (i32, Scope, Match);

fn age(rule: &Rule) -> (i64, crate::config::RuleName) {
    (rule.created, rule.name.clone())
}

fn keys(rule: &Rule) -> Vec<Key> {
    if rule.matches.is_empty() {
        return vec![(rule.priority, rule.scope.clone(), Match::default())];
    }
    rule.matches.iter().map(|one| (rule.priority, rule.scope.clone(), sorted(one.clone()))).collect()
}

/// The order of values in a field doesn't matter.
fn sorted(mut one: Match) -> Match {
    one.recipient_domains.iter_mut().for_each(|values| values.sort());
    one.recipients.iter_mut().for_each(|values| values.sort());
    one.sender_domains.iter_mut().for_each(|values| values.sort());
    one.senders.iter_mut().for_each(|values| values.sort());
    one.listeners.iter_mut().for_each(|values| values.sort());
    one.client_cidrs.iter_mut().for_each(|values| values.sort());
    one.client_users.iter_mut().for_each(|values| values.sort());
    one
}

/// Names the other rule within one namespace only: tenants needn't know of each other.
fn shadowed(rules: &[CompiledRule], owner: usize, index: usize) -> Problem {
    let subject = |index: usize| rules.get(index).map(|one| &one.verdict.subject);
    let other = match (subject(owner), subject(index)) {
        (Some(owner), Some(own)) if owner.namespace == own.namespace => format!("rule {:?}", owner.name),
        _ => "a rule of another namespace".to_owned(),
    };
    let found = format!("the same matches and priority as in {other}, which goes first");
    Problem::invalid("spec.matches", found, "mail of its own")
        .because(Weight::Warning, reasons::SHADOWED)
        .advise("its route is never taken: give it a higher priority, or delete it")
}

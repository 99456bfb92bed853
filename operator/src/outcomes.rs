//! What each MailRelay makes of each of its rules, between reconciles.
//! **Owns:** since which configuration a rule is as it is, and which one every ready pod runs. **Never:** a status (plan::status::rule writes it from
//! this).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use postrider_core::{
    compile::Verdict,
    config::{Config, RuleName},
};
use sha2::{Digest, Sha256};

use crate::{names::Key, plan::status::rule::Outcome};

/// A rule's compiled form.
type Form = [u8; 32];

/// Of all MailRelays.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<HashMap<Key, OfRelay>>);

/// Of one MailRelay. Configurations are numbered as they come.
#[derive(Debug, Default)]
struct OfRelay {
    hash: String,
    number: u64,
    /// The newest that every ready pod was seen with.
    confirmed: Option<u64>,
    rules: BTreeMap<Key, OfRule>,
}

#[derive(Debug)]
struct OfRule {
    verdict: Verdict,
    form: Form,
    /// The configuration that first had this form; none, if that was before this process began.
    since: Option<u64>,
}

impl OfRelay {
    fn outcome(&self, rule: &OfRule) -> Outcome {
        let is_programmed = match (rule.since, self.confirmed) {
            (None, None) => None,
            (Some(_), None) => Some(false),
            (since, Some(confirmed)) => Some(since.is_none_or(|since| since <= confirmed)),
        };
        Outcome { verdict: rule.verdict.clone(), is_programmed }
    }
}

impl Outcomes {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, OfRelay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a MailRelay makes of its rules now, by which configuration, and whether every ready pod runs that. Returns the
    /// rules of which something else is to be said than before.
    pub fn note(
        &self,
        relay: &Key,
        verdicts: &[Verdict],
        config: Option<&Config>,
        is_confirmed: bool,
    ) -> Vec<Key> {
        let mut all = self.all();
        let is_first = !all.contains_key(relay);
        let of_relay = all.entry(relay.clone()).or_default();
        let before: BTreeMap<Key, Outcome> =
            of_relay.rules.iter().map(|(key, rule)| (key.clone(), of_relay.outcome(rule))).collect();
        if let Some(config) = config {
            let hash = config.hash().to_string();
            if hash != of_relay.hash {
                of_relay.number += 1;
                of_relay.hash = hash;
            }
        }
        let number = of_relay.number;
        if is_confirmed {
            of_relay.confirmed = Some(number);
        }
        let forms = config.map(|config| forms(relay, config)).unwrap_or_default();
        let known = std::mem::take(&mut of_relay.rules);
        of_relay.rules = verdicts
            .iter()
            .map(|verdict| {
                let key = Key::new(verdict.subject.namespace.clone(), verdict.subject.name.clone());
                let form = forms.get(&key).copied().unwrap_or_default();
                let since = match known.get(&key) {
                    Some(known) if known.form == form => known.since,
                    None if is_first => None,
                    Some(_) | None => Some(number),
                };
                (key, OfRule { verdict: verdict.clone(), form, since })
            })
            .collect();
        let after = of_relay.rules.iter().map(|(key, rule)| (key.clone(), of_relay.outcome(rule)));
        let after: BTreeMap<Key, Outcome> = after.collect();
        let changed = after.iter().filter(|(key, outcome)| before.get(*key) != Some(outcome));
        changed.map(|(key, _)| key.clone()).collect()
    }

    /// What a MailRelay makes of a rule; none, if it hasn't looked at that generation yet.
    pub fn find(&self, relay: &Key, rule: &Key, generation: Option<i64>) -> Option<Outcome> {
        let all = self.all();
        let of_relay = all.get(relay)?;
        let of_rule = of_relay.rules.get(rule)?;
        (of_rule.verdict.generation == generation).then(|| of_relay.outcome(of_rule))
    }

    /// A MailRelay is gone.
    pub fn forget(&self, relay: &Key) {
        self.all().remove(relay);
    }
}

/// The forms of the rules of a configuration.
fn forms(relay: &Key, config: &Config) -> HashMap<Key, Form> {
    let rules = config.rules.as_slice().iter().map(|rule| {
        // The name says the namespace where it isn't the MailRelay's.
        let key = match rule.name.as_str().split_once('/') {
            Some((namespace, name)) => Key::new(namespace, name),
            None => Key::new(relay.namespace.clone(), rule.name.as_str()),
        };
        debug_assert!(rule.name.as_str() != RuleName::DEFAULT, "that name is taken by mail without a rule");
        let text = serde_json::to_vec(rule).expect("a rule has string keys only");
        (key, Sha256::digest(text).into())
    });
    rules.collect()
}

#[cfg(test)]
mod tests;

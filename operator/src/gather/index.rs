//! Whom a change concerns.
//! **Owns:** which rules name which MailRelay, and who names which Secret. **Never:** what is done about it (agenda).

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use postrider_crds::{MailRelay, RoutingRule};

use super::{
    resources::{parents_of, selects_namespaces, selects_pods},
    store::Change,
};
use crate::names::Key;

/// Relations between objects. Cloning shares.
#[derive(Debug, Clone, Default)]
pub struct Index(Arc<Mutex<Relations>>);

#[derive(Debug, Default)]
struct Relations {
    /// MailRelay to rules.
    rules: HashMap<Key, BTreeSet<Key>>,
    /// Secret to those who name it.
    referrers: HashMap<Key, BTreeSet<Referrer>>,
    /// MailRelays that choose by labels of namespaces.
    by_namespace: BTreeSet<Key>,
    /// MailRelays that let pods in by labels.
    by_pod: BTreeSet<Key>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Referrer {
    Relay(Key),
    /// A rule, for each MailRelay that it names.
    Rule(Key),
}

impl Index {
    fn relations(&self) -> MutexGuard<'_, Relations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a MailRelay; the rules whose status may change, since it came or went.
    pub fn relay_changed(&self, change: &Change<MailRelay>) -> Vec<Key> {
        let mut relations = self.relations();
        let secrets = |relay: &MailRelay| -> Vec<Key> {
            relay.spec.secrets().map(|name| Key::new(change.key.namespace.clone(), name)).collect()
        };
        let referrer = Referrer::Relay(change.key.clone());
        relations.refer(
            &referrer,
            change.before.as_deref().map(secrets),
            change.after.as_deref().map(secrets),
        );
        let after = change.after.as_deref();
        note(&mut relations.by_namespace, &change.key, after.is_some_and(selects_namespaces));
        note(&mut relations.by_pod, &change.key, after.is_some_and(selects_pods));
        if change.before.is_some() == change.after.is_some() {
            return Vec::new();
        }
        relations.rules.get(&change.key).into_iter().flatten().cloned().collect()
    }

    /// Notes a rule; the MailRelays that it names or named.
    pub fn rule_changed(&self, change: &Change<RoutingRule>) -> BTreeSet<Key> {
        let mut relations = self.relations();
        let secrets = |rule: &RoutingRule| -> Vec<Key> {
            rule.spec.secrets().map(|name| Key::new(change.key.namespace.clone(), name)).collect()
        };
        let referrer = Referrer::Rule(change.key.clone());
        relations.refer(
            &referrer,
            change.before.as_deref().map(secrets),
            change.after.as_deref().map(secrets),
        );
        let parents = |rule: &Option<Arc<RoutingRule>>| rule.as_deref().map(parents_of).unwrap_or_default();
        let (before, after) = (parents(&change.before), parents(&change.after));
        for parent in before.difference(&after) {
            if let Some(rules) = relations.rules.get_mut(parent) {
                rules.remove(&change.key);
            }
        }
        for parent in &after {
            relations.rules.entry(parent.clone()).or_default().insert(change.key.clone());
        }
        &before | &after
    }

    /// The MailRelays that a Secret matters to, given what each rule names.
    pub fn concerned_by_secret(
        &self,
        secret: &Key,
        parents: impl Fn(&Key) -> BTreeSet<Key>,
    ) -> BTreeSet<Key> {
        let referrers = self.relations().referrers.get(secret).cloned().unwrap_or_default();
        let concerned = referrers.into_iter().flat_map(|referrer| match referrer {
            Referrer::Relay(key) => BTreeSet::from([key]),
            Referrer::Rule(key) => parents(&key),
        });
        concerned.collect()
    }

    /// The MailRelays that choose by labels of namespaces.
    pub fn choosing_namespaces(&self) -> BTreeSet<Key> {
        self.relations().by_namespace.clone()
    }

    /// The MailRelays that let pods in by labels.
    pub fn choosing_pods(&self) -> BTreeSet<Key> {
        self.relations().by_pod.clone()
    }

    /// The rules that name a MailRelay, in order.
    pub fn rules_of(&self, relay: &Key) -> Vec<Key> {
        self.relations().rules.get(relay).into_iter().flatten().cloned().collect()
    }
}

impl Relations {
    fn refer(&mut self, referrer: &Referrer, before: Option<Vec<Key>>, after: Option<Vec<Key>>) {
        for secret in before.into_iter().flatten() {
            if let Some(referrers) = self.referrers.get_mut(&secret) {
                referrers.remove(referrer);
                if referrers.is_empty() {
                    self.referrers.remove(&secret);
                }
            }
        }
        for secret in after.into_iter().flatten() {
            self.referrers.entry(secret).or_default().insert(referrer.clone());
        }
    }
}

fn note(set: &mut BTreeSet<Key>, key: &Key, is_in: bool) {
    if is_in {
        set.insert(key.clone());
    } else {
        set.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(parents: &[&str], secret: &str) -> RoutingRule {
        let parents: Vec<serde_json::Value> =
            parents.iter().map(|name| serde_json::json!({ "name": name })).collect();
        serde_json::from_value(serde_json::json!({
            "apiVersion": "postrider.dev/v1alpha1", "kind": "RoutingRule",
            "metadata": { "name": "partner", "namespace": "mail" },
            "spec": { "parentRefs": parents, "route": { "type": "Smarthost", "smarthost": {
                "hosts": [{ "host": "gw.example" }], "auth": { "credentialsRef": { "name": secret } } } } },
        }))
        .expect("a rule")
    }

    fn change(before: Option<RoutingRule>, after: Option<RoutingRule>) -> Change<RoutingRule> {
        let key = Key::new("mail", "partner");
        Change { key, before: before.map(Arc::new), after: after.map(Arc::new) }
    }

    fn keys(names: &[&str]) -> BTreeSet<Key> {
        names.iter().map(|name| Key::new("mail", *name)).collect()
    }

    #[test]
    fn a_rule_that_moves_concerns_both_relays() {
        let index = Index::default();
        index.rule_changed(&change(None, Some(rule(&["a"], "s"))));
        let touched = index.rule_changed(&change(Some(rule(&["a"], "s")), Some(rule(&["b"], "s"))));
        assert_eq!(touched, keys(&["a", "b"]));
        assert!(index.rules_of(&Key::new("mail", "a")).is_empty());
        assert_eq!(index.rules_of(&Key::new("mail", "b")).len(), 1);
    }

    #[test]
    fn a_secret_concerns_those_who_name_it_now() {
        let index = Index::default();
        let parents = |_: &Key| keys(&["a"]);
        index.rule_changed(&change(None, Some(rule(&["a"], "old"))));
        index.rule_changed(&change(Some(rule(&["a"], "old")), Some(rule(&["a"], "new"))));
        assert!(index.concerned_by_secret(&Key::new("mail", "old"), parents).is_empty());
        assert_eq!(index.concerned_by_secret(&Key::new("mail", "new"), parents), keys(&["a"]));
    }
}

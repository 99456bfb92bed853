//! When a rule counts as programmed.

use postrider_core::{compile, manifests};

use super::*;

const RELAY: &str = "
apiVersion: postrider.dev/v1alpha1
kind: MailRelay
metadata: {name: outbound, namespace: mail}
spec:
  hostname: mail.example.com
  listeners: [{name: smtp, port: 25, allowedClients: {cidrs: [10.0.0.0/8]}}]
---
";

fn rule(name: &str, route: &str) -> String {
    format!(
        "
apiVersion: postrider.dev/v1alpha1
kind: RoutingRule
metadata: {{name: {name}, namespace: mail}}
spec: {{parentRefs: [{{name: outbound}}], route: {{type: {route}}}}}
---
"
    )
}

fn relay() -> Key {
    Key::new("mail", "outbound")
}

/// Notes what these rules compile to; the names of those of which something new is to be said.
fn note(outcomes: &Outcomes, rules: &[String], is_confirmed: bool) -> Vec<String> {
    let loaded = manifests::load([("all.yaml", format!("{RELAY}{}", rules.concat()).as_str())]);
    let compiled = compile::compile(&loaded.resources, &loaded.resources.relays[0]);
    let changed = outcomes.note(&relay(), &compiled.rules, compiled.config.as_ref(), is_confirmed);
    changed.into_iter().map(|key| key.name).collect()
}

fn is_programmed(outcomes: &Outcomes, name: &str) -> Option<bool> {
    outcomes.find(&relay(), &Key::new("mail", name), None).expect("told").is_programmed
}

#[test]
fn an_edit_of_one_rule_says_nothing_new_of_another() {
    let outcomes = Outcomes::default();
    note(&outcomes, &[rule("a", "MX"), rule("b", "MX")], true);
    let changed = note(&outcomes, &[rule("a", "Discard"), rule("b", "MX")], false);
    assert_eq!(changed, ["a"]);
    assert_eq!((is_programmed(&outcomes, "a"), is_programmed(&outcomes, "b")), (Some(false), Some(true)));
    assert_eq!(note(&outcomes, &[rule("a", "Discard"), rule("b", "MX")], true), ["a"]);
    assert_eq!(is_programmed(&outcomes, "a"), Some(true));
}

#[test]
fn after_a_restart_nothing_is_said_before_the_pods_have_told() {
    let outcomes = Outcomes::default();
    note(&outcomes, &[rule("a", "MX")], false);
    assert_eq!(is_programmed(&outcomes, "a"), None);
    note(&outcomes, &[rule("a", "MX")], true);
    assert_eq!(is_programmed(&outcomes, "a"), Some(true));
}

#[test]
fn a_new_rule_is_not_programmed_by_an_older_configuration() {
    let outcomes = Outcomes::default();
    note(&outcomes, &[rule("a", "MX")], true);
    note(&outcomes, &[rule("a", "MX"), rule("b", "MX")], false);
    assert_eq!(is_programmed(&outcomes, "b"), Some(false));
}

//! What a rule's status says.

use serde_json::json;

use super::*;

fn rule(parents: &serde_json::Value) -> RoutingRule {
    serde_json::from_value(json!({
        "apiVersion": "postrider.dev/v1alpha1", "kind": "RoutingRule",
        "metadata": { "name": "partner", "namespace": "mail", "generation": 3 },
        "spec": { "parentRefs": parents, "route": { "type": "MX" } },
    }))
    .expect("a rule")
}

fn verdict(effect: Effect, problems: Vec<Problem>) -> Verdict {
    let subject = postrider_core::compile::Subject {
        kind: "RoutingRule",
        namespace: "mail".into(),
        name: "partner".into(),
    };
    Verdict { subject, generation: Some(3), effect, problems }
}

fn told(effect: Effect, problems: Vec<Problem>, is_programmed: Option<bool>) -> BTreeMap<Key, Parent> {
    let outcome = Outcome { verdict: verdict(effect, problems), is_programmed };
    [(Key::new("mail", "outbound"), Parent::Told(Box::new(outcome)))].into()
}

fn now() -> Time {
    Time(jiff::Timestamp::UNIX_EPOCH)
}

fn said(status: &RoutingRuleStatus, type_: &str) -> (String, String) {
    let all = status.parents.iter().flat_map(|parent| &parent.conditions).chain(&status.conditions);
    let one = all.into_iter().find(|one| one.type_ == type_).expect(type_);
    (one.status.clone(), one.reason.clone())
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.into(), reason.into())
}

#[test]
fn a_rule_that_every_pod_runs_is_ready() {
    let status = rule_status(
        &rule(&json!([{ "name": "outbound" }])),
        &told(Effect::Applies, vec![], Some(true)),
        &now(),
    );
    assert_eq!(said(&status, "Ready"), pair("True", "Ready"));
    assert_eq!(said(&status, "Programmed"), pair("True", "Programmed"));
    assert_eq!(status.observed_generation, Some(3));
}

#[test]
fn a_missing_secret_is_unresolved_and_its_mail_waits() {
    let problem = Problem::invalid("spec.route.smarthost", "no Secret \"gw\"", "one")
        .because(Weight::Unresolved, reasons::SECRET_NOT_FOUND);
    let status = rule_status(
        &rule(&json!([{ "name": "outbound" }])),
        &told(Effect::Defers, vec![problem], Some(true)),
        &now(),
    );
    assert_eq!(said(&status, "Accepted"), pair("True", "Accepted"));
    assert_eq!(said(&status, "ResolvedRefs"), pair("False", "SecretNotFound"));
    assert_eq!(said(&status, "Programmed"), pair("True", "Programmed"));
    assert_eq!(said(&status, "Ready"), pair("False", "SecretNotFound"));
    let ready = &status.conditions[0].message;
    assert!(ready.contains("no Secret \"gw\"") && ready.contains("Its mail waits."), "{ready}");
}

#[test]
fn a_rule_that_is_not_let_in_is_not_programmed() {
    let problem = Problem::invalid("metadata.namespace", "mail", "another")
        .because(Weight::NotAllowed, reasons::NOT_ALLOWED);
    let status = rule_status(
        &rule(&json!([{ "name": "outbound" }])),
        &told(Effect::None, vec![problem], Some(true)),
        &now(),
    );
    assert_eq!(said(&status, "Accepted"), pair("False", "NotAllowedByRelay"));
    assert_eq!(said(&status, "Programmed"), pair("False", "NotAllowedByRelay"));
}

#[test]
fn a_parent_that_is_not_there_is_said_at_its_reference() {
    let missing = postrider_core::compile::no_such_relay("mail", "outbuond", ["outbound"]);
    let parents = [(Key::new("mail", "outbuond"), Parent::Missing(missing))].into();
    let status = rule_status(&rule(&json!([{ "name": "outbuond" }])), &parents, &now());
    assert_eq!(said(&status, "Accepted"), pair("False", "NoMatchingParent"));
    let message = &status.parents[0].conditions[0].message;
    assert!(message.starts_with("spec.parentRefs[0]: found no MailRelay"), "{message}");
    assert!(message.ends_with("did you mean \"outbound\"?"), "{message}");
}

#[test]
fn what_other_controllers_say_stays() {
    let mut rule = rule(&json!([{ "name": "outbound" }]));
    let other = ParentStatus {
        parent_ref: ParentRef { name: "elsewhere".into(), namespace: None, section_name: None },
        controller_name: "example.com/other".into(),
        conditions: Vec::new(),
    };
    rule.status = Some(RoutingRuleStatus { parents: vec![other.clone()], ..RoutingRuleStatus::default() });
    let status = rule_status(&rule, &told(Effect::Applies, vec![], Some(true)), &now());
    assert_eq!((status.parents.len(), &status.parents[0]), (2, &other));
}

#[test]
fn before_the_pods_have_told_the_status_says_what_it_said() {
    let mut rule = rule(&json!([{ "name": "outbound" }]));
    let parents = told(Effect::Applies, vec![], Some(true));
    rule.status = Some(rule_status(&rule, &parents, &now()));
    let unknown = told(Effect::Applies, vec![], None);
    assert_eq!(Some(rule_status(&rule, &unknown, &now())), rule.status);
    rule.metadata.generation = Some(4);
    let later = rule_status(&rule, &unknown, &now());
    assert_eq!(said(&later, "Programmed"), pair("False", "Pending"), "that was said of another generation");
}

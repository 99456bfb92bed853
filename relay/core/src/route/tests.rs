//! Rules and facts in, a decision out.

use postrider_mail::{Class, HostName, ReversePath};
use proptest::prelude::*;

use super::*;
use crate::{
    config::{ConfigParts, Fleet, Scope},
    matcher::Match,
    tls_policy::TlsMode,
};

fn fleet() -> Fleet {
    Fleet { namespace: "mail".into(), name: "outbound".into(), uid: None }
}

fn config(rules: Vec<Rule>) -> Config {
    let hostname = HostName::parse("mail.example.com").expect("a name");
    ConfigParts { rules, ..ConfigParts::minimal(fleet(), hostname) }.into()
}

fn rule(name: &str, priority: i32, domains: &[&str]) -> Rule {
    let patterns = domains.iter().map(|text| text.parse().expect("a pattern")).collect();
    Rule {
        name: RuleName::new("mail", "mail", name),
        priority,
        created: 0,
        matches: vec![Match { recipient_domains: Some(patterns), ..Default::default() }],
        scope: Scope::default(),
        route: Some(Route::Hold { reason: name.to_owned() }),
        policy: PolicyFields::default(),
        broken: None,
    }
}

fn decide_for(config: &Config, recipient: &str, check: impl FnOnce(Decision<'_>)) {
    let sender: ReversePath = "app@sender.example".to_owned().try_into().expect("a sender");
    let recipient: Mailbox = recipient.parse().expect("a recipient");
    let facts =
        Facts { sender: &sender, recipient: &recipient, listener: Some("smtp"), client: None, user: None };
    check(decide(config, &facts));
}

fn winner(config: &Config, recipient: &str) -> String {
    let mut name = String::new();
    decide_for(config, recipient, |decision| name = decision.route_name().to_owned());
    name
}

#[test]
fn mail_without_a_rule_goes_by_mx() {
    decide_for(&config(vec![]), "a@b.example", |decision| {
        assert_eq!(decision.action, Action::Try(Target::Mx));
        assert_eq!(decision.route_name(), "default");
    });
}

#[test]
fn priority_goes_before_exactness_and_exactness_before_age() {
    let mut old = rule("old", 0, &["*.example"]);
    old.created = 1;
    let mut young = rule("young", 0, &["b.example"]);
    young.created = 2;
    let high = rule("high", 5, &["*.example"]);
    assert_eq!(winner(&config(vec![old.clone(), young.clone()]), "a@b.example"), "young");
    assert_eq!(winner(&config(vec![old.clone(), young, high]), "a@b.example"), "high");
    let mut older = rule("z-older", 0, &["*.example"]);
    older.created = 0;
    assert_eq!(winner(&config(vec![old, older]), "a@b.example"), "z-older");
}

#[test]
fn a_rule_of_policy_alone_lets_the_next_one_route() {
    let mut first = rule("first", 10, &["b.example"]);
    first.route = None;
    first.policy.class = Some(Class::Bulk);
    first.policy.connections = Some(3);
    let mut second = rule("second", 0, &["b.example"]);
    second.policy.class = Some(Class::Transactional);
    second.policy.tls = Some(TlsMode::Require);
    decide_for(&config(vec![second, first]), "a@b.example", |decision| {
        assert_eq!(decision.route_name(), "second");
        assert_eq!(decision.policy.class, Class::Bulk);
        assert_eq!(decision.policy.tls, TlsMode::Require);
        assert_eq!(decision.policy.limits.connections, 3);
    });
}

#[test]
fn a_broken_rule_keeps_its_match_and_defers() {
    let mut broken = rule("broken", 10, &["b.example"]);
    broken.route = None;
    broken.broken = Some("spec.route: found no Secret".into());
    let config = config(vec![broken, rule("next", 0, &["b.example"])]);
    decide_for(&config, "a@b.example", |decision| {
        assert_eq!(decision.action, Action::Defer { reason: BROKEN });
        assert_eq!(decision.route_name(), "broken");
    });
    assert_eq!(winner(&config, "a@c.example"), "default");
}

#[test]
fn the_smarthosts_own_tls_goes_before_the_policys() {
    let mut one = rule("one", 0, &["b.example"]);
    one.policy.tls = Some(TlsMode::Clear);
    one.route =
        Some(Route::Smarthost(Smarthost { hosts: vec![], tls: Some(TlsMode::Verify), credentials: None }));
    decide_for(&config(vec![one]), "a@b.example", |decision| {
        assert_eq!(decision.policy.tls, TlsMode::Verify);
    });
}

#[test]
fn a_rule_acts_within_its_scope_only() {
    let mut confined = rule("confined", 10, &["b.example"]);
    confined.scope.listeners = Some(vec!["submission".into()]);
    assert_eq!(winner(&config(vec![confined]), "a@b.example"), "default");
    let mut tenant = rule("tenant", 10, &["b.example"]);
    let domains = vec!["*.apps.example".parse().expect("a pattern")];
    tenant.scope.sender_domains = Some(crate::config::DomainSet(domains));
    assert_eq!(winner(&config(vec![tenant]), "a@b.example"), "default");
}

#[test]
fn a_rule_that_is_called_default_has_lanes_of_its_own() {
    assert_eq!(winner(&config(vec![rule("default", 0, &["b.example"])]), "a@b.example"), "mail/default");
}

#[test]
fn redirected_mail_goes_to_one_address() {
    let mut one = rule("staging", 0, &["b.example"]);
    let to: Mailbox = "qa@test.example".parse().expect("an address");
    one.route = Some(Route::Redirect { to: to.clone() });
    decide_for(&config(vec![one]), "a@b.example", |decision| {
        let Action::Try(target) = &decision.action else { panic!("{decision:?}") };
        let recipient: Mailbox = "a@b.example".parse().expect("an address");
        assert_eq!(target.recipient(&recipient), &to);
        assert_eq!(target.mx_domain(&recipient), Some(to.domain()));
    });
}

proptest! {
    /// Files come in any order: the order of the rules says who wins, not the order of their documents.
    #[test]
    fn rule_order_alone_decides(
        keys in proptest::collection::vec((0..3_i32, 0..3_i64, 0..4_usize), 1..8),
        seed in any::<u64>(),
    ) {
        let domains = [&["b.example"][..], &["*.example"], &["c.example", "*.example"], &["b.example", "c.example"]];
        let rules: Vec<Rule> = keys
            .iter()
            .enumerate()
            .map(|(index, (priority, created, domain))| Rule { created: *created, ..rule(&format!("r{index}"), *priority, domains[*domain]) })
            .collect();
        let mut shuffled = rules.clone();
        let mut state = seed;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, usize::try_from(state >> 33).expect("31 bits") % (index + 1));
        }
        let (one, other) = (config(rules), config(shuffled));
        prop_assert_eq!(one.hash(), other.hash());
        for recipient in ["a@b.example", "a@c.example", "a@x.b.example", "a@else.test"] {
            prop_assert_eq!(winner(&one, recipient), winner(&other, recipient));
        }
    }
}

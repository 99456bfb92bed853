//! Matches, how exactly they name a mail, and an index that misses none.

use proptest::prelude::*;

use super::*;
use crate::config::RuleName;

fn pattern(text: &str) -> DomainPattern {
    text.parse().expect(text)
}

fn patterns(texts: &[&str]) -> Option<Vec<DomainPattern>> {
    Some(texts.iter().map(|text| pattern(text)).collect())
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().expect(text)
}

fn path(text: &str) -> ReversePath {
    text.to_owned().try_into().expect("a path")
}

fn find(one: &Match, sender: &str, recipient: &str) -> Option<Specificity> {
    let (sender, recipient) = (path(sender), mailbox(recipient));
    one.find(&Facts {
        sender: &sender,
        recipient: &recipient,
        listener: Some("smtp"),
        client: None,
        user: None,
    })
}

#[test]
fn a_wildcard_is_everything_below_and_not_itself() {
    let below = pattern("*.example.com");
    let matches = |name: &str| below.matches(&Domain::parse(name).expect(name));
    assert!(matches("a.example.com") && matches("b.a.example.com"));
    assert!(!matches("example.com") && !matches("badexample.com"));
}

#[test]
fn a_pattern_covers_what_it_matches() {
    for (outer, inner, covers) in [
        ("*.a.example", "b.a.example", true),
        ("*.a.example", "*.b.a.example", true),
        ("*.a.example", "*.a.example", true),
        ("*.a.example", "a.example", false),
        ("a.example", "*.a.example", false),
        ("a.example", "a.example", true),
        ("*.b.a.example", "*.a.example", false),
    ] {
        assert_eq!(pattern(outer).covers(&pattern(inner)), covers, "{outer} {inner}");
    }
}

#[test]
fn all_fields_must_match_and_any_value_of_a_field() {
    let one = Match {
        recipient_domains: patterns(&["a.example", "b.example"]),
        sender_domains: patterns(&["s.example"]),
        ..Default::default()
    };
    assert!(find(&one, "x@s.example", "y@b.example").is_some());
    assert!(find(&one, "x@t.example", "y@b.example").is_none());
    assert!(find(&one, "x@s.example", "y@c.example").is_none());
    assert!(find(&one, "", "y@b.example").is_none());
}

#[test]
fn the_null_sender_is_matched_by_name_only() {
    let null = Match { senders: Some(vec![ReversePath::Null]), ..Default::default() };
    assert!(find(&null, "", "y@b.example").is_some());
    assert!(find(&null, "x@s.example", "y@b.example").is_none());
}

#[test]
fn local_parts_are_compared_without_case() {
    let one = Match { recipients: Some(vec![mailbox("Jürgen.Ö@b.example")]), ..Default::default() };
    assert!(find(&one, "", "jÜrgen.ö@b.example").is_some());
}

#[test]
fn a_field_without_readable_values_matches_nothing() {
    let one = Match { recipient_domains: Some(vec![]), ..Default::default() };
    assert!(find(&one, "", "y@b.example").is_none());
}

#[test]
fn an_ipv4_client_in_ipv6_clothes_is_known() {
    let one =
        Match { client_cidrs: Some(vec!["10.0.0.0/8".parse().expect("a network")]), ..Default::default() };
    let (sender, recipient) = (ReversePath::Null, mailbox("y@b.example"));
    let client = Some("::ffff:10.1.2.3".parse().expect("an address"));
    let facts = Facts { sender: &sender, recipient: &recipient, listener: None, client, user: None };
    assert!(one.find(&facts).is_some());
    assert!(one.find(&Facts { client: None, ..facts }).is_none());
}

#[test]
fn the_more_exact_match_ranks_higher() {
    let by_domain = |texts: &[&str]| Match { recipient_domains: patterns(texts), ..Default::default() };
    let ranks: Vec<Specificity> = [
        Match::default(),
        Match { sender_domains: patterns(&["s.example"]), ..Default::default() },
        by_domain(&["*.example"]),
        by_domain(&["*.b.example"]),
        by_domain(&["a.b.example"]),
        Match { sender_domains: patterns(&["*.example"]), ..by_domain(&["a.b.example"]) },
        Match { sender_domains: patterns(&["s.example"]), ..by_domain(&["a.b.example"]) },
        Match { recipients: Some(vec![mailbox("y@a.b.example")]), ..Default::default() },
    ]
    .iter()
    .map(|one| find(one, "x@s.example", "y@a.b.example").expect("matches"))
    .collect();
    assert!(ranks.is_sorted() && ranks.windows(2).all(|pair| pair[0] != pair[1]), "{ranks:?}");
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["[ab]", Just("x".to_owned())], 1..4)
        .prop_map(|labels| labels.join("."))
}

fn any_pattern() -> impl Strategy<Value = DomainPattern> {
    (any::<bool>(), name())
        .prop_map(|(is_below, name)| pattern(&if is_below { format!("*.{name}") } else { name }))
}

fn any_match() -> impl Strategy<Value = Match> {
    let option = proptest::option::of::<proptest::collection::VecStrategy<_>>;
    (
        option(proptest::collection::vec(any_pattern(), 1..3)),
        proptest::option::of(proptest::collection::vec(name(), 1..3)),
        proptest::option::of(proptest::collection::vec(any_pattern(), 1..3)),
        proptest::option::of(proptest::collection::vec(proptest::option::of(name()), 1..3)),
        proptest::option::of(Just(vec!["ann".to_owned()])),
    )
        .prop_map(|(recipient_domains, recipients, sender_domains, senders, client_users)| Match {
            recipient_domains,
            recipients: recipients
                .map(|names| names.iter().map(|name| mailbox(&format!("y@{name}"))).collect()),
            sender_domains,
            senders: senders.map(|names| {
                names
                    .into_iter()
                    .map(|name| path(&name.map_or_else(String::new, |name| format!("x@{name}"))))
                    .collect()
            }),
            client_users,
            ..Default::default()
        })
}

fn rule(matches: Vec<Match>) -> Rule {
    Rule {
        name: RuleName::new("mail", "mail", "r"),
        priority: 0,
        created: 0,
        matches,
        scope: crate::config::Scope::default(),
        route: None,
        policy: crate::policy::PolicyFields::default(),
        broken: None,
    }
}

proptest! {
    #[test]
    fn the_index_never_misses_a_rule(
        rules in proptest::collection::vec(proptest::collection::vec(any_match(), 0..3), 0..12),
        sender in proptest::option::of(name()),
        recipient in name(),
        user in proptest::option::of(Just("ann")),
    ) {
        let rules: Vec<Rule> = rules.into_iter().map(rule).collect();
        let index = Index::new(&rules);
        let sender = path(&sender.map_or_else(String::new, |name| format!("X@{name}")));
        let recipient = mailbox(&format!("Y@{recipient}"));
        let facts = Facts { sender: &sender, recipient: &recipient, listener: None, client: None, user };
        let candidates = index.candidates(&facts);
        prop_assert!(candidates.windows(2).all(|pair| pair[0] < pair[1]));
        for (position, rule) in rules.iter().enumerate() {
            let position = u32::try_from(position).expect("few");
            if super::find(rule, &facts).is_some() {
                prop_assert!(candidates.contains(&position), "{rule:?}");
            }
        }
    }
}

#[test]
fn ten_thousand_rules_are_not_all_looked_at() {
    let rules: Vec<Rule> = (0..10_000)
        .map(|index| {
            let domain = format!("d{index}.example");
            rule(vec![Match { recipient_domains: patterns(&[&domain]), ..Default::default() }])
        })
        .collect();
    let index = Index::new(&rules);
    let recipient = mailbox("y@d77.example");
    let facts =
        Facts { sender: &ReversePath::Null, recipient: &recipient, listener: None, client: None, user: None };
    assert_eq!(index.candidates(&facts), [77]);
}

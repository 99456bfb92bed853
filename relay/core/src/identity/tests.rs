//! What is said of whole fleets.

use std::cell::Cell;

use proptest::prelude::*;

use super::{testkit::Zone, *};
use crate::dkim::SigningKey;

const ED25519: &str = include_str!("../dkim/fixtures/ed25519.pem");

/// A fleet with all that receivers want; `KEY` is its record.
const GOOD: &str = "
    10.113.0.203.in-addr.arpa PTR mail.example.com
    mail.example.com A 203.0.113.10
    mail.example.com TXT v=spf1 a -all
    example.com TXT v=spf1 ip4:203.0.113.10 -all
    _dmarc.example.com TXT v=DMARC1; p=none
    s1._domainkey.example.com TXT KEY
";

fn public() -> PublicKey {
    SigningKey::parse(ED25519).expect("a key").public()
}

fn subject(addresses: &[&str]) -> Subject {
    Subject {
        addresses: addresses.iter().map(|text| text.parse().expect("an address")).collect(),
        ehlo: HostName::parse("mail.example.com").expect("a name"),
        sources: Vec::new(),
        domains: vec![SenderDomain {
            domain: Domain::parse("example.com").expect("a domain"),
            subdomains: false,
            keys: vec![KeyAt { selector: "s1".into(), public: public() }],
        }],
        is_egress_checked: true,
    }
}

fn judged(subject: &Subject, zone: &str) -> Judgement {
    let zone = Zone::of(&zone.replace("KEY", &dkim_record::expected(&public())));
    let mut answers = Answers::new();
    loop {
        match judge(subject, &answers) {
            Step::Done(judgement) => return judgement,
            Step::Ask(questions) => {
                assert!(!questions.is_empty() && questions.iter().all(|one| !answers.contains_key(one)));
                answers.extend(questions.into_iter().map(|one| {
                    let answer = zone.answer(&one);
                    (one, answer)
                }));
            }
        }
    }
}

/// What is said when `from` in the good zone is `to`.
fn said(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    let judgement = judged(&subject(&["203.0.113.10"]), &GOOD.replace(from, to));
    let findings = judgement.egress.iter().chain(&judgement.keys);
    let findings = findings.map(|finding| format!("{}: {finding}", finding.kind.as_str()));
    let unknown = judgement.egress_unknown.iter().chain(&judgement.keys_unknown);
    findings.chain(unknown.map(|one| format!("unknown: {one}"))).collect()
}

#[test]
fn a_fleet_whose_names_fit_is_good() {
    let judgement = judged(&subject(&["203.0.113.10"]), GOOD);
    assert!(judgement.is_good(), "{judgement:?}");
    assert!(judged(&subject(&[]), GOOD).is_good());
}

#[test]
fn what_does_not_fit_is_said_with_what_would() {
    for (from, to, expected) in [
        (
            "PTR mail.example.com",
            "TXT nothing",
            "PtrMissing: address 203.0.113.10: found no PTR record; expected a PTR record whose name has 203.0.113.10 as its A record",
        ),
        (
            "PTR mail.example.com",
            "PTR other.example.com",
            "PtrMismatch: address 203.0.113.10: found PTR other.example.com (no address); expected a PTR record whose name has \
             203.0.113.10 as its A record",
        ),
        (
            "ip4:203.0.113.10 -all",
            "ip4:203.0.113.11 -all",
            "SpfDoesNotPass: SPF of example.com for 203.0.113.10: found fail; expected pass: a TXT record v=spf1 with \
             ip4:203.0.113.10, say",
        ),
        (
            "_dmarc.example.com",
            "_dmarc.example.net",
            "DmarcMissing: DMARC of example.com: found no record; expected a TXT record at _dmarc.example.com: v=DMARC1; p=none, to \
             begin with",
        ),
        (
            "v=DMARC1; p=none",
            "v=DMARC1",
            "DmarcInvalid: DMARC of example.com: found TXT records at _dmarc.example.com that can't be used; expected one, such as \
             v=DMARC1; p=none",
        ),
    ] {
        assert_eq!(said(from, to), [expected]);
    }
}

#[test]
fn the_name_in_ehlo_is_one_of_our_addresses() {
    let found = said("mail.example.com A 203.0.113.10", "mail.example.com A 203.0.113.99");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("PtrMismatch: address 203.0.113.10: found PTR mail.example.com (203.0.113.99)")
    );
    assert!(
        found[1].starts_with("EhloMismatch: spec.hostname mail.example.com: found 203.0.113.99; expected")
    );
    assert!(found[2].starts_with("SpfDoesNotPass: SPF of mail.example.com"));
    let gone = said("mail.example.com A 203.0.113.10", "");
    assert!(gone.iter().any(|one| one.starts_with("EhloUnresolved")), "{gone:?}");
}

#[test]
fn each_source_is_looked_at_by_its_own_name_and_address() {
    let source = |source: &str, address: Option<&str>| SourceIdentity {
        name: SourceName { pool: "main".into(), source: source.into() },
        ehlo: HostName::parse(&format!("{source}.example.com")).expect("a name"),
        address: address.map(|text| text.parse().expect("an address")),
    };
    let mut subject = subject(&["203.0.113.10"]);
    subject.sources = vec![source("north", Some("203.0.113.21")), source("south", None)];
    let judgement = judged(&subject, GOOD);
    let said: Vec<String> = judgement.egress.iter().map(ToString::to_string).collect();
    for expected in [
        "address 203.0.113.21: found no PTR record",
        "hostname north.example.com of source main/north: found no A or AAAA record; expected an A or AAAA record with 203.0.113.21",
        "hostname south.example.com of source main/south: found no A or AAAA record; expected an A or AAAA record with 203.0.113.10",
        "SPF of example.com for 203.0.113.21: found fail",
    ] {
        assert!(said.iter().any(|one| one.starts_with(expected)), "{expected}: {said:?}");
    }
    let zone = GOOD.replace("ip4:203.0.113.10", "ip4:203.0.113.0/24")
        + "21.113.0.203.in-addr.arpa PTR north.example.com\nnorth.example.com A 203.0.113.21\nsouth.example.com A 203.0.113.10\n";
    assert!(judged(&subject, &zone).is_good(), "{:?}", judged(&subject, &zone));
}

#[test]
fn only_what_far_sides_can_see_is_looked_at_of_a_source() {
    for (address, is_looked_at) in [
        ("203.0.113.21", true),
        ("10.0.0.4", false),
        ("100.64.0.1", false),
        ("2001:db8::1", true),
        ("fd00::1", false),
    ] {
        assert_eq!(is_seen(address.parse().expect("an address")), is_looked_at, "{address}");
    }
}

#[test]
fn keys_are_compared_with_what_is_published() {
    for (to, expected) in [
        (
            "v=DKIM1; k=ed25519; p=",
            "KeyRevoked: s1._domainkey.example.com: found an empty p=: the key is withdrawn;",
        ),
        ("v=DKIM1; k=ed25519; p=AAAA", "KeyMismatch: s1._domainkey.example.com: found another key, p=…"),
        (
            "v=DKIM1; p=AAAA",
            "KeyUnfit: s1._domainkey.example.com: found k=rsa; expected TXT v=DKIM1; k=ed25519; p=",
        ),
        ("FAIL", "unknown: TXT of s1._domainkey.example.com: SERVFAIL"),
    ] {
        let found = said("KEY", to);
        assert!(found[0].starts_with(expected), "{found:?}");
        assert_eq!(found.len(), 1, "SPF passes, so mail passes DMARC all the same: {found:?}");
    }
    assert!(said("s1._domainkey", "s2._domainkey")[0].starts_with("KeyMissing"));
    let test = judged(&subject(&[]), &GOOD.replace("KEY", "KEY; t=y"));
    assert!(test.is_good() && test.notes[0].contains("t=y"), "{test:?}");
}

#[test]
fn mail_passes_dmarc_by_one_of_two() {
    let zone = GOOD.replace("KEY", "v=DKIM1; p=").replace("ip4:203.0.113.10 -all", "-all");
    let judgement = judged(&subject(&["203.0.113.10"]), &zone);
    assert!(judgement.egress.iter().any(|one| one.kind == FindingKind::DmarcNotAligned), "{judgement:?}");
    let mut below = subject(&["203.0.113.10"]);
    below.domains[0].subdomains = true;
    assert!(judged(&below, GOOD).is_good());
    let strict = judged(&below, &GOOD.replace("p=none", "p=none; adkim=s"));
    assert!(strict.egress[0].to_string().contains("adkim=s"), "{strict:?}");
}

#[test]
fn a_failed_look_up_is_unknown_and_never_a_mismatch() {
    for from in
        ["PTR mail.example.com", "A 203.0.113.10", "TXT v=spf1 a -all", "TXT v=spf1 ip4:203.0.113.10 -all"]
    {
        let kind = from.split(' ').next().expect("a kind");
        let found = said(from, &format!("{kind} FAIL"));
        assert!(
            !found.is_empty() && found.iter().all(|one| one.starts_with("unknown: ")),
            "{from}: {found:?}"
        );
    }
}

#[test]
fn of_a_fleet_that_asks_for_nothing_else_only_keys_are_looked_at() {
    let mut keys_only = subject(&["203.0.113.10"]);
    keys_only.is_egress_checked = false;
    let judgement = judged(&keys_only, "");
    assert_eq!((judgement.egress.len(), judgement.keys.len()), (0, 1));
}

#[test]
fn findings_and_questions_are_bounded() {
    let mut large = subject(&[]);
    large.addresses = (0..=255).flat_map(|a| (0..20).map(move |b| IpAddr::from([203, 0, a, b]))).collect();
    let judgement = judged(&large, GOOD);
    assert!(judgement.egress.len() <= 64 && judgement.egress_unknown.len() <= 64);
    assert!(!judgement.egress_unknown.is_empty());
}

proptest! {
    /// Whatever a zone says: every round asks something new, and it ends.
    #[test]
    fn any_zone_ends(texts in prop::collection::vec("(v=(spf1|DMARC1|DKIM1))?[ ;]\\PC{0,40}", 4), ptr in "\\PC{1,20}", fails: u8) {
        let names = ["mail.example.com", "example.com", "_dmarc.example.com", "s1._domainkey.example.com"];
        let mut answers = Answers::new();
        let rounds = Cell::new(0);
        let judgement = loop {
            rounds.set(rounds.get() + 1);
            match judge(&subject(&["203.0.113.10", "2001:db8::1"]), &answers) {
                Step::Done(judgement) => break judgement,
                Step::Ask(questions) => for one in questions {
                    let at = names.iter().position(|name| **name == *one.name);
                    let answer = match (one.kind, at) {
                        (Kind::Txt, Some(at)) if fails & (1 << at) != 0 => crate::mx::Answer::Failed(crate::mx::DnsFailure::Timeout),
                        (Kind::Txt, Some(at)) => crate::mx::Answer::Records(vec![Record::Text(texts[at].clone().into())]),
                        (Kind::Ptr | Kind::Mx, _) => crate::mx::Answer::Records(vec![Record::Name(ptr.clone().into())]),
                        _ => crate::mx::Answer::NxDomain,
                    };
                    prop_assert!(answers.insert(one, answer).is_none());
                },
            }
            prop_assert!(rounds.get() < 60);
        };
        prop_assert!(judgement.egress.len() <= 64);
    }
}

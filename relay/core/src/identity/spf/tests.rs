//! Cases of RFC 7208's appendix A, and in the spirit of the openspf suite.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::identity::testkit::Zone;

/// RFC 7208 appendix A.
const EXAMPLE: &str = "
    example.com A 192.0.2.10
    example.com A 192.0.2.11
    example.com MX mail-a.example.com
    example.com MX mail-b.example.com
    amy.example.com A 192.0.2.65
    bob.example.com A 192.0.2.66
    mail-a.example.com A 192.0.2.129
    mail-b.example.com A 192.0.2.130
    example.org MX mail-c.example.org
    mail-c.example.org A 192.0.2.140
    mary.mobile-users._spf.example.com A 127.0.0.2
    3.2.0.192.ips._spf.example.com A 127.0.0.2
";

fn check(zone: &str, address: &str) -> String {
    let address = address.parse().expect("an address");
    match Zone::of(zone).settle(|facts| check_host(facts, address, "example.com", "mx.example.com")) {
        Ok(result) => result.to_string(),
        Err(Lacking::Failed(question, failure)) => format!("{question}: {}", failure.as_str()),
        Err(Lacking::Pending) => panic!("settled, and pending"),
    }
}

fn example(record: &str, address: &str) -> String {
    check(&format!("{EXAMPLE}\nexample.com TXT {record}"), address)
}

#[test]
fn the_examples_of_the_rfc() {
    for (record, address, expected) in [
        ("v=spf1 +all", "203.0.113.1", "pass"),
        ("v=spf1 a -all", "192.0.2.10", "pass"),
        ("v=spf1 a -all", "192.0.2.65", "fail"),
        ("v=spf1 a:example.org -all", "192.0.2.10", "fail"),
        ("v=spf1 mx -all", "192.0.2.129", "pass"),
        ("v=spf1 mx -all", "192.0.2.131", "fail"),
        ("v=spf1 mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.143", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.144", "fail"),
        ("v=spf1 ptr -all", "192.0.2.65", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "pass"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "fail"),
        ("v=spf1 exists:%{ir}.ips._spf.%{d} -all", "192.0.2.3", "pass"),
        ("v=spf1 exists:%{ir}.ips._spf.%{d} ~all", "192.0.2.4", "softfail"),
        ("v=spf1", "192.0.2.4", "neutral"),
        ("v=spf1 ?all", "192.0.2.4", "neutral"),
    ] {
        assert_eq!(example(record, address), expected, "{record} from {address}");
    }
    assert_eq!(check(EXAMPLE, "192.0.2.10"), "no record");
}

#[test]
fn others_are_included_and_redirected_to() {
    let zone = |own: &str, other: &str| {
        check(&format!("example.com TXT {own}\n_spf.example.net TXT {other}"), "203.0.113.10")
    };
    let include = "v=spf1 include:_spf.example.net -all";
    assert_eq!(zone(include, "v=spf1 ip4:203.0.113.0/24 -all"), "pass");
    assert_eq!(zone(include, "v=spf1 ip4:198.51.100.0/24 -all"), "fail");
    assert_eq!(zone(include, "text"), "permerror (_spf.example.net is included and has no record)");
    let redirect = "v=spf1 redirect=_spf.example.net";
    assert_eq!(zone(redirect, "v=spf1 ip4:203.0.113.10 -all"), "pass");
    assert_eq!(zone(redirect, "v=spf1 ~all"), "softfail");
    assert_eq!(zone("v=spf1 redirect=_spf.example.net -all", "v=spf1 +all"), "fail", "all goes first");
    // A macro is about the domain whose record has it.
    assert_eq!(zone("v=spf1 include:_spf.example.net", "v=spf1 a:x.%{d} -all"), "neutral");
}

#[test]
fn families_are_kept_apart() {
    let zone = "
        example.com TXT v=spf1 a/24//32 ip6:2001:db9::/32 -all
        example.com A 203.0.113.1
        example.com AAAA 2001:db8::1
    ";
    for (address, expected) in [
        ("203.0.113.99", "pass"),
        ("::ffff:203.0.113.99", "pass"),
        ("203.0.114.1", "fail"),
        ("2001:db8:1::", "pass"),
        ("2001:db9::7", "pass"),
        ("2001:dba::", "fail"),
    ] {
        assert_eq!(check(zone, address), expected, "{address}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_wherever_it_stands() {
    for term in [
        "a:",
        "a/33",
        "a/024",
        "a//129",
        "ip4",
        "ip4:1.2.3",
        "ip4:1.2.3.4/33",
        "ip4:01.2.3.4",
        "ip6:::1/129",
        "ip6:1.2.3.4",
        "all:x",
        "include",
        "include:",
        "exists",
        "foo",
        "foo:bar",
        "-",
        "redirect=",
        "a:museum",
        "redirect=a.b redirect=a.b",
        "exp=a.b exp=a.b",
        "1x=y",
        "a:%{x}",
        "ptr:",
        "é",
        "mx:example.com/",
        "x=%",
    ] {
        let found = example(&format!("v=spf1 ip4:192.0.2.10 {term}"), "192.0.2.10");
        assert!(found.starts_with("permerror"), "{term}: {found}");
    }
    for term in
        ["unknown=x", "exp=why.%{d}", "moo.cow-far_out=man:dog/cat", "A:EXAMPLE.com", "PTR", "a:%{d}/24"]
    {
        assert_eq!(example(&format!("v=spf1 {term} ip4:192.0.2.99 -all"), "192.0.2.99"), "pass", "{term}");
    }
}

#[test]
fn a_record_is_known_by_its_version_and_is_one() {
    let zone = |records: &[&str]| {
        let lines: Vec<String> = records.iter().map(|record| format!("example.com TXT {record}")).collect();
        check(&lines.join("\n"), "203.0.113.1")
    };
    assert_eq!(zone(&["v=spf10 +all", "v=spf1x", "spf2.0/pra +all"]), "no record");
    assert_eq!(zone(&["google-site-verification=1", "V=SPF1 +all"]), "pass");
    assert_eq!(zone(&["v=spf1 +all", "v=spf1 -all"]), "permerror (example.com has several records)");
}

#[test]
fn look_ups_are_bounded() {
    let chain = |length: usize| {
        let mut zone = String::from("example.com TXT v=spf1 include:s1.example.com -all\n");
        for at in 1..length {
            zone += &format!("s{at}.example.com TXT v=spf1 include:s{}.example.com -all\n", at + 1);
        }
        zone + &format!("s{length}.example.com TXT v=spf1 +all")
    };
    assert_eq!(check(&chain(10), "203.0.113.1"), "pass");
    assert_eq!(check(&chain(11), "203.0.113.1"), "permerror (more than 10 look-ups)");
    let circle = "example.com TXT v=spf1 include:example.com -all";
    assert_eq!(check(circle, "203.0.113.1"), "permerror (more than 10 look-ups)");
    let ptr = format!("example.com TXT v=spf1 {}ip4:203.0.113.1", "ptr ".repeat(11));
    assert_eq!(check(&ptr, "203.0.113.1"), "permerror (more than 10 look-ups)");
    let void = "example.com TXT v=spf1 a:a.example.net a:b.example.net ip4:203.0.113.1";
    assert_eq!(check(void, "203.0.113.1"), "pass");
    let void = "example.com TXT v=spf1 a:a.example.net a:b.example.net mx:c.example.net ip4:203.0.113.1";
    assert!(check(void, "203.0.113.1").starts_with("permerror (more than 2 look-ups of names"));
    let mut exchanges = String::from("example.com TXT v=spf1 mx -all\n");
    for at in 0..11 {
        exchanges += &format!("example.com MX mx{at}.example.com\nmx{at}.example.com A 203.0.113.1\n");
    }
    assert_eq!(check(&exchanges, "203.0.113.1"), "permerror (more than 10 MX records of example.com)");
}

#[test]
fn a_failure_is_no_verdict_unless_the_answer_came_before_it() {
    let zone = |own: &str| check(&format!("example.com TXT {own}\nbad.example.net A FAIL"), "203.0.113.1");
    assert_eq!(zone("v=spf1 a:bad.example.net +all"), "A of bad.example.net: SERVFAIL");
    assert_eq!(zone("v=spf1 +all a:bad.example.net"), "pass");
    assert_eq!(check("example.com TXT FAIL", "203.0.113.1"), "TXT of example.com: SERVFAIL");
}

fn term() -> impl Strategy<Value = String> {
    let name =
        prop::sample::select(vec!["example.com", "b.example.com", "%{d}", "%{ir}.%{d2}", "x", "a..b", "%{"]);
    let mechanism =
        prop::sample::select(vec!["a", "mx", "ptr", "include", "exists", "all", "ip4", "ip6", "foo"]);
    let sign = prop::sample::select(vec!["", "-", "~", "?", "+"]);
    prop_oneof![
        4 => (sign, mechanism, name.clone()).prop_map(|(sign, mechanism, name)| format!("{sign}{mechanism}:{name}")),
        1 => name.prop_map(|name| format!("redirect={name}")),
        1 => "\\PC{0,20}",
        1 => Just("mx".to_owned()),
        1 => Just("a/24//64".to_owned()),
    ]
}

proptest! {
    /// Whatever zones say: it ends, by few questions, and the same answers give the same verdict.
    #[test]
    fn any_record_ends(own in prop::collection::vec(term(), 0..14), other in prop::collection::vec(term(), 0..14), v6: bool) {
        let mut zone = format!("example.com A 192.0.2.1\nexample.com MX b.example.com\nexample.com TXT v=spf1 {}\n", own.join(" "));
        zone += &format!("b.example.com AAAA 2001:db8::1\nb.example.com TXT v=spf1 {}\n", other.join(" "));
        let zone = zone.lines().filter(|line| !line.contains(['\u{2028}', '\u{85}'])).collect::<Vec<_>>().join("\n");
        let zone = Zone::of(&zone);
        let address = if v6 { "2001:db8::1" } else { "192.0.2.1" }.parse().expect("an address");
        let rounds = Cell::new(0);
        let result = zone.settle(|facts| {
            rounds.set(rounds.get() + 1);
            check_host(facts, address, "example.com", "mx.example.com")
        });
        prop_assert!(result.is_ok() && rounds.get() <= 30, "{result:?} after {} rounds", rounds.get());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}", address: [u8; 4]) {
        if let Ok(record) = record::SpfRecord::parse(&format!("v=spf1 {text}")) {
            let context = Context { address: address.into(), sender: "a@b.example", domain: "b.example", ehlo: "c.example" };
            if let Some(redirect) = record.redirect {
                prop_assert!(redirect.expand(&context).len() < 8192);
            }
        }
    }
}

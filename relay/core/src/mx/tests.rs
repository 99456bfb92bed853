//! Facts of the DNS in, hosts or a verdict out.

use postrider_mail::OutcomeKind;
use proptest::prelude::*;

use super::*;

fn domain() -> Domain {
    Domain::parse("d.example").expect("a domain")
}

fn record(preference: u16, target: &str) -> MxRecord {
    MxRecord { preference, target: MxTarget::parse(target) }
}

fn v4(addresses: &[[u8; 4]]) -> Addresses {
    let v4 = addresses.iter().map(|octets| Ipv4Addr::from(*octets)).collect();
    Addresses { v4: Answer::Records(v4), v6: Answer::NoData }
}

fn absent() -> Addresses {
    Addresses { v4: Answer::NxDomain, v6: Answer::NxDomain }
}

fn failed() -> Addresses {
    Addresses { v4: Answer::Failed(DnsFailure::ServFail), v6: Answer::NoData }
}

/// Runs both steps, as the shell does.
fn resolve(
    answer: &Answer<MxRecord>,
    to: &Destinations,
    seed: u64,
    look_up: impl Fn(&str) -> Addresses,
) -> Result<Vec<Host>, Unresolved> {
    let candidates = candidates(&domain(), answer, to, seed)?;
    let found: Vec<_> = candidates
        .list
        .into_iter()
        .map(|candidate| {
            let addresses = match &candidate.target {
                MxTarget::Host(name) => look_up(name.as_str()),
                MxTarget::Null | MxTarget::Broken(_) => absent(),
            };
            (candidate, addresses)
        })
        .collect();
    order(&found, candidates.is_complete, to, seed)
}

fn public(_: &str) -> Addresses {
    v4(&[[93, 184, 216, 34]])
}

fn names(hosts: &[Host]) -> Vec<&str> {
    hosts.iter().map(|host| host.name.as_str()).collect()
}

#[test]
fn equal_hosts_take_turns_and_better_ones_go_first() {
    let answer = Answer::Records(vec![record(10, "b."), record(5, "a."), record(10, "c."), record(20, "d.")]);
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let hosts = resolve(&answer, &Destinations::default(), seed, public).expect("hosts");
        assert_eq!((names(&hosts)[0], names(&hosts)[3]), ("a", "d"));
        orders.insert(names(&hosts).join(" "));
    }
    assert_eq!(orders.into_iter().collect::<Vec<_>>(), ["a b c d", "a c b d"]);
}

#[test]
fn targets_are_told_apart() {
    let host = |name| MxTarget::Host(HostName::parse(name).expect("a name"));
    for (text, target) in [
        (".", MxTarget::Null),
        ("", MxTarget::Null),
        ("MX.Example.", host("mx.example")),
        ("mx_1.example.", host("mx_1.example")),
        ("10.0.0.1.", MxTarget::Broken("10.0.0.1".into())),
        ("10。0。0。１.", MxTarget::Broken("10。0。0。１".into())),
        ("a b.example.", MxTarget::Broken("a b.example".into())),
    ] {
        assert_eq!(MxTarget::parse(text), target, "{text:?}");
    }
}

#[test]
fn a_dot_among_others_is_overlooked() {
    let to = Destinations::default();
    let mixed = Answer::Records(vec![record(0, "."), record(10, "a.")]);
    assert_eq!(names(&resolve(&mixed, &to, 0, public).expect("hosts")), ["a"]);
    let null = Answer::Records(vec![record(0, ".")]);
    assert_eq!(resolve(&null, &to, 0, public), Err(Unresolved::NullMx));
    assert_eq!(Unresolved::NullMx.status().to_string(), "5.1.10");
}

#[test]
fn the_domain_is_its_own_host_only_without_mx() {
    let to = Destinations::default();
    assert_eq!(names(&resolve(&Answer::NoData, &to, 0, public).expect("implicit")), ["d.example"]);
    let broken = Answer::Records(vec![record(10, "10.0.0.1.")]);
    assert_eq!(resolve(&broken, &to, 0, public), Err(Unresolved::HostsAbsent));
}

#[test]
fn what_may_change_outweighs_what_cannot() {
    let to = Destinations::default();
    let answer = Answer::Records(vec![record(10, "gone."), record(20, "shaky.")]);
    let found = resolve(&answer, &to, 0, |name| if name == "shaky" { failed() } else { absent() });
    assert_eq!(found, Err(Unresolved::Failed { name: "shaky".into(), failure: DnsFailure::ServFail }));
    let half = Addresses { v4: Answer::NxDomain, v6: Answer::Failed(DnsFailure::Timeout) };
    let found = resolve(&answer, &to, 0, |_| half.clone());
    assert_eq!(found.expect_err("none").kind(), OutcomeKind::Deferred);
}

#[test]
fn ourselves_and_all_that_is_not_better_is_dropped() {
    let us = HostName::parse("us.example").expect("a name");
    let to = Destinations {
        own_names: vec![us],
        own_addresses: vec![[93, 184, 216, 99].into()],
        ..Destinations::default()
    };
    let look_up = |name: &str| if name == "alias" { v4(&[[93, 184, 216, 99]]) } else { public(name) };
    for (records, expected) in [
        (vec![record(10, "us.example."), record(20, "b.")], Err(Unresolved::Loop)),
        (vec![record(10, "us.example."), record(10, "b.")], Err(Unresolved::Loop)),
        (vec![record(5, "b."), record(10, "us.example."), record(10, "c.")], Ok(vec!["b"])),
        (vec![record(5, "b."), record(10, "alias."), record(20, "c.")], Ok(vec!["b"])),
        (vec![record(10, "alias.")], Err(Unresolved::Loop)),
    ] {
        let found = resolve(&Answer::Records(records.clone()), &to, 7, look_up);
        let found = found.as_ref().map(|hosts| names(hosts)).map_err(Clone::clone);
        assert_eq!(found, expected, "{records:?}");
    }
}

#[test]
fn an_own_address_is_a_loop_unless_it_is_allowed_by_name() {
    let own = IpAddr::from([10, 0, 0, 7]);
    let answer = Answer::Records(vec![record(10, "a.")]);
    let to = |net: &str| Destinations {
        own_addresses: vec![own],
        allowed: vec![net.parse().expect("a network")],
        ..Destinations::default()
    };
    let look_up = |_: &str| v4(&[[10, 0, 0, 7]]);
    assert_eq!(resolve(&answer, &to("10.0.0.0/8"), 0, look_up), Err(Unresolved::Loop));
    assert!(resolve(&answer, &to("10.0.0.7/32"), 0, look_up).is_ok());
}

#[test]
fn special_addresses_are_known_in_every_disguise() {
    for text in [
        "0.0.0.0",
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::7f00:1",
        "2001:db8::1",
    ] {
        assert!(is_special(text.parse().expect(text)), "{text}");
    }
    for text in [
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1",
        "2a00:1450::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2001:4860:4860::8888",
    ] {
        assert!(!is_special(text.parse().expect(text)), "{text}");
    }
}

#[test]
fn a_listed_network_is_allowed_in_either_form() {
    let to =
        Destinations { allowed: vec!["127.0.0.0/8".parse().expect("a network")], ..Destinations::default() };
    for text in ["127.0.0.1", "::ffff:127.0.0.1"] {
        assert_eq!(check_address(text.parse().expect(text), &to), Ok(()), "{text}");
    }
    let other = "10.0.0.1".parse().expect("an address");
    assert_eq!(check_address(other, &to), Err(Unresolved::Forbidden(other)));
}

#[test]
fn families_take_turns() {
    let found = Addresses {
        v4: Answer::Records(vec![Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(8, 8, 4, 4)]),
        v6: Answer::Records(vec!["2606:4700::1".parse().expect("v6"), "2606:4700::2".parse().expect("v6")]),
    };
    for (families, is_v4) in [
        (Families::V4First, vec![true, false, true, false]),
        (Families::V6First, vec![false, true, false, true]),
        (Families::V4Only, vec![true, true]),
        (Families::V6Only, vec![false, false]),
    ] {
        let to = Destinations { families, ..Destinations::default() };
        let hosts = resolve(&Answer::NoData, &to, 1, |_| found.clone()).expect("hosts");
        assert_eq!(hosts[0].addresses.iter().map(IpAddr::is_ipv4).collect::<Vec<_>>(), is_v4, "{families:?}");
    }
}

#[test]
fn a_host_named_twice_is_tried_once_and_too_many_defer() {
    let to = Destinations::default();
    let twice = Answer::Records(vec![record(10, "a."), record(20, "A.")]);
    assert_eq!(names(&resolve(&twice, &to, 0, public).expect("hosts")), ["a"]);
    let many = Answer::Records((0..100).map(|n| record(n, &format!("h{n}."))).collect());
    assert_eq!(resolve(&many, &to, 0, public).expect("hosts").len(), to.limits.hosts);
    // Not all of them were asked for, so that their absence isn't known.
    assert_eq!(resolve(&many, &to, 0, |_| absent()), Err(Unresolved::TooMany));
}

fn any_answer<T: std::fmt::Debug + Clone + 'static>(
    of: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Answer<T>> {
    prop_oneof![
        3 => proptest::collection::vec(of, 1..4).prop_map(Answer::Records),
        1 => Just(Answer::NoData),
        1 => Just(Answer::NxDomain),
        1 => any_failure().prop_map(Answer::Failed),
    ]
}

fn any_failure() -> impl Strategy<Value = DnsFailure> {
    use DnsFailure as F;
    proptest::sample::select(vec![
        F::ServFail,
        F::Refused,
        F::OtherCode,
        F::Timeout,
        F::Unreachable,
        F::Malformed,
        F::Bogus,
        F::AliasLoop,
    ])
}

fn any_mx() -> impl Strategy<Value = Answer<MxRecord>> {
    let targets = vec!["a.", "b.", "c.", "d.", "us.", ".", "10.0.0.1."];
    any_answer((0_u16..4, proptest::sample::select(targets)).prop_map(|(p, target)| record(p, target)))
}

fn any_addresses() -> impl Strategy<Value = Addresses> {
    let v4 = proptest::sample::select(vec![[8, 8, 8, 8], [8, 8, 4, 4], [127, 0, 0, 1], [93, 184, 216, 99]]);
    let v6 = proptest::sample::select(vec!["2606:4700::1", "::1"]);
    (
        any_answer(v4.prop_map(Ipv4Addr::from)),
        any_answer(v6.prop_map(|text| text.parse::<Ipv6Addr>().expect("v6"))),
    )
        .prop_map(|(v4, v6)| Addresses { v4, v6 })
}

fn us() -> Destinations {
    Destinations {
        own_names: vec![HostName::parse("us").expect("a name")],
        own_addresses: vec![[93, 184, 216, 99].into()],
        ..Destinations::default()
    }
}

fn has_failed(found: &Addresses) -> bool {
    matches!(found.v4, Answer::Failed(_)) || matches!(found.v6, Answer::Failed(_))
}

proptest! {
    #[test]
    fn hosts_respect_preference_and_bounds(
        answer in any_mx(), by_name in proptest::collection::vec(any_addresses(), 26), seed: u64,
    ) {
        let to = us();
        let of = |name: &str| by_name[usize::from(name.as_bytes()[0] - b'a')].clone();
        if let Ok(hosts) = resolve(&answer, &to, seed, of) {
            prop_assert!(!hosts.is_empty() && hosts.len() <= to.limits.hosts);
            prop_assert!(hosts.is_sorted_by_key(|host| host.preference));
            for host in &hosts {
                prop_assert!((1..=to.limits.addresses_per_host).contains(&host.addresses.len()));
                prop_assert!(host.addresses.iter().all(|address| !is_special(*address)));
                prop_assert!(host.name.as_str() != "us");
                prop_assert!(host.addresses.iter().all(|address| !to.own_addresses.contains(address)));
            }
        }
    }

    #[test]
    fn no_failure_ever_bounces(
        answer in any_mx(), by_name in proptest::collection::vec(any_addresses(), 26), seed: u64,
    ) {
        let of = |name: &str| by_name[usize::from(name.as_bytes()[0] - b'a')].clone();
        let Err(why) = resolve(&answer, &us(), seed, of) else { return Ok(()) };
        // A loop is settled by an authoritative record, whatever the worse hosts would have said.
        if why.kind() == OutcomeKind::Bounced && why != Unresolved::Loop {
            prop_assert!(!matches!(answer, Answer::Failed(_)));
            // What isn't better than ourselves isn't tried, and so not asked about either.
            let is_us = |record: &MxRecord| match &record.target {
                MxTarget::Host(name) => name.as_str() == "us" || addresses::has_own(&of(name.as_str()), &us()),
                MxTarget::Null | MxTarget::Broken(_) => false,
            };
            let asked: Vec<_> = match &answer {
                Answer::Records(records) => {
                    let ours = records.iter().filter(|record| is_us(record)).map(|record| record.preference).min();
                    let better = |record: &&MxRecord| ours.is_none_or(|limit| record.preference < limit);
                    let name = |record: &MxRecord| match &record.target {
                        MxTarget::Host(name) => Some(name.as_str().to_owned()),
                        MxTarget::Null | MxTarget::Broken(_) => None,
                    };
                    records.iter().filter(better).filter_map(name).collect()
                }
                Answer::NoData => vec!["d.example".to_owned()],
                Answer::NxDomain | Answer::Failed(_) => vec![],
            };
            prop_assert!(asked.iter().all(|name| !has_failed(&of(name))), "{why:?}");
            prop_assert_eq!(why.status().severity(), postrider_mail::Severity::Permanent);
        }
    }

    #[test]
    fn with_every_look_up_failed_mail_always_waits(answer in any_mx(), failure in any_failure(), seed: u64) {
        let found = resolve(&Answer::Failed(failure), &us(), seed, |_| failed());
        prop_assert_eq!(found.expect_err("nothing is known").kind(), OutcomeKind::Deferred);
        if let Err(why) = resolve(&answer, &Destinations::default(), seed, |_| failed()) {
            let settled = matches!(answer, Answer::NxDomain) || why == Unresolved::NullMx || why == Unresolved::HostsAbsent;
            prop_assert!(why.kind() == OutcomeKind::Deferred || settled, "{:?}", why);
        }
    }
}

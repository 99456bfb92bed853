//! Which source a message takes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn source(name: &str, weight: u32) -> Source {
    Source {
        name: name.into(),
        weight,
        hostname: HostName::parse("mail.example.com").expect("a name"),
        family: None,
        warm_up: None,
        way: Way::Direct,
    }
}

fn pool(sources: &[(&str, u32)]) -> Pool {
    Pool {
        name: "main".into(),
        sources: sources.iter().map(|(name, weight)| source(name, *weight)).collect(),
    }
}

fn first(pool: &Pool, id: &str) -> String {
    pool.order(id).first().expect("a source").name.to_string()
}

fn shares(pool: &Pool, ids: u32) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    for id in 0..ids {
        *shares.entry(first(pool, &format!("a-{id:016x}"))).or_insert(0.0) += 1.0 / f64::from(ids);
    }
    shares
}

#[test]
fn each_source_gets_its_share() {
    let pool = pool(&[("a", 1), ("b", 2), ("c", 7), ("d", 90)]);
    let shares = shares(&pool, 10_000);
    for source in &pool.sources {
        let wanted = f64::from(source.weight) / f64::from(pool.weight());
        let found = shares[&*source.name];
        assert!((found - wanted).abs() < 0.01, "{}: {found} of {wanted}", source.name);
    }
}

#[test]
fn equal_weights_are_equal_shares() {
    let names: Vec<String> = (0..10).map(|number| format!("ip-{number}")).collect();
    let sources: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1000)).collect();
    for (name, share) in shares(&pool(&sources), 10_000) {
        assert!((share - 0.1).abs() < 0.012, "{name}: {share}");
    }
}

#[test]
fn a_source_that_goes_takes_only_its_own_share_with_it() {
    let all = pool(&[("a", 3), ("b", 2), ("c", 1), ("d", 4)]);
    let less = pool(&[("a", 3), ("c", 1), ("d", 4)]);
    for id in 0..5_000 {
        let id = id.to_string();
        let (before, after) = (first(&all, &id), first(&less, &id));
        assert!(before == after || before == "b", "{id}: {before}, then {after}");
        // What a source that is left out had goes where it would go without it.
        let second = all.order(&id).into_iter().find(|source| &*source.name != "b").expect("three others");
        assert_eq!(*second.name, *after);
    }
}

#[test]
fn a_heavier_source_only_gains() {
    let before = pool(&[("a", 1), ("b", 1), ("c", 1)]);
    let after = pool(&[("a", 1), ("b", 5), ("c", 1)]);
    for id in 0..2_000 {
        let id = id.to_string();
        let (was, is) = (first(&before, &id), first(&after, &id));
        assert!(was == is || is == "b", "{id}: {was}, then {is}");
    }
}

#[test]
fn a_source_of_one_kind_of_address_takes_no_other() {
    let mut one = source("a", 1);
    let (v4, v6): (IpAddr, IpAddr) =
        ("192.0.2.1".parse().expect("an address"), "2001:db8::1".parse().expect("an address"));
    assert!(one.takes(v4) && one.takes(v6));
    one.family = Some(IpFamily::IPv6);
    assert!(!one.takes(v4) && one.takes(v6));
}

#[test]
fn the_choice_stays_what_it_is() {
    // All relays of a fleet must agree, whichever version they are of.
    let pool = pool(&[("a", 1), ("b", 1), ("c", 1)]);
    let found: String = (0..24).map(|id| first(&pool, &id.to_string())).collect();
    assert_eq!(found, "bcbbababaaacaccbaccabbcb");
}

proptest! {
    #[test]
    fn every_source_comes_once_and_the_order_of_the_spec_is_of_no_matter(
        id in "[0-9a-f]{1,32}",
        weights in proptest::collection::vec(1_u32..=1000, 1..64),
    ) {
        let names: Vec<String> = (0..weights.len()).map(|number| format!("s{number}")).collect();
        let sources: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(weights).collect();
        let forward = pool(&sources);
        let mut backward = forward.clone();
        backward.sources.reverse();
        let order: Vec<&str> = forward.order(&id).iter().map(|source| &*source.name).collect();
        let mirrored: Vec<&str> = backward.order(&id).iter().map(|source| &*source.name).collect();
        prop_assert_eq!(&order, &mirrored);
        let mut sorted = order;
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(sorted.len(), sources.len());
    }
}

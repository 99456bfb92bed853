//! Which source an attempt is given.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use postrider_core::egress::{IpFamily, Way};
use postrider_mail::{HostName, Mono};

use super::*;
use crate::metrics::Metrics;

fn source(name: &str, family: Option<IpFamily>) -> Source {
    let hostname = HostName::parse("mail.example.com").expect("a name");
    Source { name: name.into(), weight: 1, hostname, family, warm_up: None, way: Way::Direct }
}

fn pool(names: &[&str]) -> Pool {
    Pool { name: "main".into(), sources: names.iter().map(|name| source(name, None)).collect() }
}

fn sources() -> (Sources, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(1_000));
    let read = time.clone();
    let clock = Clock::new(move || Mono::from_start(Duration::from_secs(read.load(Ordering::Acquire))));
    (Sources::new(clock, Metrics::new().expect("names are unique").sources), time)
}

fn name(choice: Choice) -> String {
    match choice {
        Choice::By(source) => source.name.source.to_string(),
        other => format!("{other:?}"),
    }
}

fn by(choice: Choice) -> Arc<NamedSource> {
    match choice {
        Choice::By(source) => source,
        other => panic!("{other:?}"),
    }
}

fn fault() -> SourceFault {
    SourceFault::OtherKind { address: [127, 0, 0, 1].into(), to: [127, 0, 0, 1].into() }
}

#[test]
fn a_source_that_failed_is_left_out_and_comes_back_to_its_mail() {
    let (sources, time) = sources();
    let pool = pool(&["a", "b", "c"]);
    let order: Vec<&str> = pool.order("id").iter().map(|one| &*one.name).collect();
    let first = by(sources.choose(&pool, "id", |_| true, &[]));
    assert_eq!(&*first.name.source, order[0]);
    sources.failed(&first, &fault());
    assert_eq!(name(sources.choose(&pool, "id", |_| true, &[])), order[1]);
    assert_eq!(sources.out(), std::slice::from_ref(&first.name));
    assert_eq!(sources.well(&pool, |_| true).len(), 2);
    time.fetch_add(30, Ordering::AcqRel);
    assert_eq!(name(sources.choose(&pool, "id", |_| true, &[])), order[0], "one finds out");
    assert_eq!(name(sources.choose(&pool, "id", |_| true, &[])), order[1], "the others wait for it");
    sources.works(&first);
    assert_eq!(name(sources.choose(&pool, "id", |_| true, &[])), order[0]);
    assert!(sources.out().is_empty());
}

#[test]
fn where_none_works_there_is_none() {
    let (sources, _) = sources();
    let pool = pool(&["a", "b"]);
    let mut tried = Vec::new();
    for _ in 0..2 {
        let source = by(sources.choose(&pool, "id", |_| true, &tried));
        sources.failed(&source, &fault());
        tried.push(source);
    }
    assert!(matches!(sources.choose(&pool, "id", |_| true, &tried), Choice::Out));
    assert!(matches!(sources.choose(&self::pool(&[]), "id", |_| true, &[]), Choice::Out));
}

#[test]
fn only_a_source_that_reaches_the_far_side_is_chosen() {
    let (sources, _) = sources();
    let mut pool = pool(&["a", "b"]);
    for source in &mut pool.sources {
        source.family = Some(IpFamily::IPv4);
    }
    let v6 = "2001:db8::1".parse().expect("an address");
    assert!(matches!(sources.choose(&pool, "id", |source| source.takes(v6), &[]), Choice::Unreachable));
    pool.sources.push(source("c", None));
    assert_eq!(name(sources.choose(&pool, "id", |source| source.takes(v6), &[])), "c");
}

#[test]
fn a_source_that_is_changed_is_a_new_one() {
    let (sources, _) = sources();
    let mut pool = pool(&["a"]);
    let before = by(sources.choose(&pool, "id", |_| true, &[]));
    sources.failed(&before, &fault());
    assert!(matches!(sources.choose(&pool, "id", |_| true, &[]), Choice::Out));
    pool.sources[0].way = Way::Address([127, 0, 0, 2].into());
    let after = by(sources.choose(&pool, "id", |_| true, &[]));
    // What is still under way by the old one says nothing of it.
    sources.failed(&before, &fault());
    assert_eq!(by(sources.choose(&pool, "id", |_| true, &[])), after);
}

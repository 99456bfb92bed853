//! Counters of a day, and the turn to do what is due with them.

use std::time::Duration;

use postrider_mail::Domain;
use postrider_queue::tally::{MAX_FIELDS, Taken};

use crate::{server::Server, world};

const DAY: &str = "2026-11-27";
const MINUTE: Duration = Duration::from_secs(60);

fn domain(name: &str) -> Domain {
    Domain::parse(name).expect("a domain")
}

fn one(name: &str, field: &str, by: u64) -> Vec<(Domain, Vec<(String, u64)>)> {
    vec![(domain(name), vec![(field.to_owned(), by)])]
}

#[tokio::test]
async fn what_pods_count_is_added_up() {
    let server = Server::start().await;
    let pods = [world::open(&[&server]).await, world::open(&[&server]).await];
    for n in 1..=40 {
        let both =
            one("a.example", "s1", n).into_iter().chain(one(&format!("b{n}.example"), "f1", 1)).collect();
        pods[usize::try_from(n % 2).expect("0 or 1")].tally(DAY, both).await.expect("an answer");
    }
    let many = (0..100).map(|n| (domain(&format!("c{n}.example")), vec![("s1".to_owned(), 2)])).collect();
    pods[0].tally(DAY, many).await.expect("an answer");
    assert_eq!(pods[1].tallied(DAY).await.expect("an answer").len(), 141);
    let counted = pods[1].tally_of(DAY, &domain("a.example")).await.expect("an answer");
    assert_eq!(counted.into_iter().collect::<Vec<_>>(), [("s1".to_owned(), 820)]);
    let counted = pods[1].tally_of(DAY, &domain("c99.example")).await.expect("an answer");
    assert_eq!(counted.get("s1"), Some(&2));
    assert!(pods[0].tallied("2026-11-28").await.expect("an answer").is_empty());
}

#[tokio::test]
async fn details_beyond_the_bound_are_not_kept_and_sums_are() {
    let server = Server::start().await;
    let pod = world::open(&[&server]).await;
    let details = (0..MAX_FIELDS + 10).map(|n| (format!("d{n}"), 1)).collect();
    pod.tally(DAY, vec![(domain("a.example"), details)]).await.expect("an answer");
    pod.tally(DAY, one("a.example", "f1", 7)).await.expect("an answer");
    pod.tally(DAY, one("a.example", "d0", 2)).await.expect("an answer");
    let counted = pod.tally_of(DAY, &domain("a.example")).await.expect("an answer");
    assert_eq!(counted.len(), MAX_FIELDS + 1);
    assert_eq!((counted.get("f1"), counted.get("d0")), (Some(&7), Some(&3)));
}

#[tokio::test]
async fn counters_of_two_shards_belong_together() {
    let (one_server, other) = (Server::start().await, Server::start().await);
    let first = world::open(&[&one_server]).await;
    first.tally(DAY, one("a.example", "s1", 1)).await.expect("an answer");
    let both = world::open(&[&one_server, &other]).await;
    both.tally(DAY, one("a.example", "s1", 2)).await.expect("an answer");
    assert_eq!(both.tallied(DAY).await.expect("an answer"), [domain("a.example")]);
    assert_eq!(both.tally_of(DAY, &domain("a.example")).await.expect("an answer").get("s1"), Some(&3));
}

#[tokio::test]
async fn one_pod_has_the_turn_and_nobody_once_it_is_done() {
    let server = Server::start().await;
    let pods = [world::open(&[&server]).await, world::open(&[&server]).await];
    let about = domain("a.example");
    pods[0].tally(DAY, one("a.example", "s1", 1)).await.expect("an answer");
    let take = async |pod: usize, lasts| {
        let holder = format!("pod-{pod}");
        pods[pod].take_turn(DAY, &about, &holder, lasts).await.expect("an answer")
    };
    // A pod that dies with it keeps it for a while only.
    let Taken::Ours(_died) = take(0, Duration::from_millis(500)).await else { panic!("nobody had it") };
    assert_eq!(take(1, MINUTE).await, Taken::Another);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let Taken::Ours(turn) = take(1, MINUTE).await else { panic!("its time is over") };
    pods[1].turn_done(turn, DAY, &about).await.expect("an answer");
    assert_eq!(take(0, MINUTE).await, Taken::Another);
    assert!(pods[0].tallied(DAY).await.expect("an answer").is_empty());
}

#[tokio::test]
async fn of_many_at_once_one_has_the_turn() {
    let server = Server::start().await;
    let pod = world::open(&[&server]).await;
    let about = domain("a.example");
    let takes = (0..20).map(|n| {
        let (pod, about) = (pod.clone(), about.clone());
        tokio::spawn(async move { pod.take_turn(DAY, &about, &format!("pod-{n}"), MINUTE).await })
    });
    let takes: Vec<_> = takes.collect();
    let mut ours = 0;
    for take in takes {
        ours += u32::from(matches!(take.await.expect("a task").expect("an answer"), Taken::Ours(_)));
    }
    assert_eq!(ours, 1);
}

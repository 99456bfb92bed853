//! Who is claimed first: no sender's mail stands before another's, however much it is, and no destination is greater for having many
//! senders.

use std::{collections::BTreeMap, time::Duration};

use postrider_mail::Class;
use postrider_queue::{
    ClaimRequest, Claimed, Flow, Lane, Start,
    inspect::{Filter, Suspension},
    lane::Limited,
    limit::Limiter,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::pod::{HOUR, NOW, Pod, config, found};
use crate::{
    server::Server,
    world::{self, lane_of_flow},
};

async fn start() -> (Server, Pod) {
    let server = Server::start_with(&[("appendfsync", "no")]).await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    (server, pod)
}

async fn enqueue(pod: &Pod, lane: &Lane, count: usize) {
    for _ in 0..count {
        let mut message = pod.message(&["b"], Start::After(NOW));
        message.deliveries[0].lane = lane.clone();
        pod.try_enqueue(message).await.expect("room");
    }
}

async fn claim(pod: &Pod, max: u32, per_destination: u32, least: Class) -> Vec<Claimed> {
    let request = ClaimRequest {
        max,
        per_destination,
        least,
        may_take_alone: true,
        rooms: Vec::new(),
        longest_wait: world::LONGEST_WAIT,
        config: config(),
    };
    pod.partition.claim(&request).await.expect("an answer").claimed
}

fn flows(claimed: &[Claimed]) -> BTreeMap<Option<Flow>, usize> {
    let mut counts = BTreeMap::new();
    claimed.iter().for_each(|one| *counts.entry(one.delivery.lane.flow).or_default() += 1);
    counts
}

#[tokio::test]
async fn what_another_sender_has_waiting_does_not_stand_before_mine() {
    let (_server, pod) = start().await;
    // As many as make the second wait for the first in a queue of one order; one of them from a version that knew no flows.
    let (news, old, password) =
        (lane_of_flow("big.example", 3), world::lane("big.example"), lane_of_flow("big.example", 60));
    enqueue(&pod, &news, 300).await;
    enqueue(&pod, &old, 100).await;
    enqueue(&pod, &password, 30).await;
    let mut order = Vec::new();
    for _ in 0..12 {
        order.extend(claim(&pod, 9, 32, Class::Bulk).await.into_iter().map(|one| one.delivery.lane.flow));
    }
    let places: Vec<usize> =
        (1..).zip(&order).filter(|(_, flow)| **flow == password.flow).map(|(at, _)| at).collect();
    assert_eq!(places.len(), 30, "{order:?}");
    // A fair share is every third; a claim takes three of each.
    assert!((1..).zip(&places).all(|(nth, place)| *place <= 3 * nth + 9), "{places:?}");
}

/// While two flows have mail, neither gets more before the other than a claim takes of a destination.
#[tokio::test]
async fn flows_get_the_same_whatever_claims_ask_for() {
    let (_server, pod) = start().await;
    for seed in 0..6_u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let domain = format!("d{seed}.example");
        let mut left: BTreeMap<Option<Flow>, usize> = BTreeMap::new();
        for number in 0..rng.random_range(2..7) {
            let (lane, count) = (lane_of_flow(&domain, number * 9), rng.random_range(1..70));
            enqueue(&pod, &lane, count).await;
            left.insert(lane.flow, count);
        }
        let per_destination = rng.random_range(1..20);
        let mut got: BTreeMap<Option<Flow>, usize> = left.keys().map(|flow| (*flow, 0)).collect();
        while left.values().any(|count| *count > 0) {
            let claimed = claim(&pod, rng.random_range(1..=32), per_destination, Class::Bulk).await;
            assert!(
                !claimed.is_empty() && claimed.len() <= per_destination as usize,
                "seed {seed}: {left:?}"
            );
            for (flow, count) in flows(&claimed) {
                *got.get_mut(&flow).expect("a flow") += count;
                *left.get_mut(&flow).expect("a flow") -= count;
            }
            let waiting = || got.iter().filter(|(flow, _)| left[*flow] > 0).map(|(_, count)| *count);
            let (least, most) = (waiting().min().unwrap_or(0), waiting().max().unwrap_or(0));
            assert!(most - least <= per_destination as usize + 1, "seed {seed}: {got:?}, left {left:?}");
        }
    }
}

#[tokio::test]
async fn a_destination_of_many_senders_is_no_greater_than_one_of_one() {
    let (_server, pod) = start().await;
    for number in 0..64 {
        enqueue(&pod, &lane_of_flow("big.example", number), 4).await;
    }
    enqueue(&pod, &lane_of_flow("small.example", 1), 4).await;
    let mut by_flow: BTreeMap<Option<Flow>, usize> = BTreeMap::new();
    for _ in 0..16 {
        let claimed = claim(&pod, 16, 8, Class::Bulk).await;
        let (big, small): (Vec<_>, Vec<_>) =
            claimed.into_iter().partition(|one| one.delivery.lane.domain.as_str() == "big.example");
        assert!(big.len() == 8, "{}", big.len());
        flows(&big).into_iter().for_each(|(flow, count)| *by_flow.entry(flow).or_default() += count);
        if !small.is_empty() {
            assert_eq!(small.len(), 4, "all at once");
            by_flow.insert(None, 0);
        }
    }
    assert_eq!(by_flow.remove(&None), Some(0), "the small one had its turn");
    assert!(by_flow.len() == 64 && by_flow.values().all(|count| *count == 2), "{by_flow:?}");
}

#[tokio::test]
async fn a_suspension_is_of_all_flows_and_its_end_wakes_all() {
    let (_server, pod) = start().await;
    let (one, two) = (lane_of_flow("far.example", 1), lane_of_flow("far.example", 2));
    pod.try_claim(1).await.expect("an answer");
    enqueue(&pod, &one, 1).await;
    pod.partition.suspend(&one, HOUR, &config()).await.expect("an answer");
    enqueue(&pod, &two, 1).await;
    let mut fast = pod.message(&["b"], Start::Claimed);
    fast.deliveries[0].lane = two.clone();
    assert!(pod.try_enqueue(fast).await.expect("room").claimed.is_empty(), "not on the fast path either");
    let batch = pod.try_claim(10).await.expect("an answer");
    assert!(batch.claimed.is_empty());
    assert!(batch.now.until(batch.next.expect("a time")) > HOUR - Duration::from_secs(10), "{batch:?}");
    let views = pod.partition.top_lanes(5).await.expect("an answer");
    assert_eq!(views.len(), 1);
    assert_eq!((&views[0].lane, views[0].waiting), (&world::lane("far.example"), 3));
    assert!(matches!(views[0].suspended, Some(Suspension::Until(_))), "{views:?}");
    pod.partition.resume(&two, &config()).await.expect("an answer");
    assert_eq!(claim(&pod, 10, 10, Class::Bulk).await.len(), 3);
    // By hand, and lifted by a person who names any of its lanes.
    enqueue(&pod, &one, 1).await;
    enqueue(&pod, &two, 1).await;
    pod.partition.suspend_by_hand(&two).await.expect("an answer");
    assert!(pod.claim().await.is_empty());
    pod.partition.resume(&one, &config()).await.expect("an answer");
    assert!(pod.claim().await.is_empty(), "no relay lifts it");
    pod.partition.resume_by_hand(&one).await.expect("an answer");
    assert_eq!(pod.claim().await.len(), 2);
}

#[tokio::test]
async fn a_flow_waits_no_longer_than_the_last_that_is_known_of_its_destination() {
    let (_server, pod) = start().await;
    let flow = lane_of_flow("far.example", 1);
    pod.partition.suspend(&flow, HOUR, &config()).await.expect("an answer");
    enqueue(&pod, &flow, 1).await;
    assert!(pod.claim().await.is_empty());
    pod.partition.suspend(&flow, Duration::from_millis(1), &config()).await.expect("an answer");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let _ = pod.claim_one().await;
}

#[tokio::test]
async fn under_another_config_a_suspension_holds_for_no_flow() {
    let (_server, pod) = start().await;
    let other = postrider_queue::ConfigTag::new("other");
    for number in [4, 5] {
        enqueue(&pod, &lane_of_flow("far.example", number), 1).await;
    }
    pod.partition.suspend(&world::lane("far.example"), HOUR, &other).await.expect("an answer");
    // As a claim under that config found them.
    let request = ClaimRequest {
        max: 10,
        per_destination: 10,
        least: Class::Bulk,
        may_take_alone: true,
        rooms: Vec::new(),
        longest_wait: world::LONGEST_WAIT,
        config: other,
    };
    assert!(pod.partition.claim(&request).await.expect("an answer").claimed.is_empty());
    assert_eq!(pod.partition.resume_other(&config()).await, Ok(1));
    assert_eq!(pod.claim().await.len(), 2);
    assert_eq!(pod.partition.figures().await.expect("an answer").suspended, 0);
}

#[tokio::test]
async fn a_limit_lets_a_flow_wait_and_no_other() {
    let (_server, pod) = start().await;
    let (news, password, old) =
        (lane_of_flow("far.example", 1), lane_of_flow("far.example", 2), world::lane("far.example"));
    for lane in [&news, &password, &old] {
        enqueue(&pod, lane, 2).await;
    }
    let limited = Limited { limiter: Limiter::MessageRate, wait: HOUR, few: 1 };
    pod.partition.limit(&news, &limited, &config()).await.expect("an answer");
    pod.partition.limit(&old, &limited, &config()).await.expect("an answer");
    assert_eq!(flows(&pod.claim().await), BTreeMap::from([(password.flow, 2)]));
    let views = pod.partition.top_lanes(5).await.expect("an answer");
    assert!(matches!(views[0].suspended, Some(Suspension::Limited { .. })), "{views:?}");
    // Nobody answers there: that holds for all, and when it is over the limit still does.
    enqueue(&pod, &password, 1).await;
    pod.partition.suspend(&password, HOUR, &config()).await.expect("an answer");
    assert!(pod.claim().await.is_empty());
    pod.partition.resume(&password, &config()).await.expect("an answer");
    assert_eq!(flows(&pod.claim().await), BTreeMap::from([(password.flow, 1), (None, 2)]));
}

#[tokio::test]
async fn of_the_less_urgent_classes_nothing_is_claimed_that_isnt_ending() {
    let (_server, pod) = start().await;
    let of = |class| Lane { class, ..lane_of_flow("far.example", 7) };
    for class in Class::ALL {
        enqueue(&pod, &of(class), 2).await;
    }
    let classes = |claimed: &[Claimed]| claimed.iter().map(|one| one.delivery.lane.class).collect::<Vec<_>>();
    let first = claim(&pod, 10, 10, Class::Transactional).await;
    assert_eq!(classes(&first), [Class::Transactional; 2]);
    assert!(claim(&pod, 10, 10, Class::Transactional).await.is_empty());
    let second = claim(&pod, 10, 10, Class::Normal).await;
    assert_eq!(classes(&second), [Class::Normal; 2]);
    let mut expired = pod.message(&["b"], Start::After(NOW));
    expired.deliveries[0].lane = of(Class::Bulk);
    expired.deliveries[0].expires_in = NOW;
    pod.try_enqueue(expired).await.expect("room");
    let ending = claim(&pod, 10, 10, Class::Transactional).await;
    assert!(ending.len() == 1 && ending[0].ending.is_some(), "{ending:?}");
    assert_eq!(classes(&claim(&pod, 10, 10, Class::Bulk).await), [Class::Bulk; 2]);
}

#[tokio::test]
async fn who_names_a_destination_means_all_its_flows() {
    let (_server, pod) = start().await;
    for (number, count) in [(1, 1), (2, 2), (3, 3)] {
        enqueue(&pod, &lane_of_flow("far.example", number), count).await;
    }
    enqueue(&pod, &world::lane("far.example"), 1).await;
    enqueue(&pod, &lane_of_flow("near.example", 1), 4).await;
    let lanes = pod.partition.top_lanes(1).await.expect("an answer");
    assert_eq!((lanes.len(), lanes[0].waiting, lanes[0].first_due.is_some()), (1, 7, true), "{lanes:?}");
    let listed = async |lane: Lane| {
        let filter = Filter { lane: Some(lane), ..Filter::default() };
        let (mut count, mut cursor) = (0, None);
        loop {
            let page = pod.partition.list(&filter, cursor).await.expect("an answer");
            count += page.deliveries.len();
            cursor = page.next;
            if cursor.is_none() {
                return count;
            }
        }
    };
    assert_eq!(listed(world::lane("far.example")).await, 7);
    assert_eq!(listed(lane_of_flow("far.example", 2)).await, 2);
}

#[tokio::test]
async fn of_a_lane_that_there_is_little_room_for_no_more_is_claimed_and_others_come_first() {
    let (_server, pod) = start().await;
    let (full, narrow, free) =
        (world::lane("full.example"), world::lane("narrow.example"), world::lane("free.example"));
    for lane in [&full, &narrow, &free] {
        enqueue(&pod, lane, 9).await;
    }
    let request = ClaimRequest {
        max: 9,
        per_destination: 5,
        rooms: vec![(full.clone(), 0), (narrow.clone(), 2)],
        least: Class::Bulk,
        may_take_alone: true,
        longest_wait: world::LONGEST_WAIT,
        config: config(),
    };
    let claimed = async |request: &ClaimRequest| {
        let batch = pod.partition.claim(request).await.expect("an answer");
        assert_eq!(batch.next.map(|next| next <= batch.now), Some(true), "what was left is due");
        let mut counts = [0; 3];
        for one in batch.claimed {
            let at = [&full, &narrow, &free].iter().position(|lane| **lane == one.delivery.lane);
            counts[at.expect("one of them")] += 1;
        }
        counts
    };
    assert_eq!(claimed(&request).await, [0, 2, 5]);
    assert_eq!(claimed(&request).await, [0, 2, 4]);
    let elsewhere = ClaimRequest { rooms: Vec::new(), ..request };
    assert_eq!(claimed(&elsewhere).await, [5, 4, 0], "another relay has room");
}

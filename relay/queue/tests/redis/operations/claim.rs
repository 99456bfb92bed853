//! What may be tried: expiry, suspension, fairness, records of other versions.

use std::{collections::BTreeMap, time::Duration};

use postrider_mail::Class;
use postrider_queue::{
    ClaimRequest, ConfigTag, Ending, Lane, Start,
    claim::ClaimError,
    inspect::{Place, Suspension},
    lane::Limited,
    limit::Limiter,
};

use super::pod::{HOUR, NOW, Pod, config, found, settlement};
use crate::{server::Server, world};

async fn start() -> (Server, Pod) {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    (server, pod)
}

async fn enqueue_in(pod: &Pod, lane: Lane, expires_in: Duration) {
    let mut message = pod.message(&["b"], Start::After(NOW));
    message.deliveries[0].lane = lane;
    message.deliveries[0].expires_in = expires_in;
    pod.try_enqueue(message).await.expect("room");
}

#[tokio::test]
async fn a_suspended_lane_is_not_tried_until_it_is_resumed() {
    let (_server, pod) = start().await;
    let lane = world::lane("far.example");
    pod.try_claim(1).await.expect("an answer");
    pod.partition.suspend(&lane, HOUR, &config()).await.expect("an answer");
    // Not on the fast path either.
    assert!(pod.enqueue(&["b"]).await.claimed.is_empty());
    let batch = pod.try_claim(10).await.expect("an answer");
    assert!(batch.claimed.is_empty());
    assert!((3_590..=3_600).contains(&batch.now.until(batch.next.expect("a time")).as_secs()), "{batch:?}");
    assert_eq!(pod.partition.top_lanes(5).await.expect("an answer")[0].suspended.map(|_| ()), Some(()));
    pod.partition.resume(&lane, &config()).await.expect("an answer");
    let _ = pod.claim_one().await;
}

#[tokio::test]
async fn a_suspension_ends_by_itself() {
    let (_server, pod) = start().await;
    let lane = world::lane("far.example");
    pod.enqueue_due(&["b"]).await;
    pod.partition.suspend(&lane, Duration::from_millis(200), &config()).await.expect("an answer");
    assert!(pod.claim().await.is_empty());
    tokio::time::sleep(Duration::from_millis(210)).await;
    let _ = pod.claim_one().await;
}

#[tokio::test]
async fn a_lane_that_a_limit_lets_wait_is_named_and_taken_from_a_few_at_a_time() {
    let (_server, pod) = start().await;
    let lane = world::lane("far.example");
    for _ in 0..9 {
        pod.enqueue_due(&["b"]).await;
    }
    let wait = Duration::from_millis(300);
    let limit = async |wait, limiter, few| {
        let limited = Limited { limiter, wait, few };
        pod.partition.limit(&lane, &limited, &config()).await.expect("an answer");
    };
    limit(wait, Limiter::MessageRate, 2).await;
    assert!(pod.claim().await.is_empty());
    let seen = async || pod.partition.top_lanes(5).await.expect("an answer")[0].suspended;
    assert!(matches!(seen().await, Some(Suspension::Limited { limiter: Limiter::MessageRate, .. })));
    tokio::time::sleep(Duration::from_millis(310)).await;
    assert_eq!((pod.claim().await.len(), pod.claim().await.len()), (2, 2));
    // What waits for connections is tried by whoever has some.
    limit(NOW, Limiter::Connections, 1).await;
    assert!(matches!(seen().await, Some(Suspension::Limited { limiter: Limiter::Connections, .. })));
    assert_eq!(pod.claim().await.len(), 1);
    // That nobody answers says more.
    pod.partition.suspend(&lane, HOUR, &config()).await.expect("an answer");
    limit(wait, Limiter::MessageRate, 2).await;
    assert!(matches!(seen().await, Some(Suspension::Until(_))));
    pod.partition.resume(&lane, &config()).await.expect("an answer");
    limit(HOUR, Limiter::MessageRate, 2).await;
    assert_eq!(pod.partition.resume_other(&ConfigTag::new("new")).await, Ok(1));
    assert_eq!(pod.claim().await.len(), 4, "another config has other limits");
}

#[tokio::test]
async fn another_config_lifts_suspensions() {
    let (_server, pod) = start().await;
    let lane = world::lane("far.example");
    pod.enqueue_due(&["b"]).await;
    pod.partition.suspend(&lane, HOUR, &ConfigTag::new("old")).await.expect("an answer");
    assert_eq!(pod.partition.resume_other(&ConfigTag::new("old")).await, Ok(0));
    assert_eq!(pod.partition.resume_other(&config()).await, Ok(1));
    let _ = pod.claim_one().await;
}

#[tokio::test]
async fn a_lane_suspended_by_hand_stays_so_until_a_person_resumes_it() {
    let (_server, pod) = start().await;
    let lane = world::lane("far.example");
    pod.enqueue_due(&["b"]).await;
    pod.partition.suspend_by_hand(&lane).await.expect("an answer");
    assert!(pod.claim().await.is_empty());
    pod.partition.resume(&lane, &config()).await.expect("an answer");
    pod.partition.suspend(&lane, Duration::from_millis(1), &config()).await.expect("an answer");
    assert_eq!(pod.partition.resume_other(&ConfigTag::new("new")).await, Ok(0));
    for _ in 0..3 {
        assert!(pod.claim().await.is_empty());
    }
    assert_eq!(pod.partition.top_lanes(5).await.expect("an answer")[0].suspended, Some(Suspension::ByHand));
    pod.partition.resume_by_hand(&lane).await.expect("an answer");
    assert_eq!(pod.claim().await.len(), 1);
}

#[tokio::test]
async fn an_expired_delivery_is_found_in_a_suspended_lane_and_on_hold() {
    let (_server, pod) = start().await;
    let lane = world::lane("far.example");
    enqueue_in(&pod, lane.clone(), Duration::from_millis(20)).await;
    pod.partition.suspend(&lane, HOUR, &config()).await.expect("an answer");
    let mut held = pod.message(&["c"], Start::Held("wait".into()));
    held.deliveries[0].expires_in = Duration::from_millis(20);
    pod.try_enqueue(held).await.expect("room");
    tokio::time::sleep(Duration::from_millis(30)).await;
    let claimed = pod.claim().await;
    assert_eq!(claimed.len(), 2);
    assert!(claimed.iter().all(|one| one.ending == Some(Ending::Expired)));
}

#[tokio::test]
async fn an_expired_delivery_that_is_given_back_is_away_for_its_wait() {
    let (_server, pod) = start().await;
    enqueue_in(&pod, world::lane("far.example"), Duration::from_millis(1)).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let claimed = pod.claim_one().await;
    assert_eq!(claimed.ending, Some(Ending::Expired));
    assert_eq!(pod.partition.release(&[&claimed.claim], Duration::from_millis(300)).await, Ok(1));
    tokio::time::sleep(Duration::from_millis(310)).await;
    let again = pod.claim_one().await;
    assert_eq!(again.ending, Some(Ending::Expired), "its time is over whenever it is found");
    assert_eq!(pod.partition.release(&[&again.claim], HOUR).await, Ok(1));
    let batch = pod.try_claim(10).await.expect("an answer");
    let wait = batch.now.until(batch.next.expect("it waits")).as_secs();
    assert!(batch.claimed.is_empty() && (3_590..=3_600).contains(&wait), "{batch:?}");
    // What expires while it waits is found before it is due.
    let mut other = pod.message(&["c"], Start::After(HOUR));
    other.deliveries[0].expires_in = Duration::from_millis(1);
    let other = pod.try_enqueue(other).await.expect("room").receipt.id().clone();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let found = pod.claim_one().await;
    assert_eq!((found.delivery.id.message.clone(), found.ending), (other, Some(Ending::Expired)));
}

#[tokio::test]
async fn a_fenced_pod_claims_nothing() {
    let (server, pod) = start().await;
    let other = Pod::on(&server).await;
    pod.enqueue_due(&["b"]).await;
    other.partition.reap(pod.life(), 0).await.expect("an answer");
    assert_eq!(pod.try_claim(1).await.expect_err("fenced"), ClaimError::Fenced);
    // And it knows now.
    assert_eq!(pod.partition.lease().incarnation(), None);
}

#[tokio::test]
async fn a_long_lane_does_not_hold_up_a_short_one() {
    let (_server, pod) = start().await;
    for _ in 0..100 {
        enqueue_in(&pod, world::lane("big.example"), HOUR).await;
    }
    enqueue_in(&pod, world::lane("small.example"), HOUR).await;
    let request = ClaimRequest {
        max: 10,
        per_destination: 4,
        least: Class::Bulk,
        may_take_alone: true,
        rooms: Vec::new(),
        longest_wait: crate::world::LONGEST_WAIT,
        config: config(),
    };
    let claimed = pod.partition.claim(&request).await.expect("an answer").claimed;
    let mut by_lane: BTreeMap<String, usize> = BTreeMap::new();
    claimed.iter().for_each(|one| *by_lane.entry(one.delivery.lane.domain.to_string()).or_default() += 1);
    assert_eq!(by_lane, BTreeMap::from([("big.example".into(), 4), ("small.example".into(), 1)]));
}

#[tokio::test]
async fn classes_are_claimed_by_weight_and_none_starves() {
    let (_server, pod) = start().await;
    for number in 0..90 {
        let class = Class::ALL[number % 3];
        enqueue_in(&pod, Lane { class, ..world::lane(&format!("d{number}.example")) }, HOUR).await;
    }
    let mut counts: BTreeMap<Class, u32> = BTreeMap::new();
    for _ in 0..2 {
        for one in pod.try_claim(13).await.expect("an answer").claimed {
            *counts.entry(one.delivery.lane.class).or_default() += 1;
        }
    }
    assert_eq!(counts, BTreeMap::from([(Class::Transactional, 16), (Class::Normal, 8), (Class::Bulk, 2)]));
    let mut claimed = 26;
    while claimed < 90 {
        let more = pod.try_claim(1).await.expect("an answer").claimed.len();
        assert_eq!(more, 1);
        claimed += more;
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_goes_back_for_a_minute() {
    let (server, pod) = start().await;
    let id = pod.enqueue_due(&["b"]).await;
    let key = pod.partition.keys().message(&id);
    let record: String = server.command(&["HGET", &key, "m"]).await;
    let _: u64 = server.command(&["HSET", &key, "m", "9{}"]).await;
    let batch = pod.try_claim(10).await.expect("an answer");
    assert!(batch.claimed.is_empty());
    assert_eq!(batch.unreadable.len(), 1);
    let batch = pod.try_claim(10).await.expect("an answer");
    let wait = batch.now.until(batch.next.expect("it waits"));
    assert!(batch.unreadable.is_empty() && (58..=60).contains(&wait.as_secs()), "{batch:?}");
    let _: u64 = server.command(&["HSET", &key, "m", &record]).await;
    let wish = postrider_queue::admin::Wish::RetryNow;
    pod.partition.wish(&wish, &[postrider_queue::admin::Which::Message(id)]).await.expect("an answer");
    let claimed = pod.claim_one().await;
    assert_eq!((claimed.delivery.crashes, claimed.delivery.history.attempts), (0, 0));
}

#[tokio::test]
async fn what_no_attempt_knows_is_given_back() {
    let (_server, pod) = start().await;
    pod.enqueue_due(&["b"]).await;
    let claimed = pod.claim_one().await;
    let claims = pod.partition.claims_of(pod.life()).await.expect("an answer");
    assert_eq!(claims, [(claimed.delivery.id.clone(), claimed.claim.number())]);
    assert_eq!(pod.partition.release_unknown(pod.life(), &claims).await, Ok(1));
    assert_eq!(pod.partition.release_unknown(pod.life(), &claims).await, Ok(0));
    let again = pod.claim_one().await;
    // What an attempt of the first claim says about the future counts for nothing.
    let late = settlement(claimed, &[postrider_mail::OutcomeKind::Bounced]);
    assert_eq!(pod.settle(late).await, postrider_queue::Settled::ClaimLost);
    assert_eq!(pod.partition.release(&[&again.claim], HOUR).await, Ok(1));
    assert!(pod.claim().await.is_empty());
}

#[tokio::test]
async fn claims_that_the_store_forgot_are_asserted_again() {
    let (server, pod) = start().await;
    let other = Pod::on(&server).await;
    pod.enqueue_due(&["b"]).await;
    pod.enqueue_due(&["c"]).await;
    let mut claimed = pod.claim().await;
    let names: Vec<_> = claimed.iter().map(|one| (one.delivery.id.clone(), one.claim.number())).collect();
    // As a store does that lost its last writes.
    let keys = pod.partition.keys();
    for one in &claimed {
        let id = &one.delivery.id;
        let lane = keys.lane(&one.delivery.lane);
        let _: u64 = server.command(&["HSET", &keys.message(&id.message), "p0", "L 0"]).await;
        let _: u64 = server.command(&["ZADD", &lane, "0", &id.to_string()]).await;
        let _: u64 = server.command(&["HDEL", &keys.claims(pod.life()), &id.to_string()]).await;
    }
    let _: u64 =
        server.command(&["ZADD", &keys.named("lanes:Normal"), "0", "Normal/far.example/default"]).await;
    let _: String =
        server.command(&["ZINCRBY", &keys.named("depth"), "2", "Normal/far.example/default"]).await;
    let taken = other.try_claim(1).await.expect("an answer").claimed.remove(0);
    let lost = pod.partition.reassert(&names).await.expect("an answer");
    assert_eq!(lost, std::slice::from_ref(&taken.delivery.id));
    claimed.retain(|one| one.delivery.id != taken.delivery.id);
    let kept = claimed.remove(0);
    assert_eq!(
        pod.settle(settlement(kept, &[postrider_mail::OutcomeKind::Delivered])).await,
        postrider_queue::Settled::Applied
    );
}

#[tokio::test]
async fn a_due_from_a_clock_that_jumped_comes_down() {
    let (_server, pod) = start().await;
    let lane = world::lane("far.example");
    let year = HOUR * 24 * 365;
    for _ in 0..200 {
        let mut message = pod.message(&["b"], Start::After(year));
        message.deliveries[0].expires_in = year * 2;
        pod.try_enqueue(message).await.expect("room");
    }
    pod.partition.suspend(&lane, year, &config()).await.expect("an answer");
    for _ in 0..10 {
        assert!(pod.claim().await.is_empty());
    }
    let batch = pod.try_claim(1).await.expect("an answer");
    let wait = batch.now.until(batch.next.expect("they wait")).as_secs();
    assert!((2_591_900..=2_592_000).contains(&wait), "{wait}");
    let filter = postrider_queue::inspect::Filter::default();
    let page = pod.partition.list(&filter, None).await.expect("an answer");
    let latest = batch.now.after(HOUR * 720);
    let is_near = |place: &Place| matches!(place, Place::Waiting { due } if *due <= latest);
    assert_eq!(page.deliveries.iter().filter(|seen| is_near(&seen.place)).count(), 200);
}

#[tokio::test]
async fn a_suspension_of_a_lane_without_mail_ends_all_the_same() {
    let (_server, pod) = start().await;
    for number in 0..10 {
        let lane = world::lane(&format!("far{number}.example"));
        pod.partition.suspend(&lane, Duration::from_millis(1), &config()).await.expect("an answer");
    }
    let by_hand = world::lane("hand.example");
    pod.partition.suspend_by_hand(&by_hand).await.expect("an answer");
    let mut left = 11;
    for _ in 0..1_000 {
        assert!(pod.claim().await.is_empty());
        left = pod.partition.figures().await.expect("an answer").suspended;
        if left == 1 {
            break;
        }
    }
    assert_eq!(left, 1, "the one by hand stays");
}

#[tokio::test]
async fn a_lane_that_a_person_suspended_stays_so_however_short_the_longest_wait_is() {
    let (_server, pod) = start().await;
    let lane = world::lane("far.example");
    enqueue_in(&pod, lane.clone(), HOUR).await;
    pod.partition.suspend_by_hand(&lane).await.expect("an answer");
    let request = ClaimRequest {
        max: 10,
        per_destination: 4,
        least: Class::Bulk,
        may_take_alone: true,
        rooms: Vec::new(),
        longest_wait: Duration::from_millis(20),
        config: config(),
    };
    for _ in 0..10 {
        assert!(pod.partition.claim(&request).await.expect("an answer").claimed.is_empty());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pod.partition.resume_by_hand(&lane).await.expect("an answer");
    assert_eq!(pod.partition.claim(&request).await.expect("an answer").claimed.len(), 1);
}

//! What people do with waiting mail, and how they look at it.

use postrider_mail::OutcomeKind::Deferred;
use postrider_queue::{
    Ending, NewMessage, Settled, Start,
    admin::{Granted, Which, Wish},
    inspect::{Filter, Place},
};

use super::pod::{HOUR, NOW, Pod, config, envelope, found, settlement};
use crate::{server::Server, world};

async fn start() -> (Server, Pod) {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    (server, pod)
}

const DONE: Granted = Granted { done: 1, recorded: 0, passed_over: 0 };
const RECORDED: Granted = Granted { done: 0, recorded: 1, passed_over: 0 };
const PASSED: Granted = Granted { done: 0, recorded: 0, passed_over: 1 };

#[tokio::test]
async fn retry_now_overrides_a_wait_and_a_suspension() {
    let (_server, pod) = start().await;
    let message = pod.message(&["b"], Start::After(HOUR));
    let id = pod.try_enqueue(message).await.expect("room").receipt.id().clone();
    pod.partition.suspend(&world::lane("far.example"), HOUR, &config()).await.expect("an answer");
    assert_eq!(pod.partition.wish(&Wish::RetryNow, &[Which::Message(id)]).await, Ok(DONE));
    let claimed = pod.claim_one().await;
    assert_eq!(claimed.ending, None);
    // Once: after that it waits as others do.
    pod.settle(settlement(claimed, &[Deferred])).await;
    assert!(pod.claim().await.is_empty());
}

#[tokio::test]
async fn hold_and_release() {
    let (_server, pod) = start().await;
    let id = pod.enqueue_due(&["b"]).await;
    let which = [Which::Message(id.clone())];
    assert_eq!(pod.partition.wish(&Wish::ReleaseHeld, &which).await, Ok(PASSED));
    assert_eq!(pod.partition.wish(&Wish::Hold("looks odd".into()), &which).await, Ok(DONE));
    assert_eq!(pod.partition.wish(&Wish::Hold("again".into()), &which).await, Ok(PASSED));
    assert_eq!(pod.partition.wish(&Wish::RetryNow, &which).await, Ok(PASSED));
    assert!(pod.claim().await.is_empty());
    let held =
        pod.partition.list(&Filter { held_only: true, ..Filter::default() }, None).await.expect("an answer");
    assert_eq!(held.deliveries[0].place, Place::Held { reason: "looks odd".into() });
    assert_eq!(pod.partition.wish(&Wish::ReleaseHeld, &which).await, Ok(DONE));
    let claimed = pod.claim_one().await;
    // A rule that holds doesn't hold it again, however often it is tried.
    assert!(claimed.delivery.history.released);
    pod.settle(settlement(claimed, &[Deferred])).await;
    assert!(pod.claim_one().await.delivery.history.released);
}

#[tokio::test]
async fn bounce_now_is_found_whatever_is_suspended_or_held() {
    let (_server, pod) = start().await;
    let first = pod.enqueue_due(&["b"]).await;
    let held = pod.message(&["c"], Start::Held("wait".into()));
    let second = pod.try_enqueue(held).await.expect("room").receipt.id().clone();
    pod.partition.suspend(&world::lane("far.example"), HOUR, &config()).await.expect("an answer");
    let wish = Wish::BounceNow("not wanted".into());
    let granted = pod.partition.wish(&wish, &[Which::Message(first), Which::Message(second)]).await;
    assert_eq!(granted, Ok(Granted { done: 2, ..Granted::default() }));
    let claimed = pod.claim().await;
    assert_eq!(claimed.len(), 2);
    assert!(claimed.iter().all(|one| one.ending == Some(Ending::Bounce("not wanted".into()))));
}

#[tokio::test]
async fn deleted_mail_is_gone_and_nobody_is_told() {
    let (_server, pod) = start().await;
    let id = pod.enqueue_due(&["b", "c"]).await;
    let which = [Which::Message(id.clone())];
    assert_eq!(pod.partition.wish(&Wish::Delete, &which).await, Ok(DONE));
    assert!(pod.is_gone(&id).await);
    assert!(pod.claim().await.is_empty());
    assert_eq!(pod.partition.wish(&Wish::Delete, &which).await, Ok(PASSED));
}

#[tokio::test]
async fn wishes_for_claimed_mail_come_true_when_the_attempt_ends() {
    let (server, pod) = start().await;
    for (wish, ends_as) in
        [(Wish::Delete, None), (Wish::Hold("later".into()), Some(Place::Held { reason: "later".into() }))]
    {
        // Settled.
        let claimed = pod.enqueue(&["b"]).await.claimed.remove(0);
        let id = claimed.delivery.id.message.clone();
        assert_eq!(pod.partition.wish(&wish, &[Which::Message(id.clone())]).await, Ok(RECORDED));
        let seen = pod.partition.inspect(&id).await.expect("an answer").expect("a message");
        assert!(seen.deliveries[0].wish.is_some());
        assert_eq!(pod.settle(settlement(claimed, &[Deferred])).await, Settled::Applied);
        let seen = pod.partition.inspect(&id).await.expect("an answer");
        assert_eq!(seen.map(|seen| seen.deliveries[0].place.clone()), ends_as);
        // Reaped.
        let victim = Pod::on(&server).await;
        let id = victim.enqueue(&["b"]).await.receipt.id().clone();
        assert_eq!(pod.partition.wish(&wish, &[Which::Message(id.clone())]).await, Ok(RECORDED));
        pod.partition.reap(victim.life(), 0).await.expect("an answer");
        let seen = pod.partition.inspect(&id).await.expect("an answer");
        assert_eq!(seen.map(|seen| seen.deliveries[0].place.clone()), ends_as);
    }
    let claimed = pod.enqueue(&["b"]).await.claimed.remove(0);
    let which = [Which::Delivery(claimed.delivery.id.clone())];
    assert_eq!(pod.partition.wish(&Wish::BounceNow("no".into()), &which).await, Ok(RECORDED));
    pod.settle(settlement(claimed, &[Deferred])).await;
    assert_eq!(pod.claim_one().await.ending, Some(Ending::Bounce("no".into())));
}

#[tokio::test]
async fn a_walk_sees_every_delivery_wherever_it_is() {
    let (_server, pod) = start().await;
    let mut expected = std::collections::BTreeSet::new();
    for number in 0..700_usize {
        let start = match number % 3 {
            0 => Start::After(HOUR),
            1 => Start::Held("wait".into()),
            _ => Start::Claimed,
        };
        let mut message = pod.message(&["b"], start);
        message.deliveries[0].lane = world::lane(&format!("d{}.example", number % 7));
        if number % 2 == 0 {
            message.envelope = envelope("other@else.example", &["b"]);
        }
        expected.insert(pod.try_enqueue(message).await.expect("room").receipt.id().clone());
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = pod.partition.list(&Filter::default(), cursor).await.expect("an answer");
        seen.extend(page.deliveries.into_iter().map(|one| one.delivery.id.message));
        // As ctl gives it back.
        cursor = page.next.map(|next| next.to_string().parse().expect("a cursor"));
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 700);
    assert_eq!(seen.into_iter().collect::<std::collections::BTreeSet<_>>(), expected);
    // By sender: a walk of pages.
    let filter =
        Filter { sender_domain: Some("else.example".parse().expect("a domain")), ..Filter::default() };
    let mut total = Granted::default();
    let mut cursor = None;
    loop {
        let (granted, next) =
            pod.partition.wish_page(&Wish::Delete, &filter, cursor).await.expect("an answer");
        total.done += granted.done;
        total.recorded += granted.recorded;
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((total.done + total.recorded, total.recorded), (350, 117));
}

#[tokio::test]
async fn the_longest_lanes_and_the_oldest_due_are_known() {
    let (_server, pod) = start().await;
    for (domain, count) in [("a.example", 3), ("b.example", 5), ("c.example", 1)] {
        for _ in 0..count {
            let mut message: NewMessage = pod.message(&["b"], Start::After(NOW));
            message.deliveries[0].lane = world::lane(domain);
            pod.try_enqueue(message).await.expect("room");
        }
    }
    let top = pod.partition.top_lanes(2).await.expect("an answer");
    let short: Vec<_> = top.iter().map(|view| (view.lane.domain.to_string(), view.waiting)).collect();
    assert_eq!(short, [("b.example".into(), 5), ("a.example".into(), 3)]);
    let (oldest, now) = pod.partition.oldest_due().await.expect("an answer");
    assert_eq!(oldest.len(), 1);
    assert!(oldest[0].1 <= now && oldest[0].1 == top[1].first_due.expect("one waits"));
}

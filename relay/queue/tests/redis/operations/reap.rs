//! Lives and deaths of incarnations.

use std::time::Duration;

use postrider_mail::{
    Class,
    OutcomeKind::{Deferred, Delivered},
};
use postrider_queue::{
    ClaimRequest, Settled, Start,
    hold::POISON,
    inspect::Place,
    reap::{Beat, PodState, Reaped, SLICE},
};

use super::pod::{NOW, Pod, config, found, settlement};
use crate::server::Server;

async fn start() -> (Server, Pod, Pod) {
    let server = Server::start().await;
    found(&server).await;
    let (pod, other) = (Pod::on(&server).await, Pod::on(&server).await);
    (server, pod, other)
}

async fn state(pod: &Pod, of: &Pod) -> PodState {
    let pods = pod.partition.pods().await.expect("an answer");
    let life = of.life();
    pods.into_iter().find(|(known, _)| *known == life).expect("it is known").1
}

#[tokio::test]
async fn a_beat_counts_and_never_creates() {
    let (_server, pod, other) = start().await;
    assert_eq!(pod.partition.beat(pod.life()).await, Ok(Beat::Confirmed));
    assert_eq!(state(&other, &pod).await, PodState::Live { counter: 1, format: 1 });
    let unknown = postrider_queue::incarnation::Incarnation::random();
    assert_eq!(pod.partition.beat(unknown).await, Ok(Beat::Fenced));
    assert!(other.partition.pods().await.expect("an answer").iter().all(|(life, _)| *life != unknown));
}

#[tokio::test]
async fn who_beats_is_not_reaped() {
    let (_server, pod, other) = start().await;
    pod.enqueue(&["b"]).await;
    pod.partition.beat(pod.life()).await.expect("an answer");
    assert_eq!(other.partition.reap(pod.life(), 0).await, Ok(Reaped::Alive));
    assert_eq!(other.partition.reap(pod.life(), 1).await, Ok(Reaped::Done { moved: 1 }));
    assert_eq!(state(&other, &pod).await, PodState::Ended);
    assert_eq!(pod.partition.beat(pod.life()).await, Ok(Beat::Fenced));
}

#[tokio::test]
async fn a_reap_goes_in_slices_and_anyone_goes_on_with_it() {
    let (server, pod, other) = start().await;
    let third = Pod::on(&server).await;
    let many = u64::from(SLICE) * 2 + 50;
    for _ in 0..many {
        pod.enqueue(&["b"]).await;
    }
    let mut moved = 0;
    let mut reapers = [&other, &third].into_iter().cycle();
    loop {
        match reapers.next().expect("an endless turn").partition.reap(pod.life(), 0).await.expect("an answer")
        {
            Reaped::More { moved: some } => {
                assert!(some <= SLICE);
                moved += u64::from(some);
                assert_eq!(state(&other, &pod).await, PodState::Reaping);
                // Fenced from the first slice on.
                assert_eq!(pod.partition.beat(pod.life()).await, Ok(Beat::Fenced));
            }
            Reaped::Done { moved: some } => break moved += u64::from(some),
            Reaped::Alive => panic!("it is fenced"),
        }
    }
    assert_eq!(moved, many);
    let mut claimed = 0;
    while claimed < many {
        let some = third.claim().await;
        assert!(some.iter().all(|one| one.delivery.crashes == 1));
        assert!(!some.is_empty());
        claimed += some.len() as u64;
    }
}

#[tokio::test]
async fn leaving_counts_no_crash() {
    let (_server, pod, other) = start().await;
    pod.enqueue(&["b"]).await;
    assert_eq!(pod.partition.leave(pod.life()).await, Ok(Reaped::Done { moved: 1 }));
    assert_eq!(other.claim_one().await.delivery.crashes, 0);
}

#[tokio::test]
async fn who_kills_its_pods_is_tried_alone_and_then_held() {
    let (server, pod, other) = start().await;
    let id = pod.enqueue(&["b"]).await.receipt.id().clone();
    other.partition.reap(pod.life(), 0).await.expect("an answer");
    for (crashes, is_alone) in [(1, false), (2, true), (3, true)] {
        let victim = Pod::on(&server).await;
        let claimed = victim.claim_one().await;
        assert_eq!((claimed.delivery.crashes, claimed.is_alone), (crashes, is_alone));
        other.partition.reap(victim.life(), 0).await.expect("an answer");
    }
    assert!(other.claim().await.is_empty());
    let seen = other.partition.inspect(&id).await.expect("an answer").expect("a message");
    assert_eq!(seen.deliveries[0].place, Place::Held { reason: POISON.into() });
}

#[tokio::test]
async fn who_kills_its_pods_and_was_delivered_meanwhile_ends() {
    let (server, pod, other) = start().await;
    let id = pod.enqueue(&["b"]).await.receipt.id().clone();
    other.partition.reap(pod.life(), 0).await.expect("an answer");
    for is_last in [false, false, true] {
        let victim = Pod::on(&server).await;
        let claimed = victim.claim_one().await;
        if is_last {
            let fact = settlement(claimed, &[Delivered]).fact().expect("it was delivered");
            victim.partition.tell(&[fact]).await.expect("an answer");
        }
        other.partition.reap(victim.life(), 0).await.expect("an answer");
    }
    assert!(other.is_gone(&id).await);
}

#[tokio::test]
async fn a_finished_attempt_clears_the_count() {
    let (server, pod, other) = start().await;
    pod.enqueue(&["b"]).await;
    other.partition.reap(pod.life(), 0).await.expect("an answer");
    let victim = Pod::on(&server).await;
    let _ = victim.claim_one().await;
    other.partition.reap(victim.life(), 0).await.expect("an answer");
    let alone = other.claim_one().await;
    assert!(alone.is_alone);
    assert_eq!(other.settle(settlement(alone, &[Deferred])).await, Settled::Applied);
    let again = other.claim_one().await;
    assert_eq!((again.delivery.crashes, again.is_alone), (0, false));
}

#[tokio::test]
async fn only_one_is_tried_alone_at_a_time() {
    let (server, pod, other) = start().await;
    for _ in 0..3 {
        pod.enqueue(&["b"]).await;
    }
    other.partition.reap(pod.life(), 0).await.expect("an answer");
    let victim = Pod::on(&server).await;
    assert_eq!(victim.claim().await.len(), 3);
    other.partition.reap(victim.life(), 0).await.expect("an answer");
    let healthy = other.message(&["c"], Start::After(NOW));
    other.try_enqueue(healthy).await.expect("room");
    let claimed = other.claim().await;
    assert_eq!(claimed.iter().filter(|one| one.is_alone).count(), 1);
    assert_eq!(claimed.len(), 2, "the healthy one isn't held up");
    let request = ClaimRequest {
        max: 10,
        per_destination: 10,
        least: Class::Bulk,
        may_take_alone: false,
        rooms: Vec::new(),
        longest_wait: crate::world::LONGEST_WAIT,
        config: config(),
    };
    let refused = other.partition.claim(&request).await.expect("an answer");
    assert!(refused.claimed.is_empty());
    // Two relays may have had a thousand in hand when they died: each of them has to have its turn within moments.
    let wait = refused.now.until(refused.next.expect("two wait"));
    assert!(wait <= Duration::from_millis(100), "{wait:?}");
}

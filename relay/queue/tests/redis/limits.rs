//! Rates, slots and notes that hold for a fleet.

use std::time::Duration;

use postrider_queue::limit::Rate;

use crate::{server::Server, world};

#[tokio::test]
async fn two_pods_together_get_no_more_than_the_rate_and_its_burst() {
    let server = Server::start().await;
    let pods = [world::open(&[&server]).await, world::open(&[&server]).await];
    let rate = Rate { tokens: 20, per: Duration::from_secs(1), burst: 5 };
    let started = std::time::Instant::now();
    let (mut granted, mut asked) = (0, 0);
    while started.elapsed() < Duration::from_millis(1_500) {
        let answer = pods[asked % 2].grant("far.example", &rate, 3).await.expect("an answer");
        asked += 1;
        granted += answer.tokens;
        if answer.tokens == 0 {
            assert!(answer.again_after <= rate.per_token(), "{answer:?}");
            tokio::time::sleep(answer.again_after).await;
        }
    }
    let most = 5.0 + started.elapsed().as_secs_f64() * 20.0 + 1.0;
    assert!(f64::from(granted) <= most, "{granted} of {most}");
    assert!(granted >= 25, "{granted}: the rate is used, not only kept");
}

#[tokio::test]
async fn slots_are_shared_and_those_of_the_dead_are_free() {
    let server = Server::start().await;
    let pods = [world::open(&[&server]).await, world::open(&[&server]).await];
    let dying = world::register(&pods[0].choose().expect("a partition")).await;
    let survivor = pods[1].choose().expect("a partition");
    world::register(&survivor).await;
    let take = async |pod: usize, want| pods[pod].take_slots("site", want, 5).await.expect("an answer");
    let first = take(0, 4).await;
    assert_eq!(first.count, 4);
    assert_eq!(take(1, 4).await.count, 1, "one is left");
    assert_eq!(take(1, 1).await.count, 0, "the fleet has them all");
    // The first pod dies; somebody reaps it.
    survivor.reap(dying, 1).await.expect("an answer");
    survivor.leave(dying).await.expect("an answer");
    let freed = take(1, 9).await;
    assert_eq!(freed.count, 4);
    pods[1].give_slots(freed).await.expect("an answer");
    assert_eq!(take(1, 9).await.count, 4);
}

#[tokio::test]
async fn a_note_is_the_fleets_and_ends_with_its_time() {
    let server = Server::start().await;
    let pods = [world::open(&[&server]).await, world::open(&[&server]).await];
    let (hour, moment) = (Duration::from_secs(3_600), Duration::from_millis(1));
    assert_eq!(pods[0].note("a").await.expect("an answer"), None);
    pods[0].take_note("a", b"one", hour).await.expect("an answer");
    assert_eq!(pods[1].note("a").await.expect("an answer").as_deref(), Some(&b"one"[..]));
    pods[1].take_note("a", b"two", moment).await.expect("an answer");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(pods[0].note("a").await.expect("an answer"), None);
    let long = vec![0; postrider_queue::note::MAX_BYTES + 1];
    pods[0].take_note("long", &long, hour).await.expect("an answer");
    assert_eq!(pods[0].note("long").await.expect("an answer"), None, "it isn't kept");
}

#[tokio::test]
async fn a_note_outlives_any_shard_also_for_pods_that_start_without_it() {
    let (mut a, mut b) = (Server::start().await, Server::start().await);
    world::open(&[&a, &b]).await.take_note("n", b"one", Duration::from_secs(3_600)).await.expect("an answer");
    a.kill();
    assert_eq!(
        world::open(&[&a, &b]).await.note("n").await.expect("b answers").as_deref(),
        Some(&b"one"[..])
    );
    a.restart().await;
    b.kill();
    assert_eq!(
        world::open(&[&a, &b]).await.note("n").await.expect("a answers").as_deref(),
        Some(&b"one"[..])
    );
    // A shard that was away when the note was taken hides it from nobody.
    world::open(&[&a, &b]).await.take_note("m", b"two", Duration::from_secs(3_600)).await.expect("an answer");
    b.restart().await;
    assert_eq!(
        world::open(&[&a, &b]).await.note("m").await.expect("an answer").as_deref(),
        Some(&b"two"[..])
    );
}

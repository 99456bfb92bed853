//! Rates, slots and notes that hold for a fleet.

use std::time::Duration;

use postrider_queue::{limit::Rate, quota::Quota, slots::Wish};

use crate::{server::Server, world};

#[tokio::test]
async fn two_pods_together_get_no_more_than_the_rate_and_its_burst() {
    let server = Server::start().await;
    let pods = [world::open(&[&server]).await, world::open(&[&server]).await];
    let rate = Rate { tokens: 20, per: Duration::from_secs(1), burst: 5 };
    let started = std::time::Instant::now();
    let (mut granted, mut asked) = (0, 0);
    while started.elapsed() < Duration::from_millis(1_500) {
        let answer = pods[asked % 2].grant("far.example", &rate, 3, 0).await.expect("an answer");
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
async fn the_last_of_a_burst_stays_for_who_is_more_urgent() {
    let server = Server::start().await;
    let pod = world::open(&[&server]).await;
    let rate = Rate { tokens: 1, per: Duration::from_secs(60), burst: 5 };
    let ask = async |want, reserve| pod.grant("far.example", &rate, want, reserve).await.expect("an answer");
    assert_eq!(ask(9, 2).await.tokens, 3);
    let refused = ask(1, 2).await;
    assert_eq!(refused.tokens, 0);
    assert!((59..=60).contains(&refused.again_after.as_secs()), "{refused:?}");
    assert_eq!(ask(1, 1).await.tokens, 1);
    assert_eq!(ask(9, 0).await.tokens, 1);
    let refused = ask(1, 2).await;
    assert!(
        (179..=180).contains(&refused.again_after.as_secs()),
        "it waits for what the others took: {refused:?}"
    );
}

#[tokio::test]
async fn two_pods_together_get_no_more_than_a_quota_and_another_name_is_another() {
    let server = Server::start().await;
    let pods = [world::open(&[&server]).await, world::open(&[&server]).await];
    let take = async |pod: usize, key: &str, most, times: usize| {
        let quota = Quota { key, most, keep: Duration::from_secs(60) };
        let mut granted = 0;
        for _ in 0..times {
            granted += usize::from(pods[pod].take_quota(&quota).await.expect("an answer"));
        }
        granted
    };
    assert_eq!(take(0, "a:monday", 5, 1).await, 1);
    assert_eq!(take(1, "a:monday", 5, 3).await, 3);
    assert_eq!(take(0, "a:monday", 5, 3).await, 1, "one is left");
    assert_eq!(take(1, "a:monday", 5, 1).await, 0);
    assert_eq!(take(1, "a:monday", 3, 1).await, 0, "less than were granted is none");
    assert_eq!(take(1, "a:monday", 7, 9).await, 2, "an edit keeps the count");
    assert_eq!(take(0, "a:tuesday", 2, 9).await, 2);
    let mut connection = server.client().get_multiplexed_async_connection().await.expect("it runs");
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("*quota:*").query_async(&mut connection).await.expect("an answer");
    assert_eq!(keys.len(), 2);
    for key in keys {
        let left: i64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.expect("an answer");
        assert!((1..=60).contains(&left), "{key} is kept for {left} s");
    }
}

#[tokio::test]
async fn a_quota_is_not_granted_elsewhere_while_its_shard_is_away() {
    let (mut a, b) = (Server::start().await, Server::start().await);
    let keys: Vec<String> = (0..16).map(|n| format!("quota-{n}")).collect();
    let pod = world::open(&[&a, &b]).await;
    let take = async |pod: &postrider_queue::shards::Shards, key: &str| {
        pod.take_quota(&Quota { key, most: 1, keep: Duration::from_secs(60) }).await
    };
    for key in &keys {
        assert_eq!(take(&pod, key).await, Ok(true));
    }
    a.kill();
    let left = world::open(&[&a, &b]).await;
    let mut away = 0;
    for key in &keys {
        match take(&left, key).await {
            Ok(is_granted) => assert!(!is_granted, "{key} is granted twice"),
            Err(_) => away += 1,
        }
    }
    assert!((1..16).contains(&away), "{away} of 16 are on the shard that is away");
}

#[tokio::test]
async fn slots_are_shared_and_those_of_the_dead_are_free() {
    let server = Server::start().await;
    let pods = [world::open(&[&server]).await, world::open(&[&server]).await];
    let dying = world::register(&pods[0].choose().expect("a partition")).await;
    let survivor = pods[1].choose().expect("a partition");
    world::register(&survivor).await;
    let take = async |pod: usize, used, more| {
        pods[pod].take_slots("site", Wish { used, more, most: 5 }).await.expect("an answer").more
    };
    assert_eq!(take(0, 0, 4).await, 4);
    assert_eq!(take(1, 0, 4).await, 1, "one is left");
    assert_eq!(take(1, 1, 1).await, 0, "the fleet has them all");
    // Told again, nothing is counted twice; what is no longer in use is free.
    assert_eq!(take(0, 4, 0).await, 0);
    assert_eq!(take(0, 3, 0).await, 0);
    assert_eq!(take(1, 1, 4).await, 1);
    // The first pod dies; somebody reaps it.
    survivor.reap(dying, 1).await.expect("an answer");
    survivor.leave(dying).await.expect("an answer");
    assert_eq!(take(1, 2, 9).await, 3);
    let taken = pods[1].take_slots("site", Wish { used: 5, more: 0, most: 5 }).await.expect("an answer");
    assert_eq!((taken.more, taken.all), (0, 5));
    pods[1].leave_book("site", &taken.book).await.expect("an answer");
    assert_eq!(take(1, 0, 9).await, 5);
}

#[tokio::test]
async fn slots_of_the_dead_are_free_when_nobody_knows_them_any_more() {
    let server = Server::start().await;
    let pods = [world::open(&[&server]).await, world::open(&[&server]).await];
    let ended = world::register(&pods[0].choose().expect("a partition")).await;
    let take = async |pod: usize, more| {
        pods[pod].take_slots("site", Wish { used: 0, more, most: 5 }).await.expect("an answer").more
    };
    assert_eq!(take(0, 5).await, 5);
    // It ended long ago: whoever registers next forgets it.
    let known = "postrider:{mail/outbound/a}:pods";
    let _: u64 = server.command(&["HSET", known, &ended.to_string(), "E 1"]).await;
    let survivor = pods[1].choose().expect("a partition");
    let life = world::register(&survivor).await;
    let left: Vec<_> =
        survivor.pods().await.expect("an answer").into_iter().map(|(incarnation, _)| incarnation).collect();
    assert_eq!(left, [life]);
    assert_eq!(take(1, 5).await, 5);
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

//! Shards that come, go, are wiped and adopted.

use postrider_queue::shards::{AdoptError, Identity, NoPartition, Shards, ShardsOptions, Standing, State};

use crate::{server::Server, world};

#[tokio::test]
async fn new_mail_goes_round_all_usable_shards() {
    let (a, b, mut c) = (Server::start().await, Server::start().await, Server::start().await);
    let shards = world::open(&[&a, &b, &c]).await;
    let chosen = |shards: &Shards| {
        let mut names: Vec<String> =
            (0..6).map(|_| shards.choose().expect("a partition").name().to_string()).collect();
        names.sort();
        names.concat()
    };
    assert_eq!(chosen(&shards), "aabbcc");
    c.kill();
    shards.look().await;
    assert_eq!(chosen(&shards), "aaabbb");
    let other = shards.choose_other(&[world::name("a")]).expect("b is left");
    assert_eq!(other.name().as_str(), "b");
    assert_eq!(shards.choose_other(&["a", "b"].map(world::name)).map(drop), Err(NoPartition::Unusable));
    // Its mail was only waiting: it comes back as it was.
    c.restart().await;
    world::look_until(&shards, "c", Standing::takes_mail).await;
    assert_eq!(chosen(&shards), "aabbcc");
}

#[tokio::test]
async fn a_wiped_shard_stays_out_and_says_how_many_were_there() {
    let (a, mut b) = (Server::start().await, Server::start().await);
    let shards = world::open(&[&a, &b]).await;
    let partition = shards.get(&world::name("b")).expect("b");
    for _ in 0..7 {
        world::enqueue(&partition).await.expect("a receipt");
    }
    shards.look().await;
    b.wipe();
    b.restart().await;
    let lost = world::look_until(&shards, "b", |standing| standing.lost_deliveries().is_some()).await;
    assert_eq!(lost.lost_deliveries(), Some(7), "{lost:?}");
    assert!(
        world::told(&shards, "b").contains("7 deliveries were there when last seen"),
        "{}",
        world::told(&shards, "b")
    );
    assert!(shards.choose_other(&[world::name("a")]).is_err());
    assert!(shards.is_ready(), "the other one goes on");
    world::enqueue(&partition).await.expect_err("nothing goes into an empty server where a queue was");
}

#[tokio::test]
async fn a_pod_that_starts_later_hears_of_the_loss_from_the_other_shards() {
    let (a, mut b) = (Server::start().await, Server::start().await);
    let first = world::open(&[&a, &b]).await;
    world::enqueue(&first.get(&world::name("b")).expect("b")).await.expect("a receipt");
    // The figures are written down at most every 5 s.
    tokio::time::sleep(std::time::Duration::from_millis(5_100)).await;
    first.look().await;
    drop(first);
    b.wipe();
    b.restart().await;
    let second = world::open(&[&a, &b]).await;
    assert_eq!(world::standing(&second, "b").lost_deliveries(), Some(1), "{}", world::told(&second, "b"));
}

#[tokio::test]
async fn a_pod_s_own_file_is_a_witness_where_there_is_one_shard() {
    let mut a = Server::start().await;
    let first = world::open(&[&a]).await;
    world::enqueue(&first.choose().expect("a")).await.expect("a receipt");
    let witness = world::remembered(&first);
    assert!(witness.contains_key(&world::name("a")), "{witness:?}");
    a.wipe();
    a.restart().await;
    let options = ShardsOptions { remembered: witness, ..world::options(&[&a]) };
    let second = Shards::new(options).expect("options");
    second.look().await;
    assert!(world::standing(&second, "a").lost_deliveries().is_some(), "{}", world::told(&second, "a"));
    assert!(!second.is_ready());
}

#[tokio::test]
async fn a_store_that_forgot_mail_while_no_pod_ran_says_how_much() {
    let server = Server::start().await;
    let first = world::open(&[&server]).await;
    for _ in 0..3 {
        world::enqueue(&first.choose().expect("a")).await.expect("a receipt");
    }
    first.look().await;
    let seen = first.status()[0].remembered.clone().expect("it was seen");
    assert_eq!((seen.accepted, world::standing(&first, "a").lost_deliveries()), (3, None));
    drop(first);
    // A backup has been restored.
    server.command::<i64>(&["HSET", "postrider:{mail/outbound/a}:meta", "accepted", "1"]).await;
    let remembered = [(world::name("a"), seen)].into();
    let second = Shards::new(ShardsOptions { remembered, ..world::options(&[&server]) }).expect("options");
    for _ in 0..2 {
        second.look().await;
        let standing = world::standing(&second, "a");
        assert!(standing.takes_mail(), "what is left goes on: {}", world::told(&second, "a"));
        assert_eq!(standing.lost_deliveries(), Some(2), "told of once, and for good");
    }
}

#[tokio::test]
async fn an_empty_server_waits_until_every_other_shard_was_heard() {
    let (mut a, b) = (Server::start().await, Server::start().await);
    a.kill();
    let shards = world::open(&[&a, &b]).await;
    assert_eq!(world::standing(&shards, "b"), Standing::Stranger(Identity::Undecided));
    a.restart().await;
    world::look_until(&shards, "b", Standing::keeps_promise).await;
}

#[tokio::test]
async fn a_config_that_names_a_queue_lets_no_other_in() {
    let a = Server::start().await;
    let mut options = world::options(&[&a]);
    options.shards[0].uuid = Some("11111111-2222-4333-8444-555555555555".into());
    let shards = Shards::new(options.clone()).expect("options");
    shards.look().await;
    assert_eq!(world::standing(&shards, "a"), Standing::Stranger(Identity::Lost { remembered: None }));
    let uuid = shards.adopt(&world::name("a")).await.expect("adopted");
    assert!(shards.is_ready(), "{}", world::told(&shards, "a"));
    // Another pod, whose config still names the old one, and one whose config names the new one.
    for known in [options.shards[0].uuid.clone(), Some(uuid)] {
        options.shards[0].uuid = known;
        let other = Shards::new(options.clone()).expect("options");
        other.look().await;
        assert!(other.is_ready(), "{}", world::told(&other, "a"));
    }
}

#[tokio::test]
async fn an_adopted_shard_takes_mail_again_in_every_pod() {
    let (a, mut b) = (Server::start().await, Server::start().await);
    let (first, second) = (world::open(&[&a, &b]).await, world::open(&[&a, &b]).await);
    world::enqueue(&first.get(&world::name("b")).expect("b")).await.expect("a receipt");
    first.look().await;
    second.look().await;
    b.wipe();
    b.restart().await;
    first.look().await;
    second.look().await;
    assert!(!world::standing(&second, "b").keeps_promise());
    first.adopt(&world::name("b")).await.expect("adopted");
    second.look().await;
    for shards in [&first, &second] {
        assert!(world::standing(shards, "b").takes_mail(), "{}", world::told(shards, "b"));
        let partition = shards.get(&world::name("b")).expect("b");
        // A connection that was refused is tried again after a moment.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        world::enqueue(&partition).await.expect("a receipt");
    }
}

#[tokio::test]
async fn a_draining_shard_takes_nothing_and_closes_only_empty() {
    let (a, b) = (Server::start().await, Server::start().await);
    let shards = world::open(&[&a, &b]).await;
    let (name, partition) = (world::name("b"), shards.get(&world::name("b")).expect("b"));
    world::enqueue(&partition).await.expect("a receipt");
    shards.set_state(&name, State::Draining).await.expect("an answer");
    assert!(!world::standing(&shards, "b").takes_mail());
    world::enqueue(&partition).await.expect_err("it drains");
    let closed = shards.set_state(&name, State::Closed).await;
    assert!(matches!(closed, Err(AdoptError::NotEmpty { left: 1 })), "{closed:?}");
    assert!(matches!(shards.adopt(&world::name("z")).await, Err(AdoptError::NoSuchShard { .. })));
}

//! Shards that come, go, move and are drained while a pod works on them.

use std::time::Duration;

use postrider_queue::{
    Durability, EnqueueError, Partition,
    admin::Wish,
    inspect::Filter,
    reap::Beat,
    shards::{ShardOptions, Shards, Standing, State},
};

use crate::{server::Server, world};

/// What the config says of these servers now.
fn now(servers: &[&Server]) -> Vec<ShardOptions> {
    world::options(servers).shards
}

fn change(shards: &Shards, to: Vec<ShardOptions>) -> postrider_queue::shards::Changed {
    shards.change(to, Durability::Synced).expect("they can be read")
}

fn chosen(shards: &Shards) -> String {
    let mut names: Vec<String> =
        (0..6).map(|_| shards.choose().expect("a partition").name().to_string()).collect();
    names.sort();
    names.concat()
}

/// Everything in it is delivered, as far as the store knows.
async fn empty(partition: &Partition) {
    let mut cursor = None;
    loop {
        let (_, next) =
            partition.wish_page(&Wish::Delete, &Filter::default(), cursor).await.expect("an answer");
        cursor = next;
        if cursor.is_none() {
            return;
        }
    }
}

#[tokio::test]
async fn a_shard_that_the_config_adds_takes_its_turn_and_one_that_it_drops_gets_nothing() {
    let (a, b) = (Server::start().await, Server::start().await);
    let shards = world::open(&[&a]).await;
    let changed = change(&shards, now(&[&a, &b]));
    assert_eq!((changed.added.len(), changed.removed.len()), (1, 0));
    assert_eq!(chosen(&shards), "aaaaaa", "nobody has looked at it yet");
    world::look_until(&shards, "b", Standing::takes_mail).await;
    assert_eq!(chosen(&shards), "aaabbb");
    let changed = change(&shards, now(&[&a]));
    assert_eq!(changed.removed.first().map(|gone| gone.name().to_string()).as_deref(), Some("b"));
    assert_eq!(chosen(&shards), "aaaaaa");
    assert_eq!(shards.status().len(), 1);
}

#[tokio::test]
async fn a_shard_is_drained_closed_and_opened_again_as_the_config_says() {
    let (a, b) = (Server::start().await, Server::start().await);
    let (shards, other) = (world::open(&[&a, &b]).await, world::open(&[&a, &b]).await);
    let partition = shards.get(&world::name("b")).expect("b");
    world::enqueue(&partition).await.expect("a receipt");
    let draining = |is_draining| {
        let mut all = now(&[&a, &b]);
        all[1].is_draining = is_draining;
        all
    };
    change(&shards, draining(true));
    assert_eq!(chosen(&shards), "aaaaaa", "before anybody asked the store");
    let state = |state| move |standing: &Standing| standing.found().is_some_and(|found| found.state == state);
    world::look_until(&shards, "b", state(State::Draining)).await;
    let refused = world::enqueue(&partition).await.expect_err("it drains");
    assert!(matches!(refused, EnqueueError::NotOpen { .. }), "{refused}");
    assert!(shards.problems().is_empty(), "{:?}", shards.problems());
    // A pod that hasn't got the config yet leaves it so, and takes its mail elsewhere.
    other.look().await;
    other.look().await;
    assert_eq!(chosen(&other), "aaaaaa");
    assert!(state(State::Draining)(&world::standing(&other, "b")));
    empty(&partition).await;
    world::look_until(&shards, "b", state(State::Closed)).await;
    change(&shards, draining(false));
    world::look_until(&shards, "b", state(State::Open)).await;
    world::enqueue(&partition).await.expect("a receipt");
    assert_eq!(chosen(&shards), "aaabbb");
}

#[tokio::test]
async fn a_fleet_whose_every_shard_drains_takes_no_mail_and_says_so() {
    let a = Server::start().await;
    let shards = world::open(&[&a]).await;
    let mut all = now(&[&a]);
    all[0].is_draining = true;
    change(&shards, all);
    assert!(!shards.is_ready() && shards.choose().is_err());
}

#[tokio::test]
async fn an_empty_server_may_take_the_place_of_a_shard_that_was_closed() {
    let (a, mut b) = (Server::start().await, Server::start().await);
    let shards = world::open(&[&a, &b]).await;
    let partition = shards.get(&world::name("b")).expect("b");
    world::enqueue(&partition).await.expect("a receipt");
    empty(&partition).await;
    let mut all = now(&[&a, &b]);
    all[1].is_draining = true;
    change(&shards, all);
    world::look_until(&shards, "b", |standing| {
        standing.found().is_some_and(|found| found.state == State::Closed)
    })
    .await;
    change(&shards, now(&[&a]));
    b.wipe();
    b.restart().await;
    // A pod that was there, and one that starts later.
    change(&shards, now(&[&a, &b]));
    world::look_until(&shards, "b", Standing::takes_mail).await;
    let later = world::open(&[&a, &b]).await;
    assert!(world::standing(&later, "b").takes_mail(), "{}", world::told(&later, "b"));
}

#[tokio::test]
async fn another_password_costs_no_connection_and_no_claim() {
    let mut a = Server::start().await;
    a.set_password("one").await;
    let shards = world::open(&[&a]).await;
    let partition = shards.choose().expect("a");
    let life = world::register(&partition).await;
    world::enqueue(&partition).await.expect("a receipt");
    let (former, before) = (a.url(), a.command::<String>(&["CLIENT", "LIST"]).await.lines().count());
    a.set_password("two").await;
    change(&shards, now(&[&a]));
    world::enqueue(&partition).await.expect("a receipt");
    assert!(a.command::<String>(&["CLIENT", "LIST"]).await.lines().count() >= before, "none was closed");
    a.cut_all().await;
    world::look_until(&shards, "a", Standing::takes_mail).await;
    world::enqueue(&partition).await.expect("a receipt, over a connection by the new password");
    assert_eq!(partition.lease().incarnation(), Some(life));
    // A connection that was cut is found out by its next use.
    drop(partition.beat(life).await);
    assert!(matches!(partition.beat(life).await, Ok(Beat::Confirmed)));
    assert_eq!(partition.figures().await.expect("an answer").deliveries(), 3);
    // The former one would have failed.
    redis::Client::open(former).expect("a URL").get_connection().err().expect("another password");
}

#[tokio::test]
async fn a_password_that_does_not_fit_is_told_while_what_is_open_goes_on() {
    let mut a = Server::start().await;
    a.set_password("one").await;
    let shards = world::open(&[&a]).await;
    let partition = shards.choose().expect("a");
    // Over each of its connections, so that all are open.
    for _ in 0..8 {
        world::enqueue(&partition).await.expect("a receipt");
    }
    let mut wrong = now(&[&a]);
    wrong[0].target.url = a.url().replace(":one@", ":canary@");
    change(&shards, wrong);
    shards.look().await;
    let told = shards.problems().join("\n");
    assert!(told.contains("shard a: found that its new URL gives no connection"), "{told}");
    assert!(!told.contains("canary"), "{told}");
    world::enqueue(&partition).await.expect("a receipt");
    assert!(shards.is_ready());
    change(&shards, now(&[&a]));
    shards.look().await;
    assert_eq!(shards.problems(), Vec::<String>::new());
}

#[tokio::test]
async fn a_queue_that_moved_is_found_at_its_new_address_with_its_mail() {
    let mut a = Server::start().await;
    let shards = world::open(&[&a]).await;
    let partition = shards.choose().expect("a");
    let life = world::register(&partition).await;
    world::enqueue(&partition).await.expect("a receipt");
    a.relocate().await;
    shards.look().await;
    assert!(!shards.is_ready());
    change(&shards, now(&[&a]));
    world::look_until(&shards, "a", Standing::takes_mail).await;
    world::enqueue(&partition).await.expect("a receipt");
    assert_eq!(partition.figures().await.expect("an answer").deliveries(), 2);
    assert!(matches!(partition.beat(life).await, Ok(Beat::Confirmed)), "its pods are in the file too");
    // The store is another life of itself: claims are re-asserted before anything is sent.
    assert!(partition.lease().gate_closed_for().is_some());
}

#[tokio::test]
async fn another_queue_at_a_new_address_is_refused() {
    let (a, b) = (Server::start().await, Server::start().await);
    let shards = world::open(&[&a]).await;
    let partition = shards.choose().expect("a");
    world::enqueue(&partition).await.expect("a receipt");
    shards.look().await;
    change(&shards, now(&[&b]));
    let lost = world::look_until(&shards, "a", Standing::is_lost).await;
    assert_eq!(lost.lost_deliveries(), Some(1));
    world::enqueue(&partition).await.expect_err("it isn't the queue that was there");
    // Nothing went on over connections to the former server either.
    let left: u64 = a.command(&["HGET", &partition.keys().named("meta"), "accepted"]).await;
    assert_eq!(left, 1);
    let keys: u64 = b.command(&["DBSIZE"]).await;
    assert!(keys <= 1, "{keys} keys in a server that stays out");
}

#[tokio::test]
async fn a_change_that_cant_be_read_changes_nothing() {
    let (a, b) = (Server::start().await, Server::start().await);
    let shards = world::open(&[&a]).await;
    let mut all = now(&[&b, &a]);
    all[1].target.url = "http://:canary@queue.example/".to_owned();
    let why = shards.change(all, Durability::Synced).expect_err("no URL of ours").to_string();
    assert!(why.contains("the queue's URL") && !why.contains("canary"), "{why}");
    shards.look().await;
    assert!(shards.is_ready() && shards.status().len() == 1);
}

#[tokio::test]
async fn another_promise_is_held_against_the_servers_at_once() {
    let a = Server::start().await;
    let shards = world::open(&[&a]).await;
    shards.change(now(&[&a]), Durability::Replicated(1)).expect("they can be read");
    let told = world::look_until(&shards, "a", |standing| !standing.keeps_promise()).await;
    assert_eq!(told.as_str(), "Unusable");
    assert!(told.found().is_some(), "what is in it is known all the same");
    let partition = shards.get(&world::name("a")).expect("a");
    assert_eq!(partition.durability(), Durability::Replicated(1));
    world::enqueue(&partition).await.expect_err("nobody else has a disk");
    shards.change(now(&[&a]), Durability::Synced).expect("they can be read");
    world::look_until(&shards, "a", Standing::takes_mail).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    world::enqueue(&partition).await.expect("a receipt");
}

#[tokio::test]
async fn a_shard_lost_twice_is_adopted_twice_whatever_the_config_names() {
    let mut a = Server::start().await;
    let mut options = world::options(&[&a]);
    let shards = world::open(&[&a]).await;
    let first = world::standing(&shards, "a").uuid().map(str::to_owned);
    options.shards[0].uuid = first.map(Into::into);
    change(&shards, options.shards.clone());
    for _ in 0..2 {
        a.wipe();
        a.restart().await;
        world::look_until(&shards, "a", Standing::is_lost).await;
        shards.adopt(&world::name("a")).await.expect("adopted");
        world::look_until(&shards, "a", Standing::takes_mail).await;
    }
    // A pod whose config still names the first one, and one that is told the last one meanwhile.
    let later = Shards::new(options).expect("options");
    later.look().await;
    let standing = world::standing(&later, "a");
    assert!(standing.takes_mail(), "{}", world::told(&later, "a"));
    let mut newest = now(&[&a]);
    newest[0].uuid = standing.uuid().map(Into::into);
    change(&later, newest);
    later.look().await;
    assert!(world::standing(&later, "a").takes_mail());
}

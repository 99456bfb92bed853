//! The queue's shards come, go, move and are drained while mail flows: nothing is lost, nobody restarts.
//! **Owns:** changes of the queue in a mounted configuration. **Never:** a shard that dies (ledger tests).

use std::time::Duration;

use postrider_tests::{
    World, eventually,
    mounted::{Mounted, put_shard, shard, take_shard},
    relay::Relay,
    sink::{Act, At, Rule},
    source::{self, Load, Source},
    wait::until,
};
use serde_json::Value;

use crate::LATER;

/// A relay over a mounted configuration with these changes.
async fn start(world: &mut World, change: impl FnOnce(&mut Value)) -> Mounted {
    let mut mounted = world.mounted().await.unwrap();
    mounted.edit(change).unwrap();
    let setup = world.setup_mounted(&mounted);
    world.relay_with(setup).await.unwrap();
    mounted
}

/// Waits until a shard is told of as wanted.
async fn shard_is(relay: &Relay, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let what = format!("shard {name} as wanted");
    let found = eventually(&what, LATER, async || relay.shard(name).await.ok().filter(|shard| wanted(shard)));
    match found.await {
        Ok(shard) => shard,
        Err(error) => panic!("{error}: {:?}\n{}", relay.json("/v1/queue").await, relay.log()),
    }
}

fn has(field: &'static str, value: &'static str) -> impl Fn(&Value) -> bool {
    move |shard| shard[field] == value
}

/// Sends mail and returns the shards that it went to.
async fn shards_of(world: &World, count: usize, to: &str) -> String {
    let mut names = Vec::new();
    for number in 0..count {
        let reply = world.send(0, "a@sender.example", &[to], &format!("{to}-{number}")).await.unwrap();
        let id = reply.split_whitespace().last().expect("a queue ID").to_owned();
        names.push(id.chars().next().expect("the shard's name"));
    }
    names.sort_unstable();
    names.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_added_drained_closed_and_taken_away() {
    let mut world = World::with_shards(2).await.unwrap();
    let far = world.domain("far.example").await.unwrap();
    let mut b = Value::Null;
    let mut mounted = start(&mut world, |config| b = take_shard(config, "b")).await;
    assert_eq!(shards_of(&world, 2, "one@far.example").await, "aa");
    mounted.edit(|config| put_shard(config, b)).unwrap();
    shard_is(&world.relays[0], "b", has("standing", "InUse")).await;
    assert_eq!(shards_of(&world, 4, "two@far.example").await, "aabb");
    // Its mail waits; new mail goes elsewhere, and what is in it is delivered.
    until("both were delivered", LATER, || world.ledger.len() == 6).await.unwrap();
    world.sinks[far].behave([Rule::reply(At::Rcpt, "451 4.2.1 later")]);
    assert_eq!(shards_of(&world, 4, "three@far.example").await, "aabb");
    mounted.edit(|config| shard(config, "b")["draining"] = true.into()).unwrap();
    let drains = shard_is(&world.relays[0], "b", has("state", "Draining")).await;
    assert_eq!((&drains["deliveries"], &drains["problems"]), (&2.into(), &Value::Array(Vec::new())));
    assert_eq!(shards_of(&world, 3, "four@far.example").await, "aaa");
    world.sinks[far].behave_well();
    let closed = shard_is(&world.relays[0], "b", has("state", "Closed")).await;
    assert_eq!(closed["deliveries"], 0);
    until("all were delivered", LATER, || world.ledger.len() == 13).await.unwrap();
    // It may come back, and go for good.
    mounted.edit(|config| shard(config, "b")["draining"] = false.into()).unwrap();
    shard_is(&world.relays[0], "b", has("state", "Open")).await;
    assert_eq!(shards_of(&world, 2, "five@far.example").await, "ab");
    until("these too", LATER, || world.ledger.len() == 15).await.unwrap();
    mounted.edit(|config| shard(config, "b")["draining"] = true.into()).unwrap();
    shard_is(&world.relays[0], "b", has("state", "Closed")).await;
    mounted.edit(|config| drop(take_shard(config, "b"))).unwrap();
    eventually("no connection is left", LATER, async || {
        (world.redis[1].connections().await.ok()? == 0).then_some(())
    })
    .await
    .unwrap();
    assert!(world.relays[0].shard("b").await.is_err());
    assert_eq!(shards_of(&world, 2, "six@far.example").await, "aa");
    until("and the last", LATER, || world.ledger.len() == 17).await.unwrap();
    assert_eq!(world.ledger.distinct(), 17, "none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_taken_away_with_mail_in_it_keeps_it_until_it_comes_back() {
    let mut world = World::with_shards(2).await.unwrap();
    let far = world.domain("far.example").await.unwrap();
    // Attempts are under way while it goes: their dots are answered, late.
    world.sinks[far].behave([Rule::new(At::Dot, Act::Delay(Duration::from_secs(2)))]);
    let mut mounted = start(&mut world, |_| ()).await;
    let load = Load::new(world.relays[0].smtp(), 20, 200, "b@far.example");
    let source = Source::start(load);
    until("some load", LATER, || source.count() >= 60).await.unwrap();
    let mut b = Value::Null;
    mounted.edit(|config| b = take_shard(config, "b")).unwrap();
    let accepted = source.finish().await.unwrap();
    eventually("no connection is left", LATER, async || {
        (world.redis[1].connections().await.ok()? == 0).then_some(())
    })
    .await
    .unwrap();
    let claimed: u64 = claims(&world).await;
    assert_eq!(claimed, 0, "its claims went back");
    mounted.edit(|config| put_shard(config, b)).unwrap();
    world.sinks[far].behave_well();
    until("all is delivered", LATER, || world.ledger.balance(&accepted).lost.is_empty()).await.unwrap();
    let balance = world.ledger.balance(&accepted);
    assert_eq!((balance.accepted, balance.duplicates), (200, 0));
}

/// Claims in the second shard.
async fn claims(world: &World) -> u64 {
    let keys = world.redis[1].command(&["KEYS", "*:claims:*"]).await.unwrap();
    let mut all = 0;
    for key in keys.lines() {
        all += world.redis[1].command(&["HLEN", key]).await.unwrap().parse::<u64>().unwrap();
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_rotated_under_load() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    world.redis[0].set_password("one").await.unwrap();
    let mut mounted = start(&mut world, |_| ()).await;
    let source = Source::start(Load::new(world.relays[0].smtp(), 10, 2_000, "b@far.example"));
    until("some load", LATER, || source.count() >= 300).await.unwrap();
    // The relay hears of it first: what is open goes on.
    let url = world.redis[0].url().replace(":one@", ":two@");
    mounted.edit(|config| shard(config, "a")["url"] = url.into()).unwrap();
    let told = shard_is(&world.relays[0], "a", |shard| !shard["problems"][0].is_null()).await;
    assert!(told["problems"][0].as_str().is_some_and(|text| text.contains("its new URL")), "{told}");
    assert!(!told.to_string().contains("two"), "{told}");
    let before = source.count();
    until("the load goes on", LATER, || source.count() >= before + 200).await.unwrap();
    world.redis[0].set_password("two").await.unwrap();
    shard_is(&world.relays[0], "a", |shard| shard["problems"][0].is_null()).await;
    world.redis[0].cut_all().await.unwrap();
    let accepted = source.finish().await.unwrap();
    until("all is delivered", LATER, || world.ledger.balance(&accepted).lost.is_empty()).await.unwrap();
    assert_eq!(world.ledger.balance(&accepted).accepted, 2_000);
    let lives = world.relays[0].log().matches("\"registered\"").count();
    assert_eq!(lives, 1, "one life for all of it:\n{}", world.relays[0].log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_moves_to_another_host_under_load() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    let mut mounted = start(&mut world, |_| ()).await;
    let source = Source::start(Load::new(world.relays[0].smtp(), 10, 1_000, "b@far.example"));
    until("some load", LATER, || source.count() >= 200).await.unwrap();
    world.redis[0].relocate().await.unwrap();
    let url = world.redis[0].url();
    mounted.edit(|config| shard(config, "a")["url"] = url.into()).unwrap();
    let accepted = source.finish().await.unwrap();
    let all = until("all is delivered", LATER, || world.ledger.balance(&accepted).lost.is_empty()).await;
    if all.is_err() {
        let queue = world.relays[0].ctl(&["list"]).await;
        panic!("{:?}\n{queue:?}\n{}", world.ledger.balance(&accepted), world.relays[0].log());
    }
    assert_eq!(world.ledger.balance(&accepted).accepted, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_server_is_taken_whatever_uuid_the_configuration_names() {
    let mut world = World::new().await.unwrap();
    let far = world.domain("far.example").await.unwrap();
    world.sinks[far].behave([Rule::reply(At::Rcpt, "451 4.2.1 later")]);
    let mut mounted = start(&mut world, |_| ()).await;
    source::send(Load::new(world.relays[0].smtp(), 5, 30, "b@far.example")).await.unwrap();
    // As the operator does: the queue that was found is named from now on.
    let found = shard_is(&world.relays[0], "a", |shard| shard["deliveries"] == 30).await;
    let former = found["uuid"].clone();
    mounted.edit(|config| shard(config, "a")["uuid"] = former.clone()).unwrap();
    world.redis[0].wipe().await.unwrap();
    world.redis[0].restart().await.unwrap();
    let lost = shard_is(&world.relays[0], "a", has("standing", "Lost")).await;
    assert_eq!(lost["lost_deliveries"], 30, "{lost}");
    assert!(lost.get("uuid").is_none() && lost.get("deliveries").is_none(), "{lost}");
    assert_eq!(world.relays[0].readyz().await.unwrap().0, 503);
    world.relays[0].ctl(&["queue", "adopt", "a"]).await.unwrap();
    let adopted = shard_is(&world.relays[0], "a", has("standing", "InUse")).await;
    assert_ne!(adopted["uuid"], former);
    // A relay that starts now knows nothing but the configuration, which names the former one.
    world.relays[0].kill().await.unwrap();
    // Where it was given no such folder, there is none.
    std::fs::remove_dir_all(world.relays[0].setup().folder.join("state")).ok();
    world.relays[0].restart().await.unwrap();
    assert_eq!(world.relays[0].shard("a").await.unwrap()["uuid"], adopted["uuid"]);
    mounted.edit(|config| shard(config, "a")["uuid"] = adopted["uuid"].clone()).unwrap();
    world.sinks[far].behave_well();
    world.send(0, "a@sender.example", &["c@far.example"], "1").await.unwrap();
    world.arrival("c@far.example", LATER).await.unwrap();
    shard_is(&world.relays[0], "a", has("standing", "InUse")).await;
}

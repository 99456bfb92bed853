//! Three shards, one killed: accepting goes on, its mail waits on its disk; its disk lost: it stays out, and says so.
//! **Owns:** a shard's death, return and loss. **Never:** Cluster or Sentinel.

use std::time::Duration;

use postrider_tests::{
    World, eventually,
    sink::{Act, At, Rule},
    source::{self, Load, Source},
    wait,
};

use crate::protected::{self, Protected, assert_all_is_protected};

const LATER: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn accepting_goes_on_while_a_shard_is_away() {
    let mut world = World::with_shards(3).await.unwrap();
    Protected::new(&world).domain(&mut world, "far.example").await;
    protected::relay(&mut world).await;
    protected::relay(&mut world).await;
    let targets: Vec<_> = world.relays.iter().map(|relay| relay.smtp()).collect();
    let load =
        |messages| Load { targets: targets.clone(), ..Load::new(targets[0], 20, messages, "b@far.example") };
    let first = Source::start(load(1_000));
    wait::until("some load", LATER, || first.count() >= 200).await.unwrap();
    world.redis[1].kill().await.unwrap();
    let first = first.finish().await.unwrap();
    // With the shard still away, new mail is accepted and delivered.
    let second = source::send(load(200)).await.unwrap();
    wait::until("mail by the other shards", LATER, || world.ledger.balance(&second).lost.is_empty())
        .await
        .unwrap();
    let waiting = world.ledger.balance(&first).lost.len();
    world.redis[1].restart().await.unwrap();
    wait::until("the mail of the shard", LATER, || world.ledger.balance(&first).lost.is_empty())
        .await
        .unwrap();
    assert_all_is_protected(&world);
    let balance = world.ledger.balance(&first);
    println!(
        "shard killed: {} accepted, {waiting} waited for its return, 0 lost, {} duplicates, {} client retries",
        balance.accepted, balance.duplicates, first.retries
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_disk_was_lost_stays_out_and_says_what_was_there() {
    let mut world = World::with_shards(3).await.unwrap();
    let far = world.domain("far.example").await.unwrap();
    world.sinks[far].behave([Rule::new(At::Banner, Act::Reply("421 4.3.2 not now".to_owned()))]);
    world.relay().await.unwrap();
    let target = world.relays[0].smtp();
    source::send(Load::new(target, 10, 300, "b@far.example")).await.unwrap();
    // What a shard holds is looked at now and then.
    eventually("the deliveries on the gauge", LATER, async || {
        let metrics = world.relays[0].metrics().await.ok()?;
        (metrics.sum("postrider_queue_deliveries", &[]) >= 300.0).then_some(())
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.redis[1].wipe().await.unwrap();
    world.redis[1].restart().await.unwrap();
    let said = eventually("the loss is told", LATER, async || {
        let (_, ready) = world.relays[0].readyz().await.ok()?;
        let text = ready + &world.relays[0].log();
        text.lines().find(|line| line.contains("QueueLost")).map(str::to_owned)
    })
    .await;
    let said = said.unwrap_or_else(|err| panic!("{err}\n{}", world.relays[0].log()));
    println!("shard wiped: {said}");
    assert!(said.chars().any(|c| c.is_ascii_digit()), "how many were there: {said}");
    // Nothing is accepted into the empty server, and the others go on.
    source::send(Load::new(target, 10, 100, "b@far.example")).await.unwrap();
    let keys: u64 = world.redis[1].command(&["DBSIZE"]).await.unwrap().parse().unwrap();
    assert!(keys <= 3, "{keys} keys in a server that stays out");
    world.relays[0].ctl(&["queue", "adopt", "b"]).await.unwrap();
    eventually("it takes mail again", LATER, async || {
        source::send(Load::new(target, 10, 30, "b@far.example")).await.ok()?;
        let keys: u64 = world.redis[1].command(&["DBSIZE"]).await.ok()?.parse().ok()?;
        (keys > 10).then_some(())
    })
    .await
    .unwrap();
}

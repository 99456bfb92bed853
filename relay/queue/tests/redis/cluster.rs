//! A cluster of three masters: a slot is moved, and a master is followed to its replica.

mod nodes;

use std::time::Duration;

use postrider_mail::Class;
use postrider_queue::{
    ClaimRequest, ConfigTag, Durability, Partition,
    connection::Topology,
    incarnation::Incarnation,
    limit::Rate,
    reap::Beat,
    shards::{Shards, ShardsOptions, Standing},
    slots::Wish,
};

use self::nodes::Nodes;
use crate::world;

/// Three partitions by one URL, which names two of the nodes.
fn options(nodes: &Nodes) -> ShardsOptions {
    let [first, second, third] = &nodes.servers[..] else { panic!("three masters") };
    let mut options = world::options(&[first, second, third]);
    for shard in &mut options.shards {
        shard.target.url = format!("redis://127.0.0.1:{},127.0.0.1:{}/", first.port(), second.port());
        shard.target.topology = Topology::Cluster;
    }
    options.durability = Durability::Unchecked;
    options
}

async fn open(nodes: &Nodes) -> Shards {
    let shards = Shards::new(options(nodes)).expect("options");
    for name in ["a", "b", "c"] {
        world::look_until(&shards, name, Standing::takes_mail).await;
    }
    shards
}

async fn beat(partition: &Partition, life: Incarnation) -> Beat {
    for _ in 0..600 {
        match partition.beat(life).await {
            Ok(beat) => return beat,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("no owner of the slot within 30 s");
}

#[tokio::test]
async fn each_partition_is_found_in_its_slot_and_all_that_it_needs_is_there() {
    let nodes = Nodes::start().await;
    let shards = open(&nodes).await;
    let rate = Rate { tokens: 20, per: Duration::from_secs(1), burst: 5 };
    for partition in shards.partitions() {
        let life = world::register(&partition).await;
        world::enqueue(&partition).await.expect("a receipt");
        assert_eq!(partition.beat(life).await, Ok(Beat::Confirmed));
        assert_eq!(partition.figures().await.expect("an answer").deliveries(), 1);
        let slot = nodes.slot_of(&partition).await;
        let owner = nodes.owner_of(slot).await;
        let count: u64 =
            nodes.servers[owner].command(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]).await;
        assert!(count > 3, "{count}");
    }
    // Which of them keeps a limit or the slots of a site depends on its name.
    for site in 0..20 {
        let site = format!("site-{site}.example");
        assert_eq!(shards.grant(&site, &rate, 3, 0).await.expect("an answer").tokens, 3);
        let wish = Wish { used: 0, more: 2, most: 5 };
        assert_eq!(shards.take_slots(&site, wish).await.expect("an answer").more, 2);
    }
}

#[tokio::test]
async fn a_partition_waits_while_its_slot_moves_and_goes_on_where_it_went() {
    let nodes = Nodes::start().await;
    let shards = open(&nodes).await;
    let partition = shards.get(&world::name("a")).expect("a");
    let life = world::register(&partition).await;
    for _ in 0..3 {
        world::enqueue(&partition).await.expect("a receipt");
    }
    let mut epochs = partition.lease().watch_epochs();
    epochs.mark_unchanged();
    let slot = nodes.slot_of(&partition).await;
    let from = nodes.owner_of(slot).await;
    let to = (from + 1) % 3;
    nodes.begin_move(slot, from, to).await;
    // Key by key: what can't be done is refused, and changes nothing.
    let (mut receipts, mut claimed) = (3, 0);
    let one = ClaimRequest {
        max: 1,
        per_destination: 1,
        least: Class::Bulk,
        may_take_alone: true,
        rooms: Vec::new(),
        longest_wait: crate::world::LONGEST_WAIT,
        config: ConfigTag::new(""),
    };
    let keys = nodes.keys_in(slot, from).await;
    for key in &keys {
        nodes.move_keys(from, to, std::slice::from_ref(key)).await;
        receipts += u64::from(world::enqueue(&partition).await.is_ok());
        claimed += partition.claim(&one).await.map_or(0, |batch| batch.claimed.len());
    }
    let left = nodes.keys_in(slot, from).await;
    if !left.is_empty() {
        nodes.move_keys(from, to, &left).await;
    }
    partition.beat(life).await.expect_err("all of it is on the way");
    world::enqueue(&partition).await.expect_err("all of it is on the way");
    nodes.end_move(slot, to).await;
    assert_eq!(beat(&partition, life).await, Beat::Confirmed);
    assert_eq!(nodes.owner_of(slot).await, to);
    assert!(partition.lease().gate_closed_for().is_some(), "another server, so facts are told again");
    assert!(epochs.has_changed().expect("the lease lives"));
    world::look_until(&shards, "a", Standing::takes_mail).await;
    let messages = nodes.keys_in(slot, to).await.iter().filter(|key| key.contains("}:m:")).count();
    assert_eq!(messages as u64, receipts, "totals equal what a scan finds");
    let figures = partition.figures().await.expect("an answer");
    assert_eq!((figures.deliveries(), figures.messages()), (receipts, receipts));
    assert_eq!(partition.claims_of(life).await.expect("an answer").len(), claimed);
    world::enqueue_soon(&partition).await;
    assert_eq!(partition.figures().await.expect("an answer").deliveries(), receipts + 1);
}

#[tokio::test]
async fn the_replica_of_a_dead_master_is_followed() {
    let mut nodes = Nodes::start().await;
    let shards = open(&nodes).await;
    let partition = shards.get(&world::name("a")).expect("a");
    let life = world::register(&partition).await;
    let slot = nodes.slot_of(&partition).await;
    let owner = nodes.owner_of(slot).await;
    nodes.add_replica(owner).await;
    for _ in 0..3 {
        world::enqueue(&partition).await.expect("a receipt");
    }
    nodes.replica_has(&partition, 3).await;
    nodes.servers[owner].kill();
    assert_eq!(beat(&partition, life).await, Beat::Confirmed, "the replica knows who lives");
    let closed = partition.lease().gate_closed_for().expect("the gate is closed");
    assert!(closed > Duration::from_millis(2_000), "{closed:?}");
    world::look_until(&shards, "a", Standing::takes_mail).await;
    world::enqueue_soon(&partition).await;
    nodes.replica_has(&partition, 4).await;
    // It comes back as a replica of the one that took its place, and says so to whoever asks it.
    nodes.servers[owner].restart().await;
    let late = open(&nodes).await;
    let late = late.get(&world::name("a")).expect("a");
    assert_eq!(late.figures().await.expect("an answer").deliveries(), 4);
}

#[tokio::test]
async fn a_cluster_and_a_lone_server_are_told_apart() {
    let nodes = Nodes::start().await;
    let told = async |options: ShardsOptions| {
        let shards = Shards::new(options).expect("options");
        shards.look().await;
        shards.problems().join("\n")
    };
    let synced = told(ShardsOptions { durability: Durability::Synced, ..options(&nodes) }).await;
    assert!(
        synced.contains("durability: found Synced in mode Cluster; expected mode Standalone"),
        "{synced}"
    );
    let lone = crate::server::Server::start().await;
    let mut options = world::options(&[&lone]);
    options.shards[0].target.topology = Topology::Cluster;
    let told = told(options).await;
    let expected = "cluster_enabled: found 0; expected 1 in mode Cluster; let the URL name nodes of the cluster, or say another mode";
    assert!(told.contains(expected), "{told}");
}

//! A primary and its replica, watched by three sentinels: who is followed when they change places.

mod sentinel;

use std::time::Duration;

use postrider_queue::{
    Durability, Partition,
    connection::{Purpose, Topology},
    incarnation::Incarnation,
    reap::Beat,
    shards::{Shards, ShardsOptions, Standing},
};

use self::sentinel::Sentinel;
use crate::{
    server::{Server, free_port},
    world,
};

struct Watched {
    servers: [Server; 2],
    sentinels: Vec<Sentinel>,
}

impl Watched {
    async fn start() -> Self {
        let primary = Server::start().await;
        let replica = Server::start_with(&[("replicaof", &format!("127.0.0.1 {}", primary.port()))]).await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Sentinel::start(&primary).await);
        }
        for one in &sentinels {
            one.knows(&replica, 2).await;
        }
        Self { servers: [primary, replica], sentinels }
    }

    /// One that isn't there, and two that are.
    fn options(&self, master: &str) -> ShardsOptions {
        let mut options = world::options(&[&self.servers[0]]);
        let [a, b] = [0, 1].map(|index: usize| self.sentinels[index].port());
        options.shards[0].target.url = format!(
            "redis://127.0.0.1:{},127.0.0.1:{a},127.0.0.1:{b}/?master={master}&sentinelPassword={}",
            free_port(),
            sentinel::PASSWORD
        );
        options.shards[0].target.topology = Topology::Sentinel;
        options.durability = Durability::Unchecked;
        options
    }

    async fn open(&self) -> Shards {
        let shards = Shards::new(self.options(sentinel::MASTER)).expect("options");
        world::look_until(&shards, "a", Standing::takes_mail).await;
        shards
    }
}

/// The replica has what the pod was told is in the queue.
async fn replicated(replica: &Server, accepted: u64) {
    let mut found = None;
    // A sentinel makes a server a replica that says for 8 s that it is a primary; not before. It then cuts who asks.
    for _ in 0..1_200 {
        let meta = ["HGET", "postrider:{mail/outbound/a}:meta", "accepted"];
        found = replica.ask::<Option<u64>>(&meta).await.unwrap_or(found);
        if found >= Some(accepted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let role: String = replica.command(&["INFO", "replication"]).await;
    panic!("found {found:?} messages, expected {accepted}; {role}");
}

/// Beats until the store answers, as the heartbeat does.
async fn beat(partition: &Partition, life: Incarnation) -> Beat {
    for _ in 0..600 {
        match partition.beat(life).await {
            Ok(beat) => return beat,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("no primary within 30 s");
}

#[tokio::test]
async fn the_promoted_replica_is_followed_and_nobody_acts_there_for_three_seconds() {
    let mut watched = Watched::start().await;
    let shards = watched.open().await;
    let partition = shards.choose().expect("a partition");
    let life = world::register(&partition).await;
    for _ in 0..3 {
        world::enqueue(&partition).await.expect("a receipt");
    }
    replicated(&watched.servers[1], 3).await;
    let mut epochs = partition.lease().watch_epochs();
    assert_eq!(partition.lease().gate_closed_for(), None);
    watched.servers[0].kill();
    assert_eq!(beat(&partition, life).await, Beat::Confirmed, "the replica knows who lives");
    let closed = partition.lease().gate_closed_for().expect("the gate is closed");
    assert!(closed > Duration::from_millis(2_000), "{closed:?}");
    assert!(epochs.has_changed().expect("the lease lives"), "whoever has facts to tell is told");
    epochs.mark_unchanged();
    world::look_until(&shards, "a", Standing::takes_mail).await;
    world::enqueue_soon(&partition).await;
    assert_eq!(partition.figures().await.expect("an answer").deliveries(), 4);

    // The old primary comes back, and is made a replica. Then they change places while both run.
    watched.servers[0].restart().await;
    replicated(&watched.servers[0], 4).await;
    watched.sentinels[0].fail_over(&watched.servers[1]).await;
    for sentinel in &watched.sentinels {
        sentinel.names(&watched.servers[0]).await;
    }
    world::enqueue_soon(&partition).await;
    replicated(&watched.servers[0], 5).await;
    assert_eq!(beat(&partition, life).await, Beat::Confirmed);
    assert!(epochs.has_changed().expect("the lease lives"));
}

#[tokio::test]
async fn a_demoted_primary_is_left_at_its_first_refusal() {
    let watched = Watched::start().await;
    let shards = watched.open().await;
    let partition = shards.choose().expect("a partition");
    world::enqueue(&partition).await.expect("a receipt");
    let life = world::register(&partition).await;
    replicated(&watched.servers[1], 1).await;
    // From here on the server knows the script.
    assert_eq!(partition.beat(life).await, Ok(Beat::Confirmed));
    let asked = |purpose| {
        let all = partition.connections().round_trips();
        all.into_iter().find(|(one, _)| *one == purpose).map(|(_, count)| count).expect("one of them")
    };
    // The sentinels don't know it yet, and go on naming it.
    let port = watched.servers[1].port().to_string();
    let _: String = watched.servers[0].command(&["REPLICAOF", "127.0.0.1", &port]).await;
    let before = asked(Purpose::Beat);
    partition.beat(life).await.expect_err("it takes no writes");
    let why = partition.beat(life).await.expect_err("nobody takes writes").to_string();
    assert!(why.contains("is no primary"), "{why}");
    assert_eq!(asked(Purpose::Beat), before + 1, "the second one wasn't put to it");
}

#[tokio::test]
async fn a_fleet_is_told_of_sentinels_while_it_runs() {
    let watched = Watched::start().await;
    let mut before = world::options(&[&watched.servers[0]]);
    before.durability = Durability::Unchecked;
    let shards = Shards::new(before.clone()).expect("options");
    shards.look().await;
    let partition = shards.choose().expect("a partition");
    let life = world::register(&partition).await;
    world::enqueue(&partition).await.expect("a receipt");
    let change = |to: ShardsOptions| shards.change(to.shards, Durability::Unchecked).expect("it can be read");
    let changed = change(watched.options(sentinel::MASTER));
    assert!(changed.added.is_empty() && changed.removed.is_empty());
    // Nobody connects to it as before any more, and it is the same store.
    assert_eq!(beat(&partition, life).await, Beat::Confirmed);
    assert_eq!(partition.figures().await.expect("an answer").deliveries(), 1);
    assert_eq!(partition.lease().gate_closed_for(), None);
    // Nor by a master's name that was right.
    change(watched.options("other"));
    partition.beat(life).await.expect_err("there is no such master");
    let told = world::look_until(&shards, "a", |standing| !standing.keeps_promise()).await;
    assert!(matches!(told, Standing::Unreachable { .. }), "{told:?}");
    change(before);
    assert_eq!(beat(&partition, life).await, Beat::Confirmed);
}

#[tokio::test]
async fn what_is_wrong_with_sentinels_is_told() {
    let watched = Watched::start().await;
    let told = async |options: ShardsOptions| {
        let shards = Shards::new(options).expect("options");
        shards.look().await;
        world::told(&shards, "a")
    };
    let synced = ShardsOptions { durability: Durability::Synced, ..watched.options(sentinel::MASTER) };
    let told_synced = told(synced).await;
    assert!(
        told_synced
            .contains("durability: found Synced in mode Sentinel; expected mode Standalone, or Replicated"),
        "{told_synced}"
    );
    let told_other = told(watched.options("other")).await;
    assert!(
        told_other.contains("knows no master \"other\"") || told_other.contains("refused"),
        "{told_other}"
    );
    let mut wrong = watched.options(sentinel::MASTER);
    let url = &mut wrong.shards[0].target.url;
    *url = url.replace(sentinel::PASSWORD, "canary");
    let told_wrong = told(wrong).await;
    assert!(!told_wrong.contains("canary") && told_wrong.contains("no connection"), "{told_wrong}");
}

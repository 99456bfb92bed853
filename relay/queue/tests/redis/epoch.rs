//! A store that comes back as another life, or without its last writes.

use std::time::Duration;

use postrider_queue::reap::Beat;

use crate::{server::Server, world};

#[tokio::test]
async fn after_a_restart_of_the_store_nobody_acts_for_three_seconds() {
    let mut server = Server::start().await;
    let shards = world::open(&[&server]).await;
    let partition = shards.choose().expect("a partition");
    let incarnation = world::register(&partition).await;
    assert_eq!(partition.lease().gate_closed_for(), None, "a new queue has nothing to wait for");
    let mut epochs = partition.lease().watch_epochs();
    server.restart().await;
    let beat = loop {
        match partition.beat(incarnation).await {
            Ok(beat) => break beat,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!(beat, Beat::Confirmed, "a restart loses nothing, least of all who lives");
    let closed = partition.lease().gate_closed_for().expect("the gate is closed");
    assert!(closed > Duration::from_millis(2_500), "{closed:?}");
    assert!(epochs.has_changed().expect("the lease lives"), "whoever has facts to tell is told");
    epochs.mark_unchanged();
    // A pod that starts now waits too, but no longer than those that knew the old life.
    let late = world::open(&[&server]).await;
    let late = late.choose().expect("a partition");
    world::register(&late).await;
    let closed = late.lease().gate_closed_for().expect("the gate is closed");
    assert!(closed <= Duration::from_secs(3), "{closed:?}");
    assert!(!late.lease().watch_epochs().has_changed().expect("the lease lives"), "it has nothing to tell");
}

#[tokio::test]
async fn a_store_that_forgot_accepted_mail_closes_the_gate_too() {
    let server = Server::start().await;
    let shards = world::open(&[&server]).await;
    let partition = shards.choose().expect("a partition");
    world::register(&partition).await;
    for _ in 0..3 {
        world::enqueue(&partition).await.expect("a receipt");
    }
    partition.lease().saw_accepted(3);
    // A failover to a replica that had less: the count is back at 1, the server's life is the same.
    server.command::<i64>(&["HSET", "postrider:{mail/outbound/a}:meta", "accepted", "1"]).await;
    partition.connections().reconnect(postrider_queue::connection::Purpose::Beat);
    world::register(&partition).await;
    assert!(partition.lease().gate_closed_for().is_some());
}

//! A long queue for a destination that never answers, and mail for one that does: the latter flows.
//! **Owns:** that backlog. **Never:** fairness among the living (core's and queue's tests).

use std::time::{Duration, Instant};

use postrider_tests::{
    World,
    sink::{Act, At, Rule},
    source::{self, Load},
    wait,
};

const SESSIONS: usize = 20;
const WITHIN: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn mail_flows_past_a_dead_destination_s_backlog() {
    let (dead_count, live_count) = if crate::is_long() { (100_000, 10_000) } else { (10_000, 1_000) };
    let mut world = World::new().await.unwrap();
    let dead = world.domain("dead.example").await.unwrap();
    world.domain("live.example").await.unwrap();
    world.sinks[dead].behave([Rule::new(At::Banner, Act::Hang)]);
    world.relay().await.unwrap();
    let target = world.relays[0].smtp();
    let load = |messages, to| Load {
        size: 600,
        per_connection: 100,
        deadline: WITHIN,
        ..Load::new(target, SESSIONS, messages, to)
    };
    let alone = timed(&world, load(live_count, "b@live.example")).await;
    source::send(load(dead_count, "b@dead.example")).await.unwrap();
    let beside = timed(&world, load(live_count, "b@live.example")).await;
    assert!(world.ledger.to("b@dead.example").is_empty());
    let queue = world.relays[0].ctl(&["queue"]).await.unwrap();
    println!(
        "{live_count} live messages, accepted and delivered: {:.1} s alone, {:.1} s with {dead_count} queued for a dead destination\n{queue}",
        alone.as_secs_f64(),
        beside.as_secs_f64()
    );
}

/// Sends a load and waits until all of it has arrived.
async fn timed(world: &World, load: Load) -> Duration {
    let started = Instant::now();
    let accepted = source::send(load).await.unwrap();
    wait::until("the live mail", WITHIN, || world.ledger.balance(&accepted).lost.is_empty()).await.unwrap();
    started.elapsed()
}

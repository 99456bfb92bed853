//! A relay and Redis killed -9 at random moments under load, while all is signed and sent over verified TLS.
//! **Owns:** the ledger test of the product's first promise. **Never:** judges duplicates: they are counted and told.

use std::time::{Duration, Instant};

use postrider_tests::{
    World,
    ledger::Accepted,
    relay,
    source::{Load, Source},
    wait,
};

use crate::protected::{self, Protected, assert_all_is_protected};

const MESSAGES: usize = 2_000;
const SESSIONS: usize = 20;
const DOMAINS: usize = 5;
/// From the end of the load to the last arrival.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_with_a_250_is_lost_when_a_relay_and_redis_are_killed() {
    for run in 1..=crate::runs() {
        once(run).await;
    }
}

async fn once(run: u32) {
    let mut world = World::new().await.unwrap();
    let protected = Protected::new(&world);
    let mut recipients = Vec::new();
    for number in 0..DOMAINS {
        let domain = format!("far{number}.example");
        protected.domain(&mut world, &domain).await;
        recipients.push(format!("b@{domain}"));
    }
    protected::relay(&mut world).await;
    protected::relay(&mut world).await;
    let targets = world.relays.iter().map(|relay| relay.smtp()).collect();
    let load = Load { targets, recipients, ..Load::new(world.relays[0].smtp(), SESSIONS, MESSAGES, "") };
    let source = Source::start(load);
    // Two different moments within the load, in messages rather than in time: machines differ.
    let relay_at = rand::random_range(100..MESSAGES * 7 / 10);
    let redis_at = rand::random_range(100..MESSAGES * 7 / 10);
    let is_relay_first = relay_at <= redis_at;
    let mut killed = Vec::new();
    for is_relay in [is_relay_first, !is_relay_first] {
        let at = if is_relay { relay_at } else { redis_at };
        wait::until("the moment to kill", Duration::from_secs(170), || source.count() >= at).await.unwrap();
        killed.push((if is_relay { "relay" } else { "redis" }, at, Instant::now()));
        if is_relay {
            world.relays[0].kill().await.unwrap();
        } else {
            world.redis[0].kill().await.unwrap();
            world.redis[0].restart().await.unwrap();
        }
    }
    let accepted = match source.finish().await {
        Ok(accepted) => accepted,
        Err(error) => panic!("run {run}, killed {killed:?}: {error:#}\n{}", log(&world)),
    };
    let arrived = settled(&world, &accepted).await;
    report(run, &world, &accepted, &killed, arrived);
}

/// Waits until all has arrived; when.
async fn settled(world: &World, accepted: &Accepted) -> Instant {
    let all =
        wait::until("all that got a 250", DRAINED_WITHIN, || world.ledger.balance(accepted).lost.is_empty())
            .await;
    if all.is_err() {
        let lost = world.ledger.balance(accepted).lost;
        let list = world.relays[1].ctl(&["list"]).await;
        panic!("{} lost: {:?}\nqueue: {list:?}\n{}", lost.len(), lost.get(..5.min(lost.len())), log(world));
    }
    Instant::now()
}

fn report(run: u32, world: &World, accepted: &Accepted, killed: &[(&str, usize, Instant)], arrived: Instant) {
    let balance = world.ledger.balance(accepted);
    assert_eq!(balance.accepted, MESSAGES, "refused: {:?}", accepted.refused);
    assert_all_is_protected(world);
    let kills: Vec<String> = killed
        .iter()
        .map(|(what, at, time)| {
            let gap = world.ledger.longest_gap_since(*time).as_secs_f64();
            format!("{what} killed at {at}, {gap:.1} s until mail flowed again")
        })
        .collect();
    let last = killed.last().map_or(Duration::ZERO, |(_, _, time)| arrived.saturating_duration_since(*time));
    println!(
        "run {run}: {} accepted, 0 lost, {} duplicates (+{} sent twice by the client), {} client retries; {}; all delivered {:.1} s after the last kill",
        balance.accepted,
        balance.duplicates,
        balance.resent,
        accepted.retries,
        kills.join("; "),
        last.as_secs_f64()
    );
}

fn log(world: &World) -> String {
    relay::last_lines(&world.relays[1].log(), 30)
}

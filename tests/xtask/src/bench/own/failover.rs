//! A relay killed -9 with a thousand deliveries in flight, another one beside it.
//! **Owns:** how that comes about; the time until the other has claimed all of them. **Never:** a relay that ends in good order.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postrider_tests::{
    eventually,
    redis::Redis,
    sink::{Act, At, Rule},
    source::{Load, Source},
    wait::until,
};

use super::seed::Queue;
use crate::bench::{
    figures::{Figures, told},
    fleet::Fleet,
    mta::Subject,
    workload::{Far, Workload},
};

const IN_FLIGHT: usize = 1_000;
/// Lanes that they are of: one lane gets no more than its share of a relay.
const DOMAINS: usize = 10;
/// Far more than it may take.
const WITHIN: Duration = Duration::from_secs(60);

/// So many times.
pub(crate) async fn run(rounds: usize, figures: &mut Figures) -> Result<()> {
    told(&format!("failover: a relay is killed with {IN_FLIGHT} in flight, another one takes over"));
    let (mut claimed, mut delivered, mut twice) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let found = once().await?;
        claimed.push(found.claimed.as_secs_f64());
        delivered.push(found.delivered.as_secs_f64());
        twice.push(found.duplicates as f64);
    }
    figures.ours("failover_all_claimed", "s after the kill", claimed);
    figures.ours("failover_all_delivered", "s after the kill", delivered);
    figures.ours("failover_duplicates", "messages", twice);
    figures.ours("failover_lost", "messages", vec![0.0; rounds]);
    Ok(())
}

struct Found {
    claimed: Duration,
    delivered: Duration,
    duplicates: usize,
}

async fn once() -> Result<Found> {
    let mut fleet = Fleet::start(Far::Mx(DOMAINS)).await?;
    let queue = Queue::of(fleet.redis()?)?;
    // The end of each message is never answered: what is claimed stays claimed.
    fleet.world.sinks.iter().for_each(|sink| sink.behave([Rule::new(At::Dot, Act::Hang)]));
    let workload = Workload {
        name: "failover",
        size: 4 << 10,
        sessions: 50,
        per_connection: 100,
        far: Far::Mx(DOMAINS),
        messages: [IN_FLIGHT; 2],
        is_main: true,
        is_traced: false,
    };
    let load: Load = Subject { fleet: &fleet, postfix: None }.load(&workload);
    let accepted = Source::start(load).finish().await?;
    let attempts = "the relay to have all of them in flight";
    eventually(attempts, WITHIN, async || (fleet.attempts().await.ok()? >= IN_FLIGHT as u64).then_some(()))
        .await?;
    // The lives that it has had: more than one, should it have been too slow for its own beats.
    let pods = queue.partition.keys().named("pods");
    let lives = fleet.redis()?.command(&["HKEYS", &pods]).await?;
    let claims: Vec<String> =
        lives.lines().map(|life| queue.partition.keys().named(&format!("claims:{life}"))).collect();
    let found = held(fleet.redis()?, &claims).await?;
    ensure!(found == IN_FLIGHT as u64, "found {found} claims of the relay; expected {IN_FLIGHT}");
    fleet.world.relay().await?;
    fleet.world.sinks.iter().for_each(postrider_tests::sink::Sink::behave_well);
    fleet.world.relays[0].kill().await?;
    let killed = Instant::now();
    eventually("another relay to have claimed all", WITHIN, async || {
        let is_taken = held(fleet.redis().ok()?, &claims).await.ok()? == 0;
        let waiting: u64 = queue.partition.figures().await.ok()?.waiting.values().sum();
        (is_taken && waiting == 0).then_some(())
    })
    .await?;
    let claimed = killed.elapsed();
    let ledger = fleet.ledger();
    until("all of it to arrive", WITHIN, || ledger.balance(&accepted).lost.is_empty()).await?;
    let last = ledger.entries().into_iter().map(|entry| entry.time).max().unwrap_or(killed);
    let duplicates = ledger.balance(&accepted).duplicates;
    Ok(Found { claimed, delivered: last.saturating_duration_since(killed), duplicates })
}

/// Claims under these keys.
async fn held(redis: &Redis, claims: &[String]) -> Result<u64> {
    let mut sum = 0;
    for key in claims {
        sum += redis.command(&["HLEN", key]).await?.parse::<u64>()?;
    }
    Ok(sum)
}

//! Limits over the whole fleet: what they cost, whether they are kept to and used, what waits for them.
//! **Owns:** those three parts. **Never:** which mail goes first.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postrider_tests::{eventually, source::Source};

use super::{
    in_turns,
    seed::{Queue, Seeds},
};
use crate::bench::{
    figures::{Figures, plain, told},
    fleet::{Besides, Fleet},
    mta::Subject,
    redis_calls::RedisCalls,
    workload::{Far, RECIPIENT, Workload},
};

/// Each is asked for, and none is reached.
const HIGH: &str =
    "connections: 20, rate: {messages: 1000000, per: 1s}, connectionRate: {connections: 1000000, per: 1s}";
/// The one that is watched: a hundred a minute. Its burst is what comes due in five seconds.
const WATCHED: &str = "rate: {messages: 100, per: 1m}";
const WATCHED_PER_SECOND: f64 = 100.0 / 60.0;
const WATCHED_BURST: f64 = 8.0;
/// Relays that share it.
const RELAYS: usize = 4;
/// One of them is killed this often, and comes back.
const KILLED_EVERY: Duration = Duration::from_secs(15);
/// More than it lets through meanwhile.
const MESSAGES_PER_SECOND: usize = 3;
/// One message, and the next one a day later.
const DAILY: &str = "rate: {messages: 1, per: 24h}";
/// Bytes of a message that waits.
const SIZE: usize = 1 << 10;
/// How long all may take to have met their limit.
const LIMITED_WITHIN: Duration = Duration::from_secs(300);
/// Whatever was under way has ended by then.
const SETTLED: Duration = Duration::from_secs(5);
/// How long the store is watched.
const WATCHED_FOR: Duration = Duration::from_secs(20);

/// A fleet with limits that are never reached beside one without.
pub(crate) async fn cost(workload: &Workload, rounds: usize, figures: &mut Figures) -> Result<()> {
    told("limits that are never reached beside none");
    let free = Fleet::start(Far::Smarthost).await?;
    let limited = Fleet::start_besides(Far::Smarthost, Besides::Limits(HIGH)).await?;
    let turns = in_turns([&free, &limited], workload, rounds).await?;
    figures.over("limits_share", "of the speed without", turns.speeds.each_ref());
    turns.tell("limits", ["without", "with"], figures);
    Ok(())
}

/// Many sites, each with mail that waits for its limit: what the store is asked meanwhile, and what it was asked at rest.
pub(crate) async fn waiting(sites: usize, figures: &mut Figures) -> Result<()> {
    told(&format!("{} sites, each with a message that its limit lets wait", plain(sites as f64)));
    let mut fleet = Fleet::start_besides(Far::Mx(sites), Besides::Limits(DAILY)).await?;
    tokio::time::sleep(SETTLED).await;
    let at_rest = scripts_each_second(&fleet).await?;
    fleet.world.relays[0].stop().await?;
    let queue = Queue::of(fleet.redis()?)?;
    let domains = (0..sites).map(crate::bench::workload::domain).collect();
    queue.fill(Seeds::of(2 * sites, domains, SIZE, Duration::ZERO)).await?;
    fleet.world.relays[0].restart().await?;
    let ledger = fleet.ledger();
    eventually("one message to each site, and all others to be put off", LIMITED_WITHIN, async || {
        let put_off = fleet.sum("postrider_queue_lanes", &["state=\"suspended\""]).await.ok()?;
        (put_off >= sites as u64 && ledger.len() >= sites).then_some(())
    })
    .await?;
    tokio::time::sleep(SETTLED).await;
    let waiting = scripts_each_second(&fleet).await?;
    ensure!(ledger.len() == sites, "found {} messages at the far side; expected {sites}", ledger.len());
    figures.ours("limits_waiting_sites", "sites", vec![sites as f64]);
    figures.ours("limits_waiting_scripts", "scripts a second", vec![waiting]);
    ensure!(at_rest > 0.0, "found no script at rest; expected the relay's heartbeat");
    figures.ours("limits_waiting_over_rest", "of the scripts at rest", vec![waiting / at_rest]);
    Ok(())
}

/// What the store is asked while it is watched.
async fn scripts_each_second(fleet: &Fleet) -> Result<f64> {
    let before = RedisCalls::so_far(fleet.redis()?).await?;
    tokio::time::sleep(WATCHED_FOR).await;
    let asked = RedisCalls::so_far(fleet.redis()?).await?.since(&before);
    Ok(asked.scripts().0 as f64 / WATCHED_FOR.as_secs_f64())
}

/// A limit over four relays, one of which is killed now and then: how much of it is used, and whether there is ever more.
pub(crate) async fn exact(watched: Duration, figures: &mut Figures) -> Result<()> {
    told(&format!("a hundred messages a minute over {RELAYS} relays that come and go, for {watched:?}"));
    let mut fleet = Fleet::start_besides(Far::Smarthost, Besides::Limits(WATCHED)).await?;
    while fleet.world.relays.len() < RELAYS {
        fleet.world.relay().await?;
    }
    let workload = Workload {
        name: "limits",
        size: SIZE,
        sessions: RELAYS,
        per_connection: 100,
        far: Far::Smarthost,
        messages: [watched.as_secs() as usize * MESSAGES_PER_SECOND; 2],
        is_main: false,
        is_traced: false,
    };
    let began = Instant::now();
    let load = Subject { fleet: &fleet, postfix: None }.load(&workload);
    Source::start(load).finish().await.with_context(|| format!("mail to {RECIPIENT}"))?;
    let mut next = 0;
    while began.elapsed() + KILLED_EVERY < watched {
        tokio::time::sleep(KILLED_EVERY).await;
        let relay = &mut fleet.world.relays[next % RELAYS];
        relay.kill().await?;
        relay.restart().await?;
        next += 1;
    }
    tokio::time::sleep(watched.saturating_sub(began.elapsed())).await;
    let mut times: Vec<Instant> = fleet.ledger().entries().into_iter().map(|entry| entry.time).collect();
    times.sort_unstable();
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        anyhow::bail!("found no message at the far side; expected some");
    };
    let due = WATCHED_BURST + last.duration_since(*first).as_secs_f64() * WATCHED_PER_SECOND;
    figures.ours("limits_used", "of the limit", vec![times.len() as f64 / due]);
    figures.ours("limits_beyond", "messages", vec![beyond(&times)]);
    figures.note(&format!("limits: {next} relays were killed and came back meanwhile"));
    Ok(())
}

/// How many more came in any window than the limit and its burst let through; whole messages.
fn beyond(times: &[Instant]) -> f64 {
    let mut worst = 0.0_f64;
    for (from, first) in times.iter().enumerate() {
        for (count, last) in times.iter().skip(from).enumerate() {
            let due = WATCHED_BURST + last.duration_since(*first).as_secs_f64() * WATCHED_PER_SECOND;
            worst = worst.max((count + 1) as f64 - due);
        }
    }
    worst.floor()
}

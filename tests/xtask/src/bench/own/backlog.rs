//! A million deliveries that wait for their time, over a hundred thousand lanes: what they do to a relay, to new mail, to a claim.
//! **Owns:** two fleets, one with them and one without, in turns. **Never:** one of them due while speed is measured.

use std::time::{Duration, Instant};

use super::{
    in_turns,
    seed::{BATCH, Queue, Seeds},
};
use crate::bench::{
    figures::{Figures, percentile, plain, told},
    fleet::Fleet,
    redis_calls::RedisCalls,
    usage::memory_kib,
    workload::{Far, Workload},
};
use anyhow::{Result, ensure};

/// Bytes of a message that waits.
const SIZE: usize = 1 << 10;
/// Deliveries of a lane.
const PER_LANE: usize = 10;
/// None is due before this: far behind the end of the bench.
const DUE_IN: Duration = Duration::from_secs(6 * 3_600);
/// Deliveries that are due when claims are timed.
const CLAIMED: usize = 100 * BATCH as usize;

/// With so many of them.
pub(crate) async fn run(
    deliveries: usize,
    workload: &Workload,
    rounds: usize,
    figures: &mut Figures,
) -> Result<()> {
    let lanes = deliveries / PER_LANE;
    told(&format!("backlog: {} deliveries over {} lanes", plain(deliveries as f64), plain(lanes as f64)));
    let empty = Fleet::start(Far::Smarthost).await?;
    let mut full = Fleet::start(Far::Smarthost).await?;
    let queue = Queue::of(full.redis()?)?;
    // The claims that are timed are this bench's own.
    full.world.relays[0].stop().await?;
    let few = claims(&full, &queue).await?;
    let before = memory_kib(full.redis()?.running()?.pid())?;
    let began = Instant::now();
    let domains = (0..lanes).map(|number| format!("b{number}.example")).collect();
    let seeds = Seeds::of(deliveries, domains, SIZE, DUE_IN);
    queue.fill_quickly(full.redis()?, seeds).await?;
    figures.note(&format!(
        "backlog: {} messages seeded in {:.0} s through the queue crate, Redis synced once a second meanwhile",
        plain(deliveries as f64),
        began.elapsed().as_secs_f64()
    ));
    let many = claims(&full, &queue).await?;
    full.world.relays[0].restart().await?;
    ensure!(
        queue.partition.figures().await?.deliveries() >= deliveries as u64,
        "found fewer in the queue than were put there"
    );
    let turns = in_turns([&empty, &full], workload, rounds).await?;
    let relay = full.relay()?.process().usage()?.rss_kib as f64 / 1024.0;
    let redis = memory_kib(full.redis()?.running()?.pid())?;
    figures.ours("backlog_deliveries", "deliveries", vec![deliveries as f64]);
    figures.ours("backlog_relay_rss", "MiB", vec![relay]);
    let grown = (redis.saturating_sub(before) * 1024) as f64;
    figures.ours("backlog_redis_bytes_per_delivery", "bytes", vec![grown / deliveries as f64]);
    figures.over("backlog_fast_path_share", "of the empty queue's speed", turns.speeds.each_ref());
    turns.tell("backlog", ["empty", "full"], figures);
    for (name, found) in [("empty", few), ("full", many)] {
        figures.ours(&format!("backlog_claim_p50_{name}"), "ms for 64", vec![found.0]);
        figures.ours(&format!("backlog_claim_p99_{name}"), "ms for 64", vec![found.1]);
        figures.ours(&format!("backlog_claim_script_{name}"), "ms for 64", vec![found.2]);
    }
    Ok(())
}

/// How long a call takes that claims 64 of what is due: p50 and p99 with its sync, and the script alone, in ms.
async fn claims(fleet: &Fleet, queue: &Queue) -> Result<(f64, f64, f64)> {
    let domains = (0..CLAIMED / PER_LANE).map(|number| format!("c{number}.example")).collect();
    queue.fill(Seeds::of(CLAIMED, domains, SIZE, Duration::ZERO)).await?;
    let before = RedisCalls::so_far(fleet.redis()?).await?;
    let (mut times, claims) = queue.claim_due(CLAIMED).await?;
    let (scripts, micros) = RedisCalls::so_far(fleet.redis()?).await?.since(&before).scripts();
    queue.give_back(&claims, DUE_IN).await?;
    times.sort_unstable();
    let at = |percent: usize| percentile(&times, percent).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    Ok((at(50), at(99), micros as f64 / 1e3 / scripts.max(1) as f64))
}

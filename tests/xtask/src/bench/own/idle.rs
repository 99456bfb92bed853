//! A fleet with nothing to do.
//! **Owns:** its memory and CPU at rest. **Never:** a message.

use std::time::{Duration, Instant};

use anyhow::Result;
use postrider_tests::process::usage_of;

use crate::bench::{
    figures::{Figures, told},
    fleet::Fleet,
    usage::Cpu,
    workload::Far,
};

/// What starting left to do is done by then.
const SETTLES_IN: Duration = Duration::from_secs(5);

/// Measures it for so long.
pub(crate) async fn run(watched: Duration, figures: &mut Figures) -> Result<()> {
    told("idle: one relay, one Redis, nothing to do");
    let fleet = Fleet::start(Far::Smarthost).await?;
    tokio::time::sleep(SETTLES_IN).await;
    let relay = fleet.relay()?.process().pid();
    let redis = fleet.redis()?.running()?.pid();
    let (before, began) = ([Cpu::of(relay)?, Cpu::of(redis)?], Instant::now());
    tokio::time::sleep(watched).await;
    let cores = began.elapsed().as_secs_f64();
    let [relay_cpu, redis_cpu] = [Cpu::of(relay)? - before[0], Cpu::of(redis)? - before[1]]
        .map(|took| 100.0 * took.total().as_secs_f64() / cores);
    figures.ours("idle_relay_rss", "MiB", vec![usage_of(relay)?.rss_kib as f64 / 1024.0]);
    figures.ours("idle_relay_cpu", "% of a core", vec![relay_cpu]);
    figures.ours("idle_redis_cpu", "% of a core", vec![redis_cpu]);
    Ok(())
}

//! Mail that is taken in and stays: what accepting alone takes, what a full queue weighs, and how it drains.
//! **Owns:** the second stage, where nothing is delivered at first. **Never:** loses count of what is kept.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postrider_tests::{eventually, source::Load, wait::until};

use super::{
    Plan, WARM_UP,
    round::{self, Meter, Round},
    stage::{Memory, Mta, Stage},
    table::Report,
};

/// How long the relay may take to count what it holds: it looks once in a while.
const COUNTED_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to deliver all of it.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);

/// What a full queue weighs.
pub(crate) struct Kept {
    pub(crate) messages: u64,
    pub(crate) before: Memory,
    pub(crate) after: Memory,
}

/// Measures it.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<Kept> {
    let stage = Stage::keeps().await?;
    let before = stage.memory(Mta::Postrider)?;
    let mut total = [0; 2];
    let mut rounds: [Vec<Round>; 2] = Default::default();
    for number in 0..=plan.rounds {
        for mta in [Mta::Postrider, Mta::Postfix] {
            let load = plan.kept.load(&stage, mta);
            // The first is the warm-up.
            let load = if number == 0 { Load { messages: WARM_UP, ..load } } else { load };
            total[mta as usize] += load.messages as u64;
            let round = accepted(&stage, mta, load).await?;
            if number > 0 {
                rounds[mta as usize].push(round);
            }
        }
    }
    report.case(&plan.kept, &rounds);
    for mta in [Mta::Postrider, Mta::Postfix] {
        let wanted = total[mta as usize];
        let counted = eventually("what is kept to be counted", COUNTED_WITHIN, async || {
            stage.kept(mta).await.ok().filter(|kept| *kept == wanted)
        });
        if let Err(error) = counted.await {
            return Err(error.context(format!("{mta:?} keeps {} of {wanted}", stage.kept(mta).await?)));
        }
    }
    let messages = total[Mta::Postrider as usize];
    let kept = Kept { messages, before, after: stage.memory(Mta::Postrider)? };
    drain(&stage, messages, report).await?;
    Ok(kept)
}

async fn accepted(stage: &Stage, mta: Mta, load: Load) -> Result<Round> {
    let messages = load.messages;
    let meter = Meter::start(stage, mta).await?;
    let (accepted, started) = round::accept(load, mta).await?;
    let (took, harness, redis) = meter.stop(stage, mta).await?;
    Ok(Round {
        messages,
        delivered_in: None,
        accepted_in: accepted.at.values().max().copied().unwrap_or(started) - started,
        took,
        harness,
        latencies: Vec::new(),
        redis,
        duplicates: 0,
        retries: accepted.retries,
    })
}

/// The way through the queue: claimed, read back, delivered, settled.
async fn drain(stage: &Stage, messages: u64, report: &mut Report) -> Result<()> {
    let ledger = stage.ledger();
    ensure!(ledger.is_empty(), "found {} messages delivered while the relay was paused", ledger.len());
    let meter = Meter::start(stage, Mta::Postrider).await?;
    stage.resume()?;
    until("the queue to drain", DRAINED_WITHIN, || ledger.len() as u64 >= messages).await?;
    stage.quiet(Mta::Postrider).await?;
    let (took, harness, redis) = meter.stop(stage, Mta::Postrider).await?;
    let distinct = ledger.distinct() as u64;
    ensure!(
        distinct == messages,
        "{} of {messages} messages never came out of the queue",
        messages - distinct
    );
    let times: Vec<Instant> = ledger.entries().iter().map(|entry| entry.time).collect();
    let (first, last) = (times.iter().min(), times.iter().max());
    let in_time = first.zip(last).map_or(Duration::ZERO, |(first, last)| *last - *first);
    report.drained(&Round {
        messages: messages as usize,
        delivered_in: Some(in_time),
        accepted_in: Duration::ZERO,
        took,
        harness,
        latencies: Vec::new(),
        redis,
        duplicates: 0,
        retries: 0,
    });
    Ok(())
}

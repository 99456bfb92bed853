//! Mail that is taken in and stays: what accepting alone takes, what a full queue weighs, and how it drains.
//! **Owns:** the stage where nothing is delivered at first. **Never:** loses count of what is kept.

use std::time::Duration;

use anyhow::{Result, ensure};
use postrider_tests::{eventually, source::Load, wait::until};

use super::{
    compare,
    figures::{Figures, told},
    mta::Mta,
    round::{self, Meter, Round},
    stage::Stage,
    workload::{Far, Workload},
};

/// How long the relay may take to count what it holds: it looks once in a while.
const COUNTED_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to deliver all of it.
const DRAINED_WITHIN: Duration = Duration::from_secs(180);
/// The first round is the warm-up.
const WARM_UP: usize = 300;

/// Measures it.
pub(crate) async fn run(rounds: usize, part: usize, figures: &mut Figures) -> Result<()> {
    let workload = Workload {
        name: "4k_50_kept",
        size: 4 << 10,
        sessions: 50,
        per_connection: 100,
        far: Far::Smarthost,
        messages: [10_000 / part, 3_000 / part],
        is_main: true,
        is_traced: false,
    };
    told(
        "4k_50_kept: taken in and kept (the relay is paused, Postfix holds all), then delivered through claims",
    );
    let stage = Stage::keeps().await?;
    let before = stage.subject(Mta::Postrider).memory()?;
    let mut total = [0; 2];
    let mut found: [Vec<Round>; 2] = Default::default();
    for number in 0..=rounds {
        for mta in [Mta::Postrider, Mta::Postfix] {
            let load = stage.subject(mta).load(&workload);
            let load = if number == 0 { Load { messages: WARM_UP, ..load } } else { load };
            total[mta as usize] += load.messages as u64;
            let round = accepted(&stage, mta, load).await?;
            if number > 0 {
                found[mta as usize].push(round);
            }
        }
    }
    compare::tell(&workload, &found, figures);
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
    let grown = stage.subject(Mta::Postrider).memory()?.store.saturating_sub(before.store) * 1024;
    figures.ours("redis_bytes_per_message_4k_50_kept", "bytes", vec![grown as f64 / messages as f64]);
    drain(&stage, messages, figures).await
}

async fn accepted(stage: &Stage, mta: Mta, load: Load) -> Result<Round> {
    let (messages, subject) = (load.messages, stage.subject(mta));
    let meter = Meter::start(subject).await?;
    let (accepted, started) = round::accept(subject, load).await?;
    let (took, harness, redis) = meter.stop(subject).await?;
    Ok(Round {
        messages,
        arrivals: Vec::new(),
        accepted_in: accepted.at.values().max().copied().unwrap_or(started) - started,
        took,
        harness,
        latencies: Vec::new(),
        redis,
        memory: subject.memory()?,
        duplicates: 0,
        retries: accepted.retries,
        was_tls: false,
    })
}

/// The way through the queue: claimed, read back, delivered, settled.
async fn drain(stage: &Stage, messages: u64, figures: &mut Figures) -> Result<()> {
    let (ledger, subject) = (stage.fleet.ledger(), stage.subject(Mta::Postrider));
    ensure!(ledger.is_empty(), "found {} messages delivered while the relay was paused", ledger.len());
    let meter = Meter::start(subject).await?;
    stage.fleet.write("Active")?;
    until("the queue to drain", DRAINED_WITHIN, || ledger.len() as u64 >= messages).await?;
    subject.quiet().await?;
    let (took, _, _) = meter.stop(subject).await?;
    let distinct = ledger.distinct() as u64;
    ensure!(
        distinct == messages,
        "{} of {messages} messages never came out of the queue",
        messages - distinct
    );
    let times = ledger.entries().into_iter().map(|entry| entry.time);
    let (first, last) = times.fold((None, None), |(first, last), time| {
        (first.map_or(Some(time), |first| Some(time.min(first))), last.max(Some(time)))
    });
    let within = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
    figures.ours("drain_4k_50_kept", "msg/s", vec![messages as f64 / within.as_secs_f64().max(1e-6)]);
    let cpu = (took.mta + took.store).total().as_secs_f64() * 1e6 / messages as f64;
    figures.ours("cpu_per_message_drain_4k_50_kept", "us", vec![cpu]);
    Ok(())
}

//! One load through one of the two, measured from outside.
//! **Owns:** when clocks start and stop. **Never:** a figure of a run that lost mail.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use postrider_tests::{
    ledger::Accepted,
    source::{Load, Source},
    wait::until,
};

use super::{
    redis_calls::RedisCalls,
    stage::{Mta, Stage, Took},
    usage::Cpu,
};

/// How long the last message may take once all are accepted.
const DELIVERED_WITHIN: Duration = Duration::from_secs(60);
/// How long a load may take to be accepted.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(90);

/// What a round took.
pub(crate) struct Round {
    pub(crate) messages: usize,
    /// From the first MAIL to the last 250 of the far side, where it was delivered.
    pub(crate) delivered_in: Option<Duration>,
    /// From the first MAIL to the last 250 to the source.
    pub(crate) accepted_in: Duration,
    pub(crate) took: Took,
    /// Of source and sink, which are this process.
    pub(crate) harness: Cpu,
    /// From a 250 at the source to the far side's, sorted.
    pub(crate) latencies: Vec<Duration>,
    /// What was asked of Redis; nothing where there is none.
    pub(crate) redis: RedisCalls,
    pub(crate) duplicates: usize,
    pub(crate) retries: u64,
}

/// CPU of all and the store's calls before and after.
pub(crate) struct Meter {
    took: Took,
    harness: Cpu,
    redis: RedisCalls,
}

impl Meter {
    pub(crate) async fn start(stage: &Stage, mta: Mta) -> Result<Self> {
        Ok(Self { redis: calls(stage, mta).await?, harness: Cpu::of_self()?, took: stage.took(mta)? })
    }

    /// What was taken since.
    pub(crate) async fn stop(self, stage: &Stage, mta: Mta) -> Result<(Took, Cpu, RedisCalls)> {
        let now = stage.took(mta)?;
        let took = Took { mta: now.mta - self.took.mta, store: now.store - self.took.store };
        let harness = Cpu::of_self()? - self.harness;
        Ok((took, harness, calls(stage, mta).await?.since(&self.redis)))
    }
}

async fn calls(stage: &Stage, mta: Mta) -> Result<RedisCalls> {
    match mta {
        Mta::Postrider => RedisCalls::so_far(stage.redis()?).await,
        Mta::Postfix => Ok(RedisCalls::default()),
    }
}

/// Sends a load, waits until the far side has all of it, and the books balance.
pub(crate) async fn run(stage: &Stage, mta: Mta, load: Load) -> Result<Round> {
    let ledger = stage.ledger();
    ledger.clear();
    let messages = load.messages;
    let meter = Meter::start(stage, mta).await?;
    let (accepted, started) = accept(load, mta).await?;
    until("the far side to have all of it", DELIVERED_WITHIN, || ledger.len() >= messages).await?;
    stage.quiet(mta).await?;
    let (took, harness, redis) = meter.stop(stage, mta).await?;
    let balance = ledger.balance(&accepted);
    if !balance.lost.is_empty() {
        bail!("{mta:?} lost {} of {messages} messages: {:?} …", balance.lost.len(), balance.lost.first());
    }
    let last = ledger.entries().iter().map(|entry| entry.time).max().unwrap_or(started);
    Ok(Round {
        messages,
        delivered_in: Some(last - started),
        accepted_in: accepted.at.values().max().copied().unwrap_or(started) - started,
        took,
        harness,
        latencies: ledger.latencies(&accepted),
        redis,
        duplicates: balance.duplicates,
        retries: accepted.retries,
    })
}

/// Sends a load until each message has its 250.
pub(crate) async fn accept(load: Load, mta: Mta) -> Result<(Accepted, Instant)> {
    let messages = load.messages;
    let source = Source::start(Load { deadline: ACCEPTED_WITHIN, ..load });
    let started = source.started();
    let accepted = source.finish().await?;
    ensure!(
        accepted.at.len() == messages,
        "{mta:?} refused {} of {messages} messages: {:?} …",
        accepted.refused.len(),
        accepted.refused.values().next()
    );
    Ok((accepted, started))
}

//! One load through one of the two, measured from outside.
//! **Owns:** when clocks start and stop. **Never:** a figure of a run that lost mail, or whose Redis didn't sync.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use postrider_tests::{
    Ledger,
    ledger::Accepted,
    source::{Load, Source},
    wait::until,
};

use super::{
    figures::percentile,
    mta::{Memory, Subject, Took},
    redis_calls::RedisCalls,
    usage::Cpu,
};

/// How long the last message may take once all are accepted.
const DELIVERED_WITHIN: Duration = Duration::from_secs(90);
/// How long a load may take to be accepted.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(120);

/// What a round took.
pub(crate) struct Round {
    pub(crate) messages: usize,
    /// From the first MAIL to the first time that the far side had each message, sorted; empty where nothing is delivered.
    pub(crate) arrivals: Vec<Duration>,
    /// From the first MAIL to the last 250 to the source.
    pub(crate) accepted_in: Duration,
    pub(crate) took: Took,
    /// Of source, sink and nameserver, which are this process.
    pub(crate) harness: Cpu,
    /// From a 250 at the source to the far side's, sorted.
    pub(crate) latencies: Vec<Duration>,
    /// What was asked of Redis; nothing where there is none.
    pub(crate) redis: RedisCalls,
    pub(crate) memory: Memory,
    pub(crate) duplicates: usize,
    pub(crate) retries: u64,
    pub(crate) was_tls: bool,
}

/// CPU of all and the store's calls before and after.
pub(crate) struct Meter {
    took: Took,
    harness: Cpu,
    redis: RedisCalls,
}

impl Meter {
    pub(crate) async fn start(subject: Subject<'_>) -> Result<Self> {
        subject.ensure_durable().await?;
        Ok(Self { redis: subject.redis_calls().await?, harness: Cpu::of_self()?, took: subject.took()? })
    }

    /// What was taken since.
    pub(crate) async fn stop(self, subject: Subject<'_>) -> Result<(Took, Cpu, RedisCalls)> {
        let now = subject.took()?;
        let took = Took { mta: now.mta - self.took.mta, store: now.store - self.took.store };
        let harness = Cpu::of_self()? - self.harness;
        let redis = subject.redis_calls().await?.since(&self.redis);
        subject.ensure_durable().await?;
        Ok((took, harness, redis))
    }
}

/// Sends a load, waits until the far side has all of it, and the books balance.
pub(crate) async fn run(subject: Subject<'_>, load: Load) -> Result<Round> {
    let ledger = subject.fleet.ledger();
    ledger.clear();
    let (messages, is_tls) = (load.messages, load.tls.is_some());
    let meter = Meter::start(subject).await?;
    let (accepted, started) = accept(subject, load).await?;
    let has_all = || ledger.len() >= messages && ledger.balance(&accepted).lost.is_empty();
    if until("the far side to have all of it", DELIVERED_WITHIN, has_all).await.is_err() {
        let lost = ledger.balance(&accepted).lost;
        bail!("{:?} lost {} of {messages} messages: {:?} …", subject.mta(), lost.len(), lost.first());
    }
    subject.quiet().await?;
    let (took, harness, redis) = meter.stop(subject).await?;
    Ok(Round {
        messages,
        arrivals: arrivals(ledger, &accepted, started),
        accepted_in: accepted.at.values().max().copied().unwrap_or(started) - started,
        took,
        harness,
        latencies: ledger.latencies(&accepted),
        redis,
        memory: subject.memory()?,
        duplicates: ledger.balance(&accepted).duplicates,
        retries: accepted.retries,
        was_tls: is_tls && ledger.entries().iter().all(|entry| entry.is_tls),
    })
}

/// Sends a load until each message has its 250.
pub(crate) async fn accept(subject: Subject<'_>, load: Load) -> Result<(Accepted, Instant)> {
    let messages = load.messages;
    let source = Source::start(Load { deadline: ACCEPTED_WITHIN, ..load });
    let started = source.started();
    let accepted = source.finish().await?;
    ensure!(
        accepted.at.len() == messages,
        "{:?} refused {} of {messages} messages: {:?} …",
        subject.mta(),
        accepted.refused.len(),
        accepted.refused.values().next()
    );
    Ok((accepted, started))
}

/// When each of these messages first arrived. A message counts by its ID, and once.
fn arrivals(ledger: &Ledger, accepted: &Accepted, started: Instant) -> Vec<Duration> {
    let mut first: HashMap<String, Instant> = HashMap::new();
    for entry in ledger.entries().into_iter().filter(|entry| accepted.at.contains_key(&entry.id)) {
        let known = first.entry(entry.id).or_insert(entry.time);
        *known = (*known).min(entry.time);
    }
    let mut times: Vec<Duration> =
        first.values().map(|time| time.saturating_duration_since(started)).collect();
    times.sort_unstable();
    times
}

impl Round {
    /// Messages a second at the far side, over the first part of them that counts.
    pub(crate) fn end_to_end(&self, counted: f64) -> Option<f64> {
        let count = ((self.arrivals.len() as f64 * counted).round() as usize).checked_sub(1)?;
        Some((count + 1) as f64 / self.arrivals.get(count)?.as_secs_f64().max(1e-6))
    }

    /// Messages a second that got their 250.
    pub(crate) fn accepted(&self) -> f64 {
        self.messages as f64 / self.accepted_in.as_secs_f64().max(1e-6)
    }

    /// µs a message.
    pub(crate) fn each(&self, time: Cpu) -> f64 {
        time.total().as_secs_f64() * 1e6 / self.messages as f64
    }

    /// So much of something, a message.
    pub(crate) fn share(&self, count: u64) -> f64 {
        count as f64 / self.messages as f64
    }

    /// In ms; this percent of the messages took no longer.
    pub(crate) fn latency(&self, percent: usize) -> Option<f64> {
        percentile(&self.latencies, percent).map(|time| time.as_secs_f64() * 1e3)
    }

    /// The part of all CPU that source, sink and nameserver took.
    pub(crate) fn harness_share(&self) -> f64 {
        let all = self.harness + self.took.mta + self.took.store;
        self.harness.total().as_secs_f64() / all.total().as_secs_f64().max(1e-6)
    }
}

//! One run: parts, load, faults, the end of all faults, the books.
//! **Owns:** the order of a run. **Never:** a fault, a verdict.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use postrider_tests::{
    World, eventually,
    ledger::Accepted,
    relay,
    source::{Load, Source},
};

use super::{
    books::{Began, Books},
    hits::Hits,
    judge::{self, Struck, Verdict},
    plan::{Plan, RelayFault, StoreFault, Topology},
    remains,
    stage::{Ground, Stage},
    strike::{self, Relays, Store},
    weights::Weights,
};

/// From the end of load and faults until nothing waits any more.
const DRAINED_WITHIN: Duration = Duration::from_secs(150);
/// How long doubles are waited for once nothing waits.
pub(crate) const QUIET: Duration = Duration::from_secs(3);
/// What a relay may weigh at the end.
pub(crate) const RSS_MAX_KIB: u64 = 200 * 1024;

/// Runs a plan. `place` tells runs at the same time apart.
pub(crate) async fn run(plan: &Plan, place: u32, older: Option<&std::path::Path>) -> Result<Verdict> {
    let ground = Ground { place, has_volumes: true, rules: &[] };
    let mut stage = Stage::set(plan, &ground).await?;
    let done = befall(plan, &mut stage, older).await;
    let done = match done {
        Ok(verdict) => {
            let unprotected = if plan.is_protected { verdict.unprotected() } else { None };
            match verdict.fault().or(unprotected).or(misshaped(plan, &stage)) {
                None => Ok(verdict),
                Some(fault) => Err(anyhow::anyhow!(fault)),
            }
        }
        Err(error) => Err(error),
    };
    if done.is_err() {
        keep(&format!("seed-{}", plan.seed), &stage.world)?;
    }
    stage.clear().await?;
    done
}

/// What far sides saw that the plan of a new address doesn't allow.
fn misshaped(plan: &Plan, stage: &Stage) -> Option<String> {
    stage.shaping.as_ref()?.fault(&stage.world.ledger.entries(), !plan.topology.is_replicated())
}

async fn befall(plan: &Plan, stage: &mut Stage, older: Option<&std::path::Path>) -> Result<Verdict> {
    let load = stage.load(plan);
    let before = Weights::of(&stage.world).await?;
    let began = Began { instant: Instant::now(), wall: SystemTime::now() };
    let source = Source::start(load.clone());
    let struck = Arc::new(Mutex::new(Vec::new()));
    let hits = strike(plan, stage, older, began, &struck).await?;
    let accepted = source.finish().await?;
    stage.world.sinks.iter().for_each(postrider_tests::sink::Sink::behave_well);
    let struck = struck.lock().unwrap_or_else(PoisonError::into_inner).clone();
    drained(plan.topology, &stage.world, &accepted, &load, began).await?;
    tokio::time::sleep(QUIET).await;
    let books = Books::read(&stage.world, &accepted, &load, began)?;
    let verdict = Verdict { hits, ..judge::judge(&books, &struck) };
    let after = Weights::of(&stage.world).await?;
    if let Some(fault) = after.fault(&before) {
        bail!(fault);
    }
    for relay in &stage.world.relays {
        let rss = relay.process().usage()?.rss_kib;
        ensure!(rss <= RSS_MAX_KIB, "a relay takes {rss} KiB at the end");
    }
    ensure!(
        accepted.at.len() == plan.messages,
        "{} of {} accepted; refused: {:?}",
        accepted.at.len(),
        plan.messages,
        accepted.refused.iter().take(3).collect::<Vec<_>>()
    );
    Ok(verdict)
}

/// Both kinds of strikes, beside each other. Which of them came to be.
pub(crate) async fn strike(
    plan: &Plan,
    stage: &mut Stage,
    older: Option<&std::path::Path>,
    began: Began,
    struck: &Mutex<Vec<Struck>>,
) -> Result<Hits> {
    let Stage { world, mounted, replicas, clocks, redis_clock, groups, protection, .. } = stage;
    let World { relays, redis, dns, sinks, .. } = world;
    let ports = redis.iter().map(postrider_tests::redis::Redis::port).collect();
    let (older, protection) = (older.map(Into::into), protection.as_ref());
    let mut relays = Relays { relays, dns, clocks, groups, ports, older, sinks, protection };
    let mut store = Store { servers: redis, replicas, mounted, clock: redis_clock };
    let wait = |at: Duration| tokio::time::sleep_until((began.instant + at).into());
    let note = |one: Struck| struck.lock().unwrap_or_else(PoisonError::into_inner).push(one);
    let of_relays = async {
        let mut hits = Hits::default();
        for strike in &plan.of_relays {
            wait(strike.at).await;
            let from = began.instant.elapsed();
            let has_hit = relays.suffer(strike).await.with_context(|| format!("{strike:?}"))?;
            hits.note(strike::name_of(strike), has_hit);
            for whom in [Some(strike.whom), strike::victim_of(strike)].into_iter().flatten() {
                note(of_relay(strike.fault, whom, plan.topology, from, began.instant.elapsed()));
            }
        }
        Ok::<_, anyhow::Error>(hits)
    };
    let of_store = async {
        let mut hits = Hits::default();
        for strike in &plan.of_store {
            wait(strike.at).await;
            let from = began.instant.elapsed();
            let has_hit = store.suffer(strike).await.with_context(|| format!("{strike:?}"))?;
            hits.note(format!("{:?}", strike.fault), has_hit);
            note(of_server(strike.fault, plan.topology, from, began.instant.elapsed()));
        }
        Ok(hits)
    };
    let (mut hits, others) = tokio::try_join!(of_relays, of_store)?;
    hits.add(&others);
    Ok(hits)
}

fn of_relay(fault: RelayFault, whom: usize, topology: Topology, from: Duration, to: Duration) -> Struck {
    Struck {
        relay: Some(whom),
        may_promote: false,
        is_partition: fault == RelayFault::Partition,
        from,
        to,
        is_disruptive: !matches!(
            fault,
            RelayFault::Dns | RelayFault::RelayClock | RelayFault::WrongCertificate
        ),
        is_pause: fault == RelayFault::PauseRelay,
        is_kill: fault == RelayFault::KillRelay,
        is_outage: fault == RelayFault::Partition && topology == Topology::Shards,
        is_of_store: false,
        is_clock: fault == RelayFault::RelayClock,
    }
}

fn of_server(fault: StoreFault, topology: Topology, from: Duration, to: Duration) -> Struck {
    Struck {
        from,
        to,
        relay: None,
        may_promote: topology.is_replicated()
            && matches!(
                fault,
                StoreFault::KillRedis | StoreFault::PauseRedis | StoreFault::FailOver | StoreFault::SlowDisk
            ),
        is_partition: false,
        is_disruptive: !matches!(fault, StoreFault::ScriptFlush | StoreFault::Reload | StoreFault::KeyGone),
        is_pause: false,
        is_kill: false,
        is_outage: matches!(fault, StoreFault::KillRedis | StoreFault::PauseRedis)
            && topology == Topology::Shards,
        is_of_store: true,
        is_clock: false,
    }
}

/// Waits until all has arrived or bounced, and the queue's servers have nothing left.
pub(crate) async fn drained(
    topology: Topology,
    world: &World,
    accepted: &Accepted,
    load: &Load,
    began: Began,
) -> Result<()> {
    let lost =
        || -> Result<Vec<String>> { Ok(judge::judge(&Books::read(world, accepted, load, began)?, &[]).lost) };
    let mut left = String::from("it was not looked at");
    let waited = eventually("nothing to wait any more", DRAINED_WITHIN, async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        left = match remains::of(topology, &world.redis).await {
            Ok(keys) if keys.is_empty() => match lost() {
                Ok(lost) if lost.is_empty() => return Some(()),
                // The queue is empty, so nothing more will come of them.
                Ok(lost) => {
                    format!("an empty queue, and lost: {:?}", lost.iter().take(5).collect::<Vec<_>>())
                }
                Err(error) => error.to_string(),
            },
            Ok(keys) => format!("{} keys such as {:?}", keys.len(), keys.iter().take(8).collect::<Vec<_>>()),
            Err(error) => format!("{error:#}"),
        };
        None
    });
    match waited.await {
        Ok(()) => Ok(()),
        Err(error) => bail!("{error}; found {left}"),
    }
}

/// Logs of a run that failed, for a person.
pub(crate) fn keep(name: &str, world: &World) -> Result<()> {
    let folder = crate::tools::target().join("chaos").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    for (number, one) in world.relays.iter().enumerate() {
        std::fs::write(folder.join(format!("relay-{number}.log")), one.log())?;
    }
    for (number, one) in world.redis.iter().enumerate() {
        std::fs::write(folder.join(format!("redis-{number}.log")), relay::last_lines(&one.log(), 2_000))?;
    }
    println!("logs of {name} in {}", folder.display());
    Ok(())
}

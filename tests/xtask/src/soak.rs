//! Hours of mixed mail beside faults: nothing is lost, and nothing grows that shouldn't.
//! **Owns:** the order of a soak, and what it leaves behind: samples, a table, a picture. **Never:** a fault (chaos), a bound
//! (claims.rs).
//!
//! plan -> stage (chaos's) -> a first few messages -> load beside strikes and samples -> the queue drains -> books -> claims.

mod calm;
mod claims;
mod page;
mod plan;
mod report;
mod rewrites;
mod sample;
mod table;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, ensure};
use clap::Args;
use postrider_tests::{
    eventually,
    source::{self, Load, Source},
};

use self::{plan::Wanted, report::Report, sample::Sampler};
use crate::{
    bench::text,
    chaos::{
        self,
        books::{Began, Books},
        judge,
        plan::{Plan, Topology},
        remains, run,
        stage::{Ground, Stage},
    },
    tools,
};

/// Classes by where mail goes, and files on the disk: accepting takes the time of a real sync.
const GROUND: Ground = Ground {
    place: 0,
    has_volumes: false,
    rules: &[
        ("now", "matches: [{recipientDomains: [far0.example]}]\npolicy: {class: Transactional}"),
        ("news", "matches: [{recipientDomains: [far2.example]}]\npolicy: {class: Bulk}"),
    ],
};
/// A server rewrites its file whenever it has grown by so much: some times in a quarter of an hour.
const REWRITE_FROM: &str = "32mb";
/// Clients at once.
const SESSIONS: usize = 24;
/// Behind the end of the load, clients that were in the way of a fault go on for so long.
const LATE: Duration = Duration::from_secs(240);
/// Messages before the first look: each key that lasts is there once some mail has passed.
const FIRST: usize = 200;
const FIRST_WITHIN: Duration = Duration::from_secs(60);

/// What is run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long the load lasts. Growth is judged from 20 minutes on: what is shorter only warms up.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..))]
    minutes: u64,
    /// What faults are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the queue's servers are run.
    #[arg(long, value_enum, default_value = "one")]
    topology: Topology,
    /// Messages a second.
    #[arg(long, default_value_t = 120)]
    per_second: u32,
    /// Where samples go, a line of JSON each; `soak.jsonl` in cargo's target folder if left out.
    #[arg(long, value_name = "FILE")]
    samples: Option<PathBuf>,
    /// Write what was found into docs/reliability.md and its picture.
    #[arg(long)]
    docs: bool,
}

/// Runs it.
pub(crate) fn main(options: &Options, relay: &Path) -> Result<()> {
    chaos::enter(&[options.topology], relay)?;
    let wanted = Wanted {
        seed: options.seed,
        topology: options.topology,
        lasts: Duration::from_secs(options.minutes * 60),
        per_second: options.per_second,
    };
    let samples = options.samples.clone().unwrap_or_else(|| tools::target().join("soak.jsonl"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(soak(&wanted, &samples))?;
    println!("{}\nsamples: {}", table::table(&report), samples.display());
    if options.docs {
        page::write(&report, options)?;
    }
    report.judged()
}

async fn soak(wanted: &Wanted, samples: &Path) -> Result<Report> {
    let plan = plan::plan(wanted);
    println!("{}", plan.describe());
    let mut stage = Stage::set(&plan, &GROUND).await?;
    let done = befall(wanted, &plan, &mut stage, samples).await;
    if done.as_ref().map_or(true, |report| report.judged().is_err()) {
        run::keep("soak", &stage.world)?;
    }
    stage.clear().await?;
    done
}

async fn befall(wanted: &Wanted, plan: &Plan, stage: &mut Stage, samples: &Path) -> Result<Report> {
    for server in &stage.world.redis {
        server.set_for_good("auto-aof-rewrite-min-size", REWRITE_FROM).await?;
    }
    let load = Load {
        sessions: SESSIONS,
        bodies: plan::SIZES.iter().map(|size| text::body(*size)).collect(),
        deadline: wanted.lasts + LATE,
        ..stage.load(plan)
    };
    let keys_before = first(plan.topology, stage, &load).await?;
    let began = Began { instant: Instant::now(), wall: SystemTime::now() };
    let source = Source::start(load.clone());
    let mut sampler = Sampler::new(stage, began, samples)?;
    let struck = Mutex::new(Vec::new());
    tokio::try_join!(
        run::strike(plan, stage, None, began, &struck),
        sampler.until(&source, began.instant + wanted.lasts)
    )?;
    let rewrites = stage.world.redis.iter().flat_map(|server| rewrites::of(&server.log())).collect();
    let accepted = source.finish().await?;
    let late = began.instant.elapsed().saturating_sub(wanted.lasts);
    println!("the load is over, {:.0} s late; the queue drains", late.as_secs_f64());
    stage.world.sinks.iter().for_each(postrider_tests::sink::Sink::behave_well);
    run::drained(plan.topology, &stage.world, &accepted, &load, began).await?;
    tokio::time::sleep(run::QUIET).await;
    let last = sampler.look().await?;
    let struck = struck.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let books = Books::read(&stage.world, &accepted, &load, began)?;
    Ok(Report {
        wanted: wanted.clone(),
        samples: sampler.samples,
        last,
        verdict: judge::judge(&books, &struck),
        waits: calm::since(began.instant, &accepted.waits),
        calm: calm::stretches(&struck, wanted.lasts),
        strikes: plan::counts(plan),
        refused: accepted.refused.into_values().collect(),
        retries: accepted.retries,
        messages: plan.messages,
        rewrites,
        keys_before,
        keys_after: remains::names(plan.topology, &stage.world.redis).await?,
    })
}

/// Lets some mail through; the names of the keys that last after it.
async fn first(topology: Topology, stage: &Stage, load: &Load) -> Result<BTreeSet<String>> {
    let load = Load { messages: FIRST, prefix: "first".to_owned(), deadline: FIRST_WITHIN, ..load.clone() };
    let accepted = source::send(load).await?;
    ensure!(!accepted.at.is_empty(), "none of the first messages was taken");
    eventually("the first messages to be through", FIRST_WITHIN, async || {
        remains::of(topology, &stage.world.redis).await.ok().filter(Vec::is_empty)
    })
    .await?;
    stage.world.ledger.clear();
    remains::names(topology, &stage.world.redis).await
}

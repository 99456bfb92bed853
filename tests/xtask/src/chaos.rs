//! Mail through a fleet that everything befalls: what got a 250 arrives or bounces, once, or the second copy is explained.
//! **Owns:** seeds, several runs at a time, the file of results. **Never:** a fault (strike.rs), a judgement (judge.rs).
//!
//! plan (drawn from the seed) -> stage (real servers, relays, far sides) -> load beside strikes -> the end of all faults -> books ->
//! verdict. All of it lives in namespaces of its own, so that packets can be dropped and volumes be full, and nothing is left behind.

pub(crate) mod books;
mod clock;
pub(crate) mod draw;
mod hits;
pub(crate) mod judge;
pub(crate) mod plan;
mod protection;
pub(crate) mod remains;
mod replicas;
pub(crate) mod run;
mod shaping;
pub(crate) mod stage;
mod strike;
mod tail;
mod weights;

use std::{
    collections::HashSet,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use self::{
    hits::Hits,
    judge::Verdict,
    plan::{Allowed, Plan, Topology},
};
use crate::{
    bench::figures::percentile,
    tools::{self, Tool},
};

/// What it takes beside the queue's server.
const TOOLS: &[Tool] = &[tools::REDIS, tools::STRACE, tools::GCC, tools::IPTABLES, tools::IP];
/// Set once namespaces are ours.
const INSIDE: &str = "POSTRIDER_CHAOS_INSIDE";
/// A relay's claims are others' so long after its death.
const TAKEOVER_MAX: f64 = 6.0;
/// In so many runs a relay has died at each step.
const ALL_STEPS_IN: usize = 100;
/// How long a run may take, a long pause included.
const RUN_WITHIN: Duration = Duration::from_secs(420);

/// What is run.
#[derive(Debug, Args)]
pub(crate) struct Chaos {
    /// The first seed; the next runs take the next ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Only these faults: kill-relay,torn-tail,… All, if left out.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Only these ways of running the queue's servers; seeds take them in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "one,shards,sentinel,cluster")]
    topologies: Vec<Topology>,
    /// Runs at the same time.
    #[arg(long, default_value_t = 4)]
    at_once: usize,
    /// Keep a line of each run here, and leave out what this build of the relay has passed already.
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// An earlier release's relay, to be mixed in by rolling restarts; then no run signs, verifies or is shaped.
    #[arg(long, value_name = "FILE")]
    older: Option<PathBuf>,
}

/// Runs them.
pub(crate) fn main(chaos: &Chaos, relay: &Path) -> Result<()> {
    enter(&chaos.topologies, relay)?;
    let mut allowed = Allowed::parse(&chaos.faults)?;
    allowed.has_older = chaos.older.is_some();
    let results = Results::open(chaos.results.as_deref(), relay)?;
    let plans =
        (chaos.seed..chaos.seed + chaos.runs).map(|seed| Plan::draw(seed, &chaos.topologies, &allowed));
    let plans: Vec<Plan> = plans.filter(|plan| !results.has_passed(plan)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(all(plans, chaos, results))
}

/// Runs this command again in namespaces of its own, and doesn't return, unless it is in them already.
pub(crate) fn enter(topologies: &[Topology], relay: &Path) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        let is_up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?.success();
        ensure!(is_up, "loopback can't be set up");
        return Ok(());
    }
    ensure!(
        tools::is_root(),
        "found another user than root; expected root: namespaces, volumes and packets' rules are made; use sudo"
    );
    tools::ensure_installed(TOOLS)?;
    clock::build()?;
    let mut command = Command::new("unshare");
    // Whoever ends the command ends all that it started.
    command
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1));
    command.env(INSIDE, "1").env("POSTRIDER_RELAY", relay);
    if topologies.iter().any(|topology| topology.is_replicated()) {
        command.env("POSTRIDER_VALKEY", tools::valkey::server()?);
    }
    Err(command.exec()).context("unshare")
}

async fn all(plans: Vec<Plan>, chaos: &Chaos, mut results: Results) -> Result<()> {
    let (mut plans, mut running, mut failed) = (plans.into_iter(), JoinSet::new(), Vec::new());
    let mut places: Vec<u32> = (0..u32::try_from(chaos.at_once.max(1))?).collect();
    loop {
        while let Some(place) = places.pop() {
            let Some(plan) = plans.next() else { break };
            let older = chaos.older.clone();
            let runtime = tokio::runtime::Handle::current();
            running.spawn_blocking(move || {
                let began = Instant::now();
                let run = async {
                    tokio::time::timeout(RUN_WITHIN, run::run(&plan, place, older.as_deref())).await
                };
                let done = runtime.block_on(run);
                let done = done.unwrap_or_else(|_| Err(anyhow::anyhow!("not over within {RUN_WITHIN:?}")));
                (plan, place, began.elapsed(), done)
            });
        }
        let Some(ended) = running.join_next().await else { break };
        let (plan, place, took, done) = ended.context("a run panicked")?;
        places.push(place);
        match &done {
            Ok(verdict) => println!("{}\n  {:.0} s, {}", plan.describe(), took.as_secs_f64(), line(verdict)),
            Err(error) => {
                println!("{}\n  FAILED: {error:#}", plan.describe());
                failed.push(plan.seed);
            }
        }
        results.add(&plan, &done)?;
    }
    results.summary()?;
    ensure!(failed.is_empty(), "seeds {failed:?} failed; one again: cargo xtask chaos --seed {}", failed[0]);
    Ok(())
}

fn line(verdict: &Verdict) -> String {
    let Verdict { accepted, delivered, bounced, explained, resent, late_dots, signed, hits, .. } = verdict;
    format!(
        "{accepted} accepted: {delivered} delivered, {bounced} bounced, 0 lost; {explained} doubles explained, {resent} sent twice by \
         the client, {late_dots} late dots; {signed} copies signed by both keys\n  came to be: {hits}"
    )
}

/// The file of results: a line a run.
struct Results {
    file: Option<std::fs::File>,
    build: String,
    lines: Vec<Value>,
}

impl Results {
    fn open(path: Option<&Path>, relay: &Path) -> Result<Self> {
        let build = hex::encode(Sha256::digest(std::fs::read(relay).context("reading the relay's binary")?));
        let text = path.map(|path| std::fs::read_to_string(path).unwrap_or_default()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines = lines.filter(|line| line["build"] == build).collect();
        let open = |path| std::fs::OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { file: path.map(open).transpose()?, build, lines })
    }

    fn has_passed(&self, plan: &Plan) -> bool {
        let is_it = |line: &Value| line["plan"] == plan.describe() && line["error"].is_null();
        self.lines.iter().any(is_it)
    }

    fn add(&mut self, plan: &Plan, done: &Result<Verdict>) -> Result<()> {
        let mut line = match done {
            Ok(verdict) => verdict.json(),
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        if let (Ok(verdict), true) = (done, plan.is_protected) {
            line["unsigned"] = verdict.unsigned.len().into();
            line["exposed"] = verdict.exposed.len().into();
        }
        line["seed"] = plan.seed.into();
        line["plan"] = plan.describe().into();
        line["build"] = self.build.as_str().into();
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}")?;
        }
        self.lines.push(line);
        Ok(())
    }

    /// All runs of this build.
    fn summary(&self) -> Result<()> {
        let good: Vec<&Value> = self.lines.iter().filter(|line| line["error"].is_null()).collect();
        let seeds: HashSet<&str> = good.iter().filter_map(|line| line["plan"].as_str()).collect();
        let sum = |key: &str| good.iter().filter_map(|line| line[key].as_u64()).sum::<u64>();
        let all = |key: &str| {
            let times =
                good.iter().filter_map(|line| line[key].as_array()).flatten().filter_map(Value::as_f64);
            let mut times: Vec<f64> = times.collect();
            times.sort_by(f64::total_cmp);
            times
        };
        let (takeovers, waits) = (all("takeovers"), all("accept_waits"));
        println!(
            "\n{} runs: {} accepted, {} delivered, {} bounced, {} lost, {} doubles without a reason; {} explained, {} sent twice by \
             clients, {} late dots\n{} copies signed by both keys, {} of protected runs unsigned, {} exposed\ntake-over of a killed relay's mail: {}\nlongest wait for a 250 while a server of three is away: {}, at most {:.1} s",
            seeds.len(),
            sum("accepted"),
            sum("delivered"),
            sum("bounced"),
            sum("lost"),
            sum("unexplained"),
            sum("explained"),
            sum("resent"),
            sum("late_dots"),
            sum("signed"),
            sum("unsigned"),
            sum("exposed"),
            spread(&takeovers),
            spread(&waits),
            waits.last().unwrap_or(&0.0)
        );
        let mut hits = Hits::default();
        good.iter().for_each(|line| hits.add(&Hits::parse(&line["hits"])));
        println!("faults that came to be: {hits}");
        missed(&hits, good.len())?;
        ensure!(
            percentile(&takeovers, 99).is_none_or(|p99| p99 <= TAKEOVER_MAX),
            "take-over: found {}; expected a p99 of {TAKEOVER_MAX} s",
            spread(&takeovers)
        );
        Ok(())
    }
}

/// Faults that were meant and never came to be have shown nothing.
fn missed(hits: &Hits, runs: usize) -> Result<()> {
    let steps = strike::STEPS.map(strike::death_at);
    let never = hits.never(&steps);
    let is_wanted = runs >= ALL_STEPS_IN && hits.has_tried(&steps);
    ensure!(
        !is_wanted || never.is_empty(),
        "found no {} in {runs} runs; expected a death at each step",
        never.join(", ")
    );
    Ok(())
}

pub(crate) fn spread(sorted: &[f64]) -> String {
    match (percentile(sorted, 50), percentile(sorted, 99)) {
        (Some(p50), Some(p99)) => format!("p50 {p50:.1} s, p99 {p99:.1} s ({} times)", sorted.len()),
        _ => "not seen".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL_STEPS_IN, Hits, missed, strike};

    #[test]
    fn many_runs_fail_if_no_relay_died_at_some_step() {
        let mut hits = Hits::default();
        assert!(missed(&hits, ALL_STEPS_IN).is_ok(), "nobody wanted any to");
        strike::STEPS.iter().for_each(|step| hits.note(strike::death_at(step), *step != "Reaped"));
        assert!(missed(&hits, ALL_STEPS_IN - 1).is_ok(), "they are few");
        let told = missed(&hits, ALL_STEPS_IN).expect_err("one never came to be").to_string();
        assert_eq!(told, "found no DieAtStep Reaped in 100 runs; expected a death at each step");
        hits.note(strike::death_at("Reaped"), true);
        assert!(missed(&hits, ALL_STEPS_IN).is_ok());
    }
}

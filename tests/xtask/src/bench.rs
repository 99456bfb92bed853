//! Postrider beside Postfix, in one run: the same clients, the same far side, the same machine, in turns; then what Postfix has
//! nothing like.
//! **Owns:** which parts there are, in which order, and the bound on their time. **Never:** judges figures; it fails only when mail is
//! lost or a promise was off. Both promise the same: a 250 when the message is on disk.
//! Figures go to stdout, a line of JSON each; words for people to stderr.

mod budgets;
mod compare;
pub(crate) mod figures;
mod fleet;
mod kept;
mod latency;
mod mta;
mod own;
pub(crate) mod page;
mod redis_calls;
mod round;
mod stage;
mod system_calls;
pub(crate) mod text;
mod tuned;
pub(crate) mod usage;
mod workload;

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    figures::Figures,
    own::{backlog, besides, failover, fairness, idle, isolation, limits, pace, pair},
    workload::{Far, Workload},
};
use crate::{steps::cargo, tools};

/// What it may take once built.
const END_WITHIN: Duration = Duration::from_secs(3_600);
/// The quick one begins nothing after this, so that it ends within five minutes also where others are at work.
const QUICK_BEGINS_WITHIN: Duration = Duration::from_secs(220);

/// What is asked for.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The main loads and parts, fewer messages and rounds: less than five minutes once built.
    #[arg(long)]
    quick: bool,
    /// Only the loads and parts whose name holds this.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Write what was found into docs/performance.md and its pictures.
    #[arg(long, conflicts_with = "only")]
    docs: bool,
    /// Run in this process: it was built for it.
    #[arg(long, hide = true)]
    here: bool,
}

/// How much is measured.
struct Plan {
    rounds: usize,
    /// Of two fleets beside each other: what is near to 1 takes more of them to tell.
    own_rounds: usize,
    workloads: Vec<Workload>,
    only: Option<String>,
    /// What would begin later is left out.
    begins_until: Instant,
    /// One in so many of the messages of a whole run.
    part: usize,
    /// Deliveries that wait for their time; and for a destination that is dead.
    backlog: [usize; 2],
    kills: usize,
    idle_for: Duration,
    trickles: usize,
    /// Sites whose limit lets mail wait.
    limited_sites: usize,
    /// How long a limit is watched.
    limited_for: Duration,
    /// How long a far side wants mail so fast and no faster.
    paced_for: Duration,
}

/// Runs it: first builds what ships, then runs again as built so.
pub(crate) fn main(options: &Options) -> Result<()> {
    if !options.here {
        return as_released(options);
    }
    ensure!(
        std::env::var_os("POSTRIDER_RELAY").is_some() && !cfg!(debug_assertions),
        "found a build for tests; expected one for release; run: cargo xtask bench"
    );
    let plan = Plan::new(options);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        // Dropping the work ends every process and removes every file of it.
        tokio::select! {
            figures = all(&plan) => figures,
            stopped = stopped() => stopped,
            () = tokio::time::sleep(END_WITHIN) => bail!("it took more than {END_WITHIN:?}"),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    let figures = done?;
    budgets::tell(&figures);
    if options.docs {
        page::write(&figures, options.quick)?;
    }
    Ok(())
}

fn as_released(options: &Options) -> Result<()> {
    tools::ensure_installed(&[tools::REDIS, tools::POSTFIX, tools::OPENSSL])?;
    cargo(&["build", "--release", "--package", "postrider-relay", "--package", "xtask"], &[])?;
    let built = released()?;
    let mut again = Command::new(built.join("xtask"));
    again.args(["bench", "--here"]).args(options.quick.then_some("--quick"));
    again.args(options.docs.then_some("--docs"));
    if let Some(only) = &options.only {
        again.args(["--only", only]);
    }
    let status = again.env("POSTRIDER_RELAY", built.join("postrider-relay")).status()?;
    ensure!(status.success(), "the bench ended with {status}");
    Ok(())
}

/// Cargo puts profiles side by side.
fn released() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let built = here.ancestors().nth(2).context("a binary lies in its profile's folder")?.join("release");
    ensure!(built.join("postrider-relay").is_file(), "found no postrider-relay in {}", built.display());
    Ok(built)
}

async fn stopped() -> Result<Figures> {
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
    bail!("stopped; everything that was started is gone again")
}

impl Plan {
    fn new(options: &Options) -> Self {
        let only = options.only.clone();
        if options.quick {
            // Tracing takes as long as a load.
            let shortened = |workload: Workload| {
                let is_traced = workload.is_traced && workload.name == "4k_50";
                Workload { is_traced, ..workload.part(2) }
            };
            let main = workload::all().into_iter().filter(|workload| workload.is_main || only.is_some());
            return Self {
                rounds: 3,
                own_rounds: 3,
                workloads: main.map(shortened).collect(),
                only,
                begins_until: Instant::now() + QUICK_BEGINS_WITHIN,
                part: 2,
                backlog: [100_000, 50_000],
                kills: 1,
                idle_for: Duration::from_secs(10),
                trickles: 1,
                limited_sites: 1_000,
                limited_for: Duration::from_secs(30),
                paced_for: Duration::from_secs(40),
            };
        }
        Self {
            rounds: 5,
            own_rounds: 7,
            workloads: workload::all(),
            only,
            begins_until: Instant::now() + END_WITHIN,
            part: 1,
            backlog: [1_000_000, 100_000],
            kills: 3,
            idle_for: Duration::from_secs(30),
            trickles: 3,
            limited_sites: 10_000,
            limited_for: Duration::from_secs(600),
            paced_for: Duration::from_secs(240),
        }
    }

    /// Whether a part was asked for.
    fn has(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| part.contains(only.as_str()))
    }

    /// The same, and there is time for it.
    fn begins(&self, part: &str, figures: &mut Figures) -> bool {
        let has_time = Instant::now() < self.begins_until;
        if self.has(part) && !has_time {
            figures.note(&format!("{part}: left out, as the time for it was over"));
        }
        self.has(part) && has_time
    }

    /// The load that parts of one fleet alone have: connections that are used again.
    fn reused(&self) -> Result<Workload> {
        let found = workload::all().into_iter().find(|workload| workload.name == "4k_50_reused");
        Ok(found.context("there is one")?.part(self.part))
    }
}

async fn all(plan: &Plan) -> Result<Figures> {
    let began = Instant::now();
    let mut figures = Figures::default();
    figures.note(&stage::machine()?);
    let fars = [Far::Smarthost, Far::Mx(1), Far::Mx(10), Far::Mx(1_000), Far::Tls, Far::Slow, Far::Busy];
    for far in fars {
        let workloads = plan.workloads.iter().filter(|load| load.far == far && plan.has(load.name));
        let workloads: Vec<Workload> = workloads.cloned().collect();
        if !workloads.is_empty() {
            compare::run(far, &workloads, plan.rounds, &mut figures).await?;
        }
    }
    if plan.begins("latency", &mut figures) {
        latency::run(plan.trickles, &mut figures).await?;
    }
    own(plan, &mut figures).await?;
    if plan.begins("kept", &mut figures) {
        kept::run(plan.rounds.min(3), plan.part, &mut figures).await?;
    }
    figures.note(&format!("all of it took {:.0} s; no message was lost", began.elapsed().as_secs_f64()));
    Ok(figures)
}

/// What Postfix has nothing like.
async fn own(plan: &Plan, figures: &mut Figures) -> Result<()> {
    let (reused, rounds) = (plan.reused()?, plan.own_rounds);
    if plan.begins("idle", figures) {
        idle::run(plan.idle_for, figures).await?;
    }
    if plan.begins("failover", figures) {
        failover::run(plan.kills, figures).await?;
    }
    if plan.begins("isolation", figures) {
        isolation::run(plan.backlog[1], &reused, rounds, figures).await?;
    }
    if plan.begins("fairness", figures) {
        fairness::run(plan.backlog[1], figures).await?;
    }
    if plan.begins("backlog", figures) {
        backlog::run(plan.backlog[0], &reused, rounds, figures).await?;
    }
    if plan.begins("tls_out", figures) {
        besides::tls_out(&reused, rounds, figures).await?;
    }
    if plan.begins("signing", figures) {
        besides::signing(&reused, rounds, figures).await?;
    }
    if plan.begins("limits", figures) {
        limits::cost(&reused, rounds, figures).await?;
        limits::waiting(plan.limited_sites, figures).await?;
        limits::exact(plan.limited_for, figures).await?;
    }
    if plan.begins("pace", figures) {
        pace::run(plan.paced_for, figures).await?;
    }
    if plan.begins("two_relays", figures) {
        pair::run(&reused, rounds, figures).await?;
    }
    Ok(())
}

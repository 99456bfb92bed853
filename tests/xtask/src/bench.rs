//! Postrider beside Postfix, in one run: the same clients, the same far side, the same machine, in turns.
//! **Owns:** what is measured, in which order, and the bound on its time. **Never:** judges figures; it fails only when mail is lost.
//! Both promise the same: a 250 when the message is on disk (Redis syncs each group of writes, Postfix each queue file).

mod kept;
mod redis_calls;
mod round;
mod stage;
mod system_calls;
mod table;
mod text;
mod usage;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use postrider_tests::source::Load;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    round::Round,
    stage::{Mta, Stage},
    table::Report,
};
use crate::{steps::cargo, tools};

/// What it may take once built.
const END_WITHIN: Duration = Duration::from_secs(600);
/// The same for the quick one.
const QUICK_END_WITHIN: Duration = Duration::from_secs(120);
/// Messages before anything is measured: connections, processes and caches are there then.
const WARM_UP: usize = 200;

/// One load that both carry.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) sessions: usize,
    pub(crate) per_connection: usize,
    /// Messages a round: more for the faster one, so that both run for seconds.
    pub(crate) postrider: usize,
    pub(crate) postfix: usize,
}

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) cases: Vec<Case>,
    /// Mail that is taken in and kept.
    pub(crate) kept: Case,
    /// Messages under `strace`.
    pub(crate) traced: usize,
}

/// Runs it: first builds what ships, then runs again as built so.
pub(crate) fn main(quick: bool, here: bool, json: Option<&Path>) -> Result<()> {
    if !here {
        return as_released(quick, json);
    }
    ensure!(
        std::env::var_os("POSTRIDER_RELAY").is_some() && !cfg!(debug_assertions),
        "found a build for tests; expected one for release; run: cargo xtask bench"
    );
    let within = if quick { QUICK_END_WITHIN } else { END_WITHIN };
    let plan = Plan::new(quick);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        // Dropping the work ends every process and removes every file of it.
        tokio::select! {
            report = all(&plan) => report,
            stopped = stopped() => stopped,
            () = tokio::time::sleep(within) => bail!("it took more than {within:?}"),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    let report = done?;
    if let Some(path) = json {
        std::fs::write(path, report.json()?).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn as_released(quick: bool, json: Option<&Path>) -> Result<()> {
    tools::ensure_installed(&[tools::REDIS, tools::POSTFIX])?;
    cargo(&["build", "--release", "--package", "postrider-relay", "--package", "xtask"], &[])?;
    let built = released()?;
    let mut again = Command::new(built.join("xtask"));
    again.args(["bench", "--here"]).args(quick.then_some("--quick"));
    if let Some(path) = json {
        again.arg("--json").arg(path);
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

async fn stopped() -> Result<Report> {
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
    bail!("stopped; everything that was started is gone again")
}

impl Plan {
    fn new(quick: bool) -> Self {
        let (rounds, sessions, part) = if quick { (1, 20, 4) } else { (3, 50, 1) };
        let case = |name, size, per_connection, postrider: usize, postfix: usize| Case {
            name,
            size,
            sessions,
            per_connection,
            postrider: postrider / part,
            postfix: postfix / part,
        };
        let in_turn = Case {
            sessions: 1,
            ..case("4 KiB, one client that waits for each 250", 4 << 10, 1_000, 3_000, 1_500)
        };
        Self {
            rounds,
            cases: vec![
                case("4 KiB, a connection per message", 4 << 10, 1, 8_000, 2_000),
                case("4 KiB, connections used 100 times", 4 << 10, 100, 12_000, 2_400),
                case("64 KiB, connections used 100 times", 64 << 10, 100, 4_000, 1_600),
                in_turn,
            ],
            kept: case("4 KiB, taken in and kept, connections used 100 times", 4 << 10, 100, 10_000, 3_000),
            traced: 1_000 / part,
        }
    }
}

impl Case {
    /// Its load for one of the two.
    pub(crate) fn load(&self, stage: &Stage, mta: Mta) -> Load {
        let messages = match mta {
            Mta::Postrider => self.postrider,
            Mta::Postfix => self.postfix,
        };
        Load {
            size: self.size,
            body: Some(text::body(self.size)),
            per_connection: self.per_connection,
            ..Load::new(stage.address(mta), self.sessions, messages, stage::RECIPIENT)
        }
    }
}

async fn all(plan: &Plan) -> Result<Report> {
    let began = Instant::now();
    let mut report = Report::default();
    let stage = Stage::delivers().await?;
    report.machine(&stage.machine().await?);
    let idle = stage.memory(Mta::Postrider)?;
    for case in &plan.cases {
        warm_up(&stage, case).await?;
        let mut rounds: [Vec<Round>; 2] = Default::default();
        for _ in 0..plan.rounds {
            for mta in [Mta::Postrider, Mta::Postfix] {
                rounds[mta as usize].push(round::run(&stage, mta, case.load(&stage, mta)).await?);
            }
        }
        report.case(case, &rounds);
    }
    let traced = plan.cases.first().context("the plan has cases")?;
    system_calls::run(&stage, traced, plan.traced, &mut report).await?;
    let worked = [stage.memory(Mta::Postrider)?, stage.memory(Mta::Postfix)?];
    drop(stage);
    let kept = kept::run(plan, &mut report).await?;
    report.memory(idle, worked, &kept);
    report.note(&format!("all of it took {:.0} s; no message was lost", began.elapsed().as_secs_f64()));
    Ok(report)
}

/// Both have processes, connections and caches, and nothing to do.
pub(crate) async fn warm_up(stage: &Stage, case: &Case) -> Result<()> {
    for mta in [Mta::Postrider, Mta::Postfix] {
        let load = Load { messages: WARM_UP, ..case.load(stage, mta) };
        round::run(stage, mta, load).await?;
    }
    Ok(())
}

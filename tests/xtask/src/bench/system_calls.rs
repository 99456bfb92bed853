//! How often the relay and Redis call the system for a message, by `strace`, in a run of its own: it slows both down.
//! **Owns:** attaching, and reading the summary. **Never:** a figure of time.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use postrider_tests::{
    eventually,
    process::{Process, is_installed},
    source::Load,
};
use tokio::process::Command;

use super::{
    Case, round,
    stage::{Mta, Stage},
    table::Report,
};

/// How long attaching may take.
const ATTACHED_WITHIN: Duration = Duration::from_secs(10);

struct Tracer {
    process: Process,
    summary: PathBuf,
}

/// Runs a load of the case under `strace`, where there is one that may.
pub(crate) async fn run(stage: &Stage, case: &Case, messages: usize, report: &mut Report) -> Result<()> {
    if !is_installed("strace") {
        report.note("found no strace, so no calls to the system are counted");
        return Ok(());
    }
    let relay = Tracer::attach(stage, "relay", stage.relay()?.process().pid()).await;
    let redis = Tracer::attach(stage, "redis", stage.redis()?.running()?.pid()).await;
    let (mut relay, mut redis) = match (relay, redis) {
        (Ok(relay), Ok(redis)) => (relay, redis),
        (Err(why), _) | (_, Err(why)) => {
            report
                .note(&format!("strace may not attach here, so no calls to the system are counted: {why:#}"));
            return Ok(());
        }
    };
    round::run(stage, Mta::Postrider, Load { messages, ..case.load(stage, Mta::Postrider) }).await?;
    report.system_calls("relay", messages, &relay.counts().await?);
    report.system_calls("Redis", messages, &redis.counts().await?);
    Ok(())
}

impl Tracer {
    async fn attach(stage: &Stage, name: &str, pid: i32) -> Result<Self> {
        let summary = stage.folder().join(format!("{name}.strace"));
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-p", &pid.to_string(), "-o"]).arg(&summary);
        let process = Process::start(command, &stage.folder().join(format!("{name}.strace.log")))?;
        let attached = eventually("strace to attach", ATTACHED_WITHIN, async || {
            process.output().contains("attached").then_some(())
        });
        attached.await.map_err(|why| why.context(process.output()))?;
        Ok(Self { process, summary })
    }

    /// Detaches; calls by name, most frequent first.
    async fn counts(&mut self) -> Result<Vec<(String, u64)>> {
        self.process.stop().await?;
        let text = std::fs::read_to_string(&self.summary)?;
        let mut counts: Vec<(String, u64)> = text.lines().filter_map(row).collect();
        counts.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
        Ok(counts)
    }
}

/// `% time, seconds, µs a call, calls, errors if any, name`.
fn row(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let calls = words.get(3)?.parse().ok()?;
    let name = words.last().filter(|name| **name != "total" && name.starts_with(char::is_alphabetic))?;
    Some(((*name).to_owned(), calls))
}

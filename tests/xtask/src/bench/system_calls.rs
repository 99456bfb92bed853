//! How often each of the two calls the system for a message, by `strace`, in a run of its own: it slows both down.
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
    figures::{Figures, plain},
    mta::{Mta, Subject},
    round,
    stage::Stage,
    workload::Workload,
};

/// How long attaching may take.
const ATTACHED_WITHIN: Duration = Duration::from_secs(10);
/// Calls that are rarer than one in so many messages aren't told.
const RARE: u64 = 20;

struct Tracer {
    process: Process,
    summary: PathBuf,
}

/// Runs a load under `strace`, where there is one that may.
pub(crate) async fn run(
    stage: &Stage,
    workload: &Workload,
    messages: [usize; 2],
    figures: &mut Figures,
) -> Result<()> {
    if !is_installed("strace") {
        figures.note("found no strace, so no calls to the system are counted");
        return Ok(());
    }
    let mut found: [Vec<Vec<(String, u64)>>; 2] = Default::default();
    for mta in [Mta::Postrider, Mta::Postfix] {
        let subject = stage.subject(mta);
        let messages = messages[mta as usize];
        let mut tracers = match attach(subject).await {
            Ok(tracers) => tracers,
            Err(why) => {
                figures
                    .note(&format!("strace may not attach, so no calls to the system are counted: {why:#}"));
                return Ok(());
            }
        };
        round::run(subject, Load { messages, ..subject.load(workload) }).await?;
        for (tracer, whose) in tracers.iter_mut().zip(["its own", "Redis's"]) {
            let counts = tracer.counts().await?;
            eprintln!("    {mta:?}, {whose} calls a message: {}", words(&counts, messages));
            found[mta as usize].push(counts);
        }
    }
    let each = |mta: Mta, of: &[(String, u64)]| {
        of.iter().map(|(_, calls)| calls).sum::<u64>() as f64 / messages[mta as usize] as f64
    };
    let sum = |mta: Mta| found[mta as usize].iter().map(|counts| each(mta, counts)).sum::<f64>();
    let name = workload.name;
    let (ours, theirs) = (sum(Mta::Postrider), sum(Mta::Postfix));
    figures.both(&format!("syscalls_per_message_{name}"), "calls", vec![ours], vec![theirs]);
    if let [relay, redis] = &found[0][..] {
        figures.ours(
            &format!("syscalls_per_message_relay_{name}"),
            "calls",
            vec![each(Mta::Postrider, relay)],
        );
        figures.ours(
            &format!("syscalls_per_message_redis_{name}"),
            "calls",
            vec![each(Mta::Postrider, redis)],
        );
    }
    Ok(())
}

/// One for the mail server's processes, one for its store's.
async fn attach(subject: Subject<'_>) -> Result<Vec<Tracer>> {
    let folder = subject.fleet.world.folder();
    let mut tracers =
        vec![Tracer::attach(folder.join(format!("{:?}", subject.mta())), &subject.pids()).await?];
    if subject.postfix.is_none() {
        let redis = subject.fleet.redis()?.running()?.pid();
        tracers.push(Tracer::attach(folder.join("Redis"), &[redis]).await?);
    }
    Ok(tracers)
}

impl Tracer {
    async fn attach(base: PathBuf, pids: &[i32]) -> Result<Self> {
        let summary = base.with_extension("strace");
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(&summary);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let log = base.with_extension("strace.log");
        // What an earlier one said is over.
        drop(std::fs::remove_file(&log));
        let process = Process::start(command, &log)?;
        let attached = eventually("strace to attach", ATTACHED_WITHIN, async || {
            (process.output().matches("attached").count() >= pids.len()).then_some(())
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

fn words(counts: &[(String, u64)], messages: usize) -> String {
    let often = counts.iter().filter(|(_, calls)| calls * RARE >= messages as u64);
    let each = |(name, calls): &(String, u64)| format!("{name} {}", plain(*calls as f64 / messages as f64));
    often.map(each).collect::<Vec<_>>().join(", ")
}

/// `% time, seconds, µs a call, calls, errors if any, name`.
fn row(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let calls = words.get(3)?.parse().ok()?;
    let name = words.last().filter(|name| **name != "total" && name.starts_with(char::is_alphabetic))?;
    Some(((*name).to_owned(), calls))
}

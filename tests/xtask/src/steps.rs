//! Steps of a task, told as they go.
//! **Owns:** their times and the summary. **Never:** hides a failure.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// What has been done so far.
#[derive(Default)]
pub(crate) struct Steps {
    only: Option<String>,
    done: Vec<(String, Duration, Option<String>)>,
}

impl Steps {
    /// Runs all steps, or those whose name holds a word.
    pub(crate) fn new(only: Option<&str>) -> Self {
        Self { only: only.map(str::to_owned), done: Vec::new() }
    }

    /// Runs one; a failure is remembered and the next goes on.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        if self.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            return;
        }
        println!("\n=== {name}");
        let started = Instant::now();
        let failed = work().err().map(|error| format!("{error:#}"));
        if let Some(failed) = &failed {
            println!("failed: {failed}");
        }
        self.done.push((name.to_owned(), started.elapsed(), failed));
    }

    /// The summary, and an error if any step failed.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\n{:<34} {:>8}", "step", "seconds");
        for (name, time, failed) in &self.done {
            let state = if failed.is_some() { "FAILED" } else { "ok" };
            println!("{name:<34} {:>8.1}  {state}", time.as_secs_f64());
        }
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|(_, _, failed)| failed.is_some())
            .map(|(name, ..)| name.as_str())
            .collect();
        if !failed.is_empty() {
            bail!("{} of {} steps: {}", failed.len(), self.done.len(), failed.join(", "));
        }
        ensure!(!self.done.is_empty(), "found no step of that name");
        println!("all {} steps passed", self.done.len());
        Ok(())
    }
}

/// Runs cargo in the workspace with these arguments and variables.
pub(crate) fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    // As cargo's own words do; what a task gives to programs goes to stdout.
    eprintln!("cargo {}", arguments.join(" "));
    let status =
        cargo_command(arguments).envs(variables.iter().copied()).status().context("running cargo")?;
    ensure!(status.success(), "cargo {} ended with {status}", arguments.join(" "));
    Ok(())
}

/// Cargo in the workspace with these arguments.
pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(crate::tools::root());
    command
}

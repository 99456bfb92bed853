//! Runs the fuzz targets of `relay/fuzz`, each for a while.
//! **Owns:** which compiler builds them, where what they find goes: below cargo's target folder. **Never:** a target of its own, or a
//! file in the repository: an input that is worth keeping is put into `relay/fuzz/corpus` by hand.
//! By a nightly compiler they have the address sanitizer; without one they do with assertions and coverage.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    steps::{cargo, cargo_command},
    tools::root,
};

/// What builds the targets; the version that it was tried with.
const CARGO_FUZZ: &str = "cargo-fuzz@0.13.2";

/// A target may take so much memory, and one input of its so long.
const LIMITS: [&str; 2] = ["-rss_limit_mb=2048", "-timeout=10"];

/// How to run them.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// For how long, each.
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u32,
    /// How many at a time.
    #[arg(long, default_value_t = 1)]
    pub(crate) jobs: usize,
    /// Begin with this seed and the repository's corpus alone, so that a run is much like the last one; else by chance, and
    /// with what earlier runs found.
    #[arg(long)]
    pub(crate) seed: Option<u32>,
    /// Which; all if none is named.
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
}

/// Builds all targets and runs some.
pub(crate) fn main(options: &Options) -> Result<()> {
    let known = targets()?;
    let wrong: Vec<&str> =
        options.targets.iter().filter(|name| !known.contains(name)).map(String::as_str).collect();
    ensure!(wrong.is_empty(), "found target {}; expected some of {}", wrong.join(", "), known.join(", "));
    let names = if options.targets.is_empty() { &known } else { &options.targets };
    let place = Place::build()?;
    println!("{:<16} {:>12} {:>9} {:>9} {:>8}", "target", "executions", "a second", "coverage", "inputs");
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, names.len()) {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = place.run(name, options) {
                        println!("{name}: {why:#}");
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "{} of {} targets: {}", failed.len(), names.len(), failed.join(", "));
    Ok(())
}

/// The targets, by their files' names.
fn targets() -> Result<Vec<String>> {
    let folder = folder().join("fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn folder() -> PathBuf {
    root().join("relay/fuzz")
}

/// Where the targets were built, and where what they find goes.
struct Place {
    built: PathBuf,
    scratch: PathBuf,
}

impl Place {
    fn build() -> Result<Self> {
        install_cargo_fuzz()?;
        let scratch = cargo_target()?.join("fuzz");
        let nightly = nightly();
        let mut command = match &nightly {
            Some(toolchain) => {
                let mut command = Command::new("rustup");
                command.args(["run", toolchain, "cargo"]).current_dir(root());
                command
            }
            None => cargo_command(&[]),
        };
        let sanitizer = if nightly.is_some() { "address" } else { "none" };
        println!(
            "building by {}, sanitizer: {sanitizer}",
            nightly.as_deref().unwrap_or("the stable compiler")
        );
        command.args(["fuzz", "build", "--sanitizer", sanitizer, "--fuzz-dir"]).arg(folder());
        command.arg("--target-dir").arg(&scratch);
        let status = command.status().context("running cargo fuzz")?;
        ensure!(status.success(), "cargo fuzz build ended with {status}");
        Ok(Self { built: scratch.join(host()?).join("release"), scratch })
    }

    /// Runs one for so long and tells how far it came.
    fn run(&self, name: &str, options: &Options) -> Result<()> {
        let found = self.scratch.join(if options.seed.is_some() { "seeded" } else { "found" }).join(name);
        if options.seed.is_some() && found.exists() {
            fs::remove_dir_all(&found).with_context(|| format!("emptying {}", found.display()))?;
        }
        let crashes = self.scratch.join("crashes").join(name);
        for folder in [&found, &crashes] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let log = self.scratch.join(format!("{name}.log"));
        let output = fs::File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let mut command = Command::new(self.built.join(name));
        command.args(LIMITS).arg(format!("-max_total_time={}", options.seconds));
        command.arg(format!("-seed={}", options.seed.unwrap_or(0)));
        command.args(["-print_final_stats=1", "-detect_leaks=0"]);
        command.arg(format!("-artifact_prefix={}/", crashes.display()));
        let dictionary = folder().join("dictionaries").join(format!("{name}.txt"));
        if dictionary.exists() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        // What is new goes to the first folder.
        command.arg(&found).arg(folder().join("corpus").join(name));
        command.env("ASAN_OPTIONS", "detect_odr_violation=0:detect_leaks=0");
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).status();
        let status = status.with_context(|| format!("running {name}"))?;
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if !status.success() {
            bail!(self.failure(name, &said, &log));
        }
        let figures = Figures::read(&said);
        let [executions, rate, coverage] = ["executions", "rate", "cov"].map(|figure| figures.of(figure));
        println!("{name:<16} {executions:>12} {rate:>9} {coverage:>9} {:>8}", fs::read_dir(&found)?.count());
        Ok(())
    }

    /// What is wrong, which input shows it, and how to see it again.
    fn failure(&self, name: &str, said: &str, log: &Path) -> String {
        let panic = said.lines().skip_while(|line| !line.contains("panicked at")).take(4);
        let summary = said.lines().filter(|line| line.starts_with("SUMMARY:"));
        let mut text: Vec<&str> = panic.chain(summary).collect();
        let log = format!("all of it is in {}", log.display());
        text.push(&log);
        let input =
            said.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
        let again = input.map(|input| {
            format!(
                "again: {} {input}\nonce it is mended: a test beside the code, and the input, if small, in \
                 relay/fuzz/corpus/{name}",
                self.built.join(name).display()
            )
        });
        text.extend(again.as_deref());
        text.join("\n")
    }
}

/// What libFuzzer says of a run.
struct Figures(BTreeMap<&'static str, u64>);

impl Figures {
    fn read(said: &str) -> Self {
        let mut figures = BTreeMap::new();
        for line in said.lines() {
            let mut words = line.split_ascii_whitespace();
            while let Some(word) = words.next() {
                let figure = match word {
                    "stat::number_of_executed_units:" => "executions",
                    "stat::average_exec_per_sec:" => "rate",
                    "cov:" => "cov",
                    _ => continue,
                };
                figures.extend(
                    words.next().and_then(|number| number.parse().ok()).map(|number| (figure, number)),
                );
            }
        }
        Self(figures)
    }

    fn of(&self, figure: &str) -> u64 {
        self.0.get(figure).copied().unwrap_or(0)
    }
}

fn install_cargo_fuzz() -> Result<()> {
    let mut version = cargo_command(&["fuzz", "--version"]);
    if version.output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    cargo(&["install", "--locked", "--quiet", CARGO_FUZZ], &[])
}

/// A nightly compiler, if rustup has one.
fn nightly() -> Option<String> {
    let output = Command::new("rustup").args(["toolchain", "list"]).output().ok()?;
    let list = String::from_utf8(output.stdout).ok()?;
    let mut names = list.lines().filter_map(|line| line.split_ascii_whitespace().next());
    names.find(|name| name.starts_with("nightly")).map(str::to_owned)
}

/// Cargo's target folder, wherever it is.
fn cargo_target() -> Result<PathBuf> {
    let manifest = root().join("Cargo.toml");
    let metadata = cargo_metadata::MetadataCommand::new().manifest_path(manifest).no_deps().exec();
    Ok(metadata.context("cargo metadata")?.target_directory.into())
}

/// What this machine is called by compilers.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("running rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host =
        text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names its host")?;
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_figures_count() {
        let said = "#2\tINITED cov: 95 ft: 96 corp: 1/1b\n#9\tDONE cov: 120 ft: 9 corp: 4/9b\n\
                    stat::number_of_executed_units: 17\nstat::average_exec_per_sec:     8\n";
        let figures = Figures::read(said);
        assert_eq!(["executions", "rate", "cov"].map(|figure| figures.of(figure)), [17, 8, 120]);
        assert_eq!(Figures::read("").of("cov"), 0);
    }

    #[test]
    fn every_target_is_one_of_the_crates_binaries() {
        let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("the fuzz crate");
        for name in targets().expect("targets") {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            assert!(folder().join("corpus").join(&name).is_dir(), "{name} has a corpus");
        }
    }
}

//! Every check and test, in the order in which they find mistakes soonest.
//! **Owns:** the list of steps. **Never:** a test of its own.
//!
//! Everything is built by one choice of packages, `--workspace`: with another one cargo would choose other features of
//! dependencies and build them again.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{
    crds, licences,
    steps::{Steps, cargo, cargo_command},
    tools,
};

/// Where the tests find the relay that was built with them.
const RELAY: &str = "POSTRIDER_RELAY";

/// Runs all of it.
pub(crate) fn main(long: bool, only: Option<&str>) -> Result<()> {
    let mut steps = Steps::new(only);
    steps.run("tools", || tools::ensure_installed(tools::ALL));
    steps.run("format", || cargo(&["fmt", "--all", "--check"], &[]));
    steps.run("crds", crds::check);
    steps.run("licences", licences::check);
    steps.run("clippy", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])
    });
    steps.run("tidy", || tests(&["--test", "tidy"], &["--nocapture"], &[]));
    steps.run("unit, property and store tests", || {
        let targets = ["--lib", "--bins", "--test", "redis", "--test", "inbound", "--test", "outbound"];
        tests(&targets, &[], &[])
    });
    steps.run("documentation", || {
        cargo(&["test", "--workspace", "--quiet", "--doc"], &[])?;
        cargo(&["doc", "--workspace", "--quiet", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
    });
    let product = |name: &str, arguments: &[&str]| {
        let relay = build_relay()?;
        tests(&["--test", name], arguments, &[(RELAY, path(&relay))])
    };
    steps.run("e2e", || product("e2e", &["--test-threads=4"]));
    steps.run("interop", || product("interop", &["--test-threads=2"]));
    steps.run("abuse", || product("abuse", &["--test-threads=1", "--nocapture"]));
    steps.run("ledger", || run_ledger(if long { 20 } else { 2 }, long));
    steps.run("demo", demo);
    steps.finish()
}

/// The ledger tests, those of chance so often, with the big numbers.
pub(crate) fn ledger(runs: u32) -> Result<()> {
    run_ledger(runs, true)
}

fn run_ledger(runs: u32, long: bool) -> Result<()> {
    let (relay, runs) = (build_relay()?, runs.to_string());
    let variables = [(RELAY, path(&relay)), ("POSTRIDER_RUNS", &runs), ("POSTRIDER_LONG", "1")];
    let variables = if long { &variables[..] } else { &variables[..2] };
    tests(&["--test", "ledger"], &["--test-threads=1", "--nocapture"], variables)
}

fn demo() -> Result<()> {
    let status = Command::new(std::env::current_exe()?).arg("demo").env(RELAY, build_relay()?).status()?;
    ensure!(status.success(), "the demo ended with {status}");
    Ok(())
}

/// Builds all tests and with them the relay; where it is.
fn build_relay() -> Result<PathBuf> {
    let arguments =
        ["test", "--workspace", "--no-run", "--quiet", "--message-format", "json-render-diagnostics"];
    let output = cargo_command(&arguments).stderr(Stdio::inherit()).output().context("running cargo")?;
    ensure!(output.status.success(), "building the tests ended with {}", output.status);
    let relay = |line: &str| {
        let built: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = built["target"]["name"] == "postrider-relay" && built["profile"]["test"] == false;
        built["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find_map(relay).context("cargo names the relay's binary among what it built")
}

fn tests(targets: &[&str], arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let all = [&["test", "--workspace", "--quiet"], targets, &["--"], arguments].concat();
    cargo(&all, variables)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

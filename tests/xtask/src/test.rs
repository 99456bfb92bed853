//! Every check and test, in the order in which they find mistakes soonest.
//! **Owns:** the list of steps. **Never:** a test of its own.

use anyhow::Result;

use crate::{
    crds, licences,
    steps::{Steps, cargo},
    tools,
};

/// Runs all of it.
pub(crate) fn main(long: bool, only: Option<&str>) -> Result<()> {
    let mut steps = Steps::new(only);
    steps.run("tools", || tools::ensure_installed(tools::ALL));
    steps.run("format", || cargo(&["fmt", "--all", "--check"], &[]));
    steps.run("crds", crds::check);
    steps.run("clippy", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])
    });
    steps.run("tidy", || tests("tidy", &["--nocapture"], &[]));
    steps.run("licences", licences::check);
    steps.run("unit and property tests", || {
        cargo(&["test", "--workspace", "--exclude", "postrider-tests", "--exclude", "xtask", "--quiet"], &[])
    });
    steps.run("relay", || cargo(&["build", "--package", "postrider-relay", "--quiet"], &[]));
    steps.run("e2e", || tests("e2e", &["--test-threads=4"], &[]));
    steps.run("interop", || tests("interop", &["--test-threads=2"], &[]));
    steps.run("abuse", || tests("abuse", &["--test-threads=1", "--nocapture"], &[]));
    steps.run("ledger", || ledger(if long { 20 } else { 2 }));
    steps.run("demo", || cargo(&["run", "--quiet", "--package", "xtask", "--", "demo"], &[]));
    steps.finish()
}

/// The ledger tests, so often.
pub(crate) fn ledger(runs: u32) -> Result<()> {
    tests("ledger", &["--test-threads=1", "--nocapture"], &[("POSTRIDER_RUNS", &runs.to_string())])
}

fn tests(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    cargo(
        &[&["test", "--quiet", "--package", "postrider-tests", "--test", name, "--"], arguments].concat(),
        variables,
    )
}

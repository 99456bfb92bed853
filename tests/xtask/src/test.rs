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
    chaos, cluster, crds, fuzz, image, licences, soak,
    steps::{Steps, cargo, cargo_command},
    tools,
};

/// Where the tests find the relay that was built with them.
const RELAY: &str = "POSTRIDER_RELAY";
/// The same for the operator.
const OPERATOR: &str = "POSTRIDER_OPERATOR";

/// Tells tests to run their long forms.
const LONG: &str = "POSTRIDER_LONG";

/// Runs all of it.
pub(crate) fn main(long: bool, only: Option<&str>) -> Result<()> {
    let mut steps = Steps::new(only);
    steps.run("tools", || tools::ensure_installed(tools::ALL));
    steps.run("format", || {
        cargo(&["fmt", "--all", "--check"], &[])?;
        cargo(&["fmt", "--check", "--manifest-path", "relay/fuzz/Cargo.toml"], &[])
    });
    steps.run("crds", crds::check);
    steps.run("licences", licences::check);
    steps.run("clippy", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])
    });
    steps.run("tidy", || tests(&["--test", "tidy"], &["--nocapture"], &[]));
    steps.run("unit, property and store tests", || {
        let targets = [
            "--lib", "--bins", "--test", "protocol", "--test", "redis", "--test", "inbound", "--test",
            "outbound",
        ];
        tests(&targets, &[], &[])
    });
    steps.run("documentation", || {
        cargo(&["test", "--workspace", "--quiet", "--doc"], &[])?;
        cargo(&["doc", "--workspace", "--quiet", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
    });
    // Two at a time: each is one thread, and there are many.
    steps.run("fuzz", || {
        let (seconds, seed) = if long { (120, None) } else { (30, Some(1)) };
        fuzz::main(&fuzz::Options { seconds, jobs: 2, seed, targets: Vec::new() })
    });
    let product =
        |name: &str, arguments: &[&str]| product(name, arguments, if long { &[(LONG, "1")] } else { &[] });
    steps.run("cluster", || cluster::build(true));
    steps.run("chart", || product("chart", &["--test-threads=3", "--nocapture"]));
    steps.run("e2e", || product("e2e", &["--test-threads=4"]));
    steps.run("interop", || product("interop", &["--test-threads=2"]));
    steps.run("abuse", || product("abuse", &["--test-threads=1", "--nocapture"]));
    steps.run("control", || product("control", &["--test-threads=4"]));
    // One at a time: the node's address has one port 25.
    steps.run("node", || {
        as_root(|| cluster::on_node(|| product("node", &["--test-threads=1", "--nocapture"])))
    });
    if long {
        steps.run("image", || as_root(on_images));
    }
    steps.run("ledger", || run_ledger(if long { 20 } else { 2 }, long));
    // Each way of running the queue's servers has its turn.
    let runs = if long { "40" } else { "8" };
    steps.run("chaos", || as_root(|| again(&["chaos", "--runs", runs, "--at-once", "8"])));
    if long {
        steps.run("soak", || as_root(|| again(&["soak", "--minutes", "3"])));
    }
    steps.run("demo", demo);
    steps.finish()
}

/// Shows a fleet on a Kubernetes: the test that does what an administrator would, as it tells of itself.
pub(crate) fn fleet() -> Result<()> {
    on_node(&["fleet::", "--nocapture"], &[])
}

/// Draws the dashboards.
pub(crate) fn pictures() -> Result<()> {
    let folder = std::env::current_dir()?.join("docs/pictures");
    std::fs::create_dir_all(&folder)?;
    on_node(&["watched::", "--nocapture"], &[("POSTRIDER_PICTURES", path(&folder))])
}

fn on_node(arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    ensure!(
        tools::is_root(),
        "found another user than root; expected root: a node mounts and makes network namespaces; use sudo"
    );
    tools::ensure_installed(tools::ALL)?;
    cluster::build(false)?;
    cluster::on_node(|| product("node", arguments, variables))
}

/// Runs the tests of one binary against the relay and the operator that were built with it.
fn product(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let [relay, operator] = build_product()?;
    let variables = [&[(RELAY, path(&relay)), (OPERATOR, path(&operator))], variables].concat();
    tests(&["--test", name], arguments, &variables)
}

/// The ledger tests, those of chance so often, with the big numbers.
pub(crate) fn ledger(runs: u32) -> Result<()> {
    run_ledger(runs, true)
}

fn run_ledger(runs: u32, long: bool) -> Result<()> {
    let ([relay, _], runs) = (build_product()?, runs.to_string());
    let variables = [(RELAY, path(&relay)), ("POSTRIDER_RUNS", &runs), (LONG, "1")];
    let variables = if long { &variables[..] } else { &variables[..2] };
    tests(&["--test", "ledger"], &["--test-threads=1", "--nocapture"], variables)
}

/// Faults of chance, drawn from seeds.
pub(crate) fn chaos(chaos: &chaos::Chaos) -> Result<()> {
    chaos::main(chaos, &relay()?)
}

/// An hour of them.
pub(crate) fn soak(options: &soak::Options) -> Result<()> {
    soak::main(options, &relay()?)
}

/// The relay that was named, or one that is built.
fn relay() -> Result<PathBuf> {
    match std::env::var_os(RELAY) {
        Some(relay) => Ok(relay.into()),
        None => Ok(build_product()?[0].clone()),
    }
}

/// As a command of its own: it goes into namespaces of its own.
fn again(arguments: &[&str]) -> Result<()> {
    let [relay, _] = build_product()?;
    let status = Command::new(std::env::current_exe()?).args(arguments).env(RELAY, relay).status()?;
    ensure!(status.success(), "{} ended with {status}", arguments.join(" "));
    Ok(())
}

/// Runs what takes root, or says that it is left out.
fn as_root(work: impl FnOnce() -> Result<()>) -> Result<()> {
    if tools::is_root() {
        return work();
    }
    println!("left out: mounting and changing the user take root");
    Ok(())
}

/// Builds both images and tests them.
fn on_images() -> Result<()> {
    let folder = tempfile::tempdir()?;
    image::main(image::Which::All, Some(folder.path().to_owned()), true)?;
    tests(&["--test", "image"], &["--test-threads=2"], &[("POSTRIDER_IMAGES", path(folder.path()))])
}

fn demo() -> Result<()> {
    let [relay, _] = build_product()?;
    let status = Command::new(std::env::current_exe()?).arg("demo").env(RELAY, relay).status()?;
    ensure!(status.success(), "the demo ended with {status}");
    Ok(())
}

/// Builds all tests and with them the relay and the operator; where they are.
fn build_product() -> Result<[PathBuf; 2]> {
    let arguments =
        ["test", "--workspace", "--no-run", "--quiet", "--message-format", "json-render-diagnostics"];
    let output = cargo_command(&arguments).stderr(Stdio::inherit()).output().context("running cargo")?;
    ensure!(output.status.success(), "building the tests ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let built = |name: &str| {
        let executable = |line: &str| {
            let built: serde_json::Value = serde_json::from_str(line).ok()?;
            let is_it = built["target"]["name"] == name && built["profile"]["test"] == false;
            built["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
        };
        let found = text.lines().find_map(executable);
        found.with_context(|| format!("cargo names {name} among what it built"))
    };
    Ok([built("postrider-relay")?, built("postrider-operator")?])
}

fn tests(targets: &[&str], arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let all = [&["test", "--workspace", "--quiet"], targets, &["--"], arguments].concat();
    cargo(&all, variables)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

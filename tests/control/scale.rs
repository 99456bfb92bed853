//! One operator and a thousand fleets with ten thousand rules; fewer in the short form.
//! **Owns:** that nothing is written when nothing has changed, and figures for people. **Never:** asserts a time: machines differ.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    cluster::{ControlPlane, Kubectl},
    eventually,
    operator::{Operator, Setup},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinSet,
};

use crate::world::cluster_wide;

/// How long the cluster may take to take in everything, and the operator to answer for it.
const WITHIN: Duration = Duration::from_secs(900);
const RULES_OF_EACH: u32 = 10;
const NAMESPACES: u32 = 10;
/// Objects that one kubectl creates.
const CHUNK: usize = 400;
/// The budget of design.md: with a thousand fleets.
const MEMORY_BYTES: u64 = 256 << 20;

const DURATION: &str = "postrider_operator_reconcile_duration_seconds";

fn namespace(fleet: u32) -> String {
    format!("scale-{}", fleet % NAMESPACES)
}

fn relay(fleet: u32) -> String {
    format!(
        "---\napiVersion: postrider.dev/v1alpha1\nkind: MailRelay\nmetadata: {{name: r{fleet}, namespace: {}}}\nspec: {{hostname: \
         r{fleet}.example.com, listeners: [{{name: smtp, port: 25, allowedClients: {{cidrs: [10.0.0.0/8]}}}}]}}\n",
        namespace(fleet)
    )
}

fn rule(fleet: u32, number: u32) -> String {
    format!(
        "---\napiVersion: postrider.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: r{fleet}-{number}, namespace: {}}}\nspec: \
         {{parentRefs: [{{name: r{fleet}}}], priority: {number}, matches: [{{recipientDomains: [d{number}.example, \
         '*.d{number}.example']}}], route: {{type: Reject, reject: {{text: none}}}}}}\n",
        namespace(fleet)
    )
}

/// Creates everything, some kubectls at once.
async fn create(kubectl: &Kubectl, manifests: Vec<String>) {
    let mut at_once = JoinSet::new();
    for chunk in manifests.chunks(CHUNK) {
        if at_once.len() == 6 {
            at_once.join_next().await.unwrap().unwrap();
        }
        let (kubectl, text) = (kubectl.clone(), chunk.concat());
        at_once
            .spawn(async move { kubectl.run_with(&["create", "-f", "-"], &text).await.map(drop).unwrap() });
    }
    at_once.join_all().await;
}

/// Writes, the Lease's left out, once nothing waits and none has come for two seconds; and when the last one came.
async fn steady(operator: &Operator) -> Result<(f64, Instant)> {
    let (mut last, mut since) = (f64::NAN, Instant::now());
    let deadline = Instant::now() + WITHIN;
    while Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Ok(metrics) = operator.metrics().await else { continue };
        let writes = metrics.sum("postrider_operator_writes_total", &[]);
        let waits = metrics.sum("postrider_operator_pending_reconciles", &[]);
        let reconciles = metrics.sum("postrider_operator_reconciles_total", &[]);
        if writes != last || waits > 0.0 || reconciles == 0.0 {
            (last, since) = (writes, Instant::now());
        } else if since.elapsed() > Duration::from_secs(2) {
            return Ok((writes, since));
        }
    }
    anyhow::bail!("the operator goes on: {}", operator.metrics().await?.text())
}

/// Events of a watch on Secrets, as they come.
struct Secrets {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Secrets {
    fn watch(kubectl: &Kubectl, namespace: &str) -> Result<Self> {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", kubectl.kubeconfig()).args([
            "get",
            "secrets",
            "--watch-only",
            "--no-headers",
        ]);
        command.args(["--namespace", namespace, "--output", "custom-columns=NAME:.metadata.name"]);
        let mut child = command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        Ok(Self { lines, _child: child })
    }

    async fn next_of(&mut self, relay: &str) -> Result<Instant> {
        let next = async {
            loop {
                let line = self.lines.next_line().await?.context("the watch goes on")?;
                if line.starts_with(&format!("{relay}-")) || line == relay {
                    return Ok(Instant::now());
                }
            }
        };
        tokio::time::timeout(WITHIN, next).await.context("no event of the Secret")?
    }
}

/// Edits rules, one at a time; the time from before kubectl until a watch of the Secret tells of it, sorted.
async fn edits(kubectl: &Kubectl, fleets: u32, count: u32) -> Result<Vec<Duration>> {
    let namespace = namespace(0);
    let mut secrets = Secrets::watch(kubectl, &namespace)?;
    // kubectl says nothing when the watch has begun.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut took = Vec::new();
    for number in 0..count {
        let fleet = number * NAMESPACES % fleets;
        let patch = format!("{{\"spec\":{{\"route\":{{\"reject\":{{\"text\":\"edit {number}\"}}}}}}}}");
        let rule = format!("r{fleet}-3");
        let started = Instant::now();
        let arguments =
            ["patch", "routingrule", &rule, "--namespace", &namespace, "--type=merge", "-p", &patch];
        kubectl.run(&arguments).await?;
        took.push(secrets.next_of(&format!("r{fleet}")).await?.duration_since(started));
    }
    took.sort_unstable();
    Ok(took)
}

fn memory(operator: &Operator, what: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.process().pid()))?;
    let line = status.lines().find(|line| line.starts_with(what)).context("the kernel tells it")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kibibytes << 10)
}

/// The bucket that a share of a histogram's observations lies below, in seconds.
fn quantile(text: &str, histogram: &str, share: f64) -> f64 {
    let mut buckets: std::collections::BTreeMap<u64, f64> = Default::default();
    let prefix = format!("{histogram}_bucket{{");
    for line in text.lines().filter(|line| line.starts_with(&prefix)) {
        let le = line.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("+Inf");
        let le = le.parse::<f64>().map_or(u64::MAX, |seconds| (seconds * 1e6) as u64);
        let count: f64 = line.rsplit(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        *buckets.entry(le).or_default() += count;
    }
    let all = buckets.values().last().copied().unwrap_or(0.0);
    let found = buckets.iter().find(|(_, count)| **count >= all * share);
    found.map_or(f64::INFINITY, |(le, _)| *le as f64 / 1e6)
}

/// A new process looks at everything and finds nothing to do.
async fn nothing_is_written_again(setup: &Setup, fleets: u32) -> Result<()> {
    let started = Instant::now();
    let operator = Operator::start(setup).await?;
    let (writes, at) = steady(&operator).await?;
    let metrics = operator.metrics().await?;
    let reconciles = metrics.sum("postrider_operator_reconciles_total", &[]);
    println!(
        "again: {reconciles} reconciles, {writes} writes, steady after {:.1?}; reconcile p50 <= {} s, p99 <= {} s; memory {} MiB, at \
         most {} MiB",
        at.duration_since(started),
        quantile(metrics.text(), DURATION, 0.5),
        quantile(metrics.text(), DURATION, 0.99),
        memory(&operator, "VmRSS")? >> 20,
        memory(&operator, "VmHWM")? >> 20,
    );
    let errors = metrics.sum("postrider_operator_reconciles_total", &["result=\"error\""]);
    ensure!(writes == 0.0, "nothing has changed: {}", metrics.text());
    ensure!(errors == 0.0 && reconciles >= f64::from(fleets), "{reconciles} reconciles, {errors} errors");
    ensure!(memory(&operator, "VmHWM")? <= MEMORY_BYTES, "more memory than the budget");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_fleets_and_rules_are_answered_for_and_nothing_is_written_twice() -> Result<()> {
    let is_long = std::env::var_os("POSTRIDER_LONG").is_some();
    let fleets = if is_long { 1_000 } else { 50 };
    let control_plane = ControlPlane::start().await?;
    control_plane.install_crds().await?;
    let kubectl = control_plane.kubectl();
    for number in 0..NAMESPACES {
        kubectl.run(&["create", "namespace", &namespace(number)]).await?;
    }
    let folder = tempfile::tempdir()?;
    let mut setup = cluster_wide(&control_plane, folder.path()).await?;
    let started = Instant::now();
    create(&kubectl, (0..fleets).map(relay).collect()).await;
    let rules = (0..fleets).flat_map(|fleet| (0..RULES_OF_EACH).map(move |number| rule(fleet, number)));
    create(&kubectl, rules.collect()).await;
    println!("{fleets} MailRelays with {RULES_OF_EACH} rules each created in {:.1?}", started.elapsed());

    let started = Instant::now();
    let mut operator = Operator::start(&setup).await?;
    let (writes, at) = steady(&operator).await?;
    let text = operator.metrics().await?.text().to_owned();
    println!(
        "first: {writes} writes in {:.1?}; reconcile p50 <= {} s, p99 <= {} s",
        at.duration_since(started),
        quantile(&text, DURATION, 0.5),
        quantile(&text, DURATION, 0.99),
    );
    let took = edits(&kubectl, fleets, if is_long { 200 } else { 20 }).await?;
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    println!(
        "edit to Secret, kubectl's own time within, {} edits: p50 {:.0?}, p99 {:.0?}",
        took.len(),
        at(50),
        at(99)
    );
    steady(&operator).await?;
    println!(
        "memory: {} MiB, at most {} MiB",
        memory(&operator, "VmRSS")? >> 20,
        memory(&operator, "VmHWM")? >> 20
    );
    operator.stop().await?;

    // Everything is reconciled again by the next process.
    setup.identity = "two".to_owned();
    nothing_is_written_again(&setup, fleets).await?;
    let ready = eventually("the last rule's status", WITHIN, async || {
        let last = format!("r{}-9", fleets - 1);
        let rule = kubectl.json(&["get", "routingrule", &last, "-n", &namespace(fleets - 1)]).await.ok()?;
        let conditions = rule["status"]["parents"][0]["conditions"].as_array()?.clone();
        conditions.iter().any(|one| one["type"] == "Accepted" && one["status"] == "True").then_some(())
    });
    ready.await
}

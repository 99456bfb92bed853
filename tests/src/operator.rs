//! The real operator as a process.
//! **Owns:** its arguments, ports, life and death. **Never:** looks into it but by its ports, its log and what it writes to the cluster.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{process::Command, sync::OnceCell};

use crate::{http, metrics::Metrics, ports, process::Process, wait::eventually};

/// How long an operator may take to know everything.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What an operator is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// As whom it speaks to the API server.
    pub kubeconfig: PathBuf,
    /// Its name among operators.
    pub identity: String,
    /// The namespace of its Lease.
    pub namespace: String,
    /// What else stands on the command line.
    pub arguments: Vec<String>,
    /// A folder of its own, for its log.
    pub folder: PathBuf,
}

/// A running operator.
pub struct Operator {
    health: SocketAddr,
    metrics: SocketAddr,
    process: Process,
}

/// The binary, built once if it must be.
pub async fn binary() -> Result<PathBuf> {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    BINARY.get_or_try_init(build).await.cloned()
}

async fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("POSTRIDER_OPERATOR") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("tests/ lies in the workspace")?;
    let arguments = [
        "build",
        "--quiet",
        "--package",
        "postrider-operator",
        "--message-format",
        "json-render-diagnostics",
    ];
    let output = Command::new(cargo).args(arguments).current_dir(root).output().await?;
    if !output.status.success() {
        bail!("building the operator: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    };
    text.lines().rev().find_map(executable).context("cargo names the binary that it built")
}

impl Operator {
    /// Starts one and waits until it knows everything.
    pub async fn start(setup: &Setup) -> Result<Self> {
        let mut operator = Self::launch(setup).await?;
        operator.ready().await?;
        Ok(operator)
    }

    /// Starts one and doesn't wait.
    pub async fn launch(setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(&setup.folder)?;
        let local = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let (health, metrics) = (local(ports::free()?), local(ports::free()?));
        let mut command = Command::new(binary().await?);
        command.arg("run").env("KUBECONFIG", &setup.kubeconfig);
        command.args(["--relay-image", "relay:test", "--queue-image", "queue:test"]);
        command.args(["--identity", &setup.identity, "--namespace", &setup.namespace]);
        command.args(["--health", &health.to_string(), "--metrics", &metrics.to_string()]);
        command.args(&setup.arguments);
        // A test asks no nameserver but its own. This one can't be sent to, which is known at once.
        if !setup.arguments.iter().any(|one| one.starts_with("--dns")) {
            command.args(["--dns", "255.255.255.255"]);
        }
        let process = Process::start(command, &setup.folder.join(format!("{}.log", setup.identity)))?;
        Ok(Self { health, metrics, process })
    }

    /// Waits for `/readyz`.
    pub async fn ready(&mut self) -> Result<()> {
        let waited = eventually("the operator to be ready", READY_WITHIN, async || {
            if let Some(status) = self.process.ended() {
                return Some(Err(anyhow::anyhow!(
                    "the operator has ended: {status}\n{}",
                    self.process.output()
                )));
            }
            let (status, _) = http::get(self.health, "/readyz").await.ok()?;
            (status == 200).then_some(Ok(()))
        });
        waited.await.with_context(|| self.process.output())?
    }

    /// The status and body of `/readyz`.
    pub async fn readyz(&self) -> Result<(u16, String)> {
        http::get(self.health, "/readyz").await
    }

    /// `/metrics`.
    pub async fn metrics(&self) -> Result<Metrics> {
        let (status, body) = http::get(self.metrics, "/metrics").await?;
        if status != 200 {
            bail!("/metrics answered {status}");
        }
        Ok(Metrics::new(body))
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.process.ended()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) -> Result<std::process::ExitStatus> {
        self.process.stop().await
    }
}

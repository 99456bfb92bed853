//! The real relay as a process.
//! **Owns:** its arguments, ports, life and death. **Never:** looks into it but by its ports, its socket and its log.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{process::Command, sync::OnceCell};

use crate::{http, metrics::Metrics, ports, process::Process, wait::eventually};

/// How long a relay may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What a relay is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The folder of YAML files.
    pub manifests: PathBuf,
    /// A compiled configuration, to be run instead of the manifests.
    pub config: Option<PathBuf>,
    /// Another binary than the one that was built.
    pub binary: Option<PathBuf>,
    /// What runs the binary, with its own arguments; it has to become the binary in the end.
    pub wrapper: Vec<String>,
    /// `--redis`, one each.
    pub redis: Vec<String>,
    /// The nameserver; the system's if absent.
    pub dns: Option<SocketAddr>,
    /// The port of MX hosts.
    pub mx_port: u16,
    /// The names of the listeners to bind on free ports; the first is what [`Relay::smtp`] gives.
    pub listeners: Vec<String>,
    /// What else stands on the command line.
    pub arguments: Vec<String>,
    /// A folder of its own, for log and socket.
    pub folder: PathBuf,
}

/// A running relay.
pub struct Relay {
    setup: Setup,
    admin: SocketAddr,
    listeners: Vec<(String, SocketAddr)>,
    process: Process,
}

/// The binary, built once if it must be.
pub async fn binary() -> Result<PathBuf> {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    BINARY.get_or_try_init(build).await.cloned()
}

async fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("POSTRIDER_RELAY") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("tests/ lies in the workspace")?;
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--package",
            "postrider-relay",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(root)
        .output()
        .await?;
    if !output.status.success() {
        bail!("building the relay: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message.get("executable")?.as_str().map(PathBuf::from)
    };
    text.lines().rev().find_map(executable).context("cargo names the binary that it built")
}

/// Runs one of the binary's commands to its end.
pub async fn command<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Result<Output> {
    let mut command = Command::new(binary().await?);
    command.args(arguments).kill_on_drop(true);
    tokio::time::timeout(Duration::from_secs(60), command.output())
        .await?
        .context("running the relay's binary")
}

impl Relay {
    /// Starts one and waits until it is ready.
    pub async fn start(setup: Setup) -> Result<Self> {
        let mut relay = Self::launch(setup).await?;
        relay.ready().await?;
        Ok(relay)
    }

    /// Starts one and doesn't wait.
    pub async fn launch(setup: Setup) -> Result<Self> {
        std::fs::create_dir_all(&setup.folder)?;
        let local = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let admin = local(ports::free()?);
        let mut listeners = Vec::new();
        for name in &setup.listeners {
            listeners.push((name.clone(), local(ports::free()?)));
        }
        let process = spawn(&setup, admin, &listeners).await?;
        Ok(Self { setup, admin, listeners, process })
    }

    /// Starts it again on the same ports.
    pub async fn restart(&mut self) -> Result<()> {
        self.process = spawn(&self.setup, self.admin, &self.listeners).await?;
        self.ready().await
    }

    /// Starts another in its place, on the same ports, and doesn't wait.
    pub async fn replace(&mut self, change: impl FnOnce(&mut Setup)) -> Result<()> {
        change(&mut self.setup);
        self.process = spawn(&self.setup, self.admin, &self.listeners).await?;
        Ok(())
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// Waits for `/readyz`.
    pub async fn ready(&mut self) -> Result<()> {
        let waited = eventually("the relay to be ready", READY_WITHIN, async || {
            if let Some(status) = self.process.ended() {
                return Some(Err(anyhow::anyhow!("the relay has ended: {status}")));
            }
            let (status, _) = http::get(self.admin, "/readyz").await.ok()?;
            (status == 200).then_some(Ok(()))
        });
        match waited.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) | Err(error) => {
                let why = http::get(self.admin, "/readyz").await.map(|(_, body)| body).unwrap_or_default();
                Err(error.context(format!("{why}\n{}", last_lines(&self.log(), 20))))
            }
        }
    }

    /// The first listener.
    pub fn smtp(&self) -> SocketAddr {
        self.listeners.first().map_or(self.admin, |(_, address)| *address)
    }

    /// A listener by name.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        let found = self.listeners.iter().find(|(other, _)| other == name);
        found.map(|(_, address)| *address).with_context(|| format!("a listener {name}"))
    }

    /// The admin port.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) -> Result<std::process::ExitStatus> {
        self.process.stop().await
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// The status and body of `/readyz`.
    pub async fn readyz(&self) -> Result<(u16, String)> {
        http::get(self.admin, "/readyz").await
    }

    /// `/metrics`.
    pub async fn metrics(&self) -> Result<Metrics> {
        let (status, body) = http::get(self.admin, "/metrics").await?;
        if status != 200 {
            bail!("/metrics answered {status}");
        }
        Ok(Metrics::new(body))
    }

    /// The hash of the config that it runs.
    pub async fn config_hash(&self) -> Result<String> {
        let (_, page) = http::get(self.admin, "/v1/config").await?;
        let page: serde_json::Value = serde_json::from_str(&page)?;
        Ok(page["hash"].as_str().unwrap_or_default().to_owned())
    }

    /// A page of the admin port that is JSON.
    pub async fn json(&self, path: &str) -> Result<serde_json::Value> {
        serde_json::from_str(&http::get(self.admin, path).await?.1).with_context(|| format!("{path} is JSON"))
    }

    /// What `/v1/queue` says of a shard.
    pub async fn shard(&self, name: &str) -> Result<serde_json::Value> {
        let page = self.json("/v1/queue").await?;
        let shards = page["shards"].as_array().context("a list of shards")?;
        let found = shards.iter().find(|shard| shard["name"] == name);
        found.cloned().with_context(|| format!("shard {name} in {page}"))
    }

    /// `ctl` with these arguments; its output.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["ctl".to_owned(), "--ctl".to_owned(), self.ctl_path().display().to_string()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let output = command(all).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("ctl {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// The path of its socket.
    pub fn ctl_path(&self) -> PathBuf {
        self.setup.folder.join("ctl.sock")
    }

    /// What it was started with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }
}

async fn spawn(setup: &Setup, admin: SocketAddr, listeners: &[(String, SocketAddr)]) -> Result<Process> {
    let binary = match &setup.binary {
        Some(binary) => binary.clone(),
        None => binary().await?,
    };
    let mut command = match setup.wrapper.split_first() {
        None => Command::new(binary),
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
    };
    command.arg("run");
    match &setup.config {
        Some(file) => command.arg("--config").arg(file),
        None => command.arg("--manifests").arg(&setup.manifests),
    };
    for url in &setup.redis {
        command.args(["--redis", url]);
    }
    command.args(["--mx-port", &setup.mx_port.to_string()]);
    if let Some(dns) = setup.dns {
        command.args(["--dns", &dns.to_string()]);
    }
    command.args(["--admin", &admin.to_string()]).arg("--ctl").arg(setup.folder.join("ctl.sock"));
    for (name, address) in listeners {
        command.args(["--listen", &format!("{name}={address}")]);
    }
    command.arg("--state").arg(setup.folder.join("state")).args(&setup.arguments);
    Process::start(command, &setup.folder.join("relay.log"))
}

/// The end of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

//! A real Kubernetes for tests, without Docker: a control plane alone, or a node that runs pods.
//! **Owns:** bringing it up, breaking its parts, who may ask it, and its end. **Never:** how its parts are set: the scripts
//! in `tests/cluster` say that, for people as for tests.
//!
//! [`ControlPlane`] is what most tests want; [`Node`] is for those that need pods to run.

mod audit;
mod control_plane;
mod held;
pub mod images;
mod kubectl;
mod node;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

pub use audit::Request;
pub use control_plane::ControlPlane;
pub use kubectl::Kubectl;
pub use node::{ADDRESS, Node, Remembered};

use crate::wait::eventually;

/// How long a script may take that changes one part.
const SCRIPT_WITHIN: Duration = Duration::from_secs(120);
/// How long a part may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A part that tests may stop, pause and start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The store.
    Etcd,
    /// The API server.
    ApiServer,
    /// Garbage collection, Deployments, StatefulSets, endpoints, disruption budgets.
    ControllerManager,
    /// Puts pods on the node; on a node only.
    Scheduler,
    /// Runs the node's pods; on a node only.
    Kubelet,
    /// Services' addresses; on a node only.
    KubeProxy,
    /// Runs the containers; on a node only.
    Containerd,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Containerd => "containerd",
        }
    }
}

/// A cluster that is up, by the folder that holds its state.
#[derive(Debug, Clone)]
pub struct Cluster {
    folder: PathBuf,
}

impl Cluster {
    /// Where its state lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// Kubectl as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.kubeconfig())
    }

    /// The API server's URL.
    pub fn server(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.folder.join("server")).context("the cluster's server")?;
        Ok(text.trim().to_owned())
    }

    /// A kubeconfig for a person of these groups, who may do what RBAC lets them.
    pub async fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let arguments = [&["certificate", user], groups].concat();
        Ok(self.script("user.sh", &arguments).await?.trim().into())
    }

    /// A kubeconfig for a ServiceAccount, as its pods would have it; the token is good for a day.
    pub async fn kubeconfig_of(&self, namespace: &str, service_account: &str) -> Result<PathBuf> {
        Ok(self.script("user.sh", &["token", namespace, service_account]).await?.trim().into())
    }

    /// Makes a namespace that no other test has; `prefix` says whose it is.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{:08x}", rand::random::<u32>());
        let kubectl = self.kubectl();
        kubectl.run(&["create", "namespace", &name]).await?;
        if self.folder.join("parts").join(Part::ControllerManager.name()).exists() {
            // Without it no pod can be made.
            let account = ["serviceaccount", "default", "--namespace", &name];
            kubectl.until("the default service account", READY_WITHIN, &account, |_| Some(())).await?;
        }
        Ok(name)
    }

    /// Installs the CRDs as they are in the repository, and waits until they are served.
    pub async fn install_crds(&self) -> Result<()> {
        let folder = root().join("crds");
        let folder = folder.to_str().context("a path of UTF-8")?;
        let kubectl = self.kubectl();
        kubectl.run(&["apply", "--server-side", "--force-conflicts", "-f", folder]).await?;
        kubectl.run(&["wait", "--for=condition=Established", "--timeout=30s", "-f", folder]).await.map(drop)
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&self, part: Part) -> Result<()> {
        self.script("part.sh", &["stop", part.name()]).await.map(drop)
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&self, part: Part) -> Result<()> {
        self.script("part.sh", &["kill", part.name()]).await.map(drop)
    }

    /// SIGSTOP: connections stay open, and nothing answers.
    pub async fn pause(&self, part: Part) -> Result<()> {
        self.script("part.sh", &["pause", part.name()]).await.map(drop)
    }

    /// SIGCONT.
    pub async fn resume(&self, part: Part) -> Result<()> {
        self.script("part.sh", &["resume", part.name()]).await.map(drop)
    }

    /// Starts it again as it was, at the same address; the API server answers when this returns.
    pub async fn start_again(&self, part: Part) -> Result<()> {
        self.script("part.sh", &["start", part.name()]).await?;
        if part == Part::ApiServer { self.until_ready().await } else { Ok(()) }
    }

    /// Waits until the API server says that it is ready.
    pub async fn until_ready(&self) -> Result<()> {
        let kubectl = self.kubectl();
        eventually("the API server to be ready", READY_WITHIN, async || {
            kubectl.run(&["get", "--raw=/readyz"]).await.ok()
        })
        .await
        .map(drop)
    }

    /// What a part wrote.
    pub fn log(&self, part: Part) -> String {
        let bytes = std::fs::read(self.folder.join("log").join(part.name())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Every request since the start but those of the control plane itself, oldest first.
    pub fn requests(&self) -> Result<Vec<Request>> {
        audit::read(&self.folder.join("log/audit.jsonl"))
    }

    /// Runs one of the scripts in `tests/cluster` on this cluster; what it printed.
    async fn script(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(scripts().join(name));
        command.arg(&self.folder).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(SCRIPT_WITHIN, command.output())
            .await
            .with_context(|| format!("{name} took more than {SCRIPT_WITHIN:?}"))??;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name} {}: {}", arguments.join(" "), told.trim());
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Where the scripts lie.
pub fn scripts() -> PathBuf {
    root().join("tests/cluster")
}

/// Where binaries are kept between runs, and what `cargo xtask cluster up` brought up is remembered.
pub fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("CLUSTER_CACHE").unwrap_or_else(|| {
        let home = || variable("HOME").unwrap_or_default().join(".cache");
        variable("XDG_CACHE_HOME").unwrap_or_else(home).join("postrider-cluster")
    })
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

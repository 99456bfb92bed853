//! The one node of this machine: pods run, Services and cluster DNS answer.
//! **Owns:** using the one that is up or bringing one up, images. **Never:** two at once: its addresses are fixed.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::{process::Command, sync::OnceCell};

use super::{Cluster, cache, held};
use crate::wait::eventually;

/// The node's address: pods reach what this process listens at there, and this process reaches pods.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// How long an import may take.
const IMPORT_WITHIN: Duration = Duration::from_secs(120);
/// How long a pod of [`Node::run_to_end`] may take.
const RUN_WITHIN: Duration = Duration::from_secs(300);
/// How long the cluster of a test run before may take to go down.
const GONE_WITHIN: Duration = Duration::from_secs(120);
/// Names the folder of a cluster to use, instead of the one that `cargo xtask cluster up` brought up.
const VARIABLE: &str = "POSTRIDER_CLUSTER";

/// A node with its control plane. One that was up before stays up; one brought up here goes when dropped.
#[derive(Debug)]
pub struct Node {
    cluster: Cluster,
    _held: Option<held::Held>,
}

impl Node {
    /// The cluster that is up, or one brought up for this process, which takes half a minute and root.
    pub async fn up() -> Result<Self> {
        let given = std::env::var_os(VARIABLE).map(PathBuf::from);
        if let Some(folder) = given.or_else(|| Remembered::Node.folder()) {
            let cluster = Cluster { folder };
            let answer = cluster.kubectl().run(&["get", "--raw=/readyz", "--request-timeout=10s"]).await;
            answer.with_context(|| {
                format!(
                    "{}: found no cluster that answers; expected the one that is up; run cargo xtask cluster up",
                    cluster.folder.display()
                )
            })?;
            return Ok(Self { cluster, _held: None });
        }
        eventually("another cluster of this machine to be gone", GONE_WITHIN, async || {
            (!Path::new("/sys/class/net/kube0").exists()).then_some(())
        })
        .await?;
        let (cluster, held) = held::bring_up(&[]).await.context("a node")?;
        Ok(Self { cluster, _held: Some(held) })
    }

    /// The one that all tests of this process share.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Node> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::up).await
    }

    /// Imports an image from an archive as `docker save` or an OCI layout writes it; pods that name it don't pull.
    pub async fn import_image(&self, archive: &Path) -> Result<()> {
        let archive = archive.to_str().context("a path of UTF-8")?;
        self.ctr(&["images", "import", archive]).await.map(drop)
    }

    /// Lets cluster DNS ask this nameserver for what lies below a zone; nothing else outside the cluster is asked. The
    /// nameserver must listen at an address that pods reach, such as [`ADDRESS`].
    pub async fn forward(&self, zone: &str, nameserver: SocketAddr) -> Result<()> {
        self.script("dns-zone.sh", &[zone, &nameserver.to_string()]).await.map(drop)
    }

    /// Forgets the zone again.
    pub async fn forget(&self, zone: &str) -> Result<()> {
        self.script("dns-zone.sh", &[zone, "-"]).await.map(drop)
    }

    /// The names of all images it has.
    pub async fn images(&self) -> Result<Vec<String>> {
        Ok(self.ctr(&["images", "list", "--quiet"]).await?.lines().map(str::to_owned).collect())
    }

    /// Runs one program in a pod of its own, as Pod Security's `restricted` wants it, until it ends; what it wrote.
    pub async fn run_to_end(&self, namespace: &str, image: &str, arguments: &[&str]) -> Result<String> {
        let name = format!("run-{:08x}", rand::random::<u32>());
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": false,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "run", "image": image, "imagePullPolicy": "Never", "args": arguments,
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            },
        });
        let kubectl = self.kubectl();
        kubectl.apply(&pod.to_string()).await?;
        let end = |pod: &Value| {
            let phase = pod["status"]["phase"].as_str()?;
            ["Succeeded", "Failed"].contains(&phase).then(|| phase == "Succeeded")
        };
        let pod = ["pod", &name, "--namespace", namespace];
        let is_good = kubectl.until("the pod to end", RUN_WITHIN, &pod, end).await?;
        let log = kubectl.run(&["logs", &name, "--namespace", namespace]).await?;
        kubectl.run(&["delete", "pod", &name, "--namespace", namespace, "--wait=false"]).await?;
        ensure!(is_good, "{image} {} failed: {log}", arguments.join(" "));
        Ok(log)
    }

    /// Kills a pod's container at once (SIGKILL, no grace); the kubelet starts it anew, whether the API server is there or not.
    pub async fn kill_container(&self, container: &str) -> Result<()> {
        let id = container.trim_start_matches("containerd://");
        self.ctr(&["tasks", "kill", "--signal", "SIGKILL", id]).await.map(drop)
    }

    async fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(cache().join("bin/ctr"));
        command.arg("--address").arg(self.folder().join("run/containerd.sock")).arg("--namespace=k8s.io");
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let late = || format!("ctr {} took more than {IMPORT_WITHIN:?}", arguments.join(" "));
        let output = tokio::time::timeout(IMPORT_WITHIN, command.output()).await.with_context(late)??;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ctr {}: {}", arguments.join(" "), told.trim());
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Deref for Node {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

/// A cluster that `cargo xtask cluster up` brought up and that outlives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// The machine's node.
    Node,
    /// A control plane alone.
    ControlPlane,
}

impl Remembered {
    /// Where it is written down.
    fn note(self) -> PathBuf {
        cache().join(match self {
            Self::Node => "up-node",
            Self::ControlPlane => "up-control-plane",
        })
    }

    /// The folder of its state, if it was brought up and not taken down.
    pub fn folder(self) -> Option<PathBuf> {
        std::fs::read_to_string(self.note()).ok().map(|text| PathBuf::from(text.trim()))
    }

    /// Writes it down, before anything is started.
    pub fn remember(self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(cache())?;
        std::fs::write(self.note(), folder.to_string_lossy().as_bytes()).context("remembering the cluster")
    }

    /// Forgets it, after all of it is gone.
    pub fn forget(self) -> Result<()> {
        std::fs::remove_file(self.note()).context("forgetting the cluster")
    }
}

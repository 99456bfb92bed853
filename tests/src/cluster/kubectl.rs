//! Kubectl, as people run it.
//! **Owns:** who it runs as, its input, its deadline. **Never:** the reader's own kubeconfig or cache.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::wait::eventually;

/// How long one run may take.
const RUN_WITHIN: Duration = Duration::from_secs(120);

/// Kubectl with one kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// As whom the kubeconfig says.
    pub fn new(kubeconfig: impl Into<PathBuf>) -> Self {
        Self { kubeconfig: kubeconfig.into() }
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs it; how it ended and what it said.
    pub async fn output(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let run = async {
            let mut command = Command::new("kubectl");
            // What one cluster told of itself must not be believed of the next at the same address.
            let cache = self.kubeconfig.with_file_name("kubectl-cache");
            command.args(arguments).env("KUBECONFIG", &self.kubeconfig).env("KUBECACHEDIR", cache);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn().context("running kubectl")?;
            let mut stdin = child.stdin.take().context("its input is piped")?;
            let write = async {
                // One that has ended takes no more input, and says by itself why.
                stdin.write_all(input.as_bytes()).await.ok();
                drop(stdin);
            };
            let ((), output) = tokio::join!(write, child.wait_with_output());
            Ok(output?)
        };
        let late = || format!("kubectl {} took more than {RUN_WITHIN:?}", arguments.join(" "));
        tokio::time::timeout(RUN_WITHIN, run).await.with_context(late)?
    }

    /// Runs it with this on its standard input; what it printed, or what it complained of.
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.output(arguments, input).await?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {}: {}", arguments.join(" "), told.trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs it.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with(arguments, "").await
    }

    /// Runs it for an object or a list.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[arguments, &["--output=json"]].concat()).await?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Applies manifests as a person would, and gets its way where somebody else owns a field.
    pub async fn apply(&self, manifests: &str) -> Result<String> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=tests", "-f", "-"];
        self.run_with(&arguments, manifests).await
    }

    /// Waits until an object is there and `look` finds in it what it looks for.
    pub async fn until<T>(
        &self,
        what: &str,
        within: Duration,
        object: &[&str],
        look: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        let arguments = [&["get"], object].concat();
        let mut last = Value::Null;
        let found = eventually(what, within, async || {
            last = self.json(&arguments).await.ok()?;
            look(&last)
        })
        .await;
        found.with_context(|| format!("{}: {last:#}", object.join(" ")))
    }
}

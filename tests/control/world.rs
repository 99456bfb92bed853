//! One operator on the shared control plane, in a namespace of its own.
//! **Owns:** starting it, waiting for what it says. **Never:** a pod: the relays' pods stay Pending here.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use postrider_tests::{
    cluster::{Cluster, Kubectl},
    helm::{self, Release},
    operator::{Operator, Setup},
};
use serde_json::Value;

/// How long anything may take here.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// An operator that watches one namespace.
pub(crate) struct World {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: String,
    pub(crate) operator: Operator,
    pub(crate) setup: Setup,
    _folder: tempfile::TempDir,
}

/// A fleet with a managed queue of one shard.
pub(crate) const FLEET: &str = "
apiVersion: postrider.dev/v1alpha1
kind: MailRelay
metadata: {name: outbound}
spec:
  hostname: mail.example.com
  replicas: 2
  listeners: [{name: smtp, port: 25, allowedClients: {cidrs: [10.0.0.0/8]}}]
";

impl World {
    /// A namespace, and an operator that watches it, by the rights that a namespaced install has.
    pub(crate) async fn start(cluster: &'static Cluster, prefix: &str) -> Result<Self> {
        Self::start_with(cluster, prefix, &[]).await
    }

    /// The same, with these on the operator's command line, too.
    pub(crate) async fn start_with(
        cluster: &'static Cluster,
        prefix: &str,
        arguments: &[&str],
    ) -> Result<Self> {
        let namespace = cluster.namespace(prefix).await?;
        let release = Release { namespace: namespace.clone(), ..Release::default() };
        let kubeconfig = helm::grant(cluster, &release, &format!("watchNamespaces: [{namespace}]\n")).await?;
        let folder = tempfile::tempdir()?;
        let setup = Setup {
            kubeconfig,
            identity: "one".to_owned(),
            namespace: namespace.clone(),
            arguments: ["--watch-namespace", &namespace]
                .iter()
                .chain(arguments)
                .map(|&one| one.to_owned())
                .collect(),
            folder: folder.path().to_owned(),
        };
        let operator = Operator::start(&setup).await?;
        Ok(Self { cluster, namespace, operator, setup, _folder: folder })
    }

    pub(crate) fn kubectl(&self) -> Kubectl {
        self.cluster.kubectl()
    }

    /// Applies manifests in the namespace.
    pub(crate) async fn apply(&self, manifests: &str) -> Result<()> {
        let arguments = ["apply", "--namespace", &self.namespace, "-f", "-"];
        self.kubectl().run_with(&arguments, manifests).await.map(drop)
    }

    /// Runs kubectl in the namespace.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl().run(&[arguments, &["--namespace", &self.namespace]].concat()).await
    }

    /// Waits for something about an object.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        kind: &str,
        name: &str,
        look: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        let object = [kind, name, "--namespace", &self.namespace];
        let waited = self.kubectl().until(what, SOON, &object, look).await;
        waited.with_context(|| format!("the operator's log:\n{}", last_lines(&self.operator.log(), 30)))
    }

    /// Waits until a condition has this status and reason; its message.
    pub(crate) async fn condition(
        &self,
        kind: &str,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        let what = format!("{kind} {name}: {type_} {status} {reason}");
        self.until(&what, kind, name, |object| {
            let top = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let parents = object["status"]["parents"].as_array().cloned().unwrap_or_default();
            let nested = parents
                .iter()
                .flat_map(|parent| parent["conditions"].as_array().cloned().unwrap_or_default());
            let mut all = top.into_iter().chain(nested);
            let found = all.find(|one| {
                one["type"] == type_
                    && one["status"] == status
                    && one["reason"] == reason
                    && one["observedGeneration"] == object["metadata"]["generation"]
            })?;
            Some(found["message"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// Writes of the operator that the API server has counted so far: all but those of its Lease.
    pub(crate) async fn writes(&self) -> Result<f64> {
        Ok(self.operator.metrics().await?.sum("postrider_operator_writes_total", &[]))
    }

    /// Waits until the operator has written nothing for a while.
    pub(crate) async fn settled(&self) -> Result<f64> {
        let mut last = self.writes().await?;
        let mut calm = 0;
        for _ in 0..240 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = self.writes().await?;
            calm = if now == last { calm + 1 } else { 0 };
            last = now;
            if calm == 8 {
                return Ok(now);
            }
        }
        anyhow::bail!("the operator goes on writing:\n{}", last_lines(&self.operator.log(), 40))
    }
}

/// How one operator alone is started for all namespaces, by the rights that a cluster-wide install has.
pub(crate) async fn cluster_wide(cluster: &Cluster, folder: &Path) -> Result<Setup> {
    let release = Release { namespace: "default".to_owned(), ..Release::default() };
    Ok(Setup {
        kubeconfig: helm::grant(cluster, &release, "").await?,
        identity: "one".to_owned(),
        namespace: release.namespace,
        arguments: vec!["--no-leader-election".to_owned()],
        folder: folder.to_owned(),
    })
}

/// The end of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

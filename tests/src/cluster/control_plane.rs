//! etcd and the API server on free ports of loopback, in a folder of their own.
//! **Owns:** their life. **Never:** a pod: nothing runs them here.

use std::ops::Deref;

use anyhow::{Context, Result};
use tokio::sync::OnceCell;

use super::{Cluster, held};

/// A control plane without nodes; gone when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    cluster: Cluster,
    _held: held::Held,
}

impl ControlPlane {
    /// etcd and the API server: for schemas, CEL, RBAC, and what a controller of ours writes.
    pub async fn start() -> Result<Self> {
        Self::bring_up(&["--control-plane"]).await
    }

    /// With the controller manager as well: garbage collection, replicas and their pods (that stay Pending), endpoints.
    pub async fn with_controller_manager() -> Result<Self> {
        Self::bring_up(&["--control-plane", "--controller-manager"]).await
    }

    /// The one with a controller manager that all tests of this process share; it ends with the process. Tests on it
    /// keep to namespaces of their own, and don't break it.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED
            .get_or_try_init(async || {
                let control_plane = Self::with_controller_manager().await?;
                control_plane.install_crds().await?;
                Ok(control_plane)
            })
            .await
    }

    async fn bring_up(options: &'static [&'static str]) -> Result<Self> {
        let (cluster, held) = held::bring_up(options).await.context("a control plane")?;
        Ok(Self { cluster, _held: held })
    }
}

impl Deref for ControlPlane {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

//! What unit tests of the shell share: a server of a test's own, and shards over it.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use postrider_mail::PartitionName;
use postrider_queue::{
    Durability,
    connection::{Target, Topology},
    keys::FleetName,
    shards::{ShardOptions, Shards, ShardsOptions},
};

use crate::clock;

/// A queue server that keeps its promises.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    // Removed after the process has ended.
    _folder: tempfile::TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a port").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(folder.path());
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]);
        let child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server is installed");
        Self { child, port, _folder: folder }
    }

    /// Sends its process a signal, such as `-STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
    }

    /// One shard over it, looked at until it takes mail.
    pub(crate) async fn shards(&self) -> Shards {
        let shards = Shards::new(ShardsOptions {
            fleet: FleetName::parse("mail/outbound").expect("a name"),
            relay_uid: None,
            shards: vec![ShardOptions {
                name: PartitionName::parse("a").expect("a name"),
                target: Target {
                    url: format!("redis://127.0.0.1:{}/", self.port),
                    topology: Topology::Standalone,
                    ca: None,
                },
                uuid: None,
                is_draining: false,
            }],
            durability: Durability::Synced,
            remembered: BTreeMap::new(),
            clock: clock::boot_clock(),
        })
        .expect("options");
        until("the queue is ready", Duration::from_secs(10), async || {
            shards.look().await;
            shards.is_ready()
        })
        .await;
        shards
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, limit: Duration, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

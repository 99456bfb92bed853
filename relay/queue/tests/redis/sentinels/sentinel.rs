//! A sentinel of a test's own.
//! **Owns:** its process. **Never:** another's.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::server::{Server, free_port};

/// The name of what it watches.
pub(crate) const MASTER: &str = "mail";
/// What it asks of its clients, and of other sentinels.
pub(crate) const PASSWORD: &str = "s3ntinel";

pub(crate) struct Sentinel {
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl Sentinel {
    /// Two of them agree that a server is away.
    pub(crate) async fn start(primary: &Server) -> Self {
        let port = free_port();
        let folder =
            std::env::temp_dir().join(format!("postrider-sentinel-{port}-{:08x}", rand::random::<u32>()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let config = folder.join("sentinel.conf");
        let lines = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nrequirepass {PASSWORD}\nsentinel monitor {MASTER} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\n",
            folder.display(),
            primary.port()
        );
        std::fs::write(&config, lines).expect("a file");
        let process = Command::new("redis-server")
            .arg(&config)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let sentinel = Self { folder, port, process };
        until("a sentinel answers", async || sentinel.ask::<String>(&["PING"]).await.is_ok()).await;
        sentinel
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it knows the replica and so many other sentinels: without them it promotes nobody.
    pub(crate) async fn knows(&self, replica: &Server, others: usize) {
        let port = replica.port().to_string();
        until("a sentinel knows the others", async || {
            let replicas: Vec<Vec<String>> =
                self.ask(&["SENTINEL", "REPLICAS", MASTER]).await.expect("an answer");
            let sentinels: Vec<Vec<String>> =
                self.ask(&["SENTINEL", "SENTINELS", MASTER]).await.expect("an answer");
            sentinels.len() == others && replicas.iter().any(|replica| is_well(replica, &port))
        })
        .await;
    }

    /// Waits until this is what it names.
    pub(crate) async fn names(&self, primary: &Server) {
        let port = primary.port().to_string();
        until("a sentinel names the promoted one", async || {
            let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
            self.ask::<Vec<String>>(&words).await.is_ok_and(|named| named.last() == Some(&port))
        })
        .await;
    }

    /// The replica of this primary takes its place, as soon as the sentinel thinks well of it.
    pub(crate) async fn fail_over(&self, primary: &Server) {
        self.names(primary).await;
        until("a replica can be promoted", async || {
            self.ask::<String>(&["SENTINEL", "FAILOVER", MASTER]).await.is_ok()
        })
        .await;
    }

    async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://:{PASSWORD}@127.0.0.1:{}/", self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
    }
}

/// Field and value follow each other.
fn is_well(fields: &[String], port: &str) -> bool {
    let has = |name: &str, value: &str| fields.windows(2).any(|pair| pair == [name, value]);
    has("port", port) && has("flags", "slave") && has("master-link-status", "ok")
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within 30 s");
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it ends");
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

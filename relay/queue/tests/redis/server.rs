//! A real server of a test's own: a free port, a folder, an end.
//! **Owns:** its process. **Never:** another's.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::Client;

/// The settings that keep the promise.
pub(crate) const DURABLE: [(&str, &str); 3] =
    [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")];

pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
    password: Option<String>,
    process: Option<Child>,
}

/// Below the ports that the system gives to clients: none of these takes it between this moment and the server's start.
pub(crate) fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(10_000..32_000))
        .take(1_000)
        .find(is_free)
        .expect("a free port")
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these settings instead of, or on top of, the durable ones.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let folder =
            std::env::temp_dir().join(format!("postrider-queue-{port}-{:08x}", rand::random::<u32>()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let kept = DURABLE.iter().filter(|(name, _)| settings.iter().all(|(other, _)| other != name));
        let settings =
            kept.chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut server = Self { folder, port, settings, password: None, process: None };
        server.restart().await;
        server
    }

    /// Kills it with signal 9 if it runs, and starts it again on its folder.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(&self.folder);
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).args(value.split(' '));
        }
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        self.process = Some(
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server is installed"),
        );
        for _ in 0..500 {
            if let Ok(mut connection) = self.client().get_multiplexed_async_connection().await
                && redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("redis-server on port {} did not answer in 10 s", self.port);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is ours");
            process.wait().expect("it ends");
        }
    }

    /// Its volume is lost.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        std::fs::remove_dir_all(&self.folder).expect("it is ours");
        std::fs::create_dir_all(&self.folder).expect("a folder");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on it wants another password of new connections.
    pub(crate) async fn set_password(&mut self, password: &str) {
        self.command::<String>(&["CONFIG", "SET", "requirepass", password]).await;
        self.password = Some(password.to_owned());
    }

    /// Cuts every connection.
    pub(crate) async fn cut_all(&self) {
        self.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    }

    /// Its volume goes to another machine.
    pub(crate) async fn relocate(&mut self) {
        self.kill();
        self.port = free_port();
        self.restart().await;
    }

    pub(crate) fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/", self.port),
            None => format!("redis://127.0.0.1:{}/", self.port),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::open(self.url()).expect("a URL")
    }

    pub(crate) async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.ask(words).await.expect("an answer")
    }

    /// The same of a server that may change its part, or end, meanwhile.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut connection = self.client().get_multiplexed_async_connection().await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

//! A real Redis on a free port.
//! **Owns:** its settings, its folder, its death and return. **Never:** what the relay keeps in it, but counts.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::{
    ports,
    process::Process,
    wait::{eventually, locked},
};

/// The settings that the queue needs.
pub const DURABLE: &[(&str, &str)] =
    &[("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")];
/// And those that the operator's Redis has besides, as far as they matter to tests.
const OWN: &[(&str, &str)] = &[
    ("save", "\"\""),
    ("rdbcompression", "no"),
    ("auto-aof-rewrite-min-size", "1gb"),
    ("hash-max-listpack-entries", "64"),
];

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Another program than Debian's `redis-server`.
    pub program: Option<PathBuf>,
    /// What runs the program, with its own arguments; it has to become the program in the end.
    pub wrapper: Vec<String>,
    /// As a sentinel, whose settings are those of sentinels.
    pub is_sentinel: bool,
}

/// A server of one test's own.
#[derive(Debug)]
pub struct Redis {
    folder: PathBuf,
    door: Door,
    way: Way,
    process: Option<Process>,
}

/// The way to a server, for whoever asks it while others kill it and change its password.
#[derive(Debug, Clone)]
pub struct Door {
    port: u16,
    password: Arc<Mutex<Option<String>>>,
}

impl Redis {
    /// Starts one that keeps its promises.
    pub async fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, &[]).await
    }

    /// Starts one with other settings on top of the durable ones.
    pub async fn start_with(folder: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_as(folder, Way::default(), settings).await
    }

    /// The same in a way of its own. What the server is told to remember of its settings outlives it.
    pub async fn start_as(folder: &Path, way: Way, settings: &[(&str, &str)]) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let port = ports::free()?;
        let mut lines = format!("port {port}\nbind 127.0.0.1\ndir {}\nprotected-mode no\n", folder.display());
        let own: &[(&str, &str)] = if way.is_sentinel { &[] } else { OWN };
        let durable = if way.is_sentinel { &[] } else { DURABLE };
        let kept = durable.iter().filter(|(name, _)| !settings.iter().any(|(other, _)| other == name));
        for (name, value) in own.iter().chain(kept).chain(settings) {
            lines.push_str(&format!("{name} {value}\n"));
        }
        let door = Door { port, password: Arc::default() };
        let mut redis = Self { folder: folder.to_owned(), door, way, process: None };
        std::fs::write(redis.config(), lines)?;
        redis.restart().await?;
        Ok(redis)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("redis.conf")
    }

    /// Starts it again on the same folder and port.
    pub async fn restart(&mut self) -> Result<()> {
        self.launch()?;
        eventually("Redis to answer PING", Duration::from_secs(60), async || {
            self.command(&["PING"]).await.ok().filter(|answer| answer == "PONG")
        })
        .await
        .with_context(|| self.log())?;
        Ok(())
    }

    /// The same, and doesn't wait.
    pub fn launch(&mut self) -> Result<()> {
        let program = self.way.program.clone().unwrap_or_else(|| "redis-server".into());
        let mut words = self.way.wrapper.iter().map(std::ffi::OsString::from).chain([program.into()]);
        let mut command = Command::new(words.next().context("there is a program")?);
        command.args(words).arg(self.config()).args(["--port", &self.port().to_string()]);
        if self.way.is_sentinel {
            command.arg("--sentinel");
        }
        if let Some(password) = &*locked(&self.door.password) {
            command.args(["--requirepass", password]);
        }
        self.process = Some(Process::start(command, &self.folder.join("redis.log"))?);
        Ok(())
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// `kill -9`, and its folder emptied but for its settings: a volume lost.
    pub async fn wipe(&mut self) -> Result<()> {
        self.kill().await?;
        let settings = std::fs::read(self.config())?;
        std::fs::remove_dir_all(&self.folder)?;
        std::fs::create_dir_all(&self.folder).context("making the folder again")?;
        std::fs::write(self.config(), settings).context("writing its settings again")
    }

    /// Its volume goes to another machine: another address, the same files.
    pub async fn relocate(&mut self) -> Result<()> {
        self.kill().await?;
        self.door.port = ports::free()?;
        self.restart().await
    }

    /// From now on new connections need this password.
    pub async fn set_password(&mut self, password: &str) -> Result<()> {
        self.set("requirepass", password).await?;
        *locked(&self.door.password) = Some(password.to_owned());
        Ok(())
    }

    /// Cuts every connection.
    pub async fn cut_all(&self) -> Result<()> {
        self.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.map(drop)
    }

    /// How many connections it has, but for the one that asks.
    pub async fn connections(&self) -> Result<usize> {
        Ok(self.command(&["CLIENT", "LIST"]).await?.lines().count().saturating_sub(1))
    }

    /// SIGSTOP.
    pub fn pause(&self) -> Result<()> {
        self.running()?.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.running()?.resume()
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| process.ended().is_some())
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.door.port
    }

    /// The way to it, as long as it isn't relocated.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// The process.
    pub fn running(&self) -> Result<&Process> {
        self.process.as_ref().context("Redis is down")
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.door.url()
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Changes a setting of the running server.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        self.command(&["CONFIG", "SET", name, value]).await.map(drop)
    }

    /// The same, and of the server that comes after it. (`CONFIG REWRITE` would write down too that there is no password.)
    pub async fn set_for_good(&self, name: &str, value: &str) -> Result<()> {
        self.set(name, value).await?;
        let mut settings = std::fs::OpenOptions::new().append(true).open(self.config())?;
        writeln!(settings, "{name} {value}").context("writing a setting")
    }

    /// One command on a connection of its own; the answer as text.
    pub async fn command(&self, words: &[&str]) -> Result<String> {
        self.door.command(words).await
    }

    /// A figure of `INFO`, such as `total_commands_processed`.
    pub async fn figure(&self, name: &str) -> Result<u64> {
        let info = self.command(&["INFO", "all"]).await?;
        let prefix = format!("{name}:");
        let line = info.lines().find_map(|line| line.strip_prefix(&prefix)).context("INFO has the figure")?;
        line.trim().parse().context("the figure is a number")
    }
}

impl Door {
    fn url(&self) -> String {
        match &*locked(&self.password) {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/", self.port),
            None => format!("redis://127.0.0.1:{}/", self.port),
        }
    }

    /// One command on a connection of its own; the answer as text.
    pub async fn command(&self, words: &[&str]) -> Result<String> {
        let client = redis::Client::open(self.url())?;
        let mut connection =
            tokio::time::timeout(Duration::from_secs(2), client.get_multiplexed_async_connection()).await??;
        let mut command = redis::cmd(words.first().context("a command has a name")?);
        command.arg(words.get(1..).unwrap_or_default());
        Ok(text(&tokio::time::timeout(Duration::from_secs(10), command.query_async(&mut connection)).await??))
    }
}

fn text(value: &redis::Value) -> String {
    match value {
        redis::Value::Nil => String::new(),
        redis::Value::Int(number) => number.to_string(),
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::SimpleString(text) => text.clone(),
        redis::Value::VerbatimString { text, .. } => text.clone(),
        redis::Value::Okay => "OK".to_owned(),
        redis::Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join("\n"),
        other => format!("{other:?}"),
    }
}

//! A real Redis on a free port.
//! **Owns:** its settings, its folder, its death and return. **Never:** what the relay keeps in it, but counts.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::{ports, process::Process, wait::eventually};

/// The settings that the queue needs.
pub const DURABLE: &[(&str, &str)] =
    &[("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")];

/// A server of one test's own.
#[derive(Debug)]
pub struct Redis {
    folder: PathBuf,
    port: u16,
    settings: Vec<(String, String)>,
    process: Option<Process>,
}

impl Redis {
    /// Starts one that keeps its promises.
    pub async fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, &[]).await
    }

    /// Starts one with other settings on top of the durable ones.
    pub async fn start_with(folder: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let kept = DURABLE.iter().filter(|(name, _)| !settings.iter().any(|(other, _)| other == name));
        let settings = kept.chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut redis = Self {
            folder: folder.to_owned(),
            port: ports::free()?,
            settings: settings.collect(),
            process: None,
        };
        redis.restart().await?;
        Ok(redis)
    }

    /// Starts it again on the same folder and port.
    pub async fn restart(&mut self) -> Result<()> {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(&self.folder).args(["--daemonize", "no", "--protected-mode", "no"]);
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).args(value.split(' '));
        }
        self.process = Some(Process::start(command, &self.folder.join("redis.log"))?);
        eventually("Redis to answer PING", Duration::from_secs(60), async || {
            self.command(&["PING"]).await.ok().filter(|answer| answer == "PONG")
        })
        .await
        .with_context(|| self.log())?;
        Ok(())
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// `kill -9`, and its folder emptied: a volume lost.
    pub async fn wipe(&mut self) -> Result<()> {
        self.kill().await?;
        std::fs::remove_dir_all(&self.folder)?;
        std::fs::create_dir_all(&self.folder).context("making the folder again")
    }

    /// SIGSTOP.
    pub fn pause(&self) -> Result<()> {
        self.running()?.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.running()?.resume()
    }

    /// The process.
    pub fn running(&self) -> Result<&Process> {
        self.process.as_ref().context("Redis is down")
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Changes a setting of the running server.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        self.command(&["CONFIG", "SET", name, value]).await.map(drop)
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

    /// A figure of `INFO`, such as `total_commands_processed`.
    pub async fn figure(&self, name: &str) -> Result<u64> {
        let info = self.command(&["INFO", "all"]).await?;
        let prefix = format!("{name}:");
        let line = info.lines().find_map(|line| line.strip_prefix(&prefix)).context("INFO has the figure")?;
        line.trim().parse().context("the figure is a number")
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

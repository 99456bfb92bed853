//! What Redis was asked, and what it wrote, by its own count.
//! **Owns:** reading `INFO`. **Never:** what the keys mean.

use std::collections::BTreeMap;

use anyhow::Result;
use postrider_tests::redis::Redis;

use super::usage;

/// Commands that this bench asks itself.
const OURS: &[&str] = &["info", "config|get", "client|setinfo", "hello", "ping", "hkeys", "hlen"];

/// Counts so far, or between two moments.
#[derive(Debug, Clone, Default)]
pub(crate) struct RedisCalls {
    /// By command, calls and µs; those within scripts count too.
    pub(crate) commands: BTreeMap<String, (u64, u64)>,
    /// Writes to its file, each with a sync: its writes in all without those to clients.
    pub(crate) syncs: u64,
    /// Bytes written to its file.
    pub(crate) aof_bytes: u64,
}

impl RedisCalls {
    /// Since the server began.
    pub(crate) async fn so_far(redis: &Redis) -> Result<Self> {
        let text = redis.command(&["INFO", "commandstats"]).await?;
        let commands = text.lines().filter_map(command).filter(|(name, _)| !OURS.contains(&name.as_str()));
        let commands = commands.collect();
        let replies = redis.figure("total_writes_processed").await?;
        let reply_bytes = redis.figure("total_net_output_bytes").await?;
        let (writes, bytes) = usage::written(redis.running()?.pid())?;
        Ok(Self {
            commands,
            syncs: writes.saturating_sub(replies),
            aof_bytes: bytes.saturating_sub(reply_bytes),
        })
    }

    /// What came between.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let commands = self.commands.iter().map(|(name, (calls, time))| {
            let (calls_before, time_before) = before.commands.get(name).copied().unwrap_or_default();
            (name.clone(), (calls - calls_before, time - time_before))
        });
        Self {
            commands: commands.filter(|(_, (calls, _))| *calls > 0).collect(),
            syncs: self.syncs.saturating_sub(before.syncs),
            aof_bytes: self.aof_bytes.saturating_sub(before.aof_bytes),
        }
    }

    /// Commands, those within scripts and the scripts themselves.
    pub(crate) fn all(&self) -> u64 {
        self.commands.values().map(|(calls, _)| calls).sum()
    }

    /// Scripts, and the time that they took in µs.
    pub(crate) fn scripts(&self) -> (u64, u64) {
        self.commands.get("evalsha").copied().unwrap_or_default()
    }
}

/// `cmdstat_NAME:calls=1,usec=2,…`
fn command(line: &str) -> Option<(String, (u64, u64))> {
    let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    let field = |wanted: &str| {
        let value = rest.split(',').find_map(|field| field.strip_prefix(wanted)?.strip_prefix('='))?;
        value.trim().parse().ok()
    };
    Some((name.to_owned(), (field("calls")?, field("usec")?)))
}

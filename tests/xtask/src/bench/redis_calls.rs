//! What Redis was asked, by its own count.
//! **Owns:** reading `INFO`. **Never:** what the keys mean.

use std::collections::BTreeMap;

use anyhow::Result;
use postrider_tests::redis::Redis;

use super::usage;

/// Counts so far, or between two moments.
#[derive(Debug, Clone, Default)]
pub(crate) struct RedisCalls {
    /// By command, calls and µs; those within scripts count too.
    pub(crate) commands: BTreeMap<String, (u64, u64)>,
    /// Reads that brought something: at most one a round trip, fewer where several were read at once.
    pub(crate) reads: u64,
    /// Writes to its file, each with a sync: its writes in all without those to clients.
    pub(crate) syncs: u64,
    /// Bytes that came.
    pub(crate) bytes_in: u64,
}

impl RedisCalls {
    /// Since the server began.
    pub(crate) async fn so_far(redis: &Redis) -> Result<Self> {
        let text = redis.command(&["INFO", "commandstats"]).await?;
        let commands = text.lines().filter_map(command).collect();
        let replies = redis.figure("total_writes_processed").await?;
        let writes = usage::writes(redis.running()?.pid())?;
        Ok(Self {
            commands,
            reads: redis.figure("total_reads_processed").await?,
            syncs: writes.saturating_sub(replies),
            bytes_in: redis.figure("total_net_input_bytes").await?,
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
            reads: self.reads - before.reads,
            syncs: self.syncs.saturating_sub(before.syncs),
            bytes_in: self.bytes_in - before.bytes_in,
        }
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

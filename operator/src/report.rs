//! What a relay tells on its admin port: which configuration it runs, how its queue is.
//! **Owns:** reading those pages. **Never:** asks for them (reporter), decides by them.

use serde::Deserialize;

/// What one pod told last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// `/v1/config`.
    pub config: ConfigReport,
    /// `/v1/queue`; absent while nobody has asked or it has no answer.
    pub queue: Option<QueueReport>,
}

/// `/v1/config`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct ConfigReport {
    /// The hash of what it runs by.
    pub hash: String,
    /// Why it couldn't load what is newer.
    #[serde(default)]
    pub error: Option<String>,
}

/// `/v1/queue`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct QueueReport {
    /// A server each.
    pub shards: Vec<ShardReport>,
}

/// One server, as a relay sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct ShardReport {
    /// Its name.
    pub name: String,
    /// Where it stands: `InUse`, `Lost`, `Unreachable`, …
    pub standing: String,
    /// The queue that it has.
    #[serde(default)]
    pub uuid: Option<String>,
    /// `Open`, `Draining` or `Closed`.
    #[serde(default)]
    pub state: Option<String>,
    /// What is wrong: found; expected; do.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Whether its clock and the relay's agree.
    #[serde(default)]
    pub clock_agrees: Option<bool>,
    /// Deliveries in it, those on hold included; absent if nobody knows.
    #[serde(default)]
    pub deliveries: Option<u64>,
    /// Those on hold.
    #[serde(default)]
    pub held: Option<u64>,
    /// How long the oldest has waited.
    #[serde(default)]
    pub oldest_seconds: Option<u64>,
    /// How many deliveries were in the queue that isn't there any more.
    #[serde(default)]
    pub lost_deliveries: Option<u64>,
}

impl ShardReport {
    /// Whether mail can be put into it and taken out of it.
    pub fn is_in_use(&self) -> bool {
        self.standing == IN_USE
    }

    /// Whether it is in the place of another queue.
    pub fn is_lost(&self) -> bool {
        self.standing == LOST
    }
}

/// A shard that is as it should be.
const IN_USE: &str = "InUse";
/// A shard in the place of another queue.
const LOST: &str = "Lost";

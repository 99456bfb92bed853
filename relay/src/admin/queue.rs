//! What `/v1/queue` says of each shard. The operator reads it: into statuses, and before it lets a server go.
//! **Owns:** the form of the page. **Never:** asks a server: the rounds over the shards and [`Ages`] did. Absent means unknown, not
//! nothing.

use postrider_queue::shards::{Found, ShardStatus};
use serde::Serialize;

use crate::metrics::Ages;

/// The page.
#[derive(Debug, Serialize)]
pub struct QueuePage {
    shards: Vec<ShardView>,
}

#[derive(Debug, Serialize)]
struct ShardView {
    name: String,
    standing: &'static str,
    /// Of the queue that was found, whether it should be there or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// One line each: found; expected; do.
    problems: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_agrees: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_deliveries: Option<u64>,
}

impl QueuePage {
    /// The page, of what is known of the shards and of the ages of what is in them.
    pub fn new(shards: &[ShardStatus], ages: &Ages) -> Self {
        Self { shards: shards.iter().map(|shard| ShardView::new(shard, ages)).collect() }
    }
}

impl ShardView {
    fn new(shard: &ShardStatus, ages: &Ages) -> Self {
        let (standing, found) = (&shard.standing, shard.standing.found());
        Self {
            name: shard.name.to_string(),
            standing: standing.as_str(),
            uuid: standing.uuid().map(str::to_owned),
            state: found.map(|found| found.state.as_str()),
            problems: shard.problems(),
            clock_agrees: found.map(Found::clock_agrees),
            deliveries: found.map(|found| found.figures.deliveries()),
            held: found.map(|found| found.figures.held),
            oldest_seconds: found.and_then(|_| ages.of(&shard.name)).map(|age| age.as_secs()),
            lost_deliveries: standing.lost_deliveries(),
        }
    }
}

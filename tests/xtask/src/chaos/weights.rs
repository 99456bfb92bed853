//! What relays and servers weigh before a run and behind it.
//! **Owns:** how much more is too much. **Never:** judges mail.

use anyhow::Result;
use postrider_tests::World;

/// What a server may have more of when the queue is empty again: tombstones of messages, which leave by themselves after a while. Buffers,
/// such as what replicas are caught up from, aren't counted.
const SERVER_MAX: u64 = 4 << 20;
/// What a relay may take more: a heap that was used keeps its size.
const RELAY_MAX: u64 = 100 << 20;

/// Bytes, in their order.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    servers: Vec<u64>,
    relays: Vec<u64>,
}

impl Weights {
    /// Of all parts.
    ///
    /// # Errors
    /// One of them isn't there.
    pub(crate) async fn of(world: &World) -> Result<Self> {
        let mut servers = Vec::new();
        for server in &world.redis {
            servers.push(server.figure("used_memory_dataset").await?);
        }
        let weigh = |relay: &postrider_tests::relay::Relay| Ok(relay.process().usage()?.rss_kib << 10);
        Ok(Self { servers, relays: world.relays.iter().map(weigh).collect::<Result<_>>()? })
    }

    /// What has become too heavy since.
    pub(crate) fn fault(&self, before: &Self) -> Option<String> {
        grown("a server", &before.servers, &self.servers, SERVER_MAX)
            .or_else(|| grown("a relay", &before.relays, &self.relays, RELAY_MAX))
    }
}

fn grown(what: &str, before: &[u64], after: &[u64], most: u64) -> Option<String> {
    let mut pairs = before.iter().zip(after);
    let (before, after) = pairs.find(|(before, after)| **after > **before + most)?;
    Some(format!(
        "{what} has {after} bytes at the end, {before} at the beginning; expected at most {most} more"
    ))
}

#[cfg(test)]
mod tests {
    use super::{RELAY_MAX, SERVER_MAX, Weights};

    #[test]
    fn a_part_that_keeps_more_than_it_may_is_told() {
        let before = Weights { servers: vec![1, 2], relays: vec![3] };
        assert_eq!(before.fault(&before), None);
        let after = Weights { servers: vec![1, 2 + SERVER_MAX], relays: vec![3 + RELAY_MAX] };
        assert_eq!(after.fault(&before), None);
        let server = Weights { servers: vec![1, 3 + SERVER_MAX], ..after.clone() };
        assert!(server.fault(&before).expect("heavy").starts_with("a server has 4194307 bytes"));
        let relay = Weights { relays: vec![4 + RELAY_MAX], ..after };
        assert!(relay.fault(&before).expect("heavy").starts_with("a relay has "));
    }
}

//! What is left in the queue's servers when all mail has ended.
//! **Owns:** which keys may be there then. **Never:** a key's content but the totals'.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use postrider_tests::redis::Redis;

use super::plan::Topology;

/// Always there: the queue's own facts, who is alive, what was.
const KEPT: [&str; 5] = ["meta", "pods", "totals", "history", "server"];

/// Those without an end, in one go: of the others there may be thousands.
const LASTING: &str = "local keys = {} \
    for _, key in ipairs(redis.call('KEYS', ARGV[1])) do \
        if redis.call('PTTL', key) < 0 then keys[#keys + 1] = key end \
    end \
    return keys";

/// Keys that hold mail, or should be gone with it. Those that leave by themselves are left out.
///
/// # Errors
/// A server doesn't answer, or its totals differ from what there is.
pub(crate) async fn of(topology: Topology, servers: &[Redis]) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for server in masters(topology, servers).await? {
        let lasting = lasting(server).await?;
        left.extend(
            lasting.iter().map(|key| name(key)).filter(|name| !KEPT.contains(name)).map(str::to_owned),
        );
        for key in lasting.iter().filter(|key| left.is_empty() && key.ends_with(":totals")) {
            totals(server, key).await?;
        }
    }
    Ok(left)
}

/// The names of all keys that don't leave by themselves, whichever partition has them: a first few messages may all go to one.
///
/// # Errors
/// A server doesn't answer.
pub(crate) async fn names(topology: Topology, servers: &[Redis]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for server in masters(topology, servers).await? {
        names.extend(lasting(server).await?.iter().map(|key| name(key).to_owned()));
    }
    Ok(names)
}

/// What stands behind the partition.
fn name(key: &str) -> &str {
    key.rsplit_once("}:").map_or(key, |(_, name)| name)
}

async fn masters(topology: Topology, servers: &[Redis]) -> Result<Vec<&Redis>> {
    let mut masters = Vec::new();
    for server in servers {
        if !topology.is_replicated() || server.command(&["ROLE"]).await?.starts_with("master") {
            masters.push(server);
        }
    }
    Ok(masters)
}

async fn lasting(server: &Redis) -> Result<Vec<String>> {
    let keys = server.command(&["EVAL", LASTING, "0", "postrider:{*"]).await?;
    Ok(keys.lines().map(str::to_owned).collect())
}

/// An empty queue's totals are zero, and as many messages have ended as were accepted.
async fn totals(server: &Redis, key: &str) -> Result<()> {
    let meta = key.replace(":totals", ":meta");
    let number = async |key: &str, field: &str| -> Result<u64> {
        Ok(server.command(&["HGET", key, field]).await?.parse().unwrap_or(0))
    };
    let (accepted, ended) = (number(&meta, "accepted").await?, number(key, "ended").await?);
    ensure!(accepted == ended, "{key}: {accepted} accepted, {ended} ended, and nothing there");
    Ok(())
}

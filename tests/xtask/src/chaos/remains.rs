//! What is left in the queue's servers when all mail has ended.
//! **Owns:** which keys may be there then. **Never:** a key's content but the totals'.

use std::collections::{BTreeMap, BTreeSet};

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

/// Compares what a partition's totals say with the scan that found nothing.
async fn totals(server: &Redis, key: &str) -> Result<()> {
    let meta = key.replace(":totals", ":meta");
    let accepted = server.command(&["HGET", &meta, "accepted"]).await?.parse().unwrap_or(0);
    let told = drift(accepted, &server.command(&["HGETALL", key]).await?);
    ensure!(told.is_none(), "{key}: {}, and nothing there", told.unwrap_or_default());
    Ok(())
}

/// What is wrong with an empty queue's totals, which are names and numbers in turn: as many messages have ended as were accepted, and none
/// waits in any class.
fn drift(accepted: i64, totals: &str) -> Option<String> {
    let lines: Vec<&str> = totals.lines().collect();
    let numbers = lines.chunks_exact(2).map(|pair| (pair[0], pair[1].parse::<i64>().unwrap_or(0)));
    let numbers: BTreeMap<&str, i64> = numbers.collect();
    let ended = numbers.get("ended").copied().unwrap_or(0);
    if accepted != ended {
        return Some(format!("{accepted} accepted, {ended} ended"));
    }
    let waits = numbers.iter().find(|(name, number)| name.starts_with("waiting:") && **number != 0);
    waits.map(|(name, number)| format!("{name} is {number}"))
}

#[cfg(test)]
mod tests {
    use super::drift;

    #[test]
    fn an_empty_queue_whose_totals_say_otherwise_is_told() {
        assert_eq!(drift(0, ""), None);
        assert_eq!(drift(7, "waiting:Bulk\n0\nended\n7\nreaped\n3\n"), None);
        assert_eq!(drift(7, "ended\n6").as_deref(), Some("7 accepted, 6 ended"));
        assert_eq!(drift(7, "ended\n7\nwaiting:Bulk\n2").as_deref(), Some("waiting:Bulk is 2"));
        assert_eq!(drift(7, "waiting:Normal\n-1\nended\n7").as_deref(), Some("waiting:Normal is -1"));
    }
}

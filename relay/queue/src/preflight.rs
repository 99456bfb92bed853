//! Whether a server can keep the promise behind a 250: its settings, version and state, judged before the first enqueue on a new
//! connection and every minute.
//! **Owns:** [`Facts`] and the verdict on them, pure. **Never:** changes a setting of the server.
//! Invariant: I1.

mod ask;
mod facts;
mod torn_tail;
mod version;

use std::fmt;

pub use ask::Ask;
pub use facts::{ClockOffset, DefaultUser, Facts, Memory};
pub use torn_tail::clear_torn_tail;
pub use version::{Product, Version};

use crate::{connection::Topology, partition::Durability};

/// Something about a server that breaks the promise. Shown as `SETTING: found X; expected Y; DO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The setting or figure, in the server's own word.
    pub setting: &'static str,
    /// What it is.
    pub found: String,
    /// What it has to be.
    pub expected: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether it mends itself by waiting (the server loads, a rewrite runs).
    pub is_passing: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}; expected {}; {}", self.setting, self.found, self.expected, self.remedy)
    }
}

/// Judges a server. Empty: it can keep the promise.
pub fn judge(facts: &Facts, durability: Durability, topology: Topology) -> Vec<Finding> {
    let mut findings = Vec::new();
    judge_version(facts, durability, &mut findings);
    judge_state(facts, &mut findings);
    judge_eviction(facts, &mut findings);
    judge_mode(facts, topology, &mut findings);
    if durability == Durability::Unchecked {
        return findings;
    }
    judge_settings(facts, &mut findings);
    judge_default_user(facts, &mut findings);
    judge_topology(facts, durability, topology, &mut findings);
    judge_isolation(facts, topology, &mut findings);
    findings
}

fn judge_version(facts: &Facts, durability: Durability, findings: &mut Vec<Finding>) {
    let version = &facts.version;
    let needs_waitaof = matches!(durability, Durability::Replicated(_));
    let floor = match (version.product, needs_waitaof) {
        (Product::Redis, false) => (7, 0),
        (Product::Redis, true) | (Product::Valkey, _) => (7, 2),
    };
    if (version.major, version.minor) < floor {
        findings.push(Finding {
            setting: "version",
            found: version.to_string(),
            expected: format!("{} {}.{} or later", version.product, floor.0, floor.1),
            remedy: "upgrade the server".to_owned(),
            is_passing: false,
        });
    }
}

fn judge_state(facts: &Facts, findings: &mut Vec<Finding>) {
    if facts.is_loading {
        findings.push(Finding {
            setting: "loading",
            found: "1".to_owned(),
            expected: "0".to_owned(),
            remedy: "wait until the server has read its append-only file".to_owned(),
            is_passing: true,
        });
    }
    if facts.role != "master" {
        findings.push(Finding {
            setting: "role",
            found: shown(&facts.role),
            expected: "master".to_owned(),
            remedy: "let the URL name the primary, or say `mode: Sentinel` where sentinels choose it"
                .to_owned(),
            is_passing: false,
        });
    }
    if facts.aof_last_write_status.as_deref().is_some_and(|status| status != "ok") {
        findings.push(Finding {
            setting: "aof_last_write_status",
            found: facts.aof_last_write_status.as_deref().map_or_else(String::new, shown),
            expected: "ok".to_owned(),
            remedy: "look at the server's disk: it is full or failing".to_owned(),
            is_passing: false,
        });
    }
}

/// The one setting that INFO shows on every service: a queue that evicts loses mail whoever promised what.
fn judge_eviction(facts: &Facts, findings: &mut Vec<Finding>) {
    let policy = facts.setting("maxmemory-policy").or(facts.maxmemory_policy.as_deref());
    if policy != Some("noeviction") {
        findings.push(wrong_setting("maxmemory-policy", policy, "noeviction"));
    }
}

fn judge_settings(facts: &Facts, findings: &mut Vec<Finding>) {
    for (setting, expected) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("aof-load-truncated", "yes"),
    ] {
        let found = facts.setting(setting);
        if found != Some(expected) {
            findings.push(wrong_setting(setting, found, expected));
        }
    }
}

fn wrong_setting(setting: &'static str, found: Option<&str>, expected: &str) -> Finding {
    let remedy = match found {
        Some(_) => format!("set `CONFIG SET {setting} {expected}` and in redis.conf"),
        None => format!(
            "let the relay's user run CONFIG GET, or say `durability: Unchecked` if the service sets {setting} itself"
        ),
    };
    Finding {
        setting,
        found: found.map_or_else(|| "no answer".to_owned(), shown),
        expected: expected.to_owned(),
        remedy,
        is_passing: false,
    }
}

/// Scripts are replayed from the append-only file as the `default` user: where that may not run them, they vanish at a restart.
fn judge_default_user(facts: &Facts, findings: &mut Vec<Finding>) {
    let (found, remedy) = match facts.default_user {
        DefaultUser::Full => return,
        DefaultUser::Restricted => (
            "off or restricted",
            "give it a password and full rights: `ACL SETUSER default on >PASSWORD ~* &* +@all`, and in redis.conf",
        ),
        DefaultUser::Unknown => ("no answer", "let the relay's user run ACL GETUSER (`+acl|getuser`)"),
    };
    findings.push(Finding {
        setting: "user default",
        found: found.to_owned(),
        expected: "on, with all keys and commands: the append-only file is replayed as this user".to_owned(),
        remedy: remedy.to_owned(),
        is_passing: false,
    });
}

/// A node of a cluster has some slots only, and gives them away. A lone server that is said to be a cluster would work, but whoever says
/// so means another one.
fn judge_mode(facts: &Facts, topology: Topology, findings: &mut Vec<Finding>) {
    let is_cluster = topology == Topology::Cluster;
    if facts.is_cluster != is_cluster {
        findings.push(Finding {
            setting: "cluster_enabled",
            found: u8::from(facts.is_cluster).to_string(),
            expected: format!("{} in mode {topology}", u8::from(is_cluster)),
            remedy: if is_cluster {
                "let the URL name nodes of the cluster, or say another mode".to_owned()
            } else {
                "say `mode: Cluster`".to_owned()
            },
            is_passing: false,
        });
    }
}

fn judge_topology(facts: &Facts, durability: Durability, topology: Topology, findings: &mut Vec<Finding>) {
    match durability {
        Durability::Synced if topology != Topology::Standalone => findings.push(Finding {
            setting: "durability",
            found: format!("Synced in mode {topology}"),
            expected: "mode Standalone, or Replicated".to_owned(),
            remedy: "a failover loses writes that only the old primary had synced: say `durability: Replicated`, or use \
                     several standalone shards"
                .to_owned(),
            is_passing: false,
        }),
        Durability::Replicated(replicas) if facts.replicas < replicas => findings.push(Finding {
            setting: "connected_slaves",
            found: facts.replicas.to_string(),
            expected: format!("{replicas} or more"),
            remedy: "bring the replicas back: a 250 needs their disks too".to_owned(),
            is_passing: true,
        }),
        Durability::Synced | Durability::Replicated(_) | Durability::Unchecked => {}
    }
}

/// A primary that is cut off from its sentinels goes on while another is promoted, and relays that still reach it would deliver
/// everything a second time. Left by its replicas, it stops by itself if it is told to. Masters of a cluster do so anyway.
fn judge_isolation(facts: &Facts, topology: Topology, findings: &mut Vec<Finding>) {
    let setting = "min-replicas-to-write";
    let found = facts.setting(setting);
    if topology == Topology::Sentinel && found.and_then(|count| count.parse().ok()).unwrap_or(0) < 1 {
        let wrong = wrong_setting(setting, found, "1");
        findings.push(Finding { expected: "1 or more in mode Sentinel".to_owned(), ..wrong });
    }
}

/// A server's word in a message of ours: short, and printable.
fn shown(text: &str) -> String {
    if text.is_empty() {
        "nothing".to_owned()
    } else {
        text.chars().filter(|c| !c.is_control()).take(64).collect()
    }
}

#[cfg(test)]
mod tests;

//! Servers that have replicas, and who watches over them.
//! **Owns:** their settings, how they meet, a promotion that is asked for. **Never:** kills.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    World, eventually, ports,
    redis::{Redis, Way},
};

/// The name of what the sentinels watch.
const MASTER: &str = "mail";
/// How long servers may take to know each other.
const MET_WITHIN: Duration = Duration::from_secs(60);
const SLOTS: [[&str; 2]; 3] = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]];
/// A primary that is cut off takes nothing more.
const NEEDS_REPLICA: [(&str, &str); 2] = [("min-replicas-to-write", "1"), ("min-replicas-max-lag", "10")];

/// Who watches.
pub(crate) enum Replicas {
    /// Nobody: servers stand alone.
    None,
    /// Sentinels.
    Sentinels(Vec<Redis>),
    /// The servers themselves.
    Cluster,
}

/// WAITAOF came with 7.2.
fn way() -> Result<Way> {
    let program = std::env::var_os("POSTRIDER_VALKEY").map(PathBuf::from);
    ensure!(
        program.is_some(),
        "found no POSTRIDER_VALKEY; expected the path of a Valkey or Redis of 7.2 or later"
    );
    Ok(Way { program, ..Way::default() })
}

impl Replicas {
    /// A primary with its replica, and three sentinels.
    pub(crate) async fn sentinels(world: &mut World) -> Result<Self> {
        let folder = world.folder().to_owned();
        let primary = Redis::start_as(&folder.join("redis-0"), way()?, &NEEDS_REPLICA).await?;
        let of = format!("127.0.0.1 {}", primary.port());
        let settings = [&NEEDS_REPLICA[..], &[("replicaof", &of)]].concat();
        world.redis = vec![primary, Redis::start_as(&folder.join("redis-1"), way()?, &settings).await?];
        let monitor = format!("monitor {MASTER} {of} 2");
        let (down, limit) =
            (format!("down-after-milliseconds {MASTER} 1000"), format!("failover-timeout {MASTER} 5000"));
        let mut sentinels = Vec::new();
        for number in 0..3 {
            let settings = [&monitor, &down, &limit].map(|line| ("sentinel", line.as_str()));
            let way = Way { is_sentinel: true, ..way()? };
            sentinels
                .push(Redis::start_as(&folder.join(format!("sentinel-{number}")), way, &settings).await?);
        }
        for sentinel in &sentinels {
            eventually("a sentinel knows the others", MET_WITHIN, async || {
                let told = sentinel.command(&["SENTINEL", "CKQUORUM", MASTER]).await.ok()?;
                let replicas = sentinel.command(&["SENTINEL", "REPLICAS", MASTER]).await.ok()?;
                (told.starts_with("OK 3") && replicas.contains("master-link-status\nok")).then_some(())
            })
            .await?;
        }
        Ok(Self::Sentinels(sentinels))
    }

    /// Three masters with a replica each.
    pub(crate) async fn cluster(world: &mut World) -> Result<Self> {
        let folder = world.folder().to_owned();
        let mut buses = Vec::new();
        for number in 0..6 {
            let bus = ports::free()?.to_string();
            let own = [("cluster-enabled", "yes"), ("cluster-node-timeout", "1000"), ("cluster-port", &bus)];
            let settings = [&NEEDS_REPLICA[..], &own].concat();
            let node = Redis::start_as(&folder.join(format!("redis-{number}")), way()?, &settings).await?;
            if let Some([first, last]) = SLOTS.get(number) {
                node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await?;
                node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).await?;
            }
            world.redis.push(node);
            buses.push(bus);
        }
        let (first, bus) = world.redis.first().zip(buses.first()).context("there are six")?;
        for node in world.redis.iter().skip(1) {
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &first.port().to_string(), bus]).await?;
        }
        info(&world.redis, &["cluster_state:ok", "cluster_known_nodes:6"]).await?;
        for (master, replica) in world.redis.iter().zip(world.redis.iter().skip(3)) {
            let id = master.command(&["CLUSTER", "MYID"]).await?;
            eventually("the master is known", MET_WITHIN, async || {
                replica.command(&["CLUSTER", "REPLICATE", &id]).await.ok().filter(|answer| answer == "OK")
            })
            .await?;
        }
        for replica in world.redis.iter().skip(3) {
            eventually("a replica is in step", MET_WITHIN, async || {
                let told = replica.command(&["INFO", "replication"]).await.ok()?;
                told.contains("master_link_status:up").then_some(())
            })
            .await?;
        }
        Ok(Self::Cluster)
    }

    /// What relays are told of them.
    pub(crate) fn url(&self, servers: &[Redis]) -> Option<String> {
        let hosts = |all: &[Redis]| {
            all.iter().map(|one| format!("127.0.0.1:{}", one.port())).collect::<Vec<_>>().join(",")
        };
        match self {
            Self::None => None,
            Self::Sentinels(sentinels) => Some(format!("redis://{}/?master={MASTER}", hosts(sentinels))),
            Self::Cluster => Some(format!("redis://{}", hosts(servers))),
        }
    }

    /// Asks for a promotion. It may be refused: who is in the middle of one begins no other. Whether it wasn't.
    pub(crate) async fn fail_over(&self, servers: &[Redis], number: usize) -> Result<bool> {
        let asked = match self {
            Self::None => return Ok(false),
            Self::Sentinels(sentinels) => {
                sentinels.first().context("there are three")?.command(&["SENTINEL", "FAILOVER", MASTER]).await
            }
            Self::Cluster => {
                let node = servers.get(number).context("a server of the plan")?;
                node.command(&["CLUSTER", "FAILOVER"]).await
            }
        };
        if let Err(why) = &asked {
            println!("a promotion was refused: {why:#}");
        }
        Ok(asked.is_ok())
    }
}

async fn info(nodes: &[Redis], wanted: &[&str]) -> Result<()> {
    for node in nodes {
        eventually("the nodes know each other", MET_WITHIN, async || {
            let told = node.command(&["CLUSTER", "INFO"]).await.ok()?;
            wanted.iter().all(|line| told.contains(line)).then_some(())
        })
        .await?;
    }
    Ok(())
}

//! The nodes of a cluster of a test's own.
//! **Owns:** how they meet, and how a slot is moved. **Never:** a process (server.rs has them).

use std::time::Duration;

use postrider_queue::Partition;

use crate::server::{Server, free_port};

pub(crate) struct Nodes {
    /// Three masters, a third of the slots each.
    pub(crate) servers: Vec<Server>,
    replica: Option<Server>,
}

const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

impl Nodes {
    pub(crate) async fn start() -> Self {
        let mut servers = Vec::new();
        for (index, (first, last)) in SLOTS.iter().enumerate() {
            let server = node().await;
            let _: String = server.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
            let epoch = (index + 1).to_string();
            let _: String = server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            servers.push(server);
        }
        for server in &servers[1..] {
            meet(server, &servers[0]).await;
        }
        let nodes = Self { servers, replica: None };
        for server in &nodes.servers {
            until("the nodes know each other", async || {
                let info: String = server.command(&["CLUSTER", "INFO"]).await;
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
            .await;
        }
        nodes
    }

    pub(crate) async fn slot_of(&self, partition: &Partition) -> u16 {
        self.servers[0].command(&["CLUSTER", "KEYSLOT", &partition.keys().named("meta")]).await
    }

    /// The master that says so itself.
    pub(crate) async fn owner_of(&self, slot: u16) -> usize {
        for (index, server) in self.servers.iter().enumerate() {
            let shown: String = server.command(&["CLUSTER", "NODES"]).await;
            let own = shown.lines().find(|line| line.contains("myself")).expect("itself");
            let has = |range: &str| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
            };
            if own.split(' ').skip(8).any(has) {
                return index;
            }
        }
        panic!("nobody has slot {slot}");
    }

    pub(crate) async fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (from_id, to_id) = (id(&self.servers[from]).await, id(&self.servers[to]).await);
        self.set_slot(to, slot, &["IMPORTING", &from_id]).await;
        self.set_slot(from, slot, &["MIGRATING", &to_id]).await;
    }

    pub(crate) async fn keys_in(&self, slot: u16, at: usize) -> Vec<String> {
        self.servers[at].command(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "1000"]).await
    }

    /// Those that are there still.
    pub(crate) async fn move_keys(&self, from: usize, to: usize, keys: &[String]) {
        let port = self.servers[to].port().to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        let moved: String = self.servers[from].command(&words).await;
        assert!(["OK", "NOKEY"].contains(&moved.as_str()), "{moved}");
    }

    pub(crate) async fn end_move(&self, slot: u16, to: usize) {
        let to_id = id(&self.servers[to]).await;
        self.set_slot(to, slot, &["NODE", &to_id]).await;
        for index in (0..self.servers.len()).filter(|index| *index != to) {
            self.set_slot(index, slot, &["NODE", &to_id]).await;
        }
    }

    async fn set_slot(&self, at: usize, slot: u16, words: &[&str]) {
        let slot = slot.to_string();
        let mut all = vec!["CLUSTER", "SETSLOT", &slot];
        all.extend(words);
        let _: String = self.servers[at].command(&all).await;
    }

    /// A replica of this master, which everybody knows.
    pub(crate) async fn add_replica(&mut self, of: usize) {
        let replica = node().await;
        meet(&replica, &self.servers[of]).await;
        let primary = id(&self.servers[of]).await;
        until("the replica knows its primary", async || {
            let shown: String = replica.command(&["CLUSTER", "NODES"]).await;
            shown.contains(&primary)
        })
        .await;
        let _: String = replica.command(&["CLUSTER", "REPLICATE", &primary]).await;
        for server in &self.servers {
            let port = format!(":{}@", replica.port());
            until("all know the replica", async || {
                let shown: String = server.command(&["CLUSTER", "NODES"]).await;
                shown.lines().any(|line| line.contains(&port) && line.contains("slave"))
            })
            .await;
        }
        self.replica = Some(replica);
    }

    /// Waits until it has so many messages.
    pub(crate) async fn replica_has(&self, partition: &Partition, accepted: u64) {
        let replica = self.replica.as_ref().expect("it was added");
        let meta = partition.keys().named("meta");
        let mut connection = replica.client().get_multiplexed_async_connection().await.expect("it runs");
        for _ in 0..600 {
            // It drops its clients once it has the primary's data.
            let ready: redis::RedisResult<String> = redis::cmd("READONLY").query_async(&mut connection).await;
            let found: redis::RedisResult<Option<u64>> =
                redis::cmd("HGET").arg(&meta).arg("accepted").query_async(&mut connection).await;
            match (ready, found) {
                (Ok(_), Ok(Some(found))) if found == accepted => return,
                (Ok(_), Ok(_)) => {}
                (Err(_), _) | (_, Err(_)) => {
                    if let Ok(new) = replica.client().get_multiplexed_async_connection().await {
                        connection = new;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the replica never had {accepted} messages");
    }
}

async fn node() -> Server {
    let bus = free_port().to_string();
    let settings =
        [("cluster-enabled", "yes"), ("cluster-node-timeout", "1000"), ("cluster-port", bus.as_str())];
    Server::start_with(&settings).await
}

async fn meet(new: &Server, known: &Server) {
    let (port, bus): (String, Vec<String>) =
        (known.port().to_string(), known.command(&["CONFIG", "GET", "cluster-port"]).await);
    let _: String = new.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus[1]]).await;
}

async fn id(of: &Server) -> String {
    of.command(&["CLUSTER", "MYID"]).await
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within 30 s");
}

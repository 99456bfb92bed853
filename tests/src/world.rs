//! The parts of one test, put together: a nameserver, far sides, Redis, manifests, relays.
//! **Owns:** their folder and their order. **Never:** shares anything with another test.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::Client,
    dns::Dns,
    ledger::{Entry, Ledger},
    manifests::{MailRelay, Manifests},
    mounted::{self, Mounted},
    ports::Subnet,
    redis::Redis,
    relay::{self, Relay},
    sink::{self, Sink},
    source,
    wait::eventually,
};

/// One test's world. Fields are dropped in this order: clients of a part go before it.
pub struct World {
    /// The relays that were started with [`World::relay`].
    pub relays: Vec<Relay>,
    /// The far sides.
    pub sinks: Vec<Sink>,
    /// The queue's servers.
    pub redis: Vec<Redis>,
    /// The nameserver.
    pub dns: Dns,
    /// What relays run from.
    pub manifests: Manifests,
    /// The book of all far sides.
    pub ledger: Ledger,
    /// The addresses of the far sides.
    pub subnet: Subnet,
    folder: TempDir,
}

impl World {
    /// A nameserver, one durable Redis and a MailRelay with dull defaults; no relay yet.
    pub async fn new() -> Result<Self> {
        Self::with_shards(1).await
    }

    /// The same with several shards, named `a`, `b`, ….
    pub async fn with_shards(shards: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("postrider-").tempdir()?;
        let mut redis = Vec::new();
        for number in 0..shards {
            redis.push(Redis::start(&folder.path().join(format!("redis-{number}"))).await?);
        }
        let world = Self {
            relays: Vec::new(),
            sinks: Vec::new(),
            redis,
            dns: Dns::start().await?,
            manifests: Manifests::new(&folder.path().join("manifests"))?,
            ledger: Ledger::with_bodies(),
            subnet: Subnet::random()?,
            folder,
        };
        let queue = format!("{{managed: {{shards: {shards}}}}}");
        world.manifests.write("relay.yaml", &MailRelay { queue, ..MailRelay::default() }.yaml())?;
        Ok(world)
    }

    /// Where this world's files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Adds a far side for a domain, with the MX and A records that lead to it; its number in [`World::sinks`].
    pub async fn domain(&mut self, domain: &str) -> Result<usize> {
        self.domain_with(domain, sink::Setup::default()).await
    }

    /// The same with a setup of its own.
    pub async fn domain_with(&mut self, domain: &str, setup: sink::Setup) -> Result<usize> {
        let number = self.sink(setup).await?;
        self.dns.domain(domain, self.address(number).ip()).await?;
        Ok(number)
    }

    /// Adds a far side that no record leads to yet.
    pub async fn sink(&mut self, setup: sink::Setup) -> Result<usize> {
        let number = self.sinks.len();
        let address = self.subnet.socket(u8::try_from(number + 1)?);
        self.sinks.push(Sink::start(address, self.ledger.clone(), setup).await?);
        Ok(number)
    }

    /// The address that a far side of a number has, whether it is there or not.
    pub fn address(&self, number: usize) -> SocketAddr {
        self.subnet.socket(u8::try_from(number + 1).unwrap_or(u8::MAX))
    }

    /// What a relay of this world is started with.
    pub fn setup(&self) -> relay::Setup {
        let is_single = self.redis.len() == 1;
        let url = |(number, redis): (usize, &Redis)| {
            if is_single { redis.url() } else { format!("{}={}", shard(number), redis.url()) }
        };
        relay::Setup {
            manifests: self.manifests.folder().to_owned(),
            config: None,
            binary: None,
            wrapper: Vec::new(),
            redis: self.redis.iter().enumerate().map(url).collect(),
            dns: Some(self.dns.address()),
            mx_port: self.subnet.port(),
            listeners: vec!["smtp".to_owned()],
            arguments: Vec::new(),
            folder: self.folder.path().join(format!("relay-{}", self.relays.len())),
        }
    }

    /// The manifests, compiled, in a volume; each shard at its server.
    pub async fn mounted(&self) -> Result<Mounted> {
        let mut mounted = Mounted::new(&self.folder.path().join("volume"), self.manifests.folder()).await?;
        mounted.edit(|config| {
            for (number, redis) in self.redis.iter().enumerate() {
                mounted::shard(config, &shard(number).to_string())["url"] = redis.url().into();
            }
        })?;
        Ok(mounted)
    }

    /// What a relay that runs a mounted configuration is started with.
    pub fn setup_mounted(&self, mounted: &Mounted) -> relay::Setup {
        relay::Setup { config: Some(mounted.file()), redis: Vec::new(), ..self.setup() }
    }

    /// Starts a relay and waits until it is ready.
    pub async fn relay(&mut self) -> Result<&mut Relay> {
        self.relay_with(self.setup()).await
    }

    /// The same with a setup of its own.
    pub async fn relay_with(&mut self, setup: relay::Setup) -> Result<&mut Relay> {
        self.relays.push(Relay::start(setup).await?);
        let last = self.relays.len() - 1;
        Ok(&mut self.relays[last])
    }

    /// Sends one message by a relay, which must take it; its queue ID.
    pub async fn send(&self, relay: usize, from: &str, to: &[&str], id: &str) -> Result<String> {
        let relay = self.relays.get(relay).context("the relay was started")?;
        let mut client = Client::greeted(relay.smtp()).await?;
        let text = source::message(id, from, to.first().copied().unwrap_or_default(), 600);
        let reply = client.message(from, to, text.trim_end()).await?;
        ensure!(reply.code == 250, "the relay answered {:?}", reply.text);
        Ok(reply.queue_id())
    }

    /// Waits for mail to a recipient; the newest.
    pub async fn arrival(&self, recipient: &str, within: Duration) -> Result<Entry> {
        let what = format!("mail to {recipient}");
        let found = eventually(&what, within, async || self.ledger.to(recipient).last().cloned()).await;
        let logs = || {
            let log = |relay: &Relay| relay::last_lines(&relay.log(), 15);
            self.relays.iter().map(log).collect::<Vec<_>>().join("\n---\n")
        };
        found.with_context(logs)
    }

    /// Waits until an attempt at a domain was made; the last, as a relay logged it.
    pub async fn attempt(&self, domain: &str, within: Duration) -> Result<Value> {
        self.attempt_with(domain, within, |_| true).await
    }

    /// The same until the last one is as wanted.
    pub async fn attempt_with(
        &self,
        domain: &str,
        within: Duration,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let last = || self.last_attempt(&format!("@{domain}"));
        let what = format!("an attempt at {domain}");
        let found = eventually(&what, within, async || last().filter(&is_wanted)).await;
        found.with_context(|| format!("the last was {:?}", last().map(|line| line.to_string())))
    }

    fn last_attempt(&self, end: &str) -> Option<Value> {
        let is_at = |line: &Value| {
            line["outcome"].is_string() && line["recipient"].as_str().is_some_and(|to| to.ends_with(end))
        };
        let logs: String = self.relays.iter().map(Relay::log).collect();
        logs.lines().rev().filter_map(|line| serde_json::from_str(line).ok()).find(is_at)
    }
}

/// The name of a managed shard.
pub fn shard(number: usize) -> char {
    u8::try_from(number).map_or('a', |number| char::from(b'a' + number))
}

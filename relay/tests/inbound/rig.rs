//! A relay's inbound side in this process, over a redis-server of its own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use postrider_core::config::{
    Auth, BareLineEnds, Certificate, Config, ConfigParts, Fleet, Listener, ListenerLimits, ListenerTls,
    PasswordHash, Protocol, Secret, TlsDemand,
};
use postrider_mail::{HostName, Mono, PartitionName, QueueId};
use postrider_queue::{
    Body, Claimed, Durability,
    connection::{Target, Topology},
    incarnation::Clock,
    keys::FleetName,
    shards::{ShardOptions, Shards, ShardsOptions},
};
use postrider_relay::{
    admission::{budget::BodyBudget, counts::Sessions},
    auth::Authenticator,
    config::ConfigSource,
    dispatch::{Dispatcher, Slot, Window},
    heartbeat::Heartbeat,
    intake::Intake,
    listener::Listeners,
    metrics::Metrics,
    session::Inbound,
    shutdown::Shutdown,
};
use postrider_smtp::timer::Waits;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::peer::Peer;

/// A queue server of a test.
struct Redis {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Redis {
    fn start() -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("postrider-inbound-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(&dir)
            .args([
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--save",
                "",
                "--maxmemory-policy",
                "noeviction",
            ])
            .args(["--maxmemory", "512mb"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, dir, port }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Below the ports that the system gives to clients: none of these takes it between this moment and the server's start.
fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(10_000..32_000))
        .take(1_000)
        .find(is_free)
        .expect("a free port")
}

/// The inbound side of a relay.
pub(crate) struct Rig {
    pub(crate) shards: Shards,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Metrics,
    pub(crate) config: watch::Sender<Arc<Config>>,
    pub(crate) budget: BodyBudget,
    pub(crate) started: mpsc::UnboundedReceiver<Started>,
    heartbeat: Option<Heartbeat>,
    tasks: TaskTracker,
    addresses: BTreeMap<String, SocketAddr>,
    looker: tokio::task::JoinHandle<()>,
    redis: Redis,
}

/// What a test changes of the usual.
pub(crate) struct Setup {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) change: fn(&mut ConfigParts),
    pub(crate) waits: Waits,
    pub(crate) budget_bytes: u64,
    /// How many deliveries are started at once; none: mail waits where the test looks for it.
    pub(crate) window: Option<usize>,
}

/// A delivery that was to be started, with its place in the window.
pub(crate) struct Started {
    pub(crate) slot: Slot,
    pub(crate) claimed: Claimed,
    pub(crate) body: Option<Body>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listeners: vec![listener("smtp")],
            change: |_| {},
            waits: Waits::default(),
            budget_bytes: 64 << 20,
            window: None,
        }
    }
}

/// A listener that lets this machine relay, without TLS.
pub(crate) fn listener(name: &str) -> Listener {
    Listener {
        name: name.into(),
        port: 25,
        protocol: Protocol::Smtp,
        allowed_clients: vec!["127.0.0.0/8".parse().expect("a net")],
        allows_pods: false,
        sender_domains: None,
        tls: None,
        auth: None,
        proxies: Vec::new(),
        limits: ListenerLimits::default(),
        bare_line_ends: BareLineEnds::Reject,
    }
}

/// A certificate for `mail.example.com`, and the same for clients to trust.
pub(crate) fn certificate() -> (Certificate, String) {
    let made =
        rcgen::generate_simple_self_signed(vec!["mail.example.com".to_owned()]).expect("a certificate");
    let chain = made.cert.pem();
    let key = Secret::new(made.signing_key.serialize_pem());
    (Certificate { origin: "mail/tls".into(), chain: chain.clone(), key }, chain)
}

/// TLS for a listener.
pub(crate) fn tls(demand: TlsDemand, certificate: &Certificate) -> Option<ListenerTls> {
    Some(ListenerTls { demand, certificates: vec![certificate.clone()] })
}

/// The user `ann`, whose password is `pencil`.
pub(crate) fn users() -> Option<Auth> {
    let hash = bcrypt::hash("pencil", 4).expect("hashes");
    let users = [("ann".to_owned(), PasswordHash::parse(&hash).expect("a hash"))].into();
    Some(Auth { users })
}

/// A configuration of these listeners.
pub(crate) fn config(listeners: Vec<Listener>, change: fn(&mut ConfigParts)) -> Arc<Config> {
    let fleet = Fleet { namespace: "mail".into(), name: "test".into(), uid: None };
    let mut parts = ConfigParts::minimal(fleet, HostName::parse("mail.example.com").expect("a name"));
    parts.listeners = listeners;
    change(&mut parts);
    Arc::new(Config::from(parts))
}

impl Rig {
    pub(crate) async fn usual() -> Self {
        Self::start(Setup::default()).await
    }

    pub(crate) async fn start(setup: Setup) -> Self {
        let redis = Redis::start();
        let shards = shards(redis.port);
        let looker = tokio::spawn({
            let shards = shards.clone();
            async move { shards.run().await }
        });
        let metrics = Metrics::new().expect("names are unique");
        let (start, started) = mpsc::unbounded_channel();
        let is_paused = setup.window.is_none();
        let dispatcher = Dispatcher::new(
            Window::new(setup.window.unwrap_or(1)),
            move || is_paused,
            move |slot, claimed, body| {
                let _ = start.send(Started { slot, claimed, body });
            },
        );
        let heartbeat =
            setup.window.map(|_| Heartbeat::start(shards.partitions(), &metrics).expect("a thread"));
        let budget = BodyBudget::new(setup.budget_bytes);
        let (sender, source) = ConfigSource::new(config(setup.listeners, setup.change));
        let shutdown = Shutdown::default();
        let told: Vec<_> = source
            .current()
            .listeners
            .iter()
            .map(|one| (one.name.clone(), SocketAddr::from(([127, 0, 0, 1], 0))))
            .collect();
        let inbound = Inbound {
            config: source,
            intake: Intake::new(shards.clone(), dispatcher, budget.clone(), metrics.clone()),
            authenticator: Authenticator::new(2),
            sessions: Sessions::default(),
            sessions_max: 6_000,
            metrics: metrics.clone(),
            shutdown: shutdown.clone(),
            waits: setup.waits,
        };
        let listeners = Listeners::bind(Arc::new(inbound), told).expect("free ports");
        let addresses = listeners.addresses().map(|(name, address)| (name.to_owned(), address)).collect();
        let tasks = TaskTracker::new();
        tasks.spawn(listeners.run(tasks.clone()));
        let rig = Self {
            shards,
            shutdown,
            metrics,
            config: sender,
            budget,
            started,
            heartbeat,
            tasks,
            addresses,
            looker,
            redis,
        };
        rig.is_ready().await;
        rig
    }

    async fn is_ready(&self) {
        let is_registered = || {
            let mut partitions = self.shards.partitions().into_iter();
            self.heartbeat.is_none() || partitions.all(|one| one.lease().incarnation().is_some())
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.shards.choose().is_err() || !is_registered() {
            assert!(Instant::now() < deadline, "no partition: {:?}", self.shards.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener]
    }

    /// A client of the first listener, greeted.
    pub(crate) async fn peer(&self) -> Peer {
        let mut peer = Peer::connect(self.addresses["smtp"]).await;
        let greeting = peer.reply().await;
        assert!(greeting.starts_with("220 mail.example.com"), "{greeting}");
        peer
    }

    /// The message that a 250 named, as the queue has it.
    pub(crate) async fn stored(&self, reply: &str) -> Vec<u8> {
        let id = queue_id(reply);
        let partition = self.shards.get(id.partition()).expect("the partition");
        let body = partition.load_body(&id).await.expect("the body");
        body.chunks().concat()
    }

    /// Kills the queue's server.
    pub(crate) fn kill_queue(&mut self) {
        self.redis.child.kill().expect("it runs");
        self.redis.child.wait().expect("it ends");
    }

    /// Ends the relay and waits for its sessions.
    pub(crate) async fn stop(&self) {
        self.shutdown.run(&self.tasks, Duration::from_secs(5)).await;
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.looker.abort();
    }
}

/// The queue ID in a reply.
pub(crate) fn queue_id(reply: &str) -> QueueId {
    let found = reply.split_whitespace().find_map(|word| word.parse().ok());
    found.unwrap_or_else(|| panic!("no queue ID in {reply:?}"))
}

fn shards(port: u16) -> Shards {
    let started = Instant::now();
    let shard = ShardOptions {
        name: PartitionName::parse("a").expect("a name"),
        target: Target {
            url: format!("redis://127.0.0.1:{port}/"),
            topology: Topology::Standalone,
            ca: None,
        },
        uuid: None,
        is_draining: false,
    };
    Shards::new(ShardsOptions {
        fleet: FleetName::parse("mail/test").expect("a name"),
        relay_uid: None,
        shards: vec![shard],
        durability: Durability::Synced,
        remembered: BTreeMap::new(),
        clock: Clock::new(move || Mono::from_start(started.elapsed())),
    })
    .expect("a URL")
}

//! A relay's outbound side in this process, over a redis-server of its own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use postrider_core::{
    config::{Config, ConfigParts, Fleet, HostAddress, Protocol, Route, Smarthost, SmarthostHost},
    tls_policy::TlsMode,
};
use postrider_mail::{
    BodyEncoding, Class, Domain, Due, Envelope, HostName, Outcome, PartitionName, QueueId, Recipient,
    ReversePath,
};
use postrider_queue::{
    Body, Durability, Flow, Lane, NewDelivery, NewMessage, Partition, Received, RouteName, Start,
    connection::{Target, Topology},
    inspect::SeenMessage,
    keys::FleetName,
    shards::{ShardOptions, Shards, ShardsOptions},
};
use postrider_relay::{
    clock,
    config::ConfigSource,
    dispatch::{
        Dispatcher,
        outbound::{self, Outbound, Parts},
    },
    dns::{Dns, DnsSettings},
    heartbeat::{self, Heartbeat},
    https::Https,
    metrics::Metrics,
    mta_sts::{Fetcher, Policies},
    shutdown::Shutdown,
    site::Sites,
    tls::connect::Connectors,
};
use postrider_smtp::timer::Waits;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::far_side::FarSide;

struct Redis {
    child: Child,
    dir: PathBuf,
    port: u16,
}

/// Below the ports that the system gives to clients: none of these takes it between this moment and the server's start.
fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(10_000..32_000))
        .take(1_000)
        .find(is_free)
        .expect("a free port")
}

impl Redis {
    fn start() -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("postrider-outbound-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let child = Self::spawn(port, &dir);
        Self { child, dir, port }
    }

    fn spawn(port: u16, dir: &std::path::Path) -> Child {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(dir)
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .args(["--maxmemory", "512mb", "--maxmemory-policy", "noeviction"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub struct Rig {
    pub partition: Partition,
    pub shards: Shards,
    pub dispatcher: Dispatcher,
    pub sites: Sites,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    pub config: watch::Sender<Arc<Config>>,
    pub heartbeat: Heartbeat,
    pub work: TaskTracker,
    background: Vec<tokio::task::JoinHandle<()>>,
    redis: Arc<std::sync::Mutex<Redis>>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.stop_taking.cancel();
        self.shutdown.stop_running.cancel();
        self.shutdown.stop_serving.cancel();
        self.background.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// All mail to these, the first first.
pub fn to(far_sides: &[&FarSide]) -> Route {
    to_addresses(&far_sides.iter().map(|one| one.address).collect::<Vec<_>>())
}

pub fn to_addresses(addresses: &[SocketAddr]) -> Route {
    let hosts = addresses
        .iter()
        .map(|address| SmarthostHost {
            host: HostAddress::Ip(address.ip()),
            port: address.port(),
            protocol: Protocol::Smtp,
        })
        .collect();
    Route::Smarthost(Smarthost { hosts, tls: None, credentials: None })
}

pub fn parts(route: Route) -> ConfigParts {
    let fleet = Fleet { namespace: "mail".into(), name: "test".into(), uid: None };
    let mut parts = ConfigParts::minimal(fleet, HostName::parse("mail.example.com").unwrap());
    parts.default_route = route;
    parts.allowed_destinations = vec!["127.0.0.0/8".parse().unwrap()];
    parts.defaults.retry_initial = Some(Duration::from_secs(1));
    parts.defaults.retry_max = Some(Duration::from_secs(1));
    parts.defaults.tls = Some(TlsMode::Opportunistic);
    parts
}

impl Rig {
    pub async fn start(route: Route) -> Self {
        Self::with(parts(route), Waits::shortened_for_tests(300)).await
    }

    pub async fn with(parts: ConfigParts, waits: Waits) -> Self {
        Self::over(Arc::new(std::sync::Mutex::new(Redis::start())), parts, waits).await
    }

    /// Another relay of the same fleet.
    pub async fn beside(&self, parts: ConfigParts) -> Self {
        Self::over(self.redis.clone(), parts, Waits::shortened_for_tests(300)).await
    }

    async fn over(redis: Arc<std::sync::Mutex<Redis>>, parts: ConfigParts, waits: Waits) -> Self {
        let shards = shards(redis.lock().unwrap().port);
        shards.look().await;
        let (config, source) = ConfigSource::new(Arc::new(Config::from(parts)));
        let metrics = Metrics::new().unwrap();
        let shutdown = Shutdown::default();
        let work = TaskTracker::new();
        let heartbeat = Heartbeat::start(shards.partitions(), &metrics).unwrap();
        let dns = Dns::new(DnsSettings::new(vec!["127.0.0.1:9".parse().unwrap()])).unwrap();
        let connectors = Connectors::new(&[]).unwrap();
        let fetcher = Fetcher::new(Https::new(dns.clone(), connectors.clone(), 443));
        let lookups = metrics.outbound.mta_sts_lookups.clone();
        let Outbound { dispatcher, sites, serving, opener } = outbound::build(Parts {
            config: source,
            policies: Policies::new(dns.clone(), fetcher, shards.clone(), lookups, Default::default()),
            dns,
            reports: Default::default(),
            mx_port: 25,
            own_addresses: Vec::new(),
            connectors,
            waits,
            clock: clock::boot_clock(),
            shards: shards.clone(),
            metrics: metrics.clone(),
            running: heartbeat.running(),
            work: work.clone(),
            shutdown: shutdown.clone(),
        });
        let partition = shards.partitions().remove(0);
        let opened = opener.open(&partition, shutdown.stop_taking.clone(), Default::default());
        work.spawn(opened.taking);
        let mut background: Vec<_> = serving.into_iter().chain([opened.serving]).map(tokio::spawn).collect();
        background.push(tokio::spawn(heartbeat::follow(
            partition.clone(),
            heartbeat.running(),
            opened.facts,
        )));
        background.push(tokio::spawn(heartbeat.pulse().run()));
        background.push(tokio::spawn({
            let shards = shards.clone();
            async move { shards.run().await }
        }));
        until("registered", || async {
            partition.lease().incarnation().is_some() && shards.choose().is_ok()
        })
        .await;
        let rig = Self {
            partition,
            shards,
            dispatcher,
            sites,
            metrics,
            shutdown,
            config,
            heartbeat,
            work,
            background,
            redis,
        };
        until("the gate", || async { rig.partition.lease().gate_closed_for().is_none() }).await;
        rig
    }

    /// Kills the queue's server.
    pub fn kill_queue(&self) {
        self.redis.lock().unwrap().kill();
    }

    /// Starts it again, with what its disk has.
    pub fn start_queue(&self) {
        let mut redis = self.redis.lock().unwrap();
        redis.child = Redis::spawn(redis.port, &redis.dir);
    }

    /// Stops the queue's server, or lets it go on: `STOP`, `CONT`.
    pub fn signal_queue(&self, signal: &str) {
        let pid = self.redis.lock().unwrap().child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }

    /// Takes a message in, as intake does: claimed at once where there is room.
    pub async fn send(&self, from: &str, to: &[&str], text: &str) -> QueueId {
        self.send_by(Class::Normal, Mail { from, to, text }).await
    }

    /// The same, of a class that a rule says.
    pub async fn send_by(&self, class: Class, mail: Mail<'_>) -> QueueId {
        let slot = self.dispatcher.reserve(&mail.lane(class));
        let start = if slot.is_some() { Start::Claimed } else { Start::After(Duration::ZERO) };
        let (id, claimed, body) = self.enqueue_by(class, mail, start).await;
        match (slot, claimed.into_iter().next()) {
            (Some(slot), Some(claimed)) => self.dispatcher.start(slot, claimed, Some(body)),
            _ => self.dispatcher.wake(self.partition.name()),
        }
        id
    }

    /// Takes a message in, to be claimed by the claim loop.
    pub async fn queue(&self, from: &str, to: &[&str], text: &str) -> QueueId {
        let (id, ..) = self.enqueue(from, to, text, Start::After(Duration::ZERO)).await;
        self.dispatcher.wake(self.partition.name());
        id
    }

    pub async fn enqueue(
        &self,
        from: &str,
        to: &[&str],
        text: &str,
        start: Start,
    ) -> (QueueId, Vec<postrider_queue::Claimed>, Body) {
        self.enqueue_by(Class::Normal, Mail { from, to, text }, start).await
    }

    pub async fn enqueue_by(
        &self,
        class: Class,
        mail: Mail<'_>,
        start: Start,
    ) -> (QueueId, Vec<postrider_queue::Claimed>, Body) {
        let Mail { to, text, .. } = mail;
        let id = self.partition.new_id();
        let mut writer = self.partition.body_writer(&id);
        writer.write(text.as_bytes()).await.unwrap();
        let envelope = Envelope {
            sender: mail.sender(),
            recipients: to.iter().map(|one| Recipient::new(one.parse().unwrap())).collect(),
            body: BodyEncoding::SevenBit,
            smtputf8: false,
            return_content: None,
            envelope_id: None,
            tls: postrider_mail::TlsRequirement::Unsaid,
        };
        let received = Received {
            listener: "smtp".into(),
            client: [127, 0, 0, 1].into(),
            helo: "app.example".into(),
            user: None,
            tls: false,
            at: now(),
            size: text.len() as u64,
            has_8bit_body: false,
            has_8bit_header: false,
        };
        let delivery = NewDelivery {
            lane: mail.lane(class),
            recipients: (0..u32::try_from(to.len()).unwrap()).collect(),
            expires_in: Duration::from_secs(3_600),
            start,
        };
        let message = NewMessage {
            envelope,
            received,
            dkim: Default::default(),
            body: writer.finish(),
            deliveries: vec![delivery],
        };
        let enqueued = self.partition.enqueue(message, Duration::from_secs(5)).await.unwrap();
        let body = Body::from_chunks(vec![text.to_owned().into()]);
        (id, enqueued.claimed, body)
    }

    pub async fn inspect(&self, id: &QueueId) -> Option<SeenMessage> {
        self.partition.inspect(id).await.unwrap()
    }

    /// Waits until nothing of a message is left in the queue.
    pub async fn ended(&self, id: &QueueId) {
        until("the message has ended", || async { self.inspect(id).await.is_none() }).await;
    }

    /// Waits for the first attempt's outcomes.
    pub async fn outcomes(&self, id: &QueueId) -> Vec<Outcome> {
        let found = std::sync::Mutex::new(Vec::new());
        until("an attempt was settled", || async {
            let events = self.partition.trace(id).await.unwrap();
            let first = events.into_iter().find(|event| !event.outcomes.is_empty());
            first.is_some_and(|event| {
                *found.lock().unwrap() = event.outcomes;
                true
            })
        })
        .await;
        found.into_inner().unwrap()
    }

    pub fn configure(&self, change: impl FnOnce(&mut ConfigParts), route: Route) {
        let mut parts = parts(route);
        change(&mut parts);
        self.config.send_replace(Arc::new(Config::from(parts)));
    }
}

/// What is sent, from whom to whom.
#[derive(Clone, Copy)]
pub struct Mail<'a> {
    pub from: &'a str,
    pub to: &'a [&'a str],
    pub text: &'a str,
}

impl Mail<'_> {
    fn sender(self) -> ReversePath {
        ReversePath::try_from(self.from.to_owned()).unwrap()
    }

    fn lane(self, class: Class) -> Lane {
        Lane { class, flow: Some(Flow::of(&self.sender())), ..lane(self.to[0]) }
    }
}

pub fn lane(recipient: &str) -> Lane {
    let domain = Domain::parse(recipient.rsplit('@').next().unwrap()).unwrap();
    Lane { class: Class::Normal, domain, route: RouteName::default_route(), flow: None }
}

fn now() -> Due {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Due::from_unix_millis(u64::try_from(since.as_millis()).unwrap())
}

/// Waits for a state, at most 20 s.
/// How long a state is waited for that has to come: for ever, to a person.
const WAITED_MAX: Duration = Duration::from_secs(120);

pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let deadline = Instant::now() + WAITED_MAX;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn shards(port: u16) -> Shards {
    let shard = ShardOptions {
        name: PartitionName::parse("a").unwrap(),
        target: Target {
            url: format!("redis://127.0.0.1:{port}/"),
            topology: Topology::Standalone,
            ca: None,
        },
        uuid: None,
        is_draining: false,
    };
    Shards::new(ShardsOptions {
        fleet: FleetName::parse("mail/test").unwrap(),
        relay_uid: None,
        shards: vec![shard],
        durability: Durability::Synced,
        remembered: BTreeMap::new(),
        clock: clock::boot_clock(),
    })
    .unwrap()
}

//! What tests build again and again: shards over servers, a message.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use postrider_mail::{Class, Domain, Due, Envelope, Mailbox, Mono, PartitionName, Recipient, ReversePath};
use postrider_queue::{
    Durability, Enqueued, Flow, Lane, NewDelivery, NewMessage, Partition, Received, RouteName, Start,
    connection::{Target, Topology},
    enqueue::EnqueueError,
    incarnation::{Clock, Incarnation},
    keys::FleetName,
    shards::{Remembered, ShardOptions, Shards, ShardsOptions, Standing},
};

use crate::server::Server;

pub(crate) fn name(text: &str) -> PartitionName {
    PartitionName::parse(text).expect("a name")
}

pub(crate) fn fleet() -> FleetName {
    FleetName::parse("mail/outbound").expect("a name")
}

pub(crate) fn clock() -> Clock {
    let start = Instant::now();
    Clock::new(move || Mono::from_start(start.elapsed()))
}

/// Shards named a, b, c, … over these servers, as a pod that starts now sees them.
pub(crate) fn options(servers: &[&Server]) -> ShardsOptions {
    let shards = servers.iter().zip('a'..).map(|(server, letter)| ShardOptions {
        name: name(&letter.to_string()),
        target: Target { url: server.url(), topology: Topology::Standalone, ca: None },
        uuid: None,
        is_draining: false,
    });
    ShardsOptions {
        fleet: fleet(),
        relay_uid: None,
        shards: shards.collect(),
        durability: Durability::Synced,
        remembered: BTreeMap::new(),
        clock: clock(),
    }
}

pub(crate) async fn open(servers: &[&Server]) -> Shards {
    let shards = Shards::new(options(servers)).expect("options");
    shards.look().await;
    shards
}

pub(crate) fn standing(shards: &Shards, of: &str) -> Standing {
    let status = shards.status().into_iter().find(|shard| shard.name == name(of));
    status.expect("a shard of that name").standing
}

/// Looks until a shard stands so: a connection that was refused is tried again only after a moment.
pub(crate) async fn look_until(shards: &Shards, of: &str, stands: impl Fn(&Standing) -> bool) -> Standing {
    for _ in 0..600 {
        shards.look().await;
        let standing = standing(shards, of);
        if stands(&standing) {
            return standing;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{}", told(shards, of));
}

pub(crate) fn told(shards: &Shards, of: &str) -> String {
    let status = shards.status().into_iter().find(|shard| shard.name == name(of));
    status.expect("a shard of that name").to_string()
}

pub(crate) fn remembered(shards: &Shards) -> BTreeMap<PartitionName, Remembered> {
    shards.watch_remembered().borrow().clone()
}

pub(crate) fn lane(domain: &str) -> Lane {
    Lane {
        class: Class::Normal,
        domain: Domain::parse(domain).expect("a domain"),
        route: RouteName::default_route(),
        flow: None,
    }
}

/// The lane of one of the flows to a domain.
pub(crate) fn lane_of_flow(domain: &str, number: usize) -> Lane {
    Lane { flow: Flow::all().nth(number), ..lane(domain) }
}

/// Takes a small message to one recipient in, due now.
pub(crate) async fn enqueue(partition: &Partition) -> Result<Enqueued, EnqueueError> {
    let id = partition.new_id();
    let mut body = partition.body_writer(&id);
    body.write(b"Subject: test\r\n\r\nhello\r\n").await.expect("room");
    let to: Mailbox = "user@far.example".parse().expect("a mailbox");
    let message = NewMessage {
        envelope: Envelope {
            sender: ReversePath::Mailbox("app@near.example".parse().expect("a mailbox")),
            recipients: vec![Recipient::new(to)],
            body: Default::default(),
            smtputf8: false,
            return_content: None,
            envelope_id: None,
            tls: postrider_mail::TlsRequirement::Unsaid,
        },
        received: received(),
        dkim: Default::default(),
        body: body.finish(),
        deliveries: vec![NewDelivery {
            lane: lane("far.example"),
            recipients: vec![0],
            expires_in: Duration::from_secs(3_600),
            start: Start::After(Duration::ZERO),
        }],
    };
    partition.enqueue(message, Duration::from_secs(5)).await
}

/// The same, where a store may just have changed: connections come back after a moment.
pub(crate) async fn enqueue_soon(partition: &Partition) {
    for _ in 0..600 {
        if enqueue(partition).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no receipt within 30 s");
}

/// What policies ask for at most, in these tests.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(720 * 3_600);

/// Registers a new life in the partition, as the heartbeat does.
pub(crate) async fn register(partition: &Partition) -> Incarnation {
    let (incarnation, lease) = (Incarnation::random(), partition.lease());
    let sent = lease.clock().now();
    partition.register(incarnation).await.expect("an answer");
    lease.registered(incarnation, sent);
    incarnation
}

pub(crate) fn received() -> Received {
    Received {
        listener: "smtp".into(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        helo: "client.example".into(),
        user: None,
        tls: false,
        at: Due::from_unix_millis(0),
        size: 24,
        has_8bit_body: false,
        has_8bit_header: false,
    }
}

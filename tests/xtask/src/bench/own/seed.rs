//! Fills a queue through the queue's own crate, as intake would, without a client for each message.
//! **Owns:** what such messages look like; claims taken for their time. **Never:** a key or a record that the crate didn't write.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use postrider_mail::{
    BodyEncoding, Class, Domain, Due, Envelope, Mailbox, Mono, PartitionName, Recipient, ReversePath,
};
use postrider_queue::{
    Body, Claim, ClaimRequest, ConfigTag, Durability, Flow, Lane, NewDelivery, NewMessage, Partition,
    PartitionOptions, Received, RouteName, Start,
    connection::{Target, Topology},
    incarnation::{Clock, Incarnation, LeaseHandle},
    keys::FleetName,
};
use postrider_tests::{eventually, redis::Redis};
use tokio::task::JoinSet;

use crate::bench::text;

/// Enqueues under way at once: they share syncs and round trips.
const AT_ONCE: usize = 128;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// As mail has it by default.
const EXPIRES_IN: Duration = Duration::from_secs(5 * 86_400);
/// How long Redis may take to write its file anew.
const REWRITTEN_WITHIN: Duration = Duration::from_secs(300);
/// Claims in one call, as a relay asks for.
pub(crate) const BATCH: u32 = 64;

/// The queue of the fleet of `manifests`.
#[derive(Clone)]
pub(crate) struct Queue {
    pub(crate) partition: Partition,
}

/// Messages to be put there, one delivery each.
#[derive(Debug, Clone)]
pub(crate) struct Seeds {
    pub(crate) messages: usize,
    /// Domains, a lane each, taken in turn.
    pub(crate) domains: Vec<String>,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// When they are due; the last of them after twice as long.
    pub(crate) due_in: Duration,
    /// The domain of their sender.
    pub(crate) sender: String,
    /// Their class.
    pub(crate) class: Class,
    /// Their rule.
    pub(crate) route: RouteName,
}

impl Seeds {
    /// Mail that no rule routes.
    pub(crate) fn of(messages: usize, domains: Vec<String>, size: usize, due_in: Duration) -> Self {
        let (sender, class) = ("sender.example".to_owned(), Class::Normal);
        Self { messages, domains, size, due_in, sender, class, route: RouteName::default_route() }
    }
}

impl Queue {
    pub(crate) fn of(redis: &Redis) -> Result<Self> {
        let began = Instant::now();
        let options = PartitionOptions {
            fleet: FleetName::parse("mail/outbound")?,
            name: PartitionName::parse("a").context("a is a name")?,
            target: Target { url: redis.url(), topology: Topology::Standalone, ca: None },
            durability: Durability::Synced,
            lease: LeaseHandle::new(Clock::new(move || Mono::from_start(began.elapsed()))),
            on_connect: None,
        };
        Ok(Self { partition: Partition::new(options)? })
    }

    /// Puts them into their lanes.
    pub(crate) async fn fill(&self, seeds: Seeds) -> Result<()> {
        let text = format!("From: <app@sender.example>\r\nSubject: seed\r\n\r\n{}", text::body(seeds.size));
        let body = Body::from_chunks(vec![text.into()]);
        let (next, seeds) = (Arc::new(AtomicUsize::new(0)), Arc::new(seeds));
        let mut workers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (partition, body, next, seeds) =
                (self.partition.clone(), body.clone(), next.clone(), seeds.clone());
            workers.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds.messages {
                        return anyhow::Ok(());
                    }
                    let message = message(&partition, &body, &seeds, number)?;
                    partition.enqueue(message, PATIENCE).await?;
                }
            });
        }
        while let Some(done) = workers.join_next().await {
            done??;
        }
        Ok(())
    }

    /// The same quickly: Redis syncs once a second meanwhile. Then it writes its file anew, as it would have done on the way, and
    /// syncs always again.
    pub(crate) async fn fill_quickly(&self, redis: &Redis, seeds: Seeds) -> Result<()> {
        redis.set("appendfsync", "everysec").await?;
        redis.set("auto-aof-rewrite-percentage", "0").await?;
        self.fill(seeds).await?;
        redis.command(&["BGREWRITEAOF"]).await?;
        eventually("Redis to have written its file anew", REWRITTEN_WITHIN, async || {
            let status = redis.command(&["INFO", "persistence"]).await.ok()?;
            let is_done =
                status.contains("aof_rewrite_in_progress:0") && status.contains("aof_rewrite_scheduled:0");
            is_done.then_some(())
        })
        .await?;
        redis.set("auto-aof-rewrite-percentage", "100").await?;
        redis.set("appendfsync", "always").await
    }

    /// Claims so many of what is due, call by call. Each call's time, with the sync that is in it.
    pub(crate) async fn claim_due(&self, wanted: usize) -> Result<(Vec<Duration>, Vec<Claim>)> {
        let life = Incarnation::random();
        self.partition.register(life).await?;
        self.partition.lease().registered(life, self.partition.lease().clock().now());
        let request = ClaimRequest {
            max: BATCH,
            per_destination: 32,
            least: Class::Bulk,
            may_take_alone: true,
            rooms: Vec::new(),
            longest_wait: EXPIRES_IN,
            config: ConfigTag::new("bench"),
        };
        let (mut times, mut claims) = (Vec::new(), Vec::new());
        while claims.len() < wanted {
            let began = Instant::now();
            let batch = self.partition.claim(&request).await?;
            times.push(began.elapsed());
            ensure!(!batch.claimed.is_empty(), "found {} due of {wanted}", claims.len());
            claims.extend(batch.claimed.into_iter().map(|claimed| claimed.claim));
        }
        Ok((times, claims))
    }

    /// Gives them back, for so long.
    pub(crate) async fn give_back(&self, claims: &[Claim], wait: Duration) -> Result<()> {
        let claims: Vec<_> = claims.iter().collect();
        self.partition.release(&claims, wait).await.map(drop).map_err(Into::into)
    }
}

fn message(partition: &Partition, body: &Body, seeds: &Seeds, number: usize) -> Result<NewMessage> {
    let domain = &seeds.domains[number % seeds.domains.len()];
    let domain_of = |text: &str| Domain::parse(text).with_context(|| format!("{text} is a domain"));
    let id = partition.new_id();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let recipient =
        Recipient { mailbox: Mailbox::new("somebody", domain_of(domain)?)?, notify: None, original: None };
    let sender = ReversePath::Mailbox(Mailbox::new("app", domain_of(&seeds.sender)?)?);
    let lane = Lane {
        class: seeds.class,
        domain: domain_of(domain)?,
        route: seeds.route.clone(),
        flow: Some(Flow::of(&sender)),
    };
    let later = seeds.due_in.mul_f64(number as f64 / seeds.messages.max(1) as f64);
    Ok(NewMessage {
        envelope: Envelope {
            sender,
            recipients: vec![recipient],
            body: BodyEncoding::default(),
            smtputf8: false,
            return_content: None,
            envelope_id: None,
            tls: postrider_mail::TlsRequirement::Unsaid,
        },
        received: Received {
            listener: "smtp".into(),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "source.example".into(),
            user: None,
            tls: false,
            at: Due::from_unix_millis(u64::try_from(since.as_millis())?),
            size: body.len(),
            has_8bit_body: false,
            has_8bit_header: false,
        },
        dkim: Default::default(),
        body: partition.ready_body(&id, body),
        deliveries: vec![NewDelivery {
            lane,
            recipients: vec![0],
            expires_in: EXPIRES_IN,
            start: Start::After(seeds.due_in + later),
        }],
    })
}

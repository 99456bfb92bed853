//! A pod on a partition, and short words for what tests do with it.

use std::time::Duration;

use postrider_mail::{
    Class, EnhancedCode, Envelope, FarReply, FarText, HostName, Outcome, OutcomeKind, QueueId, Recipient,
    ReplyCode, ReversePath, Stage,
};
use postrider_queue::{
    ClaimRequest, Claimed, ConfigTag, Durability, EnqueueError, Enqueued, Kind, NewDelivery, NewMessage,
    NewNotice, Partition, PartitionOptions, Rest, Settled, Settlement, Start,
    claim::ClaimError,
    connection::{Target, Topology},
    incarnation::{Incarnation, LeaseHandle},
};

use crate::{server::Server, world};

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const NOW: Duration = Duration::ZERO;

pub(crate) struct Pod {
    pub(crate) partition: Partition,
}

/// Makes the server's partition `a` a queue that takes mail.
pub(crate) async fn found(server: &Server) {
    let pod = Pod::unregistered(&server.url());
    let meta = pod.partition.keys().named("meta");
    let _: u64 =
        server.command(&["HSET", &meta, "uuid", "u", "state", "Open", "format", "1", "accepted", "0"]).await;
}

impl Pod {
    pub(crate) fn unregistered(url: &str) -> Self {
        Self::with(
            Target { url: url.to_owned(), topology: Topology::Standalone, ca: None },
            Durability::Synced,
        )
    }

    pub(crate) fn replicated(server: &Server, replicas: u32) -> Self {
        Self::with(
            Target { url: server.url(), topology: Topology::Standalone, ca: None },
            Durability::Replicated(replicas),
        )
    }

    pub(crate) fn with(target: Target, durability: Durability) -> Self {
        let options = PartitionOptions {
            fleet: world::fleet(),
            name: world::name("a"),
            target,
            durability,
            lease: LeaseHandle::new(world::clock()),
            on_connect: None,
        };
        Self { partition: Partition::new(options).expect("options") }
    }

    pub(crate) async fn on(server: &Server) -> Self {
        Self::at(&server.url()).await
    }

    pub(crate) async fn at(url: &str) -> Self {
        let pod = Self::unregistered(url);
        pod.register().await;
        pod
    }

    pub(crate) async fn register(&self) -> Incarnation {
        let life = Incarnation::random();
        self.partition.register(life).await.expect("an answer");
        self.partition.lease().registered(life, self.partition.lease().clock().now());
        life
    }

    pub(crate) fn life(&self) -> Incarnation {
        self.partition.lease().incarnation().expect("it is registered")
    }

    pub(crate) async fn try_enqueue(&self, message: NewMessage) -> Result<Enqueued, EnqueueError> {
        self.partition.enqueue(message, Duration::from_secs(20)).await
    }

    /// Enqueues and claims a message to these recipients of far.example.
    pub(crate) async fn enqueue(&self, to: &[&str]) -> Enqueued {
        let message = self.message(to, Start::Claimed);
        self.try_enqueue(message).await.expect("room")
    }

    pub(crate) async fn enqueue_due(&self, to: &[&str]) -> QueueId {
        let message = self.message(to, Start::After(NOW));
        self.try_enqueue(message).await.expect("room").receipt.id().clone()
    }

    /// A message of one delivery.
    pub(crate) fn message(&self, to: &[&str], start: Start) -> NewMessage {
        let body = postrider_queue::Body::from_chunks(vec!["Subject: x\r\n\r\nhello\r\n".into()]);
        let delivery = NewDelivery {
            lane: world::lane("far.example"),
            recipients: (0..).take(to.len()).collect(),
            expires_in: HOUR,
            start,
        };
        NewMessage {
            envelope: envelope("app@near.example", to),
            received: world::received(),
            dkim: Default::default(),
            body: self.partition.ready_body(&self.partition.new_id(), &body),
            deliveries: vec![delivery],
        }
    }

    pub(crate) async fn claim(&self) -> Vec<Claimed> {
        self.try_claim(64).await.expect("an answer").claimed
    }

    pub(crate) async fn try_claim(&self, max: u32) -> Result<postrider_queue::ClaimedBatch, ClaimError> {
        self.partition
            .claim(&ClaimRequest {
                max,
                per_destination: max,
                least: Class::Bulk,
                may_take_alone: true,
                rooms: Vec::new(),
                longest_wait: crate::world::LONGEST_WAIT,
                config: config(),
            })
            .await
    }

    pub(crate) async fn claim_one(&self) -> Claimed {
        let mut all = self.claim().await;
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    pub(crate) async fn settle(&self, settlement: Settlement) -> Settled {
        self.partition.settle(vec![settlement]).await.expect("an answer")[0]
    }

    pub(crate) async fn is_gone(&self, id: &QueueId) -> bool {
        self.partition.inspect(id).await.expect("an answer").is_none()
            && self.partition.load_body(id).await.is_err()
    }
}

pub(crate) fn config() -> ConfigTag {
    ConfigTag::new("0123456789abcdef")
}

pub(crate) fn envelope(sender: &str, to: &[&str]) -> Envelope {
    let recipient = |local: &&str| Recipient::new(format!("{local}@far.example").parse().expect("a mailbox"));
    Envelope {
        sender: ReversePath::try_from(sender.to_owned()).expect("a path"),
        recipients: to.iter().map(recipient).collect(),
        body: Default::default(),
        smtputf8: false,
        return_content: None,
        envelope_id: None,
        tls: postrider_mail::TlsRequirement::Unsaid,
    }
}

/// What each addressee got, in their order.
pub(crate) fn settlement(claimed: Claimed, kinds: &[OutcomeKind]) -> Settlement {
    let outcomes =
        claimed.delivery.recipients.iter().zip(kinds).map(|(to, kind)| outcome(to.number, *kind)).collect();
    Settlement { claimed, outcomes, discarded: Vec::new(), rest: Rest::Defer(NOW), notices: Vec::new() }
}

pub(crate) fn bounce(about: &[u32]) -> NewNotice {
    NewNotice {
        kind: Kind::Bounce,
        lane: world::lane("near.example"),
        about: about.to_vec(),
        expires_in: HOUR,
    }
}

pub(crate) fn outcome(recipient: u32, kind: OutcomeKind) -> Outcome {
    let (code, status) = match kind {
        OutcomeKind::Delivered => (250, EnhancedCode::success(0, 0)),
        OutcomeKind::Deferred => (451, EnhancedCode::transient(2, 0)),
        OutcomeKind::Bounced => (550, EnhancedCode::permanent(1, 1)),
    };
    Outcome {
        recipient,
        kind,
        stage: Stage::Rcpt,
        status,
        reply: Some(FarReply {
            code: ReplyCode::new(code),
            enhanced: Some(status),
            text: FarText::new("so it is"),
        }),
        explanation: FarText::default(),
        host: Some(HostName::parse("mx.far.example").expect("a name")),
    }
}

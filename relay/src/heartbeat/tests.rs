//! Heartbeats of several processes over a real store that stalls, and processes that hang.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use postrider_mail::{BodyEncoding, Class, Domain, Due, Envelope, Recipient, ReversePath};
use postrider_queue::{
    Claimed, Lane, NewDelivery, NewMessage, Partition, Received, RouteName, Start, incarnation::Incarnation,
    reap::PodState, shards::Shards,
};

use super::*;
use crate::testkit::{Redis, until};

/// A process, as far as its heartbeat goes.
struct Pod {
    shards: Shards,
    heartbeat: Heartbeat,
    metrics: Metrics,
}

impl Pod {
    async fn start(redis: &Redis) -> Self {
        let shards = redis.shards().await;
        let metrics = Metrics::new().expect("names are unique");
        let heartbeat = Heartbeat::start(shards.partitions(), &metrics).expect("a thread");
        let pod = Self { shards, heartbeat, metrics };
        until("it is registered", Duration::from_secs(5), async || pod.life().is_some()).await;
        pod
    }

    fn partition(&self) -> Partition {
        self.shards.partitions().remove(0)
    }

    fn life(&self) -> Option<Incarnation> {
        self.partition().lease().incarnation()
    }

    async fn state_of(&self, life: Incarnation) -> Option<PodState> {
        let pods = self.partition().pods().await.ok()?;
        pods.into_iter().find(|(id, _)| *id == life).map(|(_, state)| state)
    }

    /// Takes in a message that this pod has claimed.
    async fn claim_one(&self) -> Claimed {
        let partition = self.partition();
        let id = partition.new_id();
        let mut body = partition.body_writer(&id);
        body.write(b"Subject: test\r\n\r\n").await.expect("room");
        let lane = Lane {
            class: Class::Normal,
            domain: Domain::parse("far.example").expect("a domain"),
            route: RouteName::default_route(),
            flow: None,
        };
        let message = NewMessage {
            envelope: Envelope {
                sender: ReversePath::Null,
                recipients: vec![Recipient::new("user@far.example".parse().expect("a mailbox"))],
                body: BodyEncoding::SevenBit,
                smtputf8: false,
                return_content: None,
                envelope_id: None,
                tls: postrider_mail::TlsRequirement::Unsaid,
            },
            received: Received {
                listener: "smtp".into(),
                client: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
                helo: "client.example".into(),
                user: None,
                tls: false,
                at: Due::from_unix_millis(0),
                size: 17,
                has_8bit_body: false,
                has_8bit_header: false,
            },
            dkim: Default::default(),
            body: body.finish(),
            deliveries: vec![NewDelivery {
                lane,
                recipients: vec![0],
                expires_in: Duration::from_secs(3_600),
                start: Start::Claimed,
            }],
        };
        let mut enqueued = partition.enqueue(message, Duration::from_secs(5)).await.expect("a receipt");
        enqueued.claimed.pop().expect("it is claimed")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_leaves_is_gone_at_once_with_its_claims_handed_back() {
    let redis = Redis::start();
    let pods = [Pod::start(&redis).await, Pod::start(&redis).await];
    let [first, second] = pods;
    let life = first.life().expect("registered");
    let claimed = first.claim_one().await;
    assert!(first.partition().lease().permit(&claimed.claim).is_ok());
    assert!(second.partition().lease().permit(&claimed.claim).expect_err("it is another's").is_final());
    let lease = first.partition().lease().clone();
    first.heartbeat.stop().await;
    assert_eq!(second.state_of(life).await, Some(PodState::Ended));
    assert!(lease.permit(&claimed.claim).expect_err("it left").is_final());
    let figures = second.partition().figures().await.expect("an answer");
    assert_eq!((figures.claimed, figures.deliveries()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_joins_and_leaves_while_the_heartbeat_goes_on() {
    let (first, second) = (Redis::start(), Redis::start());
    let pod = Pod::start(&first).await;
    let life = pod.life();
    let ticks = tokio::spawn(pod.heartbeat.pulse().run());
    let other = Pod { shards: second.shards().await, heartbeat: pod.heartbeat, metrics: pod.metrics };
    let attendance = other.heartbeat.joins().attend(other.partition()).await;
    until("it is registered", Duration::from_secs(5), async || other.life().is_some()).await;
    let claimed = other.claim_one().await;
    let joined = other.life().expect("registered");
    assert!(attendance.leave().await);
    assert_eq!(other.state_of(joined).await, Some(PodState::Ended));
    assert!(other.partition().lease().permit(&claimed.claim).expect_err("it left").is_final());
    let figures = other.partition().figures().await.expect("an answer");
    assert_eq!((figures.claimed, figures.deliveries()), (0, 1));
    let lease = pod.shards.partitions().remove(0).lease().clone();
    until("it beats on", Duration::from_secs(5), async || lease.margin() > Duration::from_secs(2)).await;
    assert_eq!(lease.incarnation(), life);
    ticks.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_no_longer_works_is_reaped_within_six_seconds_and_starts_anew() {
    let redis = Redis::start();
    let (stuck, survivor) = (Pod::start(&redis).await, Pod::start(&redis).await);
    let survives = tokio::spawn(survivor.heartbeat.pulse().run());
    let ticks = tokio::spawn(stuck.heartbeat.pulse().run());
    let follow = tokio::spawn(follow(stuck.partition(), stuck.heartbeat.running(), Arc::new(Vec::new)));
    let (life, claimed) = (stuck.life().expect("registered"), stuck.claim_one().await);
    let running = stuck.heartbeat.running().started(&claimed.claim);
    // Its delivery runtime hangs: beats end 2 s later, the lease 2.5 s after the last of them.
    ticks.abort();
    let hung = Instant::now();
    until("the lease ends", Duration::from_secs(6), async || {
        stuck.partition().lease().permit(&claimed.claim).is_err()
    })
    .await;
    assert_eq!(
        survivor.partition().figures().await.expect("an answer").claimed,
        1,
        "the lease ends before the reap"
    );
    until("it is reaped", Duration::from_secs(12), async || {
        survivor.state_of(life).await == Some(PodState::Ended)
    })
    .await;
    // 2 s until the beats end, then at most 6.
    assert!(hung.elapsed() < Duration::from_secs(8), "{:?}", hung.elapsed());
    assert_eq!(survivor.metrics.reaps.get(), 1);
    assert_eq!(survivor.partition().figures().await.expect("an answer").claimed, 0);
    assert!(!running.lost().is_cancelled(), "it doesn't know yet");
    // It wakes: the first beat tells it, and it goes on as another.
    let again = tokio::spawn(stuck.heartbeat.pulse().run());
    until("a new life", Duration::from_secs(4), async || stuck.life().is_some_and(|now| now != life)).await;
    assert!(stuck.partition().lease().permit(&claimed.claim).expect_err("that life is over").is_final());
    until("the attempt is told", Duration::from_secs(1), async || running.lost().is_cancelled()).await;
    for task in [survives, again, follow] {
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_reaped_because_the_store_stood_still() {
    let redis = Redis::start();
    let pods = [Pod::start(&redis).await, Pod::start(&redis).await];
    let ticks = pods.each_ref().map(|pod| tokio::spawn(pod.heartbeat.pulse().run()));
    let lives = pods.each_ref().map(|pod| pod.life().expect("registered"));
    let claimed = pods[0].claim_one().await;
    redis.signal("-STOP");
    tokio::time::sleep(Duration::from_millis(700)).await;
    let lease = pods[0].partition().lease().clone();
    // Within half a second of silence the dots stop, well before the lease is over.
    let refused = tokio::time::timeout(Duration::from_secs(2), async {
        loop {
            if let Err(why) = lease.permit(&claimed.claim) {
                break why;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(!refused.await.expect("the dots stop").is_final(), "it may be over soon");
    tokio::time::sleep(Duration::from_secs(7)).await;
    redis.signal("-CONT");
    until("the dots go on", Duration::from_secs(6), async || lease.permit(&claimed.claim).is_ok()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    for (pod, life) in pods.iter().zip(lives) {
        assert_eq!(pod.life(), Some(life), "everybody came back as who they were");
        assert_eq!(pod.metrics.reaps.get(), 0);
    }
    for task in ticks {
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_no_attempt_knows_goes_back_the_second_time() {
    let redis = Redis::start();
    let pod = Pod::start(&redis).await;
    let (partition, running) = (pod.partition(), pod.heartbeat.running());
    let known = pod.claim_one().await;
    let _entry = running.started(&known.claim);
    // Its reply was lost: nobody has it.
    drop(pod.claim_one().await);
    let claimed = async || partition.figures().await.expect("an answer").claimed;
    let unknown = claims::compare(&partition, &running, &HashSet::new()).await.expect("an answer");
    assert_eq!((unknown.len(), claimed().await), (1, 2), "unknown once: its reply may be on the way");
    let unknown = claims::compare(&partition, &running, &unknown).await.expect("an answer");
    assert_eq!((unknown.len(), claimed().await), (1, 1));
    assert_eq!(claims::compare(&partition, &running, &unknown).await.expect("an answer").len(), 0);
}

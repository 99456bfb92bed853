//! What is told, and what asking for it costs the queue.

use futures::future::join_all;
use postrider_queue::connection::Purpose;
use postrider_smtp::timer::Waits;
use serde_json::Value;

use super::{admin::Facts as _, *};
use crate::{
    clock,
    heartbeat::Heartbeat,
    site::SiteParts,
    testkit::{Redis, until},
    tls::connect::Connectors,
};

async fn facts(redis: &Redis) -> Facts {
    let metrics = Metrics::new().expect("names are unique");
    let shutdown = Shutdown::default();
    let sites = Sites::new(SiteParts {
        connectors: Connectors::new(&[]).expect("roots"),
        clock: clock::boot_clock(),
        stopping: shutdown.stop_running.clone(),
        waits: Waits::default(),
        metrics: metrics.clone(),
        shards: redis.shards().await,
    });
    let pulse = Heartbeat::start(Vec::new(), &metrics).expect("a thread").pulse();
    Facts { shards: redis.shards().await, sites, pulse, metrics, shutdown, ages: Mutex::default() }
}

/// Round trips that reads cost.
fn asked(facts: &Facts) -> u64 {
    let partitions = facts.shards.partitions();
    let all = partitions.iter().flat_map(|partition| partition.connections().round_trips());
    all.filter(|(purpose, _)| *purpose == Purpose::Admin).map(|(_, count)| count).sum()
}

/// The first shard of the page.
async fn page(facts: &Facts) -> Value {
    serde_json::to_value(facts.queue().await).expect("JSON")["shards"][0].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_ask_the_queue_is_asked_once() {
    let redis = Redis::start();
    let facts = facts(&redis).await;
    let before = asked(&facts);
    facts.queue().await;
    let once = asked(&facts) - before;
    assert!(once > 0);
    // As if a second had passed.
    *facts.ages.lock().await = None;
    let before = asked(&facts);
    let (_, _) =
        tokio::join!(join_all((0..100).map(|_| facts.queue())), join_all((0..100).map(|_| facts.refresh())),);
    assert_eq!(asked(&facts) - before, once);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unknown_is_absent_and_not_nothing() {
    let redis = Redis::start();
    let facts = facts(&redis).await;
    let known = page(&facts).await;
    assert_eq!(known["uuid"].as_str().map(str::len), Some(36), "{known}");
    for (field, value) in [
        ("name", Value::from("a")),
        ("standing", "InUse".into()),
        ("state", "Open".into()),
        ("problems", Value::Array(Vec::new())),
        ("clock_agrees", true.into()),
        ("deliveries", 0.into()),
        ("held", 0.into()),
        ("oldest_seconds", 0.into()),
    ] {
        assert_eq!(known[field], value, "{field} in {known}");
    }
    assert!(known.get("lost_deliveries").is_none(), "{known}");
    redis.signal("-KILL");
    until("the loss is seen", Duration::from_secs(20), async || {
        facts.shards.look().await;
        !facts.shards.is_ready()
    })
    .await;
    let unknown = page(&facts).await;
    assert_eq!(unknown["standing"], "Unreachable", "{unknown}");
    assert_eq!(unknown.as_object().map(|fields| fields.len()), Some(3), "{unknown}");
    let problem = unknown["problems"][0].as_str().unwrap_or_default();
    assert!(problem.starts_with("shard a: found no answer"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_until_it_refuses() {
    let redis = Redis::start();
    let facts = facts(&redis).await;
    assert!(facts.is_ready() && facts.problems().is_empty());
    facts.shutdown.stop_taking.cancel();
    assert!(!facts.is_ready());
    assert_eq!(facts.problems(), ["the relay stops; nothing is to be done"]);
}

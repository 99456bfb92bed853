//! A queue that can't keep the promise makes a relay that isn't ready and says why.
//! **Owns:** settings of Redis that lose mail. **Never:** a queue that is merely away (ledger tests).

use std::time::Duration;

use postrider_tests::{World, eventually, redis::Redis, relay::Relay};

/// Starts a relay on a Redis with these settings; what `/readyz` says once it says something of the queue.
async fn not_ready(settings: &[(&str, &str)], needle: &str) {
    let mut world = World::new().await.unwrap();
    world.redis = vec![Redis::start_with(&world.folder().join("redis-bad"), settings).await.unwrap()];
    let mut relay = Relay::launch(world.setup()).await.unwrap();
    let said = eventually("/readyz names the setting", Duration::from_secs(15), async || {
        let (status, text) = relay.readyz().await.ok()?;
        (status == 503 && text.contains(needle)).then_some(text)
    })
    .await;
    let said = match said {
        Ok(said) => said,
        Err(err) => panic!("{err}: {:?}\n{}", relay.readyz().await, relay.log()),
    };
    for word in ["found", "expected"] {
        assert!(said.contains(word), "{said}");
    }
    relay.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everysec_is_not_durable() {
    not_ready(&[("appendfsync", "everysec")], "appendfsync").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_append_only_file_nothing_is_durable() {
    not_ready(&[("appendonly", "no")], "appendonly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eviction_would_lose_mail() {
    not_ready(&[("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-lru")], "maxmemory-policy").await;
}

//! What a person does to the queue over the socket.
//! **Owns:** `ctl` end to end. **Never:** its JSON in detail.

use std::time::Duration;

use postrider_tests::{
    World,
    manifests::rule,
    sink::{At, Rule},
};

use crate::{LATER, SOON};

async fn stuck() -> (World, String) {
    let mut world = World::new().await.unwrap();
    let relay = postrider_tests::manifests::MailRelay {
        defaults: "{retry: {initial: 60s, max: 60s, maxAge: 10m}}".to_owned(),
        ..Default::default()
    };
    world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    let far = world.domain("far.example").await.unwrap();
    world.domain("sender.example").await.unwrap();
    world.sinks[far].behave([Rule::reply(At::Rcpt, "451 4.2.0 later").times(1)]);
    world.relay().await.unwrap();
    let id = world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    postrider_tests::wait::until("the first attempt", SOON, || world.sinks[far].followed(At::Rcpt) == 1)
        .await
        .unwrap();
    postrider_tests::eventually("its end", SOON, async || {
        world.relays[0].ctl(&["inspect", &id]).await.ok().filter(|text| text.contains("451"))
    })
    .await
    .unwrap();
    (world, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_sends_it_now() {
    let (world, id) = stuck().await;
    world.relays[0].ctl(&["retry", &id]).await.unwrap();
    world.arrival("b@far.example", SOON).await.unwrap();
    let trace = world.relays[0].ctl(&["trace", &id]).await.unwrap();
    assert!(trace.contains("Delivered"), "{trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_keeps_it_and_release_lets_it_go() {
    let (world, id) = stuck().await;
    world.relays[0].ctl(&["hold", &id]).await.unwrap();
    world.relays[0].ctl(&["retry", &id]).await.ok();
    let listed = world.relays[0].ctl(&["list", "--held"]).await.unwrap();
    assert!(listed.contains(&id), "{listed}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.ledger.is_empty());
    world.relays[0].ctl(&["release", &id]).await.unwrap();
    world.arrival("b@far.example", LATER).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bounce_tells_the_sender_and_delete_does_not() {
    let (world, id) = stuck().await;
    world.relays[0].ctl(&["bounce", &id]).await.unwrap();
    let bounce = world.arrival("a@sender.example", SOON).await.unwrap();
    assert!(bounce.text().contains("b@far.example"), "{}", bounce.text());
    let (world, id) = stuck().await;
    world.relays[0].ctl(&["delete", &id]).await.unwrap();
    postrider_tests::eventually("it is gone", SOON, async || {
        world.relays[0].ctl(&["list"]).await.ok().filter(|text| !text.contains(&id))
    })
    .await
    .unwrap();
    assert!(world.ledger.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_suspended_and_resumed() {
    let (world, _) = stuck().await;
    let lane = "Normal/far.example/default";
    world.relays[0].ctl(&["suspend", lane]).await.unwrap();
    world.send(0, "a@sender.example", &["c@far.example"], "2").await.unwrap();
    world
        .manifests
        .write(
            "rule.yaml",
            &rule(
                "other",
                "priority: 9\nmatches: [{recipientDomains: [other.example]}]\nroute: {type: Hold}",
            ),
        )
        .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.ledger.is_empty(), "{:?}", world.ledger.entries());
    world.relays[0].ctl(&["resume", lane]).await.unwrap();
    world.arrival("c@far.example", SOON).await.unwrap();
    let queue = world.relays[0].ctl(&["queue"]).await.unwrap();
    assert!(!queue.is_empty());
}

//! A queue without room: new mail is refused for now, what is in it leaves, and then there is room again.
//! **Owns:** Redis at its `maxmemory`. **Never:** a Redis that is away.

use std::time::Duration;

use postrider_tests::{
    World,
    client::{Client, Reply},
    eventually,
    redis::{DURABLE, Redis},
    sink::{At, Rule},
    source, wait,
};

const LATER: Duration = Duration::from_secs(120);
/// Twice what the queue has room for.
const MOST: usize = 1_000;
const BYTES: usize = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_452_and_drains() {
    let mut world = World::new().await.unwrap();
    let settings = [DURABLE, &[("maxmemory", "50mb"), ("maxmemory-policy", "noeviction")]].concat();
    world.redis = vec![Redis::start_with(&world.folder().join("redis-small"), &settings).await.unwrap()];
    let far = world.domain("far.example").await.unwrap();
    world.sinks[far].behave([Rule::reply(At::Banner, "421 4.3.2 not now")]);
    world.relay().await.unwrap();

    let mut accepted = 0;
    let refused = loop {
        assert!(accepted < MOST, "never full");
        let reply = send(&world, accepted).await;
        if reply.code != 250 {
            break reply;
        }
        accepted += 1;
    };
    assert_eq!(refused.code, 452, "{}", refused.text);
    assert!(refused.text.starts_with("452 4.3.1"), "{}", refused.text);
    eventually("/readyz tells", LATER, async || {
        let (status, page) = world.relays[0].readyz().await.ok()?;
        (status == 200 && page.contains("found memory")).then_some(())
    })
    .await
    .unwrap();

    world.sinks[far].behave_well();
    wait::until("all that got a 250", LATER, || world.ledger.distinct() == accepted).await.unwrap();
    eventually("it takes mail again", LATER, async || {
        (send(&world, accepted).await.code == 250).then_some(())
    })
    .await
    .unwrap();
    println!("queue full: {accepted} accepted, then {:?}; all delivered, then accepted again", refused.text);
}

/// The last reply to one message: refused, it may be at any step.
async fn send(world: &World, number: usize) -> Reply {
    let mut text = source::message(&format!("full-{number}"), "a@sender.example", "b@far.example", 0);
    // Nothing that could be compressed.
    while text.len() < BYTES {
        text.push_str(&format!("{:032x}\r\n", rand::random::<u128>()));
    }
    let mut client = Client::greeted(world.relays[0].smtp()).await.unwrap();
    let steps =
        ["MAIL FROM:<a@sender.example>\r\n", "RCPT TO:<b@far.example>\r\n", "DATA\r\n", &(text + ".\r\n")];
    let mut last = None;
    for step in steps {
        client.send(step.as_bytes()).await.unwrap();
        let reply = client.reply().await.unwrap();
        let is_refused = reply.code >= 400;
        last = Some(reply);
        if is_refused {
            break;
        }
    }
    last.expect("there are steps")
}

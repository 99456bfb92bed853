//! Far sides that break the protocol: a clear outcome, other mail unharmed, nothing lost.
//! **Owns:** the scripted bad peers. **Never:** waits for a timeout of minutes: hanging ones are seen not to harm others.

use std::time::Duration;

use postrider_tests::{
    World,
    sink::{Act, At, Rule, Setup},
};

use crate::{LATER, SOON};

/// A far side that breaks so, then behaves: the mail arrives once it does.
async fn recovers(rules: Vec<Rule>) -> World {
    let mut world = World::new().await.unwrap();
    let bad = world.domain("bad.example").await.unwrap();
    world.domain("good.example").await.unwrap();
    world.domain("sender.example").await.unwrap();
    world.sinks[bad].behave(rules);
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@bad.example"], "1").await.unwrap();
    world.send(0, "a@sender.example", &["c@good.example"], "2").await.unwrap();
    world.arrival("c@good.example", SOON).await.unwrap();
    world.arrival("b@bad.example", LATER).await.unwrap();
    assert!(world.ledger.to("a@sender.example").is_empty(), "no bounce");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_garbage() {
    recovers(vec![
        Rule::new(At::Banner, Act::Raw(b"\x00\xff\xfe garbage without a code\r\n".to_vec())).times(1),
        Rule::new(At::Ehlo, Act::Raw(b"99999 what\r\n".to_vec())).times(1),
        Rule::new(At::Rcpt, Act::Raw(b"\r\n\r\n\r\n".to_vec())).times(1),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_closes_at_every_stage() {
    let stages = [At::Banner, At::Ehlo, At::Mail, At::Rcpt, At::Data];
    recovers(stages.map(|at| Rule::new(at, Act::Close).times(1)).to_vec()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_closes_after_the_dot() {
    recovers(vec![Rule::new(At::Dot, Act::Close).times(2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_says_421_anywhere() {
    let stages = [At::Banner, At::Ehlo, At::Mail, At::Rcpt, At::Data, At::Dot];
    let goodbye = || Act::ReplyAndClose("421 4.3.2 going down".to_owned());
    recovers(stages.map(|at| Rule::new(at, goodbye()).times(1)).to_vec()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_replies_a_megabyte() {
    let line = format!("250-{}\r\n", "x".repeat(480));
    let endless = line.repeat((1 << 20) / line.len());
    let long = format!("250 {}\r\n", "y".repeat(1 << 20));
    let world = recovers(vec![
        Rule::new(At::Ehlo, Act::Raw(endless.into_bytes())).times(1),
        Rule::new(At::Mail, Act::Raw(long.into_bytes())).times(1),
    ])
    .await;
    assert!(world.relays[0].process().usage().unwrap().rss_kib < 200 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_greets_with_554_or_502_for_ehlo() {
    recovers(vec![Rule::reply(At::Ehlo, "502 5.5.1 what is EHLO?").times(1)]).await;
    let mut world = World::new().await.unwrap();
    let bad = world.domain("bad.example").await.unwrap();
    world.domain("sender.example").await.unwrap();
    world.sinks[bad].behave([Rule::reply(At::Banner, "554 5.7.1 not from you")]);
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@bad.example"], "1").await.unwrap();
    // RFC 5321 3.1 lets it refuse so; whether that ends the mail or holds it up, it isn't lost.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let listed = world.relays[0].ctl(&["list"]).await.unwrap();
    let bounced = !world.ledger.to("a@sender.example").is_empty();
    assert!(bounced || listed.contains("bad.example"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_says_354_after_all_rcpt_failed() {
    let mut world = World::new().await.unwrap();
    let bad = world.domain("bad.example").await.unwrap();
    world.domain("sender.example").await.unwrap();
    world.sinks[bad].behave([
        Rule::reply(At::Rcpt, "550 5.1.1 no").times(1),
        Rule::reply(At::Data, "354 go on, why not").times(1),
    ]);
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@bad.example"], "1").await.unwrap();
    world.arrival("a@sender.example", SOON).await.unwrap();
    // The next message over whatever connection is left arrives whole.
    world.send(0, "a@sender.example", &["c@bad.example"], "2").await.unwrap();
    let entry = world.arrival("c@bad.example", SOON).await.unwrap();
    assert_eq!((entry.id.as_str(), world.ledger.to("b@bad.example").len()), ("2", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_takes_some_recipients_now_and_some_later() {
    let mut world = World::new().await.unwrap();
    let far = world.domain("far.example").await.unwrap();
    world.sinks[far].behave([Rule::reply(At::Rcpt, "452 4.5.3 too many recipients")
        .recipient("two@far.example")
        .times(1)]);
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["one@far.example", "two@far.example"], "1").await.unwrap();
    world.arrival("one@far.example", SOON).await.unwrap();
    world.arrival("two@far.example", LATER).await.unwrap();
    assert_eq!(world.ledger.to("one@far.example").len(), 1, "who has it doesn't get it twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_harms_no_other() {
    let mut world = World::new().await.unwrap();
    let dead = world.domain("dead.example").await.unwrap();
    world.domain("good.example").await.unwrap();
    world.sinks[dead].behave([Rule::new(At::Banner, Act::Hang)]);
    world.relay().await.unwrap();
    for number in 0..30 {
        world.send(0, "a@sender.example", &["b@dead.example"], &format!("d{number}")).await.unwrap();
    }
    for number in 0..10 {
        let to = format!("b{number}@good.example");
        world.send(0, "a@sender.example", &[&to], &format!("g{number}")).await.unwrap();
        world.arrival(&to, SOON).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_in_single_bytes_are_read() {
    let mut world = World::new().await.unwrap();
    let slow = world.domain_with("slow.example", Setup::default()).await.unwrap();
    let drip = |text: &str| Act::Drip(text.as_bytes().to_vec(), Duration::from_millis(5));
    world.sinks[slow].behave([
        Rule::new(At::Mail, drip("250-2.1.0 one\r\n250 2.1.0 two\r\n")),
        Rule::new(At::Rcpt, drip("250 2.1.5 three\r\n")),
    ]);
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@slow.example"], "1").await.unwrap();
    world.arrival("b@slow.example", SOON).await.unwrap();
}

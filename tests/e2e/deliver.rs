//! Accepted mail is delivered, tried again or bounced.
//! **Owns:** the ordinary ways of a message. **Never:** broken far sides (`bad_far_sides`).

use std::{net::IpAddr, time::Duration};

use postrider_tests::{
    World,
    client::Client,
    sink::{At, Rule, Setup},
};

use crate::{LATER, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_to_the_lowest_preference_and_on_to_the_next() {
    let mut world = World::new().await.unwrap();
    let (first, second) =
        (world.sink(Setup::default()).await.unwrap(), world.sink(Setup::default()).await.unwrap());
    for (preference, host, sink) in [(20, "b.far.example", second), (10, "a.far.example", first)] {
        world.dns.mx("far.example", preference, host).await.unwrap();
        let IpAddr::V4(address) = world.address(sink).ip() else { unreachable!() };
        world.dns.a(host, address).await.unwrap();
    }
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["one@far.example"], "1").await.unwrap();
    assert_eq!(world.arrival("one@far.example", SOON).await.unwrap().at, world.address(first));
    world.sinks[first].stop();
    world.send(0, "a@sender.example", &["two@far.example"], "2").await.unwrap();
    assert_eq!(world.arrival("two@far.example", SOON).await.unwrap().at, world.address(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_arrives_as_it_was_but_for_one_received_line() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    world.relay().await.unwrap();
    let text = postrider_tests::source::message("x", "a@sender.example", "b@far.example", 3000);
    let text = format!("{text}..dots\r\n.\u{fc} eight bits\r\n\r\n");
    let mut client = Client::greeted(world.relays[0].smtp()).await.unwrap();
    client.say("MAIL FROM:<a@sender.example> BODY=8BITMIME", 250).await.unwrap();
    client.say("RCPT TO:<b@far.example>", 250).await.unwrap();
    client.say("DATA", 354).await.unwrap();
    let stuffed = text.replace("\r\n.", "\r\n..");
    client.send(stuffed.as_bytes()).await.unwrap();
    client.send(b".\r\n").await.unwrap();
    client.expect(250).await.unwrap();
    let entry = world.arrival("b@far.example", SOON).await.unwrap();
    let body = entry.body.unwrap();
    let received = body.strip_suffix(text.as_bytes()).expect("the text is the end of what arrived");
    let received = String::from_utf8(received.to_vec()).unwrap();
    assert!(received.starts_with("Received: from client.example"), "{received}");
    let headers = received.trim_end().split("\r\n").filter(|line| !line.starts_with(['\t', ' '])).count();
    assert_eq!(headers, 1, "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_far_side_is_tried_again() {
    let mut world = World::new().await.unwrap();
    let busy = world.domain("busy.example").await.unwrap();
    world.sinks[busy].behave([Rule::reply(At::Rcpt, "451 4.3.2 busy").times(2)]);
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@busy.example"], "1").await.unwrap();
    world.arrival("b@busy.example", LATER).await.unwrap();
    assert_eq!(world.sinks[busy].followed(At::Rcpt), 2);
    assert_eq!(world.ledger.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_recipient_bounces_and_the_others_get_theirs() {
    let mut world = World::new().await.unwrap();
    let far = world.domain("far.example").await.unwrap();
    world.domain("sender.example").await.unwrap();
    world.sinks[far]
        .behave([Rule::reply(At::Rcpt, "550 5.1.1 no such user").recipient("nobody@far.example")]);
    world.relay().await.unwrap();
    world
        .send(0, "a@sender.example", &["b@far.example", "nobody@far.example", "c@far.example"], "1")
        .await
        .unwrap();
    let entry = world.arrival("b@far.example", SOON).await.unwrap();
    assert_eq!(entry.recipients, ["b@far.example", "c@far.example"]);
    let bounce = world.arrival("a@sender.example", SOON).await.unwrap();
    assert_eq!(bounce.sender, "");
    let text = bounce.text();
    for needle in [
        "multipart/report",
        "report-type=delivery-status",
        "Final-Recipient: rfc822;nobody@far.example",
        "Action: failed",
        "Status: 5.1.1",
        "550 5.1.1 no such user",
    ] {
        assert!(text.replace("; ", ";").contains(&needle.replace("; ", ";")), "{needle} in\n{text}");
    }
    assert!(
        !text.contains("c@far.example,") && !text.contains("Final-Recipient: rfc822; b@far.example"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_null_sender_gets_no_bounce_and_mail_expires_into_one() {
    let mut world = World::new().await.unwrap();
    let relay = postrider_tests::manifests::MailRelay {
        defaults: "{retry: {initial: 1s, max: 1s, maxAge: 4s}}".to_owned(),
        ..Default::default()
    };
    world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    let far = world.domain("far.example").await.unwrap();
    world.domain("sender.example").await.unwrap();
    world.sinks[far].behave([
        Rule::reply(At::Rcpt, "550 5.1.1 no").recipient("nobody@far.example"),
        Rule::reply(At::Rcpt, "451 4.2.1 for ever").recipient("later@far.example"),
    ]);
    world.relay().await.unwrap();
    world.send(0, "", &["nobody@far.example"], "1").await.unwrap();
    world.send(0, "a@sender.example", &["later@far.example"], "2").await.unwrap();
    let bounce = world.arrival("a@sender.example", LATER).await.unwrap();
    assert!(bounce.text().contains("later@far.example"), "{}", bounce.text());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.ledger.len(), 1, "nothing but that bounce: {:?}", world.ledger.entries());
}

#[tokio::test(flavor = "multi_thread")]
async fn dsn_options_are_honoured() {
    let mut world = World::new().await.unwrap();
    let far = world.domain_with("far.example", without("DSN")).await.unwrap();
    world.domain("sender.example").await.unwrap();
    world.sinks[far].behave([Rule::reply(At::Rcpt, "550 5.1.1 no").domain("far.example").times(2)]);
    world.relay().await.unwrap();
    let mut client = Client::greeted(world.relays[0].smtp()).await.unwrap();
    client.say("MAIL FROM:<a@sender.example> RET=HDRS ENVID=QQ314159", 250).await.unwrap();
    client.say("RCPT TO:<never@far.example> NOTIFY=NEVER", 250).await.unwrap();
    client
        .say("RCPT TO:<told@far.example> NOTIFY=FAILURE ORCPT=rfc822;first+40home.example", 250)
        .await
        .unwrap();
    client.say("DATA", 354).await.unwrap();
    client.send(b"Subject: x\r\n\r\nSECRET BODY\r\n.\r\n").await.unwrap();
    client.expect(250).await.unwrap();
    let text = world.arrival("a@sender.example", SOON).await.unwrap().text();
    assert!(text.contains("Original-Envelope-Id: QQ314159"), "{text}");
    assert!(text.contains("first@home.example"), "{text}");
    assert!(!text.contains("never@far.example"), "{text}");
    assert!(!text.contains("SECRET BODY"), "{text}");
    world.send(0, "a@sender.example", &["x@far.example"], "2").await.unwrap();
    let mut client = Client::greeted(world.relays[0].smtp()).await.unwrap();
    client.say("MAIL FROM:<b@sender.example>", 250).await.unwrap();
    client.say("RCPT TO:<good@far.example> NOTIFY=SUCCESS", 250).await.unwrap();
    client.say("DATA", 354).await.unwrap();
    client.send(b"Subject: y\r\n\r\ny\r\n.\r\n").await.unwrap();
    client.expect(250).await.unwrap();
    let text = world.arrival("b@sender.example", SOON).await.unwrap().text();
    assert!(text.contains("Action: relayed"), "{text}");
}

fn without(extension: &str) -> Setup {
    let mut setup = Setup::default();
    setup.extensions.retain(|other| !other.starts_with(extension));
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_without_extensions_gets_what_it_can_read() {
    let mut world = World::new().await.unwrap();
    let plain = Setup { extensions: Vec::new(), ..Setup::default() };
    world.domain_with("plain.example", plain).await.unwrap();
    world.domain("sender.example").await.unwrap();
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@plain.example"], "1").await.unwrap();
    world.arrival("b@plain.example", SOON).await.unwrap();
    let mut client = Client::greeted(world.relays[0].smtp()).await.unwrap();
    client.say("MAIL FROM:<a@sender.example> SMTPUTF8", 250).await.unwrap();
    client.say("RCPT TO:<jürgen@plain.example>", 250).await.unwrap();
    client.say("DATA", 354).await.unwrap();
    client.send("Subject: grüße\r\n\r\nhallo\r\n.\r\n".as_bytes()).await.unwrap();
    client.expect(250).await.unwrap();
    let bounce = world.arrival("a@sender.example", SOON).await.unwrap();
    assert!(bounce.text().contains("5.6.7"), "RFC 6531 3.5: {}", bounce.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_relay_leaves_its_mail_to_the_other_and_says_421() {
    let mut world = World::new().await.unwrap();
    let far = world.domain("far.example").await.unwrap();
    world.sinks[far]
        .behave([Rule::new(At::Banner, postrider_tests::sink::Act::Reply("421 4.3.2 not now".into()))]);
    world.relay().await.unwrap();
    world.relay().await.unwrap();
    let mut idle = Client::greeted(world.relays[0].smtp()).await.unwrap();
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    let stopped = tokio::spawn(async move {
        let reply = idle.reply().await.unwrap();
        assert_eq!(reply.code, 421, "{}", reply.text);
    });
    let status = world.relays[0].stop().await.unwrap();
    assert!(status.success(), "{status}\n{}", world.relays[0].log());
    stopped.await.unwrap();
    world.sinks[far].behave_well();
    world.arrival("b@far.example", LATER).await.unwrap();
}

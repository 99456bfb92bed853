//! Rules decide, also for mail that waits, and change while relays run.
//! **Owns:** routes, hot reload, pause. **Never:** how manifests are judged (`check`).

use std::time::Duration;

use postrider_tests::{
    World,
    client::Client,
    manifests::{MailRelay, rule},
    sink::{At, Rule},
};

use crate::{LATER, SOON};

fn routed(name: &str, domain: &str, route: &str) -> String {
    rule(name, &format!("matches: [{{recipientDomains: [{domain}]}}]\nroute: {route}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_does_what_it_says() {
    let mut world = World::new().await.unwrap();
    for domain in ["staging.example", "discard.example", "far.example", "sender.example"] {
        world.domain(domain).await.unwrap();
    }
    let smart = world.sink(Default::default()).await.unwrap();
    let address = world.address(smart);
    for (name, domain, route) in [
        (
            "smart",
            "smart.example",
            format!(
                "{{type: Smarthost, smarthost: {{hosts: [{{host: {}, port: {}}}]}}}}",
                address.ip(),
                address.port()
            ),
        ),
        ("redirect", "redirect.example", "{type: Redirect, redirect: {to: all@staging.example}}".to_owned()),
        (
            "reject",
            "reject.example",
            "{type: Reject, reject: {code: 554, enhanced: 5.7.1, text: not here}}".to_owned(),
        ),
        ("discard", "discard.example", "{type: Discard}".to_owned()),
        ("hold", "hold.example", "{type: Hold}".to_owned()),
        ("defer", "defer.example", "{type: Defer}".to_owned()),
    ] {
        world.manifests.write(&format!("{name}.yaml"), &routed(name, domain, &route)).unwrap();
    }
    world.relay().await.unwrap();
    for domain in ["smart", "redirect", "discard", "hold", "defer"] {
        world.send(0, "a@sender.example", &[&format!("b@{domain}.example")], domain).await.unwrap();
    }
    assert_eq!(world.arrival("b@smart.example", SOON).await.unwrap().at, address);
    assert_eq!(world.arrival("all@staging.example", SOON).await.unwrap().id, "redirect");
    let mut client = Client::greeted(world.relays[0].smtp()).await.unwrap();
    client.say("MAIL FROM:<a@sender.example>", 250).await.unwrap();
    let reply = client.say("RCPT TO:<b@reject.example>", 554).await.unwrap();
    assert!(reply.text.contains("5.7.1 not here"), "{}", reply.text);
    client.say("RCPT TO:<b@far.example>", 250).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.ledger.len(), 2, "{:?}", world.ledger.entries());
    let listed = world.relays[0].ctl(&["list"]).await.unwrap();
    assert!(listed.contains("hold.example") && listed.contains("defer.example"), "{listed}");
    assert!(!listed.contains("discard.example"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rule_acts_on_mail_that_waits() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    world.manifests.write("rule.yaml", &routed("pending", "far.example", "{type: Defer}")).unwrap();
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.ledger.is_empty());
    let before = world.relays[0].config_hash().await.unwrap();
    world.manifests.write("rule.yaml", &routed("pending", "far.example", "{type: MX}")).unwrap();
    postrider_tests::eventually("another hash", SOON, async || {
        world.relays[0].config_hash().await.ok().filter(|hash| *hash != before)
    })
    .await
    .unwrap();
    world.arrival("b@far.example", LATER).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_rule_keeps_its_match_and_defers_and_the_last_good_config_stays() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    world.domain("good.example").await.unwrap();
    let broken = "{type: Smarthost, smarthost: {hosts: [{host: gw.example, port: 587}], auth: {credentialsRef: {name: missing}}}}";
    world.manifests.write("rule.yaml", &routed("broken", "far.example", broken)).unwrap();
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    world.send(0, "a@sender.example", &["b@good.example"], "2").await.unwrap();
    world.arrival("b@good.example", SOON).await.unwrap();
    assert!(world.ledger.to("b@far.example").is_empty(), "it never falls through");
    let before = world.relays[0].config_hash().await.unwrap();
    world.manifests.write("relay.yaml", "kind: [not yaml").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.relays[0].config_hash().await.unwrap(), before);
    world.send(0, "a@sender.example", &["c@good.example"], "3").await.unwrap();
    world.arrival("c@good.example", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_fleet_accepts_and_keeps() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    let with = |more: &str| {
        MailRelay { more: format!("delivery: {more}\ndrain: {{delay: 0s}}"), ..MailRelay::default() }.yaml()
    };
    world.manifests.write("relay.yaml", &with("Paused")).unwrap();
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.ledger.is_empty());
    world.manifests.write("relay.yaml", &with("Active")).unwrap();
    world.arrival("b@far.example", LATER).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_domain_holds_up_no_other() {
    let mut world = World::new().await.unwrap();
    let dead = world.domain("dead.example").await.unwrap();
    world.domain("far.example").await.unwrap();
    world.sinks[dead].behave([Rule::reply(At::Banner, "421 4.3.2 down")]);
    world.relay().await.unwrap();
    for number in 0..50 {
        world.send(0, "a@sender.example", &["b@dead.example"], &format!("d{number}")).await.unwrap();
    }
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    world.arrival("b@far.example", SOON).await.unwrap();
    world.sinks[dead].behave_well();
    postrider_tests::wait::until("all of dead.example", LATER, || {
        world.ledger.to("b@dead.example").len() == 50
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_may_not_relay() {
    let mut world = World::new().await.unwrap();
    let listeners =
        "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [192.0.2.0/24]}}".to_owned();
    world.manifests.write("relay.yaml", &MailRelay { listeners, ..MailRelay::default() }.yaml()).unwrap();
    world.relay().await.unwrap();
    let mut client = Client::greeted(world.relays[0].smtp()).await.unwrap();
    client.say("MAIL FROM:<a@sender.example>", 250).await.unwrap();
    let reply = client.say("RCPT TO:<b@far.example>", 550).await.unwrap();
    assert!(reply.text.contains("5.7.1"), "{}", reply.text);
}

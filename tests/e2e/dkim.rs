//! Signatures: made at intake, owed while a key is missing, by the keys that are there now.
//! **Owns:** when mail waits, who may use a From that is signed, that no key is shown. **Never:** whether a signature holds (interop).

use postrider_tests::{
    World, certs,
    client::{Client, Reply},
    dkim,
    ledger::Entry,
    manifests::{self, MailRelay},
    relay, wait,
};

use crate::{LATER, SOON};

const LISTENERS: &str = "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}, \
                         senderDomains: [app.example, other.example, plain.example]}";

/// Keys for app.example and secret.example; the second may not be used by anyone who comes in.
async fn world() -> World {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    let relay = MailRelay {
        more: dkim::spec(&["app.example", "secret.example"]),
        listeners: LISTENERS.to_owned(),
        ..MailRelay::default()
    };
    world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    world
}

fn message(from: &str) -> String {
    format!("From: <a@{from}>\r\nTo: <b@far.example>\r\nSubject: x\r\n\r\nhello")
}

async fn send(world: &World, from: &str, to: &str) -> Reply {
    let mut client = Client::greeted(world.relays[0].smtp()).await.unwrap();
    client.message("a@plain.example", &[to], &message(from)).await.unwrap()
}

/// What the relay tells of a message that waits for its key.
async fn waiting(world: &World, accepted: &Reply) -> String {
    let id = accepted.queue_id();
    postrider_tests::eventually("a reason", SOON, async || {
        let told = world.relays[0].ctl(&["inspect", &id]).await.ok()?;
        told.contains("DKIM key").then_some(told)
    })
    .await
    .unwrap()
}

fn selectors(entry: &Entry) -> Vec<String> {
    let text = entry.text();
    let found = text.split("; s=").skip(1).filter_map(|rest| rest.split_once(';'));
    found.map(|(selector, _)| selector.to_owned()).collect()
}

async fn counted(world: &World, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    world.relays[0].metrics().await.unwrap().sum("postrider_dkim_messages_total", &[&label])
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_waits_for_its_key_and_leaves_signed() {
    let mut world = world().await;
    world.relay().await.unwrap();
    let accepted = send(&world, "app.example", "b@far.example").await;
    assert_eq!(accepted.code, 250);
    assert_eq!(send(&world, "plain.example", "c@far.example").await.code, 250);
    world.arrival("c@far.example", SOON).await.unwrap();
    waiting(&world, &accepted).await;
    assert_eq!((counted(&world, "owed").await, counted(&world, "none").await), (1.0, 1.0));
    assert!(world.ledger.to("b@far.example").is_empty(), "it left unsigned");
    // Another life of the relay owes it, too.
    world.relays[0].kill().await.unwrap();
    world.relays[0].restart().await.unwrap();
    world.manifests.write("dkim.yaml", &dkim::secret()).unwrap();
    let entry = world.arrival("b@far.example", LATER).await.unwrap();
    assert_eq!(selectors(&entry), ["rsa", "ed25519"], "{}", entry.text());
    assert!(entry.text().starts_with("DKIM-Signature: "), "{}", entry.text());
    assert_eq!(world.ledger.to("b@far.example").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_selector_signs_without_a_restart() {
    let mut world = world().await;
    world.manifests.write("dkim.yaml", &dkim::secret()).unwrap();
    world.relay().await.unwrap();
    let before = world.relays[0].config_hash().await.unwrap();
    assert_eq!(send(&world, "app.example", "b@far.example").await.code, 250);
    assert_eq!(selectors(&world.arrival("b@far.example", SOON).await.unwrap()), ["rsa", "ed25519"]);
    let more = "drain: {delay: 0s, timeout: 10s}\ndkim:\n- domain: app.example\n  keys: [{selector: next, privateKeyRef: {name: dkim, key: rsa}}]";
    let relay = MailRelay { more: more.to_owned(), ..MailRelay::default() };
    world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    postrider_tests::eventually("the new configuration", SOON, async || {
        world.relays[0].config_hash().await.ok().filter(|hash| *hash != before)
    })
    .await
    .unwrap();
    assert_eq!(send(&world, "app.example", "c@far.example").await.code, 250);
    assert_eq!(selectors(&world.arrival("c@far.example", SOON).await.unwrap()), ["next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_from_that_is_signed_is_for_those_who_may_send_as_it() {
    let mut world = world().await;
    world.manifests.write("dkim.yaml", &dkim::secret()).unwrap();
    world.relay().await.unwrap();
    // No key signs for it: its From is of no matter.
    assert_eq!(send(&world, "elsewhere.example", "b@far.example").await.code, 250);
    assert_eq!(send(&world, "secret.example", "c@far.example").await.code, 550);
    let mut client = Client::greeted(world.relays[0].smtp()).await.unwrap();
    let two = format!("From: a@app.example\r\n{}", message("secret.example"));
    let reply = client.message("a@app.example", &["c@far.example"], &two).await.unwrap();
    assert_eq!(reply.text, "550 5.7.1 relaying denied for this From domain");
    let long = message("secret.example") + &"\r\nmore of it, so that it streams".repeat(40_000);
    let reply = client.message("a@app.example", &["c@far.example"], &long).await.unwrap();
    assert_eq!(reply.code, 550, "{}", reply.text);
    world.arrival("b@far.example", SOON).await.unwrap();
    assert!(world.ledger.to("c@far.example").is_empty());
}

/// Keys that sign and that a listener has, one of each that is broken: nothing of them is in anything that a person sees.
#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_shown_anywhere() {
    let mut world = world().await;
    let (planted, planted_tls) = ("canary-of-a-key", "canaryOfTheListenersKey");
    let broken = manifests::secret("dkim", &[("rsa", planted), ("ed25519", dkim::ED25519)]);
    world.manifests.write("dkim.yaml", &broken).unwrap();
    let relay = MailRelay {
        more: dkim::spec(&["app.example", "secret.example"]),
        listeners: LISTENERS.replace(
            "protocol: SMTP",
            "protocol: SMTP, tls: {mode: Optional, certificateRef: {name: mail-tls}}",
        ),
        ..MailRelay::default()
    };
    world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    let certificate = certs::self_signed("relay.example").unwrap();
    world.manifests.write("tls.yaml", &manifests::tls_secret("mail-tls", &certificate)).unwrap();
    let mut seen = Vec::new();
    let folder = world.manifests.folder().display().to_string();
    let arguments = ["check", "--manifests", &folder];
    let output = relay::command(arguments).await.unwrap();
    seen.push(String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(seen[0].contains("no key that signs under key \"rsa\""), "{}", seen[0]);
    let wrapper = vec!["env".to_owned(), "RUST_LOG=trace".to_owned()];
    world.relay_with(relay::Setup { wrapper, ..world.setup() }).await.unwrap();
    let accepted = send(&world, "app.example", "b@far.example").await;
    seen.push(waiting(&world, &accepted).await);
    world.manifests.write("dkim.yaml", &dkim::secret()).unwrap();
    world.arrival("b@far.example", LATER).await.unwrap();
    assert_eq!(send(&world, "secret.example", "b@far.example").await.code, 550);
    let mut client = Client::greeted(world.relays[0].smtp()).await.unwrap().start_tls().await.unwrap();
    client.say("EHLO client.example", 250).await.unwrap();
    // A key that no listener can serve: the last good one stays, and that is told.
    let key = format!("-----BEGIN PRIVATE KEY-----\n{planted_tls}\n-----END PRIVATE KEY-----\n");
    let broken = certs::Certificate { key, ..certificate.clone() };
    world.manifests.write("tls.yaml", &manifests::tls_secret("mail-tls", &broken)).unwrap();
    let relay = &world.relays[0];
    wait::until("the broken key to be told of", SOON, || {
        relay.log().contains("a new certificate can't be served")
    })
    .await
    .unwrap();
    let output = relay::command(arguments).await.unwrap();
    seen.push(String::from_utf8_lossy(&output.stdout).into_owned());
    seen.push(relay.metrics().await.unwrap().text().to_owned());
    for page in ["/v1/config", "/v1/queue"] {
        seen.push(relay.json(page).await.unwrap().to_string());
    }
    seen.push(relay.log());
    let output =
        relay::command(["explain", "--manifests", &folder, "--from", "a@app.example", "b@far.example"]);
    let output = output.await.unwrap();
    seen.push(String::from_utf8_lossy(&output.stdout).into_owned());
    let keys = dkim::RSA.lines().chain(dkim::ED25519.lines()).chain(certificate.key.lines());
    let lines = keys.filter(|line| !line.starts_with("-----"));
    for secret in lines.chain([planted, planted_tls]) {
        for text in &seen {
            assert!(!text.contains(secret), "a part of a key is shown: {text}");
        }
    }
}

//! Mail by chosen addresses, through real proxies.
//! **Owns:** that microsocks and HAProxy carry mail as a source says, and that the mail of one that dies goes by the other.
//! **Never:** the choice between sources (unit tests), scripted proxies (relay/tests/outbound).

use std::net::{IpAddr, Ipv4Addr};

use postrider_tests::{
    World,
    manifests::{self, MailRelay, rule},
    proxies::{Proxy, may_be_transparent},
};

use crate::{LATER, SOON};

const PASSWORD: &str = "canary-5c2f";

/// A world with both proxies. Mail that no rule names goes by either; to socks.example and haproxy.example by the one.
async fn world() -> (World, Proxy, Proxy) {
    let mut world = World::new().await.unwrap();
    for domain in ["far.example", "socks.example", "haproxy.example"] {
        world.domain(domain).await.unwrap();
    }
    let socks = Proxy::socks(by_socks(&world), ("mail", PASSWORD), world.folder()).await.unwrap();
    let haproxy = Proxy::haproxy(world.folder()).await.unwrap();
    let socks5 = format!(
        "socks5: {{host: 127.0.0.1, port: {}, credentialsRef: {{name: proxy}}}}",
        socks.address().port()
    );
    let proxy = format!(
        "proxy: {{host: localhost, port: {}, address: {}}}",
        haproxy.address().port(),
        by_haproxy(&world)
    );
    let more = format!(
        "drain: {{delay: 0s, timeout: 10s}}
egressPools:
- {{name: both, sources: [{{name: socks, hostname: socks.relay.example, {socks5}}}, {{name: haproxy, {proxy}}}]}}
- {{name: socks, sources: [{{name: one, {socks5}}}]}}
- {{name: haproxy, sources: [{{name: one, ipFamily: IPv4, {proxy}}}]}}"
    );
    let defaults = "{retry: {initial: 1s, max: 4s, maxAge: 10m}, egress: {pool: both}}".to_owned();
    let relay = MailRelay { more, defaults, ..MailRelay::default() };
    world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    let secret = manifests::secret("proxy", &[("username", "mail"), ("password", PASSWORD)]);
    world.manifests.write("secret.yaml", &secret).unwrap();
    for pool in ["socks", "haproxy"] {
        let spec = format!(
            "matches: [{{recipientDomains: [{pool}.example]}}]\npolicy: {{egress: {{pool: {pool}}}}}"
        );
        world.manifests.write(&format!("{pool}.yaml"), &rule(pool, &spec)).unwrap();
    }
    world.relay().await.unwrap();
    (world, socks, haproxy)
}

fn by_socks(world: &World) -> Ipv4Addr {
    world.subnet.address(201)
}

fn by_haproxy(world: &World) -> Ipv4Addr {
    world.subnet.address(202)
}

async fn client_of(world: &World, recipient: &str) -> IpAddr {
    world.send(0, "a@app.example", &[recipient], recipient).await.unwrap();
    world.arrival(recipient, SOON).await.unwrap().client.ip()
}

#[tokio::test(flavor = "multi_thread")]
async fn far_sides_see_the_addresses_of_the_proxies() {
    let (world, _socks, _haproxy) = world().await;
    assert_eq!(client_of(&world, "b@socks.example").await, IpAddr::from(by_socks(&world)));
    let seen = client_of(&world, "b@haproxy.example").await;
    if may_be_transparent() {
        assert_eq!(seen, IpAddr::from(by_haproxy(&world)));
    }
    let log = world.relays[0].log();
    assert!(log.contains("\"source\":\"socks/one\"") && log.contains("\"source\":\"haproxy/one\""), "{log}");
    assert!(!log.contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mail_of_a_proxy_that_is_killed_goes_by_the_other() {
    let (world, mut socks, _haproxy) = world().await;
    for number in 0..20 {
        let recipient = format!("before-{number}@far.example");
        world.send(0, "a@app.example", &[&recipient], &recipient).await.unwrap();
    }
    for number in 0..20 {
        world.arrival(&format!("before-{number}@far.example"), SOON).await.unwrap();
    }
    let used = |wanted: Ipv4Addr| {
        world.ledger.entries().iter().filter(|entry| entry.client.ip() == IpAddr::from(wanted)).count()
    };
    let by_socks_before = used(by_socks(&world));
    assert!((1..20).contains(&by_socks_before), "{by_socks_before} of 20 by one of two");
    socks.kill().await.unwrap();
    for number in 0..20 {
        let recipient = format!("after-{number}@far.example");
        world.send(0, "a@app.example", &[&recipient], &recipient).await.unwrap();
    }
    for number in 0..20 {
        let recipient = format!("after-{number}@far.example");
        world.arrival(&recipient, LATER).await.unwrap();
        assert_eq!(world.ledger.to(&recipient).len(), 1, "{recipient} arrived twice");
    }
    assert_eq!(used(by_socks(&world)), by_socks_before);
    let metrics = world.relays[0].metrics().await.unwrap();
    let failures = metrics.sum("postrider_source_failures_total", &["pool=\"both\"", "source=\"socks\""]);
    assert!(failures >= 1.0, "{failures}");
    assert_eq!(metrics.sum("postrider_egress_sources", &["state=\"out\""]), 1.0);
    // The only source of its pool is dead: this mail waits, and leaves by nothing else.
    let id = world.send(0, "a@app.example", &["c@socks.example"], "waits").await.unwrap();
    let told = postrider_tests::eventually("it is deferred", SOON, async || {
        let told = world.relays[0].ctl(&["inspect", &id]).await.ok()?;
        told.contains("4.4.1").then_some(told)
    });
    let told = told.await.unwrap();
    assert!(told.contains("none of the addresses that this mail leaves from"), "{told}");
    assert!(world.ledger.to("c@socks.example").is_empty());
}

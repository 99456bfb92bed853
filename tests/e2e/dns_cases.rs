//! What the DNS says and fails to say: RFC 5321 5.1, RFC 7505; only authoritative absence bounces.
//! **Owns:** the cases of MX look-ups. **Never:** a resolver of its own.

use std::{net::Ipv4Addr, time::Duration};

use postrider_tests::{World, dns::Fault};

use crate::{LATER, SOON};

/// A world with a relay and a domain for bounces.
async fn world() -> World {
    let mut world = World::new().await.unwrap();
    world.domain("sender.example").await.unwrap();
    world.relay().await.unwrap();
    world
}

async fn bounces(world: &World, domain: &str, status: &str) {
    let (sender, to) = (format!("{}@sender.example", domain.replace('.', "-")), format!("b@{domain}"));
    world.send(0, &sender, &[&to], domain).await.unwrap();
    let bounce = world.arrival(&sender, SOON).await.unwrap();
    assert!(bounce.text().contains(&format!("Status: {status}")), "{domain}: {}", bounce.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dns_says_for_good_bounces() {
    let world = world().await;
    world.dns.null_mx("null.example").await.unwrap();
    bounces(&world, "null.example", "5.1.10").await; // RFC 7505 4.2
    bounces(&world, "absent.example", "5.1.2").await;
    // Names that lead to this relay itself: RFC 5321 5.1, and RFC 3463's code for a loop.
    world.dns.mx("self.example", 10, "relay.example").await.unwrap();
    world.dns.a("relay.example", Ipv4Addr::new(198, 51, 100, 1)).await.unwrap();
    bounces(&world, "self.example", "5.4.6").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dns_fails_to_say_defers() {
    let mut world = world().await;
    let faults = [
        ("servfail.example", Fault::ServFail),
        ("refused.example", Fault::Refused),
        ("silent.example", Fault::Silence),
        ("cut.example", Fault::TruncatedForGood),
    ];
    for (domain, fault) in faults {
        world.domain(domain).await.unwrap();
        world.dns.fail(domain, None, fault);
        world.send(0, "a@sender.example", &[&format!("b@{domain}")], domain).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(world.ledger.is_empty(), "{:?}", world.ledger.entries());
    for (domain, _) in faults {
        world.dns.heal(domain);
    }
    for (domain, _) in faults {
        world.arrival(&format!("b@{domain}"), LATER).await.unwrap();
    }
    assert!(world.ledger.to("a@sender.example").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_answers_are_asked_again_over_tcp() {
    let mut world = world().await;
    world.domain("long.example").await.unwrap();
    world.dns.fail("long.example", None, Fault::Truncated);
    world.send(0, "a@sender.example", &["b@long.example"], "1").await.unwrap();
    world.arrival("b@long.example", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_and_hosts_without_mx_are_found() {
    let mut world = world().await;
    let far = world.domain("far.example").await.unwrap();
    world.dns.cname("alias.example", "far.example").await.unwrap();
    let std::net::IpAddr::V4(address) = world.address(far).ip() else { unreachable!() };
    world.dns.a("host.example", address).await.unwrap();
    world.dns.mx("viacname.example", 10, "cname.example").await.unwrap();
    world.dns.cname("cname.example", "mx.far.example").await.unwrap();
    for domain in ["alias.example", "host.example", "viacname.example"] {
        let to = format!("b@{domain}");
        world.send(0, "a@sender.example", &[&to], domain).await.unwrap();
        world.arrival(&to, SOON).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_not_delivered_to_unless_allowed() {
    let mut world = World::new().await.unwrap();
    world.domain("sender.example").await.unwrap();
    world.domain("loop.example").await.unwrap();
    // Only the address of the sender's far side is allowed.
    let allowed = format!("{}/32", world.address(0).ip());
    let relay = postrider_tests::manifests::MailRelay { destinations: vec![allowed], ..Default::default() };
    world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@loop.example"], "1").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(world.ledger.to("b@loop.example").is_empty());
    assert_eq!(world.sinks[1].connections(), 0, "not even a connection");
    let listed = world.relays[0].ctl(&["list"]).await.unwrap();
    let bounced = !world.ledger.to("a@sender.example").is_empty();
    assert!(bounced || listed.contains("loop.example"), "{listed}");
}

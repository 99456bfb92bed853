//! What the DNS says of a fleet, as a status tells it: a real operator, a real API server, a real nameserver.
//! **Owns:** the way from a zone to conditions, events and metrics. **Never:** each thing that may be wrong (core::identity's tests).

use std::net::Ipv4Addr;

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use postrider_tests::{
    cluster::ControlPlane,
    dkim,
    dns::{Dns, Fault},
    eventually, manifests,
};

use crate::world::{FLEET, SOON, World};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// What the fleet says beside its listeners.
const MORE: &str = "  egress: {addresses: [203.0.113.10]}
  dkim:
  - domain: example.com
    keys:
    - {selector: rsa, privateKeyRef: {name: dkim, key: rsa}}
    - {selector: ed25519, privateKeyRef: {name: dkim, key: ed25519}}
";

fn fleet() -> String {
    format!("{FLEET}{MORE}")
}

/// An operator that asks this nameserver, every ten seconds at most.
async fn world(dns: &Dns, prefix: &str) -> Result<World> {
    let dns = format!("--dns={}", dns.address());
    World::start_with(ControlPlane::shared().await?, prefix, &[&dns, "--identity-every=10"]).await
}

/// A manifest of no namespace in particular.
fn here(manifest: &str) -> String {
    manifest.replace(", namespace: mail", "")
}

/// All that receivers want to hear, but for the keys.
async fn zone(dns: &Dns) -> Result<()> {
    dns.ptr(ADDRESS, "mail.example.com").await?;
    dns.a("mail.example.com", ADDRESS).await?;
    dns.txt("mail.example.com", "v=spf1 a -all").await?;
    dns.txt("example.com", "v=spf1 include:_spf.example.com -all").await?;
    dns.txt("_spf.example.com", "v=spf1 ip4:203.0.113.0/28 ~all").await?;
    dns.txt("_dmarc.example.com", "v=DMARC1; p=reject; adkim=s").await
}

async fn publish(dns: &Dns) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, text) in dkim::records("example.com", folder.path()).await? {
        dns.txt_in_pieces(&name, &text).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_status_says_what_the_dns_lacks_until_it_is_there() -> Result<()> {
    let dns = Dns::start().await?;
    zone(&dns).await?;
    dns.remove("_spf.example.com").await?;
    dns.txt("_spf.example.com", "v=spf1 ip4:198.51.100.0/24 ~all").await?;
    let world = world(&dns, "identity").await?;
    world.apply(&here(&dkim::secret())).await?;
    world.apply(&fleet()).await?;
    let said = world.condition("mailrelay", "outbound", "EgressIdentity", "False", "SpfDoesNotPass").await?;
    assert!(said.starts_with("SPF of example.com for 203.0.113.10: found fail; expected pass"), "{said}");
    let said = world.condition("mailrelay", "outbound", "DKIMPublished", "False", "KeyMissing").await?;
    assert!(
        said.contains("ed25519._domainkey.example.com: found no TXT record; expected TXT v=DKIM1"),
        "{said}"
    );
    assert!(!said.contains("PRIVATE"), "{said}");
    let metrics = world.operator.metrics().await?;
    let count = |kind| metrics.sum("postrider_operator_identity_findings", &[kind]);
    assert_eq!((count("SpfDoesNotPass"), count("KeyMissing"), count("PtrMissing")), (1.0, 2.0, 0.0));
    warned(&world, "SpfDoesNotPass").await?;
    warned(&world, "KeyMissing").await?;

    dns.remove("_spf.example.com").await?;
    dns.txt("_spf.example.com", "v=spf1 ip4:203.0.113.0/28 ~all").await?;
    publish(&dns).await?;
    let said = world.condition("mailrelay", "outbound", "EgressIdentity", "True", "NamesFit").await?;
    assert_eq!(said, "");
    world.condition("mailrelay", "outbound", "DKIMPublished", "True", "KeysPublished").await?;
    eventually("no finding to be left", SOON, async || {
        let metrics = world.operator.metrics().await.ok()?;
        let left = ["SpfDoesNotPass", "KeyMissing"]
            .map(|kind| metrics.sum("postrider_operator_identity_findings", &[kind]));
        (left == [0.0, 0.0]).then_some(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_nameserver_that_fails_is_unknown_and_a_changed_spec_is_looked_at_at_once() -> Result<()> {
    let dns = Dns::start().await?;
    zone(&dns).await?;
    publish(&dns).await?;
    dns.fail("_spf.example.com", None, Fault::ServFail);
    let world = world(&dns, "unknown").await?;
    world.apply(&here(&dkim::secret())).await?;
    world.apply(&fleet()).await?;
    let said =
        world.condition("mailrelay", "outbound", "EgressIdentity", "Unknown", "DnsUnavailable").await?;
    assert_eq!(said, "TXT of _spf.example.com: SERVFAIL");
    world.condition("mailrelay", "outbound", "DKIMPublished", "True", "KeysPublished").await?;
    dns.heal("_spf.example.com");
    world.condition("mailrelay", "outbound", "EgressIdentity", "True", "NamesFit").await?;

    world.apply(&fleet().replace("[203.0.113.10]", "[203.0.113.10, 203.0.113.99]")).await?;
    let said = world.condition("mailrelay", "outbound", "EgressIdentity", "False", "PtrMissing").await?;
    assert!(said.starts_with("address 203.0.113.99: found no PTR record"), "{said}");
    world.apply(&fleet().replace("addresses: [203.0.113.10]", "identity: Unchecked")).await?;
    world.condition("mailrelay", "outbound", "EgressIdentity", "True", "Unchecked").await?;
    world.condition("mailrelay", "outbound", "DKIMPublished", "True", "KeysPublished").await?;
    Ok(())
}

/// Of a key that signs and of one that is broken, nothing is in what a person may read who may not read Secrets.
#[tokio::test]
async fn no_key_is_shown_by_an_operator() -> Result<()> {
    let dns = Dns::start().await?;
    zone(&dns).await?;
    let world = world(&dns, "canary").await?;
    let planted = "canary-of-a-key";
    let keys = manifests::secret("dkim", &[("rsa", planted), ("ed25519", dkim::ED25519)]);
    world.apply(&here(&keys)).await?;
    world.apply(&fleet()).await?;
    world.condition("mailrelay", "outbound", "DKIMPublished", "False", "KeyMissing").await?;
    warned(&world, "KeyMissing").await?;
    let kinds = "mailrelays,events,configmaps,deployments,statefulsets,replicasets,pods,services";
    let objects = world.run(&["get", kinds, "-o", "yaml"]).await?;
    let metrics = world.operator.metrics().await?;
    let seen = [objects, world.operator.log(), metrics.text().to_owned()];
    assert!(seen[0].contains("ed25519._domainkey.example.com"), "the status tells of the key: {}", seen[0]);
    let lines = dkim::ED25519.lines().filter(|line| !line.starts_with("-----"));
    let encoded = STANDARD.encode(planted);
    for secret in lines.chain([planted, &encoded]) {
        for text in &seen {
            assert!(!text.contains(secret), "a part of a key is shown: {text}");
        }
    }
    Ok(())
}

/// Waits for a warning with this reason.
async fn warned(world: &World, reason: &str) -> Result<()> {
    eventually(&format!("a warning {reason}"), SOON, async || {
        let selector = format!("--field-selector=reason={reason},type=Warning");
        let events = world.run(&["get", "events", &selector, "-o", "name"]).await.ok()?;
        (!events.trim().is_empty()).then_some(())
    })
    .await
}

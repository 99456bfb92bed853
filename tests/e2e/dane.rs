//! What hosts say of their certificates by TLSA records, in zones that a real nameserver serves signed: RFC 7672.
//! **Owns:** the cases of signed, unsigned and broken answers. **Never:** which record fits which chain (core's tests).

use std::sync::Arc;

use postrider_tests::{
    World,
    bind::{Bind, Signed, Zone},
    certs::{self, Authority, Certificate, odd::Odd},
    eventually,
    manifests::rule,
    relay,
    sink::Setup,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData as _, date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{LATER, SOON};

/// A host's certificate, and what can be said of it.
struct Presented {
    server: Arc<ServerConfig>,
    /// The records that fit it: of the leaf's key, and of the authority's certificate.
    of_leaf: String,
    of_authority: String,
}

/// A certificate of an authority of its own.
fn presented(name: &str, is_expired: bool) -> Presented {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority that nobody knows");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if is_expired {
        (leaf.not_before, leaf.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    }
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    Presented {
        of_leaf: format!("3 1 1 {}", hex(&key.subject_public_key_info())),
        of_authority: format!("2 0 1 {}", hex(authority.der())),
        server: server(vec![leaf.der().clone(), authority.der().clone()], &key),
    }
}

/// The record of a certificate's own digest, as its host's.
fn of_certificate(certificate: &Certificate) -> String {
    format!("3 0 1 {}", hex(&certificate.der))
}

fn server(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A record that fits nobody.
fn of_another() -> String {
    format!("3 1 1 {}", "ab".repeat(32))
}

/// A world whose zones are written host by host.
struct Signing {
    world: World,
    /// Records of the zone `dane`, of `plain`, which isn't signed, and of `bogus`, whose signatures don't hold.
    dane: String,
    plain: String,
    bogus: String,
}

impl Signing {
    async fn new() -> Self {
        let world = World::new().await.unwrap();
        let bogus = "bogus. MX 10 mx.bogus.\n".to_owned();
        Self { world, dane: String::new(), plain: String::new(), bogus }
    }

    /// A far side and the records of one host of it, under a name in a zone.
    async fn host(&mut self, name: &str, tls: Option<Arc<ServerConfig>>, records: &[&str]) -> String {
        let number = self.world.sink(Setup { tls, ..Setup::default() }).await.unwrap();
        let address = self.world.address(number).ip();
        let port = self.world.subnet.port();
        let lines = records.iter().map(|record| format!("_{port}._tcp.{name}. TLSA {record}\n"));
        format!("{name}. A {address}\n{}", lines.collect::<String>())
    }

    /// A domain of the zone `dane` with one host.
    async fn domain(&mut self, name: &str, tls: Option<Arc<ServerConfig>>, records: &[&str]) {
        let host = self.host(&format!("mx.{name}.dane"), tls, records).await;
        self.dane += &format!("{name}.dane. MX 10 mx.{name}.dane.\n{host}");
    }

    /// Serves the zones and starts a relay that asks their server.
    async fn start(mut self) -> (World, Bind) {
        let port = self.world.subnet.port();
        let zone = |name: &str, records: &str, signed| Zone {
            name: name.to_owned(),
            records: records.to_owned(),
            signed,
        };
        let changed = Signed::ThenChanged("MX\t10 ".to_owned(), "MX\t20 ".to_owned());
        let bind = Bind::start(&[
            zone(&format!("_{port}._tcp.mx.lost.dane"), "", Signed::ThenLost),
            zone("dane", &self.dane, Signed::Well),
            zone("plain", &self.plain, Signed::Not),
            zone("bogus", &self.bogus, changed),
        ])
        .await
        .unwrap();
        let anchors = bind.anchors().display().to_string();
        let setup = relay::Setup {
            dns: Some(bind.address()),
            arguments: vec!["--dnssec-anchors".to_owned(), anchors],
            ..self.world.setup()
        };
        self.world.relay_with(setup).await.unwrap();
        (self.world, bind)
    }
}

/// All that can be wrong, and some that isn't, each a domain of its own.
async fn everything() -> Signing {
    let mut signing = Signing::new().await;
    let expired = presented("other.example", true);
    signing.domain("leaf", Some(expired.server.clone()), &[&expired.of_leaf]).await;
    let chain = presented("mx.chain.dane", false);
    signing.domain("chain", Some(chain.server.clone()), &[&chain.of_authority]).await;
    let misnamed = presented("other.example", false);
    signing.domain("misnamed", Some(misnamed.server.clone()), &[&misnamed.of_authority]).await;
    let authority = Authority::new().unwrap();
    let sha1 = authority.issue_odd("mx.sha1.dane", Odd::Sha1).unwrap();
    signing.domain("sha1", Some(sha1.server.clone()), &[&of_certificate(&sha1)]).await;
    let version1 = authority.issue_odd("mx.version1.dane", Odd::Version1).unwrap();
    signing.domain("version1", Some(version1.server.clone()), &[&of_certificate(&version1)]).await;
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    let of_root = format!("2 0 0 {}", root.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let sha1_path = authority.issue_odd("mx.path.dane", Odd::Sha1).unwrap();
    signing.domain("path", Some(sha1_path.server), &[&of_root]).await;
    let old = certs::self_signed("other.example").unwrap();
    signing.domain("old", Some(certs::tls12_only(&old).unwrap()), &[&of_certificate(&old)]).await;
    signing.domain("another", Some(chain.server.clone()), &[&of_another()]).await;
    signing.domain("unusable", Some(expired.server.clone()), &[&format!("1 1 1 {}", "ab".repeat(32))]).await;
    signing.domain("stripped", None, &[&chain.of_leaf]).await;
    signing.domain("lost", Some(chain.server.clone()), &[]).await;
    let host = signing.host("implicit.dane", Some(chain.server.clone()), &[&chain.of_leaf]).await;
    signing.dane += &host;
    let host = signing.host("end.dane", Some(chain.server.clone()), &[&chain.of_leaf]).await;
    signing.dane += &format!("alias.dane. MX 10 mx.alias.dane.\nmx.alias.dane. CNAME end.dane.\n{host}");
    signing.domain("without", Some(expired.server.clone()), &[]).await;
    let host = signing.host("mx.plain", Some(chain.server.clone()), &[&of_another()]).await;
    signing.plain = format!("plain. MX 10 mx.plain.\n{host}");
    let host = signing.host("mx.bogus", Some(chain.server.clone()), &[&chain.of_leaf]).await;
    signing.bogus += &host;
    signing
}

const FITTING: [&str; 6] =
    ["leaf.dane", "chain.dane", "implicit.dane", "alias.dane", "sha1.dane", "old.dane"];
/// DANE lets mail go there that it says nothing of.
const OTHERS: [&str; 3] = ["unusable.dane", "without.dane", "plain"];
const DEFERRED: [&str; 7] = [
    "misnamed.dane",
    "another.dane",
    "stripped.dane",
    "lost.dane",
    "path.dane",
    // Its key can't be had of it.
    "version1.dane",
    "bogus",
];

/// The last attempt at a domain, as logged.
async fn attempt(world: &World, domain: &str) -> Value {
    let name = format!("@{domain}");
    eventually(&format!("an attempt at {domain}"), SOON, async || {
        let log = world.relays[0].log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_domain = |line: &Value| {
            line["outcome"].is_string() && line["recipient"].as_str().is_some_and(|to| to.ends_with(&name))
        };
        lines.rfind(of_domain)
    })
    .await
    .unwrap()
}

async fn send_to(world: &World, domain: &str) {
    world.send(0, "a@sender.example", &[&format!("b@{domain}")], domain).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_publish_is_obeyed() {
    let (world, _bind) = everything().await.start().await;
    for domain in FITTING.iter().chain(&OTHERS).chain(&DEFERRED) {
        send_to(&world, domain).await;
    }
    for domain in FITTING.iter().chain(&OTHERS) {
        let entry = world.arrival(&format!("b@{domain}"), SOON).await.unwrap();
        assert!(entry.is_tls, "{domain}");
    }
    for domain in FITTING {
        assert_eq!(attempt(&world, domain).await["tls"], "dane", "{domain}");
    }
    for domain in DEFERRED {
        let line = attempt(&world, domain).await;
        assert_eq!(line["outcome"], "Deferred", "{line}");
        assert!(world.ledger.to(&format!("b@{domain}")).is_empty(), "{domain}");
        // A bogus domain has no host that DANE could speak of.
        if domain != "bogus" {
            let reply = line["reply"].as_str().unwrap_or_default();
            assert!(reply.contains("DANE"), "{line}");
            assert!(line["status"].as_str().unwrap_or_default().starts_with("4.7."), "{line}");
        }
    }
    let metrics = world.relays[0].metrics().await.unwrap();
    assert_eq!(metrics.sum("postrider_dane_available", &[]), 1.0);
    assert!(metrics.sum("postrider_connections_out_total", &["tls=\"dane\""]) >= 6.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_says_otherwise_wins() {
    let signing = everything().await;
    let spec =
        "matches: [{recipientDomains: ['*.dane', plain, bogus]}]\npolicy: {tls: {mode: Opportunistic}}";
    signing.world.manifests.write("rule.yaml", &rule("lenient", spec)).unwrap();
    let (world, _bind) = signing.start().await;
    for domain in FITTING.iter().chain(&OTHERS).chain(&DEFERRED) {
        send_to(&world, domain).await;
    }
    for domain in FITTING.iter().chain(&OTHERS).chain(&DEFERRED) {
        world.arrival(&format!("b@{domain}"), SOON).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_host_takes_what_the_first_cannot_prove() {
    let mut signing = Signing::new().await;
    let presented = presented("other.example", false);
    let first = signing.host("mx1.two.dane", Some(presented.server.clone()), &[&of_another()]).await;
    let second = signing.host("mx2.two.dane", Some(presented.server.clone()), &[&presented.of_leaf]).await;
    signing.dane += &format!("two.dane. MX 10 mx1.two.dane.\ntwo.dane. MX 20 mx2.two.dane.\n{first}{second}");
    let (world, _bind) = signing.start().await;
    send_to(&world, "two.dane").await;
    world.arrival("b@two.dane", LATER).await.unwrap();
    assert_eq!(attempt(&world, "two.dane").await["site"], "mx2.two.dane");
}

#[tokio::test(flavor = "multi_thread")]
async fn resolvers_without_signatures_stop_no_mail() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    world.arrival("b@far.example", SOON).await.unwrap();
    let metrics = world.relays[0].metrics().await.unwrap();
    assert_eq!(metrics.sum("postrider_dane_available", &[]), 0.0);
    assert!(world.relays[0].log().contains("DANE is off"));
}

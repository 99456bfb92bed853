//! What hosts say of their certificates by TLSA records, in zones that a real nameserver serves signed: RFC 7672.
//! **Owns:** the cases of signed, unsigned and broken answers. **Never:** which record fits which chain (core's tests).

mod bed;
mod tampering;

use std::time::Duration;

use postrider_tests::{
    World,
    bind::Signed,
    certs::{self, Authority, odd::Odd},
    manifests::rule,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;

use self::bed::{Signing, of_another, of_certificate, presented};
use crate::{LATER, SOON};

/// All that can be wrong, and some that isn't, each a domain of its own.
async fn everything() -> Signing {
    let mut signing = Signing::new().await;
    certificates(&mut signing).await;
    names(&mut signing).await;
    proofs(&mut signing).await;
    signing
}

/// What hosts show, beside what is said of it.
async fn certificates(signing: &mut Signing) {
    let expired = presented("other.example", true);
    signing.domain("leaf", Some(expired.server.clone()), &[&expired.of_leaf]).await;
    let chain = presented("mx.chain.dane", false);
    signing.domain("chain", Some(chain.server.clone()), &[&chain.of_authority]).await;
    let misnamed = presented("other.example", false);
    signing.domain("misnamed", Some(misnamed.server.clone()), &[&misnamed.of_authority]).await;
    let late = presented("mx.late.dane", true);
    signing.domain("late", Some(late.server.clone()), &[&late.of_authority]).await;
    let own = certs::self_signed("mx.selfsigned.dane").unwrap();
    signing.domain("selfsigned", Some(own.server), &[&of_another()]).await;
    let authority = Authority::new().unwrap();
    let sha1 = authority.issue_odd("mx.sha1.dane", Odd::Sha1).await.unwrap();
    signing.domain("sha1", Some(sha1.server.clone()), &[&of_certificate(&sha1)]).await;
    let version1 = authority.issue_odd("mx.version1.dane", Odd::Version1).await.unwrap();
    signing.domain("version1", Some(version1.server.clone()), &[&of_certificate(&version1)]).await;
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    let of_root = format!("2 0 0 {}", root.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let sha1_path = authority.issue_odd("mx.path.dane", Odd::Sha1).await.unwrap();
    signing.domain("path", Some(sha1_path.server), &[&of_root]).await;
    let old = certs::self_signed("other.example").unwrap();
    signing.domain("old", Some(certs::tls12_only(&old).unwrap()), &[&of_certificate(&old)]).await;
    signing.domain("another", Some(chain.server.clone()), &[&of_another()]).await;
    signing.domain("unusable", Some(expired.server.clone()), &[&format!("1 1 1 {}", "ab".repeat(32))]).await;
    signing.domain("stripped", None, &[&chain.of_leaf]).await;
    signing.domain("without", Some(expired.server.clone()), &[]).await;
}

/// Where hosts and their records are.
async fn names(signing: &mut Signing) {
    let chain = presented("mx.chain.dane", false);
    let host = signing.host("implicit.dane", Some(chain.server.clone()), &[&chain.of_leaf]).await;
    signing.dane += &host;
    let host = signing.host("end.dane", Some(chain.server.clone()), &[&chain.of_leaf]).await;
    signing.dane += &format!("alias.dane. MX 10 mx.alias.dane.\nmx.alias.dane. CNAME end.dane.\n{host}");
    for (name, record) in [("behind", chain.of_leaf.clone()), ("misled", of_another())] {
        signing.domain(name, Some(chain.server.clone()), &[]).await;
        let from = signing.tlsa(&format!("mx.{name}.dane"));
        signing.dane += &format!("{from} CNAME record.{name}.dane.\nrecord.{name}.dane. TLSA {record}\n");
    }
    let host = signing.host("mx.plain", Some(chain.server.clone()), &[&of_another()]).await;
    signing.plain = format!("plain. MX 10 mx.plain.\n{host}");
}

/// What doesn't validate, though all would fit if it were believed.
async fn proofs(signing: &mut Signing) {
    let chain = presented("mx.chain.dane", false);
    let (tls, fits) = (Some(chain.server), chain.of_leaf);
    let changed = |from: &str, to: &str| Signed::ThenChanged(from.to_owned(), to.to_owned());
    signing.domain("lost", tls.clone(), &[]).await;
    let lost = signing.tlsa("mx.lost.dane");
    signing.zone(lost.trim_end_matches('.'), String::new(), Signed::ThenLost);
    signing.domain("forged", tls.clone(), &[]).await;
    let forged = signing.tlsa("mx.forged.dane");
    let other = format!("{forged} TLSA {}\n", fits.replace("3 1 1", "3 0 1"));
    signing.zone(forged.trim_end_matches('.'), other, changed("TLSA\t3 0 1", "TLSA\t3 1 1"));
    let address = signing.far_side(tls.clone()).await;
    signing.dane += "moved.dane. MX 10 mx.moved.dane.\n";
    let moved = format!("mx.moved.dane. A 127.0.0.250\n{} TLSA {fits}\n", signing.tlsa("mx.moved.dane"));
    signing.zone("mx.moved.dane", moved, changed("A\t127.0.0.250", &format!("A\t{address}")));
    for (name, signed) in [
        ("bogus", changed("MX\t10 ", "MX\t20 ")),
        ("stale", Signed::LongAgo),
        ("misdelegated", Signed::UnderAnotherKey),
    ] {
        let host = signing.host(&format!("mx.{name}"), tls.clone(), &[&fits]).await;
        signing.zone(name, format!("{name}. MX 10 mx.{name}.\n{host}"), signed);
    }
}

const FITTING: [&str; 7] =
    ["leaf.dane", "chain.dane", "implicit.dane", "alias.dane", "behind.dane", "sha1.dane", "old.dane"];
/// DANE lets mail go there that it says nothing of.
const OTHERS: [&str; 3] = ["unusable.dane", "without.dane", "plain"];
const DEFERRED: [&str; 11] = [
    "misnamed.dane",
    "late.dane",
    "selfsigned.dane",
    "another.dane",
    "misled.dane",
    "stripped.dane",
    "lost.dane",
    "forged.dane",
    "moved.dane",
    "path.dane",
    // Its key can't be had of it.
    "version1.dane",
];
/// Domains that don't validate have no host that DANE could speak of.
const UNPROVEN: [&str; 3] = ["bogus", "stale", "misdelegated"];

async fn send_to(world: &World, domain: &str) {
    world.send(0, "a@sender.example", &[&format!("b@{domain}")], domain).await.unwrap();
}

/// That a domain's mail waits, for DANE where `is_by_dane`.
async fn assert_deferred(world: &World, domain: &str, is_by_dane: bool) {
    let is_wanted = |line: &Value| {
        let has = |field: &str, words: &str| line[field].as_str().is_some_and(|text| text.contains(words));
        line["outcome"] == "Deferred" && (!is_by_dane || (has("reply", "DANE") && has("status", "4.7.")))
    };
    // What a resolver failed at isn't asked again at once.
    world.attempt_with(domain, LATER, is_wanted).await.unwrap();
    assert!(world.ledger.to(&format!("b@{domain}")).is_empty(), "{domain}");
}

/// That a domain's mail arrives, by what its records say.
async fn assert_fits(world: &World, domain: &str, within: Duration) {
    let entry = world.arrival(&format!("b@{domain}"), within).await.unwrap();
    assert!(entry.is_tls, "{domain}");
    let line = world.attempt_with(domain, SOON, |line| line["outcome"] == "Delivered").await.unwrap();
    assert_eq!(line["tls"], "dane", "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_publish_is_obeyed() {
    let (world, _bind) = everything().await.start().await;
    for domain in FITTING.iter().chain(&OTHERS).chain(&DEFERRED).chain(&UNPROVEN) {
        send_to(&world, domain).await;
    }
    for domain in FITTING {
        assert_fits(&world, domain, SOON).await;
    }
    for domain in OTHERS {
        assert!(world.arrival(&format!("b@{domain}"), SOON).await.unwrap().is_tls, "{domain}");
    }
    for domain in DEFERRED {
        assert_deferred(&world, domain, true).await;
    }
    for domain in UNPROVEN {
        assert_deferred(&world, domain, false).await;
    }
    let metrics = world.relays[0].metrics().await.unwrap();
    assert_eq!(metrics.sum("postrider_dane_available", &[]), 1.0);
    assert!(metrics.sum("postrider_connections_out_total", &["tls=\"dane\""]) >= FITTING.len() as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_says_otherwise_wins() {
    let signing = everything().await;
    let unproven = UNPROVEN.join(", ");
    let spec = format!(
        "matches: [{{recipientDomains: ['*.dane', plain, {unproven}]}}]\npolicy: {{tls: {{mode: Opportunistic}}}}"
    );
    signing.world.manifests.write("rule.yaml", &rule("lenient", &spec)).unwrap();
    let (world, _bind) = signing.start().await;
    for domain in FITTING.iter().chain(&OTHERS).chain(&DEFERRED).chain(&UNPROVEN) {
        send_to(&world, domain).await;
    }
    for domain in FITTING.iter().chain(&OTHERS).chain(&DEFERRED).chain(&UNPROVEN) {
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
    let is_delivered = |line: &Value| line["outcome"] == "Delivered";
    let line = world.attempt_with("two.dane", SOON, is_delivered).await.unwrap();
    assert_eq!(line["site"], "mx2.two.dane");
}

/// RFC 7672 2.2.2: where the aliases aren't signed to their end, the records are at the name that the MX record has.
#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_leads_into_an_unsigned_zone_leaves_the_records_of_its_own_name_in_force() {
    let mut signing = Signing::new().await;
    let presented = presented("other.example", false);
    for (name, record) in [("abroad", presented.of_leaf.clone()), ("astray", of_another())] {
        let host = signing.host(&format!("{name}.plain"), Some(presented.server.clone()), &[]).await;
        signing.plain += &host;
        let (mx, tlsa) = (format!("mx.{name}.dane"), signing.tlsa(&format!("mx.{name}.dane")));
        signing.dane +=
            &format!("{name}.dane. MX 10 {mx}.\n{mx}. CNAME {name}.plain.\n{tlsa} TLSA {record}\n");
    }
    let (world, _bind) = signing.start().await;
    for domain in ["abroad.dane", "astray.dane"] {
        send_to(&world, domain).await;
    }
    assert_fits(&world, "abroad.dane", SOON).await;
    assert_deferred(&world, "astray.dane", true).await;
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
